"""Simulated stations with vehicles, fleets of them, and the grid: `v2g station`.

When vehicles arrive, what drivers do, how often a station has a fault or is offline: `behaviour.py`; its connection:
`fleet.py`; sessions that really happened: `sessions.py`. Frequency and voltage at simulated stations: `grid.py`, on a
feeder of `v2g/energy/feeder.py`.
"""
