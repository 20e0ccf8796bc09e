"""What vehicles need, which profiles may stand beside each other, whom set-points are for, what stations can do."""

import contextlib
from typing import Any

import msgspec
import pytest

from csms.sites.rules import Balancing
from csms.smart_charging.rules import (
    LONGEST_SETPOINT_MS,
    TRANSACTION_PROFILE,
    Needs,
    StationAbilities,
    add_prices,
    add_sales_tariff,
    asked_of,
    check_distinct,
    is_direct,
    limit_start_ms,
    needs_of,
    open_profile,
    station_profiles,
    transaction_profile,
)
from tests.csms.support import grid_signal
from tests.together import together
from v2g.energy.limits import MOST_W
from v2g.energy.price_plan import Charge, PricePlan, Rate, Use
from v2g.errors import RefusedError
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.ev_charging import NotifyEVChargingNeedsRequest
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time
from v2g.translate.price_schedules import Asked, absolute_prices, price_levels, sales_tariff

NOW = 1_800_000_000_789
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# -- needs


@together(
    ("requested", "soc", "direct"),
    [
        ("AC_single_phase", 40.0, False), ("AC_BPT", None, False), ("DC", None, True), ("DC_BPT", None, True),
        ("", None, False), ("", 40.0, True), (None, None, False), (None, 0.0, True),
    ],
)  # fmt: skip
def test_direct_current_is_known_by_the_mode_and_without_one_by_the_state_of_charge(
    requested: str | None, soc: float | None, direct: bool
) -> None:
    assert is_direct(None if requested is None else Needs(evse_id=1, requested=requested), soc) is direct


