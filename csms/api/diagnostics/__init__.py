"""What happened and how things are: logs and monitors, events, webhooks, telemetry, health, metrics."""
