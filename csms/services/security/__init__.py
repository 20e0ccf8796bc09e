"""Certificates of stations, and the roots that they trust."""
