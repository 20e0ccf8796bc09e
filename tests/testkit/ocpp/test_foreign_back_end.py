"""The lab finds every fault of a back end that is not ours, and none where there is none."""

import copy
from typing import Any, Final

import pytest
from msgspec.structs import replace
from ocpp.routing import on

from tests.testkit.ocpp.csms_rig import DECLARED
from tests.testkit.ocpp.foreign import (
    LATE,
    BackEnd,
    BackEnds,
    Change,
    Edit,
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
from tests.virtual_time import in_simulated_time
from v2g.errors import TransportError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.routes import Version
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpp.attempts import Attempt
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.csms_tester import CsmsTester
from v2g_testkit.ocpp.operator import OperatorStep
from v2g_testkit.ocpp.run_judge import JudgedTester, RunJudge


def of_info(status: str, *when: str) -> Edit:
    """Say this of tokens of which the back end says one of `when`, or anything."""

    def edit(payload: Payload) -> Payload:
        info = payload.get("idTokenInfo")
        if info is None or (when and info["status"] not in when):
            return payload
        return payload | {"idTokenInfo": info | {"status": status}}

    return edit


def ungrouped(payload: Payload) -> Payload:
    info = {name: each for name, each in payload.get("idTokenInfo", {}).items() if name != "groupIdToken"}
    return payload | {"idTokenInfo": info} if info else payload


def resets_at_boot(frame: Frame) -> list[Frame | str]:
    return [frame, [2, f"extra-{frame[1][:20]}", "Reset", {"type": "Immediate"}]]


FAULTS: Final[dict[str, Change]] = {
    "rejects every station": answers("BootNotification", sets(status="Rejected")),
    "tells the time of two hours ago at boot": answers("BootNotification", sets(currentTime=LATE)),
    "tells no time at boot": answers("BootNotification", sets(currentTime=None)),
    "tells no interval at boot": answers("BootNotification", sets(interval=None)),
    "wants heartbeats before the boot": answers("BootNotification", sets(interval=-5)),
    "does not answer at boot": answers("BootNotification", dropped),
    "has another word for accepted": answers("BootNotification", sets(status="OK")),
    "tells the time of two hours ago": answers("Heartbeat", sets(currentTime=LATE)),
    "tells no time": answers("Heartbeat", sets(currentTime=None)),
    "tells more than the time": answers("Heartbeat", sets(weather="fine")),
    "does not answer heartbeats": answers("Heartbeat", dropped),
    "knows every token": answers("Authorize", of_info("Accepted", "Unknown")),
    "takes blocked tokens": answers("Authorize", of_info("Accepted", "Blocked")),
    "takes expired tokens": answers("Authorize", of_info("Accepted", "Expired")),
    "takes no token": answers("Authorize", of_info("Invalid", "Accepted")),
    "says nothing of tokens": answers("Authorize", sets(idTokenInfo=None)),
    "takes tokens that are invalid by its own word": answers("Authorize", lambda p: p | {
        "idTokenInfo": p["idTokenInfo"] | {"cacheExpiryDateTime": LATE}}),
    "has its own word for tokens": answers("Authorize", of_info("Fine")),
    "tells no groups": answers("Authorize", ungrouped),
    "does not authorize": answers("Authorize", dropped),
    "fails to authorize": instead(3, "Authorize", refused),
    "says nothing of the token of an event": answers("TransactionEvent", sets(idTokenInfo=None)),
    "knows every token of an event": answers("TransactionEvent", of_info("Accepted", "Unknown")),
    "takes no token of an event": answers("TransactionEvent", of_info("Invalid", "Accepted")),
    "says more of events": answers("TransactionEvent", sets(thanks=True)),
    "does not answer events": answers("TransactionEvent", dropped),
    "fails at events": instead(3, "TransactionEvent", refused),
    "fails at states": instead(3, "StatusNotification", refused),
    "does not answer states": answers("StatusNotification", dropped),
    "answers states twice": instead(3, "StatusNotification", once_more),
    "answers with another id": instead(3, "StatusNotification", lambda frame: [[3, "another", frame[2]]]),
    "answers with a list": instead(3, "StatusNotification", lambda frame: [[3, frame[1], []]]),
    "answers without JSON": instead(3, "StatusNotification", lambda _: ["OK"]),
    "has a message type of its own": instead(3, "StatusNotification", lambda frame: [[7, frame[1], {}]]),
    "has an error code of its own": instead(3, "StatusNotification", lambda frame: [[4, frame[1], "Oops", "", {}]]),
    "reads another variable": asks("GetVariables", lambda p: {"getVariableData": [
        {"component": {"name": "ClockCtrlr"}, "variable": {"name": "DateTime"}}]}),
    "reads nothing": asks("GetVariables", dropped),
    "writes another value": asks("SetVariables", lambda p: {"setVariableData": [
        {**each, "attributeValue": "4711"} for each in p["setVariableData"]]}),
    "asks for another report": asks("GetBaseReport", lambda p: p | {
        "reportBase": "FullInventory" if p["reportBase"] != "FullInventory" else "SummaryInventory"}),
    "resets in the other way": asks("Reset", lambda p: p | {
        "type": "Immediate" if p["type"] == "OnIdle" else "OnIdle"}),
    "resets nothing": asks("Reset", dropped),
    "makes the opposite available": asks("ChangeAvailability", lambda p: p | {
        "operationalStatus": "Operative" if p["operationalStatus"] == "Inoperative" else "Inoperative"}),
    "starts without a token": asks("RequestStartTransaction", sets(idToken=None)),
    "stops another transaction": asks("RequestStopTransaction", sets(transactionId="another")),
    "triggers another message": asks("TriggerMessage", sets(requestedMessage="LogStatusNotification")),
    "unlocks another connector": asks("UnlockConnector", lambda p: p | {"connectorId": p["connectorId"] + 1}),
    "uses one message id": instead(2, "", lambda frame: [[2, "1", *frame[2:]]]),
    "has ids that are too long": instead(2, "", lambda frame: [[2, frame[1] + "-", *frame[2:]]]),
    "asks twice at a time": instead(2, "GetVariables", lambda frame: [frame, [2, f"x{frame[1][1:]}", *frame[2:]]]),
    "has one id for all reports": asks("GetBaseReport", sets(requestId=1)),
    "has one id for all starts": asks("RequestStartTransaction", sets(remoteStartId=1)),
    "resets every station that boots": instead(3, "BootNotification", resets_at_boot),
}  # fmt: skip

LACKS: Final = ("TC_B_08_CSMS", "V2G-C-03-CSMS")
"""What this back end does wrong: it forgets how many variables a station takes at once, and who a master pass is."""
CASES: Final = [
    case
    for case in CSMS_CASES
    if case.group in "BCEFG" and "2.0.1" in case.versions and case.id not in LACKS and "Core" in case.profiles
]


def played(
    change: Change, *, until_fail: bool, waits: bool = True, only: str = "", kind: type[BackEnd] = BackEnd
) -> list[Result]:
    """Return the results of the lab with a back end whose frames are changed, or of `only` one case."""

    async def run() -> list[Result]:
        clock = Clock()
        network = BackEnds(DECLARED, change, clock.utc_ms, waits=waits, kind=kind)
        judge = RunJudge("csms", {})
        tester = JudgedTester(CsmsTester(DECLARED, network, network, clock, version="2.0.1"), judge)
        cases = [each for each in CSMS_CASES if each.id == only] if only else [*CASES, *judge.rules]
        found = await results_of(tester, cases, until_fail=until_fail)
        await cancel_tasks(*network.running)
        return found

    return in_simulated_time(run())


@pytest.mark.long
def test_a_back_end_of_the_package_passes() -> None:
    found = played(as_it_is, until_fail=False)
    wrong = [each for each in found if each.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE)]
    assert not wrong
    assert sum(each.verdict is Verdict.PASS for each in found) >= 60


