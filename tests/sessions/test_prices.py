"""Schedules and prices from both ends: the vehicle plans with what the charger offers, and both count the same cost."""

import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import msgspec
import pytest

from evcc.session.settings import (
    DischargeConfig,
    NeedsConfig,
    PlanningConfig,
    ProgramStep,
    ServiceConfig,
    SessionConfig,
)
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import ControlMode, SeccConfig
from secc.session.terms import PriceTerms, ScheduleOffer, ScheduleRules, SeccNeeds, TaxTerms
from tests.emissions import fault
from tests.sessions.joined import Joined, messages
from v2g import exi
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import Setpoint
from v2g.energy.settlement.records import WearPriced
from v2g.iso15118.d20.messages.common_messages import PowerDeliveryReq, ScheduleExchangeRes
from v2g.iso15118.d20.messages.dc import DC_ChargeLoopReq, DC_ChargeLoopRes
from v2g.iso15118.d20.prices import fraction
from v2g.iso15118.d20.session import SCHEMAS
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame
from v2g.pki.keys import load_key

Join = Callable[..., Joined]
QUARTER = 900_000
SELLING: Final = DischargeConfig(departure_reserve_s=60, command_validity_ms=60_000, command_renew_ms=30_000)
"""A loop of these sessions lasts 20 s of the simulated clock: commands have to outlive it."""
PLAN = (ProgramStep(do="plan"),)


def tariff(utc_ms: int, prices: list[int], *, compensation: int = 0, version: int = 1) -> Tariff:
    """Return prices in cents by the quarter hour, the first one in force now."""
    begin = utc_ms - utc_ms % QUARTER
    slots = tuple(
        PriceSlot(begin + n * QUARTER, QUARTER, cents * 10_000, compensation * 10_000) for n, cents in enumerate(prices)
    )
    return Tariff(currency="EUR", slots=slots, version=version, source="test")


def now() -> int:
    """Return the beginning of a quarter hour of today, as the certificates are of today."""
    moment = time.time_ns() // 1_000_000
    return moment - moment % QUARTER


@pytest.fixture
def join(pki: PkiTree) -> Join:
    """Return a maker of pairs in Scheduled mode, a hundred times faster than the clock."""

    def make(*, energy: str = "DC", soc: float = 70.0, **options: Any) -> Joined:
        services = ServiceConfig(energy=(energy,), control_mode=("scheduled",))  # type: ignore[arg-type]
        vehicle = SessionConfig(
            program=PLAN, services=services, needs=NeedsConfig(departure_after_s=2 * 3600, target_soc=75.0)
        )
        changes = options.pop("vehicle", {})
        options.setdefault("charger", SeccConfig())
        return Joined(
            pki, options.pop("utc_ms", now()), vehicle=msgspec.structs.replace(vehicle, **changes), soc=soc,
            scale=200.0, **options,
        )  # fmt: skip

    return make


def test_energy_flows_in_the_cheap_time_and_both_ends_count_the_same_cost(join: Join) -> None:
    utc_ms = now()
    taxes = (TaxTerms(name="VAT", rate=Decimal("0.19")),)
    joined = join(
        utc_ms=utc_ms,
        tariff=tariff(utc_ms, [40, 40, 10, 40, 20, 40, 40, 40, 40]),
        charger=SeccConfig(prices=PriceTerms(taxes=taxes, receipt_every_s=0)),
    )
    joined.complete()
    planned = joined.vehicle_saw("schedule", "planned")[0]
    assert planned["reaches_target"]
    assert joined.plant.battery.state.soc >= 74.9
    profile = messages(joined.evcc_actions, PowerDeliveryReq)[0].ev_power_profile
    entries = profile.ev_power_profile_entries.ev_power_profile_entry
    assert entries[0].duration == 1800, "nothing before the cheap quarter hour"
    receipts = [each["receipt"] for each in _loops(joined)]
    reported = [each for each in receipts if each is not None]
    energy, tax = fraction(reported[-1].energy_costs.amount), fraction(reported[-1].tax_costs[0].amount)
    kwh = Fraction(joined.imported_mwh(), 1_000_000)
    # at this speed a loop is 22 s of charging, and the last one comes after the last receipt
    assert float(energy) == pytest.approx(float(kwh) * 0.10, rel=0.05)
    assert float(tax) == pytest.approx(float(energy) * 0.19, rel=0.001)
    assert planned["cost"] == pytest.approx(float(energy + tax), rel=0.08)


