"""Access to this interface, and the security of stations."""
