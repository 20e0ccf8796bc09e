"""Permissions, passwords, sealed secrets, rate limits, certificates for stations.

Whether a charger is whole: `attestation.py`; how the database is sealed: `sealing.py`.
"""
