"""Cases for vehicles about energy that they must not request, or accept, as visible in messages and control
pilot. A withdrawn notice is among the other notices (NOT): each is given once.
"""

from collections.abc import Iterator
from typing import Final

from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.timing import Timing
from v2g_testkit.cases.case import CLOSING_S, Case, ChargerScript, Expect

EARLY_C: Final = "shows state C before it asks for energy"
"""A vehicle is ready for energy before PowerDeliveryReq (Start)."""

_BEYOND: Final = "what a vehicle does about a charger that says that it gives too much is not public"


def safety(family: Family) -> Iterator[Case]:
    """Return the cases of one set of messages."""
    yield from _negotiating(family)
    yield from _early(family) if family is Family.AC else _direct(family)


def _case(family: Family, name: str, title: str, required: str, ids: tuple[str, ...], script: ChargerScript,
          *, why: str = "") -> Case:  # fmt: skip
    return Case(
        id=f"EVCC-SAF-{family.value}-{name}",
        title=title,
        required=required,
        requirements=ids,
        open=why,
        family=family,
        charger_scripts=(script,),
    )


def _early(family: Family) -> Iterator[Case]:
    yield _case(
        family, "state-c", "The control pilot until PowerDeliveryReq (Start)", "state B, and C no sooner than that",
        ("V2G20-1617",),
        ChargerScript(at="PowerDeliveryReq", watch_s=1.0, measures_pilot=True, expect=Expect(no_facts=(EARLY_C,))),
    )  # fmt: skip


def _negotiating(family: Family) -> Iterator[Case]:
    timing = Timing()
    most = timing.ongoing + CLOSING_S
    yield _case(
        family, "renegotiation-ongoing",
        "The charger wants another schedule in the charge loop, and then answers Ongoing for ever",
        f"no loop meanwhile; the vehicle gives up, not before {timing.ongoing_performance:g} s and at "
        f"{timing.ongoing:g} s",
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
    yield _case(
        family, "pre-charge-other", "The pre-charge ends 50 V below the voltage that was asked for",
        f"no PowerDeliveryReq (Start); the vehicle gives up at {timing.evcc_pre_charge:g} s", ("Tables 215 to 218",),
        ChargerScript(
            at="DC_PreChargeReq", twist="less voltage", again=True, watch_s=most + 1.0,
            expect=Expect(within=(0.0, most), no_facts=("asks PowerDeliveryReq Start",)),
        ),
    )  # fmt: skip
    for name, twist, title in (
        ("over-voltage", "too much voltage", "a fifth more voltage than the vehicle has said it bears"),
        ("over-current", "too much current", "twice the current that the vehicle has said it bears"),
    ):
        yield _case(
            family, name, f"The charger says in the charge loop that it gives {title}",
            "the vehicle ends the session, in words or at once", (),
            ChargerScript(
                at="DC_ChargeLoopReq", nth=3, twist=twist, again=True, watch_s=CLOSING_S,
                expect=Expect(closes=True, state_b=True),
            ),
            why=_BEYOND,
        )  # fmt: skip
