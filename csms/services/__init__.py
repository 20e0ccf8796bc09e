"""What operators do with stations: asynchronous shells over decisions (`domain`), queries and connections."""
