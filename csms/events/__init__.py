"""The recent events of the feed, as server-sent events that resume after an interruption."""
