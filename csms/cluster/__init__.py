"""Nodes that are one back end: who has which station, questions to a node, events and order of power commands.

Used by all features; over Redis between machines, in memory on one node.
Which node a station is connected to: `bus.py`, `connections.py`; what all nodes learn: `feed.py`.
"""
