"""ZVT, the protocol of payment terminals: till and terminal."""
