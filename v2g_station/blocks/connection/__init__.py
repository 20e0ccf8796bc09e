"""The connection to the back end.

When it is tried again, BootNotification and what follows its answer, heartbeats: `link.py`; which back end:
`network.py`; unsent messages: `outbox.py`.
"""
