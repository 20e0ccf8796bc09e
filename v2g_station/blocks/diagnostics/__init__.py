"""Logs, monitors, problems and event streams of the station."""
