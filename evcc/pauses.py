"""Pauses on the vehicle's side: the stored session, and the length of the pause."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from evcc.session.paused import Paused, PausedSession, Resume
from evcc.session.ports import BatteryState
from evcc.session.settings import ProgramStep
from v2g.errors import StoreError, TimeoutExpired
from v2g.io.plc.datalink import VehicleLink
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks, child
from v2g.io.storage.journal_file import remove_file, write_files
from v2g.io.storage.kept_file import read_kept
from v2g.io.storage.record_keys import RecordKeys
from v2g.observe import Observe

_VERSION: Final = 1


class StoredPause(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Contents of the file: the session, and the battery's counters at the pause."""

    version: int = _VERSION
    resume: Resume | None = None
    resume_2: PausedSession | None = None
    """The session of ISO 15118-2; one of both is there."""
    soc: float
    charged_mwh: int
    discharged_mwh: int

    def resume_with(self, battery: BatteryState) -> Paused | None:
        """Return the session for a battery whose counters may have restarted since."""
        paused = self.resume or self.resume_2
        progress = None if paused is None else paused.progress
        if paused is None or progress is None:
            return paused
        counted = replace(
            progress,
            charged_mwh=progress.charged_mwh + battery.charged_mwh - self.charged_mwh,
            discharged_mwh=progress.discharged_mwh + battery.discharged_mwh - self.discharged_mwh,
        )
        return replace(paused, progress=counted)


class PauseFile:
    """The file (mode 0600) of a paused session, which survives a restart, sealed with `keys`, if any."""

    def __init__(self, path: Path, observe: Callable[[Observe], None], keys: RecordKeys | None = None) -> None:
        self._path, self._observe, self._keys = path, observe, keys

    def save(self, resume: Paused, battery: BatteryState) -> StoredPause:
        """Store a session; it is on disk when this returns, unless that fails: then a restart does not know it."""
        stored = StoredPause(
            resume=resume if isinstance(resume, Resume) else None,
            resume_2=resume if isinstance(resume, PausedSession) else None,
            soc=battery.soc,
            charged_mwh=battery.charged_mwh,
            discharged_mwh=battery.discharged_mwh,
        )
        data = msgspec.json.encode(stored)
        try:
            write_files(self._path.parent, {self._path.name: data}, private=True, keys=self._keys)
        except StoreError as error:
            self._observe(Observe("session", "not_kept", {"error": str(error)}))
        return stored

    def load(self) -> StoredPause | None:
        """Return the stored session, None if there is none. Raises StoreError."""
        hint = "delete it to start a new session"
        return read_kept(self._path, StoredPause, version=_VERSION, keys=self._keys, hint=hint)

    def remove(self) -> None:
        """Delete the stored session. Raises StoreError."""
        remove_file(self._path)


def rest_s(resume: Paused, program: tuple[ProgramStep, ...], after_s: float | None, clock: Clock) -> float | None:
    """Return the length of a pause, real seconds; None: until the vehicle is woken.

    A pause by the program ends at the program's time; any other one after `after_s` (simulated s).
    """
    progress = resume.progress
    if progress is not None and progress.index < len(program):
        step = program[progress.index]
        if step.pause and step.for_s is not None:
            return max(0.0, (progress.since_ms + step.for_s * 1000 - clock.utc_ms()) / 1000 / clock.scale)
    return None if after_s is None else after_s / clock.scale


class Rest:
    """Waits until the charger or the driver wakes the vehicle, or the time is over; then the link is up again."""

    def __init__(self, link: VehicleLink | None) -> None:
        self._link = link
        self._linked = asyncio.Event()
        self._woken = asyncio.Event()
        if link is not None:
            link.on_ready(lambda _: self._linked.set())

    def wake(self) -> None:
        """The driver requests to resume."""
        self._woken.set()

    async def take(self, seconds: float | None, *, link_s: float) -> str:
        """Wait; return what ended the pause: `charger`, `driver` or `time`. Raises TimeoutExpired if the link is not up
        again within `link_s`."""
        self._linked.clear()
        self._woken.clear()
        if self._link is not None:
            self._link.pause()
        waits = {child(self._linked.wait()): "charger", child(self._woken.wait()): "driver"}
        try:
            done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_tasks(*waits)
        who = next((waits[each] for each in done), "time")
        if self._link is not None and who != "charger":
            self._link.wake_up()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(link_s):
                    await self._linked.wait()
                return who
            raise TimeoutExpired("wake-up of the charger", link_s, hint="is it still connected, and its pilot at 5 %?")
        return who
