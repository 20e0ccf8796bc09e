"""Changes the line conductors of an AC outlet while a vehicle is connected: without power, and with the contactor open.

A vehicle's own charger must not see its phases come and go under current. So it first gets a limit of 0 in the
messages or the duty cycle of its edition, and the time to follow (IEC 61851-1: 5 s, or 3 s without oscillator); then
the contactor opens as at a trip of the grid, which no session ends for, the conductors change, and the vehicle is left
without mains for a while: some do not notice a shorter interruption, and go on with phases that are gone.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from secc.energy_manager.grid import SiteGrid
from secc.hardware.ac import FOLLOW_S
from secc.hardware.evse import Evse
from secc.session import ports
from v2g.hardware.interfaces import PhaseSwitch
from v2g.io.runtime.supervision import child
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe

NO_CURRENT_MA: Final = 1_000
"""With less the contactor opens without load."""
OPEN_S: Final = 3.0
"""Time for the contactor to open."""
LOOK_S: Final = 0.05


class PhaseChange:
    """The changes of one outlet, one after the other; the last request counts. `pause_s` is how long the vehicle has no
    mains, `interval_s` the least time from one change to the next, which waits for it, real seconds."""

    def __init__(
        self,
        switch: PhaseSwitch,
        hardware: Evse,
        grid: SiteGrid,
        tell: Callable[[Sequence[Fact]], None],
        observe: Callable[[Observe], None],
        *,
        pause_s: float,
        interval_s: float,
    ) -> None:
        self._switch, self._hardware, self._grid = switch, hardware, grid
        self._tell, self._observe, self._pause_s = tell, observe, pause_s
        self._interval_s, self._next_at = interval_s, 0.0
        self._wanted = switch.lines
        self._task: asyncio.Task[None] | None = None

    def request(self, lines: tuple[int, ...]) -> None:
        """Use these conductors (0 to 2) from now on."""
        self._wanted = lines
        if self._task is None or self._task.done():
            self._task = child(self._change(), name="phases")

    async def _change(self) -> None:
        grid, hardware, loop = self._grid, self._hardware, asyncio.get_running_loop()
        while self._wanted != self._switch.lines:
            wanted = self._wanted
            if (early_s := self._next_at - loop.time()) > 0:  # limits of power and current apply meanwhile
                self._observe(
                    Observe("power", "phases_deferred", {"lines": _names(wanted), "wait_s": round(early_s, 1)})
                )
                await asyncio.sleep(early_s)
                continue
            self._observe(Observe("power", "phases_changing", {"lines": _names(wanted)}))
            try:
                self._tell(grid.interrupt(rest=True))
                await _until(lambda: abs(hardware.present.current_ma) < NO_CURRENT_MA, FOLLOW_S)
                self._tell(grid.interrupt(rest=True, disconnect=True))
                if not await _until(lambda: not (hardware.contactors_closed or hardware.interlock.commanded), OPEN_S):
                    self._observe(Observe("power", "phases_refused", {"reason": "the contactor does not open"}))
                    self._wanted = self._switch.lines
                    return
                self._next_at = loop.time() + self._interval_s
                self._switch.set(wanted)
                await asyncio.sleep(self._pause_s)
                used = len(self._switch.lines)
                self._tell((ports.PhasesChanged(used),))
                self._observe(Observe("power", "phases_changed", {"lines": _names(self._switch.lines)}))
                if self._switch.lines != wanted:  # its feedback shows others: they are not asked for again
                    self._observe(Observe("power", "phases_refused", {"reason": "the switch has not moved"}))
                    self._wanted = self._switch.lines
                    self._switch.set(self._wanted)  # or it stays a fault, and the contactor open
            finally:
                self._tell(grid.interrupt(rest=False))


def _names(lines: tuple[int, ...]) -> str:
    return " ".join(f"L{line + 1}" for line in lines)


async def _until(holds: Callable[[], bool], seconds: float) -> bool:
    """Return whether a condition holds in time, real seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not holds():
        if loop.time() >= end:
            return False
        await asyncio.sleep(LOOK_S)
    return True
