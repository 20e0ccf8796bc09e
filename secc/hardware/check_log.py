"""What checks of the hardware have shown: an event each, and a file of the latest ones that survives restarts."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec

from v2g import typed_json
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.journal_file import write_files
from v2g.observe import Observe, Scalar

FILE: Final = "checks.json"
KEPT: Final = 500
"""How many results are kept."""

CheckName = Literal["self_test", "isolation", "contactor"]
"""The self-test without a vehicle, the isolation monitor's before the cable check, and whether the contactor opened at
the end of a session."""


class CheckResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One check: when (ms of UTC), in which session (empty: none), what failed (empty: nothing), and its duration."""

    utc_ms: int
    check: CheckName
    session_id: str
    failed: str
    took_ms: int


class CheckLog:
    """The file of one EVSE."""

    def __init__(
        self, directory: Path, disk: DiskThread, *, utc_ms: Callable[[], int], observe: Callable[[Observe], None]
    ) -> None:
        self._directory, self._disk, self._utc_ms, self._observe = directory, disk, utc_ms, observe
        self._results = load_checks(directory)

    def keep(self, check: CheckName, failed: str, *, took_ms: int, session_id: str = "") -> None:
        """Report and store a result."""
        result = CheckResult(self._utc_ms(), check, session_id, failed, took_ms)
        data: dict[str, Scalar] = {
            "check": check,
            "passed": not failed,
            "failed": failed,
            "took_ms": took_ms,
            "session_id": session_id,
        }
        self._observe(Observe("hardware", "checked", data))
        self._results = (*self._results[1 - KEPT :], result)
        self._disk.do(partial(self._save, self._results), lambda: None).add_done_callback(lambda done: done.exception())

    def _save(self, results: tuple[CheckResult, ...]) -> None:
        write_files(self._directory, {FILE: msgspec.json.encode(results)}, private=True)


def load_checks(directory: Path) -> tuple[CheckResult, ...]:
    """Return the stored results, the oldest first; none of an unreadable file, since no decision depends on them."""
    with contextlib.suppress(OSError, msgspec.DecodeError, StoreError):
        return typed_json.decode_kept((directory / FILE).read_bytes(), tuple[CheckResult, ...])
    return ()
