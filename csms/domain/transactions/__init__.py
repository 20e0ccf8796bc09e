"""State and faults of transactions."""
