"""The lab finds every fault of a charging station that is not ours, and none where there is none."""

import asyncio
import contextlib
from typing import Any, Final

import pytest
from ocpp.routing import on

from tests.testkit.ocpp.foreign import (
    LATE,
    Change,
    Edit,
    Payload,
    answers,
    as_it_is,
    asks,
    dropped,
    instead,
    refused,
    results_of,
    sets,
)
from tests.testkit.ocpp.foreign_station import Station, Stations
from tests.virtual_time import in_simulated_time
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpp.case import Inconclusive
from v2g_testkit.ocpp.declaration import Declaration
from v2g_testkit.ocpp.run_judge import JudgedTester, RunJudge
from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES
from v2g_testkit.ocpp.station_tester import StationTester


def of_events(kind: str, **fields: Any) -> Change:
    """Change TransactionEvents of a type; fields of transactionInfo begin with `info_`. None removes one."""

    def edit(payload: Payload) -> Payload:
        if payload["eventType"] != kind:
            return payload
        outer = {name: value for name, value in fields.items() if not name.startswith("info_")}
        inner = {name.removeprefix("info_"): value for name, value in fields.items() if name.startswith("info_")}
        return sets(transactionInfo=sets(**inner)(payload["transactionInfo"]), **outer)(payload)

    return asks("TransactionEvent", edit)


def lost_event(kind: str) -> Change:
    """Send no TransactionEvent of a type."""
    return asks("TransactionEvent", lambda p: None if p["eventType"] == kind else p)


def of_results(name: str, **fields: Any) -> Edit:
    """Set fields of every result of a list."""
    return lambda p: p | {name: [sets(**fields)(each) for each in p[name]]}


FAULTS: Final[dict[str, Change]] = {
    "reports variables without a component": asks("NotifyReport", lambda p: p | {
        "reportData": [sets(component=None)(each) for each in p["reportData"]]}),
    "boots without a reason": asks("BootNotification", sets(reason=None)),
    "has a reason of its own": asks("BootNotification", sets(reason="Hello")),
    "boots without a model": asks("BootNotification", sets(chargingStation={"vendorName": "Foreign"})),
    "boots as switched on": asks("BootNotification", sets(reason="PowerUp")),
    "tells no states": asks("StatusNotification", dropped),
    "is always available": asks("StatusNotification", sets(connectorStatus="Available")),
    "tells states of another EVSE": asks("StatusNotification", sets(evseId=2)),
    "tells states without a time": asks("StatusNotification", sets(timestamp=None)),
    "has a state of its own": asks("StatusNotification", sets(connectorStatus="Busy")),
    "asks about no token": asks("Authorize", dropped),
    "asks about another token": asks("Authorize", sets(idToken={"idToken": "4711", "type": "ISO14443"})),
    "asks about tokens of another type": asks("Authorize", lambda p: {"idToken": p["idToken"] | {"type": "Central"}}),
    "starts nothing": lost_event("Started"),
    "says nothing in between": lost_event("Updated"),
    "ends nothing": lost_event("Ended"),
    "starts without its token": of_events("Started", idToken=None),
    "starts without the id of the request": of_events("Started", info_remoteStartId=None),
    "starts for another reason": of_events("Started", triggerReason="Trigger"),
    "starts at another EVSE": of_events("Started", evse={"id": 2, "connectorId": 1}),
    "does not say that it charges": of_events("Updated", info_chargingState="SuspendedEV"),
    "ends for another reason": of_events("Ended", triggerReason="ChargingStateChanged"),
    "stops for another reason": of_events("Ended", info_stoppedReason="EmergencyStop"),
    "has one id for all transactions": asks("TransactionEvent", lambda p: p | {
        "transactionInfo": p["transactionInfo"] | {"transactionId": "1"}}),
    "does not count": asks("TransactionEvent", sets(seqNo=0)),
    "ends without its meter": of_events("Ended", meterValue=None),
    "shows its password": answers("GetVariables", lambda p: p | {"getVariableResult": [
        each | {"attributeStatus": "Accepted", "attributeValue": "geheim"}
        if each["variable"]["name"] == "BasicAuthPassword" else each for each in p["getVariableResult"]]}),
    "has the clock of two hours ago at the end": of_events("Ended", timestamp=LATE),
    "has a meter that goes back": asks("TransactionEvent", lambda p: p | {"meterValue": [
        each | {"sampledValue": [{"value": 1e6 - one["value"]} for one in each["sampledValue"]]}
        for each in p["meterValue"]]}),
    "sends events twice": instead(2, "TransactionEvent", lambda f: [f, [2, f"x{f[1][1:]}", *f[2:]]]),
    "reads without values": answers("GetVariables", of_results("getVariableResult", attributeValue=None)),
    "knows every variable": answers("GetVariables", of_results("getVariableResult", attributeStatus="Accepted")),
    "reads in another order": answers("GetVariables", lambda p: p | {"getVariableResult": p["getVariableResult"][:1]}),
    "writes everything": answers("SetVariables", of_results("setVariableResult", attributeStatus="Accepted")),
    "writes nothing": answers("SetVariables", of_results("setVariableResult", attributeStatus="Rejected")),
    "has no report": answers("GetBaseReport", sets(status="NotSupported")),
    "sends no report": asks("NotifyReport", dropped),
    "numbers parts from one": asks("NotifyReport", lambda p: p | {"seqNo": p["seqNo"] + 1}),
    "does not say that more comes": asks("NotifyReport", sets(tbc=None)),
    "reports for another request": asks("NotifyReport", lambda p: p | {"requestId": p["requestId"] + 1}),
    "does not reset": answers("Reset", sets(status="Rejected")),
    "takes every reset at once": answers("Reset", sets(status="Accepted")),
    "starts nothing from afar": answers("RequestStartTransaction", sets(status="Rejected")),
    "stops nothing from afar": answers("RequestStopTransaction", sets(status="Rejected")),
    "stops every transaction": answers("RequestStopTransaction", sets(status="Accepted")),
    "triggers everything": answers("TriggerMessage", sets(status="Accepted")),
    "is available at once": answers("ChangeAvailability", sets(status="Accepted")),
    "knows every vendor": answers("DataTransfer", sets(status="Accepted")),
    "does not answer": instead(3, "GetVariables", lambda _: []),
    "answers with an error": instead(3, "GetVariables", refused),
    "uses one message id": instead(2, "", lambda f: [[2, "1", *f[2:]]]),
    "speaks no JSON": instead(2, "StatusNotification", lambda _: ["status"]),
}  # fmt: skip

