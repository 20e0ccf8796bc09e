"""Cases for chargers about unrequested power, as observed in responses and meter."""

from collections.abc import Iterator
from typing import Final

from v2g.iso15118.d20.charts import CHARTS, PARALLEL, Family
from v2g.iso15118.engine.sequence import Asks, State
from v2g_testkit.cases.case import WRONG, Ask, Case, Detour, Expect, Script
from v2g_testkit.cases.routes import RESTING, reachable
from v2g_testkit.cases.scripted_vehicle import DEAD_V, DISCHARGED_S, UNFINISHED
from v2g_testkit.cases.secc_contents import ENERGY, loop_of

REST_S: Final = 20.0
"""Time without requests between two meter readings, and of the preceding energy transfer, s."""

_POWERED: Final = PARALLEL | {
    State.WPT_ALIGNMENT_CHECK,
    State.DC_CABLE_CHECK,
    State.DC_CABLE_CHECK_ONGOING,
    State.DC_PRE_CHARGE,
    State.DC_PRE_CHARGE_ONGOING,
    State.POWER_DELIVERY,
    State.DC_WELDING_DETECTION,
}
"""States with a voltage, a field or a closed contactor, or before these."""

_UNASKED: Final = ("energy flows without a request*",)
_CHART_OPEN: Final = "the order of these messages follows from their schema alone"
_STOP_OPEN: Final = "chargers differ in where they accept SessionStopReq; only continuing is a fault"
_OPEN: Final = {
    "schedules-anew": "whether energy may flow while a schedule is renegotiated is not public",
    "notice-ignored": "how soon a charger removes power from a vehicle that ignores it is not public",
}


def safety(family: Family) -> Iterator[Case]:
    """Return the cases of one message set."""
    for part in (_stops, _energy, _pre_charge, _welding, _operator):
        yield from part(family)


def _case(family: Family, name: str, title: str, required: str, ids: tuple[str, ...], *, why: str = "",
          quick: bool = True, **script: object) -> Case:  # fmt: skip
    return Case(
        id=f"SECC-SAF-{family.value}-{name}",
        title=title,
        required=required,
        requirements=ids,
        open=why or ("" if family in ENERGY else _CHART_OPEN),
        family=family,
        quick=quick,
        scripts=(Script(**script),),  # type: ignore[arg-type]
    )


def _stops(family: Family) -> Iterator[Case]:
    """SessionStopReq after requests for power: the session ends, or returns to its services; nothing else continues."""
    loop, after = loop_of(family), State.SERVICE_DISCOVERY
    for state in reachable(CHARTS[family]):
        if state not in _POWERED:
            continue
        why = _STOP_OPEN if state in RESTING else ""
        for change, name in (("", "terminate"), ("pause", "pause")):
            yield _case(
                family, f"{name}-{state.value}", f"SessionStopReq ({name.title()}) in {state.value}",
                "a response, then the end", ("V2G20-1632", "V2G20-1633"), why=why, quick=state is loop, goal=state,
                do=Ask("SessionStopReq", change), expect=Expect(codes=("OK", "FAILED*"), closes=True),
            )  # fmt: skip
        yield _case(
            family, f"services-anew-{state.value}",
            f"SessionStopReq (ServiceRenegotiation) in {state.value}, then PowerDeliveryReq regardless",
            "FAILED_SequenceError, then the end: the agreement no longer applies", ("V2G20-459", "V2G20-1477"), why=why,
            quick=state is loop, goal=after, do=Ask("PowerDeliveryReq"),
            detour=Detour(at=state, request="SessionStopReq", asks=Asks.SERVICE_RENEGOTIATION),
            expect=Expect(codes=("FAILED_SequenceError",), closes=True),
        )  # fmt: skip


def _energy(family: Family) -> Iterator[Case]:
    """The meter's count while no charge loop runs."""
    rows = (
        ("services-anew", "SessionStopReq", Asks.SERVICE_RENEGOTIATION, "services are renegotiated"),
        ("schedules-anew", "PowerDeliveryReq", Asks.RENEGOTIATION, "schedules are renegotiated"),
        ("standby", "PowerDeliveryReq", Asks.STANDBY, "the vehicle is in standby"),
    )
    loop = loop_of(family)
    for name, request, asks, what in rows:
        yield _case(
            family, f"energy-{name}", f"The meter before and after {REST_S:g} s in which {what}",
            "no more energy than the charger takes to stop", (), why=_OPEN.get(name, ""), goal=loop,
            detour=Detour(at=loop, request=request, asks=asks, before_s=REST_S, rest_s=REST_S),
            expect=Expect(no_facts=(*_UNASKED, f"{WRONG}*")),
        )  # fmt: skip


def _pre_charge(family: Family) -> Iterator[Case]:
    if State.DC_PRE_CHARGE not in CHARTS[family]:
        return
    for name, change, title in (
        ("pre-charge-zero", "no voltage", "A pre-charge to 0 V that the vehicle takes as finished"),
        ("pre-charge-unreached", "voltage above all", "A pre-charge above the charger's maximum, taken as finished"),
    ):
        yield _case(
            family, name, f"{title}, then PowerDeliveryReq (Start)", "FAILED*, then the end: no contactor is closed",
            ("V2G20-2005",), goal=State.POWER_DELIVERY, do=Ask("PowerDeliveryReq"),
            detour=Detour(at=State.DC_PRE_CHARGE, request="DC_PreChargeReq", change=change),
            expect=Expect(codes=("FAILED*",), closes=True),
        )  # fmt: skip


def _welding(family: Family) -> Iterator[Case]:
    state = State.DC_WELDING_DETECTION
    if state not in CHARTS[family]:
        return
    yield _case(
        family, "welding", "The voltage at the output in the welding detection",
        f"OK, and below {DEAD_V:g} V within {DISCHARGED_S:g} s", (), goal=state,
        do=Ask("DC_WeldingDetectionReq", "still detecting", DISCHARGED_S),
        expect=Expect(codes=("OK*",), no_facts=(f"{WRONG}*", UNFINISHED)),
    )  # fmt: skip


def _operator(family: Family) -> Iterator[Case]:
    """The operator stops the session (--stop); the vehicle tries to continue."""
    loop = loop_of(family)
    stopped = Detour(at=loop)
    for change, name, what in (("services anew", "services", "other services"), ("pause", "pause", "a pause")):
        yield _case(
            family, f"stop-then-{name}",
            f"The operator stops the session, and the vehicle requests {what} in SessionStopReq",
            "FAILED*, then the end: only Terminate is still allowed", ("V2G20-1477",), goal=State.SESSION_STOP,
            do=Ask("SessionStopReq", change), detour=stopped,
            expect=Expect(codes=("FAILED*",), closes=True, no_facts=("gives no notice*",)),
        )  # fmt: skip
    yield _case(
        family, "notice-ignored", f"The operator stops the session; the vehicle continues the loop for {REST_S:g} s",
        "no more energy than the charger takes to stop", (), why=_OPEN["notice-ignored"], goal=State.SESSION_STOP,
        detour=Detour(at=loop, before_s=REST_S, rest_s=REST_S),
        expect=Expect(no_facts=("gives no notice*", *_UNASKED)),
    )  # fmt: skip
