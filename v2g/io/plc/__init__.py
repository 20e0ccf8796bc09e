"""Powerline ports: raw frames, modems on serial lines, simulated, recorded or impaired ones (`opening.py`).

A port is a stack: the backend, and wrappers that reopen it, impair frames, simulate a modem, record, and separate IPv6
from management messages.
"""
