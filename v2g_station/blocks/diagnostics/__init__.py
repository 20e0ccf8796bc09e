"""Logs, security events, monitors, problems and event streams of the station.

Which security events the back end gets: `CRITICAL` in `diagnostics.py`.
"""
