"""What a fleet's connection draws beside its vehicles, what plans reckon with, and what a bid is paid (R48 to R57)."""

from datetime import UTC
from typing import Any, Literal

import msgspec
import pytest

from csms.fleets.rules import (
    Fleet,
    FleetBid,
    FleetCall,
    Forecast,
    Peak,
    called,
    delivered_wh,
    describe_call,
    fleet_problem,
    fleet_vehicle,
    known_sum,
    vehicle_id,
)
from csms.smart_charging.rules import Needs
from csms.transactions.rules import Dated, Transaction
from tests.csms.support import grid_signal
from tests.together import together
from v2g.energy.dispatch import problem
from v2g.energy.dispatch.flexibility import FleetRange, VehicleRange
from v2g.energy.dispatch.transformer import Transformer
from v2g.energy.grid_signal import SignalSlot
from v2g.energy.limits import MOST_W

NOW_MS = 1_767_225_600_000
QUARTER_MS, HOUR_MS = 900_000, 3_600_000
SIGNAL = grid_signal(now_ms=NOW_MS)


def test_a_fleet_is_usual_unless_it_is_said() -> None:
    assert Fleet(id="f") == Fleet(
        id="f", stations=None, import_limit_w=MOST_W, export_limit_w=MOST_W, evse_w=MOST_W, load_w=0, forecast=(),
        transformer=None, raise_w=MOST_W, climate=problem.NO_CLIMATE, peak=None, zone="UTC", horizon_h=24,
        charge_efficiency=0.95, discharge_efficiency=0.95, battery_price_per_kwh="100", loss_percent=0.4,
        gate_closure_s=3600, headroom=0.1, active=True,
    )  # fmt: skip
    assert not Peak(from_minute=0, until_minute=1, import_limit_w=0).discharge_elsewhere
    assert Forecast(start_ms=5) == Forecast(start_ms=5, load_w=None, pv_w=0, temperature_c=None)
    assert Fleet(id="f").tzinfo is UTC
    assert Fleet(id="f").concerns("CS-1")
    named = Fleet(id="f", stations=("CS-1",))
    assert (named.concerns("CS-1"), named.concerns("CS-2")) == (True, False)
    assert vehicle_id("CS", "t") == "CS/t"
    with pytest.raises(ValueError, match="starts of a forecast must rise"):
        Fleet(id="f", forecast=(Forecast(start_ms=5), Forecast(start_ms=5)))


@together(
    ("load_w", "forecast", "base"),
    [
        (0, (), (None, None)),
        (500, (), (500, 500)),
        (0, (Forecast(start_ms=5, temperature_c=1.0),), (None, None)),
        (0, (Forecast(start_ms=5, pv_w=300),), (0, -300)),
        (200, (Forecast(start_ms=5, pv_w=300),), (200, -100)),
        (200, (Forecast(start_ms=5, load_w=0),), (200, 0)),
        (0, (Forecast(start_ms=5, load_w=700, pv_w=300),), (0, 400)),
        (0, (Forecast(start_ms=5), Forecast(start_ms=9, load_w=0)), (0, 0)),
    ],
)
def test_a_connection_draws_what_is_expected_beside_the_vehicles(
    load_w: int, forecast: tuple[Forecast, ...], base: tuple[int | None, int | None]
) -> None:
    fleet = Fleet(id="f", load_w=load_w, forecast=forecast)
    assert (fleet.base_w(4), fleet.base_w(5)) == base
    assert fleet.expected(4) == Forecast(start_ms=0, load_w=load_w)


@together(
    ("direction", "asked", "delivered", "paid_wh", "positive"),
    [
        ("up", 4000, 3000, 3000, 1),
        ("up", 4000, 5000, 4000, 1),
        ("up", 4000, -1000, 0, 1),
        ("down", -4000, -3000, 3000, -1),
        ("down", -4000, -5000, 4000, -1),
        ("down", -4000, 1000, 0, -1),
        ("up", 1, 1, 1, 1),
    ],
)
def test_a_bid_is_paid_for_what_was_delivered_of_what_was_asked(
    direction: Literal["up", "down"], asked: int, delivered: int, paid_wh: int, positive: int
) -> None:
    """A price of 0.25 per kWh."""
    bid = FleetBid(
        id="b", fleet_id="f", start_ms=0, end_ms=1, direction=direction, power_w=1, price_micro_per_kwh=250_000,
        gate_closure_ms=0,
    )  # fmt: skip
    assert (bid.called_w, bid.settled, bid.asked_wh, bid.delivered_wh, bid.paid_micro) == (0, False, 0, 0, 0)
    assert bid.settle(asked, delivered) == msgspec.structs.replace(
        bid, settled=True, asked_wh=abs(asked), delivered_wh=positive * delivered, paid_micro=positive * paid_wh * 250
    )


def test_a_payment_is_rounded_once() -> None:
    bid = FleetBid(
        id="b", fleet_id="f", start_ms=0, end_ms=1, direction="up", power_w=1, price_micro_per_kwh=1499,
        gate_closure_ms=0,
    )  # fmt: skip
    assert [bid.settle(wh, wh).paid_micro for wh in (1, 2, 1000)] == [1, 3, 1499]


def transaction(into_wh: int = 0, number: int = 0) -> Transaction:
    registers = {"import_start_wh": Dated(0, "0"), "import_wh": Dated(1, str(into_wh))}
    return Transaction(station_id="CS", transaction_id=f"t{number}", first_seq=0, last_seq=0, **registers)


