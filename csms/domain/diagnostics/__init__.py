"""Telemetry records, what may be shown of frames, calls of webhooks."""
