"""Which charging profiles are accepted, and why not: each rule of K01, K28, Q02 to Q10 at its edge (OCPP 2.1)."""

from typing import Any

import msgspec
import pytest

from tests.station.installed import HOUR, NOON, TRANSACTION, each_line, installed, period, profile
from tests.together import together
from v2g.errors import OcppError
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedulePeriod, V2XFreqWattPoint
from v2g.ocpp.messages.price_schedules import PriceLevelSchedule, PriceLevelScheduleEntry
from v2g.ocpp.messages.smart_charging import ChargingProfileCriterion, ClearChargingProfile
from v2g.ocpp.times import format_time
from v2g_station.blocks.smart_charging.profile_rules import (
    MODES,
    Abilities,
    matches_clearing,
    matches_report,
    refuse,
)
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile, OpenTransaction

ABLE = Abilities(evses=2, units=("W", "A"), modes=(*MODES, "LocalFrequency", "LocalLoadBalancing"), phases={1: 3, 2: 3})
EXTERNAL: Any = "ChargingStationExternalConstraints"
STATION: Any = "ChargingStationMaxProfile"


def refused(found: ChargingProfile, evse_id: int = 1, **more: Any) -> StatusInfo | None:
    fields: dict[str, Any] = {"version": "2.1", "able": ABLE, "installed": (), "transactions": (TRANSACTION,)}
    return refuse(found, evse_id, **(fields | more))


def code(found: ChargingProfile, evse_id: int = 1, **more: Any) -> str:
    """The reason code of a refusal, "" where it is accepted."""
    info = refused(found, evse_id, **more)
    return info.reason_code if info else ""


def changed(found: ChargingProfile, **change: Any) -> ChargingProfile:
    """The same with a schedule that differs in this."""
    (schedule,) = found.charging_schedule
    return msgspec.structs.replace(found, charging_schedule=(msgspec.structs.replace(schedule, **change),))


def able(**change: Any) -> dict[str, Abilities]:
    return {"able": msgspec.structs.replace(ABLE, **change)}


@pytest.mark.parametrize(("evse_id", "expected"), [(-1, "UnknownEvse"), (0, ""), (2, ""), (3, "UnknownEvse")])
def test_a_profile_is_for_an_evse_or_the_station(evse_id: int, expected: str) -> None:
    assert code(profile(), evse_id) == expected


@pytest.mark.parametrize(
    ("level", "expected"), [(-1, "InvalidStackLevel"), (0, ""), (99, ""), (100, "InvalidStackLevel")]
)
def test_a_stack_level_is_one_of_100(level: int, expected: str) -> None:
    assert code(profile(stack_level=level)) == expected


@pytest.mark.parametrize(
    ("foreign", "expected"), [(None, ""), (9, ""), (10, "InvalidProfileId"), (11, "InvalidProfileId")]
)
def test_ids_up_to_that_of_external_systems_are_theirs(foreign: int | None, expected: str) -> None:
    """K01.FR.81."""
    assert code(profile(id=10), **able(foreign_id=foreign)) == expected


def test_only_the_profile_with_its_id_may_be_an_external_systems() -> None:
    """K01.FR.05, in whatever order they are given, and once."""
    theirs = [
        msgspec.structs.replace(installed(profile(id=number, purpose=EXTERNAL), 0, "2.1"), source="EMS")
        for number in (-1, -2)
    ]
    for number, expected in ((-1, "InvalidProfileId"), (-2, "InvalidProfileId"), (5, "")):
        assert code(profile(id=number), installed=iter(theirs)) == expected
    mine = installed(profile(id=5), 1, "2.1")
    assert code(profile(id=5), installed=iter([*theirs, mine])) == ""
    assert code(profile(id=6), installed=iter([*theirs, mine])) == "DuplicateProfile"


@pytest.mark.parametrize(
    ("until_ms", "expected"), [(NOON - 1000, "InvalidProfile"), (NOON, "InvalidProfile"), (NOON + 1000, "")]
)
def test_a_profile_that_is_over_already_is_refused(until_ms: int, expected: str) -> None:
    assert code(profile(valid_to=format_time(until_ms)), utc_ms=NOON) == expected