def _loops(joined: Joined) -> list[dict[str, Any]]:
    """Return the answers of the charge loop."""
    return [msgspec.structs.asdict(each) for each in messages(joined.secc_actions, DC_ChargeLoopRes)]


def test_receipts_stand_only_beside_a_reading(join: Join) -> None:
    utc_ms = now()
    joined = join(utc_ms=utc_ms, tariff=tariff(utc_ms, [10] * 9), soc=74.0)
    joined.run()
    loops = _loops(joined)
    assert any(each["receipt"] is not None for each in loops)
    assert all(each["meter_info"] is not None for each in loops if each["receipt"] is not None)  # V2G20-1919
    amounts = [fraction(each["receipt"].energy_costs.amount) for each in loops if each["receipt"] is not None]
    assert amounts == sorted(amounts)


def test_energy_is_given_back_when_that_is_paid_well(join: Join) -> None:
    utc_ms = now()
    prices = [PriceSlot(utc_ms + n * QUARTER, QUARTER, 100_000, 600_000 if n == 4 else 0) for n in range(9)]
    joined = join(
        utc_ms=utc_ms,
        energy="DC_BPT",
        tariff=Tariff(currency="EUR", slots=tuple(prices), version=1),
        charger=SeccConfig(control_modes=(ControlMode.SCHEDULED,)),
        vehicle={"discharge": SELLING},
    )
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.exported_mwh() > 500_000
    assert joined.plant.battery.state.soc >= 74.9


@pytest.mark.requirement("R7")
@pytest.mark.requirement("R35")
@pytest.mark.parametrize("wear", [None, Decimal("0.02")])
def test_the_journal_begins_with_the_price_of_wear_if_it_has_one(join: Join, wear: Decimal | None) -> None:
    joined = join(energy="DC", charger=SeccConfig(prices=PriceTerms(wear=wear)))
    joined.run(lambda: "TariffSet" in joined.records())
    found = [a.record for a in joined.secc_actions if isinstance(a, se.Journal) and isinstance(a.record, WearPriced)]
    assert found == ([WearPriced(price=20_000)] if wear is not None else [])


def test_new_prices_make_a_new_plan(join: Join) -> None:
    utc_ms = now()
    joined = join(utc_ms=utc_ms, tariff=tariff(utc_ms, [40, 40, 40, 40, 10, 40, 40, 40, 40]))
    joined.run(lambda: bool(joined.vehicle_saw("power", "started")))
    assert joined.imported_mwh() == 0
    fresh = tariff(joined.utc_ms, [40, 5, 40, 40, 10, 40, 40, 40, 40], version=2)
    joined.secc.fact(se.GridChanged((), fresh), joined.now, joined.utc_ms)
    joined.settle()
    joined.run()
    assert len(joined.vehicle_saw("schedule", "planned")) >= 2
    assert joined.evcc_reason == "finished"
    assert joined.vehicle_saw("schedule", "planned")[1]["until_ms"] <= utc_ms + 2 * QUARTER + 1000


@pytest.mark.parametrize("demand", ["accept", "refuse"])
def test_prices_signed_by_the_operator_of_the_contract_are_believed(join: Join, pki: PkiTree, demand: Any) -> None:
    utc_ms = now()
    joined = join(
        utc_ms=utc_ms, tariff=tariff(utc_ms, [10] * 9), soc=74.0, price_key=load_key(pki.path("mo/sub2.key")),
        vehicle={"planning": PlanningConfig(unsigned_prices=demand)},
    )  # fmt: skip
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.vehicle_saw("schedule", "prices")[0]["signed"]
    response = messages(joined.secc_actions, ScheduleExchangeRes)[0]
    references = response.header.signature.signed_info.reference
    assert len(references) == len(response.scheduled_se_res_control_mode.schedule_tuple)


@pytest.mark.parametrize(
    ("key", "demand", "reason"),
    [
        (None, "refuse", "prices_not_signed"),
        ("secc", "accept", "prices_not_believed"),
        ("secc", "refuse", "prices_not_believed"),
    ],
)
def test_prices_that_nobody_vouches_for_are_refused(
    join: Join, pki: PkiTree, key: str | None, demand: Any, reason: str
) -> None:
    utc_ms = now()
    joined = join(
        utc_ms=utc_ms, tariff=tariff(utc_ms, [10] * 9), price_key=pki.key(key) if key else None,
        vehicle={"planning": PlanningConfig(unsigned_prices=demand)},
    )  # fmt: skip
    joined.run()
    assert joined.evcc_reason == reason
    assert joined.imported_mwh() == 0


