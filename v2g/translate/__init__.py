"""OCPP's form of prices: price plans as tariffs, bills as cost details. Both sides derive the same from them.

Price schedules for vehicles: `price_schedules.py`.
"""