@together(
    ("changes", "expected"),
    [
        ({"kind": "Dynamic", "start": None, "dyn_update_interval": 60}, ""),
        ({"kind": "Dynamic", "start": None, "dyn_update_time": format_time(NOON)}, ""),
        ({"dyn_update_interval": 60}, "InvalidProfile"),
        ({"dyn_update_time": format_time(NOON)}, "InvalidProfile"),
        ({"purpose": "PriorityCharging", "duration": 0}, "InvalidSchedule"),
        ({"purpose": "PriorityCharging"}, ""),
        ({"duration": 60}, ""),
    ],
)
def test_some_fields_belong_to_a_kind_or_purpose(changes: dict[str, Any], expected: str) -> None:
    """K01.FR.70, .122, K28.FR.04."""
    assert code(profile(**changes)) == expected


def test_the_time_of_an_update_is_one() -> None:
    with pytest.raises(OcppError):
        code(profile(kind="Dynamic", start=None, dyn_update_time="2026-13-01T00:00:00Z"))


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        ("TxProfile", ""),
        ("TxDefaultProfile", ""),
        ("PriorityCharging", "InvalidSchedule"),
        (STATION, "InvalidSchedule"),
    ],
)
def test_delays_are_drawn_for_profiles_of_transactions(purpose: str, expected: str) -> None:
    """K01.FR.95: 0 does not count as one."""
    found = profile(purpose=purpose, transaction_id="tx-1" if purpose == "TxProfile" else None)
    place = 0 if purpose == STATION else 1
    assert code(changed(found, randomized_delay=1), place) == expected
    assert code(changed(found, randomized_delay=0), place) == ""


def test_only_an_idle_evse_may_sleep() -> None:
    idle, asleep = period(limit=None, operation_mode="Idle", evse_sleep=True), period(9, evse_sleep=True)
    assert code(profile(idle)) == ""
    assert code(profile(idle, asleep)) == "InvalidSchedule"
    assert code(profile(period(), asleep)) == "InvalidSchedule"
    assert code(profile(idle, period(9, evse_sleep=False))) == ""


def test_a_transaction_is_one_of_those_at_its_evse() -> None:
    """K01.FR.03, .09, .16, .33."""
    running = [OpenTransaction("tx-2", 2, NOON), TRANSACTION]
    for transaction_id, evse_id, expected in (
        ("tx-1", 1, ""), ("tx-2", 2, ""), ("tx-1", 2, "TxNotFound"), ("tx-3", 1, "TxNotFound"),
        (None, 1, "MissingParam"), ("tx-1", 0, "InvalidValue"),
    ):  # fmt: skip
        found = profile(purpose="TxProfile", transaction_id=transaction_id)
        assert code(found, evse_id, transactions=iter(running)) == expected


@pytest.mark.parametrize(("lines", "most"), [((1, 1), 1), ((2, 1), 2), ((3, 1), 3)])
def test_limits_are_for_conductors_that_the_vehicle_has_sent(lines: tuple[int, int], most: int) -> None:
    """K01.FR.144, V2X.10: of charging for limits, of discharging for the rest."""
    for count in (2, 3):
        expected = "" if count <= most else "PhaseConflict"
        assert code(each_line(*(5,) * count).profile, **able(lines={1: lines})) == expected
        turned = able(lines={1: lines[::-1]})
        for name, mode in (("discharge_limit", "ExternalLimits"), ("setpoint", "CentralSetpoint")):
            found = each_line(*(-5,) * count, name=name, operation_mode=mode).profile
            assert code(found, **turned) == expected
            assert code(found, **able(lines={1: lines})) == "PhaseConflict"
        assert code(each_line(*(5,) * count).profile, **turned) == "PhaseConflict"