@pytest.mark.some(2)
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_of_a_back_end_is_found(name: str) -> None:
    found = played(FAULTS[name], until_fail=True)
    assert found[-1].verdict is Verdict.FAIL


def test_a_back_end_that_does_not_wait_for_answers_is_found() -> None:
    found = played(as_it_is, until_fail=True, waits=False)
    assert found[-1].case == "V2G-B-03-CSMS"
    assert "2 requests before it has the answer to the first one" in found[-1].found


def test_a_back_end_that_takes_registers_only_fails() -> None:
    class Narrow(BackEnd):
        @on("TransactionEvent")  # type: ignore[untyped-decorator]
        def follows(self, **event: Any) -> Any:
            if "Frequency" in str(event):
                raise ValueError("no register")
            return super().follows(**event)

    for kind, verdict in ((BackEnd, Verdict.PASS), (Narrow, Verdict.FAIL)):
        assert played(as_it_is, until_fail=False, only="V2G-J-01-CSMS", kind=kind)[0].verdict is verdict


def inside(*way: str | int, **more: Any) -> Edit:
    """Set fields of a part of a payload."""

    def edit(payload: Payload) -> Payload:
        changed = copy.deepcopy(payload)
        part: Any = changed
        for each in way:
            part = part[each]
        part.update(more)
        return changed

    return edit


