"""Simulated powerline, pilot, lines, coils and contacts, by which separate processes meet in a folder of sockets.

Data: `medium.py`; states of pilot and lines: `wire.py`; what flows, and faults of parts: `power.py`. Noise and loss of
the powerline: `Impairment` in `v2g/io/plc/link.py`.
"""