@together(
    ("item", "words"),
    [
        (installed(profile(period(limit_l2=5))), "for a TxProfile"),
        (each_line(5, 5, name="setpoint_reactive", operation_mode="CentralSetpoint", setpoint=1.0), "reactive"),
        (each_line(5, limit_l3=5), ""),  # L2 has the lowest, as any without a value
        (each_line(limit_l2=5, limit=None), "beside them"),
        (each_line(5, 5, 5, number_phases=2), "no L3"),
        (each_line(5, 5, 5, number_phases=3), ""),
        (each_line(5, 5, number_phases=1), "no L2"),
        (each_line(5, 5, discharge_limit=-5.0, discharge_limit_l2=-5.0, discharge_limit_l3=-5.0,
                   operation_mode="ExternalLimits"), "power of L3"),
    ],
)  # fmt: skip
def test_why_values_of_single_conductors_are_refused_is_said(item: InstalledProfile, words: str) -> None:
    info = refused(item.profile, **able(lines={1: (3, 2)}, switches_phases=[1]))
    if not words:
        assert info is None
        return
    assert info is not None
    assert info.reason_code == "PhaseConflict"
    assert words in (info.additional_info or "")


@together(
    ("counts", "evse_id", "number", "expected"),
    [
        ({1: 1, 2: 1}, 0, 1, ""),
        ({1: 1, 2: 3}, 0, 1, "InvalidSchedule"),
        ({1: 3, 2: 1}, 0, 1, "InvalidSchedule"),
        ({1: 3, 2: 1}, 2, 1, ""),
        ({}, 1, 1, "InvalidSchedule"),
        ({}, 1, 3, ""),
        ({1: 2}, 1, 2, ""),
        ({1: 2}, 1, 1, "InvalidSchedule"),
        ({1: 1}, 1, 2, ""),
        ({1: 1, 2: 3}, 0, 2, "InvalidSchedule"),
        ({1: 1}, 1, 0, "InvalidSchedule"),
    ],
)
def test_no_more_conductors_carry_current_than_a_profile_says(
    counts: dict[int, int], evse_id: int, number: int, expected: str
) -> None:
    """K01.FR.43, .45: of none that the station cannot tell, three."""
    assert code(profile(period(number_phases=number)), evse_id, **able(phases=counts)) == expected
    assert code(profile(period(), period(9, number_phases=number)), evse_id, **able(phases=counts)) == expected


def test_an_evse_that_switches_has_three_conductors_or_one() -> None:
    for number, expected in ((1, ""), (2, "InvalidSchedule"), (3, ""), (0, "InvalidSchedule")):
        assert code(profile(period(number_phases=number)), **able(switches_phases=[1])) == expected
    mixed = able(switches_phases=[1, 2], phases={1: 1, 2: 3})
    assert code(profile(period(number_phases=2)), 0, **mixed) == "InvalidSchedule"


@pytest.mark.parametrize(
    ("number", "chosen", "expected"),
    [(1, 1, ""), (1, 0, ""), (1, 2, "InvalidSchedule"), (None, 1, "InvalidSchedule"), (3, 1, "InvalidSchedule")],
)
def test_a_conductor_is_chosen_for_one_and_where_that_can_be(number: int | None, chosen: int, expected: str) -> None:
    """K01.FR.19, .20, .46, .48."""
    found = profile(period(number_phases=number, phase_to_use=chosen))
    assert code(found, **able(phases={1: 1}, selects_phase=True)) == expected
    assert code(found, **able(switches_phases=[1])) == expected
    free = able(switches_phases=[1], selects_phase=True)
    assert code(found, **free) == ("" if number == 1 else expected)


def test_direct_current_has_no_conductors() -> None:
    """K01.FR.44, of 2.1; a station with some of both has them."""
    one = able(direct_current=[1])
    for fields in ({"number_phases": 3}, {"phase_to_use": 2}, {"number_phases": 1, "phase_to_use": 1}):
        assert code(profile(period(**fields)), **one) == "NoPhaseForDC"
        assert code(profile(period(**fields)), **one, version="2.0.1") == ""
    assert code(profile(period(), period(9)), **one) == ""
    assert code(profile(period(number_phases=3)), 0, **one) == ""
    assert code(profile(period(number_phases=1)), 0, **one) == "InvalidSchedule"


