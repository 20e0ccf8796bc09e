"""Functional block N, diagnostics: cases of monitors, logs and customers for charging stations."""

import base64
import itertools
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from v2g.ocpp.times import parse_time
from v2g_testkit.ocpp.case import Block, Failed, NotApplicable, Payload, given, precondition
from v2g_testkit.ocpp.connection import Received, field_of
from v2g_testkit.ocpp.declaration import Token
from v2g_testkit.ocpp.driver import Step
from v2g_testkit.ocpp.file_server import FileServer
from v2g_testkit.ocpp.station_cases.roots import CSMS, install
from v2g_testkit.ocpp.station_cases.steps import cached, connector_is, forget_tokens, listed, prefer, reset
from v2g_testkit.ocpp.station_cases.transfers import LOGS, get_log, is_retried, log_state
from v2g_testkit.ocpp.station_tester import SHORTEST_PASSWORD, StationTest, variable_of

N: Final[Block[StationTest]] = Block(profiles=("Advanced Device Management",), needs=("MonitoringCtrlr.Enabled",))
N_CORE: Final = N.having(profiles=("Core",), needs=())

STATE: Final = variable_of("EVSE", "AvailabilityState", evse=1)
WHOLE: Final = variable_of("ChargingStation", "AvailabilityState")


def _monitor(variable: Payload, kind: str = "Delta", value: float = 1, severity: int = 8) -> Payload:
    return {"type": kind, "value": value, "severity": severity} | variable


async def _set(t: StationTest, *monitors: Payload) -> list[Payload]:
    """Set monitors; return the results, in the order of the request. They are cleared after the case."""
    results: list[Payload] = (await t.ask("SetVariableMonitoring", setMonitoringData=list(monitors)))[
        "setMonitoringResult"
    ]
    ids = [each["id"] for each in results if "id" in each]
    if ids:
        t.undo(lambda: t.ask("ClearVariableMonitoring", id=ids))
    t.check(len(results) == len(monitors), "N04.FR.01", f"{len(results)} results for {len(monitors)} monitors")
    for one, result in zip(monitors, results, strict=True):
        same = all(result[name] == one[name] for name in ("type", "severity", "variable"))
        t.check(same and result["component"]["name"] == one["component"]["name"], "N04.FR.02", "answers about another")
    return results


async def _sets(t: StationTest, *monitors: Payload) -> list[int]:
    """Set monitors that must be accepted; return their ids. Raises Failed."""
    results = await _set(t, *monitors)
    for each in results:
        name = f"{each['component']['name']}.{each['variable']['name']}"
        t.check(each["status"] == "Accepted", "N04.FR.08", f"{name}: {each['status']}")
        t.check("id" in each, "N04.FR.11", f"{name}: no id")
    return [each["id"] for each in results]


async def monitors_of(t: StationTest, *variables: Payload, criteria: Iterable[str] = ()) -> list[Payload]:
    """Return the monitors that match, with component and variable; none for EmptyResultSet."""
    number = t.next_id()
    wanted: Payload = {"componentVariable": list(variables)} if variables else {}
    if criteria:
        wanted["monitoringCriteria"] = list(criteria)
    answer = await t.ask("GetMonitoringReport", requestId=number, **wanted)
    if answer["status"] == "EmptyResultSet":
        return []
    t.check(answer["status"] == "Accepted", "N02.FR.01", f"answers {answer['status']}")
    entries = await t.parts("NotifyMonitoringReport", "monitor", number)
    return [
        each | {"component": entry["component"], "variable": entry["variable"]}
        for entry in entries
        for each in entry["variableMonitoring"]
    ]


def _ids(monitors: list[Payload]) -> set[int]:
    return {each["id"] for each in monitors}


async def _event(t: StationTest, monitor: int, within: float | None = None) -> Payload | None:
    """Return the next event of a monitor, if there is one."""

    def has(each: Received) -> bool:
        return each.action == "NotifyEvent" and any(
            one.get("variableMonitoringId") == monitor for one in each.payload.get("eventData", [])
        )

    found = await t.find(has, within)
    return None if found is None else next(e for e in found["eventData"] if e.get("variableMonitoringId") == monitor)


# -- reports


@N.case("TC_N_02_CS", "Monitors of variables", also="N02.FR.01")
async def report_of_variables(t: StationTest) -> None:
    """The station reports the monitors of the variables asked for."""
    ids = await given(_sets(t, _monitor(STATE), _monitor(WHOLE)))
    found = await monitors_of(t, STATE, WHOLE)
    t.check(set(ids) <= _ids(found), "N02.FR.05", f"reports {len(found)} monitors, but not those that were set")
    names = {each["variable"]["name"] for each in found}
    t.check(names == {"AvailabilityState"}, "N02.FR.08", f"reports monitors of {', '.join(sorted(names))}")


@N.case("TC_N_03_CS", "Monitors of variables, by criteria", also="N02.FR.01 N02.FR.05")
async def report_by_criteria(t: StationTest) -> None:
    """The station reports the monitors that match both, the variable and the criterion."""
    ids = await given(_sets(t, _monitor(STATE), _monitor(WHOLE)))
    found = await monitors_of(t, STATE, WHOLE, criteria=["ThresholdMonitoring"])
    t.check(not found, "N02.FR.10", f"reports {len(found)} thresholds of states")
    found = await monitors_of(t, STATE, WHOLE, criteria=["DeltaMonitoring"])
    t.check(set(ids) <= _ids(found), "N02.FR.13", "does not report the monitors that were set")
    kinds = {each["type"] for each in found}
    t.check(kinds == {"Delta"}, "N02.FR.13", f"reports monitors of the types {', '.join(sorted(kinds))}")


# -- base and level


@N.case("TC_N_05_CS", "Set the monitoring base", also="N03.FR.03 N03.FR.04 N03.FR.05")
async def base(t: StationTest) -> None:
    """The station accepts each of the three bases."""
    t.undo(lambda: t.ask("SetMonitoringBase", monitoringBase="All"))
    for each in ("All", "FactoryDefault", "HardWiredOnly"):
        answer = await t.ask("SetMonitoringBase", monitoringBase=each)
        t.check(answer["status"] == "Accepted", "N03.FR.01", f"answers {answer['status']} to {each}")


