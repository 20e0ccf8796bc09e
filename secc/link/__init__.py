"""How a vehicle reaches the charger: listeners, TLS, trust, the powerline modem.

Which EVSE a vehicle is connected to: `listening.py`, for wireless and pantograph `v2g/iso15118/d20/association.py`.
How many connections at once: `v2g/io/tls/server.py`, without TLS `v2g/io/network/plain_tcp.py`.
"""
