"""The last good reading of a meter on a line: kept, waited for, and lost when no other follows."""

import asyncio
import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Final, Self

from v2g.errors import TransportError
from v2g.hardware.interfaces import MeterValues
from v2g.hardware.meters.registers import swapped
from v2g.io.runtime.clock import Clock
from v2g.observe import Callbacks, Observe
from v2g.units import MWH_PER_KWH

SILENT: Final = "it does not answer"


def without_echo(data: bytes, sent: bytes) -> bytes:
    """Return what a line has received since something was sent, without the echo of many adapters of two-wire lines and
    optical heads; nothing while it may still be that echo."""
    if data.startswith(sent):
        return data[len(sent) :]
    return b"" if sent.startswith(data) else data


class MeterReadings(ABC):
    """See EnergyMeter: what meters on all lines have in common.

    Each subclass opens its line, calls `_take` with every good reading, and `_missed` while there is none. Invalid and
    late readings are discarded.
    """

    @abstractmethod
    async def open(self) -> None:
        """Open the line and wait for the first reading. Raises TransportError without one."""

    @abstractmethod
    async def stop(self) -> None:
        """Close the line."""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """Open the meter, and close it at the end. Raises as `open` does."""
        await self.open()
        try:
            yield self
        finally:
            await self.stop()

    def __init__(
        self,
        place: str,
        clock: Clock,
        observe: Callable[[Observe], None],
        *,
        lost_s: float,
        rollover_kwh: int | None,
        swap: bool,
    ) -> None:
        self._place, self._clock, self._lost_s, self._swap = place, clock, lost_s, swap
        self._observe = observe
        self._rollover_kwh = rollover_kwh
        self._values: MeterValues | None = None
        self._taken = clock.monotonic()
        self._flow_taken = math.inf  # when power or currents were last read, by a meter that measures them
        self.lost = False
        """Whether it gives no readings."""
        self._changed = asyncio.Event()
        self.on_fault: Final = Callbacks[str, bool]()
        """Called when the meter stops responding or responds again (`meter_lost`)."""
        self.on_change: Final = Callbacks[[]]()
        """Called with each new reading."""
        self.errors = 0
        """Polls and telegrams that gave no reading."""
        self.failure = SILENT
        """Why the last one gave none."""

    @property
    def rollover_mwh(self) -> int | None:
        """Where its registers start again at 0, mWh; None if they do not."""
        return None if self._rollover_kwh is None else self._rollover_kwh * MWH_PER_KWH

    @property
    def has_voltage(self) -> bool:
        """Whether it measures a voltage."""
        return self._values is not None and self._values.voltage_mv is not None

    @property
    def values(self) -> MeterValues:
        """The last good reading. Raises TransportError before `open`."""
        if self._values is None:
            raise TransportError(f"the meter on {self._place} has not answered")
        return self._values

    async def refresh(self) -> None:
        """Return when a reading that began after this call has come, or the meter is lost."""
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._lost_s):
                while self._taken < began or self._values is None:
                    await self._changed.wait()
        except TimeoutError:
            return

    # -- for subclasses

    async def _first(self, timeout_s: float, hint: str) -> None:
        """Wait for the first reading. Raises TransportError with the hint and the last failure without one."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._values is None:
                    await self._changed.wait()
        except TimeoutError:
            raise TransportError(f"no reading of the meter on {self._place}: {self.failure}", hint=hint) from None

    def _take(self, values: MeterValues, began: float) -> None:
        """Keep a reading that began at this time."""
        self._values = swapped(values) if self._swap else values
        self._taken, self.failure = began, SILENT
        if values.power_w is not None or values.currents is not None or values.line_w:
            self._flow_taken = began
        if self._flow_taken in (began, math.inf):
            self._notify(lost=False)
        else:
            self._missed("the reading has neither power nor currents")
        self.on_change.tell()
        self._changed.set()
        self._changed = asyncio.Event()

    def _missed(self, why: str = "") -> None:
        """Note that a reading is invalid (`why`), or has not come."""
        if why:
            self.errors += 1
            self.failure = why
        if self._clock.monotonic() - min(self._taken, self._flow_taken) >= self._lost_s:
            self._notify(lost=True)

    def _notify(self, *, lost: bool) -> None:
        if lost is not self.lost:
            self.lost = lost
            if lost:
                self._observe(Observe("hardware", "meter_lost", {"place": self._place, "why": self.failure}))
            self.on_fault.tell("meter_lost", lost)
