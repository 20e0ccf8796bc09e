"""Stations: admission, device model, firmware, displays, reservations, commands and their outcomes."""
