"""Uptime of EVSEs as regulations define it, from the history of connectors and of connections, with causes that do not
count, and of the back end itself; how many sessions had energy. Nothing else depends on it."""
