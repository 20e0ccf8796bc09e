"""A client of MQTT 5, and its configuration."""
