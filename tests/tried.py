"""Notes which peers of docs/tried.toml ours have met: `pytest --tried`, as `make interop` runs it.

A peer is noted when each of its tests has passed, and at least one has run.
"""

import importlib.metadata
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from docs.tried_with import NOTED, Meeting, Peer, note


class Tried:
    """Keeps to tests of peers, and notes in the end which peers passed; in the process that workers report to."""

    def __init__(self, rows: Sequence[Peer], noted: Path = NOTED) -> None:
        self._rows, self._noted = rows, noted
        self._passed: defaultdict[str, set[str]] = defaultdict(set)
        self._failed: set[str] = set()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what meets no peer."""
        files = {file for each in self._rows for file in each.tests}
        kept = [each for each in items if each.nodeid.partition("::")[0] in files or each.get_closest_marker("interop")]
        left = set(items) - set(kept)
        items[:] = kept
        config.hook.pytest_deselected(items=left)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what passed and what failed, by file."""
        file = report.nodeid.partition("::")[0]
        if report.failed:
            self._failed.add(file)
        elif report.passed and report.when == "call":
            self._passed[file].add(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Note the peers whose tests all passed."""
        if not hasattr(session.config, "workerinput"):
            today = datetime.now(UTC).date().isoformat()
            met = {each.key: meeting for each in self._rows if (meeting := self.met(each, today))}
            note(met, self._rows, self._noted)

    def met(self, peer: Peer, today: str) -> Meeting | None:
        """Return what to note of a peer, if its tests passed."""
        count = sum(len(self._passed[file]) for file in peer.tests)
        if not count or self._failed.intersection(peer.tests):
            return None
        return Meeting(installed_version(peer), today, count)


def installed_version(peer: Peer) -> str:
    """Return the version of a peer: the one that its test names, or the one that is installed here."""
    name, version = peer.named
    if version:
        return version
    if peer.source == "PyPI":
        return importlib.metadata.version(name)
    query = ["dpkg-query", "--show", "--showformat=${Version}", name]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout or "unknown"
