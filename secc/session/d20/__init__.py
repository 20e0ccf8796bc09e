"""ISO 15118-20 at the charger: its messages' handlers, the phases of a session, and the session that joins them."""