NEEDS = Needs(evse_id=1, requested="DC_BPT", energy_wh=5_000, most_wh=30_000, least_wh=-20_000, most_w=11_000)


def vehicle(into_wh: int = 0, **changes: Any) -> problem.FleetVehicle:
    fleet = Fleet(id="f", charge_efficiency=0.8, discharge_efficiency=0.5)
    found = fleet_vehicle(fleet, transaction(into_wh), msgspec.structs.replace(NEEDS, **changes))
    assert found is not None
    return found


def test_a_vehicle_is_reckoned_with_what_it_says() -> None:
    assert vehicle(into_wh=1).energy_wh == 20_001
    assert vehicle(energy_wh=-5).target_wh == 20_000
    nothing = vehicle(energy_wh=0, most_wh=0, least_wh=0)
    assert (nothing.capacity_wh, nothing.target_wh) == (1, 0)
    assert (vehicle(departure_ms=0).departure_ms, vehicle(departure_ms=9).departure_ms) == (None, 9)


def plan(*departures_ms: int | None, fleet: Fleet | None = None, signal: Any = SIGNAL) -> problem.DispatchProblem:
    vehicles = [
        (transaction(number=number), msgspec.structs.replace(NEEDS, departure_ms=each))
        for number, each in enumerate(departures_ms)
    ]
    return fleet_problem(fleet or Fleet(id="f"), vehicles, signal, NOW_MS)


def test_a_plan_reaches_as_far_as_somebody_is_there() -> None:
    priced_ms = NOW_MS + 9 * QUARTER_MS
    assert plan().end_ms == plan(None).end_ms == plan(NOW_MS + QUARTER_MS, None).end_ms == priced_ms
    assert plan(NOW_MS + QUARTER_MS, NOW_MS + 1).end_ms == NOW_MS + 2 * QUARTER_MS
    assert plan(NOW_MS + 8 * QUARTER_MS, fleet=Fleet(id="f", horizon_h=1)).end_ms == NOW_MS + HOUR_MS
    slots = [
        SignalSlot(start_ms=NOW_MS + n * HOUR_MS, duration_s=3600, import_price=1, export_compensation=1)
        for n in (0, 1, 2, 4)
    ]
    gap = msgspec.structs.replace(SIGNAL, slots=tuple(slots))
    assert plan(signal=gap).end_ms == NOW_MS + 3 * HOUR_MS
    whole = msgspec.structs.replace(SIGNAL, slots=tuple(slots[:3]))
    assert plan(signal=whole).end_ms == NOW_MS + 3 * HOUR_MS


@together(
    ("fleet", "import_w", "export_w"),
    [
        (Fleet(id="f", export_limit_w=3_000), 11_000, 3_000),
        (Fleet(id="f", import_limit_w=5_000, transformer=Transformer(rated_va=8_000)), 5_000, 5_000),
        (Fleet(id="f", transformer=Transformer(rated_va=8_000)), 8_000, 5_000),
        (
            Fleet(
                id="f", transformer=Transformer(rated_va=8_000, power_factor=0.8),
                forecast=(Forecast(start_ms=0, pv_w=50_000),),
            ),
            0,
            5_000,
        ),
    ],
    ids=lambda case: str(case[1:]),
)  # fmt: skip
def test_a_plan_keeps_the_limits_of_the_connection(fleet: Fleet, import_w: int, export_w: int) -> None:
    first = plan(None, fleet=fleet).periods[0]
    assert (first.import_limit_w, first.export_limit_w) == (import_w, export_w)


def test_a_call_asks_nobody_for_more_than_it_can_do_now() -> None:
    """Around its plan of then, which it may not be able to follow any more."""
    can = VehicleRange(id="a", planned_w=2_000, up_w=2_000, down_w=1_000)  # 0 to 3 kW
    present = FleetRange(start_ms=0, end_ms=1, planned_w=0, up_w=0, down_w=0, vehicles=(can,))

    def answer(power_w: int, planned_w: int) -> dict[str, int]:
        return called(FleetCall(power_w=power_w, from_ms=0, until_ms=1, planned_w={"a": planned_w}), present)

    assert (answer(0, 11_000), answer(0, -5_000), answer(0, 1_500)) == ({"a": 3_000}, {"a": 0}, {"a": 1_500})
    assert (answer(9_000, 1_500), answer(-9_000, 1_500)) == ({"a": 0}, {"a": 3_000})


def test_a_call_is_told_and_measured_from_its_beginning() -> None:
    call = FleetCall(power_w=4_000, from_ms=NOW_MS, until_ms=NOW_MS + HOUR_MS, planned_w={"a": 6_000})
    assert (call.bid_id, call.earlier) == ("", ())
    assert delivered_wh(call, {"a": (2_000_000, NOW_MS + HOUR_MS // 2)}) == 1_000
    end = "than planned when the call began, and follow the plan afterwards."
    assert describe_call(call, UTC) == f"Called until 01:00: vehicles draw 4.0 kW less {end}"
    more = msgspec.structs.replace(call, power_w=-1_250)
    assert describe_call(more, UTC) == f"Called until 01:00: vehicles draw 1.2 kW more {end}"
    assert " 0.0 kW less " in describe_call(msgspec.structs.replace(call, power_w=0), UTC)


def test_a_sum_is_of_what_is_known() -> None:
    assert (known_sum([1, None, 2]), known_sum([0]), known_sum([None]), known_sum([])) == (3, 0, None, None)
