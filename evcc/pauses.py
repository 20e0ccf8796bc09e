"""A pause from the vehicle's side: what is kept of the session, and how long the vehicle rests."""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from evcc.session.paused import Resume
from evcc.session.ports import BatteryState
from evcc.session.settings import ProgramStep
from v2g import typed_json
from v2g.errors import StoreError, TimeoutExpired
from v2g.io.plc.datalink import VehicleLink
from v2g.io.runtime.clock import Clock
from v2g.io.storage.journal_file import remove_file, write_files

_VERSION: Final = 1


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is in the file: the session, and what the battery showed when it paused."""

    version: int = _VERSION
    resume: Resume
    soc: float
    charged_mwh: int
    discharged_mwh: int

    def resume_with(self, battery: BatteryState) -> Resume:
        """Return the session for a battery whose counters may have begun anew since."""
        progress = self.resume.progress
        if progress is None:
            return self.resume
        counted = replace(
            progress,
            charged_mwh=progress.charged_mwh + battery.charged_mwh - self.charged_mwh,
            discharged_mwh=progress.discharged_mwh + battery.discharged_mwh - self.discharged_mwh,
        )
        return replace(self.resume, progress=counted)


class PauseFile:
    """The file (mode 0600) that keeps a paused session over a restart. Everything raises StoreError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, resume: Resume, battery: BatteryState) -> Kept:
        """Keep a session; it is on the disk when this returns."""
        kept = Kept(
            resume=resume, soc=battery.soc, charged_mwh=battery.charged_mwh, discharged_mwh=battery.discharged_mwh
        )
        write_files(self._path.parent, {self._path.name: msgspec.json.encode(kept)}, private=True)
        return kept

    def load(self) -> Kept | None:
        """Return what is kept, None when nothing is."""
        try:
            kept = typed_json.decode(self._path.read_bytes(), Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreError(f"{self._path}: {error}", hint="remove it to begin a new session") from None
        if kept.version != _VERSION:
            raise StoreError(f"{self._path} has format {kept.version}, this program reads {_VERSION}")
        return kept

    def remove(self) -> None:
        """Keep nothing any more."""
        remove_file(self._path)


def rest_s(resume: Resume, program: tuple[ProgramStep, ...], after_s: float | None, clock: Clock) -> float | None:
    """Return how many real seconds the vehicle rests by its own wish; None until somebody wakes it.

    A program that paused by itself says when it goes on; otherwise `after_s` (simulated s) does.
    """
    progress = resume.progress
    if progress is not None and progress.index < len(program):
        step = program[progress.index]
        if step.pause and step.for_s is not None:
            return max(0.0, (progress.since_ms + step.for_s * 1000 - clock.utc_ms()) / 1000 / clock.scale)
    return None if after_s is None else after_s / clock.scale


class Rest:
    """Rests until the charger wakes the vehicle, the driver does, or the time has come; then the link is up again."""

    def __init__(self, link: VehicleLink | None) -> None:
        self._link = link
        self._linked = asyncio.Event()
        self._woken = asyncio.Event()
        if link is not None:
            link.on_ready(lambda _: self._linked.set())

    def wake(self) -> None:
        """The driver wants to go on."""
        self._woken.set()

    async def take(self, seconds: float | None, *, link_s: float) -> str:
        """Rest; return who ended it: `charger`, `driver` or `time`. Raises TimeoutExpired when the link does not come
        back within `link_s` after that."""
        self._linked.clear()
        self._woken.clear()
        if self._link is not None:
            self._link.pause()
        waits = {asyncio.create_task(self._linked.wait()): "charger", asyncio.create_task(self._woken.wait()): "driver"}
        try:
            done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        who = next((waits[each] for each in done), "time")
        if self._link is not None and who != "charger":
            self._link.wake_up()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(link_s):
                    await self._linked.wait()
                return who
            raise TimeoutExpired("wake-up of the charger", link_s, hint="is it still there, and its pilot at 5 %?")
        return who
