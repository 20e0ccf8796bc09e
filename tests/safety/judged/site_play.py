"""Plays lists of steps to several whole EVSEs behind one connection, with their charging station and an energy manager,
before a judge over the sum of what flows, in all conductors and in each. A step begins with the number of the EVSE that
it is for, 0 is the site, and "all" means each of them at the same time:
`python -m tests.safety.judged.site_play dc,dc '[[...], ...]'` plays again.
"""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from pki_tools.tree import PkiTree, make_pki
from secc.charger import Charger
from secc.energy_manager.facts import EnergyManagerWatch
from secc.hardware.config import Kind
from secc.session.config import ControlMode, EnergyService, SeccConfig
from tests import patient
from tests.safety.controllers import UTC_MS, grid_signal
from tests.safety.judged.pause_play import SITE_W, PausePlay
from tests.safety.judged.play import BESIDE, IN_TURNS, LOOK_S, PHASES, swing
from tests.safety.judged.rig import BATTERY_MV, rig
from tests.safety.judged.rule import FOLLOW_S, IN_TURNS_S, LOWERED_S, PHASE_V, POWER_S
from tests.safety.judged.steps import Chances, InTurns, Lately, Since, Step, Windows, goes_on, reported, script, walk
from tests.station.bench import Bench
from tests.virtual_time import in_simulated_time
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.hardware.energy_manager.commands import EnergyCommand
from v2g.io.runtime.supervision import cancel_tasks
from v2g_station.blocks.data_transfer import GridSignalReceived
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.transaction_records import TransactionRecord
from v2g_station.kernel.layout import ConnectorLayout, EvseLayout

TICK_S: Final = 0.1
"""How often the station looks at its clock here."""
TIMEOUT_S: Final = 20.0
"""A word of the energy manager holds for so long, unless it says for how long."""
FALLBACK: Final = (6_000, 0)
FOLLOWS_S: Final = 0.75
"""Until a bound that has changed is followed, where what is shared is shared out first."""
MARGIN_W: Final = 550
MARGIN_A: Final = 1.3
"""Of each EVSE: what sensors and control may be wrong by, all in all and in each conductor."""
DIRECTIONS: Final = ("into them", "out of them")


class SiteJudge:
    """Of the sum. What anybody allows is W into all vehicles together, and out of them."""

    def __init__(self, *, evses: int, mains: bool) -> None:
        self._evses, self._since, self._in_turns, self._lately = evses, Since(), InTurns(), Lately()
        self._slack_s = (FOLLOW_S if mains else POWER_S) + 3 * TICK_S
        self._windows = {
            name: Windows(self._slack_s + FOLLOWS_S + LOWERED_S)
            for name in (*DIRECTIONS, *(f"{each}, conductor {n}" for each in DIRECTIONS for n in (1, 2, 3)))
        }
        self._limits: dict[str, tuple[float, float]] = {}
        self._word: tuple[tuple[float, float], float] = (FALLBACK, float("inf"))
        self.wrong: list[str] = []

    def limit(self, source: str, charge_w: float, discharge_w: float) -> None:
        """From now on."""
        self._limits[source] = (charge_w, discharge_w)

    def manager(self, charge_w: float, discharge_w: float, until: float) -> None:
        """The energy manager allows this until a time; then its fall-back holds."""
        self._word = ((charge_w, discharge_w), until)

    def measured(
        self, now: float, watts: Sequence[int], line_a: Sequence[Sequence[float]], *, strays: bool = False
    ) -> None:
        """This flows into each vehicle, W and A of each conductor; `strays`: somewhere it obeys nobody, now and
        then."""
        slack_s = self._slack_s + (LOWERED_S if strays else 0.0)
        word, until = self._word
        every = (*self._limits.values(), word if now < until else FALLBACK)
        for name, sign, most_w in zip(DIRECTIONS, (1, -1), map(min, zip(*every, strict=True)), strict=True):
            flow_w = sum(max(0, sign * each) for each in watts)
            self._compare(name, flow_w, most_w, MARGIN_W, slack_s, now)
            for number, flows_a in enumerate(zip(*line_a, strict=True), 1):
                flow_a = sum(max(0.0, sign * each) for each in flows_a)
                self._compare(f"{name}, conductor {number}", flow_a, most_w / 3 / PHASE_V, MARGIN_A, slack_s, now)

    def _compare(self, name: str, flow: float, most: float, margin: float, slack_s: float, now: float) -> None:
        """Compare a sum with what is allowed."""
        margin = 0.05 * most + margin * self._evses
        lately = self._lately.most(name, most, self._slack_s + FOLLOWS_S, now)
        astray = flow > lately * 1.05 + margin - 0.05 * most
        in_turns = self._in_turns.over(name, astray, IN_TURNS_S * self._evses, now)
        over = self._since.over(name, flow > most + margin, slack_s, now)
        much = self._windows[name].over(flow, most, margin, now)
        if over or in_turns or much:
            self.wrong.append(f"{flow:.0f} {name}, {most:.0f} allowed {much}")


