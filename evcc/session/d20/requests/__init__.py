"""Requests of the vehicle, built from its settings and the session's state."""
