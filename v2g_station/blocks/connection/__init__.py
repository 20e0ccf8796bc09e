"""The connection to the back end.

When it is tried again, BootNotification and what follows its answer, heartbeats: `link.py`; which back end:
`network.py`; unsent messages, and which are dropped where they are too many: `outbox.py`.
"""
