"""Stations: admission, device model, firmware, remote control, clocks."""
