"""Functional block R, distributed energy resources: cases for charging stations, all of OCPP 2.1."""

from collections.abc import Mapping
from typing import Final

from v2g_testkit.ocpp.case import Block, NotApplicable, Payload, given, precondition
from v2g_testkit.ocpp.connection import field_of
from v2g_testkit.ocpp.driver import Step
from v2g_testkit.ocpp.station_cases.profiles import charging
from v2g_testkit.ocpp.station_cases.steps import reset
from v2g_testkit.ocpp.station_tester import StationTest

DER: Final = ("DCDERCtrlr.Enabled",)
R: Final[Block[StationTest]] = Block(profiles=("Smart Charging",), versions=("2.1",), needs=DER)
_CONTROLS: Final[Mapping[str, tuple[str, Payload]]] = {
    "LimitMaxDischarge": ("limitMaxDischarge", {"pctMaxDischargePower": 80.0}),
    "FreqDroop": (
        "freqDroop",
        {"overFreq": 0.2, "underFreq": 0.2, "overDroop": 0.05, "underDroop": 0.05, "responseTime": 1.0},
    ),
    "FixedVar": ("fixedVar", {"setpoint": 10.0, "unit": "PctMaxVar"}),
    "FixedPFInject": ("fixedPFInject", {"displacement": 0.95, "excitation": True}),
}
"""Controls that cases may set: the field that has them, and what is in it."""
_ALL: Final = (
    *_CONTROLS, "FixedPFAbsorb", "FreqWatt", "HFMayTrip", "HFMustTrip", "HVMayTrip", "HVMomCess", "HVMustTrip",
    "LFMustTrip", "LVMayTrip", "LVMomCess", "LVMustTrip", "PowerMonitoringMustTrip", "VoltVar", "VoltWatt", "WattPF",
    "WattVar",
)  # fmt: skip


def _supported(t: StationTest) -> list[str]:
    entries = [each for each in t.reported if each["variable"]["name"] == "ModesSupported"]
    values = (str(each["variableAttribute"][0].get("value", "")) for each in entries)
    return sorted({name.strip() for value in values for name in value.split(",") if name.strip()})


def _kind(t: StationTest) -> str:
    """Return a type of control that the station supports and that cases can set. Raises NotApplicable."""
    found = [each for each in _CONTROLS if each in _supported(t)]
    t.needs(bool(found), f"it supports none of {', '.join(_CONTROLS)}")
    return found[0]


async def _unused(t: StationTest, **criteria: object) -> str:
    """Return such a type of which the station has no controls of its own that match. Raises NotApplicable."""
    _kind(t)
    for each in _CONTROLS:
        if each in _supported(t) and not await _held(t, "R04.FR.34", controlType=each, **criteria):
            return each
    raise NotApplicable("it has controls of its own, of all types that cases can set")


def _other(t: StationTest) -> str:
    """Return a type of control that the station does not support. Raises NotApplicable."""
    found = [each for each in _ALL if each not in _supported(t)]
    t.needs(bool(found), "it supports all types of controls")
    return found[0]


async def _set(
    t: StationTest, name: str, kind: str, priority: int = 5, *, start: float | None = None, seconds: float = 60
) -> Payload:
    """Set a default control, or one that starts in so many seconds; return the answer. It is cleared after the case."""
    field, body = _CONTROLS[kind]
    body = body | {"priority": priority}
    if start is not None:
        body |= {"startTime": t.later(start), "duration": seconds}
    default = start is None
    t.undo(lambda: t.ask("ClearDERControl", isDefault=default, controlId=name))
    more = {"isDefault": default, "controlId": name, "controlType": kind, field: body}
    return await t.ask("SetDERControl", **more)


async def _accepted(
    t: StationTest, name: str, kind: str, requirement: str, priority: int = 5, **when: float
) -> list[str]:
    """Set a control, which the station must accept; return what it says that this supersedes. Raises Failed."""
    answer = await _set(t, name, kind, priority, **when)
    t.check(answer["status"] == "Accepted", requirement, f"answers {answer['status']} to {name}")
    found: list[str] = answer.get("supersededIds", [])
    return found


async def _held(t: StationTest, requirement: str, **criteria: object) -> dict[str, bool]:
    """Return the controls that the station reports, with whether they are superseded. Raises Failed."""
    number = t.next_id()
    answer = await t.ask("GetDERControl", requestId=number, **criteria)
    if answer["status"] == "NotFound":
        return {}
    t.check(answer["status"] == "Accepted", requirement, f"answers {answer['status']}")
    found: dict[str, bool] = {}
    while True:
        part = await t.expect("ReportDERControl", "R04.FR.31", requestId=number)
        lists = (value for value in part.values() if isinstance(value, list))
        found |= {each["id"]: each["isSuperseded"] for entries in lists for each in entries}
        if not part.get("tbc", False):
            return found


