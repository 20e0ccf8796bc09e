"""Cases for vehicles about energy that they must not request or accept, as observed in messages and control
pilot. Withdrawn notices are among the other notices (NOT), because each is sent only once.
"""

from collections.abc import Iterator
from typing import Final

from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.timing import Timing
from v2g_testkit.cases.case import CLOSING_S, Case, ChargerScript, Expect, vehicle_case

EARLY_C: Final = "shows state C before it asks for energy"
"""A vehicle is ready for energy before PowerDeliveryReq (Start)."""

_BEYOND: Final = "the reaction to a charger that reports too much is not public"


def safety(family: Family) -> Iterator[Case]:
    """Return the cases of one message set."""
    yield from _negotiating(family)
    yield from _early(family) if family is Family.AC else _direct(family)


def _early(family: Family) -> Iterator[Case]:
    yield vehicle_case(
        family, "SAF-state-c", "The control pilot until PowerDeliveryReq (Start)", "state B; C not before this request",
        ("V2G20-1617",),
        ChargerScript(at="PowerDeliveryReq", watch_s=1.0, measures_pilot=True, expect=Expect(no_facts=(EARLY_C,))),
    )  # fmt: skip


def _negotiating(family: Family) -> Iterator[Case]:
    timing = Timing()
    most = timing.ongoing + CLOSING_S
    yield vehicle_case(
        family, "SAF-renegotiation-ongoing",
        "The charger requests another schedule in the charge loop, and then always answers Ongoing",
        f"no loop meanwhile; the vehicle ends the session after {timing.ongoing_performance:g} to {timing.ongoing:g} s",
        ("Tables 215 to 218",),
        ChargerScript(
            at="ScheduleExchangeReq", nth=3, notice="ScheduleRenegotiation", twist="ongoing", value="Ongoing",
            again=True, watch_s=most + 1.0,
            expect=Expect(within=(timing.ongoing_performance, most), no_facts=(f"asks {family.value}_ChargeLoopReq",)),
        ),
    )  # fmt: skip


def _direct(family: Family) -> Iterator[Case]:
    timing = Timing()
    most = timing.evcc_pre_charge + CLOSING_S
    yield vehicle_case(
        family, "SAF-pre-charge-other", "The pre-charge ends 50 V below the requested voltage",
        f"no PowerDeliveryReq (Start), and the end after {timing.evcc_pre_charge:g} s", ("Tables 215 to 218",),
        ChargerScript(
            at="DC_PreChargeReq", twist="less voltage", again=True, watch_s=most + 1.0,
            expect=Expect(within=(0.0, most), no_facts=("asks PowerDeliveryReq Start",)),
        ),
    )  # fmt: skip
    for name, twist, title in (
        ("over-voltage", "too much voltage", "20 % more than the vehicle's voltage limit"),
        ("over-current", "too much current", "twice the vehicle's current limit"),
    ):
        yield vehicle_case(
            family, f"SAF-{name}", f"The charger reports in the charge loop {title}",
            "the vehicle ends the session, by messages or at once", (),
            ChargerScript(
                at="DC_ChargeLoopReq", nth=3, twist=twist, again=True, watch_s=CLOSING_S,
                expect=Expect(closes=True, state_b=True),
            ),
            open=_BEYOND,
        )  # fmt: skip
