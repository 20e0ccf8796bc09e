"""Functional block B, provisioning: cases for charging stations."""

import re
from math import inf
from typing import Final

from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.connection import Answer, judge_unknown
from v2g_testkit.ocpp.station_cases import steps
from v2g_testkit.ocpp.station_cases.block_a import PASSWORD, VARIABLE, kept
from v2g_testkit.ocpp.station_cases.block_e import may_resume, resumes
from v2g_testkit.ocpp.station_cases.roots import CSMS, install
from v2g_testkit.ocpp.station_cases.steps import PRIORITY, boot, offer, reset
from v2g_testkit.ocpp.station_tester import StationTest, variable_of

B: Final[Block[StationTest]] = Block()
B_DEVICES: Final = B.having(profiles=("Advanced Device Management",))

LISTS: Final = ("OptionList", "SequenceList", "MemberList")

MANDATORY: Final = frozenset({
    "OCPPCommCtrlr.FileTransferProtocols", "OCPPCommCtrlr.MessageTimeout", "OCPPCommCtrlr.MessageAttempts",
    "OCPPCommCtrlr.MessageAttemptInterval", "OCPPCommCtrlr.NetworkConfigurationPriority",
    "OCPPCommCtrlr.NetworkProfileConnectionAttempts", "OCPPCommCtrlr.OfflineThreshold", "OCPPCommCtrlr.ResetRetries",
    "OCPPCommCtrlr.UnlockOnEVSideDisconnect", "SecurityCtrlr.CertificateEntries", "SecurityCtrlr.OrganizationName",
    "SecurityCtrlr.SecurityProfile", "AuthCtrlr.AuthorizeRemoteStart", "AuthCtrlr.LocalAuthorizeOffline",
    "AuthCtrlr.LocalPreAuthorize", "TxCtrlr.EVConnectionTimeOut", "TxCtrlr.StopTxOnEVSideDisconnect",
    "TxCtrlr.StopTxOnInvalidId", "TxCtrlr.TxStartPoint", "TxCtrlr.TxStopPoint", "SampledDataCtrlr.TxEndedInterval",
    "SampledDataCtrlr.TxEndedMeasurands", "SampledDataCtrlr.TxUpdatedInterval", "SampledDataCtrlr.TxStartedMeasurands",
    "SampledDataCtrlr.TxUpdatedMeasurands", "AlignedDataCtrlr.Interval", "AlignedDataCtrlr.Measurands",
    "AlignedDataCtrlr.TxEndedInterval", "AlignedDataCtrlr.TxEndedMeasurands", "ClockCtrlr.DateTime",
    "ClockCtrlr.TimeSource", "DeviceDataCtrlr.ItemsPerMessage", "DeviceDataCtrlr.BytesPerMessage",
    "ChargingStation.AvailabilityState", "ChargingStation.Available", "ChargingStation.SupplyPhases",
    "EVSE.AvailabilityState", "EVSE.Available", "EVSE.Power", "EVSE.SupplyPhases", "Connector.Available",
    "Connector.ConnectorType", "Connector.SupplyPhases",
})  # fmt: skip
"""Variables that every station has (part 2, chapter Referenced Components and Variables)."""


# -- boot


@B.case("TC_B_01_CS", "Cold boot, accepted", also="B01.FR.09", quick=True)
async def cold_boot(t: StationTest) -> None:
    """After start-up the station sends BootNotification and, once accepted, the state of every connector."""
    found = await steps.reset(t)
    t.check(bool(found["chargingStation"]["model"]), "B01.FR.01", "the model is empty")
    await steps.all_connectors(t, "Available", "B01.FR.05")


@B.case("TC_B_02_CS", "Cold boot, pending", also="B02.FR.06")
async def pending(t: StationTest) -> None:
    """While pending the station answers reads, writes and reports, starts nothing, and sends nothing unasked."""
    t.answer("BootNotification", _registration(t, "Pending", 60))
    await given(steps.reset(t))
    await t.nothing("StatusNotification", "B02.FR.02", within=3)
    t.check(await t.set("OCPPCommCtrlr", "OfflineThreshold", "123") == "Accepted", "B02.FR.01", "cannot be written")
    value = (await t.get("OCPPCommCtrlr", "OfflineThreshold")).get("attributeValue")
    t.check(value == "123", "B02.FR.01", f"OfflineThreshold is {value} after it was set to 123")
    t.check(bool(await t.report("FullInventory")), "B02.FR.01", "the base report is empty")
    token = t.token.payload
    started = await t.ask("RequestStartTransaction", idToken=token, evseId=1, remoteStartId=t.next_id())
    t.check(started["status"] == "Rejected", "B02.FR.05", f"answers RequestStartTransaction with {started['status']}")
    t.answer("BootNotification", _registration(t, "Accepted", 300))
    answer = await t.ask("TriggerMessage", requestedMessage="BootNotification")
    if answer["status"] == "Accepted":
        found = await t.expect("BootNotification", "F06.FR.05")
        t.check(found["reason"] == "Triggered", "B01.FR.09", f"boots with reason {found['reason']}")
    else:
        await steps.boot(t, "B02.FR.08")
    await steps.all_connectors(t, "Available", "B01.FR.05")
    steps.not_rejected(answer["status"], "BootNotification")


@B.case("TC_B_03_CS", "Cold boot, rejected", requirements="B03.FR.02 B03.FR.04 B03.FR.06")
async def rejected(t: StationTest) -> None:
    """A rejected station sends nothing before the interval has passed, then BootNotification again."""
    t.answer("BootNotification", _registration(t, "Rejected", 20))
    await given(steps.reset(t))
    t.forget()
    t.answer("BootNotification", _registration(t, "Accepted", 300))
    await t.nothing("BootNotification", "B03.FR.02", within=15)
    for action in ("StatusNotification", "NotifyEvent", "Heartbeat"):
        t.check(not t.seen(action), "B03.FR.02", f"sends {action} while it is rejected")
    await steps.boot(t, "B03.FR.06")
    await steps.all_connectors(t, "Available", "B01.FR.05")


@B.case("V2G-B-02-CS", "Heartbeats at the interval of the boot", requirements="B01.FR.04 G02.FR.01 G02.FR.02")
async def heartbeats(t: StationTest) -> None:
    """An idle station sends heartbeats at the interval with which its BootNotification was answered."""
    ping = "OCPPCommCtrlr", "WebSocketPingInterval"
    await steps.prefer(t, *ping, "0")
    silent = (await t.get(*ping)).get("attributeValue") in (None, "", "0")
    t.needs(silent, "its pings may stand for heartbeats (OCPP-J 5.2)")

    async def back() -> None:
        t.answer("BootNotification", _registration(t, "Accepted", 300))
        await steps.reset(t)

    t.undo(back)
    t.answer("BootNotification", _registration(t, "Accepted", 15))
    await given(steps.reset(t))
    for _ in range(2):
        await t.expect("Heartbeat", "G02.FR.01", within=t.after(15))


