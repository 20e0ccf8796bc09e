"""`v2g demo`: the programs as processes, by scenarios that tell a story.

Another scenario: a table in `data/scenarios.toml`, read by `scenario.py`; what must have happened: `summary.py`.
"""
