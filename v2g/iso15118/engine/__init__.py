"""Shared by all editions of ISO 15118: framing, SDP, handshake, signatures, pause, and the engine of a session."""
