"""Vehicles by their telemetry: latest states, values over time, routes, positions, exports, erasure.

Columns of an export: `exports.py`.
"""