@together(
    ("change", "expected"),
    [
        ({"kind": "Absolute", "start": None}, "InvalidSchedule"),
        ({"kind": "Recurring", "start": None, "recurrency_kind": "Daily"}, "InvalidSchedule"),
        ({"kind": "Recurring", "recurrency_kind": "Weekly"}, ""),
        ({"kind": "Recurring"}, "InvalidProfile"),
        ({"kind": "Relative", "start": None}, ""),
        ({"kind": "Relative"}, "InvalidSchedule"),
        ({"kind": "Dynamic", "start": None}, ""),
    ],
)
def test_a_schedule_starts_as_its_kind_does(change: dict[str, Any], expected: str) -> None:
    """K01.FR.40, .41."""
    assert code(profile(**change)) == expected


@pytest.mark.parametrize(
    ("starts", "expected"),
    [((0,), ""), ((1,), "InvalidSchedule"), ((0, 1), ""), ((0, 0), "InvalidSchedule"), ((0, 2, 1), "InvalidSchedule")],
)
def test_periods_begin_at_0_and_ascend(starts: tuple[int, ...], expected: str) -> None:
    """K01.FR.31, .35."""
    assert code(profile(*(period(start) for start in starts))) == expected


@pytest.mark.parametrize(
    ("unit", "evse_id", "expected"), [("W", 1, ""), ("W", 2, ""), ("A", 1, ""), ("A", 2, "UnsupportedRateUnit")]
)
def test_amperes_are_for_alternating_current(unit: str, evse_id: int, expected: str) -> None:
    """K01.FR.26."""
    assert code(profile(unit=unit), evse_id, **able(direct_current=[2])) == expected
    assert code(profile(unit=unit), 1, **able(units=("W",))) == ("" if unit == "W" else "UnsupportedRateUnit")


def test_a_dynamic_profile_is_one_schedule_of_one_period() -> None:
    """K28.FR.01 to .03."""
    one = profile(kind="Dynamic", start=None)
    two = msgspec.structs.replace(one, charging_schedule=one.charging_schedule * 2)
    assert code(two) == "InvalidSchedule"
    assert code(profile(period(), period(9), kind="Dynamic", start=None)) == "InvalidSchedule"
    many = profile(period(), period(9))
    assert code(msgspec.structs.replace(many, charging_schedule=many.charging_schedule * 3)) == ""


@pytest.mark.parametrize("local", [True, False])
def test_a_start_is_a_time_of_the_clock_that_it_names(local: bool) -> None:
    found = changed(profile(), use_local_time=local, start_schedule="2026-06-01T12:00:00")
    if local:
        assert code(found) == ""
    else:
        with pytest.raises(OcppError):
            code(found)
    with pytest.raises(OcppError):
        code(changed(profile(), use_local_time=local, start_schedule="2026-06-41T12:00:00Z"))


def test_prices_that_no_vehicle_could_receive_are_refused() -> None:
    entries = (PriceLevelScheduleEntry(duration=0, price_level=0),)
    levels = PriceLevelSchedule(
        time_anchor=format_time(NOON), price_schedule_id=1, number_of_price_levels=1,
        price_level_schedule_entries=entries,
    )  # fmt: skip
    info = refused(changed(profile(), price_level_schedule=levels))
    assert info is not None
    assert (info.reason_code, info.additional_info) == (
        "InvalidSchedule",
        "the price schedule has levels without times",
    )


@pytest.mark.parametrize(("limit", "expected"), [(None, ""), (0.0, ""), (-0.5, "InvalidSchedule"), (0.5, "")])
def test_a_rate_of_201_is_not_negative(limit: float | None, expected: str) -> None:
    assert code(profile(period(), period(9, limit)), version="2.0.1") == expected


