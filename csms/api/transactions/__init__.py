"""Transactions, and what their sessions settle to."""
