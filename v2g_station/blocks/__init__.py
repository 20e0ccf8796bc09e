"""Functional blocks of OCPP (Reset is provisioning): what a station answers, and what it reports. Pure.

Another answer: in `answers` of its block (a new block also in `v2g_station/station.py`), and what the charger then
does as a command, carried out by its `ChargerPort`. Which EVSEs are reserved, and for whom: `reservation_book.py`,
`reservation.py`. Another measurand: `transaction_records.py`, and its name in `v2g_station/kernel/variables.txt`.
"""
