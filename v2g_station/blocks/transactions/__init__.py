"""Transactions: events, metering, limits.

When one starts and ends: `sessions.py`; which readings are sampled: `metering.py`. Whether one outlives a restart:
`resumption.py`, for the charger `managed.py`. What of their events is kept while the back end is away:
`v2g_station/blocks/connection/outbox.py`.
"""
