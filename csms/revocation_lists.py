"""Revocation lists in files: read again when these change, and reported before they expire."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from v2g.io.runtime.clock import Clock
from v2g.io.tls.revocation import CrlFiles
from v2g.observe import Observe
from v2g.pki.crl import RevocationList

_AHEAD: Final = timedelta(days=1)


class RevocationLists:
    """The lists in the files of one `key` of the configuration."""

    def __init__(
        self, files: Sequence[Path], clock: Clock, observe: Callable[[Observe], None], *, key: str = "trust.crls"
    ) -> None:
        """Raises ConfigError for an unreadable file."""
        self._clock = clock
        self._observe = observe
        self._files = CrlFiles(files, observe, key=key)
        self._announced: set[tuple[Path, datetime, bool]] = set()

    def current(self) -> tuple[RevocationList, ...]:
        """Return the present lists."""
        return self._files()

    def until_ms(self) -> int | None:
        """Return when the first list expires, ms of UTC; None without lists."""
        ends = [int(end.timestamp() * 1000) for _, end in self._ends()]
        return min(ends, default=None)

    def poll(self) -> None:
        """Read changed files; report each list once when it expires within a day, and once when it has expired."""
        now = self._clock.now()
        due = {(path, end, end < now) for path, end in self._ends() if end - now <= _AHEAD}
        for path, end, expired in sorted(due - self._announced):
            name = "crl_expired" if expired else "crl_due"
            self._observe(Observe("tls", name, {"file": str(path), "until": f"{end:%Y-%m-%dT%H:%M:%SZ}"}))
        self._announced = due

    def _ends(self) -> list[tuple[Path, datetime]]:
        """Return files, and when their lists expire; lists without expiry prove nothing (RFC 5280 5.1.2.5)."""
        ends = [(path, each.crl.next_update_utc) for path, each in self._files.with_files()]
        return [(path, end) for path, end in ends if end is not None]
