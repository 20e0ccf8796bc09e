"""Stations' certificates by the built-in authority (A02, A03), their trusted roots, and their security events (A04)."""