def _case_of_base(number: int, base: str, requirement: str) -> None:
    """Add a case in which a base removes a monitor of before."""

    @N.case(f"TC_N_{number:02}_CS", f"The base {base} removes other monitors")
    async def script(t: StationTest) -> None:
        """The station does not report a monitor that was set before."""
        t.undo(lambda: t.ask("SetMonitoringBase", monitoringBase="All"))
        (identifier,) = await given(_sets(t, _monitor(WHOLE)))
        await t.must_answer("Accepted", "N03.FR.01", "SetMonitoringBase", monitoringBase=base)
        t.check(identifier not in _ids(await monitors_of(t, WHOLE)), requirement, "still reports the monitor")


_case_of_base(6, "HardWiredOnly", "N03.FR.05")
_case_of_base(41, "FactoryDefault", "N03.FR.04")


@N.case("TC_N_16_CS", "Monitoring level")
async def level(t: StationTest) -> None:
    """The station reports events of monitors that are as severe as the level, and none of those that are less."""
    less, same = await given(_sets(t, _monitor(STATE), _monitor(STATE, severity=7)))
    t.undo(lambda: t.ask("SetMonitoringLevel", severity=9))
    await t.must_answer("Accepted", "N05.FR.01", "SetMonitoringLevel", severity=7)
    t.forget()
    await t.plug()
    t.check(await _event(t, less, 5) is None, "N05.FR.03", "reports an event of severity 8 at level 7")
    t.check(await _event(t, same) is not None, "N05.FR.03", "reports no event of severity 7 at level 7")


@N.case("TC_N_17_CS", "Monitoring level out of range")
async def level_out_of_range(t: StationTest) -> None:
    """The station rejects levels beyond 0 to 9."""
    for severity in (10, -1) if t.version == "2.0.1" else (10,):  # 2.1: below 0 is against the schema
        answer = await t.ask("SetMonitoringLevel", severity=severity)
        t.check(answer["status"] == "Rejected", "N05.FR.02", f"answers {answer['status']} to {severity}")


# -- set


def _case_of_set(number: int, title: str, *monitors: Payload) -> None:
    @N.case(f"TC_N_{number:02}_CS", title, also="N04.FR.01 N04.FR.02")
    async def script(t: StationTest) -> None:
        """The station accepts the monitors, gives each an id, and reports them."""
        ids = await _sets(t, *monitors)
        t.check(len(set(ids)) == len(monitors), "N04.FR.11", f"the ids are {ids}")
        found = {each["id"]: each for each in await monitors_of(t, STATE, WHOLE)}
        for identifier, monitor in zip(ids, monitors, strict=True):
            t.check(identifier in found, "N04.FR.08", "does not report a monitor that it accepted")
            same = all(found[identifier][name] == monitor[name] for name in ("type", "severity", "value"))
            same = same and not found[identifier]["transaction"]
            t.check(same, "N04.FR.08", f"reports another monitor: {found[identifier]}")


_case_of_set(8, "Set a monitor", _monitor(STATE))
_case_of_set(9, "Set several monitors", _monitor(STATE), _monitor(WHOLE))
_case_of_set(10, "Set several monitors of one variable", _monitor(STATE), _monitor(STATE, severity=7))


def _case_of_refusal(
    number: int, title: str, requirement: str, monitor: Payload, *expected: str, wants: str = "refuses"
) -> None:
    @N.case(
        f"TC_N_{number}_CS", title, required=f"The station {wants} the monitor, and gives it no id.",
        also="N04.FR.01",
    )  # fmt: skip
    async def script(t: StationTest) -> None:
        (result,) = await _set(t, monitor)
        t.check(result["status"] in expected, requirement, f"answers {result['status']}")
        t.check("id" not in result, requirement, "gives an id to a monitor that it did not accept")


_UNKNOWN: Final = variable_of("NonExistent", "Power")
_case_of_refusal(11, "Monitor of an unknown component", "N04.FR.03", _monitor(_UNKNOWN), "UnknownComponent")
_case_of_refusal(
    37, "Monitor of an unknown variable", "N04.FR.04", _monitor(variable_of("EVSE", "unknownVariable", evse=1)),
    "UnknownVariable",
)  # fmt: skip
_case_of_refusal(12, "Delta below zero", "N04.FR.14", _monitor(STATE, value=-1), "Rejected")
_case_of_refusal(
    38, "Monitor of a type that does not suit the variable", "N04.FR.05", _monitor(STATE, "UpperThreshold"),
    "UnsupportedMonitorType", "Rejected",
)  # fmt: skip


@N.case("TC_N_15_CS", "The same monitor twice", requirements="N04.FR.10")
async def duplicate(t: StationTest) -> None:
    """The station accepts the first, and answers that the second is a duplicate."""
    first, second = await _set(t, _monitor(STATE), _monitor(STATE))
    t.check(first["status"] == "Accepted", "N04.FR.08", f"answers {first['status']}")
    t.check(second["status"] == "Duplicate", "N04.FR.10", f"answers {second['status']} to the second")


# -- clear


@N.case("TC_N_18_CS", "Clear monitors")
async def clear(t: StationTest) -> None:
    """The station clears the monitors, does not report them any more, and sends no events of them."""
    ids = await given(_sets(t, _monitor(STATE), _monitor(WHOLE)))
    results = (await t.ask("ClearVariableMonitoring", id=ids))["clearMonitoringResult"]
    t.check({each["id"] for each in results} == set(ids), "N06.FR.05", f"{len(results)} results for 2 ids")
    for each in results:
        t.check(each["status"] == "Accepted", "N06.FR.01", f"answers {each['status']}")
    t.check(not set(ids) & _ids(await monitors_of(t, STATE, WHOLE)), "N06.FR.01", "still reports a monitor")
    t.forget()
    await t.plug()
    t.check(await _event(t, ids[0], 5) is None, "N06.FR.01", "sends an event of a monitor that it has cleared")