CURVE = tuple(V2XFreqWattPoint(frequency=hertz, power=0.0) for hertz in (49.8, 50.2))
LOCAL: dict[str, Any] = {"operation_mode": "LocalFrequency", "limit": None}
FOLLOWS: dict[str, Any] = LOCAL | {"v2x_baseline": 0.0, "v2x_freq_watt_curve": CURVE}
VALUES = {"limit": 5.0, "discharge_limit": -5.0, "setpoint": 1.0, "setpoint_reactive": 1.0}


def mode(name: str | None, **fields: Any) -> ChargingSchedulePeriod:
    return period(limit=fields.pop("limit", None), operation_mode=name, **fields)


@together(
    ("found", "expected"),
    [
        (period(**FOLLOWS), ""),
        (period(**LOCAL, v2x_freq_watt_curve=CURVE), "NoFreqWattCurve"),
        (period(**LOCAL, v2x_baseline=0.0), "NoFreqWattCurve"),
        (period(**LOCAL, v2x_baseline=0.0, v2x_freq_watt_curve=CURVE[:1]), "NoFreqWattCurve"),
        *((period(**FOLLOWS | {name: value}), "InvalidSchedule") for name, value in VALUES.items()),
        (mode("Idle"), ""),
        *((mode("Idle", **{name: value}), "InvalidSchedule") for name, value in VALUES.items()),
        (mode("ChargingOnly", limit=5.0), ""),
        (mode("ChargingOnly"), "InvalidSchedule"),
        (mode("ChargingOnly", limit=5.0, discharge_limit=-5.0), "InvalidSchedule"),
        (mode("ChargingOnly", limit=5.0, setpoint=1.0), "InvalidSchedule"),
        (mode(None), "InvalidSchedule"),
        (mode(None, limit=5.0, setpoint=1.0), "InvalidSchedule"),
        *(
            (mode(name, **{"limit": 5.0, "discharge_limit": -5.0} | given), wrong)
            for name in ("CentralSetpoint", "CentralFrequency")
            for given, wrong in (
                ({}, "InvalidSchedule"), ({"setpoint": 5.1}, "InvalidSchedule"), ({"setpoint": 5.0}, ""),
                ({"setpoint": -5.0}, ""), ({"setpoint": -5.1}, "InvalidSchedule"), ({"setpoint": 0.0}, ""),
                ({"setpoint": 9.0, "limit": None}, ""), ({"setpoint": -9.0, "discharge_limit": None}, ""),
            )
        ),
        (mode("ExternalLimits"), ""),
        (mode("ExternalSetpoint", limit=5.0, discharge_limit=-5.0), ""),
        (mode("LocalLoadBalancing"), ""),
    ],
)  # fmt: skip
def test_a_period_has_the_values_of_its_operation_mode(found: ChargingSchedulePeriod, expected: str) -> None:
    """The table of part 2, Q 2.2; V2X.05, Q08.FR.03, .04, Q10.FR.02."""
    assert code(profile(found)) == expected
    info = refused(profile(period(limit=5.0), msgspec.structs.replace(found, start_period=60)))
    assert (info.reason_code if info else "") == expected
    if info:
        assert (info.additional_info or "").endswith("; schedule 1, startPeriod 60")


@pytest.mark.parametrize("line", ["l2", "l3"])
def test_the_set_point_of_each_conductor_is_within_its_limits(line: str) -> None:
    """V2X.05, .06."""
    both: dict[str, Any] = {"limit": 9.0, "discharge_limit": -9.0, "setpoint": 9.0, "limit_l2": 5.0,
                            "discharge_limit_l2": -5.0, "setpoint_l2": 5.0}  # fmt: skip
    fields = {"limit": 5.0, "discharge_limit": -5.0}
    for value, expected in ((5.0, ""), (5.5, "InvalidSchedule"), (-5.0, ""), (-5.5, "InvalidSchedule")):
        given = both | {f"{name}_{line}": each for name, each in (fields | {"setpoint": value}).items()}
        found = profile(mode("CentralSetpoint", **given), purpose="TxProfile", transaction_id="tx-1")
        assert code(found, **able(lines={1: (3, 3)})) == expected


