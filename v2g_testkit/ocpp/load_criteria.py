"""Criteria for a back end under load, each judged from what was counted."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from v2g.errors import TransportError
from v2g_testkit.cases.case import Described, Result, Verdict
from v2g_testkit.ocpp.case import Ended, Failed, Inconclusive
from v2g_testkit.ocpp.connection import Frame, malformed
from v2g_testkit.ocpp.load import PHASES, Load, Phase
from v2g_testkit.official_schemas import FrameJudge


class Criterion(Described, frozen=True, kw_only=True):
    """A row of the report. `judge` returns the figure, or raises Failed or Inconclusive with it."""

    phases: tuple[Phase, ...]
    judge: Callable[[Load], str]
    quick: bool = False

    @property
    def group(self) -> str:
        return "Load"


def _need(holds: bool, figure: str) -> str:
    if not holds:
        raise Failed(figure)
    return figure


def _why(reasons: Counter[str]) -> str:
    return "".join(f"; {times} times: {reason}" for reason, times in reasons.most_common(3))


def _some(count: int) -> None:
    if not count:
        raise Inconclusive("no station was connected")


def _sent(load: Load) -> None:
    _some(sum(each.sent for each in load.counts.values()))


def _ramp(load: Load) -> str:
    plan, found = load.plan, load.booted
    figure = f"{found.count} of {plan.stations} accepted, the slowest in {found.most:.2f} s{_why(load.not_booted)}"
    return _need(found.count == plan.stations and found.most <= plan.boot_s, figure)


def _answered(load: Load) -> str:
    count = load.counts["steady"]
    _some(count.sent)
    return _need(not count.lost, f"{count.answered} of {count.sent} answered, {count.rate:.1f}/s")


def _timely(load: Load, phase: Phase) -> str:
    """Judge the times of answers. Raises Inconclusive where this process was too slow to tell."""
    times, limit_s = load.counts[phase].times, load.plan.p99_s
    _some(times.count)
    figure = f"99 % within {times.within(0.99):.3f} s, 50 % within {times.within(0.5):.3f} s, all in {times.most:.3f} s"
    late_s = load.lags.within(0.99)
    if times.within(0.99) > limit_s and late_s > limit_s / 4:
        raise Inconclusive(f"{figure}, but the tester itself was late by {late_s:.3f} s: use fewer stations")
    return _need(times.within(0.99) <= limit_s, figure)


def _pings(load: Load) -> str:
    if not load.plan.ping_every_s:
        raise Inconclusive("ping_every_s is 0")
    _some(load.pongs.count + load.no_pong)
    figure = f"{load.pongs.count} answered, the slowest in {load.pongs.most:.3f} s, {load.no_pong} not answered"
    return _need(not load.no_pong and load.pongs.most <= load.plan.ping_s, figure)


def _slow(load: Load) -> str:
    if not load.plan.slow_readers:
        raise Inconclusive("slow_readers is 0")
    count = load.counts["slow"]
    if count.lost:
        raise Failed(f"{count.lost} of {count.sent} requests of the others not answered")
    return _timely(load, "slow")


def _storm(load: Load) -> str:
    found, wanted = load.reconnected, load.plan.stations
    _some(found.count + load.refused + load.not_reconnected.total())
    figure = (
        f"{found.count} of {wanted} came back, the slowest in {found.most:.2f} s, after {load.refused} refused attempts"
        f"{_why(load.not_reconnected)}"
    )
    return _need(found.count == wanted and found.most <= load.plan.reconnect_s, figure)


def _offline(load: Load) -> str:
    count = load.counts["offline"]
    _some(count.sent)
    figure = f"{count.answered} of {count.sent} stored events answered, {count.rate:.1f}/s"
    return _need(not count.lost, figure)


def _order(load: Load) -> str:
    _sent(load)
    return _need(
        not load.strays, f"{load.strays} answers to no waiting request{load.stray and f', first {load.stray}'}"
    )


def _errors(load: Load) -> str:
    _sent(load)
    found: Counter[str] = sum((each.errors for each in load.counts.values()), Counter())
    return _need(not found, f"{found.total()} CALLERRORs{_why(found)}")


def _connected(load: Load) -> str:
    _sent(load)
    return _need(not load.cut_off, f"{load.cut_off.total()} connections ended by the back end{_why(load.cut_off)}")


def _frames(load: Load) -> str:
    faults = load.invalid + Counter(each.fault for each in load.sample if each.fault)
    _sent(load)
    judged = sum(each.way == "received" for each in load.sample)
    return _need(not faults, f"{judged} frames judged, {faults.total()} invalid{_why(faults)}")


def _criterion(
    id: str,  # noqa: A002 - as in every case
    title: str,
    required: str,
    phases: tuple[Phase, ...],
    judge: Callable[[Load], str],
    requirements: tuple[str, ...] = (),
    *,
    quick: bool = False,
) -> Criterion:
    return Criterion(
        id=id, title=title, required=required, phases=phases, judge=judge, requirements=requirements, quick=quick
    )


CRITERIA: Final = (
    _criterion("LOAD-RAMP", "Stations connect and boot", "All boots are accepted within boot_s", ("ramp",), _ramp,
               ("B01.FR.02",), quick=True),
    _criterion("LOAD-ANSWERED", "Steady load", "Every request is answered within answer_s", ("ramp", "steady"),
              _answered, quick=True),
    _criterion("LOAD-LATENCY", "Steady load", "99 % of the answers come within p99_s", ("ramp", "steady"),
              lambda load: _timely(load, "steady"), quick=True),
    _criterion("LOAD-PING", "Stations ping under load", "Every ping is answered within ping_s", ("ramp", "steady"),
              _pings),
    _criterion("LOAD-SLOW", "Some stations do not read", "99 % of the others' answers come within p99_s",
              ("ramp", "slow"), _slow),
    _criterion("LOAD-STORM", "All stations reconnect at once", "All are answered within reconnect_s", ("ramp", "storm"),
              _storm),
    _criterion("LOAD-OFFLINE", "Stations send stored events", "Every event is answered", ("ramp", "storm", "offline"),
              _offline),
    _criterion("LOAD-ORDER", "All phases", "Every answer is that to the waiting request", PHASES, _order),
    _criterion("LOAD-ERRORS", "All phases", "No request is answered by a CALLERROR", PHASES, _errors),
    _criterion("LOAD-CONNECTED", "All phases", "The back end ends no connection", PHASES, _connected),
    _criterion("LOAD-FRAMES", "All phases", "Sampled frames follow the official schemas", PHASES, _frames),
)  # fmt: skip


class LoadTester:
    """Runs the phases that criteria need, once each, and judges."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.frames: list[Frame] = []
        """Of the latest criterion: those of the sample, if it is about them."""

    async def run(self, criterion: Criterion) -> Result:
        """Return the result of a criterion."""
        self.frames = []
        began = asyncio.get_running_loop().time()
        verdict = Verdict.PASS
        try:
            for phase in criterion.phases:
                if phase not in self.load.done:
                    await self.load.run(phase)
            if criterion.judge is _frames:
                judges: dict[str, FrameJudge] = {}
                for place, each in enumerate(self.load.sample):
                    judge = judges.setdefault(each.station, FrameJudge(self.load.version))
                    fault = judge.judge(each.text, from_station=each.way == "sent") or ""
                    if each.way == "received":
                        fault = malformed(each.text, self.load.version) or fault
                        self.load.sample[place] = msgspec.structs.replace(each, fault=fault)
                    if place % 50 == 0:
                        await asyncio.sleep(0)  # SIGTERM
                self.frames = self.load.sample
            found = criterion.judge(self.load)
        except (Ended, TransportError) as end:
            verdict = end.verdict if isinstance(end, Ended) else Verdict.INCONCLUSIVE
            found = str(end)
        seconds = asyncio.get_running_loop().time() - began
        return Result(case=criterion.id, verdict=verdict, found=found, seconds=seconds)

    async def reboot(self) -> bool:
        """Nothing: a load goes on."""
        return False
