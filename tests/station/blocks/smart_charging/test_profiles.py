"""Charging profiles: what is accepted, and what they allow at a time (K01, K08 to K10, Q02, Q10)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.station.installed import HOUR, NOON, TRANSACTION, alone, at, each_line, installed, period, profile
from tests.together import together
from v2g.errors import OcppError
from v2g.iso15118.d20.messages import schedules as iso
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedulePeriod, LimitAtSoC
from v2g.ocpp.messages.price_schedules import PriceLevelSchedule, PriceLevelScheduleEntry
from v2g.ocpp.messages.smart_charging import ChargingProfileCriterion, ClearChargingProfile
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time, parse_time
from v2g_station.blocks.smart_charging.profile_rules import (
    MAX_PROFILES,
    Abilities,
    matches_clearing,
    matches_report,
    refuse,
    replace,
)
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile, OpenTransaction, ProfileSituation, delay_s
from v2g_station.blocks.smart_charging.profiles import ProfileLimits, composite, foreseen, limits_at, prices
from v2g_station.kernel.local_time import LocalTime


def reason(
    found: ChargingProfile, evse_id: int = 1, version: Version = "2.0.1", others: tuple[InstalledProfile, ...] = ()
) -> str:
    """Why a profile is refused, "" when it is not."""
    info = refuse(
        found, evse_id, version=version, able=Abilities(evses=2), installed=others, transactions=(TRANSACTION,)
    )
    return info.reason_code if info else ""


@together(
    ("found", "evse_id", "code"),
    [
        (profile(), 0, ""),
        (profile(), 1, ""),
        (profile(), 3, "UnknownEvse"),
        (profile(purpose="ChargingStationExternalConstraints"), 0, "InvalidProfile"),
        (profile(purpose="ChargingStationMaxProfile"), 0, ""),
        (profile(purpose="ChargingStationMaxProfile"), 1, "InvalidValue"),
        (profile(purpose="ChargingStationMaxProfile", kind="Relative", start=None), 0, "InvalidProfile"),
        (profile(purpose="TxProfile", transaction_id="tx-1"), 1, ""),
        (profile(purpose="TxProfile", transaction_id="tx-1"), 0, "InvalidValue"),
        (profile(purpose="TxProfile", transaction_id="tx-1"), 2, "TxNotFound"),
        (profile(purpose="TxProfile", transaction_id="tx-2"), 1, "TxNotFound"),
        (profile(purpose="TxProfile"), 1, "MissingParam"),
        (profile(stack_level=100), 1, "InvalidStackLevel"),
        (profile(unit="A"), 1, "UnsupportedRateUnit"),
        (profile(start=None), 1, "InvalidSchedule"),
        (profile(kind="Relative"), 1, "InvalidSchedule"),
        (profile(kind="Recurring"), 1, "InvalidProfile"),
        (profile(kind="Recurring", recurrency_kind="Daily"), 1, ""),
        (profile(period(5)), 1, "InvalidSchedule"),
        (profile(period(0), period(9), period(9)), 1, "InvalidSchedule"),
        (profile(period(0), period(9), period(8)), 1, "InvalidSchedule"),
    ],
)
def test_a_profile_is_judged_by_k01(found: ChargingProfile, evse_id: int, code: str) -> None:
    assert reason(found, evse_id) == code


@together(
    ("found", "code"),
    [
        (period(), ""),
        (period(limit=None), "InvalidSchedule"),
        (period(operation_mode="ChargingOnly", discharge_limit=-5), "InvalidSchedule"),
        (period(operation_mode="ExternalSetpoint", discharge_limit=-5), ""),
        (period(operation_mode="CentralSetpoint", limit=None), "InvalidSchedule"),
        (period(operation_mode="CentralSetpoint", limit=None, setpoint=-5), ""),
        (period(operation_mode="Idle"), "InvalidSchedule"),
        (period(operation_mode="Idle", limit=None), ""),
        (period(operation_mode="LocalFrequency", limit=None), "InvalidOperationMode"),
        (period(operation_mode="LocalLoadBalancing", limit=None), "UnsupportedParam"),
    ],
)
def test_a_period_of_21_is_judged_by_its_operation_mode(found: ChargingSchedulePeriod, code: str) -> None:
    assert reason(profile(found), version="2.1") == code


@pytest.mark.parametrize(("version", "code"), [("2.0.1", "InvalidSchedule"), ("2.1", "")])
def test_a_limit_below_zero_is_known_to_21_only_and_permits_nothing(version: Version, code: str) -> None:
    """It is there for older stations, which discharge by it; this one has dischargeLimit."""
    negative = profile(period(limit=-5_000))
    assert reason(negative, version=version) == code
    now = at(NOON, installed(negative, 1, version))
    assert (now.charge_w, now.discharge_w or 0) == (0, 0)


def test_a_dynamic_profile_has_one_period() -> None:
    assert reason(profile(period(), period(5), kind="Dynamic", start=None), version="2.1") == "InvalidSchedule"
    assert reason(profile(period(), kind="Dynamic", start=None), version="2.1") == ""


@together(
    ("found", "code"),
    [
        (profile(purpose="PriorityCharging"), ""),
        (profile(purpose="PriorityCharging", duration=60), "InvalidSchedule"),
        (profile(period(operation_mode="CentralSetpoint", limit=None, setpoint=1), purpose="PriorityCharging"),
         "InvalidOperationMode"),
        (profile(period(operation_mode="Idle", limit=None), purpose="LocalGeneration"), "InvalidOperationMode"),
        (profile(period(operation_mode="ExternalLimits"), purpose="LocalGeneration"), ""),
        (profile(period(operation_mode="CentralSetpoint", limit=5, setpoint=6)), "InvalidSchedule"),
        (profile(period(operation_mode="CentralSetpoint", limit=5, discharge_limit=-5, setpoint=-6)),
         "InvalidSchedule"),
        (profile(period(limit_l2=5)), "PhaseConflict"),
    ],
)  # fmt: skip
def test_a_profile_of_21_is_judged_by_its_purpose_and_range(found: ChargingProfile, code: str) -> None:
    """K01.FR.70, .114, .144, V2X.05."""
    assert reason(found, 0 if found.charging_profile_purpose == "LocalGeneration" else 1, "2.1") == code


def test_ids_of_external_systems_are_theirs() -> None:
    """K01.FR.05, .81, .82."""
    theirs = msgspec.structs.replace(installed(profile(id=-1), 0, "2.1"), source="EMS")
    assert reason(profile(id=-1), others=(theirs,)) == "InvalidProfileId"
    info = refuse(profile(id=10), 1, version="2.1", able=Abilities(evses=1, foreign_id=10), installed=(),
                  transactions=())  # fmt: skip
    assert info is not None
    assert info.reason_code == "InvalidProfileId"


def test_a_second_profile_of_the_same_place_and_level_is_refused() -> None:
    there = installed(profile(id=7), evse_id=0)
    assert reason(profile(id=8), others=(there,)) == "DuplicateProfile"
    assert reason(profile(id=7), others=(there,)) == "", "the same id replaces"
    assert reason(profile(id=8, stack_level=1), others=(there,)) == ""
    assert reason(profile(id=8), evse_id=2, others=(installed(profile(id=7), evse_id=1),)) == ""
    early = installed(profile(id=7, valid_to=format_time(NOON)))
    assert reason(profile(id=8, valid_from=format_time(NOON)), others=(early,)) == ""
    many = tuple(installed(profile(id=100 + n, stack_level=n % 90), evse_id=2) for n in range(MAX_PROFILES))
    assert reason(profile(id=8, stack_level=99), others=many) == "TooManyElements"


def test_a_time_that_is_none_is_a_property_violation() -> None:
    with pytest.raises(OcppError):
        reason(profile(valid_from="2026-13-01T00:00:00Z"))


def test_a_profile_replaces_the_one_with_its_id() -> None:
    old, other, new = installed(profile(id=1)), installed(profile(id=2), 2), installed(profile(id=1), 2)
    assert replace((old, other), new) == (other, new)


def test_periods_follow_each_other_until_the_schedule_ends() -> None:
    item = installed(profile(period(0, 9), period(3600, 5), duration=7200))
    assert at(NOON - 1, item) == ProfileLimits(until_ms=NOON)
    assert at(NOON, item) == ProfileLimits(charge_w=9, until_ms=NOON + HOUR)
    assert at(NOON + HOUR, item) == ProfileLimits(charge_w=5, until_ms=NOON + 2 * HOUR)
    assert at(NOON + 2 * HOUR, item) == ProfileLimits()


def test_a_profile_holds_while_it_is_valid() -> None:
    found = profile(valid_from=format_time(NOON + HOUR), valid_to=format_time(NOON + 2 * HOUR))
    item = installed(found)
    assert at(NOON, item).charge_w is None
    assert at(NOON, item).until_ms == NOON + HOUR
    assert at(NOON + HOUR, item).charge_w == 10_000
    assert at(NOON + 2 * HOUR, item) == ProfileLimits()


def test_a_recurring_profile_begins_again() -> None:
    item = installed(profile(period(0, 9), period(3600, 5), kind="Recurring", recurrency_kind="Daily", duration=7200))
    later = NOON + 5 * 24 * HOUR
    assert at(later, item).charge_w == 9
    assert at(later + HOUR, item).charge_w == 5
    assert at(later + 3 * HOUR, item) == ProfileLimits(until_ms=later + 24 * HOUR)
    weekly = installed(profile(kind="Recurring", recurrency_kind="Weekly", duration=60))
    assert at(NOON + 7 * 24 * HOUR, weekly).charge_w == 10_000
    assert at(NOON + 24 * HOUR, weekly).charge_w is None


def test_a_recurring_profile_does_not_hold_before_it_starts() -> None:
    """K01.FR.40: startSchedule is the start of the sequence, as in "every week starting 2020-01-05"."""
    item = installed(profile(period(0, 7), kind="Recurring", recurrency_kind="Daily", start=NOON + 48 * HOUR))
    assert at(NOON, item).charge_w is None
    assert at(NOON, item).until_ms == NOON + 48 * HOUR
    assert at(NOON + 49 * HOUR, item).charge_w == 7
    assert at(NOON + 100 * HOUR, item).charge_w == 7


def test_a_relative_profile_begins_with_the_transaction() -> None:
    item = installed(profile(period(0, 9), period(60, 5), kind="Relative", start=None))
    assert at(NOON, item, transaction=None) == ProfileLimits()
    assert at(NOON + 59_999, item) == ProfileLimits(charge_w=9, until_ms=NOON + 60_000)
    assert at(NOON + 60_000, item).charge_w == 5


def test_the_higher_level_wins_and_a_txprofile_stands_in_for_the_default() -> None:
    default = installed(profile(period(0, 20), id=1), evse_id=0)
    higher = installed(profile(period(0, 30), id=2, stack_level=1, duration=60))
    own = installed(profile(period(0, 50), id=3, purpose="TxProfile", transaction_id="tx-1"))
    station = installed(profile(period(0, 40), id=4, purpose="ChargingStationMaxProfile"), evse_id=0)
    assert at(NOON, default).charge_w == 20
    assert at(NOON, default, higher).charge_w == 30
    assert at(NOON + 60_000, default, higher).charge_w == 20
    assert at(NOON, default, higher, own).charge_w == 50
    assert at(NOON, default, higher, own, station).charge_w == 40
    assert at(NOON, default, own, transaction=None).charge_w == 20
    elsewhere = installed(profile(period(0, 1)), evse_id=2)
    assert at(NOON, elsewhere).charge_w is None


def test_a_schedule_of_21_says_what_may_be_discharged() -> None:
    def one(found: ChargingSchedulePeriod, version: Version = "2.1", **changes: Any) -> ProfileLimits:
        return at(NOON, installed(profile(found, **changes), version=version))

    assert one(period(0, 9)).discharge_w == 0, "no mode means ChargingOnly"
    assert one(period(0, 9), version="2.0.1").discharge_w is None, "2.0.1 is silent on discharge"
    two_way = one(period(0, 9, operation_mode="ExternalSetpoint", discharge_limit=-4))
    assert (two_way.charge_w, two_way.discharge_w, two_way.operation_mode) == (9, 4, "ExternalSetpoint")
    wish = one(period(0, 9, operation_mode="CentralSetpoint", setpoint=-3, discharge_limit=-4))
    assert wish.setpoint_w == -3
    idle = one(period(0, None, operation_mode="Idle"))
    assert (idle.charge_w, idle.discharge_w, idle.setpoint_w) == (0, 0, 0)


def test_the_stations_limit_does_not_forbid_discharge() -> None:
    station = installed(profile(period(0, 40), id=4, purpose="ChargingStationMaxProfile"), 0, "2.1")
    own = installed(profile(period(0, 50, operation_mode="ExternalSetpoint", discharge_limit=-4), id=2), 1, "2.1")
    found = at(NOON, station, own)
    assert (found.charge_w, found.discharge_w) == (40, 4)


def test_a_composite_schedule_joins_what_is_equal() -> None:
    items = [
        installed(profile(period(0, 9), period(600, 9), period(1200, 5), duration=3600)),
        installed(profile(period(0, 7), id=2, purpose="ChargingStationMaxProfile", duration=1800), evse_id=0),
    ]
    found = composite(items, NOON, 7200, *alone(ProfileSituation(evse_id=1, transaction=TRANSACTION), 100))
    assert [(p.start_period, p.limit) for p in found.charging_schedule_period] == [(0, 7), (1200, 5), (3600, 100)]
    assert (found.duration, found.schedule_start) == (7200, "2026-06-01T12:00:00Z")


def test_a_composite_schedule_ascends_where_changes_are_within_a_second() -> None:
    """A transaction begins in the middle of a second, and so does what is relative to it."""
    begun = OpenTransaction("tx-1", 1, NOON + 500)
    items = [
        installed(profile(period(0, 9), period(60, 7), kind="Relative", start=None)),
        installed(profile(period(0, 8), id=2, start=NOON + 60_200, purpose="ChargingStationMaxProfile"), evse_id=0),
    ]
    found = composite(items, NOON, 7200, *alone(ProfileSituation(evse_id=1, transaction=begun), 100))
    assert [(p.start_period, p.limit) for p in found.charging_schedule_period] == [(0, 9), (60, 7)]


def scheduled(purpose: str = "TxDefaultProfile", **change: Any) -> ChargingProfile:
    """A profile whose schedule is changed."""
    found = profile(purpose=purpose)
    schedule = msgspec.structs.replace(found.charging_schedule[0], **change)
    return msgspec.structs.replace(found, charging_schedule=(schedule,))


@together(
    ("found", "code"),
    [
        (scheduled(use_local_time=True, start_schedule="2026-06-01T12:00:00"), ""),
        (scheduled(start_schedule="2026-06-01T12:00:00Z", randomized_delay=30), ""),
        (scheduled("ChargingStationMaxProfile", randomized_delay=30), "InvalidSchedule"),
        (scheduled(limit_at_soc=LimitAtSoC(soc=80, limit=6.0)), ""),
        (scheduled(charging_schedule_period=(period(evse_sleep=True),)), "InvalidSchedule"),
        (profile(dyn_update_interval=60), "InvalidProfile"),
        (profile(max_offline_duration=60), ""),
    ],
)
def test_fields_of_21_are_taken_where_they_mean_something(found: ChargingProfile, code: str) -> None:
    """K01.FR.95, .122 to .126."""
    place = 0 if found.charging_profile_purpose == "ChargingStationMaxProfile" else 1
    assert reason(found, place, version="2.1") == code


OSLO = LocalTime(zone="Europe/Oslo")


@together(
    ("utc", "watts"),
    [
        ("2026-03-28T05:59:59Z", 9), ("2026-03-28T06:00:00Z", 5), ("2026-03-29T04:59:59Z", 9),
        ("2026-03-29T05:00:00Z", 5), ("2026-10-25T05:59:59Z", 9), ("2026-10-25T06:00:00Z", 5),
    ],
)  # fmt: skip
def test_local_time_holds_in_summer_and_winter(utc: str, watts: int) -> None:
    """K01.FR.90: from seven in the morning, whatever zone the time is written in."""
    found = profile(period(0, 9), period(7 * 3600, 5), kind="Recurring", recurrency_kind="Daily")
    schedule = msgspec.structs.replace(
        found.charging_schedule[0], use_local_time=True, start_schedule="2026-01-01T00:00:00+05:00"
    )
    item = installed(msgspec.structs.replace(found, charging_schedule=(schedule,)), version="2.1")
    assert at(parse_time(utc), item, local=OSLO).charge_w == watts


def test_a_period_is_skipped_when_the_clock_is_put_forward_and_repeated_when_it_is_put_back() -> None:
    """K01.FR.91; the next change is known before."""
    steps = [(0, 1), (2 * 3600, 2), (3 * 3600, 3)]

    def on(day: str) -> InstalledProfile:
        found = profile(*(period(start, watts) for start, watts in steps))
        schedule = msgspec.structs.replace(
            found.charging_schedule[0], use_local_time=True, start_schedule=f"{day}T00:00:00"
        )
        return installed(msgspec.structs.replace(found, charging_schedule=(schedule,)), version="2.1")

    def course(item: InstalledProfile, begin: str) -> list[tuple[int, float | None]]:
        found = foreseen([item], parse_time(begin), ProfileSituation(evse_id=1, transaction=TRANSACTION, local=OSLO))
        steps = [(0, found.charge_w), *((each.from_ms - parse_time(begin), each.charge_w) for each in found.later)]
        return [(after // 60_000, watts) for after, watts in steps if after < 5 * HOUR]

    assert course(on("2026-03-29"), "2026-03-28T23:00:00Z") == [(0, 1), (120, 3)]
    assert course(on("2026-10-25"), "2026-10-24T22:00:00Z") == [(0, 1), (120, 2), (240, 3)]


def test_an_offset_serves_where_there_is_no_zone() -> None:
    local = LocalTime(offset="+01:00", next_offset="+02:00", next_from_ms=NOON)
    assert [local.offset_ms(NOON - 1), local.offset_ms(NOON)] == [HOUR, 2 * HOUR]
    assert local.next_check_ms(NOON - 5) == NOON
    assert local.next_check_ms(NOON) is None


def test_delays_are_drawn_once_and_skip_what_comes_too_late() -> None:
    """K01.FR.92, .93, .97: of hundreds of transactions none begins early, and none falls back to what was skipped."""
    found = profile(*(period(n * 60, n + 1) for n in range(6)), start=NOON)
    schedule = msgspec.structs.replace(found.charging_schedule[0], randomized_delay=150)
    item = installed(msgspec.structs.replace(found, charging_schedule=(schedule,)), version="2.1")
    skipped = 0
    for number in range(30):
        begun = OpenTransaction(f"tx-{number}", 1, NOON)
        seen = [at(NOON + second * 1000, item, transaction=begun).charge_w or 0 for second in range(0, 500, 20)]
        assert seen == sorted(seen), "never back"
        assert seen[0] == 1
        last_ms = NOON + (5 * 60 + delay_s(f"tx-{number}", 1, 5, 150)) * 1000
        assert [at(last_ms + ms, item, transaction=begun).charge_w == 6 for ms in (-1, 0)] == [False, True]
        skipped += len(set(seen)) < 6
    assert skipped > 15, "with delays longer than periods most have some that never begin"
    assert at(NOON + 60_000, item, transaction=None).charge_w == 2, "K08.FR.06"


def test_a_profile_holds_offline_for_as_long_as_it_says() -> None:
    """K01.FR.101 to .103, Q11."""
    item = installed(profile(period(0, 9), max_offline_duration=60, stack_level=1), version="2.1")
    below = installed(profile(period(0, 5), id=2), version="2.1")
    assert at(NOON + 59_999, item, below, offline_since_ms=NOON) == ProfileLimits(
        charge_w=9, discharge_w=0, operation_mode="ChargingOnly", until_ms=NOON + 60_000
    )
    assert at(NOON + 60_000, item, below, offline_since_ms=NOON).charge_w == 5
    assert at(NOON + 10 * HOUR, item, below).charge_w == 9, "online again"
    assert at(NOON, msgspec.structs.replace(item, ended=True), below).charge_w == 5


def test_without_a_profile_to_fall_back_to_only_charging_goes_on() -> None:
    """Q11: charging only, without limits."""
    wish = period(operation_mode="CentralSetpoint", limit=None, setpoint=-5)
    item = installed(profile(wish, max_offline_duration=60), version="2.1")
    found = at(NOON + HOUR, item, offline_since_ms=NOON)
    assert (found.charge_w, found.discharge_w, found.setpoint_w) == (None, 0, None)
    assert found.discharge_a == 0, "in amperes, too, whatever another profile allows there"
    for purpose, transaction_id in (("TxDefaultProfile", None), ("TxProfile", "tx-1")):
        over = installed(profile(wish, duration=60, purpose=purpose, transaction_id=transaction_id), version="2.1")
        assert at(NOON + HOUR, over).discharge_w == 0
        assert at(NOON - HOUR, over).discharge_w is None, "what has not begun is no word on it"
        assert not at(NOON + HOUR, over).asleep


def test_a_composite_schedule_has_no_more_periods_than_fit() -> None:
    many = profile(*(period(second, 1000 + second % 2) for second in range(1024)), duration=1024)
    found = composite(
        [installed(many)], NOON, 7200, *alone(ProfileSituation(evse_id=1, transaction=TRANSACTION), 9_000)
    )
    assert len(found.charging_schedule_period) == 1024


def priced(level: int, **changes: Any) -> InstalledProfile:
    """A profile of 2.1 with a price level."""
    found = profile(**changes)
    levels = PriceLevelSchedule(
        time_anchor=format_time(NOON), price_schedule_id=1, number_of_price_levels=9,
        price_level_schedule_entries=(PriceLevelScheduleEntry(duration=3600, price_level=level),),
    )  # fmt: skip
    schedule = msgspec.structs.replace(found.charging_schedule[0], price_level_schedule=levels)
    return installed(msgspec.structs.replace(found, charging_schedule=(schedule,)), version="2.1")


def test_prices_are_those_of_the_first_profile_in_force_that_has_some() -> None:
    """K15, K18."""

    def level(*items: InstalledProfile) -> int | None:
        found = prices(iter(items), NOON, ProfileSituation(evse_id=1, transaction=TRANSACTION))
        if found is None:
            return None
        assert isinstance(found, iso.PriceLevelSchedule)
        return found.price_level_schedule_entries.price_level_schedule_entry[0].price_level

    own: dict[str, Any] = {"purpose": "TxProfile", "transaction_id": "tx-1", "id": 2}
    default = priced(2)
    assert level() is None
    assert level(default) == 2
    assert level(installed(profile(**own), version="2.1"), default) == 2, "it leads, and has none"
    assert level(default, priced(3, **own)) == 3
    assert level(default, priced(3, **own, start=NOON + HOUR)) == 2
    assert level(default, priced(3, **{**own, "transaction_id": "tx-2"})) == 2
    assert level(priced(2, start=NOON + HOUR)) is None


def test_a_dynamic_profile_lasts_from_its_last_update() -> None:
    """K28.FR.13, .15, Q05.FR.07."""
    wish = period(operation_mode="CentralSetpoint", limit=None, setpoint=5)
    found = profile(wish, kind="Dynamic", start=None, duration=60, dyn_update_time=format_time(NOON))
    item = installed(found, version="2.1")
    assert at(NOON + 59_999, item).setpoint_w == 5
    assert at(NOON + 59_999, item).until_ms == NOON + 60_000
    assert at(NOON + 60_000, item).setpoint_w is None


def test_priority_charging_stands_in_for_both_profiles_of_transactions() -> None:
    """K21.FR.04, K22.FR.02."""
    own = installed(profile(period(0, 3), id=3, purpose="TxProfile", transaction_id="tx-1"), version="2.1")
    fast = installed(profile(period(0, 99), id=4, purpose="PriorityCharging"), 0, "2.1")
    station = installed(profile(period(0, 40), id=5, purpose="ChargingStationMaxProfile"), 0)
    with_priority = msgspec.structs.replace(TRANSACTION, priority=True)
    assert at(NOON, own, fast, station).charge_w == 3
    assert at(NOON, own, fast, station, transaction=with_priority).charge_w == 40
    assert at(NOON, own, station, transaction=with_priority).charge_w == 3, "there is none"


def test_what_is_generated_comes_on_top() -> None:
    """K27."""
    own = installed(profile(period(0, 5000)), version="2.1")
    sun = installed(profile(period(0, 2000), period(60, 1000), id=4, purpose="LocalGeneration"), 0, "2.1")
    assert [at(NOON + s * 1000, own, sun).charge_w for s in (0, 59, 60)] == [7000, 7000, 6000]
    assert at(NOON, own, sun, sharers=2).charge_w == 6000
    assert at(NOON, sun).charge_w is None, "nothing bounds it"


def test_amperes_are_of_each_phase() -> None:
    """K01.FR.45, .49 to .51."""
    assert at(NOON, installed(profile(period(0, 16), unit="A"))).charge_w == 16 * 230 * 3
    assert at(NOON, installed(profile(period(0, 16), unit="A")), phases=1).charge_w == 16 * 230
    one = installed(profile(period(0, 16, number_phases=1), unit="A"))
    assert at(NOON, one).charge_w == 16 * 230
    around = ProfileSituation(evse_id=1, transaction=TRANSACTION, lines=3)
    found = composite([one], NOON, 60, *alone(around, 22_080), unit="A")
    assert [(p.limit, p.number_phases) for p in found.charging_schedule_period] == [(16, 1)]


@pytest.mark.requirement("R192")
@pytest.mark.parametrize("vehicle", [1, 3])
@pytest.mark.parametrize(
    ("limit", "unit", "phases", "lines", "amperes"),
    [
        (16, "A", None, 3, 16.0),
        (16, "A", 3, 1, 16.0),
        (16, "A", 1, 3, 16.0),
        (11_040, "W", None, 3, 16.0),
        (3_680, "W", 1, 3, 16.0),
        (3_680, "W", None, 1, 16.0),  # a station of one phase imposes the limits on one (K01.FR.45)
    ],
)
def test_a_profile_bounds_each_conductor_whatever_the_vehicle_uses(
    limit: float, unit: Any, phases: int | None, lines: int, amperes: float, vehicle: int
) -> None:
    item = installed(profile(period(0, limit, number_phases=phases), unit=unit))
    found = at(NOON, item, phases=min(vehicle, lines), lines=lines)
    assert found.charge_a == pytest.approx(amperes)
    again = composite([item], NOON, 60, *alone(ProfileSituation(evse_id=1, lines=lines), 99_999), unit=unit)
    assert [each.limit for each in again.charging_schedule_period] == [limit]
    assert at(NOON, item, lines=0).charge_a is None  # direct current


def test_profiles_together_bound_a_conductor_by_the_smallest_and_share_a_station() -> None:
    """K01.FR.140: the lowest number of phases."""
    mine = installed(profile(period(0, 16, number_phases=1, phase_to_use=1), unit="A"))
    shared = profile(period(0, 11_040, number_phases=3), purpose="ChargingStationMaxProfile")
    whole = InstalledProfile(0, msgspec.structs.replace(shared, id=9), "2.0.1")
    found = at(NOON, mine, whole, lines=3, sharers=2)
    assert (found.charge_a, found.number_phases, found.phase_to_use) == (pytest.approx(8), 1, 1)


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("item", "each", "watts"),
    [
        (each_line(16, 10, 6), (16, 10, 6), 32 * 230),
        (each_line(2_300, 1_150, 4_600, unit="W"), (10, 5, 20), 8_050),
        (each_line(16, 10), (16, 10, 10), 26 * 230),  # a conductor without a value has the lowest
        (each_line(0, 16, 16), (0, 16, 16), 32 * 230),
    ],
)
def test_limits_of_single_conductors_bound_each_and_the_lowest_all(
    item: InstalledProfile, each: tuple[float, ...], watts: float
) -> None:
    """V2X.06, K01.FR.147: what bounds all conductors alike is the lowest."""
    found = at(NOON, item, lines=3)
    assert found.charge_lines_a == pytest.approx(each)
    assert (found.charge_a, found.charge_w) == (pytest.approx(min(each)), pytest.approx(watts))


@pytest.mark.requirement("R192")
def test_a_composite_schedule_has_the_limits_of_single_conductors() -> None:
    """K08.FR.09: the lowest of all profiles, within the EVSE's power."""
    station = InstalledProfile(0, profile(period(0, 8_280), purpose="ChargingStationMaxProfile", id=9), "2.1")
    around = ProfileSituation(evse_id=1, transaction=TRANSACTION, lines=3)

    def reported(
        unit: Any, *items: InstalledProfile, version: Version = "2.1", **more: Any
    ) -> list[tuple[float | None, ...]]:
        found = composite(items, NOON, 60, *alone(msgspec.structs.replace(around, **more), 22_080), version=version,
                          unit=unit)  # fmt: skip
        return [(each.limit, each.limit_l2, each.limit_l3) for each in found.charging_schedule_period]

    assert reported("A", each_line(16, 10, 6)) == [(16, 10, 6)]
    assert reported("A", each_line(16, 10, 6), station) == [(12, 10, 6)]
    assert reported("W", each_line(16, 10, 6), station) == [(2_760, 2_300, 1_380)]
    assert reported("A", each_line(63, 10, 6)) == [(32, 10, 6)]
    assert reported("A", each_line(16, 10), lines=2) == [(16, 10, None)]
    assert reported("A", each_line(16, 10, 6), version="2.0.1") == [(6, None, None)]
    out = each_line(-16, -10, -6, name="discharge_limit", operation_mode="ExternalLimits")
    (found,) = composite([out], NOON, 60, *alone(around, 22_080), version="2.1", unit="A").charging_schedule_period
    assert (found.discharge_limit, found.discharge_limit_l2, found.discharge_limit_l3) == (-16, -10, -6)
    wish = installed(profile(period(0, None, operation_mode="CentralSetpoint", setpoint=6), unit="A"), 1, "2.1")
    (found,) = composite([wish], NOON, 60, *alone(around, 22_080), version="2.1", unit="A").charging_schedule_period
    assert found.setpoint == 6


