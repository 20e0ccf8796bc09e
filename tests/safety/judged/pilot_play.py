"""Plays a list of steps to a charge point without messages on its rig, before the judge of `pilot_rule`. Others may be
at the same feeder, with vehicles of their own. See `play`; this one's command is
`python -m tests.safety.judged.pilot_play KIND '[[...], ...]'`.
"""

import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Literal, cast

from msgspec.structs import replace

from pki_tools.tree import PkiTree, make_pki
from secc.charger import SHARE_S, Charger
from secc.config import EvseConfig
from secc.evse.ports import LinkDown
from secc.hardware.evse import WatchConfig
from secc.session import ports
from tests import patient
from tests.safety.controllers import CABLE_OHM, CAR_W, Desk, OnRig, controllers, grid_signal, program
from tests.safety.judged.pilot_rule import PilotJudge
from tests.safety.judged.play import DIPS, LOOK_S, SENSED_S, swing
from tests.safety.judged.steps import Chances, Step, goes_on, reported, script, walk
from tests.virtual_time import in_simulated_time
from v2g.energy.limits import GridResponse
from v2g.iec61851.pilot import PilotState
from v2g.slac.evse import EvseSlacConfig
from v2g.slac.shared import FAST
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.data_transfer import GridSignalReceived
from v2g_station.blocks.der.response import Respond
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.transactions.managed import RemoteStopRequested, SuspendEnergy

Kind = Literal["bare", "ventilated", "matching"]
KINDS: Final[tuple[Kind, ...]] = ("bare", "ventilated", "matching")
"""A charge point with no data link, one in a room with a fan, and one that waits for a vehicle to match first, and then
begins anew by F."""

FAULTS: Final[Mapping[str, tuple[str, float]]] = {
    "estop": ("emergency_stop", 0),
    "over_temperature": ("over_temperature", 120),
    "sensor_lost": ("temperature_lost", 0),
    "meter_silent": ("meter_lost", 0),
    "weld": ("", 0),
    "stuck_closed": ("", 0),
    "drop": ("", 0),
    "no_close": ("", 0),
}
"""See play.FAULTS."""

CABLES_A: Final[Mapping[int | None, float]] = {CABLE_OHM: 32.0, 1_500: 13.0}
"""What cables bear by the resistor of the plug (IEC 61851-1 Table B.2)."""

MUCH_W: Final = 30_000
"""More than the charge point can pass on."""

SOON: Final = replace(FAST, evse_slac_init_s=1.0)
"""A charge point that does not wait long for a vehicle to match."""

UNSOUND: Final = ("fault", "report", "break", "draw", "in_turns", "swing")
"""After these steps something is wrong that the safety monitor may speak of; in a sound charger it is silent."""


