"""The lab of OCPP 1.6 finds every fault of devices that are not ours, and none where there is none."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from ocpp.routing import on
from ocpp.v16 import call, call_result

from tests.testkit.ocpp.csms_rig import DECLARED
from tests.testkit.ocpp.foreign import (
    LATE,
    BackEnds,
    Change,
    Frame,
    Payload,
    answers,
    as_it_is,
    asks,
    dropped,
    instead,
    once_more,
    refused,
    results_of,
    sets,
)
from tests.testkit.ocpp.foreign_16 import BackEnd16, Station16, Stations16
from tests.virtual_time import VirtualLoop, in_simulated_time
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.supervision import cancel_tasks
from v2g.ocpp.times import format_time, parse_time
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpp.case import Inconclusive
from v2g_testkit.ocpp.certificates import Authority
from v2g_testkit.ocpp.declaration import Declaration
from v2g_testkit.ocpp.driver import Step
from v2g_testkit.ocpp.run_judge import JudgedTester, RunJudge
from v2g_testkit.ocpp.v16.csms import CsmsTester16
from v2g_testkit.ocpp.v16.csms_cases import CSMS_CASES_16
from v2g_testkit.ocpp.v16.station import StationTester16
from v2g_testkit.ocpp.v16.station_cases import STATION_CASES_16


def station_played(
    change: Change,
    *,
    until_fail: bool,
    only: tuple[str, ...] = (),
    kind: Callable[[Change, Callable[[], int]], Stations16] = Stations16,
) -> list[Result]:
    """Return the results of the lab with a station whose frames are changed."""

    async def run(folder: Path) -> list[Result]:
        loop = asyncio.get_running_loop()
        clock = Clock(ClockConfig(origin_monotonic=loop.time(), origin_utc_ms=Clock().utc_ms()))
        stations = kind(change, clock.utc_ms)
        image, broken = folder / "image", folder / "broken"
        image.write_bytes(b"image")
        broken.write_bytes(b"")
        declared = Declaration(seconds=10, away_seconds=60, firmware=image, broken_firmware=broken)
        station = StationTester16(declared, stations, clock)
        running = asyncio.create_task(stations.run(station))
        with contextlib.suppress(Inconclusive):  # else every case is
            await station.find(30)
        judge = RunJudge("station", {}, is_16=True)
        cases = [each for each in (*STATION_CASES_16, *judge.rules) if not only or each.id in only]
        found = await results_of(JudgedTester(station, judge), cases, until_fail=until_fail)
        await cancel_tasks(running)
        station.files.stop()
        return found

    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run(Path(folder)))


def csms_played(change: Change, *, until_fail: bool, waits: bool = True, only: tuple[str, ...] = ()) -> list[Result]:
    """Return the results of the lab with a back end whose frames are changed."""

    async def run() -> list[Result]:
        clock = Clock()
        network = BackEnds(DECLARED, change, clock.utc_ms, waits=waits, kind=BackEnd16, calls=call)
        judge = RunJudge("csms", {}, is_16=True)
        tester = JudgedTester(CsmsTester16(DECLARED, network, network, clock, version="1.6"), judge)
        cases = [each for each in (*CSMS_CASES_16, *judge.rules) if not only or each.id in only]
        found = await results_of(tester, cases, until_fail=until_fail)
        await cancel_tasks(*network.running)
        return found

    return in_simulated_time(run())


@pytest.mark.parametrize(("played", "least"), [(station_played, 64), (csms_played, 60)])
def test_a_device_of_the_package_passes(played: Callable[..., list[Result]], least: int) -> None:
    found = played(as_it_is, until_fail=False)
    wrong = [each for each in found if each.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE)]
    assert not wrong
    assert sum(each.verdict is Verdict.PASS for each in found) >= least


def of_info(status: str, *when: str) -> Callable[[Payload], Payload]:
    """Say this of tokens of which the back end says one of `when`, or anything."""

    def edit(payload: Payload) -> Payload:
        info = payload.get("idTagInfo", {})
        fits = info and (not when or info["status"] in when)
        return payload | {"idTagInfo": {**info, "status": status}} if fits else payload

    return edit


def plus(**fields: int) -> Callable[[Payload], Payload]:
    """Add to numbers."""
    return lambda payload: payload | {name: payload[name] + more for name, more in fields.items() if name in payload}


def keys(**values: str | None) -> Change:
    """Tell other values of configuration keys; None tells a key no more."""

    def edit(payload: Payload) -> Payload:
        found = [each for each in payload["configurationKey"] if values.get(each["key"], "") is not None]
        return payload | {"configurationKey": [
            each | {"value": values.get(each["key"]) or each.get("value", "")} for each in found]}  # fmt: skip

    return answers("GetConfiguration", edit)


def lost_status(status: str) -> Change:
    return asks("StatusNotification", lambda payload: None if payload["status"] == status else payload)


def shows_key(payload: Payload) -> Payload:
    if payload.get("unknownKey") != ["AuthorizationKey"]:
        return payload
    shown = {"key": "AuthorizationKey", "readonly": False, "value": "geheim"}
    return {"configurationKey": [shown], "unknownKey": []}


def later(ms: int) -> Callable[[str], str]:
    return lambda time: format_time(parse_time(time) + ms)


def readings(**changes: Callable[[str], str]) -> Change:
    """Change fields of readings, and of their samples."""

    def edit(each: Payload) -> Payload:
        return {name: changes[name](value) if name in changes else value for name, value in each.items()}

    def edit_all(each: Payload) -> Payload:
        return edit(each) | {"sampledValue": [edit(one) for one in each["sampledValue"]]}

    return asks("MeterValues", lambda payload: payload | {"meterValue": [*map(edit_all, payload["meterValue"])]})


NOW: Final = format_time(Clock().utc_ms())
STATION_FAULTS: Final[dict[str, Change]] = {
    "tells configuration without a key": answers("GetConfiguration", sets(configurationKey=[{"readonly": True}])),
    "tells configuration as a text": answers("GetConfiguration", sets(configurationKey="all")),
    "ends when it is online again": asks("StopTransaction", lambda p: p | {"timestamp": later(11_000)(p["timestamp"])}),
    "reads beside the clock": readings(timestamp=later(4300)),
    "does not say that readings are triggered": readings(context=lambda c: "Other" if c == "Trigger" else c),
    "has limits in another unit": answers("GetCompositeSchedule", lambda p: p | {
        "chargingSchedule": p["chargingSchedule"] | {"chargingRateUnit": "W"}} if "chargingSchedule" in p else p),
    "boots without a model": asks("BootNotification", sets(chargePointModel=None)),
    "tells no states": asks("StatusNotification", dropped),
    "is never preparing": lost_status("Preparing"),
    "does not say that it charges": lost_status("Charging"),
    "is never finishing": lost_status("Finishing"),
    "has a state of its own": asks("StatusNotification", sets(status="Busy")),
    "asks about no token": asks("Authorize", dropped),
    "asks about another token": asks("Authorize", sets(idTag="4711")),
    "starts nothing": asks("StartTransaction", dropped),
    "starts with another token": asks("StartTransaction", sets(idTag="4711")),
    "starts without its meter": asks("StartTransaction", sets(meterStart=None)),
    "stops nothing": asks("StopTransaction", dropped),
    "stops another transaction": asks("StopTransaction", plus(transactionId=1)),
    "stops for another reason": asks("StopTransaction", sets(reason="EmergencyStop")),
    "has a meter that goes back at the end": asks("StopTransaction", sets(meterStop=1)),
    "ends in a past": asks("StopTransaction", sets(timestamp=LATE)),
    "names no reservation": asks("StartTransaction", sets(reservationId=None)),
    "names no transaction in readings": asks("MeterValues", sets(transactionId=None)),
    "labels kWh as Wh": asks("MeterValues", lambda p: p | {"meterValue": [
        each | {"sampledValue": [one | {"value": str(float(one["value"]) / 1000)} for one in each["sampledValue"]]}
        for each in p["meterValue"]]}),
    "reads nothing": asks("MeterValues", dropped),
    "sends events twice": instead(2, "StopTransaction", lambda f: [f, [2, f"x{f[1][1:]}", *f[2:]]]),
    "has no heartbeats": asks("Heartbeat", dropped),
    "tells not all keys": keys(ConnectionTimeOut=None),
    "keeps its unknown keys": answers("GetConfiguration", sets(unknownKey=None)),
    "shows its password": answers("GetConfiguration", shows_key),
    "takes every value": answers("ChangeConfiguration", sets(status="Accepted")),
    "changes nothing": answers("ChangeConfiguration", sets(status="NotSupported")),
    "does not reset": answers("Reset", sets(status="Rejected")),
    "starts everything from afar": answers("RemoteStartTransaction", sets(status="Accepted")),
    "starts nothing from afar": answers("RemoteStartTransaction", sets(status="Rejected")),
    "stops everything from afar": answers("RemoteStopTransaction", sets(status="Accepted")),
    "unlocks every connector": answers("UnlockConnector", sets(status="Unlocked")),
    "triggers everything": answers("TriggerMessage", sets(status="Accepted")),
    "knows every vendor": answers("DataTransfer", sets(status="Accepted")),
    "has no list": answers("GetLocalListVersion", sets(listVersion=0)),
    "takes every list": answers("SendLocalList", sets(status="Accepted")),
    "reserves everything": answers("ReserveNow", sets(status="Accepted")),
    "cancels everything": answers("CancelReservation", sets(status="Accepted")),
    "takes every profile": answers("SetChargingProfile", sets(status="Accepted")),
    "clears everything": answers("ClearChargingProfile", sets(status="Accepted")),
    "has no limits": answers("GetCompositeSchedule", sets(chargingSchedule=None)),
    "reports no diagnostics": asks("DiagnosticsStatusNotification", dropped),
    "says that every upload succeeded": asks("DiagnosticsStatusNotification", lambda p: {
        "status": "Uploaded" if p["status"] == "UploadFailed" else p["status"]}),
    "reports no failed installation": asks("FirmwareStatusNotification", lambda p: {
        "status": "Installed" if p["status"] == "InstallationFailed" else p["status"]}),
    "takes firmware of everybody": answers("SignedUpdateFirmware", sets(status="Accepted")),
    "reports every signature as right": asks("SignedFirmwareStatusNotification", lambda p: p | {
        "status": "Installed" if p["status"] == "InvalidSignature" else p["status"]}),
    "reports another update": asks("SignedFirmwareStatusNotification", plus(requestId=1)),
    "reports another upload": asks("LogStatusNotification", plus(requestId=1)),
    "reports no security event": asks("SecurityEventNotification", dropped),
    "does not answer": instead(3, "GetConfiguration", lambda _: []),
    "answers with an error": instead(3, "GetConfiguration", refused),
    "answers twice": instead(3, "ChangeConfiguration", once_more),
    "uses one message id": instead(2, "", lambda f: [[2, "1", *f[2:]]]),
    "speaks no JSON": instead(2, "StatusNotification", lambda _: ["status"]),
}  # fmt: skip

CSMS_FAULTS: Final[dict[str, Change]] = {
    "rejects every station": answers("BootNotification", sets(status="Rejected")),
    "tells the time of two hours ago at boot": answers("BootNotification", sets(currentTime=LATE)),
    "tells no interval at boot": answers("BootNotification", sets(interval=None)),
    "wants heartbeats before the boot": answers("BootNotification", sets(interval=-5)),
    "has another word for accepted": answers("BootNotification", sets(status="OK")),
    "tells the time of two hours ago": answers("Heartbeat", sets(currentTime=LATE)),
    "tells more than the time": answers("Heartbeat", sets(weather="fine")),
    "knows every token": answers("Authorize", of_info("Accepted", "Invalid")),
    "takes blocked tokens": answers("Authorize", of_info("Accepted", "Blocked")),
    "takes expired tokens": answers("Authorize", of_info("Accepted", "Expired")),
    "takes no token": answers("Authorize", of_info("Invalid", "Accepted")),
    "has its own word for tokens": answers("Authorize", of_info("Fine")),
    "says nothing of tokens": answers("Authorize", sets(idTagInfo=None)),
    "has one number for all transactions": answers("StartTransaction", sets(transactionId=7)),
    "gives transactions no number": answers("StartTransaction", sets(transactionId=None)),
    "gives a text as number": answers("StartTransaction", lambda p: p | {"transactionId": str(p["transactionId"])}),
    "knows every token of a transaction": answers("StartTransaction", of_info("Accepted", "Invalid")),
    "takes no token of a transaction": answers("StartTransaction", of_info("Invalid", "Accepted")),
    "does not answer starts": answers("StartTransaction", dropped),
    "fails at starts": instead(3, "StartTransaction", refused),
    "fails at ends": instead(3, "StopTransaction", refused),
    "does not answer ends": answers("StopTransaction", dropped),
    "fails at readings": instead(3, "MeterValues", refused),
    "fails at states": instead(3, "StatusNotification", refused),
    "answers states twice": instead(3, "StatusNotification", once_more),
    "answers with another id": instead(3, "StatusNotification", lambda frame: [[3, "another", frame[2]]]),
    "answers without JSON": instead(3, "StatusNotification", lambda _: ["OK"]),
    "has an error code of its own": instead(3, "StatusNotification", lambda f: [[4, f[1], "Oops", "", {}]]),
    "fails at security events": instead(3, "SecurityEventNotification", refused),
    "signs nothing": asks("CertificateSigned", dropped),
    "reads another key": asks("GetConfiguration", sets(key=["HeartbeatInterval"])),
    "writes another value": asks("ChangeConfiguration", sets(value="4711")),
    "resets in the other way": asks("Reset", lambda p: {"type": "Soft" if p["type"] == "Hard" else "Hard"}),
    "starts with another token": asks("RemoteStartTransaction", sets(idTag="4711")),
    "stops another transaction": asks("RemoteStopTransaction", plus(transactionId=1)),
    "triggers another message": asks("TriggerMessage", sets(requestedMessage="Heartbeat")),
    "unlocks another connector": asks("UnlockConnector", plus(connectorId=1)),
    "cancels another reservation": asks("CancelReservation", plus(reservationId=1)),
    "sends a profile of another transaction": asks("SetChargingProfile", lambda p: p | {
        "csChargingProfiles": p["csChargingProfiles"] | {"transactionId": 4711}}),
    "sets another limit": asks("SetChargingProfile", lambda p: p | {"csChargingProfiles": p["csChargingProfiles"] | {
        "chargingSchedule": p["csChargingProfiles"]["chargingSchedule"] | {
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 80.0}]}}}),
    "starts with another profile": asks("RemoteStartTransaction", lambda p: p | (
        {"chargingProfile": p["chargingProfile"] | {"stackLevel": 3}} if "chargingProfile" in p else {})),
    "signs another key": asks("CertificateSigned", sets(certificateChain=Authority("CSMSRootCertificate", NOW).leaf())),
    "has one id for all logs": asks("SignedUpdateFirmware", sets(requestId=1)),
    "sends lists in the other way": asks("SendLocalList", lambda p: p | {
        "updateType": "Full" if p["updateType"] == "Differential" else "Differential"}),
    "uses one message id": instead(2, "", lambda frame: [[2, "1", *frame[2:]]]),
    "asks twice at a time": instead(2, "GetConfiguration", lambda f: [f, [2, f"x{f[1][1:]}", *f[2:]]]),
    "resets every station that boots": instead(3, "BootNotification", lambda f: [
        f, [2, f"extra-{f[1][:20]}", "Reset", {"type": "Hard"}]]),
}  # fmt: skip


@pytest.mark.some(2)
@pytest.mark.parametrize("name", STATION_FAULTS)
def test_every_fault_of_a_station_is_found(name: str) -> None:
    assert station_played(STATION_FAULTS[name], until_fail=True)[-1].verdict is Verdict.FAIL


@pytest.mark.some(2)
@pytest.mark.parametrize("name", CSMS_FAULTS)
def test_every_fault_of_a_back_end_is_found(name: str) -> None:
    assert csms_played(CSMS_FAULTS[name], until_fail=True)[-1].verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("fault", "case"),
    [
        ("keeps tokens that are removed", "V2G-06-CS16"),
        ("keeps tokens of the list before", "V2G-06-CS16"),
        ("has the tokens of the update only", "V2G-06-CS16"),
        ("starts with a token of others", "TC_046_1_CS"),
    ],
)
def test_a_station_that_keeps_lists_or_reservations_badly_fails(
    fault: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @on("SendLocalList")  # type: ignore[untyped-decorator]
    def lists(self: Station16, list_version: int, update_type: str, local_authorization_list: Any = ()) -> Any:
        full = update_type == "Full" and fault == "keeps tokens that are removed"
        if full or fault == "has the tokens of the update only":
            self.list.clear()
        for each in local_authorization_list:
            if "id_tag_info" in each:
                self.list[each["id_tag"]] = "Accepted"
            elif fault != "keeps tokens that are removed":
                self.list.pop(each["id_tag"], None)
        self.state["version"] = list_version
        return call_result.SendLocalList("Accepted")

    if case == "TC_046_1_CS":
        monkeypatch.setattr(Station16, "present", Station16.take)
    else:
        monkeypatch.setattr(Station16, "lists", lists)
    assert [each.verdict for each in station_played(as_it_is, until_fail=False, only=(case,))] == [Verdict.FAIL]


@pytest.mark.parametrize(("status", "verdict"), [("Rejected", Verdict.INCONCLUSIVE), ("NotImplemented", Verdict.FAIL)])
def test_a_station_may_reject_triggers(status: str, verdict: Verdict) -> None:
    change = answers("TriggerMessage", sets(status=status))
    assert [each.verdict for each in station_played(change, until_fail=False, only=("TC_054_CS",))] == [verdict]


def test_a_station_that_boots_again_while_it_answers_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    tells = Station16.tells

    @on("GetConfiguration")  # type: ignore[untyped-decorator]
    async def slowly(self: Station16, key: list[str] | None = None) -> Any:
        await asyncio.sleep(6)  # twice, in an interval of 10 s
        return tells(self, key)

    monkeypatch.setattr(Station16, "tells", slowly)
    found = station_played(as_it_is, until_fail=False, only=("TC_002_CS",))
    assert [(each.verdict, each.found) for each in found] == [(Verdict.PASS, "as required")]


def test_a_station_without_updates_needs_no_signed_ones() -> None:
    only = ("TC_080_CS", "TC_081_CS", "V2G-04-CS16")
    found = station_played(keys(SupportedFeatureProfiles="Core,RemoteTrigger"), until_fail=False, only=only)
    assert [each.verdict for each in found] == [Verdict.NOT_APPLICABLE] * 3


_ALWAYS_AVAILABLE: Final = asks(
    "StatusNotification", lambda p: p | {"status": {"Unavailable": "Available"}.get(p["status"], p["status"])}
)


@pytest.mark.parametrize(
    ("case", "change", "verdict"),
    [
        ("V2G-07-CS16", as_it_is, Verdict.PASS),
        ("V2G-07-CS16", _ALWAYS_AVAILABLE, Verdict.INCONCLUSIVE),
        ("V2G-08-CS16", as_it_is, Verdict.PASS),
        ("V2G-08-CS16", _ALWAYS_AVAILABLE, Verdict.FAIL),
        ("V2G-08-CS16", answers("ChangeAvailability", sets(status="Accepted")), Verdict.FAIL),
    ],
)
def test_availability_lasts(case: str, change: Change, verdict: Verdict) -> None:
    (found,) = station_played(change, until_fail=False, only=(case,))
    assert found.verdict is verdict, found.found


def _periods(edit: Callable[[list[Payload]], list[Payload]]) -> Change:
    """Change the periods of composite schedules."""

    def edit_all(payload: Payload) -> Payload:
        schedule = payload["chargingSchedule"]
        found = schedule | {"chargingSchedulePeriod": edit(schedule["chargingSchedulePeriod"])}
        return payload | {"chargingSchedule": found}

    return answers("GetCompositeSchedule", edit_all)


@pytest.mark.parametrize(
    ("case", "change", "found"),
    [
        ("V2G-09-CS16", keys(MeterValueSampleInterval="60"), "tells 60 after 77 was set (ChangeConfiguration)"),
        ("V2G-12-CS16", instead(2, "StopTransaction", lambda f: [f, [2, f"x{f[1][1:]}", *f[2:]]]),
         "sends StopTransaction again after 0 s instead of 5 s (TransactionMessageRetryInterval)"),
        ("V2G-13-CS16", asks("StopTransaction", sets(transactionData=None)),
         "ends with readings of nothing (StopTxnSampledData)"),
        ("V2G-16-CS16", answers("ClearChargingProfile", sets(status="Accepted")),
         "answers ClearChargingProfile with Accepted (ClearChargingProfile)"),
        ("TC_056_CS", answers("GetCompositeSchedule", sets(connectorId=2)),
         "is of connector 2, when 1 is asked for (GetCompositeSchedule)"),
        ("TC_056_CS", answers("GetCompositeSchedule", sets(scheduleStart="2020-01-01T00:00:00Z")),
         "begins at 2020-01-01T00:00:00Z, not now (GetCompositeSchedule)"),
        ("V2G-17-CS16", _periods(lambda found: found[:1]), "has 6 A after 120 s instead of 10 (GetCompositeSchedule)"),
        ("V2G-17-CS16", _periods(lambda found: [each for each in found if each["startPeriod"] < 250]),
         "has the last limit after the duration of the profile (GetCompositeSchedule)"),
        ("V2G-18-CS16", answers("SetChargingProfile", sets(status="Accepted")),
         "answers SetChargingProfile with Accepted (SetChargingProfile)"),
        ("V2G-19-CS16", readings(value=lambda _: "32.0"),
         "has a Current.Import of 32 with a limit of 6 A (SetChargingProfile)"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_its_case(case: str, change: Change, found: str) -> None:
    (result,) = station_played(change, until_fail=False, only=(case,))
    assert (result.verdict, result.found) == (Verdict.FAIL, found)


@pytest.mark.parametrize(
    ("case", "change"),
    [
        ("V2G-03-CSMS16", answers("Authorize", of_info("Invalid", "Accepted"))),
        ("V2G-04-CSMS16", answers("Authorize", lambda p: {"idTagInfo": {"status": p["idTagInfo"]["status"]}})),
        ("V2G-05-CSMS16", answers("StopTransaction", sets(idTagInfo={"status": "Accepted"}))),
        ("V2G-11-CSMS16", instead(4, "UnknownToAll", lambda frame: [[3, frame[1], {}]])),
        ("TC_043_4_CSMS", asks("SendLocalList", sets(listVersion=0))),
        ("TC_049_CSMS", asks("ReserveNow", sets(expiryDate=LATE))),
        (
            "TC_056_CSMS",
            asks(
                "SetChargingProfile", lambda p: p | {"csChargingProfiles": p["csChargingProfiles"] | {"validTo": LATE}}
            ),
        ),
        (
            "TC_056_CSMS",
            asks(
                "SetChargingProfile",
                lambda p: p | {"csChargingProfiles": p["csChargingProfiles"] | {"transactionId": 3}},
            ),
        ),
        (
            "TC_059_CSMS",
            asks(
                "RemoteStartTransaction",
                lambda p: p | {"chargingProfile": p["chargingProfile"] | {"recurrencyKind": "Daily"}},
            ),
        ),
        ("TC_067_CSMS", asks("ClearChargingProfile", sets(stackLevel=3))),
    ],
)
def test_a_fault_of_a_back_end_is_named_by_its_case(case: str, change: Change) -> None:
    assert [each.verdict for each in csms_played(change, until_fail=False, only=(case,))] == [Verdict.FAIL]


@pytest.mark.parametrize(
    ("case", "action", "refuses"),
    [
        ("V2G-06-CSMS16", "BootNotification", lambda request: "iccid" in request),
        ("V2G-07-CSMS16", "StatusNotification", lambda request: "timestamp" not in request),
        ("V2G-08-CSMS16", "MeterValues", lambda request: "transaction_id" not in request),
        ("V2G-09-CSMS16", "StopTransaction", lambda request: "reason" not in request),
        ("V2G-10-CSMS16", "MeterValues", lambda _: True),
    ],
)
def test_a_back_end_that_refuses_what_a_station_may_report_fails(
    case: str, action: str, refuses: Callable[[Payload], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "boots" if action == "BootNotification" else f"acknowledges_{action}"
    usual = getattr(BackEnd16, name)

    @on(action)  # type: ignore[untyped-decorator]
    def picky(self: BackEnd16, **request: Any) -> Any:
        if refuses(request):
            raise ValueError(action)
        return usual(self, **request)

    monkeypatch.setattr(BackEnd16, name, picky)
    assert [each.verdict for each in csms_played(as_it_is, until_fail=False, only=(case,))] == [Verdict.FAIL]


@pytest.mark.parametrize("case", ["V2G-10-CS16", "V2G-11-CS16", "V2G-14-CS16", "V2G-15-CS16"])
def test_a_station_that_starts_with_any_token_fails(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def knows(self: Station16, tag: str, **_: Any) -> str:
        return "Accepted"

    monkeypatch.setattr(Station16, "_knows", knows)
    (found,) = station_played(as_it_is, until_fail=False, only=(case,))
    assert found.verdict is Verdict.FAIL
    assert found.found.startswith("sends StartTransaction")


def test_a_station_that_boots_as_available_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    boot = Station16.boot

    async def forgetful(self: Station16) -> None:
        self.state["status"], self.state["operative"] = "Available", True
        await boot(self)

    monkeypatch.setattr(Station16, "boot", forgetful)
    (found,) = station_played(as_it_is, until_fail=False, only=("V2G-07-CS16",))
    assert (found.verdict, found.found) == (Verdict.FAIL, "boots as Available (ChangeAvailability)")


def test_what_a_station_reports_late_is_not_of_the_next_case() -> None:
    class Slow(Stations16):
        async def do(self, step: Step) -> None:
            if step.action == "unplug":
                asyncio.get_running_loop().call_later(2, lambda: asyncio.ensure_future(Stations16.do(self, step)))
            else:
                await super().do(step)

    found = station_played(as_it_is, until_fail=False, only=("TC_003_CS", "TC_004_1_CS", "TC_004_2_CS"), kind=Slow)
    assert {each.case: each.found for each in found if each.verdict is not Verdict.PASS} == {}


def test_a_station_that_has_booted_before_and_cannot_be_asked_to_boot_is_tested() -> None:
    def change(frame: Frame, action: str) -> list[Frame | str]:
        if action == "TriggerMessage" and frame[0] == 3:
            return refused(frame)
        return [] if action == "BootNotification" and frame[0] == 2 else [frame]

    found = station_played(change, until_fail=False, only=("TC_019_CS",))
    assert [each.verdict for each in found] == [Verdict.PASS]
