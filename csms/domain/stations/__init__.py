"""Decisions about stations: admission, availability, firmware, clocks, device model, reservations."""
