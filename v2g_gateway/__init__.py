"""The telemetry gateway, `v2g telemetry`: from CAN and local events to the operator, through outages.

Metrics: `metrics.py`.
"""
