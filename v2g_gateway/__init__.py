"""The telemetry gateway, `v2g telemetry`: from CAN and local events to the operator, through outages.

Which uplink is used, and when the second one, as over a satellite: `gateway.py`; MQTT and HTTPS: `uplink.py`; what is
sent first, and deleted: `delivery.py`; where values come from: `sources.py`; the context of a drive cycle:
`v2g/telemetry/mapping.py`, `v2g/telemetry/ovms.py`; consent: `consent.py`; metrics: `metrics.py`.
"""
