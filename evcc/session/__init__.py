"""The vehicle's side of a session: what all editions share, and a folder for each edition. Pure.

When a session without energy ends: `vehicle.py`.
"""
