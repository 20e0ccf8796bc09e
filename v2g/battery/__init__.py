"""What the samples of a battery say: estimators and detectors, the same in the vehicle and in the back end. Pure.

Each is a function `step(settings, state, sample)` that returns its next state and findings (`detectors.py`).

What samples show, and which of them are wrong as data: `detectors.py` runs a module each, after `data_quality.py`;
charge, health and forecast: `health.py`; the vehicle's power by temperature: `derating.py`.
"""
