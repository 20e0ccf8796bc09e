"""The telemetry gateway, `v2g telemetry`: from CAN and local events to the operator, through outages.

Which uplink is used, and when the second one, as over a satellite: `gateway.py`; MQTT and HTTPS: `uplink.py`; what is
sent first, again after a failure, and deleted: `delivery.py` (a broker is connected to again by
`v2g/io/mqtt/client.py`); where values come from: `sources.py`; the context of a drive cycle:
`v2g/telemetry/mapping.py`, `v2g/telemetry/ovms.py`; consent: `consent.py`; metrics: `metrics.py`.
"""
