"""Logs and monitors of stations, event history, webhooks."""
