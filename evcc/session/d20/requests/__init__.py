"""Requests of the vehicle, made of its settings and the session's state."""
