"""A station with one fault each: the cases find it, and nothing else.

The station is our own behind a connection that changes its frames. A mutant names the blocks to run and the cases that
must fail; all others of these blocks must not.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from tests.testkit.ocpp.rig import OTHER, Change, Frame, cases_of, in_virtual_time, station_under_test
from tests.testkit.ocpp.station_mutants import (
    Make,
    Mutant,
    aged,
    answers,
    believes,
    both,
    dropped,
    fails_its_cases_only,
    hears,
    ignores,
    name_of,
    of_event,
    of_password,
    of_results,
    poor,
    replaced,
    sets,
    status,
    tells,
    trusts,
    unchanged,
    without,
)
from v2g.ocpp.times import format_time
from v2g_testkit.ocpp.case import Payload
from v2g_testkit.ocpp.driver import Action, Step
from v2g_testkit.ocpp.station_cases.steps import GROUP

# -- changes


def asks_first(way: str, frame: Frame) -> list[Frame]:
    """Send Authorize before each event that says Authorized."""
    if way == "to":
        return [] if str(frame[1]).startswith("extra-") else [frame]
    if frame[0] == 2 and frame[2] == "TransactionEvent" and frame[3]["triggerReason"] == "Authorized":
        return [[2, f"extra-{frame[1]}"[:36], "Authorize", {"idToken": frame[3]["idToken"]}], frame]
    return [frame]


def _again(payload: Payload) -> Payload:
    """Ask for one retry more, where any are asked for."""
    return payload | {"retries": payload["retries"] + 1} if payload.get("retries") else payload


def _changed_states() -> Change:
    """After a time offline report only the states that differ from those before."""
    states: dict[int, str] = {}

    def change(way: str, frame: Frame) -> list[Frame]:
        if way == "to" or frame[0] != 2:
            return [frame]
        if frame[2] == "BootNotification":
            states.clear()
        if frame[2] != "StatusNotification":
            return [frame]
        evse, status = frame[3]["evseId"], frame[3]["connectorStatus"]
        before, states[evse] = states.get(evse), status
        return [] if before == status else [frame]

    return change


def _up_to_unknown(results: list[Payload]) -> list[Payload]:
    names = [each["attributeStatus"] for each in results]
    return results[: names.index("UnknownVariable") + 1] if "UnknownVariable" in names else results


def _forgetful() -> Change:
    """After a boot send nothing about the transactions before it."""
    known: set[str] = set()
    gone: set[str] = set()

    def change(way: str, frame: Frame) -> list[Frame]:
        if way == "from" and frame[0] == 2 and frame[2] == "BootNotification":
            gone.update(known)
        if way == "from" and frame[0] == 2 and frame[2] == "TransactionEvent":
            transaction = frame[3]["transactionInfo"]["transactionId"]
            known.add(transaction)
            return [] if transaction in gone else [frame]
        return [frame]

    return change


def _of_any_level(payload: Payload) -> Payload:
    criteria = payload.get("chargingProfileCriteria")
    return payload if criteria is None else payload | {"chargingProfileCriteria": without("stackLevel")(criteria)}


def _of_any_evse(payload: Payload) -> Payload:
    criteria = payload.get("chargingProfileCriteria")
    return payload if criteria is None else payload | {"chargingProfileCriteria": without("evseId")(criteria)}


def _daily(payload: Payload) -> Payload:
    profile = payload["chargingProfile"]
    return payload | {"chargingProfile": replaced("recurrencyKind", "Weekly", "Daily")(profile)}


def _accepted_only(payload: Payload) -> Payload:
    """Leave out of a list what it refuses."""
    kept = [
        each for each in payload.get("localAuthorizationList", [])
        if each.get("idTokenInfo", {"status": "Accepted"})["status"] == "Accepted"
    ]  # fmt: skip
    return payload | ({"localAuthorizationList": kept} if kept else {})


def _is_again(payload: Payload) -> bool:
    return bool(payload["updateType"] == "Differential" and payload["versionNumber"] == 5)


def _doubled(_: Payload, answer: Payload) -> Payload:
    entries = answer.get("certificateHashDataChain")
    return answer if entries is None else answer | {"certificateHashDataChain": entries * 2}


def _unlimited(name: str) -> Callable[[Payload, Payload], Payload]:
    """Do not hear of a limit of a token."""
    return lambda _, answer: (
        answer | {"idTokenInfo": without(name)(answer["idTokenInfo"])} if "idTokenInfo" in answer else answer
    )


def _for_all(payload: Payload) -> Payload:
    """Take a profile of a transaction for one of all transactions."""
    profile = {name: value for name, value in payload["chargingProfile"].items() if name != "transactionId"}
    if profile["chargingProfilePurpose"] == "TxProfile":
        profile |= {"chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 2}
    return payload | {"chargingProfile": profile}


def _info(**more: Any) -> Callable[[Payload, Payload], Payload]:
    return lambda _, answer: (
        answer | {"idTokenInfo": answer["idTokenInfo"] | more} if "idTokenInfo" in answer else answer
    )


def _listed(payload: Payload) -> Payload:
    for each in payload.get("localAuthorizationList", []):
        if "idTokenInfo" in each:
            each["idTokenInfo"]["status"] = "Accepted"
    return payload


def _report(edit: Callable[[Payload], Payload]) -> Make:
    return tells("NotifyReport", lambda part: part | {"reportData": [edit(each) for each in part["reportData"]]})


def _unlisted(entry: Payload) -> Payload:
    about = entry.get("variableCharacteristics", {})
    return entry | {"variableCharacteristics": without("valuesList")(about)} if about else entry


def _of_kind(kind: str, value: str | None) -> Make:
    """Report this value, or none, of every variable of a data type."""

    def edit(entry: Payload) -> Payload:
        if entry.get("variableCharacteristics", {}).get("dataType") == kind:
            for each in entry["variableAttribute"]:
                each["value"] = value
                if value is None:
                    del each["value"]
        return entry

    return _report(edit)


def _shown(entry: Payload) -> Payload:
    if entry["variable"]["name"] == "BasicAuthPassword":
        entry["variableAttribute"][0]["value"] = "secret"
    return entry


def _unplaced(payload: Payload) -> Payload:
    payload.get("evse", {}).pop("connectorId", None)
    return payload


def _other_token(payload: Payload) -> Payload:
    if payload["triggerReason"] == "StopAuthorized" and "idToken" in payload:
        payload["idToken"] = {"idToken": "SOMEBODY", "type": "Central"}
    return payload


def _everywhere(way: str, frame: Frame) -> list[Frame]:
    """Report every connector whenever one is reported."""
    if way == "to":
        return [] if str(frame[1]).startswith("extra-") else [frame]
    if frame[0] == 2 and frame[2] == "StatusNotification" and frame[3]["evseId"] == 1:
        return [
            frame,
            [2, f"extra-{frame[1]}"[:36], frame[2], frame[3] | {"evseId": 2, "connectorStatus": "Available"}],
        ]
    return [frame]


def _ongoing(*, value: bool) -> Callable[[Payload, Payload], Payload]:
    return lambda asked, answer: answer | {"ongoingIndicator": value} if "transactionId" in asked else answer


def _misnamed(_: Payload, answer: Payload) -> Payload:
    for each in answer.get("certificateHashDataChain", []):
        each["certificateHashData"]["serialNumber"] = "1"
    return answer


def _of_status(action: str, before: str, after: str | None) -> Make:
    """Change a status that the station reports; None: it does not report it."""

    def edit(payload: Payload) -> Payload | None:
        if payload["status"] != before:
            return payload
        return None if after is None else payload | {"status": after}

    return tells(action, edit)


def _not(**wanted: Any) -> Callable[[Payload], Payload | None]:
    """Drop events with this value."""
    return lambda payload: None if any(wanted.items() <= each.items() for each in payload["eventData"]) else payload


def _sensitive(payload: Payload) -> Payload:
    for each in payload["setMonitoringData"]:
        if each["type"] == "Delta" and each["value"] > 1:
            each["value"] = 1
    return payload


def _valued(payload: Payload) -> Payload:
    for each in payload["eventData"]:
        each["actualValue"] = each["actualValue"] or "secret"
    return payload


def _at_once(payload: Payload) -> Payload:
    return payload | {"firmware": without("installDateTime")(payload["firmware"])}


def _ordered(result: Payload) -> Payload:
    chosen = result["variable"]["name"] == "NetworkConfigurationPriority"
    return result | {"attributeStatus": "Accepted"} if chosen else result


def _insecure(result: Payload) -> Payload:
    return result | {"attributeValue": "1"} if result["variable"]["name"] == "SecurityProfile" else result


def _soft_wired(payload: Payload) -> Payload:
    for each in payload["eventData"]:
        each["eventNotificationType"] = "CustomMonitor"
    return payload


def _unsigned(payload: Payload) -> Payload:
    for each in payload.get("meterValue", []):
        for one in each["sampledValue"]:
            one.pop("signedMeterValue", None)
    return payload


def _does(before: Action, after: Action) -> Mapping[str, Any]:
    """Return the other station of ours, at which another step has the effect of one."""

    def change(step: Step) -> Step:
        return msgspec.structs.replace(step, action=after) if step.action == before else step

    return OTHER | {"steps": change}


_own = replaced("chargingProfilePurpose", "ChargingStationExternalConstraints", "ChargingStationMaxProfile")
CLEARED = {"clearTariffsResult": [{"tariffId": "v2g-1", "status": "Accepted"}]}
RESULT = "getVariableResult"
WRITTEN = "setVariableResult"


def _limited(request: Payload) -> Payload:
    """Return a profile without the limit of 0."""
    for each in request["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"]:
        each["limit"] = each["limit"] or 99_000.0
    return request


MUTANTS: tuple[Mutant, ...] = (
    # -- block B
    Mutant("answers what it does not know", ignores("UnknownToAll", {}), {"B": (1003,)}),
    Mutant(
        "boots without a model",
        tells("BootNotification", lambda p: p | {"chargingStation": p["chargingStation"] | {"model": ""}}),
        {"B": (1,)},
    ),
    Mutant(
        "boots with the reason Unknown",
        tells("BootNotification", lambda p: p | {"reason": "Unknown"}),
        {"B": (2, 20, 21, 22)},
    ),
    Mutant(
        "scheduled reset without its reason",
        tells("BootNotification", replaced("reason", "ScheduledReset", "RemoteReset")),
        {"B": (21,)},
    ),
    Mutant(
        "does not report its connectors",
        tells("StatusNotification", dropped),
        {"B": (1, 2, 3, 20, 22, 45, 46, 51, 52), "G": (1, 3, 5, 7, 11, 14, 17)},
    ),
    Mutant(
        "reports what is unavailable as available",
        tells("StatusNotification", replaced("connectorStatus", "Unavailable", "Available")),
        {"G": (3, 5, 7, 11, 14, 17)},
    ),
    Mutant(
        "reports what is reserved as occupied",
        tells("StatusNotification", replaced("connectorStatus", "Reserved", "Occupied")),
        {"H": (1, 7, 14)},
    ),
    Mutant("reports every connector after a short time offline", lambda: _everywhere, {"B": (52,)}),
    Mutant(
        "reads another value",
        answers("GetVariables", of_results(RESULT, replaced("attributeValue", "300", "301"))),
        {"B": (6, 7)},
    ),
    Mutant(
        "answers about another component",
        answers("GetVariables", of_results(RESULT, lambda r: r | {"component": {"name": "Other"}})),
        {"B": (6, 7, 32, 33, 34)},
    ),
    Mutant(
        "reads as Target",
        answers("GetVariables", of_results(RESULT, replaced("attributeType", "Actual", "Target"))),
        {"B": (6, 7)},
    ),
    Mutant(
        "does not know components",
        answers("GetVariables", of_results(RESULT, replaced("attributeStatus", "UnknownComponent", "UnknownVariable"))),
        {"B": (32,)},
    ),
    Mutant(
        "knows every variable",
        answers("GetVariables", of_results(RESULT, replaced("attributeStatus", "UnknownVariable", "Rejected"))),
        {"B": (33,)},
    ),
    Mutant(
        "has every attribute",
        answers(
            "GetVariables", of_results(RESULT, replaced("attributeStatus", "NotSupportedAttributeType", "Rejected"))
        ),
        {"B": (34,)},
    ),
    Mutant(
        "accepts every value",
        answers("SetVariables", of_results(WRITTEN, lambda r: r | {"attributeStatus": "Accepted"})),
        {"B": (11, 35, 36, 37, 39, 1004)},
    ),
    Mutant(
        "rejects what it does not know",
        answers(
            "SetVariables",
            of_results(
                WRITTEN, lambda r: r if r["attributeStatus"] == "Accepted" else r | {"attributeStatus": "Rejected"}
            ),
        ),
        {"B": (35, 36, 37, 1004)},
    ),
    Mutant("sends no heartbeats", tells("Heartbeat", dropped), {"B": (1002,)}),
    Mutant("does not keep values", sets("OfflineThreshold", "600"), {"B": (2, 6, 7, 9, 10, 11, 51, 1004)}),
    Mutant(
        "reports without characteristics", _report(without("variableCharacteristics")), {"B": (12, 13, 14, 16, 17, 18)}
    ),
    Mutant("reports lists without values", _report(_unlisted), {"B": (12, 13, 14, 16, 17, 18)}),
    Mutant("reports a word as a number", _of_kind("integer", "sixty"), {"B": (12, 13, 16)}),
    Mutant("reports a number below its limit", _of_kind("integer", "-1"), {"B": (12, 13, 16)}),
    Mutant("reports a flag as a number", _of_kind("boolean", "1"), {"B": (12, 13, 14, 16)}),
    Mutant("reports a state of its own", _of_kind("OptionList", "Busy"), {"B": (12, 13, 14, 16, 17, 18)}),
    Mutant("reports a measurand of its own", _of_kind("MemberList", "Weather"), {"B": (12, 13, 16)}),
    Mutant("reports nothing as numbers", _of_kind("integer", None), {"B": (12, 13, 16)}),
    Mutant("reports its password", _report(_shown), {"B": (13,)}),
    Mutant(
        "numbers reports from 1",
        tells("NotifyReport", lambda p: p | {"seqNo": p["seqNo"] + 1}),
        {"B": (2, 12, 13, 14, 16, 17, 18, 53, 54, 55, 56)},
    ),
    Mutant("resets at once instead of on idle", answers("Reset", status("Scheduled", "Accepted")), {"B": (21, 26, 41)}),
    Mutant("accepts every network profile", answers("SetNetworkProfile", status("Rejected", "Accepted")), {"B": (43,)}),
    Mutant(
        "does not say why a reset ends a transaction",
        of_event(stoppedReason=("ImmediateReset", "Other")),
        {"B": (22, 27)},
    ),
    Mutant(
        "starts while pending",
        answers("RequestStartTransaction", status("Rejected", "Accepted")),
        {"B": (2,), "F": (1001, 1002), "H": (2,)},
    ),
    Mutant(
        "stops at an unknown variable",
        answers("SetVariables", lambda _, a: a | {"setVariableResult": _up_to_unknown(a["setVariableResult"])}),
        {"B": (1004,)},
    ),
    Mutant("reports changed states only", _changed_states, {"B": (51,)}),
    # -- block C
    Mutant("accepts unknown tokens offline", sets("OfflineTxForUnknownIdEnabled", "true"), {"C": (1005,)}),
    Mutant(
        "asks nobody",
        tells("Authorize", dropped),
        {"C": (2, 4, 6, 7, 28, 29, 30, 31, 33, 34, 36, 37, 39, 42, 43, 45, 46, 49, 50, 51, 52, 53, 56, 1006, 1007)},
    ),
    Mutant("asks about every token", lambda: asks_first, {"C": (8, 32, 33)}),
    Mutant(
        "takes every answer for Accepted",
        believes("Authorize", _info(status="Accepted")),
        {"C": (2, 6, 7, 9, 10, 11, 12, 28, 29, 30, 42, 43, 56, 57)},
    ),
    Mutant(
        "does not learn from events",
        believes("TransactionEvent", _info(status="Accepted")),
        {"C": (16, 17, 18, 26, 34)},
    ),
    Mutant("lets everybody be of one group", believes("Authorize", _info(groupIdToken=GROUP)), {"C": (4,)}),
    Mutant(
        "does not clear its cache", ignores("ClearCache", {"status": "Accepted"}), {"C": (26, 33, 37, 38, 42, 49, 54)}
    ),
    Mutant("clears a cache that is off", answers("ClearCache", status("Rejected", "Accepted")), {"C": (38,)}),
    Mutant("keeps tokens for ever", sets("LifeTime", "86400"), {"C": (46,)}),
    Mutant("always uses its cache", sets("LocalPreAuthorize", "true"), {"C": (36,)}),
    Mutant("always asks about refused tokens", sets("DisablePostAuthorize", "false"), {"C": (57, 58)}),
    Mutant(
        "takes every listed token for accepted",
        hears("SendLocalList", _listed),
        {"C": (22, 23, 24, 25, 28, 29, 30, 31, 43, 58)},
    ),
    Mutant(
        "does not mark what was offline",
        of_event(offline=None),
        {"C": (15, 16, 17, 18, 21, 26, 54), "E": (16, 29, 40, 43, 44, 45)},
    ),
    Mutant("goes on with refused tokens", sets("StopTxOnInvalidId", "false"), {"C": (16, 18)}),
    Mutant("stops refused tokens in any case", sets("StopTxOnInvalidId", "true"), {"C": (15, 17, 26)}),
    Mutant("refuses unknown tokens offline", sets("OfflineTxForUnknownIdEnabled", "false"), {"C": (26, 54)}),
    Mutant("has no master pass", sets("MasterPassGroupId", "NOBODY"), {"C": (14, 45, 49)}),
    Mutant(
        "knows no time of expiry",
        both(
            believes("Authorize", _unlimited("cacheExpiryDateTime")),
            believes("TransactionEvent", _unlimited("cacheExpiryDateTime")),
        ),
        {"C": (1006,)},
    ),
    Mutant("takes tokens for every EVSE", believes("Authorize", _unlimited("evseId")), {"C": (1007,)}),
    Mutant("knows tokens offline, always", sets("LocalAuthorizeOffline", "true"), {"C": (1008,)}),
    Mutant("does not name the master pass", of_event(stoppedReason=("MasterPass", "Local")), {"C": (14, 49)}),
    Mutant(
        "shows another token when it stops",
        tells("TransactionEvent", _other_token),
        {"C": (14, 39, 40, 41, 1006), "E": (6,)},
    ),
    Mutant(
        "shows no tokens",
        of_event(idToken=None),
        {"C": (8, 12, 14, 15, 16, 17, 18, 26, 27, 31, 32, 33, 34, 37, 50, 52, 54), "E": (1, 2, 3, 4, 10, 13, 16)},
    ),
    # -- block E
    Mutant(
        "numbers events by every second number",
        tells("TransactionEvent", lambda p: p | {"seqNo": 2 * p["seqNo"]}),
        {"E": (40, 43)},
    ),
    Mutant(
        "does not show its tokens",
        tells("TransactionEvent", without("idToken")),
        {"E": (1, 2, 3, 4, 10, 13, 16)},
    ),
    Mutant("does not name connectors", tells("TransactionEvent", _unplaced), {"E": (1, 2, 3, 9)}),
    Mutant(
        "does not say that the vehicle is gone",
        of_event(triggerReason=("EVCommunicationLost", "AbnormalCondition")),
        {"E": (14, 17, 19, 20, 25, 26, 27, 37, 54)},
    ),
    Mutant(
        "does not say that time is up",
        of_event(triggerReason=("EVConnectTimeout", "AbnormalCondition")),
        {"E": (27, 39), "F": (4,)},
    ),
    Mutant(
        "stops by token without saying so",
        of_event(triggerReason=("StopAuthorized", "ChargingStateChanged")),
        {"E": (6, 7, 14, 15, 44, 45, 46)},
    ),
    Mutant("ends by time-out as Local", of_event(stoppedReason=("Timeout", "Local")), {"E": (27, 39)}),
    Mutant("ends by request as Local", of_event(stoppedReason=("Remote", "Local")), {"E": (21, 35), "F": (8,)}),
    Mutant("ends by cable as Other", of_event(stoppedReason=("EVDisconnected", "Other")), {"E": (17, 20, 37, 54)}),
    Mutant("ends by token as Other", of_event(stoppedReason=("Local", "Other")), {"E": (6, 7, 8, 14, 15, 19)}),
    Mutant(
        "has a vehicle that is gone",
        of_event(chargingState=("Idle", "EVConnected")),
        {"E": (14, 20, 25, 26, 27, 37, 54)},
    ),
    Mutant(
        "does not see pauses of vehicles", of_event(chargingState=("SuspendedEV", "SuspendedEVSE")), {"E": (20, 37, 38)}
    ),
    Mutant("does not see the parking bay", of_event(triggerReason=("EVDetected", "AbnormalCondition")), {"E": (12,)}),
    Mutant("does not see who leaves", of_event(triggerReason=("EVDeparted", "AbnormalCondition")), {"E": (19,)}),
    Mutant(
        "says that its queue is empty",
        answers("GetTransactionStatus", lambda _, a: a | {"messagesInQueue": False}),
        {"E": (29, 31, 33)},
    ),
    Mutant(
        "says that its queue is not empty",
        answers("GetTransactionStatus", lambda _, a: a | {"messagesInQueue": True}),
        {"E": (28, 30, 32, 34)},
    ),
    Mutant(
        "says that everything is ongoing", answers("GetTransactionStatus", _ongoing(value=True)), {"E": (28, 31, 32)}
    ),
    Mutant(
        "says that nothing is ongoing",
        answers("GetTransactionStatus", _ongoing(value=False)),
        {"E": (29, 30), "I": (1,)},
    ),
    Mutant(
        "says of no transaction that it is ongoing",
        answers("GetTransactionStatus", lambda _, a: {"ongoingIndicator": False} | a),
        {"E": (33, 34)},
    ),
    Mutant(
        "reads the register only",
        sets("TxUpdatedMeasurands", "Energy.Active.Import.Register"),
        {"J": (1001,)},
    ),
    Mutant("reads no meters", of_event(meterValue=None), {"E": (29, 40), "J": (3, 7, 8, 9, 10, 1001)}),
    Mutant("forgets its events when it boots", _forgetful, {"E": (1001,)}),
    Mutant("does not try again", sets("MessageAttempts", "1"), {"E": (41, 42, 50, 51)}),
    Mutant("tries again for ever", sets("MessageAttempts", "9"), {"E": (41, 50)}),
    Mutant("tries again too late", sets("MessageAttemptInterval", "30"), {"E": (41, 42, 50, 51)}),
    Mutant(
        "rejects remote stops",
        answers("RequestStopTransaction", status("Accepted", "Rejected")),
        {"E": (21, 35), "F": (8,)},
    ),
    # -- other blocks
    Mutant(
        "triggers nothing",
        ignores("TriggerMessage", {"status": "Accepted"}),
        {"F": (11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 23, 24, 26)},
    ),
    Mutant("forgets the number of a remote start", of_event(remoteStartId=None), {"E": (13,), "F": (1, 2, 3, 4)}),
    Mutant(
        "takes a remote start for a local one",
        of_event(triggerReason=("RemoteStart", "Authorized")),
        {"E": (13,), "F": (1, 4)},
    ),
    Mutant(
        "has another version of its list",
        answers("GetLocalListVersion", lambda _, a: a | {"versionNumber": a["versionNumber"] + 1}),
        {"D": (1, 2, 3, 4, 5, 6, 7, 8, 10, 1001)},
    ),
    Mutant("takes no refusals into its list", hears("SendLocalList", _accepted_only), {"D": (1002,)}),
    Mutant(
        "takes a version of a list again",
        hears("SendLocalList", lambda p: p | {"versionNumber": 6} if _is_again(p) else p),
        {"D": (1001,)},
    ),
    Mutant(
        "takes any version of a list", answers("SendLocalList", status("VersionMismatch", "Accepted")), {"D": (6, 1001)}
    ),
    Mutant(
        "is out of service at once", answers("ChangeAvailability", status("Scheduled", "Accepted")), {"G": (11, 14, 17)}
    ),
    Mutant(
        "does not name reservations",
        tells("TransactionEvent", without("reservationId")),
        {"H": (1, 8, 15, 19, 24)},
    ),
    Mutant("takes anyone for one of a group", believes("Authorize", _info(groupIdToken=GROUP)), {"H": (19,)}),
    Mutant("does not say that a reservation ended", tells("ReservationStatusUpdate", dropped), {"H": (7, 21)}),
    Mutant(
        "reserves what is occupied", answers("ReserveNow", status("Occupied", "Accepted")), {"H": (3, 4, 9, 10, 16)}
    ),
    Mutant("cancels every reservation", answers("CancelReservation", status("Rejected", "Accepted")), {"H": (18,)}),
    Mutant(
        "accepts every profile",
        answers("SetChargingProfile", status("Rejected", "Accepted")),
        {"K": (2, 11, 12, 14, 16, 1002, 1004, 1006)},
    ),
    Mutant(
        "clears more than is named",
        hears(
            "ClearChargingProfile",
            lambda p: {"chargingProfileCriteria": {"stackLevel": 0}} if "chargingProfileId" in p else p,
        ),
        {"K": (5,)},
    ),
    Mutant("clears profiles of every level", hears("ClearChargingProfile", _of_any_level), {"K": (6, 24)}),
    Mutant(
        "takes profiles of a transaction for all",
        hears("SetChargingProfile", _for_all),
        {"K": (2, 11, 16, 57, 58, 60, 1003)},
    ),
    Mutant(
        "takes any profile with a remote start",
        answers("RequestStartTransaction", status("Rejected", "Accepted")),
        {"K": (37,)},
    ),
    Mutant("recurs every day", hears("SetChargingProfile", _daily), {"K": (1005,)}),
    Mutant("clears profiles of every EVSE", hears("ClearChargingProfile", _of_any_evse), {"K": (7,)}),
    Mutant("charges on at a limit of 0", hears("SetChargingProfile", _limited), {"K": (1001,)}),
    Mutant("clears every profile", answers("ClearChargingProfile", status("Unknown", "Accepted")), {"K": (7, 8)}),
    Mutant(
        "has no profiles",
        answers("GetChargingProfiles", status("Accepted", "NoProfiles")),
        {"K": (1, 3, 4, 5, 6, 7, 10, 13, 19, 24, 29, 30, 31, 32, 33, 34, 35, 36, 37, 52, 60, 1002)},
    ),
    Mutant(
        "has profiles at the station only",
        tells("ReportChargingProfiles", lambda p: p | {"evseId": 0}),
        {"K": (1, 4, 6, 7, 13, 19, 24, 37, 60, 1002)},
    ),
    # -- block A
    Mutant("trusts every back end", unchanged, {"A": (5,)}, security_profile=2, tls=trusts),
    Mutant("speaks TLS 1.1", unchanged, {"A": (6,)}, security_profile=3, tls=aged),
    Mutant("offers one cipher suite", unchanged, {"A": (4,)}, security_profile=2, tls=poor),
    Mutant("tells no security events", tells("SecurityEventNotification", dropped), {"A": (5, 14)}, security_profile=3),
    Mutant(
        "takes every certificate for its own",
        answers("CertificateSigned", status("Rejected", "Accepted")),
        {"A": (14,)},
        security_profile=3,
    ),
    Mutant(
        "goes on with its old certificate",
        ignores("CertificateSigned", {"status": "Accepted"}),
        {"A": (11, 12, 13, 14, 23)},
        security_profile=3,
    ),
    Mutant(
        "asks for certificates of vehicles only",
        tells("SignCertificate", lambda p: p | {"certificateType": "V2GCertificate"}),
        {"A": (11, 13, 15, 23)},
        security_profile=3,
    ),
    Mutant("asks for a certificate once", sets("CertSigningRepeatTimes", "0"), {"A": (23,)}, security_profile=3),
    Mutant("asks for certificates at once", sets("CertSigningWaitMinimum", "1"), {"A": (23,)}, security_profile=3),
    Mutant(
        "lets its own certificate be deleted",
        answers("DeleteCertificate", status("Failed", "Accepted")),
        {"M": (23,)},
        security_profile=3,
    ),
    Mutant(
        "goes back to lower security",
        answers("SetNetworkProfile", status("Rejected", "Accepted")),
        {"A": (22,)},
        security_profile=2,
    ),
    Mutant(
        "takes every order of network profiles", answers("SetVariables", of_results(WRITTEN, _ordered)), {"A": (20, 21)}
    ),
    Mutant("does not show its new security", answers("GetVariables", of_results(RESULT, _insecure)), {"A": (19,)}),
    Mutant("stays with its network profile", sets("NetworkConfigurationPriority", "1"), {"B": (45, 46, 49)}),
    Mutant(
        "does not use new roots",
        ignores("InstallCertificate", {"status": "Accepted"}),
        {"B": (50,)},
        security_profile=2,
    ),
    Mutant("keeps another password", hears("SetVariables", of_password), {"A": (9, 10, 1002)}),
    Mutant(
        "takes any password",
        answers("SetVariables", of_results(WRITTEN, replaced("attributeStatus", "Rejected", "Accepted"))),
        {"A": (10, 20, 21, 1002)},
    ),
    Mutant(
        "does not tell the end of transactions",
        tells("TransactionEvent", lambda p: None if p["eventType"] == "Ended" else p),
        {"I": (2,)},
    ),
    Mutant(
        "calls its periodic readings something else",
        of_event(triggerReason=("MeterValuePeriodic", "MeterValueClock")),
        {"I": (7,)},
    ),
    Mutant("does not clear tariffs", ignores("ClearTariffs", CLEARED), {"I": (110, 111)}, "2.1"),
    Mutant("does not say which tariff applies", of_event(tariffId=None), {"I": (100, 107, 109, 115, 116)}, "2.1"),
    Mutant(
        "takes every change of a tariff",
        answers("ChangeTransactionTariff", lambda _, answer: answer | {"status": "Accepted"}),
        {"I": (113, 117)},
        "2.1",
    ),
    Mutant("ends without costs", of_event(costDetails=None), {"I": (101, 111, 118, 119)}, "2.1"),
    Mutant(
        "takes every image",
        answers("UpdateFirmware", lambda _, answer: answer | {"status": "Accepted"}),
        {"L": (5, 10, 11, 18, 1002)},
    ),
    Mutant("reports no security events", tells("SecurityEventNotification", dropped), {"L": (1, 2, 5, 6, 14, 15)}),
    Mutant(
        "takes every signature",
        _of_status("FirmwareStatusNotification", "InvalidSignature", "SignatureVerified"),
        {"L": (6,)},
    ),
    Mutant(
        "does not say that a download failed",
        _of_status("FirmwareStatusNotification", "DownloadFailed", None),
        {"L": (7, 1001)},
    ),
    Mutant("tries a download once", hears("UpdateFirmware", lambda p: p | {"retries": 0}), {"L": (1001,)}),
    Mutant("tries a download too often", hears("UpdateFirmware", _again), {"L": (1001,)}),
    Mutant("downloads again at once", hears("UpdateFirmware", lambda p: p | {"retryInterval": 0}), {"L": (1001,)}),
    Mutant(
        "does not say that it has installed",
        _of_status("FirmwareStatusNotification", "Installed", None),
        {"L": (1, 2, 14, 15)},
    ),
    Mutant(
        "does not say that it installs",
        _of_status("FirmwareStatusNotification", "Installing", None),
        {"L": (1, 2, 14, 15)},
    ),
    Mutant(
        "boots after an update as after a power cut",
        tells("BootNotification", replaced("reason", "FirmwareUpdate", "PowerUp")),
        {"L": (1, 2, 14, 15)},
    ),
    Mutant(
        "says that everything was installed",
        _of_status("FirmwareStatusNotification", "InstallVerificationFailed", "Installed"),
        {"L": (8,)},
    ),
    Mutant("installs at once", hears("UpdateFirmware", _at_once), {"L": (2,)}),
    Mutant("lets others begin before an update", sets("AllowNewSessionsPendingFirmwareUpdate", "true"), {"L": (15,)}),
    Mutant("does not name logs", answers("GetLog", lambda _, a: without("filename")(a)), {"N": (25, 26, 35)}),
    Mutant(
        "uploads without saying so",
        _of_status("LogStatusNotification", "Uploaded", None),
        {"F": (16,), "N": (25, 35, 36)},
    ),
    Mutant("uploads logs once", hears("GetLog", lambda p: p | {"retries": 0}), {"N": (26,)}),
    Mutant("uploads logs too often", hears("GetLog", _again), {"N": (26,)}),
    Mutant(
        "does not say that an upload ended", _of_status("LogStatusNotification", "AcceptedCanceled", None), {"N": (36,)}
    ),
    Mutant("uploads nothing", ignores("GetLog", {"status": "Accepted", "filename": "log"}), {"N": (25, 26, 35)}),
    Mutant(
        "does not say which update it reports",
        tells("FirmwareStatusNotification", lambda p: p | {"requestId": 0}),
        {"L": (1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 16, 1001)},
    ),
    Mutant(
        "takes roots of back ends for those of firmware",
        hears("InstallCertificate", replaced("certificateType", "CSMSRootCertificate", "ManufacturerRootCertificate")),
        {"L": (1002,)},
    ),
    Mutant("lists roots twice", answers("GetInstalledCertificateIds", _doubled), {"M": (1001,)}),
    Mutant("takes every root", answers("InstallCertificate", status("Rejected", "Accepted")), {"M": (7,)}),
    Mutant(
        "does not install roots",
        ignores("InstallCertificate", {"status": "Accepted"}),
        {"M": (1, 2, 3, 4, 7, 12, 13, 14, 16, 17, 18, 22, 24, 25, 1001)},
    ),
    Mutant("does not delete roots", ignores("DeleteCertificate", {"status": "Accepted"}), {"M": (20, 22)}),
    Mutant(
        "lists certificates of all kinds", hears("GetInstalledCertificateIds", without("certificateType")), {"M": (19,)}
    ),
    Mutant(
        "lists other serial numbers",
        answers("GetInstalledCertificateIds", _misnamed),
        {"M": (1, 2, 3, 4, 12, 13, 14, 16, 17, 18, 22, 1001)},
    ),
    Mutant("reports events of any level", answers("SetMonitoringLevel", status("Rejected", "Accepted")), {"N": (17,)}),
    Mutant("does not set the level", ignores("SetMonitoringLevel", {"status": "Accepted"}), {"N": (16, 17)}),
    Mutant(
        "does not clear monitors",
        answers(
            "ClearVariableMonitoring", of_results("clearMonitoringResult", replaced("status", "NotFound", "Accepted"))
        ),
        {"N": (19,)},
    ),
    Mutant(
        "takes a duplicate for another monitor",
        answers(
            "SetVariableMonitoring", of_results("setMonitoringResult", replaced("status", "Duplicate", "Accepted"))
        ),
        {"N": (15,)},
    ),
    Mutant("keeps monitors at any base", ignores("SetMonitoringBase", {"status": "Accepted"}), {"N": (6, 41, 44)}),
    Mutant("sends no events", tells("NotifyEvent", dropped), {"N": (16, 20, 21, 22, 24, 45, 48, 53, 56, 1002)}),
    Mutant("does not say that alerts are over", tells("NotifyEvent", _not(cleared=True)), {"N": (20, 51)}),
    Mutant("sends no periodic events", tells("NotifyEvent", _not(trigger="Periodic")), {"N": (24, 1002)}),
    Mutant("reports any change", hears("SetVariableMonitoring", _sensitive), {"N": (45,)}),
    Mutant("is too silent", hears("SetMonitoringLevel", replaced("severity", 7, 6)), {"N": (16,)}),
    Mutant("names other logs", answers("GetLog", lambda _, a: a | {"filename": "another"}), {"N": (25, 35)}),
    Mutant(
        "takes a customer who is named twice",
        hears("CustomerInformation", lambda p: without("customerIdentifier")(p) if "idToken" in p else p),
        {"N": (1001,)},
    ),
    Mutant("stores every event", sets("OfflineQueuingSeverity", "9"), {"N": (23,)}),
    Mutant("stores no event", sets("OfflineQueuingSeverity", "0"), {"N": (22,)}),
    Mutant("tells secrets in events", tells("NotifyEvent", _valued), {"N": (48,)}),
    Mutant("reports monitors of all types", hears("GetMonitoringReport", without("monitoringCriteria")), {"N": (1, 3)}),
    Mutant(
        "takes any monitor",
        answers("SetVariableMonitoring", of_results("setMonitoringResult", replaced("status", "Rejected", "Accepted"))),
        {"N": (12, 13, 39, 40, 43)},
    ),
    Mutant("knows no customer", tells("NotifyCustomerInformation", lambda p: p | {"data": ""}), {"N": (27, 30, 32)}),
    Mutant("forgets no customer", hears("CustomerInformation", lambda p: p | {"clear": False}), {"N": (30, 32)}),
    Mutant(
        "forgets no customer, and tells the time",
        both(
            hears("CustomerInformation", lambda p: p | {"clear": False}),
            tells(
                "NotifyCustomerInformation",
                lambda p: p | {"data": f"{p['data']} at {format_time(p['requestId'] * 1000)}" if p["data"] else ""},
            ),
        ),
        {"N": (30, 32)},
    ),
    Mutant("says nothing of customers", tells("NotifyCustomerInformation", dropped), {"N": (27, 30, 62, 63)}),
    Mutant(
        "knows every transaction of a message",
        answers("SetDisplayMessage", status("UnknownTransaction", "Accepted")),
        {"O": (10,)},
    ),
    Mutant(
        "shows no priorities",
        tells(
            "NotifyDisplayMessages",
            lambda p: p | {"messageInfo": [each | {"priority": "InFront"} for each in p.get("messageInfo", [])]},
        ),
        {"O": (1, 6, 12, 13, 14, 15, 20, 24, 27, 28, 32, 36, 37, 38, 39)},
    ),
    Mutant("clears every message", answers("ClearDisplayMessage", status("Unknown", "Accepted")), {"O": (5,)}),
    Mutant("does not clear messages", ignores("ClearDisplayMessage", {"status": "Accepted"}), {"O": (3, 4, 5)}),
    # -- external systems, monitors in hardware
    Mutant("tells no external limits", tells("NotifyChargingLimit", dropped), {"K": (52,)}),
    Mutant(
        "takes external limits for those of the back end",
        tells("ReportChargingProfiles", lambda p: p | {"chargingProfile": [*map(_own, p["chargingProfile"])]}),
        {"K": (52,)},
    ),
    Mutant("has nothing hard-wired", tells("NotifyEvent", _soft_wired), {"N": (21,)}),
    # -- detachable cables, signed readings, and a choice of transactions
    Mutant("signs nothing", tells("TransactionEvent", _unsigned), {"E": (11,), "J": (4, 11)}, station=OTHER),
    Mutant(
        "does not say that a signature starts it",
        of_event(triggerReason=("SignedDataReceived", "Authorized")),
        {"E": (11,)},
        station=OTHER,
    ),
    Mutant(
        "unlocks while it charges",
        answers("UnlockConnector", status("OngoingAuthorizedTransaction", "Unlocked")),
        {"F": (5,)},
        station=OTHER,
    ),
    Mutant(
        "never unlocks", answers("UnlockConnector", status("Unlocked", "UnlockFailed")), {"F": (6, 7)}, station=OTHER
    ),
    Mutant(
        "knows every connector",
        answers("UnlockConnector", status("UnknownConnector", "UnlockFailed")),
        {"F": (10,)},
        station=OTHER,
    ),
    Mutant("does not report its locks", tells("NotifyEvent", dropped), {"G": (20,)}, station=OTHER),
    Mutant("charges without a lock", unchanged, {"G": (20,)}, station=_does("jam", "clear")),
    Mutant("stops one transaction only", unchanged, {"C": (47,)}, station=_does("choose-all", "choose")),
    Mutant("stops all transactions", unchanged, {"C": (48,)}, station=_does("choose", "choose-all")),
    Mutant("knows no master pass", of_event(stoppedReason=("MasterPass", "Local")), {"C": (47, 48)}, station=OTHER),
    Mutant(
        "knows every vendor", answers("DataTransfer", lambda _, answer: answer | {"status": "Accepted"}), {"P": (1,)}
    ),
)


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_fault_is_found_by_its_cases_only(mutant: Mutant) -> None:
    fails_its_cases_only(mutant)


@pytest.mark.some(4)
@pytest.mark.parametrize("mutant", MUTANTS[::16], ids=name_of)
def test_a_fault_is_found_by_its_cases(mutant: Mutant) -> None:
    """And by none of every fifth of the others."""
    fails_its_cases_only(mutant, every=5)


def test_what_is_deauthorized_may_go_on_without_energy() -> None:
    """By C15.FR.03 the state is EVConnected, preferably, where TxStopPoint does not end the transaction."""
    changed: list[int] = []

    def change(way: str, frame: Frame) -> list[Frame]:
        asks = way == "from" and frame[0] == 2 and frame[2] == "TransactionEvent"
        if asks and frame[3]["triggerReason"] == "Deauthorized":
            changed.append(frame[3]["seqNo"])
            info = without("stoppedReason")(frame[3]["transactionInfo"]) | {"chargingState": "EVConnected"}
            return [[*frame[:3], frame[3] | {"eventType": "Updated", "transactionInfo": info}]]
        return [frame]

    async def run() -> None:
        (case,) = (each for each in cases_of("C") if each.id == "TC_C_16_CS")
        async with station_under_test("2.0.1", change=change) as tester:
            assert (await tester.run(case)).found == "as required"

    in_virtual_time(run())
    assert changed


def test_a_change_of_state_offline_needs_no_reading() -> None:
    """E11.FR.03 is about the readings that are due."""
    changed: list[int] = []

    def change(way: str, frame: Frame) -> list[Frame]:
        if way == "from" and frame[0] == 2 and frame[2] == "TransactionEvent" and frame[3].get("offline"):
            changed.append(frame[3]["seqNo"])
            if frame[3]["seqNo"] == changed[0]:
                event = without("meterValue")(frame[3]) | {"triggerReason": "ChargingStateChanged"}
                return [[*frame[:3], event]]
        return [frame]

    async def run() -> None:
        (case,) = (each for each in cases_of("E") if each.id == "TC_E_40_CS")
        async with station_under_test("2.0.1", change=change) as tester:
            assert (await tester.run(case)).found == "as required"

    in_virtual_time(run())
    assert changed
