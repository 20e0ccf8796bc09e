"""How a vehicle reaches the charger: listeners, TLS, trust, the powerline modem.

Which EVSE a vehicle is connected to: `listening.py`, for wireless and pantograph `v2g/iso15118/d20/association.py`.
"""
