"""Schedules, prices and receipts for the vehicle in ISO 15118-20.

Which schedules are offered: `schedules.py`; their prices, from which source, in how many steps: `pricing.py`.
"""
