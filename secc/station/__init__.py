"""The charger's OCPP station: layout, settings and files of the charger that it is part of.

The charger's first value of a variable: `settings.py`.
"""
