"""Certificates and security events.

Which roots the charger trusts: `certificate_store.py`; in files by `v2g_station/device/certificates.py`.
"""