def test_prices_that_were_changed_on_their_way_are_not_believed(join: Join, pki: PkiTree) -> None:
    utc_ms = now()
    joined = join(utc_ms=utc_ms, tariff=tariff(utc_ms, [10] * 9), price_key=load_key(pki.path("mo/sub2.key")))

    def tamper(data: bytes) -> bytes:
        (each,) = Framer().feed(data)
        if each.payload_type != PayloadType.COMMON:
            return data
        message = exi.decode(each.payload, SCHEMAS[each.payload_type])
        if not isinstance(message, ScheduleExchangeRes):
            return data
        mode = message.scheduled_se_res_control_mode
        assert mode is not None
        first = mode.schedule_tuple[0]
        cheaper = msgspec.structs.replace(first.charging_schedule.absolute_price_schedule, currency="USD")  # type: ignore[type-var]
        charging = msgspec.structs.replace(first.charging_schedule, absolute_price_schedule=cheaper)
        changed = (msgspec.structs.replace(first, charging_schedule=charging), *mode.schedule_tuple[1:])
        forged = msgspec.structs.replace(mode, schedule_tuple=changed)
        return frame(
            each.payload_type, exi.encode(msgspec.structs.replace(message, scheduled_se_res_control_mode=forged))
        )

    joined.wire_to_evcc = tamper
    joined.run()
    assert joined.evcc_reason == "prices_not_believed"


def test_a_charger_that_knows_the_needs_says_them(join: Join) -> None:
    charger = SeccConfig(mobility_needs=(2, 1), needs=SeccNeeds(departure_after_s=3600, minimum_soc=40, target_soc=72))
    services = ServiceConfig(energy=("DC",), control_mode=("dynamic",), mobility_needs=("secc", "evcc"))
    joined = join(charger=charger, vehicle={"services": services})
    joined.run()
    (changed,) = joined.vehicle_saw("schedule", "needs_changed")
    assert (changed["target_soc"], changed["minimum_soc"]) == (72, 40)
    assert joined.evcc_reason == "finished"
    assert 72.0 <= joined.plant.battery.state.soc < 73.0


def test_levels_serve_where_no_prices_are_sent(join: Join) -> None:
    utc_ms = now()
    joined = join(
        utc_ms=utc_ms,
        tariff=tariff(utc_ms, [40, 40, 10, 40, 20, 40, 40, 40, 40]),
        charger=SeccConfig(prices=PriceTerms(forms=("levels",))),
    )
    joined.run()
    assert joined.evcc_reason == "finished"
    planned = joined.vehicle_saw("schedule", "planned")[0]
    assert planned["cost"] is None
    assert planned["until_ms"] <= utc_ms + 3 * QUARTER


def test_a_cheaper_slower_tuple_is_taken_when_there_is_time(join: Join) -> None:
    utc_ms = now()
    offers = (ScheduleOffer(), ScheduleOffer(power_percent=40, surcharge=Decimal("-0.05")))
    joined = join(
        utc_ms=utc_ms, tariff=tariff(utc_ms, [30] * 9), charger=SeccConfig(schedules=ScheduleRules(offers=offers))
    )
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.vehicle_saw("schedule", "planned")[0]["tuple_id"] == 2
    assert joined.plant.battery.state.soc >= 74.9


def test_what_the_vehicle_would_give_reaches_the_back_end(join: Join) -> None:
    discharge = DischargeConfig(offer_energy=True, minimum_compensation=Decimal("0.18"))
    joined = join(
        energy="DC_BPT", soc=74.0, vehicle={"discharge": discharge},
        charger=SeccConfig(control_modes=(ControlMode.SCHEDULED,)),
    )  # fmt: skip
    joined.run()
    needs = next(each.needs for each in joined.secc_actions if isinstance(each, se.ReportChargingNeeds))
    assert needs.offer is not None
    assert needs.offer.currency == "EUR"
    assert needs.offer.prices[0].rules[0].micro_per_kwh == 180_000
    assert needs.offer.powers[0].power_w == 10_000