@N.case("TC_N_19_CS", "Clear an unknown monitor", requirements="N06.FR.02")
async def clear_unknown(t: StationTest) -> None:
    """The station answers that it did not find the monitor."""
    (result,) = (await t.ask("ClearVariableMonitoring", id=[123456]))["clearMonitoringResult"]
    t.check(result["status"] == "NotFound", "N06.FR.02", f"answers {result['status']}")
    t.check(result["id"] == 123456, "N06.FR.05", f"answers about the monitor {result['id']}")


# -- events


@N.case("TC_N_56_CS", "Event of a value that is not numeric", also="N07.FR.07", quick=True)
async def delta(t: StationTest) -> None:
    """The station reports each change of the value, with the monitor and the new value."""
    (identifier,) = await given(_sets(t, _monitor(STATE)))
    t.forget()
    await t.plug()
    event = await _event(t, identifier)
    t.check(event is not None, "N07.FR.06", "sends no event of the monitor")
    assert event is not None
    t.check(event["trigger"] == "Delta", "N07.FR.18", f"the trigger is {event['trigger']}")
    t.check(event["actualValue"] == "Occupied", "N07.FR.19", f"the value is {event['actualValue']}")
    about = event["component"]["name"], field_of(event, "component__evse__id"), event["variable"]["name"]
    t.equal(about, ("EVSE", 1, "AvailabilityState"), "N07.FR.06", "the event is of {}")


@N.case("TC_N_53_CS", "A monitor stays over a reset", requirements="N07.FR.13")
async def persists(t: StationTest) -> None:
    """After a reset the station still reports the monitor, and its events."""
    with precondition():
        (identifier,) = await _sets(t, _monitor(STATE))
        await reset(t)
        await connector_is(t, "Available", "B01.FR.05")
    t.check(identifier in _ids(await monitors_of(t, STATE)), "N07.FR.13", "does not report the monitor")
    t.forget()
    await t.plug()
    t.check(await _event(t, identifier) is not None, "N07.FR.13", "sends no event of the monitor")


# -- what is hard-wired


@N.case("TC_N_21_CS", "A hard-wired notification")
async def hard_wired(t: StationTest) -> None:
    """The station reports the event as a hard-wired notification."""
    t.undo(lambda: t.do(Step("clear")))
    await t.do(Step("alert"))
    told = await t.find(lambda each: each.action == "NotifyEvent" and any(
        one.get("eventNotificationType") == "HardWiredNotification" for one in each.payload["eventData"]
    ))  # fmt: skip
    if told is None:
        raise Failed("sends no hard-wired notification", "N07.FR.07")
    t.check(told["seqNo"] == 0, "N07.FR.07", f"begins with the number {told['seqNo']}")


@N.case("TC_N_44_CS", "A monitor that cannot be cleared")
async def clear_hard_wired(t: StationTest) -> None:
    """The station rejects that its hard-wired monitor is cleared, and keeps it."""
    t.undo(lambda: t.ask("SetMonitoringBase", monitoringBase="All"))
    await given(t.must_answer("Accepted", "N03.FR.05", "SetMonitoringBase", monitoringBase="HardWiredOnly"))
    found = await monitors_of(t)
    t.needs(bool(found), "it has no hard-wired monitors")
    number = found[0]["id"]
    (result,) = (await t.ask("ClearVariableMonitoring", id=[number]))["clearMonitoringResult"]
    t.check(result["status"] == "Rejected", "N06.FR.03", f"answers {result['status']}")
    t.check(number in _ids(await monitors_of(t)), "N06.FR.03", "does not report the monitor any more")


# -- logs


async def uploads(t: StationTest, kind: str, requirement: str) -> None:
    """Expect a log of this kind to be uploaded. Raises Failed."""
    files, number, answer = await get_log(t, kind)
    t.equal(answer["status"], "Accepted", "N01.FR.01", "answers {}")
    await log_state(t, number, "N01.FR.08", "Uploading")
    await log_state(t, number, "N01.FR.09", "Uploaded")
    t.check(len(files.uploads) == 1, "N01.FR.02", f"uploads {len(files.uploads)} files")
    (upload,) = files.uploads
    t.check(upload.path.startswith(LOGS), "N01.FR.02", f"uploads to {upload.path}")
    t.check(bool(upload.body), requirement, "the file is empty")
    name: str = answer["filename"]
    t.check(name in unquote(upload.path) + upload.disposition, "N01.FR.01", f"uploads {upload.path}, not {name}")
    named = upload.method == "PUT" or "filename" in upload.disposition
    t.check(named, "N01.FR.19", "POST without Content-Disposition and the name of the file")


@N_CORE.case(
    "TC_N_25_CS", "Upload of diagnostics", also="N01.FR.01 N01.FR.02 N01.FR.07 N01.FR.08 N01.FR.09 N01.FR.19",
    quick=True,
)  # fmt: skip
async def diagnostics(t: StationTest) -> None:
    """The station names the file, uploads it, and reports Uploading and Uploaded."""
    await uploads(t, "DiagnosticsLog", "N01.FR.04")


@N_CORE.case(
    "TC_N_35_CS", "Upload of the security log", also="N01.FR.01 N01.FR.02 N01.FR.07 N01.FR.08 N01.FR.09 N01.FR.19"
)
async def security_log(t: StationTest) -> None:
    """The station names the file, uploads it, and reports Uploading and Uploaded."""
    await uploads(t, "SecurityLog", "N01.FR.03")


@N_CORE.case("TC_N_26_CS", "Upload that fails", also="N01.FR.07")
async def upload_fails(t: StationTest) -> None:
    """The station tries as often as it is told, and then reports that the upload has failed."""
    retries, interval_s = 2, 5
    files, _ = await t.file_server()
    files.status = 500
    began = t.elapsed()
    _, number, answer = await get_log(t, retries=retries, retryInterval=interval_s)
    t.equal(answer["status"], "Accepted", "N01.FR.01", "answers {}")
    await log_state(t, number, "N01.FR.08", "Uploading")
    await log_state(t, number, "N01.FR.10", "UploadFailure", "BadMessage", "PermissionDenied", "NotSupportedOperation")
    tries = [each.partition(" ")[0] for each in files.asked]
    is_retried(t, tries, retries, interval_s, began, "N01.FR.10")


