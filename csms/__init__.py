"""The charging station management system, `v2g csms`: a folder for each feature, and what all of them share.

A feature has `rules` (pure), `tables` and `store` (SQL), `work` (what it does by itself or for others), `station`
(handlers of stations' messages), `api` (operations) and `pages` of the console; modules beside them are one more idea.
Its settings stand in `config` or `rules`, few tables in `store`, few handlers in `work`.
Upper over lower: `app`; `pages` and `console`; `ocpp`; `api` and `http`; `station` and `work`; `handlers`, `services`;
`cluster`, `trust`; `store`; `db`; `tables`; `rules`.
Background work: `background.py`; sources of grid signals, certificates and telemetry: `app.py`; webhooks and history of
events: `http/server.py`.
A metric: counts and durations `metrics.py`, values read on request `overview/api.py`.
"""
