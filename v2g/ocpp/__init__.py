"""OCPP 2.0.1 and 2.1: messages, remote procedure calls and quirks of stations, all without I/O. Handlers:
`v2g_station/blocks`, `csms`. How a make deviates: `station_quirks.toml`, by names of `quirks.py`. The longest frame,
answers to invalid ones, timeouts: `rpc.py`."""
