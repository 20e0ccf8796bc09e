"""Abandoned transactions, and missing events."""
