"""Sockets, TLS, clocks, threads, buses and files: what cores are connected to.

Text of metrics: `metrics.py`.
"""
