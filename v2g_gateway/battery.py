"""Detectors beside the cells (`v2g.battery`): what they find travels at once, before everything else.

Their state outlives the process in a file, which is written after the record of a finding: after a kill in between the
finding is repeated, which changes nothing at the back end, and none is left active that has ended meanwhile.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from v2g import typed_json
from v2g.battery import detectors, runaway
from v2g.battery.sample import Finding, Sample
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.emergency_log import EmergencyLog, EmergencyRecord
from v2g.io.storage.journal_file import write_files
from v2g.observe import Scalar
from v2g.telemetry.cells import WINDOW_MS, CellRecorder, CellSummary
from v2g.telemetry.local_events import LocalEvent, reported
from v2g.telemetry.signals import CELL_VOLTAGE, MAX_CELLS, CellSamples

_CELL: Final = re.compile(re.escape(CELL_VOLTAGE) + r"\.([0-9]+)")


class Rounds:
    """Voltages of single cells, which come in several frames: a round ends when one of them comes again."""

    def __init__(self, cells: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(cells, 1)}
        self._round: dict[int, float] = {}

    def take(self, cells: Mapping[str, float]) -> dict[int, float]:
        """Return the voltages of the round that ended, by the cells' numbers from 1."""
        ended: dict[int, float] = {}
        new = {self._numbers[name]: voltage for name, voltage in cells.items()}
        if new.keys() & self._round.keys():
            ended, self._round = self._round, {}
        self._round |= new
        return ended


class BatteryWatch:
    """Runs the detectors of `detectors.EDGE` on each sample, and keeps samples of single cells around findings.

    A thermal runaway is in `log`, too, which only grows; once a person has noted its reset there, it ends at the next
    start (R127).
    """

    def __init__(
        self,
        settings: detectors.DetectorSettings,
        path: Path,
        log: EmergencyLog,
        disk: DiskThread,
        cells: Sequence[str] = (),
        around: CellSummary = CellSummary(),  # noqa: B008 - it is immutable
    ) -> None:
        """`cells`: names of single cells, which findings number in this order from 1."""
        self._settings, self._path, self._log, self._disk = settings, path, log, disk
        self._emergencies: list[EmergencyRecord] = []
        self._state = detectors.DetectorState()
        self._held: dict[str, float] = {}
        self._rounds = Rounds(cells)
        self._compared_ms: int | None = None
        self._raw = CellRecorder(around, min(len(cells), MAX_CELLS))
        self._samples: list[CellSamples] = []

    async def load(self, utc_ms: int) -> tuple[Finding, ...]:
        """Read the state that was saved; without a usable one the detectors begin anew.

        Returns what a person has ended meanwhile.
        """
        try:
            self._state = typed_json.decode(await self._disk.ask(self._path.read_bytes), detectors.DetectorState)
        except (OSError, msgspec.DecodeError):
            return ()
        last, latched_ms = (self._log.entries or (None,))[-1], self._state.runaway.latched_ms
        if last is None or last.what != "reset" or latched_ms is None or last.utc_ms < latched_ms:
            return ()
        state, found = runaway.reset(self._state.runaway, utc_ms)
        self._state = msgspec.structs.replace(self._state, runaway=state)
        return found

    def take(self, values: Mapping[str, float], utc_ms: int, cells: Mapping[str, float]) -> tuple[Finding, ...]:
        """Return what new values and voltages of single cells show, which were measured at `utc_ms`.

        Cells are compared with each other once a window.
        """
        self._held |= values
        measured: dict[str, float] = {}
        if cells and (ended := self._rounds.take(cells)):
            self._samples += self._raw.add(ended, utc_ms)
            if self._compared_ms is None or not 0 <= utc_ms - self._compared_ms < WINDOW_MS:
                self._compared_ms = utc_ms
                measured = {f"{CELL_VOLTAGE}.{number}": voltage for number, voltage in ended.items()}
        if not values and not measured:
            return ()
        self._state, found = detectors.step(
            self._settings, self._state, Sample(utc_ms, self._held | measured), which=detectors.EDGE
        )
        self._emergencies += (
            EmergencyRecord(utc_ms=utc_ms, what="asserted", cause=each.kind, evidence=dict(each.evidence))
            for each in found
            if each.kind == runaway.KIND
        )
        if any(each.raised and not each.kind.startswith("data_") for each in found):
            self._samples += self._raw.found(utc_ms)
        return found

    def samples(self) -> list[CellSamples]:
        """Return samples of single cells around findings that are due."""
        due, self._samples = self._samples, []
        return due

    async def save(self) -> None:
        """Write emergencies, then the state. Raises StoreError."""
        while self._emergencies:
            record = self._emergencies[0]
            await self._disk.ask(lambda record=record: self._log.append(record))  # type: ignore[misc]
            self._emergencies.pop(0)
        document = msgspec.json.encode(self._state)
        try:
            await self._disk.ask(lambda: write_files(self._path.parent, {self._path.name: document}))
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}", hint="is the disk full?") from None


def facts(found: Finding) -> dict[str, Scalar]:
    """Return what the event of a finding says."""
    named = [match[1] for name in found.evidence if (match := _CELL.fullmatch(name))]
    return {
        "kind": found.kind,
        "severity": found.severity,
        "raised": found.raised,
        "value": found.value,
        "limit": found.limit,
        "cell": int(named[0]) if len(named) == 1 else None,
    }


def event(found: Finding) -> LocalEvent:
    """Return a finding as an event that telemetry has."""
    told = reported("gateway", "telemetry", "battery_finding", found.at_ms, facts(found))
    assert told is not None
    return told