@N_CORE.case("TC_N_36_CS", "Another upload during the first one", also="N01.FR.01 N01.FR.07")
async def second_upload(t: StationTest) -> None:
    """The station answers AcceptedCanceled, reports that of the first upload, and makes the second one."""
    with precondition():
        files, _ = await t.file_server()
        files.hold()
        _, first, _ = await get_log(t)
        await log_state(t, first, "N01.FR.08", "Uploading")
    _, second, answer = await get_log(t)
    files.release()
    t.needs(answer["status"] != "Rejected", "it does not cancel uploads")
    t.equal(answer["status"], "AcceptedCanceled", "N01.FR.12", "answers {}")
    await log_state(t, first, "N01.FR.20", "AcceptedCanceled")
    await log_state(t, second, "N01.FR.08", "Uploading")
    await log_state(t, second, "N01.FR.09", "Uploaded")


# -- values that are numbers

OFFLINE: Final = ("OCPPCommCtrlr", "OfflineThreshold")
"""A number that every station has and lets be set."""
NUMBER: Final = variable_of(*OFFLINE)


async def _number(t: StationTest, value: int) -> None:
    """Set the number. It is restored after the case."""
    await given(t.demand(*OFFLINE, str(value)))


async def _watch(t: StationTest, *monitors: Payload) -> list[int]:
    """Set monitors of the number; return their ids. Raises NotApplicable if it cannot be monitored."""
    results = await _set(t, *monitors)
    refused = next((each["status"] for each in results if each["status"] != "Accepted"), "")
    t.needs(not refused, f"it does not monitor {'.'.join(OFFLINE)}: {refused}")
    return [each["id"] for each in results]


async def _alerts(t: StationTest, monitor: int, value: int, requirement: str, *, cleared: bool = False) -> Payload:
    """Expect an alert of a monitor with this value, or that it is over. Raises Failed."""
    event = await _event(t, monitor)
    if event is None:
        raise Failed(f"sends no event at {value}", requirement)
    t.check(event["trigger"] == "Alerting", requirement, f"the trigger is {event['trigger']}")
    t.check(event["actualValue"] == str(value), requirement, f"the value is {event['actualValue']} instead of {value}")
    t.check(event.get("cleared", False) is cleared, "N07.FR.02", f"cleared is {event.get('cleared')}")
    custom = event["eventNotificationType"] == "CustomMonitor"
    t.check(custom, "N07.FR.06", f"eventNotificationType is {event['eventNotificationType']}")
    return event


@N.case("TC_N_20_CS", "Thresholds", also="N07.FR.06")
async def thresholds(t: StationTest) -> None:
    """The station reports that a value exceeds or undercuts a threshold, and that it has returned."""
    await _number(t, 100)
    upper, lower = await _watch(t, _monitor(NUMBER, "UpperThreshold", 200), _monitor(NUMBER, "LowerThreshold", 50))
    t.forget()
    await _number(t, 200)
    t.check(await _event(t, upper, 3) is None, "N07.FR.16", "sends an event at the threshold itself")
    await _number(t, 201)
    await _alerts(t, upper, 201, "N07.FR.16")
    await _number(t, 50)
    await _alerts(t, upper, 50, "N07.FR.02", cleared=True)
    t.check(await _event(t, lower, 3) is None, "N07.FR.17", "sends an event at the threshold itself")
    await _number(t, 49)
    await _alerts(t, lower, 49, "N07.FR.17")


@N.case("TC_N_45_CS", "Event of a number that changes", also="N07.FR.06")
async def delta_of_number(t: StationTest) -> None:
    """The station reports a change by more than the monitor's value, and no smaller one."""
    await _number(t, 100)
    (identifier,) = await _watch(t, _monitor(NUMBER, "Delta", 10))
    t.forget()
    await _number(t, 105)
    t.check(await _event(t, identifier, 3) is None, "N07.FR.18", "reports a change by 5")
    await _number(t, 120)
    event = await _event(t, identifier)
    if event is None:
        raise Failed("sends no event after a change by 20", "N07.FR.18")
    t.check(event["trigger"] == "Delta", "N07.FR.18", f"the trigger is {event['trigger']}")
    t.check(event["actualValue"] == "120", "N07.FR.18", f"the value is {event['actualValue']}")


@N.case("TC_N_51_CS", "Another threshold instead", requirements="N04.FR.12 N07.FR.02 N07.FR.11")
async def threshold_replaced(t: StationTest) -> None:
    """The station compares the value with the new threshold at once: an alert that no longer holds is cleared."""
    await _number(t, 100)
    (identifier,) = await _watch(t, _monitor(NUMBER, "UpperThreshold", 200))
    t.forget()
    await _number(t, 300)
    await given(_alerts(t, identifier, 300, "N07.FR.16"))
    (result,) = await _set(t, _monitor(NUMBER, "UpperThreshold", 400) | {"id": identifier})
    t.check(result["status"] == "Accepted", "N04.FR.12", f"answers {result['status']}")
    await _alerts(t, identifier, 300, "N07.FR.11", cleared=True)


@N.case("TC_N_52_CS", "A threshold is removed", requirements="N06.FR.01 N07.FR.12")
async def threshold_removed(t: StationTest) -> None:
    """The station does not report an alert as over because its monitor was removed."""
    await _number(t, 100)
    (identifier,) = await _watch(t, _monitor(NUMBER, "UpperThreshold", 200))
    t.forget()
    await _number(t, 300)
    await given(_alerts(t, identifier, 300, "N07.FR.16"))
    (result,) = (await t.ask("ClearVariableMonitoring", id=[identifier]))["clearMonitoringResult"]
    t.check(result["status"] == "Accepted", "N06.FR.01", f"answers {result['status']}")
    t.check(await _event(t, identifier, 5) is None, "N07.FR.12", "sends an event of the removed monitor")


@N.case("TC_N_13_CS", "Threshold out of range", also="N04.FR.01")
async def threshold_out_of_range(t: StationTest) -> None:
    """The station rejects a threshold beyond the range of the variable, and gives it no id."""
    power = variable_of("EVSE", "Power", evse=1)
    limit = next((each for each in await t.report("FullInventory") if _is_power(each)), {})
    most = limit.get("variableCharacteristics", {}).get("maxLimit")
    t.needs(most is not None, "EVSE.Power has no maxLimit")
    (result,) = await _set(t, _monitor(power, "UpperThreshold", most + 1000))
    t.check(result["status"] == "Rejected", "N04.FR.06", f"answers {result['status']}")
    t.check("id" not in result, "N04.FR.06", "gives an id to a monitor that it did not accept")


