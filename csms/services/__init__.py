"""Operators' actions on stations: asynchronous shells over decisions (`domain`), queries and connections."""
