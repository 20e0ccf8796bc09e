"""Nodes of one back end, and the connections of stations on any of them.

Which node a station is connected to: `bus.py`, `connections.py`; what all nodes learn: `feed.py`.
"""
