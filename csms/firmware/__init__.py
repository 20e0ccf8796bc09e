"""Firmware of single stations, and campaigns over many that halt when too many fail (block L, R136 to R138).

When a fleet stops an update: `rules.py`, by `v2g/ota/sequential.py`.
"""
