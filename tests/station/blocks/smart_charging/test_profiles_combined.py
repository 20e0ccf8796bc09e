"""How charging profiles of several purposes, places and sources act together (K01, K08, K11, K21, K27, Q06, Q11)."""

from typing import Any

import msgspec
import pytest

from tests.station.installed import (
    HOUR,
    NOON,
    TRANSACTION,
    alone,
    at,
    each_line,
    installed,
    period,
    profile,
)
from tests.together import together
from v2g.ocpp.messages.charging_profiles import LimitAtSoC
from v2g.units import DAY_MS
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile, ProfileSituation
from v2g_station.blocks.smart_charging.profiles import (
    MAX_PERIODS,
    ProfileLimits,
    composite,
    foreseen,
    has_priority,
    in_force,
    leading,
    limits_at,
    part,
)

AROUND = ProfileSituation(evse_id=1, transaction=TRANSACTION)
STATION = "ChargingStationMaxProfile"
EXTERNAL = "ChargingStationExternalConstraints"


def external(*, evse_id: int = 0, number: int = -1, source: str = "EMS", **fields: Any) -> InstalledProfile:
    """A profile of an external system."""
    found = profile(period(**fields), id=number, purpose=EXTERNAL)
    return msgspec.structs.replace(installed(found, evse_id, "2.1"), source=source)


def own(*, purpose: str = "TxDefaultProfile", number: int = 2, **fields: Any) -> InstalledProfile:
    """A profile of EVSE 1."""
    return installed(profile(period(**fields), id=number, purpose=purpose), version="2.1")


def test_without_profiles_nothing_is_limited() -> None:
    """And one EVSE has all of the station."""
    assert at(NOON) == ProfileLimits(evse_id=0, from_ms=0)
    assert foreseen((), NOON, AROUND) == ProfileLimits()


@pytest.mark.parametrize(
    ("items", "charge_a", "lines_a"),
    [
        ([installed(profile(period(limit=10), unit="A"))], 13.0, ()),
        ([each_line(16, 10, 6)], 9.0, (19.0, 13.0, 9.0)),
        ([each_line(16, 10, 6), each_line(12, name="limit")], 9.0, (19.0, 13.0, 9.0)),
    ],
)
def test_what_is_generated_comes_on_top_of_each_conductor(
    items: list[InstalledProfile], charge_a: float, lines_a: tuple[float, ...]
) -> None:
    """K27, K08.FR.04."""
    sun = installed(profile(period(limit=3), id=4, purpose="LocalGeneration", unit="A"), 0, "2.1")
    found = at(NOON, *items, sun, lines=3)
    assert (found.charge_a, found.charge_lines_a) == (pytest.approx(charge_a), pytest.approx(lines_a))


def test_a_generator_without_a_limit_adds_nothing() -> None:
    dark = installed(profile(period(limit=None), id=4, purpose="LocalGeneration"), 0, "2.1")
    found = at(NOON, own(limit=5_000), dark, lines=3)
    assert (found.charge_w, found.charge_a) == (5_000, pytest.approx(5_000 / 690))


def test_a_generator_neither_discharges_nor_wishes() -> None:
    """It says how much more may be drawn, whatever its mode."""
    sun = installed(
        profile(period(limit=3_000, operation_mode="ChargingOnly"), id=4, purpose="LocalGeneration"), 1, "2.1"
    )
    two_way = own(limit=5_000, operation_mode="ExternalLimits", discharge_limit=-4_000)
    found = at(NOON, two_way, sun)
    assert (found.charge_w, found.discharge_w, found.operation_mode) == (8_000, 4_000, "ExternalLimits")


@pytest.mark.parametrize("sharers", [1, 2, 4])
def test_an_evse_has_an_equal_part_of_all_that_is_the_stations(sharers: int) -> None:
    """Limits of single conductors, too, and not of what is its own."""
    of_lines = each_line(16, 12, 8).profile
    whole = InstalledProfile(0, msgspec.structs.replace(of_lines, charging_profile_purpose=STATION), "2.1")
    around = msgspec.structs.replace(AROUND, lines=3, sharers=sharers)
    found = limits_at([whole], NOON, around)
    assert found.charge_a == 8 / sharers
    assert found.charge_lines_a == (16 / sharers, 12 / sharers, 8 / sharers)
    assert found.charge_w == 36 * 230 / sharers
    mine = limits_at([own(limit=100)], NOON, around)
    assert mine.charge_w == 100
    assert part(mine) == mine
    undivided = foreseen([whole], NOON, around)
    assert (undivided.charge_a, undivided.equal and undivided.equal.charge_a) == (8, 8 / sharers)
    assert part(part(undivided)) == part(undivided), "once"


