"""The peers against which benchmarks measure."""
