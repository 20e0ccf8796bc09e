"""When profiles are valid and which period is in force: at every edge, and what of a station they depend on (K01)."""

from typing import Any

import msgspec
import pytest

from tests.station.bench import FIXED, SOCKET, Bench, at
from tests.station.charging import charging
from tests.station.installed import HOUR, NOON, TRANSACTION, installed, period, profile
from tests.station.profiles import limit, put, transaction
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.times import format_time
from v2g_station.blocks.evse import Power
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.profile_times import (
    InstalledProfile,
    OpenTransaction,
    ProfileSituation,
    begun_ms,
    delay_s,
    edges,
    is_over,
    offline_end,
    period_at,
)
from v2g_station.blocks.smart_charging.profiles import ProfileLimits, part
from v2g_station.kernel.local_time import LocalTime

AROUND = ProfileSituation(evse_id=1, transaction=TRANSACTION)
OSLO = LocalTime(zone="Europe/Oslo")
DAY = 24 * HOUR
TWO = (period(0, 9), period(3600, 5))


def item(*periods: Any, **changes: Any) -> InstalledProfile:
    """A profile in place."""
    return installed(profile(*(periods or TWO), **changes), version="2.1")


def local(found: InstalledProfile, start: str = "2026-06-01T12:00:00") -> InstalledProfile:
    """The same by the clock on the wall."""
    return changed(found, use_local_time=True, start_schedule=start)


def changed(found: InstalledProfile, **change: Any) -> InstalledProfile:
    (schedule,) = found.profile.charging_schedule
    schedule = msgspec.structs.replace(schedule, **change)
    own: ChargingProfile = msgspec.structs.replace(found.profile, charging_schedule=(schedule,))
    return msgspec.structs.replace(found, profile=own)


def around(**more: Any) -> ProfileSituation:
    return msgspec.structs.replace(AROUND, **more)


def watts(found: InstalledProfile, *hours: float, **more: Any) -> list[float | None]:
    """The limits in force so many hours after noon."""
    periods = [period_at(found, NOON + round(each * HOUR), around(**more)) for each in hours]
    return [None if each is None else each.limit for each in periods]


MS = 1 / HOUR


def test_a_period_lasts_until_the_next_or_the_end_of_its_schedule() -> None:
    """K01.FR.11, .12."""
    assert watts(item(), -MS, 0, 1 - MS, 1, 9999) == [None, 9, 9, 5, 5]
    assert watts(item(duration=5400), 1.5 - MS, 1.5) == [5, None]
    assert watts(item(duration=3600), 1 - MS, 1) == [9, None], "what would begin then does not"
    assert watts(item(duration=0), 0) == [None]
    assert watts(msgspec.structs.replace(item(), ended=True), 0) == [None]


@pytest.mark.parametrize(
    ("days", "kind"), [(1, {"recurrency_kind": "Daily"}), (7, {"recurrency_kind": "Weekly"}), (1, {})]
)
def test_a_recurring_schedule_begins_again_after_a_day_or_week(days: int, kind: dict[str, str]) -> None:
    found = item(kind="Recurring", duration=7200, **kind)
    again = 24 * days
    assert watts(found, 1 - again, 0.5 - again) == [None, None], "not before it starts (K01.FR.40)"
    assert watts(found, -MS, 0, 1, 2, again - MS, again, again + 1, again + 2, 5 * again + 1) == [
        None, 9, 5, None, None, 9, 5, None, 5,
    ]  # fmt: skip
    begun = [begun_ms(found, NOON + hours * HOUR, AROUND) for hours in (0, again - 1, again, 3 * again + 1)]
    assert begun == [NOON, NOON, NOON + again * HOUR, NOON + 3 * again * HOUR]
    times = set(edges(found, NOON + (again + 1) * HOUR, AROUND))
    assert times == {NOON + (again + hours) * HOUR for hours in (0, 1, 2, again)}


