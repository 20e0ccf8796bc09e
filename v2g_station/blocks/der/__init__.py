"""Distributed energy resources: curves, trips, reactive power (OCPP 2.1 R).

How power follows the grid's frequency and voltage: `response.py`, `trips.py`, `reactive.py` and
`v2g_station/blocks/smart_charging/local_control.py`, bounded in `secc/session/power.py`.
"""