AC = {"energyAmount": 20_000, "evMinCurrent": 6, "evMaxCurrent": 16, "evMaxVoltage": 400}
DC = {"evMaxCurrent": 100, "evMaxVoltage": 400}
V2X = {
    "evTargetEnergyRequest": 30_000, "evMaxEnergyRequest": 40_000, "evMinEnergyRequest": -9_000, "minChargePower": 500,
    "maxChargePower": 11_000, "minDischargePower": -600, "maxDischargePower": -10_000,
}  # fmt: skip
V2X_NEEDS = {
    "energy_wh": 30_000, "most_wh": 40_000, "least_wh": -9_000, "least_w": 500, "most_w": 11_000,
    "least_discharge_w": 600, "most_discharge_w": 10_000, "edition_20": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "needs"),
    [
        ({}, {}),
        ({"acChargingParameters": AC}, {"energy_wh": 20_000, "least_ma": 6_000, "most_ma": 16_000}),
        ({"dcChargingParameters": DC}, {"most_w": 40_000}),
        (
            {"dcChargingParameters": {**DC, "evMaxPower": 50_000, "energyAmount": 30_000, "stateOfCharge": 40}},
            {"most_w": 50_000, "energy_wh": 30_000, "soc": 40},
        ),
        ({"v2xChargingParameters": V2X}, V2X_NEEDS),
        ({"v2xChargingParameters": {"maxChargePower": 1}}, {"most_w": 1, "edition_20": True}),
        ({"v2xChargingParameters": {"evMinEnergyRequest": 2_000, "evMinV2XEnergyRequest": 3_000}},
         {"least_wh": 3_000, "edition_20": True}),
        ({"v2xChargingParameters": {"evMinV2XEnergyRequest": -3_000}}, {"least_wh": -3_000, "edition_20": True}),
        ({"v2xChargingParameters": {"evMinEnergyRequest": -2e9, "evTargetEnergyRequest": -5, "maxChargePower": 2e9}},
         {"least_wh": -10**9, "most_w": 10**9, "edition_20": True}),
        ({"v2xChargingParameters": {"evMinEnergyRequest": 2e9}}, {"least_wh": 10**9, "edition_20": True}),
        ({"controlMode": "DynamicControl", "dcChargingParameters": DC},
         {"dynamic": True, "edition_20": True, "most_w": 40_000}),
        ({"controlMode": "ScheduledControl", "dcChargingParameters": DC}, {"edition_20": True, "most_w": 40_000}),
        ({"departureTime": "1970-01-01T00:00:02Z"}, {"departure_ms": 2_000}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tuples", [None, 3])
def test_needs_are_those_of_the_parameters(said: dict[str, Any], needs: dict[str, Any], tuples: int | None) -> None:
    """K15.FR.06, K17.FR.06; out of a plausible range they count as its end."""
    request = {"evseId": 2, "chargingNeeds": {"requestedEnergyTransfer": "DC_BPT", **said}}
    if tuples is not None:
        request["maxScheduleTuples"] = tuples
    found = needs_of(msgspec.convert(request, NotifyEVChargingNeedsRequest))
    assert found == Needs(evse_id=2, requested="DC_BPT", max_periods=tuples or 0, **needs)
    assert found.bounded is bool(found.most_w or found.most_ma)


def test_what_a_vehicle_has_not_sent() -> None:
    """An AC_BPT vehicle may give energy back, one of AC not."""
    found = Needs(evse_id=1, requested="AC")
    assert found == Needs(
        evse_id=1, requested="AC", max_periods=0, energy_wh=0, most_wh=0, least_wh=0, net_wh=0, departure_ms=None,
        least_ma=0, most_ma=0, least_w=0, most_w=0, least_discharge_w=0, most_discharge_w=0, soc=None, dynamic=False,
        edition_20=False, priority=0,
    )  # fmt: skip
    modes = ("AC_BPT", "AC_BPT_DER", "AC_DER", "DC_BPT", "DC_ACDP_BPT", "AC", "DC", "DC_ACDP", "WPT")
    assert [msgspec.structs.replace(found, requested=each).bidirectional for each in modes] == [True] * 5 + [False] * 4


@pytest.mark.parametrize(
    ("departs_ms", "until_ms"),
    [(None, DAY_MS), (2 * HOUR_MS + 999, 2 * HOUR_MS), (600_000, HOUR_MS), (3 * DAY_MS, DAY_MS)],
)
@pytest.mark.parametrize(("max_periods", "entries"), [(0, 12), (5, 5), (20, 12)])
@pytest.mark.parametrize("kind", ["AC", "DC"])
def test_prices_are_until_departure_for_an_hour_to_a_day(
    departs_ms: int | None, until_ms: int, max_periods: int, entries: int, kind: str
) -> None:
    begin_ms = 1_800_000_000_000
    departure_ms = None if departs_ms is None else begin_ms + departs_ms
    requested = f"{kind}_BPT"
    needs = Needs(evse_id=1, requested=requested, departure_ms=departure_ms, max_periods=max_periods, most_w=11_000)
    assert asked_of(needs, begin_ms, 7, 3, 12) == Asked(
        from_ms=begin_ms, until_ms=begin_ms + until_ms, started_ms=7, evse_kind=kind,
        use=Use(energy_mwh=3_000, power_w=11_000), entries=entries,
    )  # fmt: skip


# -- profiles


@pytest.mark.parametrize(
    ("requested", "most", "version", "limit"),
    [
        ("DC", {"most_w": 11_000}, "2.1", {"limit": 11_000.0}),
        ("AC", {"most_ma": 16_500}, "2.1", {"limit": 16.5}),
        ("DC_BPT", {"most_w": 11_000, "most_discharge_w": 5_000}, "2.0.1", {"limit": 11_000.0}),
        ("DC_BPT", {"most_w": 11_000, "most_discharge_w": 5_000}, "2.1",
         {"limit": 11_000.0, "discharge_limit": -3_000.0, "operation_mode": "ExternalSetpoint"}),
        ("DC_BPT", {"most_w": 11_000, "most_discharge_w": 2_000}, "2.1",
         {"limit": 11_000.0, "discharge_limit": -2_000.0, "operation_mode": "ExternalSetpoint"}),
    ],
)  # fmt: skip
def test_a_profile_that_only_carries_prices_has_the_vehicles_own_limits(
    requested: str, most: dict[str, int], version: Version, limit: dict[str, Any]
) -> None:
    needs = Needs(evse_id=2, requested=requested, **most)
    found = open_profile(version, NOW, "t", needs, most_export_w=3_000)
    assert found is not None
    assert found.evse_id == 2
    schedule = ChargingSchedule(
        id=TRANSACTION_PROFILE + 2,
        start_schedule=format_time((NOW - 60_000) // 1000 * 1000),
        charging_rate_unit="A" if "most_ma" in most else "W",
        charging_schedule_period=(ChargingSchedulePeriod(start_period=0, **limit),),
    )
    assert found.charging_profile == ChargingProfile(
        id=TRANSACTION_PROFILE + 2, stack_level=0, charging_profile_purpose="TxProfile",
        charging_profile_kind="Absolute", transaction_id="t", charging_schedule=(schedule,),
    )  # fmt: skip
    unbounded = open_profile(version, 30_000, "t", needs)
    assert unbounded is not None
    (schedule,) = unbounded.charging_profile.charging_schedule
    assert schedule.start_schedule == format_time(0)
    if "discharge_limit" in limit:
        assert schedule.charging_schedule_period[0].discharge_limit == -float(most["most_discharge_w"])
    assert open_profile(version, NOW, "t", Needs(evse_id=2, requested=requested)) is None


@pytest.mark.parametrize(
    ("changes", "periods"),
    [
        ({}, [(0, 11_000.0, -5_000.0, "ExternalSetpoint"), (DAY_MS // 1000 + 3600, 11_000.0, None, "ChargingOnly")]),
        (
            {"site_import_limit_w": MOST_W},
            [(0, None, -5_000.0, "ExternalSetpoint"), (DAY_MS // 1000 + 3600, None, 0.0, "ExternalSetpoint")],
        ),
        ({"valid_until_ms": NOW}, [(0, 11_000.0, None, "ChargingOnly")]),
        ({"valid_until_ms": NOW, "site_import_limit_w": MOST_W}, [(0, None, 0.0, "ExternalSetpoint")]),
        (
            {"valid_until_ms": 10**14, "version": 2**31 + 5},
            [(0, 11_000.0, -5_000.0, "ExternalSetpoint"), (2**31 - 1, 11_000.0, None, "ChargingOnly")],
        ),
    ],
)
def test_a_default_profile_says_a_signal_and_its_end(changes: dict[str, Any], periods: list[Any]) -> None:
    """Where nothing limits charging there is no profile of the station, and none at all before 2.1."""
    signal = grid_signal(now_ms=NOW, **{"version": 5, **changes})
    *site, default = station_profiles(signal, "2.1", NOW)
    (schedule,) = default.charging_profile.charging_schedule
    found = [
        (each.start_period, each.limit, each.discharge_limit, each.operation_mode)
        for each in schedule.charging_schedule_period
    ]
    assert found == periods
    assert (schedule.id, schedule.charging_rate_unit) == (5, "W")
    assert (limit_start_ms(NOW), limit_start_ms(1_000)) == ((NOW - DAY_MS) // 1000 * 1000, 0)
    assert schedule.start_schedule == format_time(limit_start_ms(NOW))
    assert [each.evse_id for each in (*site, default)] == [0] * len([*site, default])
    assert site == station_profiles(signal, "2.0.1", NOW)
    assert len(site) == ("site_import_limit_w" not in changes)
    transaction = transaction_profile(signal, "2.0.1", NOW, "t", Needs(evse_id=1, requested="DC_BPT"))
    assert (transaction is None) is ("site_import_limit_w" in changes)


@pytest.mark.parametrize(
    ("max_periods", "periods", "duration"), [(0, 2, None), (1, 1, 3660), (2, 2, None), (3, 2, None)]
)
def test_a_transactions_profile_has_as_many_periods_as_its_vehicle_takes(
    max_periods: int, periods: int, duration: int | None
) -> None:
    needs = Needs(evse_id=3, requested="DC_BPT", max_periods=max_periods)
    found = transaction_profile(grid_signal(now_ms=NOW), "2.1", NOW, "t", needs, sharers=2)
    assert found is not None
    (schedule,) = found.charging_profile.charging_schedule
    assert (len(schedule.charging_schedule_period), schedule.duration) == (periods, duration)
    assert schedule.charging_schedule_period[0].discharge_limit == -2_500.0
    assert schedule.start_schedule == format_time((NOW - 60_000) // 1000 * 1000)
    assert (found.evse_id, found.charging_profile.id) == (3, TRANSACTION_PROFILE + 3)


def profile(number: int = 7, purpose: str = "TxDefaultProfile", level: int = 4, **more: Any) -> ChargingProfile:
    period = ChargingSchedulePeriod(start_period=0, limit=8_000.0)
    schedule = ChargingSchedule(id=9, charging_rate_unit="W", charging_schedule_period=(period,))
    return ChargingProfile(
        id=number,
        stack_level=level,
        charging_profile_purpose=purpose,  # type: ignore[arg-type]
        charging_profile_kind="Absolute",
        charging_schedule=(schedule,),
        **more,
    )


FLAT = Charge(rates=(Rate(price="0.30"),))
LASTING = Charge(rates=(Rate(price="0.10"),))


@pytest.mark.parametrize(
    ("plan", "money", "kind"),
    [
        (PricePlan(id="flat", currency="EUR", energy=FLAT), True, "absolute_price_schedule"),
        (PricePlan(id="flat", currency="EUR", energy=FLAT), False, "price_level_schedule"),
        (PricePlan(id="timed", currency="EUR", energy=FLAT, charging_time=LASTING), True, "price_level_schedule"),
    ],
)
def test_prices_are_in_money_where_vehicle_and_plan_have_them(plan: PricePlan, money: bool, kind: str) -> None:
    """K15.FR.07: in one of the three forms; a schedule has no more. Numbers are those of the profile."""
    asked = asked_of(Needs(evse_id=1, requested="DC", most_w=11_000), 1_800_000_000_000, 1_800_000_000_000, 0, 12)
    bare = profile(-7)
    (schedule,) = add_sales_tariff(bare, plan, asked).charging_schedule
    assert schedule == msgspec.structs.replace(bare.charging_schedule[0], sales_tariff=sales_tariff(plan, asked, 1))
    made = {"absolute_price_schedule": absolute_prices, "price_level_schedule": price_levels}
    for before in (bare, msgspec.structs.replace(bare, charging_schedule=(schedule,))):
        priced = add_prices(before, plan, asked, money=money)
        (found,) = priced.charging_schedule
        assert found == msgspec.structs.replace(bare.charging_schedule[0], **{kind: made[kind](plan, asked, 7)})
        assert msgspec.structs.replace(priced, charging_schedule=bare.charging_schedule) == bare


TX = "TxProfile"
STATION = "ChargingStationMaxProfile"


@together(
    ("held_at", "held", "evse_id", "wanted", "rule"),
    [
        (1, profile(), 1, profile(8), "K01.FR.06"),
        (0, profile(purpose=STATION), 0, profile(8, STATION), "K01.FR.06"),
        (0, profile(), 1, profile(8), "K01.FR.53"),
        (1, profile(), 0, profile(8), "K01.FR.52"),
        (1, profile(purpose=TX, transaction_id="t"), 1, profile(8, TX, transaction_id="t"), "K01.FR.39"),
        (1, profile(purpose=TX, transaction_id="t"), 1, profile(8, TX, transaction_id="u"), ""),
        (1, profile(), 2, profile(8), ""),
        (0, profile(purpose=STATION), 1, profile(8, STATION), ""),
        (1, profile(), 1, profile(7), ""),
        (1, profile(), 1, profile(8, level=5), ""),
        (1, profile(), 1, profile(8, STATION), ""),
    ],
)
def test_two_profiles_of_one_place_and_level_are_refused_by_name(
    held_at: int, held: ChargingProfile, evse_id: int, wanted: ChargingProfile, rule: str
) -> None:
    others = [(1, profile(1, level=1)), (held_at, held)]
    if not rule:
        check_distinct(others, evse_id, wanted, NOW)
        return
    with pytest.raises(RefusedError, match=rf"profile 7 \({wanted.charging_profile_purpose}\)") as caught:
        check_distinct(others, evse_id, wanted, NOW)
    assert caught.value.reason == "place_taken"
    assert f"stack level 4 of EVSE {held_at} ({rule})" in str(caught.value)


@together(
    ("held", "wanted", "free"),
    [
        ({}, {"valid_to": NOW}, True),
        ({}, {"valid_to": NOW + 1}, False),
        ({"valid_to": NOW + 9}, {"valid_from": NOW + 9}, True),
        ({"valid_to": NOW + 10}, {"valid_from": NOW + 9}, False),
        ({"valid_from": NOW + 9}, {"valid_to": NOW + 9}, True),
        ({"valid_from": NOW - 9, "valid_to": NOW}, {"valid_from": NOW - 9}, True),
        ({"valid_from": NOW - 9, "valid_to": NOW + 1}, {"valid_from": NOW - 9}, False),
    ],
)
def test_profiles_of_other_times_may_stand_beside_each_other(
    held: dict[str, int], wanted: dict[str, int], free: bool
) -> None:
    first, second = (
        profile(number, **{name: format_time(at_ms) for name, at_ms in times.items()})
        for number, times in ((7, held), (8, wanted))
    )
    with contextlib.nullcontext() if free else pytest.raises(RefusedError, match="profile 7"):
        check_distinct([(1, first)], 1, second, NOW)


# -- what stations can do


def test_what_a_station_lacks_is_forgotten_with_its_firmware() -> None:
    abilities = StationAbilities()
    abilities.lack("A", "GetTariffs")
    abilities.note_read("A", whole=False)
    assert [abilities.has(*each) for each in (("A", "GetTariffs"), ("A", "GetReport"), ("B", "GetTariffs"))] == [
        False, True, True,
    ]  # fmt: skip
    assert (abilities.is_read("A"), abilities.is_whole("A")) == (True, False)
    abilities.note_read("A", whole=True)
    assert abilities.is_whole("A")
    assert not abilities.is_whole("B")
    for changed in (False, True):
        abilities.forget("A", firmware_changed=changed)
        assert (abilities.is_read("A"), abilities.is_whole("A")) == (False, False)
        assert abilities.has("A", "GetTariffs") is changed


def test_no_set_point_may_be_valid_for_longer_than_it_is_looked_for() -> None:
    longest_s = LONGEST_SETPOINT_MS // 1000
    assert msgspec.convert({"dispatch_duration_s": longest_s}, Balancing).dispatch_duration_s == longest_s
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"dispatch_duration_s": longest_s + 1}, Balancing)
