"""Diagnostics: logs and monitors, events, webhooks, telemetry, health, metrics."""
