"""An EVSE of parts that do nothing by themselves, in simulated time."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Protocol, TypeVar

import msgspec

from secc.hardware.evse import Evse, Parts, WatchConfig
from secc.session import ports
from secc.session.ports import MeterRead
from tests.secc.hardware.channel import Switch
from tests.virtual_time import in_simulated_time
from v2g.hardware.interfaces import MeterValues, OnFault
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.iso15118.engine.session import Command, Fact


class Playable(Protocol):
    """A place in which a test may play."""

    async def close(self) -> None:
        """End what is there."""


AnyPlace = TypeVar("AnyPlace", bound=Playable)


class Cabinet:
    """No lock; commands are noted."""

    has_latch = False
    fan_rpm: int | None = None

    def __init__(self) -> None:
        self.temperatures: dict[str, float | None] = {}
        self.lights: list[str] = []
        self.fans: list[int] = []

    def set_light(self, light: str) -> None:
        self.lights.append(light)

    def set_latch(self, *, locked: bool) -> None:
        """There is none."""

    def set_fan(self, percent: int) -> None:
        self.fans.append(percent)

    def on_latch(self, callback: Callable[[bool], None]) -> None:
        """There is none."""

    def on_fault(self, callback: OnFault) -> None:
        """It finds nothing."""


class Meter:
    """Its registers are set."""

    serial, power_w, read_at, rollover_mwh = "M", 0, 0.0, None
    import_mwh = export_mwh = saved = 0
    kept: MeterRead | None = None

    def keep(self, reading: MeterRead) -> None:
        self.kept = reading

    def read(self, utc_ms: int) -> MeterRead:
        return MeterRead(utc_ms, self.import_mwh, self.export_mwh)

    async def refresh(self) -> None:
        """They are always new."""

    def on_fault(self, callback: OnFault) -> None:
        """It finds nothing."""

    def save(self, *, sync: bool = True) -> None:
        self.saved += 1


class LineMeter:
    """A meter on a line, which shows what it is set to."""

    has_voltage, lost = True, False

    def __init__(self, rollover_mwh: int | None = None) -> None:
        self.rollover_mwh = rollover_mwh
        self.values = MeterValues(0, 0, power_w=0)
        self.listeners: list[Callable[[], None]] = []
        self.faults: list[OnFault] = []
        self.refreshed = 0

    async def refresh(self) -> None:
        self.refreshed += 1

    def on_change(self, callback: Callable[[], None]) -> None:
        self.listeners.append(callback)

    def on_fault(self, callback: OnFault) -> None:
        self.faults.append(callback)

    def show(self, **values: Any) -> None:
        """The meter was read."""
        self.values = msgspec.structs.replace(self.values, **values)
        for each in self.listeners:
            each()


class Log:
    """Results of checks."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str, int, str]] = []

    def keep(self, check: str, failed: str, *, took_ms: int, session_id: str = "") -> None:
        self.kept.append((check, failed, took_ms, session_id))


class Bare:
    """What an EVSE is made of, and what comes of it."""

    evse: Evse

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = Clock(ClockConfig(origin_monotonic=self.loop.time(), origin_utc_ms=0))
        self.switch, self.cabinet, self.meter, self.log = Switch(), Cabinet(), Meter(), Log()
        self.parts: Any = Parts(
            self.switch, self.cabinet, self.meter, log=self.log,  # type: ignore[arg-type]
            clock=self.clock, watch=WatchConfig(), report_s=1e6, most_w=20_000,
        )  # fmt: skip
        self.facts: list[Fact] = []

    @property
    def now(self) -> float:
        """Seconds since the beginning, to a millisecond."""
        return round(self.loop.time() - 1000, 3)

    @property
    def faults(self) -> list[str]:
        """All faults that were reported, in order."""
        return [each.reason for each in self.facts if isinstance(each, ports.HardwareFault)]

    async def do(self, command: Command) -> Fact | None:
        """Execute a command to its end."""
        doing = self.evse.execute(command)
        return None if doing is None else await doing

    async def close(self) -> None:
        await self.evse.close()

    async def connect(self) -> None:
        """An authorised session closes the contactor."""
        self.evse.subscribe(self.facts.append)
        await self.do(ports.TransactionStarted("0011223344556677", ""))
        assert await self.do(ports.CloseContactors()) == ports.ContactorState(closed=True)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    in_simulated_time(scenario())


def play(make: Callable[..., AnyPlace], scene: Callable[[AnyPlace], Coroutine[Any, Any, None]], **how: Any) -> None:
    """Play a scene in simulated time, at a place of its own."""

    async def scenario() -> None:
        place = make(**how)
        await scene(place)
        await place.close()

    run(scenario)


def at(
    make: Callable[..., AnyPlace], *steps: Callable[[AnyPlace], Coroutine[Any, Any, Any]], **how: Any
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Have a test play at such a place, its first argument, after these steps."""

    def decorate(scene: Callable[..., Any]) -> Callable[..., None]:
        @wraps(scene)
        def test(**given: Any) -> None:
            async def whole(place: AnyPlace) -> None:
                for step in steps:
                    await step(place)
                await scene(place, **given)

            play(make, whole, **how)

        _, *others = inspect.signature(scene).parameters.values()
        test.__signature__ = inspect.Signature(others)  # type: ignore[attr-defined]
        return test

    return decorate
