"""Tariffs and payments."""