async def _both(t: StationTest, kind: str) -> tuple[bool | None, bool | None]:
    """Return whether the two scheduled controls of a case are superseded, None for one that is not there."""
    found = await _held(t, "R04.FR.34", controlType=kind, isDefault=False)
    return found.get("v2g-first"), found.get("v2g-second")


async def _says(t: StationTest, name: str, requirement: str, *, started: bool, within: float | None = None) -> Payload:
    """Expect the station to report the start or end of a control. Raises Failed."""
    return await t.expect("NotifyDERStartStop", requirement, within=within, controlId=name, started=started)


@R.case("TC_R_100_CS", "Controls stay over a reset")
async def persists(t: StationTest) -> None:
    """After a reset the station has the control."""
    with precondition():
        await _accepted(t, "v2g-kept", await _unused(t), "R04.FR.02")
        await reset(t)
    found = await _held(t, "R04.FR.33")
    t.check(found.get("v2g-kept") is False, "R01.FR.03", "does not have the control any more")


@R.case("TC_R_101_CS", "The inverter in the device model")
async def nameplate(t: StationTest) -> None:
    """The station reports the nameplate of its inverter for each EVSE."""
    entries = await t.report(componentVariable=[{"component": {"name": "DCDERCtrlr"}}])
    places = {field_of(each, "component__evse__id") or 0 for each in entries}
    t.check(places - {0} == set(range(1, t.declared.evses + 1)), "R01.FR.01", f"reports it for EVSEs {sorted(places)}")
    for evse in sorted(places - {0}):
        names = {each["variable"]["name"] for each in entries if field_of(each, "component__evse__id") == evse}
        for name in ("Enabled", "MaxW", "MaxVA", "ModesSupported", "InverterManufacturer", "InverterModel"):
            t.check(name in names, "R01.FR.02", f"does not report {name} of EVSE {evse}")


@R.case("TC_R_102_CS", "Clear controls by their type", requirements="R04.FR.41 R04.FR.43 R04.FR.45 R04.FR.30")
async def clears(t: StationTest) -> None:
    """The station clears the control; it does not find one that there is not, nor support other types."""
    kind = await _unused(t)
    await given(_accepted(t, "v2g-cleared", kind, "R04.FR.02"))
    for default, expected, requirement in (
        (False, "NotFound", "R04.FR.41"),
        (True, "Accepted", "R04.FR.45"),
        (True, "NotFound", "R04.FR.41"),
    ):
        answer = await t.ask("ClearDERControl", isDefault=default, controlType=kind)
        t.check(answer["status"] == expected, requirement, f"answers {answer['status']} instead of {expected}")
    found = await _held(t, "R04.FR.30", controlType=kind)
    t.check("v2g-cleared" not in found, "R04.FR.45", "reports the control that was cleared")
    answer = await t.ask("ClearDERControl", isDefault=True, controlType=_other(t))
    t.check(answer["status"] == "NotSupported", "R04.FR.43", f"answers {answer['status']} for another type")


@R.case("TC_R_103_CS", "Controls that are not valid")
async def validates(t: StationTest) -> None:
    """The station rejects controls without their field, and defaults with a time; it does not support others."""
    kind, other = _kind(t), _other(t)
    field, body = _CONTROLS[kind]
    timed = body | {"priority": 5, "startTime": t.later(60), "duration": 60.0}
    curve = {"priority": 5, "yUnit": "PctMaxW", "curveData": [{"x": 1.0, "y": 1.0}]}
    usual: Payload = {"isDefault": True, "controlId": "v2g-wrong", "controlType": kind}
    for wrong, expected, requirement in (
        (usual | {"controlType": other, "curve": curve}, "NotSupported", "R04.FR.01"),
        (usual | {"curve": curve}, "Rejected", "R04.FR.17"),
        (usual | {field: timed}, "Rejected", "R04.FR.13"),
    ):
        answer = await t.ask("SetDERControl", **wrong)
        t.check(answer["status"] == expected, requirement, f"answers {answer['status']} instead of {expected}")
    for criteria, expected, requirement in (
        ({"controlId": "v2g-wrong"}, "NotFound", "R04.FR.30"),
        ({"controlType": other}, "NotSupported", "R04.FR.36"),
    ):
        answer = await t.ask("GetDERControl", requestId=t.next_id(), **criteria)
        t.check(answer["status"] == expected, requirement, f"answers {answer['status']} instead of {expected}")