def _is_power(entry: Payload) -> bool:
    at = entry["component"]
    return (at["name"], at.get("evse", {}).get("id"), entry["variable"]["name"]) == ("EVSE", 1, "Power")


@N.case("TC_N_43_CS", "Three monitors, one of them invalid", also="N04.FR.01 N04.FR.08")
async def one_invalid(t: StationTest) -> None:
    """The station accepts the first and the third, and rejects the second."""
    results = await _set(t, _monitor(STATE), _monitor(NUMBER, value=-1), _monitor(WHOLE))
    found = [each["status"] for each in results]
    t.check(found == ["Accepted", "Rejected", "Accepted"], "N04.FR.14", f"answers {', '.join(found)}")


@N.case("TC_N_39_CS", "Replace a monitor by one of another variable")
async def replace_elsewhere(t: StationTest) -> None:
    """The station rejects a monitor whose id belongs to another variable, and keeps the first."""
    (identifier,) = await given(_sets(t, _monitor(STATE)))
    (result,) = await _set(t, _monitor(WHOLE) | {"id": identifier})
    t.check(result["status"] == "Rejected", "N04.FR.16", f"answers {result['status']}")
    t.check(identifier in _ids(await monitors_of(t, STATE)), "N04.FR.16", "does not report the first monitor")


@N.case("TC_N_40_CS", "Replace a monitor")
async def replace_monitor(t: StationTest) -> None:
    """The station replaces the monitor of this id, and rejects an id that it does not know."""
    (identifier,) = await given(_sets(t, _monitor(STATE, severity=8)))
    (result,) = await _set(t, _monitor(STATE, severity=5) | {"id": identifier})
    t.check(result["status"] == "Accepted", "N04.FR.12", f"answers {result['status']}")
    found = [each for each in await monitors_of(t, STATE) if each["id"] == identifier]
    t.check([each["severity"] for each in found] == [5], "N04.FR.12", "reports the former monitor")
    (result,) = await _set(t, _monitor(STATE, severity=4) | {"id": 987654})
    t.check(result["status"] == "Rejected", "N04.FR.13", f"answers {result['status']} to an unknown id")


_KINDS: Final = {
    "ThresholdMonitoring": ("N02.FR.12", {"UpperThreshold", "LowerThreshold"}),
    "DeltaMonitoring": ("N02.FR.13", {"Delta"}),
    "PeriodicMonitoring": ("N02.FR.14", {"Periodic", "PeriodicClockAligned"}),
}


async def _of_all_kinds(t: StationTest) -> list[int]:
    await _number(t, 100)
    return await _watch(
        t,
        _monitor(NUMBER, "UpperThreshold", 5000),
        _monitor(NUMBER, "LowerThreshold", 1),
        _monitor(NUMBER, "Delta", 50),
        _monitor(NUMBER, "Periodic", 3600),
        _monitor(NUMBER, "PeriodicClockAligned", 3600),
    )


@N.case("TC_N_01_CS", "Monitors by criteria", also="N02.FR.01 N02.FR.06 N02.FR.12 N02.FR.13 N02.FR.14")
async def report_of_types(t: StationTest) -> None:
    """The station reports the monitors of the types asked for, and no others."""
    ids = set(await _of_all_kinds(t))
    for chosen in (("ThresholdMonitoring",), ("DeltaMonitoring",), ("PeriodicMonitoring",), tuple(_KINDS)):
        found = await monitors_of(t, criteria=chosen)
        wanted = {kind for each in chosen for kind in _KINDS[each][1]}
        requirement = _KINDS[chosen[0]][0]
        others = {each["type"] for each in found} - wanted
        t.check(not others, requirement, f"reports {', '.join(sorted(others))} for {', '.join(chosen)}")
        own = [each["type"] for each in found if each["id"] in ids]
        t.check(set(own) == wanted, requirement, f"reports only {', '.join(sorted(own))} for {', '.join(chosen)}")


@N.case("TC_N_47_CS", "All monitors", also="N02.FR.01")
async def report_of_all(t: StationTest) -> None:
    """The station reports every monitor, whatever its type."""
    ids = set(await _of_all_kinds(t))
    missing = ids - _ids(await monitors_of(t))
    t.check(not missing, "N02.FR.11", f"does not report {len(missing)} of {len(ids)} monitors")


@N.case("TC_N_24_CS", "Periodic events")
async def periodic(t: StationTest) -> None:
    """The station reports the value again and again, with the interval of the monitor."""
    interval_s = 10
    (identifier,) = await given(_sets(t, _monitor(STATE, "Periodic", interval_s)))
    t.forget()
    for _ in range(2):
        before = t.elapsed()
        event = await _event(t, identifier, interval_s + t.declared.seconds)
        if event is None:
            raise Failed("sends no event", "N08.FR.06")
        t.check(event["trigger"] == "Periodic", "N08.FR.05", f"the trigger is {event['trigger']}")
        t.check(event["actualValue"] == "Available", "N08.FR.06", f"the value is {event['actualValue']}")
        late = t.elapsed() - before
    t.check(interval_s - 2 <= late <= interval_s + 2, "N08.FR.06", f"the interval is {late:.0f} s")


@N.case("V2G-N-02-CS", "Periodic events by the clock", also="N08.FR.05")
async def clock_aligned(t: StationTest) -> None:
    """The station reports the value at multiples of the interval of the monitor, as counted from the hour."""
    interval_s = 10
    (identifier,) = await given(_sets(t, _monitor(STATE, "PeriodicClockAligned", interval_s)))
    t.forget()
    for _ in range(2):
        event = await _event(t, identifier, interval_s + t.declared.seconds)
        if event is None:
            raise Failed("sends no event", "N08.FR.07")
        t.equal(event["trigger"], "Periodic", "N08.FR.05", "the trigger is {}")
        off_s = parse_time(event["timestamp"]) / 1000 % interval_s
        t.check(min(off_s, interval_s - off_s) < 2, "N08.FR.07", f"is of {event['timestamp']}, every {interval_s} s")


