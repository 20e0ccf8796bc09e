"""Telemetry records, redaction of frames, calls of webhooks."""
