"""`v2g csms`: runs and administers the back end.

Another command: `add(...)` in `declared.py`, then `make docs`.
"""