@pytest.mark.requirement("R192")
@given(
    st.lists(st.lists(st.floats(0, 63), min_size=1, max_size=3), min_size=1, max_size=4),
    st.lists(st.floats(0, 40_000), max_size=2),
)
def test_no_profile_is_exceeded_on_any_conductor(own: list[list[float]], shared: list[float]) -> None:
    items = [each_line(*values) for values in own]
    items = [
        InstalledProfile(1, msgspec.structs.replace(each.profile, id=number, stack_level=number), "2.1")
        for number, each in enumerate(items)
    ]
    whole = [
        InstalledProfile(0, profile(period(0, watts), purpose="ChargingStationMaxProfile", id=90 + number,
                             stack_level=number), "2.1")
        for number, watts in enumerate(shared)
    ]  # fmt: skip
    found = at(NOON, *items, *whole, lines=3)
    leading = own[-1]
    most = [leading[line] if line < len(leading) else min(leading) for line in range(3)]
    if shared:
        most = [min(each, shared[-1] / 690) for each in most]
    assert found.charge_a == pytest.approx(min(most))
    assert found.charge_lines_a == (() if len(leading) == 1 else pytest.approx(tuple(most)))


@pytest.mark.requirement("R192")
@together(
    ("item", "code"),
    [
        (each_line(16, 10, 6), ""),
        (each_line(16, 10), ""),
        (each_line(16, 10, number_phases=1), "PhaseConflict"),
        (each_line(-5, -5, name="discharge_limit", operation_mode="ExternalLimits", limit=16.0), ""),
        (each_line(-5, -5, -5, name="discharge_limit", operation_mode="ExternalLimits", limit=16.0), "PhaseConflict"),
        (each_line(3, 3, 3, name="setpoint", operation_mode="CentralSetpoint"), "PhaseConflict"),
        (each_line(3, 3, name="setpoint", operation_mode="CentralSetpoint"), ""),
        (each_line(3, 9, name="setpoint", operation_mode="CentralSetpoint", limit=4, limit_l2=4), "InvalidSchedule"),
        (each_line(3, 3, name="setpoint_reactive", operation_mode="CentralSetpoint", setpoint=1.0), "PhaseConflict"),
        (installed(profile(period(limit=None, limit_l2=5), purpose="TxProfile", transaction_id="tx-1")),
         "PhaseConflict"),
        (installed(profile(period(limit=5, limit_l2=5))), "PhaseConflict"),
    ],
)  # fmt: skip
def test_values_of_single_conductors_are_for_vehicles_that_sent_their_powers(item: InstalledProfile, code: str) -> None:
    """K01.FR.142 to .146, V2X.07 to .10; the vehicle here charges on three conductors and discharges on two."""
    able = Abilities(evses=1, units=("W", "A"), phases={1: 3}, lines={1: (3, 2)})

    def refused(able: Abilities) -> str:
        found = refuse(item.profile, 1, version="2.1", able=able, installed=(), transactions=(TRANSACTION,))
        return found.reason_code if found else ""

    assert refused(able) == code
    assert refused(msgspec.structs.replace(able, lines={})) == "PhaseConflict"


