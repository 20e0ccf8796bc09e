"""Vehicles' telemetry: received by MQTT or HTTPS, stored once, sealed, aggregated, passed on to sinks.

Gateways deliver; `csms.vehicles` and `csms.batteries` read.
Whether a record is new, known, missing or in conflict, the high-water mark, whose boot a number is, which boot is
later, and which node and worker stores a vehicle's records: `rules.py`; which node and worker has them now:
`subscriber.py` (leases), `workers.py`. Aggregates, estimator over stored records: `aggregates.py`.
For which vehicles a gateway may deliver: `may_handle` of `csms/accounts/rules.py`. Seal: `seal.py`.
For how many days records and aggregates are kept: `csms/retention`.
"""