_SCHEDULE: Final = ("chargingProfile", "chargingSchedule", 0)
_LISTED: Final = ("localAuthorizationList", 0, "idTokenInfo")


@pytest.mark.parametrize(
    ("case", "change"),
    [
        ("TC_B_06_CSMS", asks("GetVariables", inside("getVariableData", 0, "component", evse={"id": 2}))),
        ("TC_B_09_CSMS", asks("SetVariables", inside("setVariableData", 0, "variable", instance="Another"))),
        ("TC_B_18_CSMS", asks("GetReport", inside("componentVariable", 0, "component", instance="Another"))),
        ("V2G-C-01-CSMS", answers("Authorize", inside("idTokenInfo", evseId=[3]))),
        ("TC_D_01_CSMS", asks("SendLocalList", inside(*_LISTED, status="Blocked"))),
        ("TC_F_12_CSMS", asks("TriggerMessage", sets(evse={"id": 1}))),
        ("TC_K_01_CSMS", asks("SetChargingProfile", inside(*_SCHEDULE, "chargingSchedulePeriod", 0, phaseToUse=2))),
        ("TC_K_03_CSMS", asks("SetChargingProfile", inside("chargingProfile", validTo=LATE))),
        ("TC_K_37_CSMS", asks("RequestStartTransaction", inside(*_SCHEDULE, startSchedule=LATE))),
        ("TC_N_08_CSMS", asks("SetVariableMonitoring", inside("setMonitoringData", 0, transaction=True))),
        ("TC_O_06_CSMS", asks("SetDisplayMessage", inside("message", state="Faulted"))),
    ],
)  # fmt: skip
def test_a_request_about_something_else_fails(case: str, change: Change) -> None:
    """What was asked for is there, and beside it a field by which the station does another thing."""
    assert played(as_it_is, until_fail=False, only=case)[0].verdict is Verdict.PASS
    assert played(change, until_fail=False, only=case)[0].verdict is Verdict.FAIL


@pytest.mark.parametrize("case", ["TC_F_15_CSMS", "TC_F_18_CSMS", "TC_F_20_CSMS", "TC_F_27_CSMS"])
def test_a_trigger_may_name_an_evse_that_its_message_is_not_about(case: str) -> None:
    """F06.FR.02, FR.03: stations ignore it."""
    for change in (as_it_is, asks("TriggerMessage", sets(evse={"id": 1}))):
        assert [each.verdict for each in played(change, until_fail=False, only=case)] == [Verdict.PASS]


@pytest.mark.parametrize(("info", "verdict"), [({}, Verdict.FAIL), ({"cacheExpiryDateTime": LATE}, Verdict.PASS)])
def test_an_expired_token_may_be_listed_with_its_end(info: Payload, verdict: Verdict) -> None:
    listed = {"idToken": DECLARED.expired_token.payload, "idTokenInfo": {"status": "Accepted", **info}}
    change = asks("SendLocalList", sets(localAuthorizationList=[listed]))
    assert played(change, until_fail=False, only="TC_D_01_CSMS")[0].verdict is verdict


@pytest.mark.parametrize(("drops", "verdict"), [("the new one", Verdict.FAIL), ("each", Verdict.INCONCLUSIVE)])
def test_a_connection_that_ends_is_a_fault_if_the_usual_one_does_not(drops: str, verdict: Verdict) -> None:
    class Drops(BackEnds):
        """Ends connections by a password once another has been set."""

        was_asked = False

        async def connect(self, attempt: Attempt, version: Version) -> OcppSocket:
            if self.was_asked and (drops == "each" or attempt.station.password != "old-password-of-it"):
                raise TransportError("the connection was closed")
            return await super().connect(attempt, version)

        async def do(self, step: OperatorStep) -> None:
            self.was_asked = True
            await super().do(step)

    async def run() -> Result:
        clock, station = Clock(), replace(DECLARED.station, password="old-password-of-it")
        declared = replace(DECLARED, station=station)
        network = Drops(declared, as_it_is, clock.utc_ms)
        tester = CsmsTester(declared, network, network, clock, version="2.0.1")
        (case,) = (each for each in CSMS_CASES if each.id == "TC_A_09_CSMS")
        found = await tester.run(case)
        await cancel_tasks(*network.running)
        return found

    found = in_simulated_time(run())
    assert found.verdict is verdict, found.found
