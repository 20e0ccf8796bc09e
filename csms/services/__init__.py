"""What operators do with stations: thin asynchronous shells over decisions (`core`), rows and the switchboard."""
