"""Stations of OCPP 1.6 (R198): the numbers of their transactions, and what the bridge asks of the store.

`v2g.ocpp.v16` translates; every other feature sees a station of 2.0.1. `csms.ocpp.server` calls `work` for each
connection of such a station.
"""