class Site:
    """The charger, its station, and the energy manager."""

    def __init__(self, plays: Sequence[PausePlay]) -> None:
        self.plays = plays
        self.judge = SiteJudge(evses=len(plays), mains=any(each.kind == "ac" for each in plays))
        self.loop = asyncio.get_running_loop()
        controllers = tuple(each.controller for each in plays)
        first = plays[0]
        self.charger = Charger(
            first.controller.config, first.clock, cast(Any, lambda _: None), first.controller.transport, controllers
        )
        layout = EvseLayout(connectors=(ConnectorLayout(),), max_power_w=150_000, max_discharge_w=50_000)
        self._station = Bench("2.1", evses=(layout,) * len(plays), managed=True)
        self._open: list[str] = [""] * len(plays)
        self._done = 0
        self._version = 100
        self._watch = EnergyManagerWatch(
            "EMS",
            evses=len(plays),
            timeout_s=TIMEOUT_S,
            fallback=EnergyCommand(limit_w=FALLBACK[0], discharge_w=FALLBACK[1]),
        )
        self._pass_on(self._watch.begin())
        self._signal(SITE_W, 10_000)
        self.looking = self.loop.create_task(self._look())

    def _pass_on(self, facts: Sequence[Any]) -> None:
        for fact in facts:
            self._station.fact(fact)
        self._obey()

    def _obey(self) -> None:
        """Pass limits on to the EVSEs, as the charger does."""
        fresh, self._done = self._station.commands[self._done :], len(self._station.commands)
        for command in fresh:
            if isinstance(command, ProfileLimits):
                controller = self.plays[command.evse_id - 1].controller
                controller.grid_changed(controller.grid.profiles(command))

    async def _look(self) -> None:
        ticked = self.loop.time()
        while True:
            now = self.loop.time()
            watts = [each.car.power_w for each in self.plays]
            lines = [_line_a(each) for each in self.plays]
            self.judge.measured(now, watts, lines, strays=any(each.judge.strays for each in self.plays))
            if now - ticked >= TICK_S - 1e-6:
                self._tell_transactions()
                self.charger.share()
                self._station.wait(now - ticked)
                ticked = now
                self._pass_on(self._watch.tick(now))
            await asyncio.sleep(LOOK_S)

    def _tell_transactions(self) -> None:
        """Let the station know which transactions there are."""
        for number, each in enumerate(self.plays, 1):
            before, after = self._open[number - 1], each.desk.reference
            if before == after:
                continue
            self._open[number - 1] = after
            station, moment = self._station.station, self._station.moment
            if before:
                ended = partial(_finish, before)
                self._station.run(station.lead(ended, moment))
            if after:
                record = TransactionRecord(
                    transaction_id=after, reference=after, evse_id=number, connector_id=1,
                    started_ms=self._station.utc_ms, id_token="DEV2GC00000001", id_token_type="eMAID",
                )  # fmt: skip
                self._station.run(station.lead(partial(_begin, record), moment))

    # -- steps

    async def do(self, step: Step) -> None:
        """Do a step."""
        place, verb, *rest = step
        if place == 0:
            waits = getattr(self, f"do_{verb}")(*rest)
            await (asyncio.sleep(0.01) if waits is None else waits)
        elif place == "all":
            await asyncio.gather(*(each.do((verb, *rest)) for each in self.plays))
        elif place <= len(self.plays):
            others = [each.do_loop(60.0) for number, each in enumerate(self.plays, 1) if number != place]
            going = [self.loop.create_task(each) for each in others]  # they go on meanwhile, as vehicles do
            try:
                await self.plays[place - 1].do((verb, *rest))
            finally:
                await cancel_tasks(*going)
        goes_on(self.looking)
        assert not self.judge.wrong, self.judge.wrong

    def do_manager(
        self,
        evse_id: int,
        limit_w: float | None,
        discharge_w: float | None,
        setpoint_w: float | None = None,
        valid_s: int | None = None,
    ) -> None:
        """The energy manager speaks of the station (0) or of an EVSE."""
        word = EnergyCommand(limit_w=limit_w, discharge_w=discharge_w, setpoint_w=setpoint_w, valid_s=valid_s)
        now = self.loop.time()
        if evse_id == 0:
            charge_w = float("inf") if limit_w is None else limit_w
            back_w = float("inf") if discharge_w is None else discharge_w
            self.judge.manager(charge_w, back_w, now + (valid_s or TIMEOUT_S) + TICK_S)
        self._pass_on(self._watch.take(evse_id, word, now))

    async def do_swing(
        self, low_w: int, high_s: float, low_s: float, times: int, evse: int = 0, strays_w: int = 0
    ) -> None:
        """Let what the energy manager allows go up and down again and again, while one may stay where it is."""
        at = self.plays[evse - 1] if 0 < evse <= len(self.plays) else None
        if at is not None:
            at.judge.strays = True
            at.faults.set("stage_strays", active=True, value=strays_w * 1000 / BATTERY_MV)
        for watts, seconds in ((60_000, high_s), (low_w, low_s)) * times:
            self.do_manager(0, watts, 30_000)
            await asyncio.gather(*(each.do_loop(seconds) for each in self.plays))
        if at is not None:
            at.faults.set("stage_strays", active=False)
            at.judge.strays = False

    def do_signal(self, charge_w: int, discharge_w: int, for_s: int = 86_400) -> None:
        """The grid operator speaks; after its validity nobody vouches for discharge."""
        self._signal(charge_w, discharge_w, for_s)

    def _signal(self, charge_w: int, discharge_w: int, for_s: int = 86_400) -> None:
        self._version += 1
        self.judge.limit(OPERATOR, charge_w, discharge_w)
        if for_s < 86_400:
            left_s = for_s - (self.plays[0].utc_ms - UTC_MS) / 1000
            version = self._version
            self.loop.call_later(max(0.0, left_s), lambda: self._over(version, charge_w))
        signal = grid_signal(self._version, charge_w=charge_w, discharge_w=discharge_w, for_s=for_s)
        for each in self.plays:
            each.judge.limit(Limit(source=OPERATOR, charge_w=charge_w, discharge_w=discharge_w))
        self.charger.carry_out(GridSignalReceived(signal=signal))

    def _over(self, version: int, charge_w: int) -> None:
        if version == self._version:
            self.judge.limit(OPERATOR, charge_w, 0)


