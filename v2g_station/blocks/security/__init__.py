"""Certificates of the station.

Which roots the charger trusts: `certificate_store.py`; in files by `v2g_station/device/certificates.py`. When its own
certificates are renewed: `signing.py`, so long before their end as `is_due` of `v2g/pki/certificates.py` says. Security
events: `v2g_station/blocks/diagnostics/diagnostics.py`.
"""
