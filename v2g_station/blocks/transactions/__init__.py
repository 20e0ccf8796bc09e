"""Transactions: events, metering, limits, queue.

Whether one outlives a restart: `resumption.py`, for the charger `managed.py`.
"""
