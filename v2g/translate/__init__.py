"""OCPP's form of prices: price plans as tariffs, bills as cost details. Both sides derive the same from them.

A price plan as tariff for a station: `ocpp_tariffs.py`; the station reads it by `station_tariffs.py`. Price schedules
for vehicles: `price_schedules.py`.
"""
