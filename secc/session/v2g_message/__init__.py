"""The charger's session in editions whose messages are a V2G_Message: ISO 15118-2 and DIN 70121.

What an error code of the vehicle stops: `delivery.py`. Handlers that an edition has for itself:
`secc/session/d2/charging.py`, `secc/session/din/charging.py`.
"""
