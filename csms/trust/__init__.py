"""Validity of contract certificates: roots, revocation, provisioning."""