def test_a_relative_schedule_begins_with_the_transaction_or_one_that_is_supposed() -> None:
    """K01.FR.42, K08.FR.06."""
    found = item(kind="Relative", start=None)
    later = OpenTransaction("tx-1", 1, NOON + HOUR)
    assert watts(found, 1 - MS, 1, 2, transaction=later) == [None, 9, 5]
    assert watts(found, 0, 2, transaction=None) == [None, None]
    assert watts(found, 1 - MS, 1, 2, transaction=None, supposed_ms=NOON + HOUR) == [None, 9, 5]
    assert watts(found, 1, 2, transaction=TRANSACTION, supposed_ms=NOON + HOUR) == [5, 5]
    assert begun_ms(found, NOON + 3 * HOUR, around(transaction=later)) == NOON + HOUR
    assert begun_ms(found, NOON + 3 * HOUR, around(transaction=None)) == NOON + 3 * HOUR, "now, if it has no start"
    assert list(edges(found, NOON, around(transaction=None))) == []
    assert not is_over(changed(found, duration=1), NOON, around(transaction=None))


def test_a_dynamic_schedule_counts_from_its_update_or_has_always_been_in_force() -> None:
    """K28.FR.13."""
    found = item(period(0, 9), kind="Dynamic", start=None, dyn_update_time=format_time(NOON), duration=60)
    assert watts(found, -MS, 0, 1 / 60 - MS, 1 / 60) == [None, 9, 9, None]
    assert begun_ms(found, NOON + 30_000, AROUND) == NOON
    assert watts(item(period(0, 9), kind="Dynamic", start=None), -999, 0, 999) == [9, 9, 9]


def test_the_validity_of_a_profile_has_its_begin_and_not_its_end() -> None:
    """K01.FR.10, .36, .37."""
    found = item(valid_from=format_time(NOON + HOUR), valid_to=format_time(NOON + 2 * HOUR))
    assert watts(found, 1 - MS, 1, 2 - MS, 2) == [None, 5, 5, None]
    assert [is_over(found, NOON + ms, AROUND) for ms in (0, 2 * HOUR - 1, 2 * HOUR)] == [False, False, True]
    assert set(edges(found, NOON, AROUND)) == {NOON, NOON + HOUR, NOON + 2 * HOUR}
    assert sorted(edges(item(valid_to=format_time(NOON + 2 * HOUR)), NOON, AROUND)) == [
        NOON, NOON + HOUR, NOON + 2 * HOUR,
    ]  # fmt: skip


def test_a_profile_that_may_be_offline_for_a_minute_holds_for_one() -> None:
    """K01.FR.101, .103."""
    found = item(max_offline_duration=60)
    away = {"offline_since_ms": NOON}
    assert watts(found, 1 / 60 - MS, 1 / 60, **away) == [9, None]
    assert watts(found, 1) == [5]
    assert watts(item(), 99, **away) == [5]
    assert offline_end(found, around(**away)) == NOON + 60_000
    assert offline_end(found, AROUND) is offline_end(item(), around(**away)) is None
    assert [is_over(found, NOON + ms, around(**away)) for ms in (59_999, 60_000)] == [False, True]
    assert set(edges(found, NOON, around(**away))) == {NOON, NOON + 60_000, NOON + HOUR}


@pytest.mark.parametrize(
    ("found", "over_at"),
    [
        (item(), None),
        (item(duration=5400), 5_400_000),
        (item(duration=5400, kind="Relative", start=None), 5_400_000),
        (item(duration=5400, kind="Recurring", recurrency_kind="Daily"), None),
        (msgspec.structs.replace(item(), ended=True), 0),
    ],
)
def test_a_schedule_is_over_when_its_time_is(found: InstalledProfile, over_at: int | None) -> None:
    for ms in (0, 5_399_999, 5_400_000, 99 * DAY):
        assert is_over(found, NOON + ms, AROUND) is (over_at is not None and ms >= over_at)


