"""What several tests of iec62056 use."""

from pathlib import Path

VECTORS = Path(__file__).parents[2] / "vectors" / "meters"


def sent(name: str) -> bytes:
    return (VECTORS / f"{name}.txt").read_bytes()
