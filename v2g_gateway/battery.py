"""Detectors beside the cells (`v2g.battery`): what they find travels at once, before everything else.

Their state outlives the process in a file, which is written after the record of a finding: after a kill in between the
finding is repeated, which changes nothing at the back end, and none is left active that has ended meanwhile.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from v2g import typed_json
from v2g.battery import detectors
from v2g.battery.finding import Finding
from v2g.battery.sample import Sample
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.journal_file import write_files
from v2g.observe import Scalar
from v2g.telemetry.local_events import LocalEvent, reported


class BatteryWatch:
    """Runs the detectors of `detectors.EDGE` on each sample."""

    def __init__(self, settings: detectors.Settings, path: Path, disk: DiskThread) -> None:
        self._settings, self._path, self._disk = settings, path, disk
        self._state = detectors.State()
        self._held: dict[str, float] = {}

    async def load(self) -> None:
        """Read the state that was saved; without a usable one the detectors begin anew."""
        try:
            self._state = typed_json.decode(await self._disk.ask(self._path.read_bytes), detectors.State)
        except (OSError, msgspec.DecodeError):
            return

    def take(self, values: Mapping[str, float], utc_ms: int) -> tuple[Finding, ...]:
        """Return what new values show, which were measured at `utc_ms`."""
        self._held |= values
        self._state, found = detectors.step(
            self._settings, self._state, Sample(utc_ms, self._held), which=detectors.EDGE
        )
        return found

    async def save(self) -> None:
        """Write the state. Raises StoreError."""
        document = msgspec.json.encode(self._state)
        try:
            await self._disk.ask(lambda: write_files(self._path.parent, {self._path.name: document}))
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}", hint="is the disk full?") from None


def facts(found: Finding) -> dict[str, Scalar]:
    """Return what the event of a finding says."""
    return {
        "kind": found.kind,
        "severity": found.severity,
        "raised": found.raised,
        "value": found.value,
        "limit": found.limit,
    }


def event(found: Finding) -> LocalEvent:
    """Return a finding as an event that telemetry has."""
    told = reported("gateway", "telemetry", "battery_finding", found.at_ms, facts(found))
    assert told is not None
    return told