LACKS: Final = frozenset({
    "TC_B_02_CS", "TC_B_03_CS", "TC_B_30_CS", "TC_B_53_CS", "TC_C_39_CS", "TC_E_29_CS", "TC_E_31_CS", "TC_E_33_CS",
    "TC_E_40_CS", "TC_E_44_CS", "TC_F_02_CS", "TC_F_19_CS", "TC_B_45_CS", "TC_B_51_CS", "TC_B_52_CS",
    "V2G-B-02-CS", "V2G-E-01-CS",
})  # fmt: skip
"""What this station lacks: a queue, heartbeats, pending boots, groups, variables, certificates, cables that wait."""
CASES: Final = [
    case
    for case in STATION_CASES
    if (case.group in "BCEFGP" or case.id == "V2G-A-01-CS")
    and "2.0.1" in case.versions
    and case.id not in LACKS
    and "Core" in case.profiles
]


def played(change: Change, *, until_fail: bool, only: str = "") -> list[Result]:
    """Return the results of the lab with a station whose frames are changed."""

    async def run() -> list[Result]:
        loop = asyncio.get_running_loop()
        clock = Clock(ClockConfig(origin_monotonic=loop.time(), origin_utc_ms=Clock().utc_ms()))
        stations = Stations(change, clock.utc_ms)
        station = StationTester(Declaration(evses=1, seconds=10, away_seconds=60), stations, clock)
        running = asyncio.create_task(stations.run(station))
        with contextlib.suppress(Inconclusive):  # else every case is
            await station.find(30)
        judge = RunJudge("station", {})
        tester = JudgedTester(station, judge)
        cases = [each for each in (*CASES, *judge.rules) if only in ("", each.id)]
        found = await results_of(tester, cases, until_fail=until_fail)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return found

    return in_simulated_time(run())


def test_a_station_of_the_package_passes() -> None:
    found = played(as_it_is, until_fail=False)
    wrong = [each for each in found if each.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE)]
    assert not wrong
    assert sum(each.verdict is Verdict.PASS for each in found) >= 60


@pytest.mark.some(2)
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_of_a_station_is_found(name: str) -> None:
    found = played(FAULTS[name], until_fail=True)
    assert found[-1].verdict is Verdict.FAIL


def test_a_station_that_charges_the_next_driver_by_an_old_token_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Station, "patient", True)
    found = played(as_it_is, until_fail=True)
    assert (found[-1].case, found[-1].verdict) == ("TC_E_05_CS", Verdict.FAIL)


@pytest.mark.parametrize(("timeout_s", "verdict"), [(5, Verdict.PASS), (1000, Verdict.FAIL)])
def test_a_station_sends_on_after_its_timeout_only(
    timeout_s: int, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_asked = Station.is_asked

    @on("TriggerMessage")  # type: ignore[untyped-decorator]
    async def slowly(self: Station, requested_message: str, **_: Any) -> Any:
        await asyncio.sleep(3)  # three times while the answer to the first Heartbeat is held
        self._response_timeout = 5
        return is_asked(self, requested_message)

    monkeypatch.setattr(Station, "is_asked", slowly)
    monkeypatch.setattr(Station, "timeout_s", timeout_s)
    (found,) = played(as_it_is, until_fail=False, only="V2G-B-01-CS")
    assert found.verdict is verdict, found.found