PHASES = {1: 3, 2: 1, 3: 3}
"""Line conductors of the EVSEs 1 to 3; the third one switches, the fourth one has direct current."""


@together(
    ("evse_id", "count", "chosen", "code"),
    [
        (1, 3, None, ""),
        (1, 1, None, "InvalidSchedule"),  # K01.FR.43: more would be used
        (1, 2, None, "InvalidSchedule"),
        (1, 0, None, "InvalidSchedule"),
        (1, 3, 1, "InvalidSchedule"),  # K01.FR.19
        (2, 1, None, ""),
        (2, 3, None, ""),  # K01.FR.45
        (2, 1, 1, ""),  # K01.FR.46: that one is used anyway
        (2, 1, 2, "InvalidSchedule"),  # K01.FR.48
        (3, 1, None, ""),
        (3, 1, 3, ""),
        (4, 1, None, "NoPhaseForDC"),
        (0, 1, None, "InvalidSchedule"),
    ],
)
def test_a_number_of_phases_is_refused_where_it_cannot_be_kept(
    evse_id: int, count: int, chosen: int | None, code: str
) -> None:
    able = Abilities(
        evses=4, units=("W", "A"), direct_current=[4], phases=PHASES, switches_phases=[3], selects_phase=True
    )
    found = profile(period(0, 6, number_phases=count, phase_to_use=chosen), unit="A" if evse_id < 4 else "W")
    refused = refuse(found, evse_id, version="2.1", able=able, installed=(), transactions=())
    assert (refused.reason_code if refused else "") == code
    plain = msgspec.structs.replace(able, selects_phase=False)
    if chosen == 3:
        other = refuse(found, evse_id, version="2.1", able=plain, installed=(), transactions=())
        assert other is not None
        assert other.reason_code == "InvalidSchedule"