@B.case("TC_B_30_CS", "Requests while rejected", requirements="B03.FR.08")
async def security_error(t: StationTest) -> None:
    """A rejected station answers every request of the back end with the CALLERROR SecurityError."""
    t.answer("BootNotification", _registration(t, "Rejected", 30))
    await given(steps.reset(t))
    t.answer("BootNotification", _registration(t, "Accepted", 300))
    asked = [variable_of("OCPPCommCtrlr", "OfflineThreshold")]
    t.equal((await t.refused("GetVariables", getVariableData=asked)).code, "SecurityError", "B03.FR.08", "answers {}")
    await steps.boot(t, "B03.FR.06")


def _registration(t: StationTest, status: str, interval: int) -> Answer:
    return lambda _: {"currentTime": t.now(), "interval": interval, "status": status}


# -- variables


@B.case("TC_B_06_CS", "Get one variable", also="B06.FR.01 B06.FR.02 B06.FR.03 B06.FR.04 B06.FR.11")
async def get_one(t: StationTest) -> None:
    """The station answers with the value of the variable, its component, name and attribute type."""
    await given(t.demand("OCPPCommCtrlr", "OfflineThreshold", "300"))
    result = await t.get("OCPPCommCtrlr", "OfflineThreshold")
    _is_value(t, result, "OCPPCommCtrlr", "OfflineThreshold", "300")


@B.case("TC_B_07_CS", "Get several variables", also="B06.FR.03 B06.FR.04")
async def get_several(t: StationTest) -> None:
    """The station answers with as many results as variables were asked for, each with its value."""
    asked = [("OCPPCommCtrlr", "OfflineThreshold", "300"), ("AuthCtrlr", "LocalAuthorizeOffline", "true")]
    with precondition():
        for each in asked:
            await t.demand(*each)
    wanted = [variable_of(component, variable) for component, variable, _ in asked]
    results = (await t.ask("GetVariables", getVariableData=wanted))["getVariableResult"]
    t.check(len(results) == len(asked), "B06.FR.01", f"{len(results)} results for {len(asked)} variables")
    by_name = {(each["component"]["name"], each["variable"]["name"]): each for each in results}
    for component, variable, value in asked:
        t.check((component, variable) in by_name, "B06.FR.02", f"no result for {component}.{variable}")
        _is_value(t, by_name[component, variable], component, variable, value)


def _is_value(t: StationTest, result: Payload, component: str, variable: str, value: str) -> None:
    status = result["attributeStatus"]
    t.check(status == "Accepted", "B06.FR.04", f"{component}.{variable} is {status}")
    about = result["component"]["name"], result["variable"]["name"]
    t.check(about == (component, variable), "B06.FR.02", f"answers about {about[0]}.{about[1]}")
    t.equal(result.get("attributeType", "Actual"), "Actual", "B06.FR.11", "the attribute type is {}")
    found = result.get("attributeValue")
    t.check(found == value, "B06.FR.04", f"{component}.{variable} is {found!r} instead of {value!r}")


@B.case("TC_B_09_CS", "Set one variable", also="B05.FR.01 B05.FR.02 B05.FR.12", quick=True)
async def set_one(t: StationTest) -> None:
    """The station accepts the value, and has it afterwards."""
    t.equal(await t.set("OCPPCommCtrlr", "OfflineThreshold", "321"), "Accepted", "B05.FR.10", "answers {}")
    t.equal(await t.value("OCPPCommCtrlr", "OfflineThreshold"), "321", "B05.FR.10", "the value is {} afterwards")


@B.case("TC_B_10_CS", "Set several variables", also="B05.FR.02")
async def set_several(t: StationTest) -> None:
    """The station answers with as many results as variables were set, and has the values afterwards."""
    wanted = [("OCPPCommCtrlr", "OfflineThreshold", "322"), ("AuthCtrlr", "LocalAuthorizeOffline", "false")]
    for component, variable, _ in wanted:
        await t.keep(component, variable)
    data = [variable_of(component, variable) | {"attributeValue": value} for component, variable, value in wanted]
    results = (await t.ask("SetVariables", setVariableData=data))["setVariableResult"]
    t.check(len(results) == len(wanted), "B05.FR.01", f"{len(results)} results for {len(wanted)} variables")
    for each in results:
        name = f"{each['component']['name']}.{each['variable']['name']}"
        t.check(each["attributeStatus"] == "Accepted", "B05.FR.10", f"{name}: {each['attributeStatus']}")
    for component, variable, value in wanted:
        found = await t.value(component, variable)
        t.check(found == value, "B05.FR.10", f"{component}.{variable} is {found} afterwards")


@B.case("V2G-B-04-CS", "Set several variables, of which one is unknown", requirements="B05.FR.02 B05.FR.10")
async def set_some(t: StationTest) -> None:
    """The station answers with a result of each variable, and has the value of the one that it knows."""
    known = "OCPPCommCtrlr", "OfflineThreshold"
    await t.keep(*known)
    names = ("OCPPCommCtrlr", "UnknownVariable"), known
    data = [variable_of(*each) | {"attributeValue": "323"} for each in names]
    results = (await t.ask("SetVariables", setVariableData=data))["setVariableResult"]
    found = {each["variable"]["name"]: each["attributeStatus"] for each in results}
    t.equal(found, {"UnknownVariable": "UnknownVariable", known[1]: "Accepted"}, "B05.FR.02", "the results are {}")
    t.equal(await t.value(*known), "323", "B05.FR.10", "OfflineThreshold is {} afterwards")


@B.case("TC_B_11_CS", "Set values of the wrong form")
async def set_wrong(t: StationTest) -> None:
    """The station rejects a value that is not of the variable's data type, and keeps the old one."""
    wrong = [
        ("OCPPCommCtrlr", "OfflineThreshold", "soon"),
        ("OCPPCommCtrlr", "OfflineThreshold", "-1"),
        ("AuthCtrlr", "AuthorizeRemoteStart", "maybe"),
        ("TxCtrlr", "TxStartPoint", "Whenever"),
        ("ClockCtrlr", "NextTimeOffsetTransitionDateTime", "tomorrow"),
    ]
    for component, variable, value in wrong:
        before = await t.get(component, variable)
        if before["attributeStatus"] != "Accepted":
            continue  # optional variables
        status = await t.set(component, variable, value)
        t.check(status == "Rejected", "B05.FR.07", f"answers {status} to {component}.{variable} = {value!r}")
        after = (await t.get(component, variable)).get("attributeValue")
        t.check(after == before.get("attributeValue"), "B05.FR.07", f"{component}.{variable} is {after!r} afterwards")