def _case_of_queuing(number: int, title: str, required: str, severity: int, *, queued: bool) -> None:
    @N.case(f"TC_N_{number}_CS", title, required=required)
    async def script(t: StationTest) -> None:
        with precondition():
            await t.demand("MonitoringCtrlr", "OfflineQueuingSeverity", str(severity))
            (identifier,) = await _sets(t, _monitor(STATE, severity=5))
        t.forget()
        async with t.away(5):
            await t.plug()
        event = await _event(t, identifier, None if queued else 10)
        found = "sends no event of what happened offline" if queued else "sends an event of what happened offline"
        t.check((event is not None) is queued, "N07.FR.04", found)
        t.check(event is None or event["actualValue"] == "Occupied", "N07.FR.04", "the event has another value")


_case_of_queuing(22, "Severe events offline", "The station reports the event once it is online again.", 5, queued=True)
_case_of_queuing(23, "Other events offline", "The station does not report the event.", 4, queued=False)


@N.case("TC_N_48_CS", "Event of a variable that can only be written")
async def write_only(t: StationTest) -> None:
    """The station reports that the variable has changed, without its value."""
    before = t.opening.password
    t.needs(before is not None and len(before) >= SHORTEST_PASSWORD, "it connects without a password of its own")
    assert before is not None
    secret = variable_of("SecurityCtrlr", "BasicAuthPassword")
    (result,) = await _set(t, _monitor(secret))
    t.needs(result["status"] == "Accepted", f"it does not monitor its password: {result['status']}")
    t.hide(before)
    t.allow(f"{before[:20]}-monitored")
    t.forget()

    async def restore() -> None:
        async with t.reconnects():
            await t.write("SecurityCtrlr", "BasicAuthPassword", before)

    t.undo(restore)
    async with t.reconnects():
        await t.write("SecurityCtrlr", "BasicAuthPassword", f"{before[:20]}-monitored")
    event = await _event(t, result["id"])
    if event is None:
        raise Failed("sends no event", "N07.FR.06")
    t.check(event["actualValue"] == "", "N07.FR.10", "the event has a value")


# -- customers


async def customer(t: StationTest, requirement: str, **flags: object) -> str:
    """Ask about the customer of the token, or others as `flags` say; return the data, whose times may change while
    nothing else does, without times. Raises Failed."""
    number = t.next_id()
    about = {} if {"customerIdentifier", "customerCertificate"} & flags.keys() else {"idToken": t.token.payload}
    request = {"requestId": number, "report": False, "clear": False} | about | flags
    await t.must_answer("Accepted", requirement, "CustomerInformation", **request)
    data = ""
    for expected in itertools.count():
        part = await t.expect("NotifyCustomerInformation", requirement, requestId=number)
        t.check(part["seqNo"] == expected, requirement, f"part {part['seqNo']} instead of {expected}")
        data += part["data"]
        if not part.get("tbc", False):
            break
    return _TIME.sub("", data)


_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:\d\d)?")


async def _known(t: StationTest) -> None:
    """Let the station store something about the customer."""
    with precondition():
        if t.has("AuthCacheCtrlr.Available"):
            await cached(t, t.token)
        elif t.has("LocalAuthListCtrlr.Available"):
            await listed(t, {t.token: {"status": "Accepted"}})
        else:
            raise NotApplicable("it has neither a cache nor a list of tokens")


async def _forgotten(t: StationTest, requirement: str, *, report: bool) -> str:
    """Have the station forget the customer; return its report. A local list is left to the back end (N10.FR.02)."""
    found = await customer(t, requirement, report=report, clear=True)
    if not t.has("AuthCacheCtrlr.Available"):
        gone = [{"idToken": t.token.payload}]
        await t.ask("SendLocalList", versionNumber=2, updateType="Differential", localAuthorizationList=gone)
    return found


@N_CORE.case("TC_N_27_CS", "Report what is known about a customer")
async def customermonitors_of(t: StationTest) -> None:
    """The station reports what it has stored."""
    await _known(t)
    t.check(bool(await customer(t, "N09.FR.02", report=True)), "N09.FR.05", "reports nothing")


@N_CORE.case("TC_N_28_CS", "Report on a customer who is not known", requirements="N09.FR.02 N09.FR.06")
async def customer_unknown(t: StationTest) -> None:
    """The station sends one report."""
    await given(customer(t, "N10.FR.06", clear=True), forget_tokens(t))
    await customer(t, "N09.FR.06", report=True)
    await t.nothing("NotifyCustomerInformation", "N09.FR.06", within=3)


@N_CORE.case("TC_N_30_CS", "Report on a customer, and forget them")
async def customer_cleared(t: StationTest) -> None:
    """The station reports what it had stored, and removes it."""
    await _known(t)
    before = await _forgotten(t, "N10.FR.01", report=True)
    t.check(bool(before), "N10.FR.03", "reports nothing")
    after = await customer(t, "N10.FR.01", report=True)
    t.check(after != before, "N10.FR.03", "still reports the same")


@N_CORE.case("TC_N_31_CS", "Report on a customer who is not known, and forget them", requirements="N10.FR.01 N10.FR.04")
async def customer_unknown_cleared(t: StationTest) -> None:
    """The station sends one report."""
    await given(forget_tokens(t), customer(t, "N10.FR.06", clear=True))
    await customer(t, "N10.FR.04", report=True, clear=True)
    await t.nothing("NotifyCustomerInformation", "N10.FR.04", within=3)


@N_CORE.case("TC_N_32_CS", "Forget a customer", requirements="N10.FR.01 N10.FR.06")
async def customer_forgotten(t: StationTest) -> None:
    """The station removes what it had stored, and sends one report that says so."""
    await _known(t)
    before = await given(customer(t, "N09.FR.05", report=True))
    await _forgotten(t, "N10.FR.06", report=False)
    after = await customer(t, "N09.FR.02", report=True)
    t.check(after != before, "N10.FR.06", "still reports the same")