def test_what_is_generated_at_an_evse_comes_on_top_of_the_stations_limit_too() -> None:
    """SC.01, K04.FR.05: 4 kW for two, 2 kW generated for both, and 1 kW at this one."""
    found = [
        installed(profile(period(limit=watts), id=number, purpose=purpose), evse_id, "2.1")
        for number, (purpose, evse_id, watts) in enumerate(
            ((STATION, 0, 4_000), ("LocalGeneration", 0, 2_000), ("LocalGeneration", 1, 1_000)), 4
        )
    ]
    found[1] = msgspec.structs.replace(found[1], source="EMS")
    undivided = foreseen(found, NOON, msgspec.structs.replace(AROUND, sharers=2))
    assert (undivided.charge_w, undivided.whole and undivided.whole.charge_w) == (7_000, 7_000)
    assert part(undivided).charge_w == 4_000


def test_of_several_external_set_points_the_stations_leads_if_an_evse_has_none() -> None:
    """Q06.FR.20: the first one of an EVSE goes before that of the station."""
    mine = own(limit=None, operation_mode="CentralSetpoint", setpoint=100)
    wish: dict[str, Any] = {"limit": None, "operation_mode": "ExternalSetpoint"}
    ems, so = external(**wish, setpoint=9_000), external(**wish, setpoint=7_000, source="SO", number=-2)
    found = foreseen([mine, ems, so], NOON, AROUND)
    assert (found.setpoint_w, found.whole and found.whole.setpoint_w) == (9_000, 9_000)
    place = external(**wish, setpoint=5_000, evse_id=1, number=-3)
    found = foreseen([mine, ems, place], NOON, AROUND)
    assert (found.setpoint_w, found.whole and found.whole.setpoint_w) == (5_000, None)


def test_an_external_limit_without_a_set_point_leaves_the_mode() -> None:
    """Q06: the CSMS's set-point remains, within the external limit; so does what may be discharged."""
    mine = own(limit=None, operation_mode="CentralSetpoint", setpoint=9_000, discharge_limit=-4_000)
    for mode in (None, "ChargingOnly", "ExternalLimits"):
        found = at(NOON, mine, external(limit=5_000, operation_mode=mode))
        assert (found.setpoint_w, found.operation_mode, found.discharge_w) == (5_000, "CentralSetpoint", 4_000), mode
    assert at(NOON, external(limit=5_000)).operation_mode is None
    assert at(NOON, external(limit=5_000)).discharge_w is None


def test_an_external_set_point_does_not_wake_an_idle_evse() -> None:
    """Q10: neither its power nor its mode."""
    idle = own(limit=None, operation_mode="Idle", evse_sleep=True)
    theirs = external(limit=None, operation_mode="ExternalSetpoint", setpoint=5_000)
    found = at(NOON, idle, theirs, lines=3)
    assert (found.setpoint_w, found.operation_mode, found.asleep) == (0, "Idle", True)
    assert (found.charge_w, found.discharge_w, found.charge_a, found.discharge_a) == (0, 0, 0, 0)


def test_profiles_of_the_csms_for_an_evse_and_for_the_station_are_ordered_together() -> None:
    """K01.FR.17: of the CSMS's own the highest level applies, at an equal one that of the EVSE."""
    mine = own(purpose="LocalGeneration", limit=1_000)
    whole = InstalledProfile(0, msgspec.structs.replace(mine.profile, id=9), "2.1")
    load = own(limit=5_000, number=3)
    assert at(NOON, load, mine, whole).charge_w == 6_000
    more = profile(period(limit=2_000), id=9, purpose="LocalGeneration", stack_level=1)
    high = InstalledProfile(0, more, "2.1")
    assert at(NOON, load, mine, high).charge_w == 7_000
    ahead = InstalledProfile(0, msgspec.structs.replace(high.profile, stack_level=0), "2.1")
    assert at(NOON, load, ahead, mine).charge_w == 6_000