_OFFLINE: Final = ("OCPPCommCtrlr", "OfflineThreshold")
_TARGET: Final = {"attributeType": "Target"}
_READ_ONLY: Final = ("OCPPCommCtrlr", "MessageTimeout", "30")


def _case_of_status(number: int, title: str, requirement: str, status: str, *asked: str, **more: str) -> None:
    """Add a case in which one variable is asked for, or set if there is a third value, with a certain status."""

    @B.case(
        f"TC_B_{number}_CS",
        title,
        required=f"The station answers {status}, with the component and variable that it was asked for.",
    )
    async def script(t: StationTest) -> None:
        component, variable, *value = asked
        data = variable_of(component, variable, **more) | ({"attributeValue": value[0]} if value else {})
        verb = "Set" if value else "Get"
        answer = await t.ask(f"{verb}Variables", **{f"{verb.lower()}VariableData": [data]})
        (result,) = answer[f"{verb.lower()}VariableResult"]
        t.equal(result["attributeStatus"], status, requirement, "answers {}")
        about = result["component"]["name"], result["variable"]["name"], result["variable"].get("instance")
        t.equal(about, (component, variable, data["variable"].get("instance")), requirement, "answers about {}")


for _number, _title, _requirement, _status, _asked, _more in (
    (32, "Get a variable of an unknown component", "B06.FR.06", "UnknownComponent", ("None", "Threshold"), {}),
    (33, "Get an unknown variable", "B06.FR.07", "UnknownVariable", ("OCPPCommCtrlr", "Unknown"), {}),
    (34, "Get an attribute that is not supported", "B06.FR.08", "NotSupportedAttributeType", _OFFLINE, _TARGET),
    (35, "Set a variable of an unknown component", "B05.FR.04", "UnknownComponent", ("None", "Threshold", "3"), {}),
    (36, "Set an unknown variable", "B05.FR.05", "UnknownVariable", ("OCPPCommCtrlr", "Unknown", "3"), {}),
    (37, "Set an attribute that is not supported", "B05.FR.06", "NotSupportedAttributeType", (*_OFFLINE, "3"), _TARGET),
    (39, "Set a variable that is read-only", "B05.FR.09", "Rejected", _READ_ONLY, {"instance": "Default"}),
):
    _case_of_status(_number, _title, _requirement, _status, *_asked, **_more)


# -- reports


def _is_complete(t: StationTest, entries: list[Payload], requirement: str) -> None:
    """Check what every entry of a report must have."""
    t.check(bool(entries), requirement, "the report is empty")
    for each in entries:
        name = f"{each['component']['name']}.{each['variable']['name']}"
        about = each.get("variableCharacteristics")
        t.check(about is not None, requirement, f"{name} comes without variableCharacteristics")
        listed = about is None or about["dataType"] not in LISTS or bool(about.get("valuesList"))
        t.check(listed, requirement, f"{name} is a list without valuesList")
        for one in each["variableAttribute"]:
            value = one.get("value")
            readable = one.get("mutability") != "WriteOnly"
            t.check(value is not None or not readable, "VariableAttributeType", f"{name} comes without a value")
            fits = not value or about is None or _fits(about, value)
            t.check(fits, "VariableCharacteristicsType", f"{name} is {value}, which its characteristics do not allow")


def _fits(about: Payload, value: str) -> bool:
    """Return whether a value is of a variable's data type, in its list and between its limits."""
    kind = about["dataType"]
    if kind == "boolean":
        return value in ("true", "false")
    if kind in LISTS:
        allowed = [each.strip() for each in about["valuesList"].lower().split(",")]
        chosen = [value] if kind == "OptionList" else value.split(",")
        # a long value may have been cut off (ReportingValueSize)
        return all(any(one.startswith(each.strip().lower()) for one in allowed) for each in chosen)
    form = {"integer": r"-?\d+", "decimal": r"-?\d+(\.\d+)?(e-?\d+)?"}.get(kind)
    if form is None:
        return True
    number = re.fullmatch(form, value, re.ASCII | re.IGNORECASE)
    return number is not None and about.get("minLimit", -inf) <= float(value) <= about.get("maxLimit", inf)


def _names(entries: list[Payload]) -> set[str]:
    return {f"{each['component']['name']}.{each['variable']['name']}" for each in entries}


@B.case("TC_B_12_CS", "Base report: ConfigurationInventory", also="B07.FR.01 B07.FR.03 B07.FR.04")
async def configuration_inventory(t: StationTest) -> None:
    """The report lists all variables that can be written, with their characteristics."""
    entries = await t.report("ConfigurationInventory")
    _is_complete(t, entries, "B07.FR.07")
    for each in entries:
        name = f"{each['component']['name']}.{each['variable']['name']}"
        kinds = {one.get("mutability", "ReadWrite") for one in each["variableAttribute"]}
        t.check(kinds != {"ReadOnly"}, "B07.FR.07", f"{name} is read-only")
    missing = {"OCPPCommCtrlr.OfflineThreshold", "TxCtrlr.EVConnectionTimeOut"} - _names(entries)
    t.check(not missing, "B07.FR.07", f"without {', '.join(sorted(missing))}")


@B.case("TC_B_13_CS", "Base report: FullInventory", also="B07.FR.01 B07.FR.03 B07.FR.04", quick=True)
async def full_inventory(t: StationTest) -> None:
    """The report lists all variables with their characteristics, in parts numbered from 0."""
    entries = await t.report("FullInventory")
    _is_complete(t, entries, "B07.FR.08")
    secret = next((each for each in entries if each["variable"]["name"] == "BasicAuthPassword"), None)
    shown = secret is not None and any(one.get("value") for one in secret["variableAttribute"])
    t.check(not shown, "B07.FR.08", "shows the password in SecurityCtrlr.BasicAuthPassword, which is write-only")