@N_CORE.case("TC_N_62_CS", "Forget a customer by their identifier", also="N10.FR.04")
async def customer_identifier(t: StationTest) -> None:
    """The station sends a report, and has nothing stored under the identifier after it."""
    await customer(t, "N10.FR.01", report=True, clear=True, customerIdentifier="V2G-CUSTOMER")
    after = await customer(t, "N10.FR.01", report=True, customerIdentifier="V2G-CUSTOMER")
    t.check(after == "", "N10.FR.03", "still reports something")


def _case_of_unknown_customer(identifier: str, title: str, **request: object) -> None:
    @N_CORE.case(identifier, title)
    async def script(t: StationTest) -> None:
        """The station answers Invalid."""
        await t.must_answer("Invalid", "N09.FR.09", "CustomerInformation", requestId=t.next_id(), **request)


_case_of_unknown_customer("TC_N_29_CS", "Report that names no customer", report=True, clear=False)
_case_of_unknown_customer("TC_N_33_CS", "Clear data without a customer", report=False, clear=True)
_case_of_unknown_customer(
    "V2G-N-01-CS", "Report on a customer who is named twice", report=True, clear=False,
    idToken=Token("0A1B2C3D").payload, customerIdentifier="V2G-CUSTOMER",
)  # fmt: skip


N_21: Final[Block[StationTest]] = Block(versions=("2.1",))
N_MONITORS: Final = N_21.having(profiles=("Advanced Device Management",), needs=("MonitoringCtrlr.Available",))

_EVERY_S: Final = 2
_MOST: Final = 40
"""Variables of which a case tries whether they can be monitored."""


# -- logs (N01)

_COLLECTOR: Final = "DataCollector"
_USER, _SECRET = "v2g-logs", "an-upload-password"


@N_21.case(
    "TC_N_100_CS", "Upload of what the data collector has collected", also="N01.FR.01 N01.FR.02 N01.FR.08 N01.FR.09"
)
async def collected(t: StationTest) -> None:
    """The station names the file, uploads it, and reports Uploading and Uploaded."""
    await t.demand(_COLLECTOR, "Enabled", "false", evse=1)
    measurands = t.values_of(_COLLECTOR, "SampledMeasurands")
    wanted = "Energy.Active.Import.Register"
    wanted = wanted if wanted in measurands or not measurands else measurands[0]
    for name, value, more in (
        ("DateTime", t.later(-60), {"instance": "Start"}), ("DateTime", t.later(600), {"instance": "End"}),
        ("SamplingInterval", "1", {}), ("SampledMeasurands", wanted, {}),
    ):  # fmt: skip
        await prefer(t, _COLLECTOR, name, value, evse=1, **more)
    await t.demand(_COLLECTOR, "Enabled", "true", evse=1)
    await t.charging()
    await t.wait(10)
    await uploads(t, "DataCollectorLog", "N01.FR.24")


@N_21.case("TC_N_101_CS", "Upload that is redirected", requirements="N01.FR.08 N01.FR.30")
async def redirected(t: StationTest) -> None:
    """The station does not follow the redirection, and reports UploadFailure."""
    files, url = await t.file_server()
    files.status, files.location = 307, f"{url}/elsewhere"
    _, number, answer = await get_log(t, retries=0)
    t.equal(answer["status"], "Accepted", "N01.FR.01", "answers {}")
    await log_state(t, number, "N01.FR.08", "Uploading")
    await log_state(t, number, "N01.FR.30", "UploadFailure")
    t.check(not [each for each in files.asked if each.endswith("/elsewhere")], "N01.FR.30", "follows the redirection")


async def _authenticates(t: StationTest, server: tuple[FileServer, str]) -> None:
    """Expect an upload with the name and password of its URL. Raises Failed."""
    files, url = server
    t.hide(_SECRET)
    files.authorization = "Basic " + base64.b64encode(f"{_USER}:{_SECRET}".encode()).decode()
    _, number, answer = await get_log(t, server=(files, url.replace("://", f"://{_USER}:{_SECRET}@")))
    t.equal(answer["status"], "Accepted", "N01.FR.01", "answers {}")
    await log_state(t, number, "N01.FR.08", "Uploading")
    await log_state(t, number, "N01.FR.25", "Uploaded")
    t.check(len(files.uploads) == 1, "N01.FR.25", f"uploads {len(files.uploads)} files with the password")
    path = files.uploads[0].path
    t.check(path.startswith(LOGS) and path != LOGS, "N01.FR.21", f"uploads to {path}")


@N_21.case("TC_N_102_CS", "Upload with a password", also="N01.FR.21 N01.FR.25")
async def with_password(t: StationTest) -> None:
    """The station authenticates itself with the name and password of the URL, and uploads the file."""
    await _authenticates(t, await t.file_server())


@N_21.case("TC_N_103_CS", "Upload with a password, over TLS", also="N01.FR.15 N01.FR.21 N01.FR.25")
async def with_password_over_tls(t: StationTest) -> None:
    """The station trusts a server by a root of the back end, authenticates itself, and uploads the file."""
    root = await given(install(t, CSMS))
    await _authenticates(t, await t.file_server(root.server(t.server_name)))


# -- monitors of targets (N02)


@N_MONITORS.case("TC_N_104_CS", "Monitors of targets, in a report", also="N02.FR.05")
async def targets(t: StationTest) -> None:
    """The station reports them among the monitors of changes, and not among those of thresholds."""
    number = await _accepted(t, (each for each in _numeric(t) if _has_target(each)), "TargetDelta", 10.0)
    for criterion, there in (("DeltaMonitoring", True), ("ThresholdMonitoring", False)):
        found = {each["id"]: each["type"] for each in await monitors_of(t, criteria=[criterion])}
        # with the monitors of changes by the errata of 2025-09
        requirement = "N02.FR.13" if there else "N02.FR.12"
        about = f"reports it as {found.get(number, 'nothing')} for {criterion}"
        t.check(found.get(number) == ("TargetDelta" if there else None), requirement, about)


def _has_target(entry: Payload) -> bool:
    return any(each.get("type") == "Target" for each in entry["variableAttribute"])


# -- streams (N11 to N15)


