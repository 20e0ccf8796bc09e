"""Transactions: events, metering, limits, queue.

When one starts and ends: `sessions.py`; which readings are sampled: `metering.py`. Whether one outlives a restart:
`resumption.py`, for the charger `managed.py`.
"""
