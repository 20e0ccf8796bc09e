"""Transactions that nobody ended, and events that are missing."""
