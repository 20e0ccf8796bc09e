"""Transactions, and their settlements."""