@together(
    ("other", "chosen", "changes", "code"),
    [
        ("TxProfile", 3, {}, "PhaseConflict"),
        ("TxDefaultProfile", 3, {}, "PhaseConflict"),
        ("TxProfile", 1, {}, ""),
        ("TxProfile", None, {}, ""),
        ("ChargingStationMaxProfile", 3, {"stack_level": 1}, ""),  # of one purpose the highest level counts alone
        ("TxProfile", 3, {"valid_to": format_time(NOON)}, ""),
    ],
)
def test_another_phase_than_that_of_a_profile_in_force_beside_it_is_refused(
    other: str, chosen: int | None, changes: dict[str, Any], code: str
) -> None:
    """K01.FR.141."""
    able = Abilities(evses=2, switches_phases=[1, 2], selects_phase=True)
    one = profile(period(number_phases=1, phase_to_use=1), id=9, purpose="ChargingStationMaxProfile",
                  valid_from=format_time(NOON))  # fmt: skip
    number = None if chosen is None else 1
    transaction_id = TRANSACTION.transaction_id if other == "TxProfile" else None
    two = profile(period(number_phases=number, phase_to_use=chosen), purpose=other,
                  transaction_id=transaction_id, **changes)  # fmt: skip
    places = (0, 0 if other == "ChargingStationMaxProfile" else 1)
    for new, place, known in ((two, places[1], installed(one, places[0])), (one, places[0], installed(two, places[1]))):
        refused = refuse(new, place, version="2.1", able=able, installed=(known,), transactions=(TRANSACTION,))
        assert (refused.reason_code if refused else "") == code


