"""Messages on stations' displays (block O)."""
