"""Decisions about stations: admission, availability, firmware, clocks, device model, reservations.

Whether a station may connect, and why not: `admission.py`, `connection_faults.py`, `csms/domain/security/passwords.py`.
When a fleet stops an update: `campaigns.py`, by `v2g/ota/sequential.py`.
"""
