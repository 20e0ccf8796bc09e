"""Orders to stations: transactions started and stopped, connectors unlocked, availability, triggered messages."""