@B_DEVICES.case("TC_B_14_CS", "Base report: SummaryInventory", also="B07.FR.01 B07.FR.03 B07.FR.04")
async def summary_inventory(t: StationTest) -> None:
    """The report lists the availability of the station and its EVSEs, and that of connectors if it differs."""
    answer = await t.ask("GetBaseReport", requestId=(number := t.next_id()), reportBase="SummaryInventory")
    t.needs(answer["status"] != "NotSupported", "the station does not support SummaryInventory, which is optional")
    entries = await t.parts("NotifyReport", "reportData", number)
    _is_complete(t, entries, "B07.FR.09")
    wanted = {"ChargingStation.AvailabilityState", "EVSE.AvailabilityState"}
    missing = wanted - _names(entries)
    t.check(not missing, "B07.FR.09", f"without {', '.join(sorted(missing))}")


@B.case("TC_B_15_CS", "Base report that is not supported")
async def no_summary(t: StationTest) -> None:
    """A station without SummaryInventory answers NotSupported."""
    answer = await t.ask("GetBaseReport", requestId=t.next_id(), reportBase="SummaryInventory")
    t.needs(answer["status"] != "Accepted", "the station supports SummaryInventory")
    t.check(answer["status"] == "NotSupported", "B07.FR.02", f"answers {answer['status']}")


@B.case("TC_B_53_CS", "Base report has every required variable")
async def mandatory_variables(t: StationTest) -> None:
    """FullInventory has each variable that OCPP requires of every station."""
    missing = MANDATORY - _names(await t.report("FullInventory"))
    t.check(not missing, "B07.FR.08", f"without {', '.join(sorted(missing))}")


@B_DEVICES.case("TC_B_16_CS", "Custom report by criteria", also="B08.FR.01 B08.FR.03")
async def report_by_criteria(t: StationTest) -> None:
    """The report for Enabled lists only components that are enabled."""
    entries = await _custom(t, componentCriteria=["Enabled"])
    _is_complete(t, entries, "B08.FR.04")
    for each in entries:
        name = f"{each['component']['name']}.{each['variable']['name']}"
        values = [one.get("value") for one in each["variableAttribute"]]
        off = each["variable"]["name"] == "Enabled" and "true" not in values
        t.check(not off, "B08.FR.09", f"{name} is {values[0]}")


@B_DEVICES.case("TC_B_17_CS", "Custom report by variable", also="B08.FR.01 B08.FR.03")
async def report_by_variable(t: StationTest) -> None:
    """The report lists just the variable of the EVSE that was asked for."""
    entries = await _custom(t, componentVariable=[variable_of("EVSE", "AvailabilityState", evse=1)])
    _is_complete(t, entries, "B08.FR.04")
    places = [(each["component"].get("evse", {}).get("id"), each["variable"]["name"]) for each in entries]
    t.check(places == [(1, "AvailabilityState")], "B08.FR.11", f"reports {places}")


@B_DEVICES.case("TC_B_18_CS", "Custom report by criteria and variable", also="B08.FR.01 B08.FR.03 B08.FR.04")
async def report_by_both(t: StationTest) -> None:
    """The report lists the variable only if its component fulfils the criterion."""
    wanted = [variable_of("EVSE", "AvailabilityState", evse=1)]
    entries = await _custom(t, componentCriteria=["Available"], componentVariable=wanted)
    _is_complete(t, entries, "B08.FR.12")
    places = [(each["component"].get("evse", {}).get("id"), each["variable"]["name"]) for each in entries]
    t.check(places == [(1, "AvailabilityState")], "B08.FR.11", f"reports {places}")
    answer = await t.ask("GetReport", requestId=t.next_id(), componentCriteria=["Problem"], componentVariable=wanted)
    t.check(
        answer["status"] == "EmptyResultSet", "B08.FR.15", f"answers {answer['status']} for components with problems"
    )


@B_DEVICES.case("TC_B_19_CS", "Custom report of nothing")
async def report_of_nothing(t: StationTest) -> None:
    """A report for a component that does not exist is answered with EmptyResultSet."""
    asked = [variable_of("NoSuchComponent", "Enabled")]
    answer = await t.ask("GetReport", requestId=t.next_id(), componentVariable=asked)
    t.needs(answer["status"] != "NotSupported", "the station does not support custom reports")
    t.check(answer["status"] == "EmptyResultSet", "B08.FR.15", f"answers {answer['status']}")


@B_DEVICES.case("TC_B_54_CS", "Custom report of all instances", also="B08.FR.01")
async def report_of_instances(t: StationTest) -> None:
    """A variable without an instance stands for all of its instances."""
    entries = await _custom(t, componentVariable=[variable_of("DeviceDataCtrlr", "ItemsPerMessage")])
    instances = {each["variable"].get("instance") for each in entries}
    t.check(
        {"GetReport", "GetVariables"} <= instances, "B08.FR.11", f"reports the instances {sorted(map(str, instances))}"
    )


@B_DEVICES.case("TC_B_55_CS", "Custom report of one instance", also="B08.FR.01")
async def report_of_instance(t: StationTest) -> None:
    """A variable with an instance stands for that one only."""
    asked = [variable_of("DeviceDataCtrlr", "ItemsPerMessage", instance="GetReport")]
    instances = [each["variable"].get("instance") for each in await _custom(t, componentVariable=asked)]
    t.check(instances == ["GetReport"], "B08.FR.11", f"reports the instances {instances}")


@B_DEVICES.case("TC_B_56_CS", "Custom report of all EVSEs", also="B08.FR.01")
async def report_of_evses(t: StationTest) -> None:
    """A component without an EVSE stands for all EVSEs."""
    entries = await _custom(t, componentVariable=[variable_of("EVSE", "AvailabilityState")])
    evses = sorted(each["component"].get("evse", {}).get("id", 0) for each in entries)
    t.check(evses == list(range(1, t.declared.evses + 1)), "B08.FR.11", f"reports the EVSEs {evses}")


async def _custom(t: StationTest, **criteria: object) -> list[Payload]:
    number = t.next_id()
    answer = await t.ask("GetReport", requestId=number, **criteria)
    t.needs(answer["status"] != "NotSupported", "the station does not support custom reports")
    t.check(answer["status"] == "Accepted", "B08.FR.01", f"answers {answer['status']}")
    return await t.parts("NotifyReport", "reportData", number)


# -- reset


@B.case("TC_B_20_CS", "Reset on idle without a transaction", also="B11.FR.01 B01.FR.03")
async def reset_on_idle(t: StationTest) -> None:
    """The station accepts, reboots, and reports its connectors."""
    t.equal((await steps.reset(t))["reason"], "RemoteReset", "B11.FR.03", "boots with reason {}")
    await steps.all_connectors(t, "Available", "B11.FR.04")