class PilotPlay:
    """One EVSE whose judge observes everything, and those beside it at its feeder."""

    def __init__(self, every: tuple[OnRig, ...], kind: Kind) -> None:
        self.found, *self._neighbours = every
        self.kind = kind
        first = self.found.controller
        self._charger = Charger(
            first.config, first.clock, cast(Any, lambda _: None), first.transport,
            tuple(each.controller for each in every),
        )  # fmt: skip
        self.judge = PilotJudge(ventilation=kind == "ventilated", most_w=CAR_W, evses=len(every))
        self.energy_ws = 0.0
        """What has flowed into vehicles, Ws."""
        self._loop = asyncio.get_running_loop()
        self._version = 0
        self._loop.set_exception_handler(self._broke_down)
        self.looking = self._loop.create_task(self._look())

    def _broke_down(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.judge.wrong.append(f"it broke down: {context.get('exception')!r}")

    async def _look(self) -> None:
        car, faults, shared_at = self.found.car, self.found.faults, 0.0
        while True:
            stuck, now = "weld" in faults or "stuck_closed" in faults, self._loop.time()
            self.judge.measured(
                now,
                closed=car.live,
                power_w=car.power_w,
                shown_w=car.shown_w,
                line_ma=car.line_ma,
                stuck=stuck,
            )
            if self._neighbours:
                cars = [car, *(each.car for each in self._neighbours)]
                lines = zip_longest(*(each.line_ma for each in cars), fillvalue=0)
                powers_w = sum(each.power_w for each in cars)
                self.judge.shared(now, power_w=powers_w, line_ma=tuple(map(sum, lines)), stuck=stuck)
            if self._neighbours and now >= shared_at + SHARE_S - 1e-6:
                self._charger.share()
                shared_at = now
            self.energy_ws += car.power_w * LOOK_S
            await asyncio.sleep(LOOK_S)

    async def do(self, step: Step) -> None:
        """Do a step; one that has no meaning now does nothing."""
        verb, *rest = step
        waits = getattr(self, f"do_{verb}")(*rest)
        await (asyncio.sleep(0.01) if waits is None else waits)
        goes_on(self.looking)
        assert not self.judge.wrong, self.judge.wrong

    # -- time, and journal

    def do_phases(self, drawn: int) -> None:
        """The first step only: the phases of the vehicle, with which it is made."""

    async def do_wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def do_served(self) -> None:
        """Wait until the vehicle is served, and nominal duty may come."""
        for _ in range(600):
            if self.found.controller.busy or self.found.car.state is None:
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(_BEGIN_S)

    def do_disk(self, seconds: float) -> None:
        self.found.disk.seconds = seconds

    # -- the vehicle

    def do_plug(self, ohm: int | None = CABLE_OHM, diode: bool = True) -> None:
        if self.found.car.state is None:
            self.found.car.plug(proximity_ohm=ohm, diode=diode)
            self.judge.wire(PilotState.B, sound=ohm is not None)
            self.judge.limit_a("cable", CABLES_A.get(ohm, 0.0))

    def do_unplug(self) -> None:
        self.found.car.unplug()
        self.judge.wire(None)

    def do_pilot(self, letter: str) -> None:
        car = self.found.car
        if car.state is not None:
            car.show(PilotState(letter))
            self.judge.wire(PilotState(letter))

    def do_break(self, how: str) -> None:
        """Let the wire, or the plug, be broken; showing a state mends it."""
        car = self.found.car
        if car.state is None:
            return
        shows = car.state
        if how == "short":
            car.short()
        else:
            car.plug(proximity_ohm=None if how == "loose" else CABLE_OHM, diode=how != "diode")
            car.show(shows)
        self.judge.wire(shows, sound=False)

    def do_mend(self) -> None:
        car = self.found.car
        if car.state is not None:
            shows = car.state
            car.plug()
            car.show(shows)
            self.judge.wire(shows)

    def do_draw(self, watts: int, obeys: bool = True, late_s: float = 0.0) -> None:
        self.found.car.draw(watts, obeys=obeys, late_s=late_s)

    async def do_in_turns(self, watts: int, on_s: float, off_s: float, times: int) -> None:
        """Draw so much, whatever is shown, and obey again in turns."""
        for _ in range(times):
            self.do_draw(watts, obeys=False)
            await asyncio.sleep(on_s)
            self.do_draw(CAR_W)
            await asyncio.sleep(off_s)

    # -- back end and grid

    def do_identify(self, word: str = "accepted") -> None:
        if self.found.desk.answer(AuthorizationStatus(word)) and word == "accepted":
            self.judge.authorised()

    def do_stop(self, reason: str) -> None:
        """The back end stops the transaction that runs."""
        reference = self.found.desk.reference
        self._charger.carry_out(RemoteStopRequested(reference=reference, cause=reason))
        if reference:
            self.judge.stop()

    def do_end(self, reason: str) -> None:
        """Whoever is there is to end."""
        if self.found.controller.busy:
            self.judge.stop()
        self.found.controller.tell(ports.StopRequested(reason))

    def do_cut(self, reason: str) -> None:
        if self.found.controller.busy:
            self.judge.over()
            self.found.controller.fact(LinkDown(reason))

    def do_serve(self, operative: bool) -> None:
        self._charger.carry_out(Serve(evse_id=1, operative=operative))

    def do_profile(self, charge_w: float | None, setpoint_w: float | None = None) -> None:
        self._charger.carry_out(ProfileLimits(evse_id=1, charge_w=charge_w, setpoint_w=setpoint_w))
        self.judge.limit("profile", charge_w)

    def do_line(self, amperes: float | None) -> None:
        """A profile in A, of each conductor."""
        self._charger.carry_out(ProfileLimits(evse_id=1, charge_a=amperes))
        self.judge.limit_a("profile", float("inf") if amperes is None else amperes)

    async def do_swing(self, low_w: int, high_s: float, low_s: float, times: int, draws_w: int | None = None) -> None:
        """Let a profile go up and down again and again, and the vehicle follow it, or draw the same all the while."""
        if draws_w is not None:
            self.do_draw(draws_w, obeys=False)
        for watts, seconds in ((CAR_W, high_s), (low_w, low_s)) * times:
            self.do_profile(watts)
            await asyncio.sleep(seconds)
        self.do_draw(CAR_W)

    def do_signal(self, watts: int) -> None:
        """The grid operator lets the site draw so much."""
        self._version += 1
        signal = grid_signal(self._version, charge_w=watts, discharge_w=0)
        self._charger.carry_out(GridSignalReceived(signal=signal))
        self.judge.limit("operator", watts)

    def do_share(self, sharers: int) -> None:
        """So many vehicles are at the feeder, of 22 kW, this one or its place included."""
        for number, each in enumerate(self._neighbours, 2):
            if number > sharers:
                each.car.unplug()
            elif each.car.state is None:
                each.desk = each.controller.backend = Desk(says=AuthorizationStatus.ACCEPTED)
                each.car.plug()
                each.car.show(PilotState.C)

    def do_suspend(self, suspended: bool) -> None:
        """The identifier has turned out to be invalid, or is valid again (E05)."""
        self._charger.carry_out(SuspendEnergy(evse_id=1, suspended=suspended))
        self.judge.limit("authorization", 0 if suspended else None)

    def do_response(self, ceiling_w: int | None, delta_w: int = 0, trip: bool = False) -> None:
        """Frequency and voltage bound power (R04)."""
        floor_w = 0 if ceiling_w == 0 else None
        response = GridResponse(delta_w=delta_w, floor_w=floor_w, ceiling_w=ceiling_w, trip=trip)
        self._charger.carry_out(Respond(evse_id=1, response=response))
        self.judge.trip(active=trip)
        self.judge.limit("response", None if ceiling_w is None else max(0, ceiling_w))

    # -- hardware

    def do_fault(self, name: str, active: bool = True) -> None:
        word, value = FAULTS[name]
        faults = self.found.faults
        faults.set(name, active=active, value=value)
        if word and active:
            self._loop.call_later(SENSED_S, lambda: name in faults and self.judge.fault(word, active=True))
        elif word:
            self.judge.fault(word, active=False)

    def do_report(self, reason: str = "stage_tripped") -> None:
        """The session receives a fault that nobody else knows."""
        if self.found.controller.busy:
            self.judge.stop()
            self.judge.over()
        self.found.controller.tell(ports.HardwareFault(reason))


_BEGIN_S: Final = 5.0
"""Until F and X1, by which a charge point begins anew, are over."""

_PLUGGED: Final[tuple[Step, ...]] = (("plug",), ("served",))
_OFFERED: Final[tuple[Step, ...]] = (*_PLUGGED, ("identify",), ("wait", 1.0))
_CHARGING: Final[tuple[Step, ...]] = (*_OFFERED, ("pilot", "C"), ("wait", 6.0))

STATES: Final[Mapping[str, tuple[Step, ...]]] = {
    "nobody": (),
    "just plugged": (("plug",),),
    "on the way": (("plug",), ("wait", 1.5)),
    "waiting": _PLUGGED,
    "waiting in C": (*_PLUGGED, ("pilot", "C"), ("wait", 1.0)),
    "offered": _OFFERED,
    "identified on the way": (("plug",), ("wait", 1.5), ("identify",), ("pilot", "C")),
    "closing": (*_OFFERED, ("pilot", "C")),
    "charging": _CHARGING,
    "ventilation": (*_OFFERED, ("pilot", "D"), ("wait", 6.0)),
    "interrupted by the vehicle": (*_CHARGING, ("pilot", "B"), ("wait", 1.0)),
    "going off": (*_CHARGING, ("profile", 0), ("wait", 0.2)),
    "held": (*_CHARGING, ("profile", 0), ("wait", 5.0)),
    "held in B": (*_OFFERED, ("profile", 0), ("wait", 1.0)),
    "lowered": (*_CHARGING, ("profile", 7_000), ("wait", 0.5)),
    "woken": (*_OFFERED, ("wait", 31.0)),
    "asleep": (*_OFFERED, ("wait", 90.0)),
    "stopping": (*_CHARGING, ("stop", "deauthorized"), ("wait", 0.2)),
    "ended": (*_CHARGING, ("stop", "remote"), ("wait", 5.0)),
    "suspended": (*_CHARGING, ("suspend", True), ("wait", 1.0)),
    "tripped": (*_CHARGING, ("response", 0, 0, True), ("wait", 1.0)),
    "at fault": (*_CHARGING, ("fault", "estop"), ("wait", 2.0)),
    "F after a fault": (*_CHARGING, ("fault", "estop"), ("wait", 0.1)),
    "fault is over": (*_CHARGING, ("fault", "estop"), ("wait", 3.0), ("fault", "estop", False), ("wait", 1.0)),
    "welded": (*_CHARGING, ("fault", "weld"), ("pilot", "B"), ("wait", 1.0)),
    "dropped": (*_CHARGING, ("fault", "drop"), ("wait", 1.0)),
    "shorted": (*_CHARGING, ("break", "short"), ("wait", 1.0)),
    "greedy": (*_CHARGING, ("draw", MUCH_W, False)),
    "out of service": (*_CHARGING, ("serve", False), ("wait", 1.0)),
    "unplugged under power": (*_CHARGING, ("unplug",), ("wait", 0.02)),
    "the next one, on a slow disk": (
        *(*_CHARGING, ("pilot", "B"), ("wait", 1.0), ("disk", 4.0)),
        *(("unplug",), ("wait", 0.5), ("plug",), ("wait", 0.5)),
    ),
}
"""Everything that a charge point can be in, and the way there."""

TOLD: Final[tuple[Step, ...]] = (
    ("plug",), ("plug", 1_500), ("unplug",),
    *(("pilot", letter) for letter in "BCD"),
    *(("break", how) for how in ("short", "diode", "loose")), ("mend",),
    ("draw", MUCH_W, False), ("draw", CAR_W, True, 4.9), ("draw", -6_000, False), ("draw", 0),
    ("identify",), ("identify", "unknown"),
    *(("stop", reason) for reason in ("deauthorized", "remote", "energy_limit")),
    ("end", "reset"), *(("cut", reason) for reason in ("link_lost", "shut_down")),
    ("serve", False), ("serve", True),
    *(("profile", watts) for watts in (None, 0, 3_000, 5_000, 11_000)), ("profile", None, 2_000),
    ("signal", 0), ("signal", 9_000), ("signal", 50_000),
    ("share", 1), ("share", 2), ("share", 3),
    ("suspend", True), ("suspend", False),
    ("response", 0), ("response", 0, 0, True), ("response", 6_000), ("response", None), ("response", None, -9_000),
    ("disk", 0.0), ("disk", 4.0), ("disk", 20.0),
    *(("fault", name) for name in FAULTS), ("report",),
)  # fmt: skip
"""Every change of the pilot, every fact, and whatever else can happen."""

MILD: Final[tuple[Step, ...]] = (
    *(("pilot", letter) for letter in "BCCCCD"),
    *(("profile", watts) for watts in (None, None, 5_000, 11_000, 0)),
    *(("signal", watts) for watts in (50_000, 50_000, 9_000)),
    ("share", 1), ("share", 1), ("share", 2), ("suspend", False), ("response", None), ("response", 9_000),
    ("response", None), ("response", 0, 0, True),
    ("draw", CAR_W), ("draw", CAR_W, True, 4.9), ("draw", 0), ("disk", 0.0), ("disk", 1.0), ("serve", True), ("mend",),
    *(("fault", name, False) for name in FAULTS),
)  # fmt: skip
"""What a vehicle that charges outlives."""


async def perform(
    pki: PkiTree, folder: Path, kind: Kind, steps: Sequence[Step], *, guarded: bool = True
) -> tuple[list[str], float]:
    """Play steps to a new charge point; return what was wrong, and the Ws that have flowed."""
    config = program(pki, folder)
    if kind == "ventilated":
        config = replace(config, hardware=replace(config.hardware, watch=WatchConfig(ventilation=True)))
    elif kind == "matching":
        config = replace(config, link=replace(config.link, slac=EvseSlacConfig(timing=SOON)))
    phases = steps[0][1] if steps and steps[0][0] == "phases" else 3
    if (evses := max((step[1] for step in steps if step[0] == "share"), default=1)) > 1:
        links = {f"DEV2GE0000{n}": replace(config.link, name=f"secc-{n}") for n in range(1, evses + 1)}
        config = replace(config, evses=tuple(EvseConfig(evse_id=name, link=link) for name, link in links.items()))
    async with controllers(pki, folder, config, guarded=guarded, phases=phases) as every:
        played = PilotPlay(every, kind)
        try:
            for step in steps:
                await played.do(step)
        except AssertionError as error:
            if not played.judge.wrong:
                return [f"{type(error).__name__}: {error}"], 0.0
        finally:
            played.looking.cancel()
        if not any(verb in UNSOUND for verb, *_ in steps):
            played.judge.wrong += [f"the safety monitor spoke: {each}" for each in every[0].named("safety")]
        return played.judge.wrong, played.energy_ws


def play(pki: PkiTree, folder: Path, kind: Kind, steps: Sequence[Step], *, guarded: bool = True) -> list[str]:
    """See `perform`; in simulated time. Return what was wrong."""
    return in_simulated_time(perform(pki, folder, kind, steps, guarded=guarded))[0]


def command(kind: Kind, steps: Sequence[Step]) -> str:
    """Return a command that plays the steps again."""
    return script("tests.safety.judged.pilot_play", (kind,), steps)


_CHANCES: Final[Chances] = {
    "lines": (
        4,
        lambda chance: [("line", chance.choice((None, 6, 13, 16))), ("wait", chance.choice((0.5, 6.0, 12.0)))],
    ),
    "swings": (2, lambda chance: [*_CHARGING, ("swing", *swing(chance), chance.choice((None, None, MUCH_W, 9_000)))]),
    "begin": (8, lambda _: [("plug",), ("identify",)]),
    "go on": (20, lambda chance: [("pilot", "C"), ("wait", round(chance.uniform(0.1, 6.0), 1))]),
    "mild": (40, lambda chance: [chance.choice(MILD)]),
    "wait": (30, lambda chance: [("wait", chance.choice((0.02, 0.05, 0.2, 0.5, 1.2, 3.0, 6.0)))]),
    "long": (2, lambda chance: [("wait", chance.choice((35.0, 65.0)))]),
    "in turns": (
        2,
        lambda chance: [
            *_CHARGING,
            ("in_turns", chance.choice((-22_000, -6_000, MUCH_W)), *chance.choice(DIPS), chance.randint(2, 6)),
        ],
    ),
    "harsh": (6, lambda chance: [chance.choice(TOLD)]),
    "anew": (4, lambda chance: [("unplug",), ("wait", chance.choice((0.05, 0.5, 3.0))), *_CHARGING]),
}
"""How often what is done: mostly what lets power flow."""


def wander(kind: Kind, seed: int, count: int) -> list[Step]:
    """Return random steps, of which most let a vehicle charge."""
    chance = random.Random(f"{kind} {seed}")
    return walk(chance, count, _CHANCES, first=[("phases", chance.choice((1, 2, 3))), *_CHARGING])


def main(arguments: Sequence[str]) -> int:
    """Play the steps that are given, and print what was wrong."""
    kind, text = arguments
    patient.install()  # programs read the time of the loop
    with tempfile.TemporaryDirectory() as folder:
        pki = make_pki(Path(folder) / "pki", now=datetime.now(UTC))
        wrong = play(pki, Path(folder), kind, json.loads(text))  # type: ignore[arg-type]
    return reported(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
