"""The charger, `v2g secc`: one process with one or several EVSEs and an OCPP station.

Which edition serves a vehicle: the vehicle's priorities among those of `app.py`: `session/edition.py`, by
`v2g/iso15118/select.py`.
What a charger does with each command of its station: `charger.py` (`carry_out`); what it shows of its parts:
`status.py`, once a second from parts and events, as page, JSON and metrics `status_page.py`.
EVSEs share TLS, OCPP station and clock; each has an `EvseController` and serves one vehicle at a time. On a shared
interface, the MAC address matched by SLAC identifies the EVSE; ambiguous connections are refused.
"""