def _line_a(play: PausePlay) -> tuple[float, ...]:
    """Return what flows in each conductor of an EVSE's connection, A; with direct current it is balanced."""
    if play.kind != "ac":
        return (play.car.power_w / 3 / PHASE_V,) * 3
    known = tuple(each / 1000 for each in play.car.line_ma)
    return (*known, *(0.0,) * (3 - len(known)))


def _begin(record: TransactionRecord, sessions: Any) -> None:
    sessions.begin(record, trigger="Authorized", sample=None)


def _finish(reference: str, sessions: Any) -> None:
    if reference in sessions.records:
        sessions.finish(reference, trigger="StopAuthorized", reason="Local", sample=None)


async def perform(pki: PkiTree, folder: Path, kinds: Sequence[Kind], steps: Sequence[Step]) -> list[str]:
    """Play steps to a new site, and return what was wrong."""
    config = SeccConfig(services=tuple(EnergyService), control_modes=(ControlMode.DYNAMIC,))
    phases = {step[0]: step[2] for step in steps if step[1] == "phases"}
    async with contextlib.AsyncExitStack() as stack:
        plays: list[PausePlay] = []
        for number, kind in enumerate(kinds, 1):
            own = folder / f"evse-{number}"
            own.mkdir(exist_ok=True)
            made = partial(PausePlay, folder=own, number=number)
            found = await stack.enter_async_context(
                rig(pki, own, kind, config=config, made=made, phases=phases.get(number, 3))
            )
            assert isinstance(found, PausePlay)
            found.watch()
            found.judge.limit(Limit(source=SITE, charge_w=SITE_W, discharge_w=SITE_W))
            plays.append(found)
        site = Site(plays)
        await asyncio.sleep(LOOK_S)
        try:
            for step in steps:
                await site.do(step)
        except AssertionError as error:
            if not any(each.judge.wrong for each in (site, *plays)):
                return [f"{type(error).__name__}: {error}"]
        finally:
            site.looking.cancel()
            for each in plays:
                each.looking.cancel()
        return [wrong for each in (site, *plays) for wrong in each.judge.wrong]