@B.case("TC_B_21_CS", "Reset on idle with a transaction")
async def reset_scheduled(t: StationTest) -> None:
    """The station schedules the reset, and reboots once the transaction has ended."""
    await t.charging()
    await t.must_answer("Scheduled", "B12.FR.01", "Reset", type="OnIdle")
    await t.nothing("BootNotification", "B12.FR.03", within=5)
    async with t.reconnects():
        await t.present()
        await t.unplug()
        await t.expect("TransactionEvent", "B12.FR.03", eventType="Ended")
    t.equal((await steps.boot(t, "B12.FR.03"))["reason"], "ScheduledReset", "B12.FR.03", "boots with reason {}")


@B.case("TC_B_22_CS", "Immediate reset with a transaction", also="TransactionEventRequest B01.FR.03")
async def reset_at_once(t: StationTest) -> None:
    """The station ends the transaction because of the reset, and reboots."""
    await t.charging()
    async with t.reconnects():
        await t.must_answer("Accepted", "B12.FR.02", "Reset", type="Immediate")
        await _ended_by_reset(t)
    t.equal((await steps.boot(t, "B12.FR.04"))["reason"], "RemoteReset", "B12.FR.04", "boots with reason {}")
    await steps.connector_is(t, "Occupied", "B12.FR.04")


async def _ended_by_reset(t: StationTest) -> None:
    event = await t.expect("TransactionEvent", "B12.FR.04", eventType="Ended")
    t.check(event["triggerReason"] == "ResetCommand", "B12.FR.04", f"ends by {event['triggerReason']}")
    stopped = event["transactionInfo"].get("stoppedReason")
    t.check(stopped == "ImmediateReset", "B12.FR.04", f"the transaction ends with the reason {stopped}")
    t.check("idToken" not in event, "TransactionEventRequest", "ends with an idToken, though none was presented")


@B.case(
    "TC_B_23_CS", "An unavailable station stays unavailable over a reset", requirements="B11.FR.01 B11.FR.03 B11.FR.04"
)
async def unavailable_persists(t: StationTest) -> None:
    """After the reset the connectors are still Unavailable."""
    t.undo(lambda: t.ask("ChangeAvailability", operationalStatus="Operative"))
    with precondition():
        await t.must_answer("Accepted", "G03.FR.02", "ChangeAvailability", operationalStatus="Inoperative")
        await steps.all_connectors(t, "Unavailable", "G03.FR.05")
    t.forget()
    await steps.reset(t)
    await steps.all_connectors(t, "Unavailable", "B11.FR.04")


@B.case(
    "TC_B_24_CS", "A reservation stays over a reset", requirements="B11.FR.01 B11.FR.03 B11.FR.05",
    profiles=("Reservation",), needs=("ReservationCtrlr.Available",),
)  # fmt: skip
async def reservation_persists(t: StationTest) -> None:
    """After the reset the reserved connector is still Reserved."""
    number = t.next_id()
    t.undo(lambda: t.ask("CancelReservation", reservationId=number))
    with precondition():
        until = t.later(3600)
        answer = await t.ask("ReserveNow", id=number, expiryDateTime=until, idToken=t.token.payload, evseId=1)
        t.check(answer["status"] == "Accepted", "H01.FR.04", f"answers {answer['status']}")
        await steps.connector_is(t, "Reserved", "H01.FR.23")
    t.forget()
    await steps.reset(t)
    await steps.connector_is(t, "Reserved", "B11.FR.05")


async def _resets_evses(t: StationTest) -> bool:
    found = await t.get("EVSE", "AllowReset", evse=1)
    return found["attributeStatus"] == "Accepted" and found.get("attributeValue") == "true"


@B.case("TC_B_25_CS", "Reset of an EVSE without a transaction")
async def reset_evse(t: StationTest) -> None:
    """The station accepts the reset of one EVSE, and stays connected."""
    t.needs(await _resets_evses(t), "the station does not reset single EVSEs")
    await t.must_answer("Accepted", "B11.FR.01", "Reset", type="OnIdle", evseId=1)
    await t.nothing("BootNotification", "B11.FR.08", within=10)


@B.case("TC_B_26_CS", "Reset of an EVSE on idle with a transaction")
async def reset_evse_scheduled(t: StationTest) -> None:
    """The station schedules the reset of the EVSE."""
    t.needs(await _resets_evses(t), "the station does not reset single EVSEs")
    await t.charging()
    await t.must_answer("Scheduled", "B12.FR.01", "Reset", type="OnIdle", evseId=1)
    await t.nothing("TransactionEvent", "B12.FR.07", within=5, eventType="Ended")


@B.case("TC_B_27_CS", "Immediate reset of an EVSE with a transaction", also="B12.FR.08 TransactionEventRequest")
async def reset_evse_at_once(t: StationTest) -> None:
    """The station ends the transaction of the EVSE because of the reset."""
    t.needs(await _resets_evses(t), "the station does not reset single EVSEs")
    await t.charging()
    await t.must_answer("Accepted", "B12.FR.02", "Reset", type="Immediate", evseId=1)
    await _ended_by_reset(t)


@B.case("TC_B_28_CS", "Reset of an EVSE where that is not supported")
async def reset_evse_rejected(t: StationTest) -> None:
    """The station rejects the reset of a single EVSE."""
    t.needs(not await _resets_evses(t), "the station resets single EVSEs")
    await t.must_answer("Rejected", "B11.FR.09", "Reset", type="OnIdle", evseId=1)


@B.case("TC_B_29_CS", "Reset of an EVSE with a transaction where that is not supported")
async def reset_busy_evse_rejected(t: StationTest) -> None:
    """The station rejects the reset of a single EVSE, and the transaction continues."""
    t.needs(not await _resets_evses(t), "the station resets single EVSEs")
    await t.charging()
    t.forget()
    await t.must_answer("Rejected", "B12.FR.09", "Reset", type="OnIdle", evseId=1)
    await t.nothing("TransactionEvent", "B12.FR.09", within=5, eventType="Ended")


@B.case("TC_B_41_CS", "Reset on idle with transactions at two EVSEs", needs=("2 EVSEs",))
async def reset_after_both(t: StationTest) -> None:
    """The station reboots only after both transactions have ended."""
    first, second = await t.charging(1), await t.charging(2)
    await t.must_answer("Scheduled", "B12.FR.01", "Reset", type="OnIdle")
    await t.present(evse=1)
    await t.unplug(1)
    await t.expect("TransactionEvent", "B12.FR.03", eventType="Ended", transactionInfo__transactionId=first)
    await t.nothing("BootNotification", "B12.FR.03", within=5)
    async with t.reconnects():
        await t.present(evse=2)
        await t.unplug(2)
        await t.expect("TransactionEvent", "B12.FR.03", eventType="Ended", transactionInfo__transactionId=second)
    await steps.boot(t, "B12.FR.03")