def test_while_the_back_end_is_at_work_the_vehicle_asks_again(join: Join) -> None:
    utc_ms = now()
    joined = join(utc_ms=utc_ms, tariff=tariff(utc_ms, [10] * 9), soc=74.0, can_plan=True)
    joined.run(lambda: bool([e for e in joined.secc_actions if isinstance(e, se.ReportChargingNeeds)]))
    joined.secc.fact(se.ChargingNeedsAnswered("Processing"), joined.now, joined.utc_ms)
    joined.settle()
    for _ in range(60):
        joined.advance()
    answers = messages(joined.secc_actions, ScheduleExchangeRes)
    assert len(answers) > 2
    assert {each.evse_processing.value for each in answers} == {"Ongoing"}
    fresh = tariff(utc_ms, [20] * 9, version=2)
    joined.secc.fact(se.GridChanged((), fresh), joined.now, joined.utc_ms)
    joined.settle()
    joined.run()
    assert joined.evcc_reason == "finished"
    planned = joined.vehicle_saw("schedule", "planned")[0]
    assert planned["cost"] == pytest.approx(0.2 * 0.618, rel=0.02)
    assert fault("evcc", "schedule", "planned", planned) == "", "as it is declared"


def test_a_back_end_that_never_decides_is_not_waited_for_for_ever(join: Join) -> None:
    joined = join(can_plan=True, soc=74.0, charger=SeccConfig(schedules=ScheduleRules(patience_s=5)))
    joined.run()
    assert joined.evcc_reason == "finished"


# -- Dynamic mode: the charger decides on power, within what the vehicle lets it ------------------------------------


def dynamic(join: Join, utc_ms: int, **options: Any) -> Joined:
    """Return a pair in Dynamic mode with prices in euros."""
    services = ServiceConfig(energy=(options.pop("kind", "DC"),), control_mode=("dynamic",))
    vehicle = {"services": services, **options.pop("vehicle", {})}
    return join(utc_ms=utc_ms, vehicle=vehicle, **options)


def test_in_dynamic_mode_energy_flows_in_the_cheap_time_too(join: Join) -> None:
    utc_ms = now()
    joined = dynamic(join, utc_ms, tariff=tariff(utc_ms, [40, 40, 10, 40, 40, 40, 40, 40, 40]))
    joined.complete()
    assert joined.plant.battery.state.soc >= 74.5
    wished = [(each["charge_w"], each["do"]) for each in joined.vehicle_saw("power", "wish")]
    assert (0, "plan") in wished, "it waited for the cheap time"
    flows = joined.vehicle_saw("loop", "flow")
    idle = sum(each["power_w"] == 0 for each in flows)
    assert idle > len(flows) / 3
    planned = joined.vehicle_saw("schedule", "planned")[0]
    assert planned["tuple_id"] is None
    assert planned["reaches_target"]


def test_in_dynamic_mode_a_charger_that_allows_little_is_planned_with(join: Join) -> None:
    utc_ms = now()
    joined = dynamic(
        join,
        utc_ms,
        tariff=tariff(utc_ms, [40, 40, 10, 40, 40, 40, 40, 40, 40]),
        setpoint=Setpoint(power_w=2_500, source="csms"),
    )
    joined.run()
    plans = joined.vehicle_saw("schedule", "planned")
    assert len(plans) > 1, "the first one knew nothing of the set-point"
    assert joined.plant.battery.state.soc >= 74.0
    assert max(each["power_w"] for each in joined.vehicle_saw("loop", "flow")) <= 2_550


def test_in_dynamic_mode_energy_is_given_back_under_signed_terms_that_pay(join: Join) -> None:
    utc_ms = now()
    slots = [PriceSlot(utc_ms + n * QUARTER, QUARTER, 100_000, 600_000 if n < 2 else 0) for n in range(9)]
    joined = dynamic(
        join,
        utc_ms,
        kind="DC_BPT",
        soc=75.0,
        tariff=Tariff(currency="EUR", slots=tuple(slots), version=1),
        vehicle={"discharge": SELLING},
    )
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.exported_mwh() > 500_000
    first, *later = joined.vehicle_saw("schedule", "planned")
    assert not first["until_ms"], "at its target, before terms are agreed, a vehicle has nothing to plan"
    assert later
    assert all(each["until_ms"] for each in later), "no answer looks as if the charger allowed nothing any more"
    assert joined.plant.battery.state.soc >= 74.0
    paid = [
        request
        for request in messages(joined.evcc_actions, DC_ChargeLoopReq)
        if request.cl_req_control_mode.ev_maximum_v2x_energy_request is not None
    ]
    assert paid, "how far energy may be moved is told while somebody pays for it"