def play(pki: PkiTree, folder: Path, kinds: Sequence[Kind], steps: Sequence[Step]) -> list[str]:
    """See `perform`; in simulated time."""
    return in_simulated_time(perform(pki, folder, kinds, steps))


def command(kinds: Sequence[Kind], steps: Sequence[Step]) -> str:
    """Return a command that plays the steps again."""
    return script("tests.safety.judged.site_play", (",".join(kinds),), steps)


SITE_STEPS: Final[tuple[Step, ...]] = (
    *((0, "manager", 0, *watts) for watts in ((60_000, 30_000), (20_000, 8_000), (5_000, 0), (0, 0), (None, None))),
    *((0, "manager", 0, 60_000, 30_000, watts) for watts in (-8_000, 10_000, 0)),
    (0, "manager", 0, 60_000, 30_000, None, 2),
    *((0, "manager", evse, *watts) for evse in (1, 2) for watts in ((4_000, 1_000), (30_000, 9_000))),
    *((0, "signal", *watts) for watts in ((40_000, 10_000), (12_000, 10_000), (40_000, 0), (0, 0))),
)
"""What site, operator and energy manager say."""

EVSE_STEPS: Final[tuple[Step, ...]] = (
    ("pause",), ("return",), ("abort",), ("stop", "deauthorized"), ("sign", 9_000), ("sign", 4_000),
    ("say", "DC_ChargeLoopReq", "wants back"), ("say", "DC_ChargeLoopReq", "low power"),
    ("disk", 2.0), ("disk", 0.0), ("fault", "drop"), ("fault", "drop", False), ("fault", "meter_silent"),
    ("fault", "meter_silent", False), ("suspend", True), ("suspend", False), ("again",),
)  # fmt: skip
"""What one of the vehicles does, or what happens to it."""


def _in_turns(chance: random.Random) -> Sequence[Step]:
    """Let one of them obey nobody and follow again in turns."""
    evse = chance.randint(1, 3)
    return [(evse, *step) for step in IN_TURNS[1](chance)]


def _beside(chance: random.Random) -> Sequence[Step]:
    """Let one of them agree on other parameters while power flows."""
    evse = chance.randint(1, 3)
    return [(evse, *step) for step in BESIDE[1](chance)]


def _swings(chance: random.Random) -> Sequence[Step]:
    """A limit of the site that oscillates with every duty cycle."""
    strays = chance.choice(((), (), (chance.randint(1, 3), chance.choice((8_000, 20_000)))))
    return [(0, "swing", *swing(chance), *strays)]


_CHANCES: Final[Chances] = {
    "swings": (2, _swings),
    "beside": (4, _beside),
    "site": (20, lambda chance: [chance.choice(SITE_STEPS)]),
    "more": (10, lambda _: [(0, "manager", 0, 60_000, 30_000), (0, "signal", 40_000, 10_000)]),
    "charge": (12, lambda chance: [(chance.randint(1, 3), "charge")]),
    "evse": (12, lambda chance: [(chance.randint(1, 3), *chance.choice(EVSE_STEPS))]),
    "sign": (8, lambda chance: [(chance.randint(1, 3), "sign", chance.choice((4_000, 9_000)))]),
    "loop": (40, lambda chance: [("all", "loop", round(chance.uniform(0.2, 3.0), 1))]),
    "in turns": (IN_TURNS[0], _in_turns),
    "silence": (2, lambda _: [("all", "loop", TIMEOUT_S + 2)]),
}


def wander(kinds: Sequence[Kind], seed: int, count: int) -> list[Step]:
    """Return random steps, of which most let all vehicles charge."""
    chance = random.Random(f"{kinds} {seed}")
    first = [
        *((n, "phases", *chance.choice(chance.choice(PHASES))) for n, kind in enumerate(kinds, 1) if kind == "ac"),
        (0, "manager", 0, 60_000, 30_000),
        *((n, "charge") for n in range(1, len(kinds) + 1)),
        ("all", "loop", 1.0),
    ]
    return walk(chance, count, _CHANCES, first=first)


def main(arguments: Sequence[str]) -> int:
    """Play the steps that are given, and print what was wrong."""
    kinds, text = arguments
    patient.install()  # programs read the time of the loop
    with tempfile.TemporaryDirectory() as folder:
        pki = make_pki(Path(folder) / "pki", now=datetime.now(UTC))
        wrong = play(pki, Path(folder), kinds.split(","), json.loads(text))  # type: ignore[arg-type]
    return reported(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
