"""ISO 15118-20 in the charger: handlers of its messages, the stages of a session, and the session."""
