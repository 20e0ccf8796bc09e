"""Running costs and tariffs at the station.

Which tariff applies, and is displayed: `tariffs.py`; which cost, in which currency: `local_cost.py`, on the display
`v2g_station/device/display.py`.
"""
