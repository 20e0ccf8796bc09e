"""Which stations may connect, their passwords, and what goes wrong when they try.

Asked by `csms.ocpp.server` at each connection and BootNotification; an operator decides by API and console.
Whether a station may connect, and why not: `rules.py`; how many wrong passwords a caller has: `work.py`.
"""
