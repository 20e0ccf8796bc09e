"""Certificates of the station.

Which roots the charger trusts: `certificate_store.py`; in files by `v2g_station/device/certificates.py`. When its own
certificates are renewed: `signing.py`. Security events: `v2g_station/blocks/diagnostics/diagnostics.py`.
"""
