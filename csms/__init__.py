"""The charging station management system, `v2g csms`: handlers and API over services, stores and pure decisions.

Layers, the upper over the lower: `app`; `console`; `api`, `ocpp_server`; `services`, `ocpp`, `settlement`, `telemetry`,
`grid`; `cluster`, `trust`; `db`; `domain`.
Background work: `services/background.py`; sources of grid signals, certificates and telemetry: `app.py`; webhooks and
history of events: `api/server.py`.
A metric: counts and durations `metrics.py`, values read on request `api/diagnostics/metrics.py`.
"""
