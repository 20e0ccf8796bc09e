"""The OCPP server, and the connection with each station.

The answer to BootNotification and its interval are in `server.py`, by `[ocpp]` of `csms/config.py`; other handlers in
the `station` modules of the features, by `csms/handlers.py`.
"""
