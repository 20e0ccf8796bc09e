"""The recent events of the feed, as server-sent events that resume after an interruption.

Which kinds there are, also for webhooks: `KINDS` in `work.py`, from `v2g/events.txt`; which a caller sees: `api.py`.
"""
