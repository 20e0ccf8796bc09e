"""Certificates of stations, and their roots."""
