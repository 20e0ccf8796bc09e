"""Operators' actions on stations: asynchronous shells over decisions (`domain`), queries and connections.

In a cluster, which image a node may install: `node_updates.py`.
"""
