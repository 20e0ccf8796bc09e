"""The figures in README and docs, each next to a peer's from the same run: `python -m benchmarks`.

The history in `docs/reference/speed.md`: `history.py`, from `history.jsonl`.
"""
