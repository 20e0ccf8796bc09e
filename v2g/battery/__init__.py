"""What the samples of a battery say: estimators and detectors, the same in the vehicle and in the back end. Pure.

Each is a function `step(settings, state, sample)` that returns its next state and findings (`detectors.py`).
"""
