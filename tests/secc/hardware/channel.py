"""A safety channel in a session in which all may flow, with parts of a driver that note their commands."""

import asyncio
from collections.abc import Callable
from typing import Final

from secc.hardware.safety import SafetyChannel
from secc.session import ports
from v2g.energy.settlement.records import ServiceChanged
from v2g.hardware.board.inputs import Input
from v2g.hardware.interfaces import Cut, Demand, OnFault, StageReport
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.watchdog import Watchdog
from v2g.observe import Observe
from v2g.safety import ChargerRating, Output, Phase, Request

RATING: Final = ChargerRating(charge_w=20_000, discharge_w=10_000)
ALL: Final = Output(20_000, 10_000, 60_000, 40_000, 450_000)
BOTH_WAYS: Final = ports.Journal(ServiceChanged(service="DC_BPT", discharge="standard", reason="renegotiated"))


def on_mains(place: "Place", watts: Callable[[], int], part: Cut | None = None) -> Callable[[Output, int], Output]:
    """Put the channel of a place at an outlet of three conductors and 230 V that measures the sum only."""

    def present() -> ports.Measured:
        return ports.Measured(230_000, watts() * 1000 // 230, power_w=watts())

    return place.channel.mains(present, volts=230, lines=3, part=part)


class Evse:
    """Notes faults, and reports each that begins or ends."""

    faults: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._callbacks: list[OnFault] = []
        self.reported: list[tuple[str, bool]] = []

    def on_fault(self, callback: OnFault) -> None:
        self._callbacks.append(callback)

    def fault(self, word: str, active: bool) -> None:
        self.reported.append((word, active))
        for callback in self._callbacks:
            callback(word, active)


class Board:
    """A control board that notes the monitor's inputs."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []

    def tell(self, what: Input) -> None:
        self.inputs.append(what)

    def on_new(self, callback: Callable[[], None]) -> None:
        callback()


class Place:
    """A channel in a session in which all of `ALL` may flow."""

    def __init__(self) -> None:
        self.clock = Clock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=0))
        self.watchdog, self.events, self.evse = Watchdog(), list[Observe](), Evse()
        self.channel = SafetyChannel(RATING, self.clock, self.events.append, watchdog=self.watchdog)
        self.channel.stand_over(self.evse)
        asked = Request(phase=Phase.POWER, power_s=1e6, closed_s=1e6, bears=ALL, ready=True)
        notified = self.channel.converse(lambda message, _: message)
        self.channel.command(ports.TransactionStarted("session", "DEV2GC00000001"))
        notified(asked, 0)
        self.board = Board()
        self.channel.forward_to(self.board)
        self.board.inputs.clear()

    @property
    def opened(self) -> list[str]:
        """Why the monitor has opened, each time."""
        return [str(each.data["reason"]) for each in self.events if each.name == "opened"]

    async def close(self) -> None:
        self.channel.close()

    def passes(self, output: Output = ALL) -> Output:
        return self.channel.drive(output)


class Broken:
    """A contactor that takes no command."""

    closed = False

    def cut(self) -> None:
        """It has no power to remove."""

    def set(self, *, closed: bool) -> None:
        raise RuntimeError

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """It never changes."""


class Switch:
    """A contactor that obeys, at once or after a delay, and reports."""

    closed, delay_s = False, 0.0
    obeys_cut, was_cut = True, False

    def __init__(self) -> None:
        self.listeners: list[Callable[[bool], None]] = []
        self.cuts = 0
        self.commanded: list[bool] = []

    def set(self, *, closed: bool) -> None:
        self.commanded.append(closed)
        self.was_cut = self.was_cut and closed
        closed = closed and not self.was_cut
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, self.move, closed)
        else:
            self.move(closed)

    def move(self, closed: bool) -> None:
        """Move by itself."""
        self.closed = closed
        for each in self.listeners:
            each(closed)

    def on_change(self, callback: Callable[[bool], None]) -> None:
        self.listeners.append(callback)

    def cut(self) -> None:
        self.cuts += 1
        self.was_cut = self.obeys_cut


class Stage:
    """A power stage that notes what it is to drive, and reports nothing by itself."""

    present = StageReport(400_000, 0)
    max_var = 7

    def __init__(self) -> None:
        self.driven: list[Demand] = []
        self.listeners: list[Callable[[StageReport], None]] = []
        self.faults: list[OnFault] = []
        self.reactive = self.cuts = 0

    def drive(self, demand: Demand) -> None:
        self.driven.append(demand)

    def react(self, var: int) -> None:
        self.reactive = var

    def on_report(self, callback: Callable[[StageReport], None]) -> None:
        self.listeners.append(callback)

    def report(self) -> None:
        """Report `present`."""
        for each in self.listeners:
            each(self.present)

    def on_fault(self, callback: OnFault) -> None:
        self.faults.append(callback)

    def cut(self) -> None:
        self.cuts += 1


class Isolation:
    """Measures what it is set to."""

    resistance_ohm: int | None = 1_000_000
    takes_s = 0.0

    def __init__(self) -> None:
        self.measured: list[int] = []

    async def measure(self, voltage_mv: int) -> int | None:
        self.measured.append(voltage_mv)
        await asyncio.sleep(self.takes_s)
        return self.resistance_ohm
