"""`v2g csms`: runs and administers the back end.

Another command: `add(...)` in `declared.py`, its heading in `command.py`, then `make docs`; one of several calls is a
function in `stations.py`, `money.py`, `vehicles.py` or `campaigns.py`, with its name in `command.py`.
"""
