"""Set-points, profiles that carry them, and what a station reports of controls of distributed energy resources."""

from typing import Any

import msgspec
import pytest

from csms.dispatch.rules import Order, Orders, dispatch_profile, reported, setpoint_update
from tests.together import together
from v2g import typed_json
from v2g.ocpp.messages.der_control import MEMBERS, ReportDERControlRequest
from v2g.ocpp.messages.smart_charging import ChargingScheduleUpdate


@pytest.mark.parametrize("pull_interval_s", [None, 30])
def test_a_set_point_is_a_dynamic_profile_of_one_transaction_that_expires(pull_interval_s: int | None) -> None:
    one, two = (
        dispatch_profile(evse_id, -9_000, "CentralSetpoint", 1_500, "t", duration_s=60, pull_interval_s=pull_interval_s)
        for evse_id in (1, 2)
    )
    assert two.id == one.id + 1, "each EVSE has its own"
    assert (one.charging_profile_purpose, one.charging_profile_kind, one.transaction_id) == (
        "TxProfile",
        "Dynamic",
        "t",
    )
    assert (one.dyn_update_time, one.dyn_update_interval) == ("1970-01-01T00:00:01.500Z", pull_interval_s)
    (schedule,) = one.charging_schedule
    assert (schedule.id, schedule.duration, schedule.charging_rate_unit) == (one.id, 60, "W")
    (period,) = schedule.charging_schedule_period
    assert (period.start_period, period.setpoint, period.operation_mode) == (0, -9_000.0, "CentralSetpoint")
    assert setpoint_update(-9_000) == ChargingScheduleUpdate(setpoint=-9_000.0)


POINTS = {"curveData": ({"x": 1, "y": 2},), "priority": 1, "yUnit": "PctMaxW"}
VALUES: dict[str, dict[str, Any]] = {
    "enterService": {"priority": 1, "highVoltage": 2, "lowVoltage": 3, "highFreq": 4, "lowFreq": 5},
    "fixedPFAbsorb": {"priority": 1, "displacement": 0.9, "excitation": True},
    "fixedPFInject": {"priority": 1, "displacement": 0.8, "excitation": False},
    "fixedVar": {"priority": 1, "setpoint": 2, "unit": "PctMaxVar"},
    "freqDroop": {"priority": 1, "overFreq": 2, "underFreq": 3, "overDroop": 4, "underDroop": 5, "responseTime": 6},
    "gradient": {"priority": 1, "gradient": 2, "softGradient": 3},
    "limitMaxDischarge": {"priority": 1, "pctMaxDischargePower": 50},
}
ALWAYS_DEFAULT = {"enterService", "gradient"}


@together(("default", "superseded"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_report_has_each_control_as_it_was_set(default: bool, superseded: bool) -> None:
    said = {"isDefault": default, "isSuperseded": superseded}
    report: dict[str, Any] = {"requestId": 1}
    report["curve"] = [{"id": "curve", "curveType": "VoltWatt", "curve": POINTS, **said}]
    for name, value in VALUES.items():
        wire = name.removesuffix("Absorb").removesuffix("Inject")
        report[name] = [{"id": name, wire: value, **({} if name in ALWAYS_DEFAULT else said)}]
    found = {
        each.control_id: (each, old) for each, old in reported(typed_json.convert(report, ReportDERControlRequest))
    }
    assert set(found) == {"curve", *VALUES}
    assert {control.control_type for control, _ in found.values()} == {"VoltWatt", *MEMBERS}
    for name, (control, old) in found.items():
        assert control.fits
        fixed = name in ALWAYS_DEFAULT
        assert (control.is_default, old) == ((True, False) if fixed else (default, superseded))
        value = POINTS if name == "curve" else VALUES[name]
        assert msgspec.to_builtins(control)[name].items() >= value.items()


@together(
    ("one", "other", "meet"),
    [
        ({}, {}, True),
        ({"stations": {"A"}}, {}, True),
        ({"stations": {"A"}}, {"stations": {"A", "B"}}, True),
        ({"stations": {"A"}}, {"stations": {"B"}}, False),
        ({"stations": {"A"}, "evses": {"A/1"}}, {"stations": {"A"}}, True),
        ({"stations": {"A"}, "evses": {"A/1"}}, {"stations": {"B"}}, False),
        ({"stations": {"A"}, "evses": {"A/1"}}, {"stations": {"A"}, "evses": {"A/2"}}, False),
        ({"stations": {"A"}, "evses": {"A/1", "A/2"}}, {"evses": {"A/2"}}, True),
    ],
)
def test_set_points_meet_where_both_may_be_for_a_vehicle(one: Any, other: Any, meet: bool) -> None:
    first, second = (
        Order(
            setpoint_w=1, frequency=False, pull_s=None, until_ms=1,
            **{name: None if name not in places else frozenset(places[name]) for name in ("stations", "evses")},
        )
        for places in (one, other)
    )  # fmt: skip
    assert first.meets(second) is second.meets(first) is meet
    assert [first.concerns(each) for each in ("A", "B")] == [True, "stations" not in one]
    assert (first.parts, first.fleet, first.planned_w, str(first.connection_point)) == (None, "", 0, "all")


def test_a_node_that_has_begun_is_unsure_of_nothing() -> None:
    assert (Orders().unsure, Orders().noted_ms) == (set(), 0)
