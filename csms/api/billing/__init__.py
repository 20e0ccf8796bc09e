"""Tariffs, books, quarantine, mandates and payments."""
