"""The figures that README and docs quote, each beside a peer's measured in the same run: `python -m benchmarks`."""