# -- connection


@B.case("TC_B_43_CS", "Network profile that is rejected", also="B09.FR.02")
async def network_profile_rejected(t: StationTest) -> None:
    """The station rejects a profile for a slot that it does not have."""
    _, answer = await steps.offer(t, "wss://csms.example/ocpp", max(2, t.opening.security_profile), to="4711")
    t.check(answer["status"] == "Rejected", "B09.FR.05", f"answers {answer['status']}")


@B.case("TC_B_45_CS", "Another network profile", requirements="B09.FR.01 B10.FR.01 B10.FR.04 B10.FR.06")
async def migrates(t: StationTest) -> None:
    """After a reset the station connects by the first entry of NetworkConfigurationPriority."""
    url, host = await t.listen_also()
    await steps.migrate(t, url)
    t.check(t.opening.host == host, "B10.FR.04", f"connects to {t.opening.host} instead of {host}")
    await steps.all_connectors(t, "Available", "B01.FR.05")


@B.case("TC_B_46_CS", "Another network profile that does not work", requirements="B10.FR.03 B10.FR.04")
async def falls_back(t: StationTest) -> None:
    """The station tries the first entry NetworkProfileConnectionAttempts times, and then the next one."""
    home = t.opening.host
    await given(t.demand("OCPPCommCtrlr", "NetworkProfileConnectionAttempts", "2"))
    url, host = await t.listen_also()
    t.close(host)
    await steps.migrate(t, url)
    t.equal(t.hosts.count(host), 2, "B10.FR.03", "tries the first entry {} times")
    t.check(t.opening.host == home, "B10.FR.03", f"connects to {t.opening.host} instead of {home}")
    await steps.all_connectors(t, "Available", "B01.FR.05")


@B.case(
    "TC_B_49_CS", "Only another network profile, which does not work", requirements="B10.FR.03 B10.FR.07",
    needs=("fallback of network profiles",),
)  # fmt: skip
async def goes_back(t: StationTest) -> None:
    """The station goes back to the network profile with which it was connected last, and keeps trying it."""
    home = t.opening.host
    with precondition():
        await t.demand("OCPPCommCtrlr", "NetworkProfileConnectionAttempts", "1")
        url, host = await t.listen_also()
        await steps.prefer_url(t, url, only=True)
        t.close(host)
        t.close(home)
        await steps.leave(t)
    await steps.tried(t, host, 1, "B10.FR.04")
    await steps.tried(t, home, 1, "B10.FR.07")
    t.open(home)
    await t.reconnected("B10.FR.07")
    await steps.boot(t, "B10.FR.07")
    t.check(t.opening.host == home, "B10.FR.07", f"connects to {t.opening.host} instead of {home}")


@B.case("TC_B_50_CS", "Another network profile, with a new root of the back end", also="M05.FR.02")
async def migrates_to_another_root(t: StationTest) -> None:
    """The station connects to a back end whose certificate is below the root that was installed."""
    level = t.opening.security_profile
    t.needs(level > 1, "it connects without TLS")
    t.needs(level == 2 or t.authority is not None, "needs the key of the authority of its certificate (--ca-key)")
    root = await given(install(t, CSMS))
    clients = t.authority if level == 3 else None
    url, host = await t.listen_also(root.server(t.server_name, clients=clients))
    await steps.migrate(t, url)
    t.check(t.opening.host == host, "B10.FR.04", f"connects to {t.opening.host} instead of {host}")


@B.case("TC_B_51_CS", "State of connectors after a long time offline")
async def long_offline(t: StationTest) -> None:
    """After more than OfflineThreshold the station reports the state of all connectors, changed or not."""
    await given(t.demand("OCPPCommCtrlr", "OfflineThreshold", "2"))
    t.forget()
    async with t.away(8):
        pass
    await steps.all_connectors(t, "Available", "B04.FR.01")


@B.case("TC_B_52_CS", "State of connectors after a short time offline")
async def short_offline(t: StationTest) -> None:
    """After less than OfflineThreshold the station reports only the connectors whose state has changed."""
    await given(t.demand("OCPPCommCtrlr", "OfflineThreshold", "600"))
    t.forget()
    async with t.away(8):
        await t.plug()
    await steps.connector_is(t, "Occupied", "B04.FR.02")
    for evse in range(2, t.declared.evses + 1):
        await t.nothing("StatusNotification", "B04.FR.02", within=2, evseId=evse)


@B.case("TC_B_57_CS", "Reconnection after a loss of the connection", also=("OCPP-J 5.3",))
async def back_off(t: StationTest) -> None:
    """The station waits at least RetryBackOffWaitMinimum, and at least twice as long the second time."""
    with precondition():
        await t.demand("OCPPCommCtrlr", "RetryBackOffWaitMinimum", "5")
        await t.demand("OCPPCommCtrlr", "RetryBackOffRandomRange", "0")
        await t.demand("OCPPCommCtrlr", "RetryBackOffRepeatTimes", "2")
    first, second = await t.attempts(2)
    t.check(first >= 5, "OCPP-J 5.3", f"connects again after {first:.1f} s")
    t.check(second >= 2 * 5, "OCPP-J 5.3", f"connects again after {second:.1f} s, the second time")


@B.case("V2G-B-01-CS", "An answer that takes its time", requirements=("OCPP-J 4.1.1",), quick=True)
async def slow_answer(t: StationTest) -> None:
    """The station sends its next request when it has the answer to the one before."""
    async with t.holding():
        with precondition():
            for _ in range(3):
                answer = await t.ask("TriggerMessage", requestedMessage="Heartbeat")
                t.needs(answer["status"] == "Accepted", "it sends no Heartbeat when it is asked")
            await t.expect("Heartbeat")


@B.case("V2G-B-03-CS", "Request that no version has", requirements=("OCPP-J 4.3",), quick=True)
async def unknown_action(t: StationTest) -> None:
    """The station answers it with NotImplemented or NotSupported, or not at all, and answers the next request."""
    await judge_unknown(t, t.ask("UnknownToAll"))
    await t.get("OCPPCommCtrlr", "OfflineThreshold")


B_21: Final[Block[StationTest]] = Block(versions=("2.1",))


# -- reset (B13)


