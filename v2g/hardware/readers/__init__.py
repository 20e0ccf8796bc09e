"""Readers of RFID cards."""
