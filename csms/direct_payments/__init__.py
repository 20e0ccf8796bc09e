"""Charging without a contract from a driver's page: an amount is authorized, the session's cost captured, the rest
released.

When an amount is released because no vehicle comes: `work.py`, by `start_s` of `csms/payments/config.py`.
"""
