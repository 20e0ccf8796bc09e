"""Charging without a contract from a driver's page: an amount is authorized, the session's cost captured, the rest
released."""
