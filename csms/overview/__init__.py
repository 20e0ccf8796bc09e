"""Figures about everything: the first page, health checks, metrics, version and backup."""
