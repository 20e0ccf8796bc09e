"""Reservations of EVSEs (block H)."""
