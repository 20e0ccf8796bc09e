"""Functional blocks of OCPP (Reset is provisioning): what a station answers, and what it reports. Pure.

Another answer: its block, and what the charger then does as a command, carried out by its `ChargerPort`.
Which EVSEs are reserved: `reservation_book.py`.
"""
