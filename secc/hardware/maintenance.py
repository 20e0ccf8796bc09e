"""A charger's parts outside of sessions, for commissioning: what they report, and each of them moved by hand.

Nothing moves while a vehicle is there, a voltage is present, or a part reports a fault; what begins meanwhile opens the
contactor. The safety channel is in between: no power may flow. See `v2g hardware show` and `exercise`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, Literal, get_args

import msgspec

from secc.hardware.assembly import BareParts
from v2g.errors import RefusedError
from v2g.hardware.faults import FAULTS, Light
from v2g.hardware.interlock import TOUCH_MV
from v2g.iec61851.pilot import PilotState

SETTLE_S: Final = 1.0
"""Time for parts to report for the first time."""

STEP_S: Final = 1.0
"""How long a part stays as it was moved."""

MOVE_S: Final = 3.0
"""Time for a part to move."""

PartName = Literal["contactor", "lock", "fan", "lamp"]


class PartsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts report right now. None: the part is missing, or does not answer."""

    contactor: Literal["open", "closed"]
    pilot: str | None
    duty_percent: float | None
    plug: str | None
    lock: bool
    """Whether there is a plug lock."""
    temperatures_c: dict[str, float | None]
    fan_rpm: int | None
    voltage_v: float | None
    current_a: float | None
    insulation_ohm: int | None
    import_wh: float | None
    export_wh: float | None
    faults: tuple[str, ...]


class Maintenance:
    """The parts, and the faults that they report from now on. `latched` faults of the charger count as well."""

    def __init__(self, parts: BareParts, latched: tuple[str, ...] = ()) -> None:
        self._parts = parts
        self._faults = dict.fromkeys(latched)
        parts.board.cabinet.on_fault(self.fault)
        parts.meter.on_fault(self.fault)
        if parts.stage is not None:
            parts.stage.stage.on_fault(self.fault)
        parts.safety.stand_over(self)

    # -- the hardware that the safety channel stands over

    @property
    def faults(self) -> tuple[str, ...]:
        """Active faults."""
        return tuple(self._faults)

    def on_fault(self, callback: Callable[[str, bool], None]) -> None:
        """Ignore: each step of an exercise looks at the faults, and opens the contactor."""

    def fault(self, word: str, active: bool) -> None:
        """A fault begins or ends."""
        if active:
            self._faults[word] = None
        else:
            self._faults.pop(word, None)

    # -- what is there

    async def report(self) -> PartsReport:
        """Return what the parts report, once they have had the time to."""
        await asyncio.sleep(SETTLE_S)
        board, stage, pilot = self._parts.board, self._parts.stage, self._parts.board.pilot
        reading = self._parts.meter.read(0)
        present = None if stage is None else stage.stage.present
        return PartsReport(
            contactor="closed" if board.contactor.closed else "open",
            pilot=None if pilot is None else pilot.state.value,
            duty_percent=None if pilot is None else pilot.duty_percent,
            plug=None if pilot is None else pilot.proximity.state,
            lock=board.cabinet.has_latch,
            temperatures_c=board.cabinet.temperatures,
            fan_rpm=board.cabinet.fan_rpm,
            voltage_v=None if present is None else present.voltage_mv / 1000,
            current_a=None if present is None else present.current_ma / 1000,
            insulation_ohm=None if stage is None else stage.isolation.resistance_ohm,
            import_wh=reading.import_mwh / 1000 if reading.answered else None,
            export_wh=reading.export_mwh / 1000 if reading.answered else None,
            faults=self.faults,
        )

    @property
    def obstacle(self) -> str:
        """Why no part may be moved now; empty if they may."""
        pilot, stage = self._parts.board.pilot, self._parts.stage
        serious = [word for word in self._faults if FAULTS[word].stops]
        if serious:
            return f"fault {serious[0]}: {FAULTS[serious[0]].sentence}"
        if pilot is not None and pilot.state is not PilotState.A:
            return f"a vehicle is connected, or the pilot is disturbed (state {pilot.state.value})"
        if stage is not None and stage.stage.present.voltage_mv >= TOUCH_MV:
            return f"{stage.stage.present.voltage_mv / 1000:g} V are at the output"
        return ""

    async def exercise(self, part: PartName) -> AsyncIterator[str]:
        """Move a part, and yield what it does. Raises RefusedError where it may not be moved, or may not any more, or
        does not follow."""
        await asyncio.sleep(SETTLE_S)
        self._check()
        try:
            async for line in _EXERCISES[part](self):
                yield line
        finally:
            self._parts.board.contactor.set(closed=False)
            self._parts.safety.maintain(seconds=0, voltage_mv=0)
            self._parts.board.cabinet.set_fan(0)
            self._parts.board.cabinet.set_light("available")

    # -- inside

    def _check(self) -> None:
        if self.obstacle:
            raise RefusedError(self.obstacle, reason="interlock", hint="nothing is moved, and the contactor is open")

    async def _until(self, holds: Callable[[], bool], what: str) -> float:
        """Wait for a part to move, as long as it may; return how long that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not holds():
            self._check()
            if loop.time() - began > MOVE_S:
                raise RefusedError(f"{what} within {MOVE_S:g} s", reason="does_not_follow", hint="see its wiring")
            await asyncio.sleep(0.02)
        return loop.time() - began

    async def _hold(self) -> None:
        end = asyncio.get_running_loop().time() + STEP_S
        while asyncio.get_running_loop().time() < end:
            self._check()
            await asyncio.sleep(0.02)

    async def _contactor(self) -> AsyncIterator[str]:
        contactor = self._parts.board.contactor
        if contactor.closed:
            raise RefusedError("the contactor is closed already", reason="interlock", hint="is it welded?")
        self._parts.safety.maintain(seconds=2 * MOVE_S + STEP_S, voltage_mv=TOUCH_MV)
        for closed, word in ((True, "closed"), (False, "open")):
            contactor.set(closed=closed)
            took = await self._until(lambda closed=closed: contactor.closed is closed, f"the contactor is not {word}")  # type: ignore[misc]
            yield f"contactor {word} after {took * 1000:.0f} ms"
            await self._hold()

    async def _lock(self) -> AsyncIterator[str]:
        cabinet, moved = self._parts.board.cabinet, list[bool]()
        if not cabinet.has_latch:
            raise RefusedError("the charger has no plug lock", reason="missing")
        cabinet.on_latch(moved.append)
        for locked, word in ((True, "locked"), (False, "released")):
            cabinet.set_latch(locked=locked)
            took = await self._until(lambda locked=locked: moved[-1:] == [locked], f"the lock is not {word}")  # type: ignore[misc]
            yield f"lock {word} after {took * 1000:.0f} ms"

    async def _fan(self) -> AsyncIterator[str]:
        cabinet = self._parts.board.cabinet
        if cabinet.fan_rpm is None:
            raise RefusedError("the charger has no fan", reason="missing")
        cabinet.set_fan(100)
        took = await self._until(lambda: bool(cabinet.fan_rpm), "the fan does not turn")
        await self._hold()
        yield f"fan turns after {took:.1f} s, {cabinet.fan_rpm} rpm"

    async def _lamp(self) -> AsyncIterator[str]:
        for light in get_args(Light):
            self._parts.board.cabinet.set_light(light)
            yield f"lamp {light}"
            await self._hold()


_EXERCISES: Final[Mapping[str, Callable[[Maintenance], AsyncIterator[str]]]] = {
    "contactor": Maintenance._contactor,
    "lock": Maintenance._lock,
    "fan": Maintenance._fan,
    "lamp": Maintenance._lamp,
}
