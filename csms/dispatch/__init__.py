"""Bidirectional vehicles as a power plant: set-points split over them, frequency, grid support (blocks Q and R).

Set-points come from API, fleets and grid sources; they become dynamic schedules of charging profiles.
Set-points in force and their course: `store.py`; how a set-point is split: `work.py`, by
`v2g/energy/dispatch/split.py`. DER controls that stations hold: `der_controls.py`; given by `der.py`.
"""
