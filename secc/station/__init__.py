"""The charger's OCPP station: layout, settings and files of the charger that it is part of.

The charger's first value of a variable: `settings.py`, else that of every station: `v2g_station/kernel/variables.txt`.
"""
