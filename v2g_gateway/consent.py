"""Consent by signal group, from the configuration or from a file that the vehicle's user changes (R144)."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from v2g.errors import ConfigError
from v2g.io.runtime.file_watch import FileWatch
from v2g.observe import Observe
from v2g.telemetry.privacy import Consent

_MOST: Final = 10_000


class ConsentSource:
    """The consent in force. A file lists the groups, one a line; without a readable file none has consent."""

    def __init__(self, groups: Sequence[str], file: Path | None, observe: Callable[[Observe], None]) -> None:
        """`file` replaces `groups`. Raises ConfigError for an unknown group in `groups`."""
        self.consent = Consent(groups if file is None else ())
        self._file, self._observe = file, observe
        self._watch = None if file is None else FileWatch([file])
        self._read = False

    async def changed(self) -> bool:
        """Return whether consent has changed since the last call."""
        if self._watch is None or self._file is None:
            return False
        if not await asyncio.to_thread(self._watch.changed) and self._read:
            return False
        self._read = True
        before = self.consent
        try:
            self.consent = await asyncio.to_thread(read_consent, self._file)
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            self.consent = Consent(())
            self._observe(Observe("telemetry", "consent_unreadable", {"reason": str(error).partition("\n")[0]}))
        if self.consent.groups != before.groups:
            self._observe(Observe("telemetry", "consent_changed", {"groups": " ".join(sorted(self.consent.groups))}))
        return self.consent.groups != before.groups


def read_consent(file: Path) -> Consent:
    """Return the consent that a file lists. Raises OSError, UnicodeDecodeError, and ConfigError for unknown groups."""
    with file.open(encoding="utf-8") as lines:
        return Consent([line.strip() for line in lines.read(_MOST).splitlines() if line.strip()])
