"""Tariffs, running costs and payments."""