@B_21.case("TC_B_101_CS", "Reset that transactions survive, with ResumptionTimeout 0")
async def reset_rejected(t: StationTest) -> None:
    """The station rejects the reset, and continues to charge."""
    await t.demand("TxCtrlr", "ResumptionTimeout", "0")
    await t.charging()
    await t.must_answer("Rejected", "B13.FR.01", "Reset", type="ImmediateAndResume")
    await t.nothing("TransactionEvent", "B13.FR.01", within=5, triggerReason="ResetCommand")


def _case_of_reset(number: int, *, energy: bool) -> None:
    requirement = "B13.FR.24" if energy else "B13.FR.25"

    @B_21.case(
        f"TC_B_{number}_CS",
        f"Reset that transactions survive, {'with' if energy else 'without'} energy afterwards",
        also="B13.FR.23 B13.FR.30",
    )
    async def script(t: StationTest) -> None:
        """The station reports the reset, boots, and resumes the transaction."""
        await may_resume(t, 300, energy=energy)
        transaction = await t.charging()
        async with t.reconnects():
            await t.must_answer("Accepted", "B13.FR.03", "Reset", type="ImmediateAndResume")
        await t.expect(
            "TransactionEvent",
            "B13.FR.04",
            eventType="Updated",
            triggerReason="ResetCommand",
            transactionInfo__transactionId=transaction,
        )
        await boot(t, "B13.FR.21")
        await resumes(t, transaction, requirement, energy=energy)


_case_of_reset(102, energy=False)
_case_of_reset(103, energy=True)


@B_21.case("TC_B_104_CS", "Reset that transactions survive, without a transaction", also="B01.FR.01")
async def reset_idle(t: StationTest) -> None:
    """The station accepts the reset, boots as after any other, and sends no events of transactions."""
    await may_resume(t, 300)
    async with t.reconnects():
        await t.must_answer("Accepted", "B13.FR.02", "Reset", type="ImmediateAndResume")
    t.equal((await boot(t))["reason"], "RemoteReset", "B13.FR.02", "boots with the reason {}")
    await t.nothing("TransactionEvent", "B13.FR.02", within=5)


# -- network profiles (B09)

_PASSWORD: Final = "a-password-of-the-tester"  # noqa: S105 - no secret


async def _free_slot(t: StationTest) -> str:
    """Return a slot of the station that is not in use, if it can be an empty one. What can be read of it is written
    back after the case. Raises NotApplicable."""
    priority = (await t.value("OCPPCommCtrlr", "NetworkConfigurationPriority")).split(",")
    slots = {str(each["component"].get("instance")) for each in _entries(t)}
    free = sorted(slots - {each.strip() for each in priority})
    t.needs(bool(free), "it has no free slot for a network profile")
    urls = {slot: (await _slot(t, slot, "OcppCsmsUrl")).get("attributeValue") for slot in free}
    slot = min(free, key=lambda each: bool(urls[each]))
    names = {each["variable"]["name"] for each in _entries(t, slot) if _is_writable(each)}
    before = {name: str((await _slot(t, slot, name)).get("attributeValue", "")) for name in names}
    if before:
        t.undo(lambda: _put(t, slot, before))
    return slot


def _entries(t: StationTest, slot: str = "") -> list[Payload]:
    """Return what the station has reported of network profiles, or of one."""
    found = [each for each in t.reported if each["component"]["name"] == "NetworkConfiguration"]
    return [each for each in found if not slot or str(each["component"].get("instance")) == slot]


def _is_writable(entry: Payload) -> bool:
    """Return whether a reported variable can be set."""
    return bool(entry["variableAttribute"][0].get("mutability", "ReadWrite") != "ReadOnly")


async def _slot(t: StationTest, slot: str, variable: str) -> Payload:
    """Return the result of reading a variable of a slot."""
    place = {"component": {"name": "NetworkConfiguration", "instance": slot}, "variable": {"name": variable}}
    answer = await t.ask("GetVariables", getVariableData=[place])
    found: Payload = answer["getVariableResult"][0]
    return found


async def _put(t: StationTest, slot: str, values: dict[str, str]) -> dict[str, str]:
    """Set variables of a slot; return the status of each."""
    data = [
        {"component": {"name": "NetworkConfiguration", "instance": slot}, "variable": {"name": name},
         "attributeValue": value}
        for name, value in values.items()
    ]  # fmt: skip
    answer = await t.ask("SetVariables", setVariableData=data)
    return {each["variable"]["name"]: each["attributeStatus"] for each in answer["setVariableResult"]}


async def _profile(t: StationTest) -> dict[str, str]:
    """Return the variables of the slot in use that another needs."""
    slot = (await t.value("OCPPCommCtrlr", "NetworkConfigurationPriority")).split(",")[0].strip()
    names = ("OcppCsmsUrl", "OcppInterface", "OcppTransport", "MessageTimeout", "SecurityProfile")
    found = {name: await _slot(t, slot, name) for name in names}
    return {name: str(each["attributeValue"]) for name, each in found.items() if each["attributeStatus"] == "Accepted"}


def _by_variables(t: StationTest) -> None:
    urls = (each for each in _entries(t) if each["variable"]["name"] == "OcppCsmsUrl")
    t.needs(any(map(_is_writable, urls)), "its network profiles cannot be set by variables")


@B_21.case("TC_B_100_CS", "Network profile with an identity and a password", requirements="B09.FR.09 B09.FR.11")
async def profile_with_identity(t: StationTest) -> None:
    """The station accepts the profile, and has it in the variables of its slot, but for the password."""
    slot, now = await _free_slot(t), await _profile(t)
    data = {
        "ocppVersion": "OCPP21", "ocppTransport": "JSON", "ocppInterface": now.get("OcppInterface", "Any"),
        "ocppCsmsUrl": now["OcppCsmsUrl"], "messageTimeout": 30, "securityProfile": int(now["SecurityProfile"]),
        "identity": "CS-V2G-OTHER", "basicAuthPassword": _PASSWORD,
    }  # fmt: skip
    t.hide(_PASSWORD)
    plain = {name: value for name, value in data.items() if name not in ("identity", "basicAuthPassword")}
    # its password cannot be read, and written back
    t.undo(lambda: t.ask("SetNetworkProfile", configurationSlot=int(slot), connectionData=plain))
    await t.must_answer("Accepted", "B09.FR.01", "SetNetworkProfile", configurationSlot=int(slot), connectionData=data)
    for name, value in (("Identity", "CS-V2G-OTHER"), ("ApnEnabled", "false"), ("VpnEnabled", "false")):
        found = (await _slot(t, slot, name)).get("attributeValue", "")
        requirement = "B09.FR.09" if name == "Identity" else "B09.FR.11"
        t.check(found.lower() == value.lower(), requirement, f"{name} of the slot is {found or 'empty'}")
    secret = await _slot(t, slot, "BasicAuthPassword")
    t.check(secret["attributeStatus"] == "Rejected", "B06.FR.09", "lets the password be read")


