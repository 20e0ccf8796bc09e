"""Functional block R, distributed energy resources, of our station, beyond the cases of the test lab."""

from typing import Any

import pytest

from tests.station.bench import Bench, at
from v2g_station.blocks.der.der import ApplyControls

CONTROLS = ("FreqDroop", "FixedVar", "VoltVar", "EnterService", "Gradients", "FixedPFInject", "LimitMaxDischarge")


def bench(**more: Any) -> Bench:
    """A station that follows some controls."""
    return Bench("2.1", der_controls=CONTROLS, **more)


def put(found: Bench, name: str, priority: int = 5, *, start: int | None = None, s: int = 600) -> dict[str, Any]:
    """Set a fixed reactive power: the default, or one that starts so many seconds from now."""
    body: dict[str, Any] = {"priority": priority, "setpoint": 10.0, "unit": "PctMaxVar"}
    if start is not None:
        body |= {"startTime": at(found.utc_ms + start * 1000), "duration": float(s)}
    return found.ask("SetDERControl", isDefault=start is None, controlId=name, controlType="FixedVar", fixedVar=body)


def force(found: Bench) -> list[str]:
    """Which controls are in force."""
    orders = [each for each in found.commands if isinstance(each, ApplyControls)]
    return [control.control_id for control in orders[-1].controls] if orders else []


def held(found: Bench, **wanted: Any) -> Any:
    """Which controls are reported, with whether they are out of force; or why none is."""
    found.clear()
    answer = found.ask("GetDERControl", {"requestId": 4} | wanted)
    if answer["status"] != "Accepted":
        return answer["status"]
    return {each["id"]: each["isSuperseded"] for each in found.expect("ReportDERControl")["fixedVar"]}


def test_a_better_control_that_starts_later_waits_for_its_start() -> None:
    """R04.FR.07, .21."""
    found = bench()
    put(found, "A", 5, start=0)
    found.expect("NotifyDERStartStop", controlId="A", started=True)
    assert put(found, "B", 3, start=60) == {"status": "Accepted"}
    assert force(found) == ["A"]
    assert held(found) == {"A": False, "B": False}
    found.wait(61)
    reported = found.expect("NotifyDERStartStop", controlId="B", started=True)
    assert reported["supersededIds"] == ["A"]
    assert force(found) == ["B"]
    assert held(found) == {"A": True, "B": False}


@pytest.mark.parametrize(("name", "start", "s"), [("L", -90, 30), ("A", -90, 30), ("L", 0, 0), ("L", 10, -5)])
def test_a_control_whose_time_is_over_leaves_the_one_in_force(name: str, start: int, s: int) -> None:
    found = bench()
    put(found, "A", 5, start=-10)
    assert put(found, name, 3, start=start, s=s)["status"] == "Rejected"
    assert (force(found), held(found)) == (["A"], {"A": False})


def test_a_scheduled_control_stands_in_for_the_default_while_it_runs() -> None:
    found = bench()
    put(found, "D", 9)
    put(found, "S", 9, start=60, s=120)
    assert force(found) == ["D"]
    found.wait(61)
    assert force(found) == ["S"]
    found.expect("NotifyDERStartStop", controlId="S", started=True)
    found.wait(120)
    assert force(found) == ["D"]
    found.expect("NotifyDERStartStop", controlId="S", started=False)
    assert held(found) == {"D": False}


def test_every_kind_of_control_is_reported() -> None:
    found = bench()
    curve = {"priority": 1, "yUnit": "PctMaxVar", "curveData": [{"x": 90.0, "y": 10.0}, {"x": 110.0, "y": -10.0}]}
    service = {"priority": 1, "highVoltage": 110.0, "lowVoltage": 90.0, "highFreq": 50.2, "lowFreq": 49.8}
    droop = {"priority": 1, "overFreq": 0.2, "underFreq": 0.2, "overDroop": 2.5, "underDroop": 2.5, "responseTime": 0.5}
    for kind, member, body in (
        ("VoltVar", "curve", curve),
        ("EnterService", "enterService", service),
        ("FreqDroop", "freqDroop", droop),
        ("Gradients", "gradient", {"priority": 1, "gradient": 5.0, "softGradient": 1.0}),
        ("FixedPFInject", "fixedPFInject", {"priority": 1, "displacement": 0.95, "excitation": True}),
        ("LimitMaxDischarge", "limitMaxDischarge", {"priority": 1, "pctMaxDischargePower": 50.0}),
    ):
        answer = found.ask("SetDERControl", {"isDefault": True, "controlId": kind, "controlType": kind, member: body})
        assert answer["status"] == "Accepted", kind
    found.ask("GetDERControl", requestId=1)
    report = found.expect("ReportDERControl")
    assert set(report) >= {"curve", "enterService", "freqDroop", "gradient", "fixedPFInject", "limitMaxDischarge"}


def test_a_control_that_is_sent_again_with_other_content_replaces_itself() -> None:
    found = bench()
    for percent in (80.0, 20.0):
        body = {"priority": 1, "pctMaxDischargePower": percent}
        answer = found.ask(
            "SetDERControl", isDefault=True, controlId="A", controlType="LimitMaxDischarge", limitMaxDischarge=body
        )
        assert answer["status"] == "Accepted"
        orders = [each for each in found.commands if isinstance(each, ApplyControls)]
        limited = orders[-1].controls[0].limit_max_discharge
        assert limited is not None
        assert limited.pct_max_discharge_power == percent


def test_a_superseded_control_outranks_none() -> None:
    """R04.FR.08, .09: what is not executed blocks no other, whatever its priority."""
    found = bench()
    put(found, "A", 2, start=10, s=100)
    assert put(found, "B", 1, start=60, s=100)["supersededIds"] == ["A"]
    assert put(found, "C", 3, start=5, s=40) == {"status": "Accepted"}
    assert held(found) == {"A": True, "B": False, "C": False}
    found.wait(11)
    assert force(found) == ["C"]


def test_a_control_that_is_outranked_supersedes_none() -> None:
    found = bench()
    put(found, "A", 1, start=10, s=50)
    put(found, "B", 3, start=100, s=50)
    assert put(found, "C", 2, start=20, s=100)["supersededIds"] == ["C"]
    assert held(found) == {"A": False, "B": False, "C": True}
    found.wait(101)
    assert force(found) == ["B"]
