"""The connection with stations: the OCPP server, the context of handlers, and the table of all.

Handlers are in the `station` modules of the features.
"""