@together(
    ("changes", "evse_id", "mode", "discharge_w"),
    [
        ({}, 1, "ExternalLimits", 0),
        ({}, 0, "ExternalLimits", 0),
        ({}, 2, "ExternalLimits", None),
        ({}, 1, "ChargingOnly", None),
        ({}, 1, None, None),
        ({"purpose": STATION}, 0, "ExternalLimits", None),
        ({"purpose": "TxProfile", "transaction_id": "other"}, 1, "ExternalLimits", None),
        ({"purpose": "TxProfile", "transaction_id": "tx-1"}, 1, "ExternalLimits", 0),
    ],
)
def test_only_charging_remains_of_a_profile_for_both_directions_that_is_over(
    changes: dict[str, Any], evse_id: int, mode: Any, discharge_w: float | None
) -> None:
    """Q11."""
    over = installed(profile(period(operation_mode=mode), duration=60, **changes), evse_id, "2.1")
    found = at(NOON + HOUR, over)
    assert found.discharge_w == discharge_w
    assert found.operation_mode == (None if discharge_w is None else "ChargingOnly")


def test_one_period_for_both_directions_is_enough() -> None:
    over = installed(profile(period(0), period(30, operation_mode="ExternalLimits"), duration=60), version="2.1")
    assert at(NOON + HOUR, over).discharge_w == 0


@pytest.mark.parametrize(
    ("items", "soc", "charge_a", "charge_w"),
    [
        ([(16.0, 10.0)], 80, 10, 10 * 690),
        ([(10.0, 16.0)], 80, 10, 10 * 690),
        ([(16.0, 10.0)], 79, 16, 16 * 690),
    ],
)
def test_beyond_a_state_of_charge_the_smaller_limit_holds(
    items: list[tuple[float, float]], soc: int, charge_a: float, charge_w: float
) -> None:
    """K01.FR.100."""
    ((limit, late),) = items
    found = profile(period(limit=limit), unit="A")
    schedule = msgspec.structs.replace(found.charging_schedule[0], limit_at_soc=LimitAtSoC(soc=80, limit=late))
    item = installed(msgspec.structs.replace(found, charging_schedule=(schedule,)), version="2.1")
    now = at(NOON, item, lines=3, transaction=msgspec.structs.replace(TRANSACTION, soc=soc))
    assert (now.charge_a, now.charge_w) == (charge_a, charge_w)


def test_charging_alone_forbids_discharge_on_each_conductor() -> None:
    found = at(NOON, own(limit=5_000), lines=3)
    assert (found.discharge_w, found.discharge_a) == (0, 0)
    assert at(NOON, own(limit=5_000)).discharge_a is None, "direct current"


def test_without_a_number_of_phases_three_are_meant() -> None:
    """K01.FR.49 to .51."""
    found = at(NOON, installed(profile(period(limit=9_200), unit="W")), lines=4, phases=4)
    assert found.charge_a == pytest.approx(9_200 / 690)
    assert at(NOON, installed(profile(period(limit=10), unit="A")), phases=4).charge_w == 6_900


def test_a_phase_is_one_that_a_profile_names() -> None:
    assert at(NOON, own(number_phases=1)).phase_to_use is None
    assert at(NOON, own(number_phases=1, phase_to_use=2)).phase_to_use == 2


@together(
    ("items", "watts"),
    [
        ([], None),
        ([own(limit=1.0)], None),
        ([own(limit=1.0, discharge_limit=-4_000.0)], 4_000),
        ([own(limit=1.0, discharge_limit=-4_000.0, discharge_limit_l2=-2_000.0)], 6_000),
        ([own(limit=1.0, discharge_limit=0.0)], 0),
        ([own(limit=1.0, discharge_limit=-4_000.0), each_line(5)], 4_000),
        ([own(limit=1.0, discharge_limit=-4.0), each_line(-5, -3, name="discharge_limit")], 8 * 230),
    ],
)
def test_what_may_be_exported_is_that_of_the_first_profile_which_says_it(
    items: list[InstalledProfile], watts: float | None
) -> None:
    """Q03.FR.02."""
    assert at(NOON, *items, lines=3).export_w == watts
    assert foreseen(items, NOON, msgspec.structs.replace(AROUND, lines=3)).export_w == watts


def test_the_leading_period_and_profile_are_found_by_precedence() -> None:
    """K01, K21.FR.04."""
    default, fast = own(limit=1), own(purpose="PriorityCharging", number=3, limit=9)
    assert in_force((), NOON, AROUND) is None
    assert leading((), NOON, AROUND) is None
    assert (
        in_force(iter([fast, default]), NOON, AROUND)
        == default.profile.charging_schedule[0].charging_schedule_period[0]
    )
    assert leading(iter([fast, default]), NOON, AROUND) == default
    hurried = msgspec.structs.replace(AROUND, transaction=msgspec.structs.replace(TRANSACTION, priority=True))
    assert leading([default, fast], NOON, hurried) == fast


