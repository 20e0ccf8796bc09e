"""Simulated stations with vehicles, fleets of them, and the grid: `v2g station`.

Frequency and voltage at simulated stations: `grid.py`, on a feeder of `v2g/energy/feeder.py`.
"""