async def _periodic_monitor(t: StationTest, **params: int) -> int:
    """Set a periodic monitor with a stream, which is cleared after the case; return its number. Raises NotApplicable.

    The first variable that allows it is taken: which these are differs between stations.
    """
    numeric = sorted(_numeric(t), key=lambda each: each["variable"]["name"] != "Power")
    return await _accepted(t, numeric, "Periodic", float(_EVERY_S), periodicEventStream=params)


def _numeric(t: StationTest) -> list[Payload]:
    """Return what the station has reported of numbers that can be monitored."""
    return [
        each for each in t.reported
        if each.get("variableCharacteristics", {}).get("supportsMonitoring")
        and each["variableCharacteristics"].get("dataType") in ("decimal", "integer")
    ]  # fmt: skip


async def _accepted(t: StationTest, entries: Iterable[Payload], kind: str, value: float, **more: object) -> int:
    """Set a monitor of the first variable that allows it, which is cleared after the case; return its number.

    Raises NotApplicable if none does.
    """
    for each in itertools.islice(entries, _MOST):
        place = {"component": each["component"], "variable": each["variable"]}
        data = place | {"type": kind, "value": value, "severity": 5} | more
        (result,) = (await t.ask("SetVariableMonitoring", setMonitoringData=[data]))["setMonitoringResult"]
        if result["status"] == "Accepted":
            break
    else:
        raise NotApplicable(f"no variable of it can have a monitor of the type {kind}")
    number: int = result["id"]
    t.undo(lambda: t.ask("ClearVariableMonitoring", id=[number]))
    return number


async def _opened(t: StationTest, monitor: int) -> Payload:
    """Expect the stream of a monitor to be opened; return its data. Raises Failed."""
    sent = await t.expect("OpenPeriodicEventStream", "N11.FR.02", constantStreamData__variableMonitoringId=monitor)
    data: Payload = sent["constantStreamData"]
    return data


async def _stream(t: StationTest, **params: int) -> tuple[int, int]:
    """Let a stream be open; return it and its monitor."""
    with precondition():
        monitor = await _periodic_monitor(t, **params)
        return (await _opened(t, monitor))["id"], monitor


async def _open(t: StationTest) -> set[int]:
    """Return the streams that the station says are open."""
    answer = await t.ask("GetPeriodicEventStream")
    return {each["id"] for each in answer.get("constantStreamData", [])}


@N_MONITORS.case("TC_N_105_CS", "Stream of a periodic monitor", also="N15.FR.01")
async def stream(t: StationTest) -> None:
    """The station opens the stream, and sends the values in its interval, in streams only."""
    monitor = await _periodic_monitor(t, interval=10)
    data = await _opened(t, monitor)
    t.check(data.get("params") == {"interval": 10}, "N11.FR.02", f"opens it with {data.get('params')}")
    t.check(data["id"] in await _open(t), "N12.FR.01", "does not report the stream as open")
    times = []
    for _ in range(2):
        sent = await t.expect("NotifyPeriodicEventStream", "N15.FR.06", within=t.after(10), id=data["id"])
        times.append(t.elapsed())
        offsets = [each["t"] for each in sent["data"]]
        t.check(offsets[0] == 0 and offsets == sorted(offsets), "N15.FR.09", f"sends the offsets {offsets}")
    t.check(abs(times[1] - times[0] - 10) <= 2, "N15.FR.06", f"sends it after {times[1] - times[0]:.0f} s")
    events = [one for each in t.seen("NotifyEvent") for one in each["eventData"]]
    doubled = any(each.get("variableMonitoringId") == monitor for each in events)
    t.check(not doubled, "N11.FR.01", "sends the values by NotifyEvent, too")


@N_MONITORS.case("TC_N_106_CS", "Stream that the back end rejects", also="N11.FR.02")
async def rejected(t: StationTest) -> None:
    """The station sends the values by NotifyEvent instead, and reports no stream."""
    t.answer("OpenPeriodicEventStream", {"status": "Rejected"})
    monitor = await _periodic_monitor(t, interval=10)
    data = await _opened(t, monitor)
    found = await t.find(lambda each: each.action == "NotifyEvent" and any(
        one.get("variableMonitoringId") == monitor for one in each.payload["eventData"]
    ))  # fmt: skip
    t.check(found is not None, "N11.FR.07", "sends no NotifyEvent of the monitor")
    t.check(data["id"] not in await _open(t), "N12.FR.01", "reports the stream as open")
    await t.nothing("NotifyPeriodicEventStream", "N11.FR.07", within=12, id=data["id"])


@N_MONITORS.case("TC_N_108_CS", "Clear a monitor that has a stream")
async def closed(t: StationTest) -> None:
    """The station sends what it has, closes the stream, and sends nothing more."""
    number, monitor = await _stream(t, interval=60)
    await t.wait(3 * _EVERY_S)
    t.forget()
    (result,) = (await t.ask("ClearVariableMonitoring", id=[monitor]))["clearMonitoringResult"]
    t.check(result["status"] == "Accepted", "N13.FR.05", f"answers {result['status']}")
    sent = await t.expect("NotifyPeriodicEventStream", "N13.FR.03", id=number)
    t.check(sent["pending"] == 0, "N13.FR.03", f"keeps {sent['pending']} values")
    await t.expect("ClosePeriodicEventStream", "N13.FR.01", id=number)
    t.check(number not in await _open(t), "N12.FR.01", "reports the stream as open")
    await t.nothing("NotifyPeriodicEventStream", "N13.FR.01", within=5, id=number)


@N_MONITORS.case("TC_N_109_CS", "Adjust a stream")
async def adjusted(t: StationTest) -> None:
    """The station sends as many values at a time as it is asked to, and rejects streams that there are not."""
    number, _ = await _stream(t, interval=60)
    await t.must_answer("Accepted", "N14.FR.03", "AdjustPeriodicEventStream", id=number, params={"values": 2})
    for _ in range(2):
        sent = await t.expect("NotifyPeriodicEventStream", "N14.FR.03", within=t.after(2 * _EVERY_S), id=number)
    t.check(len(sent["data"]) == 2, "N15.FR.08", f"sends {len(sent['data'])} values at a time")
    answer = await t.ask("AdjustPeriodicEventStream", id=number + 4711, params={"interval": 5})
    t.check(answer["status"] == "Rejected", "N14.FR.02", f"answers {answer['status']} for an unknown stream")
