"""Schedules, prices and receipts for the vehicle in ISO 15118-20.

Which schedules are offered: `schedules.py`; the charger's source of prices: `pricing.py`.
"""
