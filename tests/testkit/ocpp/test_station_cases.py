"""Every case for stations against our own station, simulated, in simulated time; the frames are judged on the way."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.testkit.ocpp.rig import (
    FEATURES,
    OF_OTHER,
    OTHER,
    Change,
    Frame,
    cases_of,
    in_virtual_time,
    is_absent,
    station_under_test,
)
from tests.testkit.ocpp.station_mutants import (
    Make,
    aged,
    answers,
    dropped,
    hears,
    poor,
    status,
    tells,
    trusts,
    unchanged,
    without,
)
from v2g.ocpp.routes import Version
from v2g.ocpp.times import parse_time
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpp.case import Payload
from v2g_testkit.ocpp.run_judge import JudgedTester, RunJudge
from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES
from v2g_testkit.ocpp.v16.station_cases import STATION_CASES_16

BLOCKS = sorted({case.group for case in STATION_CASES})
TLS = ("A", "B", "M")
"""Blocks to which TLS makes a difference."""


@pytest.mark.some(6)
@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize(
    ("block", "security_profile"),
    [*((each, 1) for each in BLOCKS), *((each, level) for each in TLS for level in (2, 3))],
)
def test_our_station_passes(block: str, security_profile: int, version: Version, subtests: pytest.Subtests) -> None:
    async def run() -> None:
        async with station_under_test(version, security_profile=security_profile) as tester:
            judge = RunJudge("station", {})
            judged = JudgedTester(tester, judge)
            for case in cases_of(block, security_profile):
                with subtests.test(case.id):
                    result = await judged.run(case)
                    absent = is_absent(case.id, security_profile) or version not in case.versions
                    assert result.verdict is (Verdict.NOT_APPLICABLE if absent else Verdict.PASS), result.found
            for rule in judge.rules:
                with subtests.test(rule.id):
                    assert judge.result(rule).verdict is not Verdict.FAIL, judge.result(rule).found

    in_virtual_time(run())


PROFILE_2 = {"TC_078_CS", "TC_086_CS", "V2G-05-CS16"}
PROFILE_3 = {"TC_074_CS", "TC_077_CS", "TC_087_CS"}
LACKS_IN_16 = {
    "TC_018_1_CS": "its cables are fixed", "TC_044_1_CS": "it takes signed firmware only",
    "TC_044_3_CS": "it takes signed firmware only", "TC_050_4_CS": "it takes reservations of connector 0",
}  # fmt: skip
LACKING = {
    1: PROFILE_2 | PROFILE_3 | {*LACKS_IN_16},
    2: PROFILE_3 | {"TC_083_CS", *LACKS_IN_16},
    3: {"TC_073_CS", "TC_083_CS", "TC_085_CS", *LACKS_IN_16},
}


@pytest.mark.requirement("R200")
@pytest.mark.parametrize("security_profile", [1, 2, 3])
def test_our_station_of_1_6_passes(security_profile: int, subtests: pytest.Subtests) -> None:
    """With TLS only cases of security: the others are the same."""

    async def run() -> None:
        supports = {**FEATURES, "unsigned firmware": False}
        async with station_under_test("1.6", security_profile=security_profile, supports=supports) as tester:
            judge = RunJudge("station", {}, is_16=True)
            judged = JudgedTester(tester, judge)
            cases = [each for each in STATION_CASES_16 if security_profile == 1 or each.group == "Advanced Security"]
            for case in cases:
                with subtests.test(case.id):
                    result = await judged.run(case)
                    lacks = case.id in LACKING[security_profile]
                    assert result.verdict is (Verdict.NOT_APPLICABLE if lacks else Verdict.PASS), result.found
            for rule in judge.rules:
                with subtests.test(rule.id):
                    assert judge.result(rule).verdict is not Verdict.FAIL, judge.result(rule).found

    in_virtual_time(run())


UNSAFE = {
    "trusts every back end": (trusts, unchanged, "TC_078_CS"),
    "speaks TLS 1.1": (aged, unchanged, "V2G-05-CS16"),
    "offers one cipher suite": (poor, unchanged, "TC_086_CS"),
    "tells no security event": (lambda _: None, tells("SecurityEventNotification", dropped), "TC_077_CS"),
    "takes every certificate": (lambda _: None, answers("CertificateSigned", status("Rejected", "Accepted")),
                                "TC_077_CS"),
}  # fmt: skip


@pytest.mark.requirement("R200")
@pytest.mark.parametrize("fault", UNSAFE)
def test_faults_of_tls_at_a_station_of_1_6_are_found(fault: str) -> None:
    tls, make, named = UNSAFE[fault]

    async def run() -> None:
        async with station_under_test("1.6", security_profile=3, tls=tls, change=make()) as tester:
            (case,) = (each for each in STATION_CASES_16 if each.id == named)
            assert (await tester.run(case)).verdict is Verdict.FAIL

    in_virtual_time(run())


SOON_S = 6.0
"""A declared reaction time that is shorter than most intervals that cases set."""
SLOW = ("TC_R_108_CS",)
"""Cases in which our station takes longer: it reports the end of an event of the grid after 10 s."""


@pytest.mark.some(1)
@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize(
    "block", [pytest.param(each, marks=() if each in "HJ" else pytest.mark.long) for each in BLOCKS]
)
def test_cases_wait_for_the_intervals_that_they_set(block: str, version: Version, subtests: pytest.Subtests) -> None:
    async def run() -> None:
        async with station_under_test(version, seconds=SOON_S) as tester:
            for case in cases_of(block):
                if case.id in SLOW:
                    continue
                with subtests.test(case.id):
                    result = await tester.run(case)
                    assert result.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE), result.found

    in_virtual_time(run())


def test_schedules_are_judged_by_their_times_where_a_station_is_slow(subtests: pytest.Subtests) -> None:
    """Of a profile, from which the composite schedule may be asked for half a minute later."""
    cases = [case for case in cases_of("K") if case.id in ("TC_K_23_CS", "TC_K_40_CS", "TC_K_41_CS")]

    async def run(lag_s: float) -> None:
        async with station_under_test("2.0.1", lag_s=lag_s) as tester:
            for case in cases:
                with subtests.test(case.id, lag_s=lag_s):
                    result = await tester.run(case)
                    assert result.verdict is Verdict.PASS, result.found

    for lag_s in (3.5, 7.0):
        in_virtual_time(run(lag_s))


def _at_the_second(way: str, frame: Any) -> list[Frame]:
    """Have a vehicle at the second connector of an EVSE of two."""
    text = json.dumps(frame)
    if way == "to":
        asked = text.replace('"connectorId": 1', '"connectorId": 9').replace('"connectorId": 2', '"connectorId": 1')
        return [] if str(frame[1]).startswith("first") else [json.loads(asked)]
    own = json.loads(text.replace('"connectorId": 1', '"connectorId": 2'))
    if frame[0] == 2 and frame[2] == "StatusNotification" and frame[3]["connectorStatus"] == "Available":
        return [own, [2, f"first{frame[1][:30]}", "StatusNotification", frame[3]]]
    return [own]


@pytest.mark.parametrize("name", ["TC_F_24_CS", "TC_G_17_CS"])
def test_a_vehicle_may_be_at_another_connector_than_the_first(name: str) -> None:
    async def run() -> None:
        async with station_under_test("2.0.1", change=_at_the_second) as tester:
            result = await tester.run(next(case for case in STATION_CASES if case.id == name))
            assert result.verdict is Verdict.PASS, result.found

    in_virtual_time(run())


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_a_case_begins_when_a_slow_station_is_free_again(version: Version, subtests: pytest.Subtests) -> None:
    async def run() -> None:
        async with station_under_test(version, lag_s=SOON_S) as tester:
            for case in cases_of("G"):
                with subtests.test(case.id):
                    result = await tester.run(case)
                    assert result.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE), result.found

    in_virtual_time(run())


def test_a_driver_waits_for_a_station_that_takes_a_while_for_a_card(subtests: pytest.Subtests) -> None:
    names = "TC_C_21_CS", "TC_C_26_CS", "TC_E_16_CS", "TC_E_44_CS", "TC_J_10_CS", "TC_L_14_CS"

    async def run() -> None:
        async with station_under_test("2.0.1", slow_s=3) as tester:
            for case in (each for each in STATION_CASES if each.id in names):
                with subtests.test(case.id):
                    assert (await tester.run(case)).found == "as required"

    in_virtual_time(run())


def test_a_refused_transaction_may_stop_its_energy_a_moment_later() -> None:
    async def run() -> None:
        async with station_under_test() as tester:
            async with contextlib.AsyncExitStack() as stack:
                for variable in ("TxStartPoint", "TxStopPoint"):
                    assert await tester.test(stack).write("TxCtrlr", variable, "EVConnected") == "Accepted"
            (case,) = (each for each in STATION_CASES if each.id == "TC_C_16_CS")
            assert (await tester.run(case)).found == "as required"

    in_virtual_time(run())


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("start", "stop"),
    [
        ("EnergyTransfer", "EnergyTransfer"), ("EnergyTransfer", "EnergyTransfer,EVConnected"),
        ("EVConnected", "Authorized"), ("ParkingBayOccupancy", "ParkingBayOccupancy"),
    ],
)  # fmt: skip
def test_transactions_may_start_and_stop_at_other_points(start: str, stop: str, subtests: pytest.Subtests) -> None:
    names = (
        "TC_C_08_CS", "TC_C_12_CS", "TC_C_17_CS", "TC_C_26_CS", "TC_C_33_CS", "TC_E_04_CS", "TC_E_09_CS", "TC_E_10_CS",
        "TC_E_12_CS", "TC_E_25_CS", "TC_E_38_CS", "TC_F_01_CS", "TC_F_03_CS", "TC_G_05_CS", "TC_J_08_CS",
    )  # fmt: skip

    async def run() -> None:
        async with station_under_test() as tester:
            async with contextlib.AsyncExitStack() as stack:
                station = tester.test(stack)
                for variable, value in (("TxStartPoint", start), ("TxStopPoint", stop)):
                    assert await station.write("TxCtrlr", variable, value) == "Accepted"
            await tester.learn()
            for case in (each for each in STATION_CASES if each.id in names):
                with subtests.test(case.id):
                    result = await tester.run(case)
                    assert result.verdict is Verdict.PASS, result.found

    in_virtual_time(run())


def test_a_station_that_is_busy_after_its_boot_is_asked_for_its_report_again() -> None:
    first: list[str] = []

    def change(way: str, frame: Frame) -> list[Frame]:
        if way == "to" and frame[2:3] == ["GetBaseReport"]:
            first.append(frame[1])
        if way == "from" and frame[0] == 3 and frame[1] in first[:1]:
            return [[4, frame[1], "SecurityError", "", {}]]
        unasked = way == "from" and frame[2:3] == ["NotifyReport"] and len(first) < 2
        return [] if unasked else [frame]

    async def run() -> None:
        async with station_under_test(change=change, evses=0) as tester:
            assert tester.declaration.evses == 2
            assert tester.variables["OCPPCommCtrlr.ActiveNetworkProfile"] == "1"

    in_virtual_time(run())


def test_the_back_end_says_its_time_when_it_answers() -> None:
    """Also where a case says long before what is answered: TC_B_03_CS accepts a station that was rejected for 20 s."""

    async def run() -> None:
        async with station_under_test() as tester:
            (case,) = (each for each in STATION_CASES if each.id == "TC_B_03_CS")
            assert (await tester.run(case)).verdict is Verdict.PASS
            loop, now_ms = asyncio.get_running_loop(), tester.clock.utc_ms()
            found = []
            for frame in tester.frames:
                sent = json.loads(frame.text) if frame.way == "sent" else []
                if sent[:1] == [3] and "currentTime" in sent[2]:
                    found.append(now_ms - parse_time(sent[2]["currentTime"]) - 1000 * (loop.time() - frame.at_s))
            assert len(found) >= 2
            assert max(map(abs, found)) < 100

    in_virtual_time(run())


def _in_amperes(_: Payload, answer: Payload) -> Payload:
    for each in answer["getVariableResult"]:
        if each["variable"]["name"] == "RateUnit":
            each["attributeValue"] = "A"
    return answer


def _of_3700_w(part: Payload) -> Payload:
    for each in part["reportData"]:
        if (each["component"]["name"], each["variable"]["name"]) == ("EVSE", "Power"):
            each["variableCharacteristics"]["maxLimit"] = 3700.0
    return part


def _capped(watts: float) -> Make:
    def edit(_: Payload, answer: Payload) -> Payload:
        for each in answer.get("schedule", {}).get("chargingSchedulePeriod", []):
            each["limit"] = min(each["limit"], watts)
        return answer

    return answers("GetCompositeSchedule", edit)


def _summed(part: Payload) -> Payload:
    place = {"component": {"name": "DCDERCtrlr"}, "variable": {"name": "MaxW"}}
    return part | {"reportData": [*part["reportData"], place | {"variableAttribute": [{"value": "100000"}]}]}


def _hard_wired(cleared: str) -> Make:
    """Have a hard-wired monitor, the clearing of which is answered so."""
    monitor = {"id": 1, "transaction": False, "value": 1.0, "type": "Delta", "severity": 5}
    place = {"component": {"name": "ChargingStation"}, "variable": {"name": "Problem"}}

    def make() -> Change:
        asked: dict[str, Payload] = {}

        def change(way: str, frame: Frame) -> list[Frame]:
            if way == "to":
                if frame[0] == 2 and frame[2] in ("GetMonitoringReport", "ClearVariableMonitoring"):
                    asked[frame[1]] = frame[3]
                return [] if frame[1] == "hard-wired" else [frame]
            if frame[0] == 3 and frame[1] in asked and "clearMonitoringResult" in frame[2]:
                return [[*frame[:2], {"clearMonitoringResult": [{"id": 1, "status": cleared}]}]]
            if frame[0] == 3 and frame[1] in asked:
                told = {"requestId": asked[frame[1]]["requestId"], "seqNo": 0, "generatedAt": "2026-01-01T00:00:00Z"}
                part = told | {"monitor": [place | {"variableMonitoring": [monitor]}]}
                answer = [*frame[:2], {"status": "Accepted"}]
                return [answer, [2, "hard-wired", "NotifyMonitoringReport", part]]
            return [frame]

        return change

    return make


def _aimed(part: Payload) -> Payload:
    """Let the power of EVSEs have a target."""
    for each in part["reportData"]:
        if each["variable"]["name"] == "Power":
            each["variableAttribute"].append({"type": "Target", "value": "5000"})
    return part


def _of_targets(payload: Payload) -> Payload:
    """Report monitors of changes as those of targets."""
    for each in payload.get("monitor", []):
        for one in each["variableMonitoring"]:
            one["type"] = "TargetDelta"
    return payload


def _of_changes(payload: Payload) -> Payload:
    """Take monitors of targets for those of changes."""
    return payload | {"setMonitoringData": [each | {"type": "Delta"} for each in payload["setMonitoringData"]]}


def _without(component: str) -> Callable[[Payload], Payload]:
    """Leave a component out of reports (B07.FR.09: connectors only where they differ from their EVSE)."""

    def edit(part: Payload) -> Payload:
        return part | {"reportData": [each for each in part["reportData"] if each["component"]["name"] != component]}

    return edit


def _begun_late(*, said: bool) -> Make:
    """Send the first readings of a transaction when charging starts (E01.FR.17), or not at all."""

    def make() -> Change:
        kept: list[Payload] = []

        def edit(event: Payload) -> Payload:
            charging = event["transactionInfo"].get("chargingState") == "Charging"
            if not charging:
                kept.extend(event.pop("meterValue", ()))
            elif kept and said:
                event["meterValue"] = [*kept, *event.get("meterValue", ())]
            return event

        return tells("TransactionEvent", edit)()

    return make


def _placed_once() -> Change:
    """Name the EVSE in the first event of a transaction only (E01.FR.16)."""
    placed: set[str] = set()

    def edit(event: Payload) -> Payload:
        number = event["transactionInfo"]["transactionId"]
        if number in placed:
            event.pop("evse", None)
        placed.add(number)
        return event

    return tells("TransactionEvent", edit)()


_MONITORS_TARGETS = (tells("NotifyReport", _aimed), hears("SetVariableMonitoring", _of_changes))


@pytest.mark.parametrize(
    ("name", "changes", "verdict"),
    [
        ("TC_N_104_CS", (*_MONITORS_TARGETS, tells("NotifyMonitoringReport", _of_targets)), Verdict.PASS),
        ("TC_N_104_CS", _MONITORS_TARGETS, Verdict.FAIL),
        ("TC_N_44_CS", (_hard_wired("Rejected"),), Verdict.PASS),
        ("TC_N_44_CS", (_hard_wired("Accepted"),), Verdict.FAIL),
        ("TC_Q_107_CS", (answers("GetVariables", _in_amperes),), Verdict.NOT_APPLICABLE),
        ("TC_Q_107_CS", (tells("NotifyReport", _of_3700_w), _capped(3700.0)), Verdict.PASS),
        ("TC_Q_107_CS", (tells("NotifyReport", _of_3700_w), _capped(3000.0)), Verdict.FAIL),
        ("TC_R_101_CS", (tells("NotifyReport", _summed),), Verdict.PASS),
        ("TC_B_14_CS", (tells("NotifyReport", _without("Connector")),), Verdict.PASS),
        ("TC_B_14_CS", (tells("NotifyReport", _without("EVSE")),), Verdict.FAIL),
        ("TC_B_02_CS", (answers("TriggerMessage", status("Accepted", "Rejected")),), Verdict.INCONCLUSIVE),
        ("TC_B_02_CS", (answers("TriggerMessage", status("Accepted", "NotImplemented")),), Verdict.PASS),
        ("TC_F_20_CS", (answers("TriggerMessage", status("Accepted", "Rejected")),), Verdict.INCONCLUSIVE),
        ("TC_F_100_CS", (answers("TriggerMessage", status("Accepted", "Rejected")),), Verdict.INCONCLUSIVE),
        ("TC_E_03_CS", (_placed_once,), Verdict.PASS),
        ("TC_E_03_CS", (tells("TransactionEvent", without("evse")),), Verdict.FAIL),
        ("TC_J_08_CS", (_begun_late(said=True),), Verdict.PASS),
        ("TC_J_08_CS", (_begun_late(said=False),), Verdict.FAIL),
    ],
    ids=[
        "targets",
        "targets as changes",
        "hard-wired",
        "hard-wired and cleared",
        "in amperes",
        "weaker than the profile",
        "below what it can",
        "also of the whole station",
        "connectors as their EVSEs",
        "no EVSEs",
        "rejects the trigger of its boot",
        "does not have the trigger of its boot",
        "rejects the trigger of a heartbeat",
        "rejects a trigger that it lists",
        "the EVSE once",
        "never the EVSE",
        "first readings when charging starts",
        "no first readings",
    ],
)
def test_a_station_that_differs_from_ours_is_judged_by_what_is_required(
    name: str, changes: tuple[Make, ...], verdict: Verdict
) -> None:
    async def run() -> None:
        made = [make() for make in changes]

        def change(way: str, frame: list[object]) -> list[list[object]]:
            frames = [frame]
            for each in made:
                frames = [found for one in frames for found in each(way, one)]
            return frames

        version: Version = "2.0.1" if name == "TC_N_44_CS" else "2.1"
        async with station_under_test(version, change=change) as tester:
            (case,) = (each for each in STATION_CASES if each.id == name)
            result = await tester.run(case)
            assert result.verdict is verdict, result.found

    in_virtual_time(run())


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize("own", [True, pytest.param(False, marks=pytest.mark.long)], ids=["its own", "all others"])
def test_a_station_with_detachable_cables_passes(version: Version, own: bool, subtests: pytest.Subtests) -> None:
    async def run() -> None:
        async with station_under_test(version, **OTHER) as tester:
            for case in (case for block in ("C", "E", "F", "G", "J") for case in cases_of(block)):
                if (case.id in OF_OTHER) is not own:
                    continue
                with subtests.test(case.id):
                    result = await tester.run(case)
                    absent = not own and (is_absent(case.id, 1) or case.id in _CHOSEN)
                    expected = Verdict.NOT_APPLICABLE if absent or version not in case.versions else Verdict.PASS
                    assert result.verdict is expected, result.found

    in_virtual_time(run())


_CHOSEN = ("TC_C_14_CS", "TC_C_49_CS", "TC_E_27_CS")
"""Cases of stations with fixed cables, at which drivers do not choose what a master pass ends."""


def test_network_profiles_of_cases_do_not_stay() -> None:
    names = ("TC_B_100_CS", "TC_B_105_CS", "TC_B_107_CS")

    async def run() -> None:
        async with station_under_test("2.1") as tester:
            for case in (each for each in STATION_CASES if each.id in names):
                result = await tester.run(case)
                assert result.verdict is Verdict.PASS, result.found
            await tester.find(60)
            values = {
                each["component"]["instance"]: each["variableAttribute"][0].get("value", "")
                for each in tester.report
                if each["variable"]["name"] == "OcppCsmsUrl"
            }
            assert [slot for slot, value in sorted(values.items()) if value] == ["1"]
            assert tester.variables["OCPPCommCtrlr.ActiveNetworkProfile"] == "1"

    in_virtual_time(run())


@pytest.mark.parametrize("case", ["TC_N_30_CS", "TC_N_32_CS"])
def test_a_station_may_leave_its_local_list_to_the_back_end(case: str) -> None:
    """N10.FR.02: what is cleared at the station is removed from the list by the back end."""
    listed: list[Payload] = []

    def change(way: str, frame: Frame) -> list[Frame]:
        if way == "to" and frame[2:3] == ["SendLocalList"]:
            listed[:] = [each for each in frame[3].get("localAuthorizationList", []) if "idTokenInfo" in each]
        if way == "from" and frame[2:3] == ["NotifyCustomerInformation"]:
            return [[*frame[:3], frame[3] | {"data": "in the list" if listed else ""}]]
        return [frame]

    async def run() -> None:
        supports = FEATURES | {"AuthCacheCtrlr.Available": False}
        async with station_under_test(change=change, supports=supports) as tester:
            (found,) = (each for each in STATION_CASES if each.id == case)
            assert (await tester.run(found)).found == "as required"

    in_virtual_time(run())


def test_ids_are_unique() -> None:
    ids = [case.id for case in STATION_CASES]
    assert len(set(ids)) == len(ids)
