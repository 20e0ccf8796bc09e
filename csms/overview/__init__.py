"""Figures about everything: the first page, health checks, metrics, version and backup.

A health check or a metric: `api.py`; what the first page says of the day: `rules.py`.
"""
