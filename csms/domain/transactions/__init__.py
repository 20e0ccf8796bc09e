"""What a transaction is after its events, and what is wrong with it."""
