"""The OCPP server, and the connection with each station.

Handlers are in the `station` modules of the features, by `csms/handlers.py`.
"""
