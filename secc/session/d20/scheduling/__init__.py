"""Schedules, prices and receipts for the vehicle in ISO 15118-20."""
