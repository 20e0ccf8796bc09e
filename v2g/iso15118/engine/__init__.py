"""What every edition of ISO 15118 shares: framing, SDP, handshake, signatures, pause, and the engine of a session."""