def test_a_schedule_changes_where_its_periods_begin_and_where_it_ends() -> None:
    assert sorted(edges(item(), NOON + 9, AROUND)) == [NOON, NOON + HOUR]
    assert sorted(edges(item(duration=5400), NOON + 9, AROUND)) == [NOON, NOON + HOUR, NOON + 5_400_000]


def test_local_time_is_that_of_the_wall_clock() -> None:
    """K01.FR.90: noon in Oslo is 10:00 UTC in summer; only with startSchedule, and where it is asked for."""
    found = local(item())
    assert watts(found, -2 - MS, -2, -1 - MS, -1, local=OSLO) == [None, 9, 9, 5]
    assert watts(item(), -MS, 0, 1, local=OSLO) == [None, 9, 5]
    relative = changed(item(kind="Relative", start=None), use_local_time=True)
    assert watts(relative, -MS, 0, 1, local=OSLO) == [None, 9, 5]
    assert set(edges(relative, NOON, around(local=OSLO))) == {NOON, NOON + HOUR}
    assert begun_ms(found, NOON, around(local=OSLO)) == NOON - 2 * HOUR


def test_where_the_clock_may_be_changed_it_is_looked_at_again() -> None:
    """On 25 October 2026 at 01:00 UTC, in Oslo."""
    change = NOON + 146 * DAY - 11 * HOUR
    begin = local(item(), "2026-10-25T00:00:00")
    assert set(edges(begin, change - HOUR, around(local=OSLO))) == {change - 3 * HOUR, change - 2 * HOUR, change}
    assert change not in set(edges(item(), change - HOUR, around(local=OSLO)))
    offset = LocalTime(offset="+02:00", next_offset="+01:00", next_from_ms=change)
    assert set(edges(begin, change - HOUR, around(local=offset))) == {change - 3 * HOUR, change - 2 * HOUR, change}
    assert set(edges(begin, change, around(local=offset))) == {change - 2 * HOUR, change - HOUR}, "none is known"


@pytest.mark.parametrize("most", [1, 2, 9])
def test_a_delay_is_any_number_of_seconds_up_to_the_most(most: int) -> None:
    """K01.FR.92, .93: the same for a transaction, whenever it is asked for; another for each period and profile."""
    drawn = {delay_s(f"tx-{number}", 1, 1, most) for number in range(300)}
    assert drawn == set(range(most + 1))
    long = [delay_s("tx-1", profile_id, number, 10**6) for profile_id in (1, 2) for number in (1, 2)]
    assert len(set(long)) == 4
    assert long[0] == delay_s("tx-1", 1, 1, 10**6)


def test_a_delay_of_seconds_moves_each_period_but_the_first() -> None:
    found = changed(item(), randomized_delay=600)
    drawn = delay_s("tx-1", 1, 1, 600)
    assert drawn > 0
    begins = 1 + drawn / 3600
    assert watts(found, -MS, 0, begins - MS, begins) == [None, 9, 9, 5]
    assert watts(found, 1 - MS, 1, transaction=None) == [9, 5], "K08.FR.06"
    assert set(edges(found, NOON, AROUND)) == {NOON, NOON + HOUR + drawn * 1000}
    late = changed(item(period(1800, 9), start=NOON - HOUR), randomized_delay=600)
    assert watts(late, -0.5) == [None], "the first one, too, unless it begins at once"


# -- what of a station they depend on


def where(found: Bench, evse_id: int = 1, **more: Any) -> ProfileSituation:
    return found.station.smart_charging.where.at(evse_id, **more)