def test_purposes_that_replace_each_other_may_choose_different_phases() -> None:
    able = Abilities(evses=1, switches_phases=[1], selects_phase=True)
    default = profile(period(number_phases=1, phase_to_use=1), id=9)
    own = profile(period(number_phases=1, phase_to_use=3), purpose="TxProfile", transaction_id="tx-1")
    known = (installed(default),)
    assert refuse(own, 1, version="2.1", able=able, installed=known, transactions=(TRANSACTION,)) is None


def test_a_limit_beyond_a_state_of_charge_caps_limit_and_set_point() -> None:
    """K01.FR.100."""
    found = profile(period(0, None, operation_mode="CentralSetpoint", setpoint=9000))
    schedule = msgspec.structs.replace(found.charging_schedule[0], limit_at_soc=LimitAtSoC(soc=80, limit=4000))
    item = installed(msgspec.structs.replace(found, charging_schedule=(schedule,)), version="2.1")
    for soc, watts in ((None, 9000), (79, 9000), (80, 4000)):
        assert at(NOON, item, transaction=msgspec.structs.replace(TRANSACTION, soc=soc)).setpoint_w == watts


def test_every_external_system_has_its_say() -> None:
    """K11, K12: an energy manager's limit does not hide the grid operator's, nor one of the station that of an EVSE."""

    def theirs(source: str, number: int, watts: float, evse_id: int = 0) -> InstalledProfile:
        found = profile(period(0, watts), id=number, purpose="ChargingStationExternalConstraints")
        return msgspec.structs.replace(installed(found, evse_id, "2.1"), source=source)

    ems, so, place = theirs("EMS", -1, 9000), theirs("SO", -3, 5000), theirs("EMS", -7, 4000, 1)
    assert at(NOON, ems, so).charge_w == 5000
    assert at(NOON, so, ems).charge_w == 5000
    assert at(NOON, ems, so, place).charge_w == 4000
    assert at(NOON, ems, so, sharers=2).charge_w == 2500
    now = foreseen([ems, so, place], NOON, ProfileSituation(evse_id=1, transaction=TRANSACTION, sharers=2))
    assert (now.charge_w, now.whole and now.whole.charge_w) == (4000, 5000), "the charger shares it"


