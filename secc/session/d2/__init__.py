"""ISO 15118-2 at the charger."""
