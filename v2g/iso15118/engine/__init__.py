"""Shared by all editions of ISO 15118: framing, SDP, handshake, signatures, pause, and the engine of a session.

Timeouts that ISO 15118-2 and DIN 70121 share, such as that of CableCheck: `message_timing.py`; what a signature in a
message must be: `signature.py`; forms of an EVSEID: `identifiers.py`.
"""