@pytest.mark.parametrize(("csms_first", "watts"), [(False, 2500), (True, -3000)])
def test_one_set_point_goes_before_the_other(csms_first: bool, watts: float) -> None:
    """Q06.FR.20 to .22; the external one of the whole station is for two vehicles."""
    mine = installed(profile(period(0, None, operation_mode="CentralSetpoint", setpoint=-3000)), version="2.1")
    wish = period(0, None, operation_mode="ExternalSetpoint", setpoint=5000)
    theirs = installed(profile(wish, id=-1, purpose="ChargingStationExternalConstraints"), 0, "2.1")
    found = at(NOON, mine, theirs, csms_first=csms_first, sharers=2)
    assert found.setpoint_w == watts
    assert found.operation_mode == ("CentralSetpoint" if csms_first else "ExternalSetpoint")
    assert at(NOON, theirs).setpoint_w == 5000
    around = ProfileSituation(evse_id=1, transaction=TRANSACTION, csms_first=csms_first, sharers=2)
    whole = foreseen([mine, theirs], NOON, around).whole
    assert whole is not None
    assert whole.setpoint_w == (None if csms_first else 5000)


periods = st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 99)), min_size=0, max_size=5)


@given(
    st.lists(st.tuples(st.sampled_from(["TxDefaultProfile", "ChargingStationMaxProfile"]), periods, st.integers(0, 9)),
             max_size=4),
    st.integers(0, 10_000_000),
)  # fmt: skip
def test_nothing_changes_before_it_is_said_to(profiles: list[Any], offset: int) -> None:
    """Between now and `until_ms` what is allowed stays the same."""
    items = []
    for number, (purpose, steps, level) in enumerate(profiles):
        starts = {0: 1, **dict(steps)}
        found = profile(
            *(period(start, limit) for start, limit in sorted(starts.items())),
            id=number, purpose=purpose, stack_level=level, duration=5500,
        )  # fmt: skip
        items.append(installed(found, 0))
    now = at(NOON + offset, *items)
    later = (now.until_ms or NOON + 10**9) - 1
    same = at(later, *items)
    assert msgspec.structs.replace(same, until_ms=None) == msgspec.structs.replace(now, until_ms=None)