def test_a_frequency_curve_is_in_watts() -> None:
    """Q08.FR.05."""
    assert code(profile(period(**FOLLOWS), unit="A")) == "InvalidSchedule"
    assert code(profile(mode("ExternalLimits"), unit="A")) == ""
    assert code(profile(period(**LOCAL), unit="A")) == "NoFreqWattCurve", "what is missing is said first"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("LocalLoadBalancing", "UnsupportedParam"), ("LocalFrequency", "InvalidOperationMode")],
)
def test_modes_that_a_station_lacks_are_refused(name: str, expected: str) -> None:
    """K01.FR.115, Q09.FR.01."""
    assert code(profile(mode(name)), **able(modes=MODES)) == expected


def test_load_balancing_needs_its_thresholds() -> None:
    """Q09.FR.02."""
    assert code(profile(mode("LocalLoadBalancing")), **able(thresholds=False)) == "MissingDevModelInfo"
    assert code(profile(mode("ExternalLimits")), **able(thresholds=False)) == ""


@pytest.mark.parametrize("name", [None, *ABLE.modes])
@pytest.mark.parametrize(
    ("purpose", "known"),
    [
        ("PriorityCharging", {None, "ChargingOnly"}),
        (STATION, {None, "ChargingOnly"}),
        ("LocalGeneration", {None, "ChargingOnly", "ExternalLimits"}),
        ("TxDefaultProfile", {None, *ABLE.modes}),
    ],
)
def test_a_purpose_has_its_operation_modes(purpose: str, known: set[str | None], name: str | None) -> None:
    """The table of part 2, K 3.2."""
    given: dict[str | None, dict[str, Any]] = {
        None: {"limit": 5.0}, "ChargingOnly": {"limit": 5.0}, "CentralSetpoint": {"setpoint": 1.0},
        "CentralFrequency": {"setpoint": 1.0}, "LocalFrequency": {"v2x_baseline": 0.0, "v2x_freq_watt_curve": CURVE},
    }  # fmt: skip
    found = profile(mode(name, **given.get(name, {})), purpose=purpose)
    assert code(found, 0) == ("" if name in known else "InvalidOperationMode")


def test_a_station_has_1000_profiles_of_the_csms_at_most() -> None:
    """Those of other systems do not count, nor the one that is replaced."""
    many = [installed(profile(id=n, stack_level=n % 90, purpose=STATION), 0) for n in range(1, 1001)]
    many = [
        msgspec.structs.replace(
            each,
            profile=msgspec.structs.replace(
                each.profile, valid_from=format_time(NOON + n * HOUR), valid_to=format_time(NOON + (n + 1) * HOUR)
            ),
        )
        for n, each in enumerate(many)
    ]
    new = profile(id=5000)
    assert code(new, installed=many) == "TooManyElements"
    assert code(new, installed=many[1:]) == ""
    assert code(msgspec.structs.replace(new, id=7), installed=many) == ""
    foreign = msgspec.structs.replace(many[0], source="EMS")
    assert code(new, installed=[foreign, *many[1:]]) == ""


@together(
    ("there", "here", "change", "expected"),
    [
        (1, 1, {}, "DuplicateProfile"),
        (0, 1, {}, "DuplicateProfile"),  # K01.FR.52
        (1, 0, {}, "DuplicateProfile"),  # K01.FR.53
        (2, 1, {}, ""),
        (1, 1, {"stack_level": 1}, ""),
        (1, 1, {"purpose": "PriorityCharging"}, ""),
        (1, 1, {"valid_to": format_time(NOON)}, ""),
        (1, 1, {"valid_from": format_time(NOON + HOUR)}, ""),
        (1, 1, {"valid_to": format_time(NOON + 1000)}, "DuplicateProfile"),
        (1, 1, {"valid_from": format_time(NOON + HOUR - 1000)}, "DuplicateProfile"),
    ],
)
def test_two_profiles_of_a_purpose_and_level_are_not_valid_at_once(
    there: int, here: int, change: dict[str, Any], expected: str
) -> None:
    """K01.FR.06: it is valid for an hour from noon."""
    hour = {"valid_from": format_time(NOON), "valid_to": format_time(NOON + HOUR)}
    known = installed(profile(id=7, **hour), there, "2.1")
    assert code(profile(id=8, **change), here, installed=[known]) == expected
    ended = msgspec.structs.replace(known, ended=True)
    assert code(profile(id=8, **change), here, installed=[ended]) == ""
    assert code(profile(id=8, **change), here, installed=[ended, known]) == expected


