"""ISO 15118-2 at the charger: negative responses; there are no sessions yet."""
