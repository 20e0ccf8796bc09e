"""Telemetry records, redaction of frames, calls of webhooks.

Whether a telemetry record is new, known, missing or in conflict, the high-water mark, whose boot a number is, and which
boot is later: `telemetry.py` (`admit`).
Which node and worker stores a vehicle's telemetry: `partition.py`; how values are aggregated, and an estimator over
stored records: `aggregates.py`.
"""
