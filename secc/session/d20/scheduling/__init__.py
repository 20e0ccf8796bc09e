"""Schedules, prices and receipts that ISO 15118-20 tells the vehicle."""
