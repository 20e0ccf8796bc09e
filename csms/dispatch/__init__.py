"""Bidirectional vehicles as a power plant: set-points split over them, frequency, grid support (blocks Q and R).

Set-points come from API, fleets and grid sources; they become dynamic schedules of charging profiles.
Which modes a vehicle is allowed, and DER controls: `rules.py`; how a set-point is split: `work.py`, by
`v2g/energy/dispatch/split.py`.
"""