def test_two_transactions_may_have_profiles_of_the_same_level() -> None:
    """K01.FR.39: one that is over is still there."""
    known = installed(profile(id=7, purpose="TxProfile", transaction_id="tx-0"), 1, "2.1")
    found = profile(id=8, purpose="TxProfile", transaction_id="tx-1")
    assert code(found, installed=[known]) == ""
    same = installed(profile(id=7, purpose="TxProfile", transaction_id="tx-1"), 1, "2.1")
    assert code(found, installed=[same]) == "DuplicateProfile"


def test_a_profile_of_an_external_system_is_no_duplicate() -> None:
    theirs = installed(profile(id=-1, purpose="LocalGeneration"), 0, "2.1")
    found = profile(id=8, purpose="LocalGeneration")
    assert code(found, 0, installed=[theirs]) == "DuplicateProfile"
    assert code(found, 0, installed=[msgspec.structs.replace(theirs, source="EMS")]) == ""


@pytest.mark.parametrize("purpose", [EXTERNAL, "LocalGeneration"])
def test_the_csms_clears_no_profile_of_an_external_system(purpose: str) -> None:
    """K10.FR.08, .09."""
    item = installed(profile(id=5, purpose=purpose), 0, "2.1")
    assert matches_clearing(item, 5, None) is False
    assert matches_clearing(item, None, None) is False
    assert matches_clearing(item, None, ClearChargingProfile(evse_id=0)) is False


CRITERIA: dict[str, tuple[Any, Any]] = {
    "evse_id": (2, 1), "charging_profile_purpose": ("TxDefaultProfile", "TxProfile"), "stack_level": (3, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CRITERIA)
def test_a_profile_is_cleared_where_all_criteria_match(name: str) -> None:
    """K10.FR.04."""
    item = installed(profile(id=5, stack_level=3), 2)
    right = {each: values[0] for each, values in CRITERIA.items()}
    assert matches_clearing(item, None, ClearChargingProfile(**right)) is True
    assert matches_clearing(item, None, ClearChargingProfile(**{name: right[name]})) is True
    assert matches_clearing(item, None, ClearChargingProfile(**right | {name: CRITERIA[name][1]})) is False


REPORTED: dict[str, tuple[Any, Any]] = {
    "charging_profile_purpose": ("TxDefaultProfile", "TxProfile"), "stack_level": (3, 4),
    "charging_limit_source": (("SO", "EMS"), ("SO", "CSO")),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_a_profile_is_reported_where_all_criteria_match(name: str) -> None:
    """K09.FR.04 to .06."""
    item = msgspec.structs.replace(installed(profile(id=5, stack_level=3), 2), source="EMS")
    right = {each: values[0] for each, values in REPORTED.items()}
    wrong = right | {name: REPORTED[name][1]}
    assert [matches_report(item, place, ChargingProfileCriterion(**right)) for place in (None, 2, 0, 1)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert matches_report(item, None, ChargingProfileCriterion(**{name: right[name]})) is True
    assert matches_report(item, None, ChargingProfileCriterion(**wrong)) is False
    named = ChargingProfileCriterion(charging_profile_id=(4, 5))
    assert [matches_report(item, place, named) for place in (None, 2, 0)] == [True, True, False]
    assert matches_report(item, None, ChargingProfileCriterion(charging_profile_id=(4,), **right)) is False