def test_an_evse_has_its_voltage_and_conductors() -> None:
    single = msgspec.structs.replace(SOCKET, phases=1, line_v=120.0)
    found = Bench(evses=(FIXED, SOCKET, single))
    assert [(each.evse_id, each.lines, each.phases, each.volts) for each in (where(found, n) for n in (1, 2, 3))] == [
        (1, 0, 3, 230.0), (2, 3, 3, 230.0), (3, 1, 1, 120.0),
    ]  # fmt: skip
    whole = where(found, 0)
    assert (whole.evse_id, whole.lines, whole.phases, whole.transaction) == (0, 3, 3, None)
    assert where(Bench(evses=(single, SOCKET)), 0).volts == 120.0
    assert where(Bench(evses=(single, single)), 0).lines == 1
    assert where(Bench(evses=(FIXED,)), 0).phases == 3
    assert found.station.smart_charging.where.units == ("W", "A")
    assert found.get("SmartChargingCtrlr", "RateUnit")["attributeValue"] == "W,A"
    only = Bench(evses=(FIXED,))
    assert only.station.smart_charging.where.units == ("W",)
    assert only.get("SmartChargingCtrlr", "RateUnit")["attributeValue"] == "W"


@pytest.mark.parametrize(("uses", "phases"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_a_vehicle_may_use_fewer_conductors_than_there_are(uses: int, phases: int) -> None:
    found = charging()
    found.fact(Power(evse_id=1, state="Charging", phases=uses))
    assert (where(found).phases, where(found).lines) == (phases, 3)
    assert where(found, 0).phases == 3


def test_the_station_is_shared_by_those_that_charge() -> None:
    found = Bench(variables={"TxCtrlr.TxStartPoint": "PowerPathClosed"})
    assert where(found).sharers == where(found, 0).sharers == 1
    for number in (1, 2):
        found.plug(number)
        found.present(f"TAG-{number}", number)
        found.flow(evse_id=number)
        assert where(found).sharers == number
    assert where(found, sharers=5).sharers == 5
    assert [each.evse_id for each in found.station.smart_charging.where.open()] == [1, 2]


def test_a_situation_has_the_transaction_of_its_evse() -> None:
    found = charging()
    found.wait(60)
    running = where(found).transaction
    assert running is not None
    assert (running.transaction_id, running.evse_id, running.priority) == (transaction(found), 1, False)
    assert running.started_ms == found.utc_ms - 60_000
    assert where(found, 2).transaction is where(found, 0).transaction is None


def test_until_a_driver_and_a_vehicle_are_there_a_relative_profile_begins_now() -> None:
    """K01.FR.42."""
    found = Bench(variables={"TxCtrlr.TxStartPoint": "EVConnected"})
    found.plug()
    found.wait(60)
    running = where(found).transaction
    assert running is not None
    assert running.started_ms == found.utc_ms
    found.present()
    begun = found.utc_ms
    found.wait(60)
    running = where(found).transaction
    assert running is not None
    assert running.started_ms == begun


def test_a_situation_has_since_when_the_csms_is_away() -> None:
    found = charging()
    assert where(found).offline_since_ms is None
    found.wait(5)
    since = found.utc_ms
    found.drop()
    found.wait(5)
    assert where(found).offline_since_ms == since


@pytest.mark.parametrize(
    ("name", "instance", "value", "refused"),
    [
        ("TimeZone", None, "Europe/Oslo", "Mars/Base"),
        ("TimeOffset", None, "+02:00", "later"),
        ("TimeOffset", "NextTransition", "+01:00", "later"),
        ("NextTimeOffsetTransitionDateTime", None, "2026-10-25T01:00:00Z", "later"),
    ],
)
def test_a_change_of_the_local_clock_is_followed_at_once(
    name: str, instance: str | None, value: str, refused: str
) -> None:
    found = Bench()
    before = where(found).local

    def setting(text: str) -> tuple[str, str]:
        variable = {"name": name} | ({} if instance is None else {"instance": instance})
        one = {"component": {"name": "ClockCtrlr"}, "variable": variable, "attributeValue": text}
        (result,) = found.ask("SetVariables", setVariableData=[one])["setVariableResult"]
        return result["attributeStatus"], result.get("attributeStatusInfo", {}).get("reasonCode", "")

    assert setting(refused) == ("Rejected", "InvalidValue")
    assert where(found).local == before
    assert setting(value) == ("Accepted", "")
    assert where(found).local != before
    if "DateTime" not in name:
        assert setting("") == ("Accepted", "")
        assert where(found).local == before


def test_limits_follow_the_clock_that_the_csms_sets() -> None:
    """From midnight by the clock on the wall."""
    found = charging(version="2.1")
    utc = at(found.utc_ms)
    assert utc.startswith("2026-05-28T20:30")
    schedule = {"startSchedule": "2026-05-29T00:00:00Z", "useLocalTime": True}
    assert put(found, limit=3000.0, schedule=schedule) == "Accepted"
    assert limit(found) is None
    for name, value, expected in (
        ("TimeOffset", "+03:30", 3000), ("TimeOffset", "+03:29", None), ("TimeZone", "Asia/Tokyo", 3000),
        ("TimeZone", "Europe/Oslo", None), ("TimeZone", "Asia/Tokyo", 3000), ("TimeZone", "", None),
        ("NextTimeOffsetTransitionDateTime", at(found.utc_ms - 60_000), None),
        ("TimeOffset[NextTransition]", "+04:00", 3000),
        ("NextTimeOffsetTransitionDateTime", at(found.utc_ms + 60_000), None),
    ):  # fmt: skip
        assert setting(found, name, value) == "Accepted"
        assert limit(found) == expected, (name, value)
    found.wait(61)
    assert limit(found) == 3000


def setting(found: Bench, name: str, value: str, component: str = "ClockCtrlr") -> str:
    """Set a variable, which may have an instance in brackets."""
    name, _, instance = name.rstrip("]").partition("[")
    variable = {"name": name} | ({"instance": instance} if instance else {})
    one = {"component": {"name": component}, "variable": variable, "attributeValue": value}
    (result,) = found.ask("SetVariables", setVariableData=[one])["setVariableResult"]
    status: str = result["attributeStatus"]
    return status


def test_the_set_point_that_takes_precedence_is_followed_at_once() -> None:
    """Q06.FR.20 to .22."""
    found = charging(version="2.1", evses=(FIXED,))
    wish = {"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": 3000.0}
    assert put(found, periods=[wish]) == "Accepted"
    found.fact(ExternalLimit(source="EMS", setpoint_w=5000.0))

    def wanted() -> float | None:
        (*_, last) = [each for each in found.commands if isinstance(each, ProfileLimits)]
        return part(last).setpoint_w

    assert (wanted(), where(found).csms_first) == (5000, False)
    for value, watts_, first in (("CSMS", 3000, True), ("ExternalSystem", 5000, False)):
        assert setting(found, "SetpointPriority", value, "SmartChargingCtrlr") == "Accepted"
        assert (wanted(), where(found).csms_first) == (watts_, first)


def use(found: Bench, *, activate: bool) -> str:
    status: str = found.ask("UsePriorityCharging", transactionId=transaction(found), activate=activate)["status"]
    return status


def test_priority_is_kept_through_a_loss_of_power() -> None:
    """K21, K22."""
    found = charging(version="2.1", variables={"TxCtrlr.ResumptionTimeout": "600"})
    put(found, 0, number=9, purpose="PriorityCharging", limit=20_000.0)
    told = [True, False, True]
    for activate, count in ((True, 1), (True, 1), (False, 2), (False, 2), (True, 3)):
        assert use(found, activate=activate) == "Accepted"
        assert [each["activated"] for each in found.all("NotifyPriorityCharging")] == told[:count]
        assert limit(found) == (20_000 if activate else None)
        running = where(found).transaction
        assert running is not None
        assert running.priority is activate
        assert list(found.saved.get("priority", {})) == ([transaction(found)] if activate else [])
    found.power_loss()
    running = where(found).transaction
    assert running is not None
    assert running.priority
