"""The figures in README and docs, each next to a peer's from the same run: `python -m benchmarks`."""
