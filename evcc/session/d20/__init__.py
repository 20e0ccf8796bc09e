"""ISO 15118-20 in the vehicle: what it asks, what it makes of answers, and the session that joins them."""
