"""Functional block N, diagnostics: cases for back ends."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from v2g.ocpp.routes import Version
from v2g.typed_json import Fields
from v2g_testkit.ocpp.case import BOTH, Block, Payload, Profile, given
from v2g_testkit.ocpp.csms_tester import CsmsTest, covers
from v2g_testkit.ocpp.station_tester import variable_of

N: Final[Block[CsmsTest]] = Block(profiles=("Advanced Device Management",), needs=("monitors are read",), booted=True)

_PROFILE: Final[tuple[Profile, ...]] = ("Advanced Device Management",)
_EVSE: Final[Payload] = {"name": "EVSE", "evse": {"id": 1}}
_STATION: Final[Payload] = {"name": "ChargingStation"}


def _about(component: Payload, variable: str) -> Payload:
    return {"component": component, "variable": {"name": variable}}


# -- reports of monitors

_THRESHOLDS: Final[Payload] = {"monitoringCriteria": ["ThresholdMonitoring"]}
_DELTAS: Final[Payload] = {"monitoringCriteria": ["DeltaMonitoring"]}


def _of(*variables: Payload) -> Payload:
    return {"componentVariable": list(variables)}


async def _asks(t: CsmsTest, status: str, criteria: Payload) -> int:
    """Have the back end ask for monitors, and only for these; return the number of the request."""
    t.answer("GetMonitoringReport", {"status": status})
    without = tuple({"monitoringCriteria", "componentVariable"} - criteria.keys())
    sent = await t.asked("GetMonitoringReport", "N02.FR.05", without=without, requestId=t.next_id(), **criteria)
    return int(sent["requestId"])


async def _report(t: CsmsTest, number: int, kind: str) -> None:
    """Report a monitor in each of two parts."""
    for part in (0, 1):
        monitor: Payload = {"id": part + 1, "transaction": False, "value": 1.0, "type": kind, "severity": 8}
        if t.version == "2.1":
            monitor["eventNotificationType"] = "CustomMonitor"
        data = _about(_EVSE, "AvailabilityState") | {"variableMonitoring": [monitor]}
        about = {"requestId": number, "generatedAt": t.now(), "seqNo": part, "tbc": part == 0}
        await t.call("NotifyMonitoringReport", **about, monitor=[data])


def _reports(id: str, title: str, nothing: Payload, something: Payload) -> None:  # noqa: A002 - as in every case
    @N.case(id, title, also="N02.FR.05 N02.FR.10", quick=id == "TC_N_01_CSMS")
    async def script(t: CsmsTest) -> None:
        """The back end asks for the monitors that are meant, and acknowledges each part of the report."""
        await _asks(t, "EmptyResultSet", nothing)
        number = await _asks(t, "Accepted", something)
        await _report(t, number, "Delta" if "DeltaMonitoring" in str(something) else "UpperThreshold")


_reports("TC_N_01_CSMS", "Report of monitors by criterion", _DELTAS, _THRESHOLDS)
_reports(
    "TC_N_02_CSMS", "Report of monitors by variable", _of(_about(_STATION, "Power")),
    _of(_about(_EVSE, "AvailabilityState")),
)  # fmt: skip
_reports(
    "TC_N_03_CSMS", "Report of monitors by criterion and variable", _DELTAS | _of(_about(_EVSE, "AvailabilityState")),
    _THRESHOLDS | _of(_about(_STATION, "Power")),
)  # fmt: skip
_reports(
    "TC_N_60_CSMS",
    "Report of monitors by criterion and two variables",
    _THRESHOLDS | _of(_about(_STATION, "Power"), _about(_EVSE, "Power")),
    _DELTAS | _of(_about(_STATION, "AvailabilityState"), _about(_EVSE, "AvailabilityState")),
)


@N.case("TC_N_47_CSMS", "Report of all monitors", also="N02.FR.11")
async def report_of_all(t: CsmsTest) -> None:
    """The back end asks without criteria, and acknowledges each part of the report."""
    await _report(t, await _asks(t, "Accepted", {}), "Delta")


# -- set and clear


@N.case("TC_N_05_CSMS", "Monitoring base", also="N03.FR.03 N03.FR.04 N03.FR.05", needs=("monitoring base",))
async def base(t: CsmsTest) -> None:
    """The back end sets each of the three bases."""
    for wanted, requirement in (("All", "03"), ("FactoryDefault", "04"), ("HardWiredOnly", "05")):
        await t.asked("SetMonitoringBase", f"N03.FR.{requirement}", monitoringBase=wanted)


def _level(id: str, status: str) -> None:  # noqa: A002
    @N.case(id, f"Monitoring level that the station answers with {status}", also="N05", needs=("monitoring level",))
    async def script(t: CsmsTest) -> None:
        """The back end sets the right severity, and continues after the answer."""
        t.answer("SetMonitoringLevel", {"status": status})
        await t.asked("SetMonitoringLevel", "N05", severity=4)
        await t.call("Heartbeat")


_level("TC_N_16_CSMS", "Accepted")
_level("TC_N_17_CSMS", "Rejected")


def _installed(request: Payload) -> Payload:
    return {
        "setMonitoringResult": [
            {name: each[name] for name in ("type", "severity", "component", "variable")}
            | {"id": number, "status": "Accepted"}
            for number, each in enumerate(request["setMonitoringData"], 1)
        ]
    }


async def _install(t: CsmsTest, *components: Payload) -> None:
    """Have the back end watch the AvailabilityState of components."""
    t.answer("SetVariableMonitoring", _installed)
    wanted = [{"value": 1.0, "type": "Delta", "severity": 8} | _about(each, "AvailabilityState") for each in components]
    await t.asked("SetVariableMonitoring", "N04.FR.01", setMonitoringData=wanted)


@N.case("TC_N_08_CSMS", "Set one monitor", also="N04.FR.01 N04.FR.17", needs=("monitors",), quick=True)
async def set_one(t: CsmsTest) -> None:
    """The back end sets the monitor with all of its values; that of a text is 1."""
    await _install(t, _EVSE)


@N.case(
    "TC_N_09_CSMS", "Set monitors of two components", also="N04.FR.01 N04.FR.17", profiles=(),
    needs=("monitors", "several monitors in one request"),
)  # fmt: skip
async def set_two(t: CsmsTest) -> None:
    """The back end sets both monitors in one request."""
    await _install(t, _EVSE, _STATION)


def _cleared(status: str) -> Callable[[Payload], Payload]:
    def answer(request: Payload) -> Payload:
        return {"clearMonitoringResult": [{"id": each, "status": status} for each in request["id"]]}

    return answer


@N.case(
    "TC_N_18_CSMS", "Clear more monitors than fit into a request", needs=("monitors", "several monitors in one request")
)
async def clear_in_parts(t: CsmsTest) -> None:
    """The back end sends no more than ItemsPerMessage monitors in a request, and clears all of them."""
    most = variable_of("MonitoringCtrlr", "ItemsPerMessage", instance="ClearVariableMonitoring")
    await given(t.asked("GetVariables", getVariableData=[most]))
    t.answer("ClearVariableMonitoring", _cleared("NotFound"))
    wanted = [101, 102, 103]
    await t.operate("ClearVariableMonitoring", id=wanted)
    found: list[int] = []
    while len(found) < len(wanted):
        part = (await t.expect("ClearVariableMonitoring", "N06.FR.04"))["id"]
        t.check(len(part) <= 2, "N06.FR.04", f"clears {len(part)} monitors at once, of a station that takes 2")
        found += part
    t.check(sorted(found) == wanted, "N06.FR.04", f"clears {found} instead of {wanted}")


@N.case("TC_N_44_CSMS", "Monitor that stays", needs=("monitors",))
async def clear_rejected(t: CsmsTest) -> None:
    """The back end clears the right monitor, and continues after the answer Rejected."""
    await given(_install(t, _EVSE))
    t.answer("ClearVariableMonitoring", _cleared("Rejected"))
    sent = await t.asked("ClearVariableMonitoring", "N06.FR.03", id=[1])
    t.check(sent["id"] == [1], "N06.FR.03", f"clears {sent['id']} instead of [1]")
    await t.call("Heartbeat")


# -- events


def _events(id: str, title: str, value: str = "Available", times: int = 1, **more: Any) -> None:  # noqa: A002
    @N.case(id, title, also="N07.FR.03", profiles=() if id == "TC_N_48_CSMS" else _PROFILE, needs=())
    async def script(t: CsmsTest) -> None:
        """The back end acknowledges the event with an empty answer."""
        for _ in range(times):
            await t.event(_EVSE, "AvailabilityState", value, **more)


_events(
    "TC_N_21_CSMS", "Alert of a monitor in hardware", trigger="Alerting", eventNotificationType="HardWiredMonitor",
    variableMonitoringId=7,
)  # fmt: skip
_events(
    "TC_N_24_CSMS", "Events of a periodic monitor", times=3, trigger="Periodic", eventNotificationType="CustomMonitor"
)
_events("TC_N_48_CSMS", "Event of a variable that can only be written", "", eventNotificationType="CustomMonitor")
_events("TC_N_49_CSMS", "Cleared after a reboot", trigger="Alerting", cleared=True)
_events("TC_N_50_CSMS", "Periodic event", trigger="Periodic")


# -- logs


async def _log(
    t: CsmsTest,
    kind: str,
    status: str,
    where: str = "https://logs.example/upload",
    more: Payload | None = None,
    **times: str,
) -> Payload:
    """Have the back end ask for a log, wherever it is sent; return the request, which has what is in `more`."""
    t.answer("GetLog", {"status": status, "filename": "log.txt"})
    about: Payload = {"log": {"remoteLocation": where, **times}, "logType": kind} | (more or {})
    sent = await t.asked("GetLog", "N01", free=("log",), requestId=t.next_id(), **about)
    address = urlsplit(sent["log"]["remoteLocation"])
    t.check(bool(address.scheme and address.netloc), "N01", "remoteLocation is no URL")
    if t.version == "2.1":
        t.check(not address.fragment, "N01.FR.27", "remoteLocation has a fragment, which no upload sends")
        t.check(not address.query.endswith("/"), "N01.FR.28", "the query of remoteLocation ends with a slash")
    oldest, latest = (sent["log"].get(name) for name in ("oldestTimestamp", "latestTimestamp"))
    empty = oldest is not None and latest is not None and t.until(oldest) > t.until(latest)
    t.check(not empty, "N01", f"asks for what was logged from {oldest} to {latest}, which is nothing")
    for name, wanted in times.items():
        t.check(name in sent["log"], "N01", f"the request has no {name}")
        t.is_at(sent["log"][name], wanted, "N01")
    return sent


async def _uploads(t: CsmsTest, request: Payload, *statuses: str) -> None:
    for status in statuses:
        await t.call("LogStatusNotification", status=status, requestId=request["requestId"])


def _uploaded(
    id: str,  # noqa: A002
    kind: str,
    profiles: tuple[Profile, ...] = ("Core",),
    versions: tuple[Version, ...] = BOTH,
) -> None:
    @N.case(
        id, f"{kind} that is uploaded", also="N01", profiles=profiles, versions=versions, needs=(kind,),
        quick=kind == "DiagnosticsLog",
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        """The back end asks for the right kind of log, and acknowledges the progress of the upload."""
        await _uploads(t, await _log(t, kind, "Accepted"), "Uploading", "Uploaded")


@N.case(
    "V2G-N-01-CSMS",
    "Log of a time, with retries",
    requirements=("N01",),
    needs=("DiagnosticsLog", "retries of transfers"),
)
async def log_of_a_time(t: CsmsTest) -> None:
    """The back end sends from when to when the log is asked for, and how often the station may try to upload it."""
    times = {"oldestTimestamp": t.later(-7200), "latestTimestamp": t.later(-3600)}
    await _log(t, "DiagnosticsLog", "Accepted", more={"retries": 2, "retryInterval": 90}, **times)


_uploaded("TC_N_25_CSMS", "DiagnosticsLog")
_uploaded("TC_N_35_CSMS", "SecurityLog")
_uploaded("TC_N_100_CSMS", "DataCollectorLog", (), ("2.1",))


@N.case(
    "TC_N_102_CSMS", "Log for a server with a password", profiles=(), versions=("2.1",),
    needs=("DiagnosticsLog", "passwords of uploads"),
)  # fmt: skip
async def log_with_password(t: CsmsTest) -> None:
    """The back end gives the station the name and password of its upload within the URL."""
    sent = await _log(t, "DiagnosticsLog", "Accepted", "https://logs:upload-secret@logs.example/upload")
    address = urlsplit(sent["log"]["remoteLocation"])
    t.check(bool(address.username and address.password), "N01.FR.17", "remoteLocation has no name and password")
    await _uploads(t, sent, "Uploading", "Uploaded")


@N.case("TC_N_34_CSMS", "Log that the station refuses", also="N01.FR.05", profiles=("Core",), needs=("DiagnosticsLog",))
async def log_rejected(t: CsmsTest) -> None:
    """The back end asks for the log, and continues after the answer Rejected."""
    await _log(t, "DiagnosticsLog", "Rejected")
    await t.call("Heartbeat")


@N.case(
    "TC_N_36_CSMS", "Second log while the first is uploaded", also="N01.FR.20", profiles=("Core",),
    needs=("DiagnosticsLog",),
)  # fmt: skip
async def second_log(t: CsmsTest) -> None:
    """The back end asks twice under different requestIds, and acknowledges the progress of both."""
    first = await _log(t, "DiagnosticsLog", "Accepted")
    await _uploads(t, first, "Uploading")
    second = await _log(t, "DiagnosticsLog", "AcceptedCanceled")
    same = first["requestId"] == second["requestId"]
    t.check(not same, "N01.FR.12", f"both requests have the requestId {first['requestId']}")
    await _uploads(t, first, "AcceptedCanceled")
    await _uploads(t, second, "Uploading", "Uploaded")


# -- customers

_CERTIFICATE: Final[Payload] = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "1f" * 32,
    "issuerKeyHash": "2e" * 32,
    "serialNumber": "3d",
}
_WAYS: Final = frozenset({"idToken", "customerCertificate", "customerIdentifier"})


async def _customer(t: CsmsTest, customer: Payload, *, report: bool, clear: bool, status: str = "Accepted") -> int:
    """Have the back end ask about a customer, named one way; return the number of the request."""
    requirement = "N10.FR.08" if clear else "N09.FR.04"
    t.answer("CustomerInformation", {"status": status})
    without = tuple(_WAYS - customer.keys())
    about: Payload = {"requestId": t.next_id(), "report": report, "clear": clear}
    sent = await t.asked("CustomerInformation", requirement, without=without, **about, **customer)
    return int(sent["requestId"])


async def _told(t: CsmsTest, number: int, *parts: str) -> None:
    for seq_no, data in enumerate(parts):
        about = {"requestId": number, "generatedAt": t.now(), "seqNo": seq_no, "tbc": seq_no + 1 < len(parts)}
        await t.call("NotifyCustomerInformation", data=data, **about)


def _customers(
    id: str,  # noqa: A002
    title: str,
    *parts: str,
    report: bool = True,
    clear: bool = False,
    status: str = "Accepted",
    way: Payload | None = None,
    profile: Profile = "Core",
    need: str = "customer information",
) -> None:
    required = "The back end asks for it, names the customer in one way, and acknowledges the report."
    if not parts:
        required = "The back end asks for it, names the customer in one way, and continues after the answer."

    @N.case(
        id, title, required=required, requirements=("N10.FR.08",) if clear else ("N09.FR.01", "N09.FR.04"),
        profiles=(profile,), needs=(need,),
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        customer = {"idToken": t.declared.token.payload} if way is None else way
        number = await _customer(t, customer, report=report, clear=clear, status=status)
        await _told(t, number, *parts)
        await t.call("Heartbeat")


_DATA: Final = ("charged on Monday", "charged on Tuesday")
_customers("TC_N_27_CSMS", "Data of a customer", *_DATA)
_customers("TC_N_28_CSMS", "No data of a customer", "")
_customers("TC_N_29_CSMS", "Data of a customer that the station refuses", status="Rejected")
_customers("TC_N_30_CSMS", "Report and clear data of a customer", *_DATA, clear=True)
_customers("TC_N_31_CSMS", "Report and clear where there is no data", "", clear=True)
_customers("TC_N_32_CSMS", "Clear data of a customer without a report", "", report=False, clear=True)
_customers(
    "TC_N_62_CSMS", "Report and clear data by an identifier", *_DATA, clear=True,
    way={"customerIdentifier": "OpenChargeAlliance"}, need="customers by identifier",
)  # fmt: skip
_customers(
    "TC_N_63_CSMS", "Report and clear data by a certificate", *_DATA, clear=True,
    way={"customerCertificate": _CERTIFICATE}, profile="ISO 15118 Support", need="customers by certificate",
)  # fmt: skip


@N.case(
    "TC_N_46_CSMS", "Cleared customer of the local list", also="N10.FR.08",
    profiles=("Local Authorization List Management",), needs=("customer information", "local list"),
)  # fmt: skip
async def clear_from_local_list(t: CsmsTest) -> None:
    """The back end removes the customer from the station's local list by differences, with a higher version."""
    token = t.declared.token.payload
    listed: Payload = {"localAuthorizationList": [{"idToken": token, "idTokenInfo": {"status": "Accepted"}}]}
    full = await given(t.asked("SendLocalList", free=tuple(listed), versionNumber=1, updateType="Full", **listed))
    t.answer("GetLocalListVersion", {"versionNumber": full["versionNumber"]})
    number = await _customer(t, {"idToken": token}, report=True, clear=True)
    await _told(t, number, "charged on Monday")
    sent = await t.expect("SendLocalList", "N10.FR.02", updateType="Differential")
    newer = sent["versionNumber"] > full["versionNumber"]
    t.check(newer, "D01.FR.18", f"version {sent['versionNumber']} follows {full['versionNumber']}")
    entries = sent.get("localAuthorizationList", [])
    gone = any(covers(each["idToken"], token) and "idTokenInfo" not in each for each in entries)
    t.check(gone, "N10.FR.02", "does not remove the customer from the local list")


