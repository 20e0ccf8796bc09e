"""Running costs and tariffs at the station.

Which tariff applies: `tariffs.py`.
"""
