"""What our back end has stored after a case, against what the frames of the case say."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from csms.device_model import store as device_model
from csms.diagnostics import store as diagnostics
from csms.display import store as display
from csms.remote_control import store as commands
from csms.requests import store as requests
from csms.reservations import store as reservations
from csms.smart_charging import store as charging
from csms.station_security import store as security
from csms.stations import store as stations
from csms.tokens import store as tokens
from tests.csms.backend import Backend
from tests.csms.db.events import found_as
from v2g_testkit.ocpp.case import Payload
from v2g_testkit.ocpp.connection import Frame

_FINAL: Final = frozenset({
    "AcceptedCanceled", "BadMessage", "DownloadFailed", "InstallVerificationFailed", "InstallationFailed", "Installed",
    "InvalidChecksum", "InvalidSignature", "NotSupportedOperation", "PermissionDenied", "PublishFailed", "Published",
    "Uploaded", "UploadFailure",
})  # fmt: skip
"""States after which a station sends no other of the same request."""
_LATER: Final = (
    "CustomerInformation", "GetBaseReport", "GetDisplayMessages", "GetLog", "GetMonitoringReport", "GetReport",
    "PublishFirmware", "UpdateFirmware",
)  # fmt: skip
"""Requests whose outcome is reported later."""
_REPORTS: Final = {
    "FirmwareStatusNotification": "UpdateFirmware", "LogStatusNotification": "GetLog",
    "PublishFirmwareStatusNotification": "PublishFirmware",
}  # fmt: skip
_PARTS: Final = ("NotifyCustomerInformation", "NotifyDisplayMessages", "NotifyMonitoringReport", "NotifyReport")


class Exchange(NamedTuple):
    """A request with its answer."""

    station: str
    action: str
    payload: Payload
    answer: Payload


def exchanges(frames: Iterable[Frame]) -> Iterator[Exchange]:
    """Yield the requests of both sides that were answered, in the order of their answers."""
    asked: dict[tuple[int, str, str], tuple[str, Payload]] = {}
    other = {"sent": "received", "received": "sent"}
    for each in frames:
        match json.loads(each.text) if each.way != "note" else []:
            case [2, str() as number, str() as action, dict() as payload]:
                asked[each.connection, each.way, number] = action, payload
            case [3, str() as number, dict() as answer]:
                found = asked.pop((each.connection, other[each.way], number), None)
                if found is not None:
                    yield Exchange(each.station, *found, answer)


class Stored:
    """Follows the stations of a back end, case by case."""

    def __init__(self, csms: Backend) -> None:
        self._csms = csms
        self._ended: set[str] = set()
        self._profiles: dict[tuple[str, int], Payload] = {}
        """Station and id of each charging profile in force -> the profile, with its EVSE."""
        self._messages: dict[tuple[str, int], Payload] = {}

    async def check(self, frames: Iterable[Frame]) -> None:
        """Compare the store with the frames of a case."""
        done = list(exchanges(frames))
        await self._check_transactions(each for each in done if each.action == "TransactionEvent")
        await self._check_reservations(done)
        await self._check_requests(done)
        await self._check_device_model(done)
        await self._check_profiles(done)
        await self._check_messages(done)
        await self._check_monitors(done)
        await self._check_reported(done)

    async def _check_transactions(self, done: Iterable[Exchange]) -> None:
        found: dict[str, dict[int, Payload]] = {}
        for each in done:
            number = each.payload["transactionInfo"]["transactionId"]
            found.setdefault(number, {}).setdefault(each.payload["seqNo"], each.payload)
        for number, by_number in found.items():
            (stored,) = await self._csms.services.store.run(found_as, number)
            events = [event for _, event in sorted(by_number.items())]
            assert [(each["seq_no"], each["kind"], each["trigger"], each["offline"]) for each in stored["events"]] == [
                (each["seqNo"], each["eventType"], each["triggerReason"], each.get("offline", False)) for each in events
            ]
            arrived = list(by_number)
            late = {each for at, each in enumerate(arrived) if each < max(arrived[: at + 1])}
            assert {each["seq_no"] for each in stored["faults"]} == late, stored["faults"]
            ended = events[-1]["eventType"] == "Ended"
            infos = [each["transactionInfo"] for each in events]
            reason = infos[-1].get("stoppedReason")
            assert (stored["active"], stored["complete"]) == (not ended, ended)
            assert not ended or reason in (None, stored["stopped_reason"])
            for name, key in (
                ("charging_state", "chargingState"), ("operation_mode", "operationMode"), ("tariff_id", "tariffId"),
            ):  # fmt: skip
                values = [info[key] for info in infos if key in info]
                assert stored[name] == (values[-1] if values else None), name
            limits = [info["transactionLimit"] for info in infos if "transactionLimit" in info]
            assert json.loads(stored["limit"] or "null") == (limits[-1] if limits else None)
            tokens = [each["idToken"]["idToken"] for each in events if "idToken" in each]
            assert stored["id_token"] in (tokens or [None])
            assert stored["evse_id"] == next((each["evse"]["id"] for each in events if "evse" in each), None)
            samples = [  # in the unit itself, with the defaults of the schema
                (
                    each["seqNo"],
                    sample["value"] * 10 ** sample.get("unitOfMeasure", {}).get("multiplier", 0),
                    sample.get("context", "Sample.Periodic"),
                    sample.get("signedMeterValue"),
                )
                for each in events
                for one in each.get("meterValue", ())
                for sample in one["sampledValue"]
            ]
            assert [
                (each["seq_no"], float(each["value"]), each["context"], each.get("signed"))
                for each in stored["meter_values"]
            ] == samples
            for started in {info["remoteStartId"] for info in infos if "remoteStartId" in info}:
                row = await self._csms.services.store.run(commands.find_start, started)
                assert row is not None
                assert row["transaction_id"] == number
            if ended:
                self._ended.add(number)

    async def _check_reservations(self, done: Iterable[Exchange]) -> None:
        states: dict[int, str] = {}
        for each in done:
            match each.action:
                case "ReserveNow":
                    status = each.answer["status"]
                    states[each.payload["id"]] = "Active" if status == "Accepted" else status
                case "CancelReservation" if each.answer["status"] == "Accepted":
                    number = each.payload["reservationId"]
                    states[number] = "Cancelled" if states.get(number) in (None, "Active") else states[number]
                case "ReservationStatusUpdate":
                    states[each.payload["reservationId"]] = each.payload["reservationUpdateStatus"]
                case "TransactionEvent" if "reservationId" in each.payload:
                    states[each.payload["reservationId"]] = "Used"
        for number, state in states.items():
            found = await self._csms.services.store.run(reservations.find_reservation, number)
            assert found is not None
            assert found.state == state, number

    async def _check_requests(self, done: Iterable[Exchange]) -> None:
        asked: dict[int, Payload] = {}
        answered: dict[int, str] = {}
        progress: dict[int, str] = {}
        follows: dict[int, bool] = {}
        """Whether another part of a report follows."""
        for each in done:
            number = each.payload.get("requestId")
            if each.action in _LATER:
                if each.answer["status"] == "AcceptedCanceled":
                    earlier = [one for one in answered if answered[one] == "Accepted"]
                    progress |= dict.fromkeys(earlier, "AcceptedCanceled")
                asked[each.payload["requestId"]] = each.payload
                answered[each.payload["requestId"]] = each.answer["status"]
            elif each.action in _REPORTS and number in answered:
                progress[number] = each.payload["status"]
            elif each.action in _PARTS and number in answered:
                follows[number] = each.payload.get("tbc", False)
        for number, status in answered.items():
            row = await self._csms.services.store.run(requests.find, number)
            if row is None or json.loads(row["document"]).keys() != asked[number].keys():
                continue  # an operator's own request, with a number of his own
            assert row["answer"] == status
            assert row["progress"] == progress.get(number, row["progress"])
            open_ = progress[number] not in _FINAL if number in progress else follows.get(number, True)
            assert (row["done_ms"] is None) == (status.startswith("Accepted") and open_), row

    async def _check_device_model(self, done: Iterable[Exchange]) -> None:
        values: dict[tuple[str, str, str], str] = {}
        versions: dict[str, tuple[int, int]] = {}
        """Station -> the version of its local list, as stored and as sent."""
        for each in done:
            if each.action == "SetVariables":
                asked, results = each.payload["setVariableData"], each.answer["setVariableResult"]
                value_of = {_name(one): one["attributeValue"] for one in asked}
                values |= {
                    (each.station, *_name(one)): value_of[_name(one)]
                    for one in results
                    if one["attributeStatus"] == "Accepted"
                }
            elif each.action == "GetVariables":
                values |= {
                    (each.station, *_name(one)): one["attributeValue"]
                    for one in each.answer["getVariableResult"]
                    if one["attributeStatus"] == "Accepted"
                }
            elif each.action == "NotifyReport":
                values |= {
                    (each.station, *_name(one)): attribute["value"]
                    for one in each.payload["reportData"]
                    for attribute in one["variableAttribute"]
                    if "value" in attribute
                }
            elif each.action == "SendLocalList" and each.payload["updateType"] == "Differential":
                versions.pop(each.station, None)
            elif each.action == "SendLocalList" and each.answer["status"] == "Accepted":
                row = await self._csms.services.store.run(tokens.find_local_list, each.station)
                assert row is not None
                versions[each.station] = row["version"], each.payload["versionNumber"]
            elif each.action == "SetNetworkProfile" and each.answer["status"] == "Accepted":
                kept = await self._csms.services.store.run(device_model.list_profiles, each.station)
                assert each.payload["configurationSlot"] in [one["slot"] for one in kept]
        assert all(stored == sent for stored, sent in versions.values())
        for (station, component, variable), value in values.items():
            rows = await self._csms.services.store.run(device_model.list_variables, station, component, variable)
            assert value in ("***", *(row["value"] for row in rows)), (component, variable)

    async def _check_profiles(self, done: Iterable[Exchange]) -> None:
        held = self._profiles
        for each in done:
            match each.action:
                case "SetChargingProfile" if each.answer["status"] == "Accepted":
                    self._hold(each.station, each.payload["evseId"], each.payload["chargingProfile"])
                case "ReportChargingProfiles":
                    for profile in each.payload["chargingProfile"]:
                        self._hold(each.station, each.payload["evseId"], profile)
                case "ClearChargingProfile" if each.answer["status"] == "Accepted":
                    for key in [key for key, profile in held.items() if _clears(each, key, profile)]:
                        del held[key]
                case "TransactionEvent" if each.payload["eventType"] == "Ended":
                    number = each.payload["transactionInfo"]["transactionId"]
                    for key in [key for key, profile in held.items() if profile.get("transactionId") == number]:
                        del held[key]
        for station in {each.station for each in done}:
            rows = await self._csms.services.store.run(charging.profiles, station)
            wanted = {(number, profile["evse"]) for (of, number), profile in held.items() if of == station}
            assert {(profile.id, evse) for evse, _, profile in rows} == wanted

    def _hold(self, station: str, evse: int, profile: Payload) -> None:
        """A profile takes the place of one of its id, or of its place, purpose, level and transaction."""
        same = ("chargingProfilePurpose", "stackLevel", "transactionId")
        for key, other in list(self._profiles.items()):
            if (
                key[0] == station
                and other["evse"] == evse
                and all(other.get(name) == profile.get(name) for name in same)
            ):
                del self._profiles[key]
        self._profiles[station, profile["id"]] = profile | {"evse": evse}

    async def _check_messages(self, done: Iterable[Exchange]) -> None:
        shown = self._messages
        gone: dict[int, set[tuple[str, int]]] = {}
        """Messages that a report of all has not named yet, by its request."""
        for each in done:
            match each.action:
                case "SetDisplayMessage" if each.answer["status"] == "Accepted":
                    shown[each.station, each.payload["message"]["id"]] = each.payload["message"]
                case "ClearDisplayMessage" if each.answer["status"] == "Accepted":
                    shown.pop((each.station, each.payload["id"]), None)
                case "GetDisplayMessages" if not {"id", "priority", "state"} & each.payload.keys():
                    gone[each.payload["requestId"]] = {key for key in shown if key[0] == each.station}
                case "NotifyDisplayMessages":
                    told = {(each.station, one["id"]): one for one in each.payload.get("messageInfo", ())}
                    shown |= told
                    number = each.payload["requestId"]
                    gone[number] = gone.get(number, set()) - told.keys()
                    for key in gone[number] if not each.payload.get("tbc") else ():
                        del shown[key]
        for key in [key for key, message in shown.items() if message.get("transactionId") in self._ended]:
            del shown[key]
        for station in {each.station for each in done if "Display" in each.action or each.action == "TransactionEvent"}:
            rows = await self._csms.services.store.run(display.list_messages, station, shown=True)
            wanted = {number: message["message"] for (of, number), message in shown.items() if of == station}
            assert {row["message_id"]: row["document"]["message"] for row in rows} == wanted

    async def _check_monitors(self, done: Iterable[Exchange]) -> None:
        there: dict[tuple[str, int], bool] = {}
        for each in done:
            match each.action:
                case "SetVariableMonitoring":
                    results = each.answer["setMonitoringResult"]
                    there |= {(each.station, one["id"]): True for one in results if one["status"] == "Accepted"}
                case "ClearVariableMonitoring":
                    results = each.answer["clearMonitoringResult"]
                    there |= {(each.station, one["id"]): False for one in results if one["status"] == "Accepted"}
                case "NotifyMonitoringReport":
                    there |= {
                        (each.station, one["id"]): True
                        for data in each.payload.get("monitor", ())
                        for one in data["variableMonitoring"]
                    }
        for (station, number), held in there.items():
            rows = await self._csms.services.store.run(diagnostics.list_monitors, station)
            assert (number in [row["monitor_id"] for row in rows]) == held

    async def _check_reported(self, done: Iterable[Exchange]) -> None:
        """Check what stations report of their own: states of connectors, events, and limits of others."""
        run = self._csms.services.store.run
        connectors: dict[tuple[str, int, int], str] = {}
        events: list[tuple[str, str, Payload]] = []
        kinds: list[str] = []
        limits: dict[tuple[str, int, str], bool] = {}
        for each in done:
            match each.action:
                case "StatusNotification":
                    place = each.station, each.payload["evseId"], each.payload["connectorId"]
                    connectors[place] = each.payload["connectorStatus"]
                case "NotifyEvent":
                    events += [(each.station, one["trigger"], one) for one in each.payload["eventData"]]
                case "SecurityEventNotification":
                    kinds.append(each.payload["type"])
                case "NotifyChargingLimit":
                    source = each.payload["chargingLimit"]["chargingLimitSource"]
                    limits[each.station, each.payload.get("evseId", 0), source] = True
                case "ClearedChargingLimit":
                    limits[each.station, each.payload.get("evseId", 0), each.payload["chargingLimitSource"]] = False
        for (station, evse, connector), status in connectors.items():
            row = await run(stations.find, station)
            assert row is not None
            found = {(one["evse_id"], one["connector_id"]): one["status"] for one in row["connectors"]}
            assert found[evse, connector] == status
        rows = reversed(await run(diagnostics.list_events, None, len(events)))
        assert [(row["station_id"], row["trigger"], row["document"]) for row in rows] == events
        stored = [row["type"] for row in await run(security.list_events)]
        assert all(kind in stored for kind in kinds)
        for (station, evse, source), there in limits.items():
            held = await run(charging.limits, station)
            assert ((evse, source) in [(e, one.charging_limit.charging_limit_source) for e, _, one in held]) == there


def _name(data: Payload) -> tuple[str, str]:
    return data["component"]["name"], data["variable"]["name"]


def _clears(cleared: Exchange, key: tuple[str, int], profile: Payload) -> bool:
    """Return whether ClearChargingProfile removes a profile."""
    if key[0] != cleared.station or profile["chargingProfilePurpose"] == "ChargingStationExternalConstraints":
        return False
    number = cleared.payload.get("chargingProfileId")
    wanted: dict[str, Any] = cleared.payload.get("chargingProfileCriteria", {})
    names = {"evseId": "evse", "chargingProfilePurpose": "chargingProfilePurpose", "stackLevel": "stackLevel"}
    return number in (None, key[1]) and all(profile[names[name]] == value for name, value in wanted.items())
