"""Faults of stations of OCPP 2.1, in what only that version has: as in `test_station_mutants`."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.testkit.ocpp.rig import Frame, cases_of, in_virtual_time, station_under_test
from tests.testkit.ocpp.station_mutants import (
    Make,
    Mutant,
    answers,
    believes,
    dropped,
    fails_its_cases_only,
    hears,
    ignores,
    name_of,
    of_event,
    of_password,
    of_results,
    replaced,
    sets,
    status,
    tells,
    without,
)
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpp.case import Payload
from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES


def _fault(name: str, make: Make, /, **fails: tuple[int, ...]) -> Mutant:
    return Mutant(name, make, fails, "2.1")


def _composed(edit: Callable[[Payload], Payload]) -> Make:
    """Change the periods of composite schedules."""

    def change(_: Payload, answer: Payload) -> Payload:
        for each in answer.get("schedule", {}).get("chargingSchedulePeriod", []):
            for name in set(each) - set(edit(each)):
                del each[name]
        return answer

    return answers("GetCompositeSchedule", change)


def _profiled(**edits: Any) -> Make:
    """Change profiles that the station is sent; None removes a field."""

    def edit(payload: Payload) -> Payload:
        wanted = payload["chargingProfile"]
        for name, value in edits.items():
            if name in wanted:
                wanted[name] = value
        return payload | {"chargingProfile": {name: value for name, value in wanted.items() if value is not None}}

    return hears("SetChargingProfile", edit)


def _controls(edit: Callable[[Payload], Payload]) -> Make:
    def change(payload: Payload) -> Payload:
        lists = {name: [edit(each) for each in value] for name, value in payload.items() if isinstance(value, list)}
        return payload | lists

    return tells("ReportDERControl", change)


def _ends_twice(way: str, frame: Frame) -> list[Frame]:
    """Report the end of an alarm once more."""
    if way == "to":
        return [] if frame[1] == "once more" else [frame]
    ends = frame[0] == 2 and frame[2] == "NotifyDERAlarm" and frame[3].get("alarmEnded")
    return [frame, [2, "once more", *frame[2:]]] if ends else [frame]


def _no_plate(part: Payload) -> Payload:
    return part | {"reportData": [each for each in part["reportData"] if each["variable"]["name"] != "MaxVA"]}


def _nameless(payload: Payload) -> Payload:
    payload.get("idToken", {}).pop("additionalInfo", None)
    return payload


def _both_ways(payload: Payload) -> Payload:
    return payload | {"chargingNeeds": payload["chargingNeeds"] | {"requestedEnergyTransfer": "DC_BPT"}}


def _accepts(_: Payload, answer: Payload) -> Payload:
    return {"status": "Accepted"}


def _silent(way: str, frame: Frame) -> list[Frame]:
    """Send no stream (SEND)."""
    return [] if way == "from" and frame[0] == 6 else [frame]


def _unconditional(payload: Payload) -> Payload:
    for name in ("energy", "chargingTime"):
        for each in payload["tariff"].get(name, {}).get("prices", []):
            each.pop("conditions", None)
    return payload


def _one_token(payload: Payload) -> Payload:
    if "idToken" in payload:
        payload["idToken"] = {"idToken": "0A1B2C3D", "type": "ISO14443"}
    return payload


def _anonymous(payload: Payload) -> Payload:
    return payload | {"connectionData": without("identity")(payload["connectionData"])}


def _first_period(payload: Payload) -> Payload:
    for each in payload.get("chargingSchedule", []):
        del each["chargingSchedulePeriod"][1:]
    return payload


def _no_collector(asked: Payload, answer: Payload) -> Payload:
    return answer | {"status": "Rejected"} if asked["logType"] == "DataCollectorLog" else answer


def _anonymous_upload(payload: Payload) -> Payload:
    place = re.sub(r"//[^/]*@", "//", payload["log"]["remoteLocation"])
    return payload | {"log": payload["log"] | {"remoteLocation": place}}


ACCEPTED: Payload = {"status": "Accepted"}

MUTANTS: tuple[Mutant, ...] = (
    # -- blocks K and Q: profiles
    _fault("does not apply updates", ignores("UpdateDynamicSchedule", ACCEPTED), K=(122, 123), Q=(109, 117, 118)),
    _fault("does not pull updates", tells("PullDynamicScheduleUpdate", dropped), K=(121,), Q=(110,)),
    _fault("does not say that priority is used", tells("NotifyPriorityCharging", dropped), K=(118, 119)),
    _fault("gives everybody priority", answers("UsePriorityCharging", _accepts), K=(118,)),
    _fault("sends no needs", tells("NotifyEVChargingNeeds", dropped), K=(113, 114, 115, 116), Q=(101, 102, 104)),
    _fault("always asks for both directions", tells("NotifyEVChargingNeeds", _both_ways), Q=(102, 130)),
    _fault("sends no schedules of vehicles", tells("NotifyEVChargingSchedule", dropped), K=(113, 114), Q=(104,)),
    _fault("reports no external limits", tells("NotifyChargingLimit", dropped), K=(120,), Q=(114, 115, 116)),
    _fault("reports one external limit only", tells("NotifyChargingLimit", _first_period), Q=(116,)),
    _fault(
        "takes local generation for a limit",
        tells(
            "NotifyChargingLimit", lambda p: p | {"chargingLimit": p["chargingLimit"] | {"isLocalGeneration": False}}
        ),
        K=(120,),
    ),
    _fault("obeys external systems without leave", sets("ExternalConstraintsProfileDisallowed", "false"), K=(124,)),
    _fault(
        "keeps no time of updates",
        tells(
            "ReportChargingProfiles",
            lambda p: p | {"chargingProfile": [without("dynUpdateTime")(each) for each in p["chargingProfile"]]},
        ),
        K=(122, 125),
        Q=(109, 111, 112, 114, 117),
    ),
    _fault(
        "accepts every profile of 2.1",
        answers("SetChargingProfile", status("Rejected", "Accepted")),
        K=(123,),
        Q=(119, 123, 127),
    ),
    _fault("knows no set-points", _composed(without("setpoint")), Q=(101, 104, 109, 110, 111, 113, 115, 117, 118)),
    _fault(
        "does not say that the mode is another",
        of_event(triggerReason=("OperationModeChanged", "ChargingRateChanged")),
        Q=(101, 109, 111, 112, 113, 117, 118, 119, 125),
    ),
    _fault("does not say that an EVSE sleeps", of_event(evseSleep=None), Q=(125,)),
    _fault("goes on by a profile while offline", _profiled(maxOfflineDuration=None), Q=(128,)),
    _fault("goes on by a profile after being offline", _profiled(invalidAfterOfflineDuration=None), Q=(128,)),
    _fault("measures nothing more", sets("TxUpdatedMeasurands", ""), Q=(100,)),
    _fault("does not name vehicles", tells("TransactionEvent", _nameless), Q=(101,)),
    _fault("takes any signal", answers("AFRRSignal", _accepts), Q=(120,)),
    _fault("always follows external systems", sets("SetpointPriority", "ExternalSystem"), Q=(115,)),
    _fault(
        "allows no other transfer", answers("NotifyAllowedEnergyTransfer", status("Accepted", "Rejected")), Q=(102,)
    ),
    # -- blocks B and E: resumption, network profiles, limits
    _fault("resumes nothing", sets("ResumptionTimeout", "0"), B=(102, 103, 104), E=(112, 113)),
    _fault("always charges after a resumption", sets("AllowEnergyTransferResumption", "true"), B=(102,), E=(112,)),
    _fault("never charges after a resumption", sets("AllowEnergyTransferResumption", "false"), B=(103,), E=(113,)),
    _fault(
        "does not say that it resumes",
        of_event(triggerReason=("TxResumed", "ChargingStateChanged")),
        B=(102, 103),
        E=(112, 113),
    ),
    _fault("takes a power loss for a reboot", of_event(stoppedReason=("PowerLoss", "Reboot")), E=(115, 116)),
    _fault("boots as after a power loss", tells("BootNotification", lambda p: p | {"reason": "PowerUp"}), B=(104,)),
    _fault("rejects resets", ignores("Reset", {"status": "Rejected"}), B=(102, 103, 104, 105)),
    _fault("forgets identities", hears("SetNetworkProfile", _anonymous), B=(100,)),
    _fault(
        "takes any variable",
        answers("SetVariables", of_results("setVariableResult", replaced("attributeStatus", "Rejected", "Accepted"))),
        B=(107, 108),
    ),
    _fault(
        "does not say which limit is set",
        of_event(transactionLimit=None),
        C=(103, 106, 107, 123, 124, 128, 129, 130),
        E=(100, 101, 102, 103, 104, 105, 106, 107, 108),
    ),
    _fault(
        "goes on without energy",
        of_event(chargingState=("SuspendedEVSE", "Charging")),
        C=(103, 122, 124, 128, 129, 130),
        E=(100, 101, 102, 103, 104, 105, 106, 107, 108, 112),
    ),
    _fault(
        "does not say that energy is at its limit",
        of_event(triggerReason=("EnergyLimitReached", "Other")),
        C=(130,),
        E=(100, 102, 106),
    ),
    _fault("knows no costs", ignores("CostUpdated", {}), C=(103, 121, 122, 124, 129), E=(101,)),
    _fault("takes another password", hears("SetVariables", of_password), B=(109,)),
    Mutant(
        "lets every network profile be set",
        answers("SetNetworkProfile", status("Rejected", "Accepted")),
        {"B": (110, 112)},
        "2.1",
        security_profile=2,
    ),
    Mutant(
        "lets every variable of a slot be set",
        answers("SetVariables", of_results("setVariableResult", replaced("attributeStatus", "Rejected", "Accepted"))),
        {"B": (111, 113)},
        "2.1",
        security_profile=3,
    ),
    # -- block F
    _fault("knows every trigger", answers("TriggerMessage", status("NotImplemented", "Accepted")), F=(100,)),
    _fault("sends nothing that is triggered", ignores("TriggerMessage", ACCEPTED), F=(100,)),
    # -- block C: payment
    _fault("accepts everybody", believes("Authorize", lambda _, a: a | {"idTokenInfo": ACCEPTED}), C=(104, 105)),
    _fault("never asks about cards", sets("AuthorizeDirectPayment", "false"), C=(105, 107, 110, 112)),
    _fault("always asks about cards", sets("AuthorizeDirectPayment", "true"), C=(106, 109, 111)),
    _fault("reports no settlements", tells("NotifySettlement", dropped), C=(108, 110, 112, 113, 114, 116, 119, 120)),
    _fault(
        "settles another amount",
        tells("NotifySettlement", lambda p: p | {"settlementAmount": 1.0}),
        C=(114, 116, 119, 120),
    ),
    _fault("hides failures", tells("NotifySettlement", replaced("status", "Failed", "Settled")), C=(119,)),
    _fault("hides rejections", tells("NotifySettlement", replaced("status", "Rejected", "Failed")), C=(120,)),
    _fault("sends no receipts", tells("NotifySettlement", without("receiptUrl")), C=(114,)),
    _fault(
        "always sends receipts",
        tells("NotifySettlement", lambda p: p | {"receiptUrl": "https://x.example"}),
        C=(116, 119, 120),
    ),
    _fault("always settles", sets("SettlementByCSMS", "false"), C=(115,)),
    _fault("reserves no more", sets("IncrementalAuthorizationAmount", "0"), C=(121,)),
    _fault(
        "shows one token in all events",
        tells("TransactionEvent", _one_token),
        C=(106, 107, 123, 124, 127, 128, 129, 130),
    ),
    _fault("sends no VAT numbers", tells("NotifySettlement", without("vatNumber")), C=(108,)),
    # -- block I: tariffs
    _fault("knows no conditions", hears("SetDefaultTariff", _unconditional), I=(101, 119)),
    _fault("always has tariffs", sets("Enabled", "true"), I=(112,)),
    _fault("charges by its default tariff", sets("HandleFailedTariff", "UseDefaultTariff"), I=(107, 108)),
    # -- block N: logs, streams
    _fault("has no log of the data collector", answers("GetLog", _no_collector), N=(100,)),
    _fault(
        "reports every upload as done",
        tells("LogStatusNotification", replaced("status", "UploadFailure", "Uploaded")),
        N=(101,),
    ),
    _fault("never authenticates uploads", hears("GetLog", _anonymous_upload), N=(102, 103)),
    _fault("forgets roots", ignores("InstallCertificate", ACCEPTED), N=(103,)),
    _fault("sends no streams", lambda: _silent, N=(105, 108, 109)),
    _fault("opens no streams", tells("OpenPeriodicEventStream", dropped), N=(105, 106)),
    _fault("closes no streams", tells("ClosePeriodicEventStream", dropped), N=(108,)),
    _fault("adjusts every stream", answers("AdjustPeriodicEventStream", _accepts), N=(109,)),
    _fault("does not adjust streams", ignores("AdjustPeriodicEventStream", ACCEPTED), N=(109,)),
    _fault("reports no streams", answers("GetPeriodicEventStream", lambda _, answer: {}), N=(105,)),
    # -- block R
    _fault("does not clear controls", ignores("ClearDERControl", ACCEPTED), R=(102,)),
    _fault(
        "does not say what it supersedes",
        answers("SetDERControl", lambda _, a: without("supersededIds")(a)),
        R=(104, 106),
    ),
    _fault("accepts every control", answers("SetDERControl", lambda _, a: a | ACCEPTED), R=(103,)),
    _fault("does not say that controls start", tells("NotifyDERStartStop", dropped), R=(104, 105, 106)),
    _fault("supersedes nothing", _controls(lambda each: each | {"isSuperseded": False}), R=(104, 105, 106)),
    _fault("has no controls", answers("GetDERControl", status("Accepted", "NotFound")), R=(100, 104, 105, 106)),
    _fault("ends its alarm twice", lambda: _ends_twice, R=(108,)),
    _fault("has an alarm for ever", tells("NotifyDERAlarm", lambda p: None if p.get("alarmEnded") else p), R=(108,)),
    _fault("has no nameplate", tells("NotifyReport", _no_plate), R=(101,)),
)


CASES = [case for case in STATION_CASES if case.versions == ("2.1",)]


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_fault_is_found_by_its_cases_only(mutant: Mutant) -> None:
    fails_its_cases_only(mutant, CASES)


@pytest.mark.some(1)
@pytest.mark.parametrize("mutant", MUTANTS[::16], ids=name_of)
def test_a_fault_is_found_by_its_cases(mutant: Mutant) -> None:
    """And by none of every fifth of the others."""
    fails_its_cases_only(mutant, CASES, every=5)


def test_a_station_need_not_know_of_payments_on_the_web() -> None:
    def change(way: str, frame: Frame) -> list[Frame]:
        unknown = way == "to" and frame[0] == 2 and frame[2] == "NotifyWebPaymentStarted"
        return [[*frame[:2], "NotifyNothing", *frame[3:]] if unknown else frame]

    async def run() -> None:
        (case,) = (each for each in cases_of("C") if each.id == "TC_C_127_CS")
        async with station_under_test("2.1", change=change) as tester:
            assert (await tester.run(case)).verdict is Verdict.NOT_APPLICABLE

    in_virtual_time(run())
