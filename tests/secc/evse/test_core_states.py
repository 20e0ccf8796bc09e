"""Every state of an EVSE with every fact and timer; the bench judges each step: see there."""

import itertools
from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from secc.evse.core import CHARTS, EvseService, LinkAvailability, Pause
from secc.evse.ports import (
    EvseFault,
    LinkDown,
    LinkUp,
    MatchingStarted,
    PausedFound,
    PausedStored,
    ServiceBegun,
    ShutDown,
    SupplyChanged,
)
from secc.session import ports
from tests.secc.evse.bench import (
    ID,
    NOTHING,
    SETTINGS,
    EvseBench,
    allow,
    at_fault,
    basic,
    kept,
    late,
    out_of_service,
    paused,
    plugged,
    returned,
    saving,
    served,
    starving,
    unwanted,
)
from tests.together import together
from v2g.slac.shared import FAILURES
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.evse import Restart
from v2g_station.blocks.transactions.managed import RemoteStopRequested

ENERGY: Final = SupplyChanged(charge=True, discharge=True)
ENERGY: Final = SupplyChanged(charge=True, discharge=True)

# -- every state with every fact and timer ----------------------------------------------------------------------------

STATES: Final[dict[str, Callable[[], EvseBench]]] = {
    "not started": lambda: EvseBench(started=False),
    "free": EvseBench,
    "plugged": plugged,
    "no link": lambda: plugged(replace(SETTINGS, basic=None), link=False),
    "matched": lambda: _after(plugged(), MatchingStarted(), LinkUp()),
    "session": served,
    "basic": basic,
    "saving": saving,
    "unwanted": unwanted,
    "kept": kept,
    "returned": returned,
    "late": late,
    "at fault": at_fault,
    "out of service": out_of_service,
    "starving": starving,
    "reset": lambda: _after(served(), Restart(evse_id=None, at_once=True, keep=False)),
    "shut down": lambda: _after(served(), ShutDown()),
}

FACTS: Final[dict[str, Callable[[EvseBench], object]]] = {
    "nothing": lambda bench: None,
    **{f"pilot {each}": lambda bench, each=each: bench.pilot(each) for each in "ABCDEF"},  # type: ignore[misc]
    "loose": lambda bench: bench.pilot("B", seated=False),
    "fault": lambda bench: bench.fault("emergency_stop"),
    "fault over": lambda bench: bench.fault("emergency_stop", active=False),
    "fault of the vehicle": lambda bench: bench.fault("diode_shorted"),
    "modem lost": lambda bench: bench.fact(EvseFault("modem_lost", active=True)),
    "matching": lambda bench: bench.fact(MatchingStarted()),
    "matched": lambda bench: bench.fact(LinkUp()),
    **{f"down {each}": lambda bench, each=each: bench.fact(LinkDown(each)) for each in ("link_lost", *FAILURES)},  # type: ignore[misc]
    "out of service": lambda bench: bench.fact(Serve(evse_id=1, operative=False)),
    "in service": lambda bench: bench.fact(Serve(evse_id=1, operative=True)),
    "nothing allowed": lambda bench: bench.fact(NOTHING),
    "nothing for long": lambda bench: bench.fact(replace(NOTHING, again_in_s=3600)),
    "energy": lambda bench: bench.fact(ENERGY),
    "connects": lambda bench: bench.connect(),
    "ends": lambda bench: bench.running and bench.end("finished"),
    "breaks": lambda bench: bench.running and bench.end("broke_down"),
    "pauses": lambda bench: bench.core.service is EvseService.SESSION and bench.save(2),
    "stored": lambda bench: bench.saving and bench.stored(),
    "not stored": lambda bench: bench.saving and bench.stored("full"),
    "stored another": lambda bench: bench.fact(PausedStored(bytes(8))),
    "joins": lambda bench: bench.core.busy and bench.fact(ports.JoinSession(ID.hex())),
    "does not join": lambda bench: bench.core.busy and bench.fact(ports.ForgetSession(ID.hex(), "x", "Other")),
    "stopped": lambda bench: bench.fact(RemoteStopRequested(reference=ID.hex(), cause="remote")),
    "another stopped": lambda bench: bench.fact(RemoteStopRequested(reference="00", cause="remote")),
    "allowed": lambda bench: bench.fact(allow()),
    **{
        f"reset {at_once} {keep}": lambda bench, at_once=at_once, keep=keep: bench.fact(  # type: ignore[misc]
            Restart(evse_id=None, at_once=at_once, keep=keep)
        )
        for at_once, keep in itertools.product((False, True), repeat=2)
    },
    "shut down": lambda bench: bench.fact(ShutDown()),
}


def _after(bench: EvseBench, *facts: Any) -> EvseBench:
    bench.fact(*facts)
    return bench


SECOND: Final = ("nothing", "pilot A", "pilot B", "fault", "connects", "ends", "pauses", "stored", "joins", "stopped")


@together("state", STATES)
def test_every_state_survives_every_fact_another_one_and_every_timer(state: str) -> None:
    for first, second in itertools.product(FACTS, SECOND):
        bench = STATES[state]()
        FACTS[first](bench)
        bench.wait(7.0)
        FACTS[second](bench)
        bench.wait(100.0)
        assert bench.core.deadline() is None, (first, second)


@together(("state", "first"), itertools.product(STATES, FACTS), by=lambda case: case[0])
def test_whoever_has_left_leaves_an_evse_for_the_next_one(state: str, first: str) -> None:
    bench = STATES[state]()
    over = state in ("reset", "shut down") or first.startswith(("reset True", "shut"))
    FACTS[first](bench)
    bench.pilot("A")
    if bench.running:
        bench.end("unplugged")
    while bench.saving:
        bench.stored()
    for code in bench.present.faults:
        bench.fault(code, active=False)
    bench.fact(Serve(evse_id=1, operative=True), ServiceBegun(link=True))
    assert (bench.core.service, bench.core.pause) == (EvseService.FREE, Pause.NONE)
    assert bench.core.availability is LinkAvailability.AVAILABLE
    assert bench.core.refusal == ("out_of_service" if over else "")
    bench.wait(100.0)
    bench.pilot("B")
    assert not bench.running


def test_every_way_of_the_charts_is_gone_and_no_other() -> None:
    gone = {chart: set[tuple[Any, Any]]() for chart in CHARTS}
    for state, fact in itertools.product(STATES, FACTS):
        bench = STATES[state]()
        if state == "not started":
            bench.fact(PausedFound(paused()))
            gone["pause"].add((Pause.NONE, bench.core.pause))
        before = {name: getattr(bench.core, name) for name in CHARTS}
        FACTS[fact](bench)
        for name, was in before.items():
            gone[name].add((was, getattr(bench.core, name)))
    for name, chart in CHARTS.items():
        ways = {(state, to) for state, leads in chart.items() for to in leads.values()}
        both = {(first, last) for (first, one), (other, last) in itertools.product(ways, ways) if one is other}
        changes = {(was, now) for was, now in gone[name] if was is not now}
        assert ways <= changes <= ways | both  # a fact may lead two ways, such as an end that begins basic charging
