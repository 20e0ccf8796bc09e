"""Permissions, passwords, sealed secrets, rate limits, certificates for stations."""
