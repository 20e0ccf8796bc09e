"""Migrations: from a database of before to the declared tables."""