@B_21.case("TC_B_105_CS", "Network profile by variables", also="B09.FR.08 B09.FR.10")
async def profile_by_variables(t: StationTest) -> None:
    """The station takes the variables of a free slot, uses it first after a reset, and connects."""
    _by_variables(t)
    slot, values = await _free_slot(t), await _profile(t)
    results = await _put(t, slot, values)
    wrong = [name for name, status in results.items() if status != "Accepted"]
    t.check(not wrong, "B09.FR.24", f"does not take {', '.join(wrong)}")
    before = await t.value("OCPPCommCtrlr", "NetworkConfigurationPriority")
    t.undo(lambda: reset(t))  # after the priority is as before: so that it is connected by another slot
    status = await t.set("OCPPCommCtrlr", "NetworkConfigurationPriority", f"{slot},{before}")
    t.check(status in ("Accepted", "RebootRequired"), "B09.FR.33", f"answers {status} to the new priority")
    async with t.reconnects():
        await t.ask("Reset", type="OnIdle")
    await boot(t)
    active = await t.get("OCPPCommCtrlr", "ActiveNetworkProfile")
    if active["attributeStatus"] == "Accepted":
        found = active.get("attributeValue")
        t.check(found == slot, "B09.FR.33", f"uses the profile {found} instead of {slot}")


@B_21.case("TC_B_107_CS", "Slots are added to the priority and removed", requirements="B09.FR.20 B09.FR.33 B09.FR.34")
async def slots(t: StationTest) -> None:
    """The station takes a slot that is configured, and its removal; it rejects one that is empty."""
    _by_variables(t)
    slot, values = await _free_slot(t), await _profile(t)
    before = await t.value("OCPPCommCtrlr", "NetworkConfigurationPriority")
    with precondition():
        results = await _put(t, slot, values)
        t.check(set(results.values()) == {"Accepted"}, "B09.FR.24", f"answers {results}")
    for wanted, expected, requirement in (
        (f"{before},{slot}", "Accepted", "B09.FR.33"),
        (before, "Accepted", "B09.FR.20"),
        (f"{before},4711", "Rejected", "B09.FR.34"),
    ):
        status = await t.set("OCPPCommCtrlr", "NetworkConfigurationPriority", wanted)
        fine = status == expected or (expected == "Accepted" and status == "RebootRequired")
        t.check(fine, requirement, f"answers {status} to the priority {wanted}")


@B_21.case("TC_B_108_CS", "The slot in use is not overwritten")
async def slot_in_use(t: StationTest) -> None:
    """The station rejects a variable of a slot in NetworkConfigurationPriority, and keeps its value."""
    _by_variables(t)
    slot = (await t.value("OCPPCommCtrlr", "NetworkConfigurationPriority")).split(",")[0].strip()
    before = (await _slot(t, slot, "MessageTimeout")).get("attributeValue")
    other = "77" if before != "77" else "78"
    status = (await _put(t, slot, {"MessageTimeout": other}))["MessageTimeout"]
    t.check(status == "Rejected", "B09.FR.22", f"answers {status}")  # a SHALL, by the errata of 2025-09
    found = (await _slot(t, slot, "MessageTimeout")).get("attributeValue")
    t.check(found == before, "B09.FR.22", f"has the value {found} instead of {before}")


@B_21.case(
    "TC_B_109_CS",
    "A new password, while the slot in use has one of its own",
    requirements="B09.FR.27 A01.FR.01 A01.FR.02",
)
async def password_of_controller(t: StationTest) -> None:
    """The station connects with the password of the slot, then with the new one of SecurityCtrlr."""
    kept(t, _PASSWORD, PASSWORD)
    slot, before = await _free_slot(t), await t.value(*PRIORITY)
    with precondition():
        now = await _profile(t)
        _, answer = await offer(t, now["OcppCsmsUrl"], to=slot, basicAuthPassword=_PASSWORD)
        t.check(answer["status"] == "Accepted", "B09.FR.01", f"answers {answer['status']}")
        t.undo(lambda: reset(t))
        await t.set(*PRIORITY, f"{slot},{before}")
        await reset(t)
        t.check(t.opening.password == _PASSWORD, "B09.FR.01", "connects without the password of the slot")
    async with t.reconnects():
        status = t.one_of(await t.write(*VARIABLE, PASSWORD), ("Accepted", "RebootRequired"), "A01.FR.02", "answers {}")
        if status == "RebootRequired":
            await t.ask("Reset", type="OnIdle")
    t.check(t.opening.password == PASSWORD, "B09.FR.27", "connects with another password")


def _case_of_downgrade(number: int, *, allowed: bool, by_variables: bool) -> None:
    requirement = {(True, False): "B09.FR.31", (True, True): "B09.FR.32",
                   (False, False): "B09.FR.04", (False, True): "B09.FR.35"}[allowed, by_variables]  # fmt: skip

    @B_21.case(
        f"TC_B_{number}_CS",
        ("No downgrade to security profile 1" if allowed else "No lower security profile")
        + (", by variables" if by_variables else ""),
        required="The station rejects the security profile"
        + (", although it allows downgrades." if allowed else ", as it does not allow downgrades."),
    )
    async def script(t: StationTest) -> None:
        # let the station take lower security profiles, or not. Raises NotApplicable
        t.needs(t.opening.security_profile > 1, "its security profile is the lowest")
        if allowed or (await t.get(*_DOWNGRADE))["attributeStatus"] == "Accepted":
            await t.demand(*_DOWNGRADE, str(allowed).lower())
        level = 1 if allowed else t.opening.security_profile - 1
        if by_variables:
            _by_variables(t)
        slot = await _free_slot(t)
        if by_variables:
            status = (await _put(t, slot, {"SecurityProfile": str(level)}))["SecurityProfile"]
        else:
            url = f"{'ws' if level == 1 else 'wss'}://{t.opening.host}/ocpp"
            status = (await offer(t, url, level, to=slot))[1]["status"]
        t.check(status == "Rejected", requirement, f"answers {status} to security profile {level}")


_DOWNGRADE: Final = ("SecurityCtrlr", "AllowSecurityProfileDowngrade")
_case_of_downgrade(110, allowed=True, by_variables=False)
_case_of_downgrade(111, allowed=True, by_variables=True)
_case_of_downgrade(112, allowed=False, by_variables=False)
_case_of_downgrade(113, allowed=False, by_variables=True)
