"""The connection to the back end: network profiles, queue of unsent messages."""
