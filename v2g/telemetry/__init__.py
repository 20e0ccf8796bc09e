"""Telemetry in the vehicle: signals, batches, deliveries. Pure.

When a record is made, and how many: `batch.py`; which one is dropped first, and what a satellite carries:
`priority.py`; another quantity: `signals.py`, with a later version of the schema there and a later form in
`columns.py`, its column at the back end comes by itself; which signal of a DBC file is which quantity: `signals` in a
gateway's configuration, by `mapping.py`; topics of MQTT, limits of a delivery: `delivery.py`; what leaves a vehicle,
under which pseudonym: `privacy.py`; an estimator in the vehicle: as `cells.py`, fed in `v2g_gateway/gateway.py`.
"""
