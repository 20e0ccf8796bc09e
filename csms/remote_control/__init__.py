"""Orders to stations: transactions started and stopped, connectors unlocked, availability, triggered messages.

Who answers what a station sends by DataTransfer: `station.py`.
"""
