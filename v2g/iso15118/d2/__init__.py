"""ISO 15118-2: messages."""
