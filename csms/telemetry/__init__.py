"""Telemetry of vehicles: received, stored once, aggregated and sent on.

Which node stores a vehicle's records, and which of its workers: `slots.py` (leases), `workers.py`.
"""