# -- periodic event streams (OCPP 2.1)

_STREAMS: Final[Fields] = {
    "versions": ("2.1",),
    "profiles": ("Advanced Device Management",),
    "needs": ("periodic event streams",),
}
_STREAM: Final = {"id": 7, "variableMonitoringId": 7, "params": {"interval": 10}}


async def _opens(t: CsmsTest) -> None:
    """Open a stream. Raises Failed."""
    answer = await t.call("OpenPeriodicEventStream", constantStreamData=_STREAM)
    t.check(answer["status"] == "Accepted", "N11.FR.06", f"answers {answer['status']} to the stream")


async def _monitored(t: CsmsTest) -> None:
    """Have the back end set a monitor with a stream. Raises Failed."""
    about: Payload = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
    monitor = about | {"type": "Periodic", "value": 2.0, "severity": 8, "periodicEventStream": {"interval": 10}}
    result = about | {"id": 7, "type": "Periodic", "severity": 8, "status": "Accepted"}
    t.answer("SetVariableMonitoring", {"setMonitoringResult": [result]})
    await t.asked("SetVariableMonitoring", "N11.FR.09", setMonitoringData=[monitor])


@N.case("TC_N_105_CSMS", "Stream of a periodic monitor", also="N11.FR.06 N11.FR.09 N13.FR.02", **_STREAMS)
async def stream(t: CsmsTest) -> None:
    """The back end sets the monitor with the rate of its stream, and accepts the stream."""
    await _monitored(t)
    await _opens(t)
    await t.call("ClosePeriodicEventStream", id=7)


@N.case("TC_N_107_CSMS", "Streams are read", **_STREAMS)
async def streams(t: CsmsTest) -> None:
    """The back end asks for the streams that are open."""
    await given(_monitored(t), _opens(t))
    t.answer("GetPeriodicEventStream", {"constantStreamData": [_STREAM]})
    await t.asked("GetPeriodicEventStream", "N12.FR.01")
    await t.call("ClosePeriodicEventStream", id=7)