def test_clearing_and_reporting_choose_by_id_or_criteria() -> None:
    item = installed(profile(id=5, stack_level=3), 2)
    assert matches_clearing(item, 5, None)
    assert not matches_clearing(item, 6, None)
    assert matches_clearing(item, None, None)
    assert matches_clearing(item, None, ClearChargingProfile(evse_id=2, stack_level=3))
    assert not matches_clearing(item, None, ClearChargingProfile(evse_id=2, stack_level=4))
    assert not matches_clearing(item, None, ClearChargingProfile(charging_profile_purpose="TxProfile"))
    assert matches_report(item, None, ChargingProfileCriterion(charging_profile_id=(4, 5)))
    assert not matches_report(item, 1, ChargingProfileCriterion(charging_profile_id=(4, 5)))
    assert matches_report(item, 2, ChargingProfileCriterion(stack_level=3, charging_limit_source=("CSO",)))
    assert not matches_report(item, 2, ChargingProfileCriterion(charging_limit_source=("EMS",)))


def test_what_profiles_will_allow_later_is_foreseen_for_a_day() -> None:
    steps = installed(profile(period(0, 10_000), period(600, 10_000), period(1_800, 4_000), period(7_200, 8_000)))
    (first,) = [steps.profile.charging_schedule[0].start_schedule]
    begin = parse_time(first) if first else NOON
    found = foreseen([steps], begin, ProfileSituation(evse_id=1, transaction=TRANSACTION))
    assert found.charge_w == 10_000
    assert found.later[:2] == (
        ProfileLimits(from_ms=begin + 1_800_000, charge_w=4_000, discharge_w=None),
        ProfileLimits(from_ms=begin + 7_200_000, charge_w=8_000, discharge_w=None),
    )
    for each in found.later:
        there = limits_at([steps], each.from_ms, ProfileSituation(evse_id=1, transaction=TRANSACTION))
        assert (each.charge_w, each.discharge_w) == (there.charge_w, there.discharge_w)