@R.case("TC_R_104_CS", "A control of higher priority supersedes one that has not started")
async def supersedes_future(t: StationTest) -> None:
    """The station says that the first is superseded, and starts the second only."""
    kind = await _unused(t, isDefault=False)
    await _accepted(t, "v2g-first", kind, "R04.FR.05", 5, start=10)
    beaten = await _accepted(t, "v2g-second", kind, "R04.FR.06", 3, start=20)
    t.check("v2g-first" in beaten, "R04.FR.06", f"says that it supersedes {', '.join(beaten) or 'nothing'}")
    t.equal(await _both(t, kind), (True, False), "R04.FR.06", "reports (superseded) {}")
    await t.nothing("NotifyDERStartStop", "R04.FR.09", within=15, controlId="v2g-first")
    await _says(t, "v2g-second", "R04.FR.20", started=True, within=t.after(20))


@R.case(
    "TC_R_105_CS",
    "A control of higher priority supersedes one that is active",
    requirements="R04.FR.07 R04.FR.10 R04.FR.20 R04.FR.21 R04.FR.22",
)
async def supersedes_active(t: StationTest) -> None:
    """The first stays active until the second starts, which supersedes it; then that ends in its time."""
    kind = await _unused(t, isDefault=False)
    await _accepted(t, "v2g-first", kind, "R04.FR.05", 5, start=0)
    await _says(t, "v2g-first", "R04.FR.20", started=True)
    await _accepted(t, "v2g-second", kind, "R04.FR.07", 3, start=10, seconds=20)
    t.equal(await _both(t, kind), (False, False), "R04.FR.07", "reports (superseded) {} before the start")
    update = await _says(t, "v2g-second", "R04.FR.20", started=True, within=t.after(10))
    beaten = update.get("supersededIds", [])
    t.check("v2g-first" in beaten, "R04.FR.21", f"says that it supersedes {', '.join(beaten) or 'nothing'}")
    t.equal(await _both(t, kind), (True, False), "R04.FR.07", "reports (superseded) {} after the start")
    await _says(t, "v2g-second", "R04.FR.22", started=False, within=t.after(20))
    _, second = await _both(t, kind)
    t.check(second is None, "R04.FR.10", "keeps the control after its end")


@R.case(
    "TC_R_106_CS", "An active control stays against one of lower priority", requirements="R04.FR.08 R04.FR.09 R04.FR.20"
)
async def stays(t: StationTest) -> None:
    """The station accepts the second, as superseded, and continues with the first."""
    kind = await _unused(t, isDefault=False)
    await _accepted(t, "v2g-first", kind, "R04.FR.05", 3, start=0)
    await _says(t, "v2g-first", "R04.FR.20", started=True)
    beaten = await _accepted(t, "v2g-second", kind, "R04.FR.08", 5, start=5)
    t.check("v2g-second" in beaten, "R04.FR.08", f"says that {', '.join(beaten) or 'nothing'} is superseded")
    t.equal(await _both(t, kind), (False, True), "R04.FR.08", "reports (superseded) {}")
    await t.nothing("NotifyDERStartStop", "R04.FR.09", within=10, controlId="v2g-second")


@R.case("TC_R_108_CS", "An event of the grid", requirements="R05.FR.01 R05.FR.02")
async def event(t: StationTest) -> None:
    """The station reports that a control acts because of the grid, once, and once that it no longer does."""
    t.needs("FreqDroop" in _supported(t), "it does not support FreqDroop")
    await charging(t)
    await given(_accepted(t, "v2g-droop", "FreqDroop", "R04.FR.02"))
    t.undo(lambda: t.do(Step("frequency", value="50")))
    await t.do(Step("frequency", value="49"))
    told = await t.expect("NotifyDERAlarm", "R05.FR.01", controlType="FreqDroop")
    t.check(not told.get("alarmEnded", False), "R05.FR.01", "reports the end of an event")
    t.equal(told.get("gridEventFault"), "UnderFrequency", "R05.FR.01", "reports the fault {}")
    await t.nothing("NotifyDERAlarm", "R05.FR.01", within=5)
    await t.do(Step("frequency", value="50"))
    await t.expect("NotifyDERAlarm", "R05.FR.02", controlType="FreqDroop", alarmEnded=True)
    await t.nothing("NotifyDERAlarm", "R05.FR.02", within=5)
