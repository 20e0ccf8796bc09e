"""Settlement: the cost of verifying a complete bundle offline."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from benchmarks.figures import Figure, median, microseconds
from pki_tools.tree import make_pki
from tests.energy.settlement.conftest import Session, run_whole_session
from v2g.energy.settlement.bundle import JOURNAL, verify_bundle
from v2g.energy.settlement.journal import verify_lines

ABOUT = "verify a settlement bundle: signatures, chain of hashes, registers, intervals, prices"


@cache
def finished() -> tuple[list[bytes], dict[str, bytes]]:
    """Return journal and bundle of twenty minutes of charging and twenty of discharging, a reading every 5 s."""
    with tempfile.TemporaryDirectory() as folder:
        pki = make_pki(Path(folder) / "pki", now=datetime.now(UTC))
        session = run_whole_session(Session(pki, int(datetime.now(UTC).timestamp() * 1000)))
        return session.lines, session.bundle()


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield the complete bundle, and its journal alone."""
    calls = 2 if quick else 20
    _, files = finished()
    entries = len(files[JOURNAL].splitlines())
    yield Figure(
        f"verify a bundle of {entries} journal entries",
        median(microseconds(lambda: verify_bundle(files), calls=calls)) / 1000,
        "ms",
        note="p50; everything, offline, with the roots in the bundle",
    )
    yield Figure(
        "of which reading the journal and its chain of hashes",
        median(microseconds(lambda: verify_lines(files[JOURNAL]), calls=calls)) / 1000,
        "ms",
        note="p50",
    )