@together(
    ("purposes", "found"),
    [
        ([], False),
        ([("TxDefaultProfile", 1)], False),
        ([("PriorityCharging", 1)], True),
        ([("PriorityCharging", 0)], True),
        ([("PriorityCharging", 2)], False),
        ([("TxDefaultProfile", 1), ("PriorityCharging", 2)], False),
        ([("TxDefaultProfile", 2), ("PriorityCharging", 1)], True),
    ],
)
def test_an_evse_has_priority_where_a_profile_gives_it(purposes: list[tuple[str, int]], found: bool) -> None:
    """K21.FR.01, .03."""
    items = [installed(profile(purpose=purpose), evse_id, "2.1") for purpose, evse_id in purposes]
    assert has_priority(iter(items), 1) is found


def test_profiles_may_be_given_once() -> None:
    """As an iterator."""
    items = [own(limit=5), external(limit=3)]
    for call in (limits_at, foreseen):
        assert call(iter(items), NOON, AROUND) == call(items, NOON, AROUND)
    again = composite(iter(items), NOON, 60, *alone(AROUND, 9))
    assert again == composite(items, NOON, 60, *alone(AROUND, 9))


def test_no_more_is_foreseen_than_a_day_and_as_many_periods_as_a_schedule_has() -> None:
    at_end = installed(profile(period(0, 5), period(DAY_MS // 1000 - 1, 6), period(DAY_MS // 1000, 7)))
    assert [each.charge_w for each in foreseen([at_end], NOON, AROUND).later] == [6]
    many = installed(profile(*(period(second, 1 + second % 2) for second in range(MAX_PERIODS + 9))))
    assert len(foreseen([many], NOON, AROUND).later) == MAX_PERIODS


def test_a_composite_schedule_ends_before_the_first_change_beyond_it() -> None:
    item = installed(profile(period(0, 5), period(60, 6)))
    for duration, limits in ((60, [(0, 5)]), (61, [(0, 5), (60, 6)])):
        found = composite([item], NOON, duration, *alone(AROUND, 9)).charging_schedule_period
        assert [(each.start_period, each.limit) for each in found] == limits


def test_a_composite_schedule_of_one_day_counts_exact_seconds() -> None:
    item = installed(profile(period(0, 5), period(80_000, 6)))
    found = composite([item], NOON, 80_001, *alone(AROUND, 9)).charging_schedule_period
    assert [each.start_period for each in found] == [0, 80_000]


def test_a_composite_schedule_is_as_in_201_unless_another_version_is_meant() -> None:
    item = own(limit=5, operation_mode="ExternalLimits", discharge_limit=-4)
    (old,) = composite([item], NOON, 60, *alone(AROUND, 9)).charging_schedule_period
    assert (old.limit, old.discharge_limit, old.operation_mode) == (5, None, None)
    (new,) = composite([item], NOON, 60, *alone(AROUND, 9), version="2.1").charging_schedule_period
    assert (new.limit, new.discharge_limit, new.operation_mode) == (5, -4, "ExternalLimits")


def of_two(*items: InstalledProfile, unit: Any = "W", lines: int = 3, **around: Any) -> Any:
    """The only period of a composite schedule of a station with two EVSEs of 22,080 W."""
    places = [ProfileSituation(evse_id=number, lines=lines, sharers=2, **around) for number in (1, 2)]
    station = ProfileSituation(evse_id=0, lines=lines, sharers=2)
    evses = [(place, 22_080.0) for place in places]
    (found,) = composite(items, NOON, 60, station, evses, version="2.1", unit=unit).charging_schedule_period
    return found


def at_second(item: InstalledProfile, number: int = 9) -> InstalledProfile:
    """The same at EVSE 2."""
    return InstalledProfile(2, msgspec.structs.replace(item.profile, id=number), "2.1")


TWO_WAY = own(limit=5_000, operation_mode="ExternalLimits", discharge_limit=-4_000)
WISH = own(limit=None, operation_mode="CentralSetpoint", setpoint=3_000)
SINGLE = own(limit=3_450, number_phases=1, phase_to_use=1)
OTHER = own(limit=3_450, number_phases=1, phase_to_use=2)


@together(
    ("one", "two", "expected"),
    [
        (TWO_WAY, TWO_WAY, (10_000, -8_000, None, None, None, "ExternalLimits")),
        (TWO_WAY, None, (27_080, None, None, None, None, None)),  # nothing limits the other one
        (TWO_WAY, own(limit=1_000), (6_000, -4_000, None, None, None, None)),
        (WISH, WISH, (44_160, None, 6_000, None, None, "CentralSetpoint")),
        (WISH, own(limit=1_000), (23_080, None, None, None, None, None)),
        (SINGLE, SINGLE, (6_900, None, None, 1, 1, "ChargingOnly")),
        (SINGLE, OTHER, (6_900, None, None, 1, None, "ChargingOnly")),
        (SINGLE, None, (25_530, None, None, None, None, None)),
    ],
)
def test_a_station_is_said_to_do_what_its_evses_do_together(
    one: InstalledProfile, two: InstalledProfile | None, expected: tuple[Any, ...]
) -> None:
    """K08.FR.03, .04: what only one of them is bound to is not said of both."""
    found = of_two(one, *([] if two is None else [at_second(two)]))
    assert (
        found.limit, found.discharge_limit, found.setpoint, found.number_phases, found.phase_to_use,
        found.operation_mode,
    ) == expected  # fmt: skip


@pytest.mark.parametrize(("setpoint", "said"), [(9_000, 9_000), (60_000, 44_160), (-9_000, -8_000)])
def test_a_set_point_of_the_station_is_within_its_limits(setpoint: float, said: float) -> None:
    """K08.FR.08; each EVSE has its part of it."""
    both = own(limit=99_000, operation_mode="ExternalLimits", discharge_limit=-4_000)
    wish = external(limit=None, operation_mode="ExternalSetpoint", setpoint=setpoint)
    assert of_two(both, at_second(both), wish).setpoint == said
    assert of_two(both, at_second(both), wish).limit == 44_160


def test_what_is_generated_counts_once_for_a_station() -> None:
    sun = installed(profile(period(limit=2_000), id=4, purpose="LocalGeneration"), 0, "2.1")
    assert of_two(own(limit=5_000), at_second(own(limit=3_000)), sun).limit == 10_000


@pytest.mark.parametrize(
    ("items", "unit", "limits"),
    [
        ([(16, 10, 6), (1, 2, 3)], "A", (17, 12, 9)),
        ([(16, 10, 6)], "A", (48, 42, 38)),
        ([(16, 10, 6)], "W", (48 * 230, 42 * 230, 38 * 230)),
        ([(63, 10, 6)], "A", (64, 42, 38)),
    ],
)
def test_conductors_of_a_station_carry_the_sum(items: list[tuple[float, ...]], unit: Any, limits: Any) -> None:
    """K08.FR.09."""
    given = []
    for number, values in enumerate(items, 1):
        found = msgspec.structs.replace(
            each_line(*values).profile, id=number, charging_profile_purpose="TxDefaultProfile", transaction_id=None
        )
        given.append(InstalledProfile(number, found, "2.1"))
    found = of_two(*given, unit=unit)
    assert (found.limit, found.limit_l2, found.limit_l3) == pytest.approx(limits)
    whole = external(limit=6_900)
    bounded = of_two(*given, whole, unit=unit)
    most = 10 if unit == "A" else 2_300
    assert (bounded.limit, bounded.limit_l2, bounded.limit_l3) == pytest.approx(tuple(min(most, v) for v in limits))


@pytest.mark.parametrize("second", [True, False])
def test_conductors_of_a_station_discharge_the_sum(second: bool) -> None:
    out = each_line(-16, -10, -6, name="discharge_limit", operation_mode="ExternalLimits")
    out = InstalledProfile(1, msgspec.structs.replace(out.profile, charging_profile_purpose="TxDefaultProfile"), "2.1")
    found = of_two(out, *([at_second(out)] if second else []), unit="A")
    said = (found.discharge_limit, found.discharge_limit_l2, found.discharge_limit_l3)
    assert said == ((-32, -20, -12) if second else (None, None, None))


@pytest.mark.parametrize(("limit", "phases", "amperes"), [(9_200, 3, 2 * 9_200 / 690), (99_000, 3, 64), (2_300, 1, 20)])
def test_direct_current_is_drawn_from_all_phases(limit: float, phases: int, amperes: float) -> None:
    """Of a station that has alternating current, too."""
    item = own(limit=limit)
    places = [ProfileSituation(evse_id=number, phases=phases) for number in (1, 2)]
    station = ProfileSituation(evse_id=0, lines=3)
    evses = [(place, 22_080.0) for place in places]
    (found,) = composite(
        [item, at_second(item)], NOON, 60, station, evses, unit="A"
    ).charging_schedule_period  # fmt: skip
    assert found.limit == pytest.approx(amperes)
