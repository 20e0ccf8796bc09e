"""Requests to stations: every action that OCPP lets a CSMS call, and outcomes that come later."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.commands import work as raw_commands
from csms.http.call import Call, encode
from csms.http.operations import STATION_PROBLEMS, Lazy, Operation, Page, get, post
from csms.http.parameters import Paged, RowNumber, StationId, newest_first, shown
from csms.http.problems import ApiError, conflict, existing
from csms.requests import store as rows
from csms.requests.rules import COMMANDS, permission_to_set
from csms.stations import store as stations
from v2g.errors import OcppError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.provisioning import SetVariablesRequest
from v2g.ocpp.routes import DECLARED, Version, known, request_type, response_type
from v2g.ocpp.v16.messages import ChangeConfigurationReq
from v2g.ocpp.versions import check_integers, read_payload
from v2g.typed_json import Fields


class StationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request with a requestId: the station's `answer`, its `progress`, and when it was completed (null: pending).

    `answer` is `NotSent` or `Unanswered` where there is none. `request` is what was sent.
    """

    request_id: int
    station_id: str
    action: str
    created_ms: int
    updated_ms: int
    answer: str
    progress: str
    detail: str
    done_ms: int | None
    request: Any


class RequestWithParts(StationRequest, frozen=True, kw_only=True):
    """A request, and its messages, in order."""

    parts: tuple[Any, ...]


class WhichRequests(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for requests."""

    station_id: Annotated[str | None, msgspec.Meta(description="Only to this station.")] = None
    action: Annotated[str | None, msgspec.Meta(description="Only of this action.", examples=["GetLog"])] = None


@get("/requests", Permission.READ_MAINTENANCE, tag="requests")
async def list_requests(call: Call, parameters: WhichRequests) -> Page[StationRequest]:
    """List requests with a later outcome, newest first."""

    def fetch(connection: Connection, before: int | None, limit: int) -> list[dict[str, object]]:
        found = rows.list_requests(connection, before, limit, parameters.station_id, parameters.action)
        return [_row(each) for each in found]

    return await newest_first(call, parameters, StationRequest, "request_id", fetch)


@get("/requests/{request_id}", Permission.READ_MAINTENANCE, problems=(404,), tag="requests")
async def read_request(call: Call, request_id: RowNumber) -> RequestWithParts:
    """Return a request and every message that the station sent for it."""
    found = existing("request", await call.run(rows.find, request_id))
    parts = await call.run(rows.parts, request_id)
    return shown({**_row(found), "parts": [msgspec.json.decode(each) for each in parts]}, RequestWithParts)


def _row(row: Fields) -> Fields:
    return {**row, "request": msgspec.json.decode(row["document"]) if row["document"] else None}


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a station, and the time-out."""

    station_id: StationId
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=120, description="How long to wait for the answer, s.")] = 30.0


async def send(call: Call, station_id: str, action: str, body: bytes, timeout_s: float) -> bytes:
    """Send a request to a station; return its response as JSON.

    Raises ApiError for an unknown station or a payload that violates the action's schema, RefusedError and V2GError as
    `raw_commands.send`.
    """
    version = call.services.connections.version(station_id)
    if version is None:
        existing("station", await call.run(stations.find, station_id))
        raise conflict(f"{station_id} is not connected", "try again when it is back", code="not_connected")
    versions: tuple[Version, ...] = (version,)
    if version == "2.0.1" and (row := await call.run(stations.find, station_id)) and row["protocol"] == "ocpp1.6":
        versions = ("2.0.1", "1.6")
    request = read_command(station_id, action, body or b"{}", versions)
    match request:
        case SetVariablesRequest(set_variable_data=data):
            call.require(permission_to_set(data))
        case ChangeConfigurationReq():
            call.require(permission_to_set(raw_commands.variables_of(request)))
    return encode(await raw_commands.send(call.services, station_id, request, timeout_s))


def read_command(station_id: str, action: str, body: bytes, versions: Sequence[Version]) -> Message:
    """Return a request in the first of these versions in which it can be read. Raises ApiError."""
    spoken = [each for each in versions if action in known(each)]
    if not spoken:
        raise conflict(f"{station_id} uses OCPP {versions[-1]}, which has no {action}", code="version")
    for version in spoken:
        try:
            request = read_payload(body, request_type(action, version), version)
            check_integers(request)
            return request
        except OcppError as error:
            problem = error
    hint = f"see {action}Request in /openapi.json" + "; or write it as in 2.0.1" * (len(spoken) > 1)
    raise ApiError(400, f"payload: {problem}", hint, code=problem.answer)


_TOKEN: Final = {"idToken": "04A1B2C3", "type": "ISO14443"}
_EXAMPLES: Final[Mapping[str, object]] = {
    "GetDiagnostics": {"location": "https://files.example/logs"},
    "GetLog": {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": "https://files.example/logs"}},
    "RequestStartTransaction": {"idToken": _TOKEN, "remoteStartId": 1, "evseId": 1},
    "SignedUpdateFirmware": {
        "requestId": 1,
        "firmware": {
            "location": "https://files.example/image",
            "retrieveDateTime": "2030-01-01T00:00:00Z",
            "signingCertificate": "PEM",
            "signature": "base64",
        },
    },
    "ReserveNow": {"id": 1, "expiryDateTime": "2030-01-01T00:00:00Z", "idToken": _TOKEN, "evseId": 1},
    "SetChargingProfile": {
        "evseId": 1,
        "chargingProfile": {
            "id": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Absolute",
            "chargingSchedule": [
                {
                    "id": 1,
                    "startSchedule": "2030-01-01T00:00:00Z",
                    "chargingRateUnit": "W",
                    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 11000.0}],
                }
            ],
        },
    },
    "SetNetworkProfile": {
        "configurationSlot": 1,
        "connectionData": {
            "ocppVersion": "OCPP20",
            "ocppInterface": "Wired0",
            "ocppTransport": "JSON",
            "messageTimeout": 30,
            "ocppCsmsUrl": "wss://csms.example/ocpp",
            "securityProfile": 2,
        },
    },
}
"""Actions whose minimal payload is valid only in 2.1, or not at all; the others' examples follow from their schemas."""


def _command(action: str) -> Operation:
    version: Version = "2.1" if action in DECLARED else "1.6"

    async def command(call: Call, parameters: Command, body: bytes) -> bytes:
        return await send(call, parameters.station_id, action, body, parameters.timeout_s)

    command.__name__ = f"command_{action}"
    return post(
        f"/stations/{{station_id}}/commands/{action}",
        COMMANDS[action],
        about=f"Send {action} to a station and return its response unchanged. A station of 1.6 takes it in the form of "
        "1.6, too.",
        problems=STATION_PROBLEMS,
        takes=Lazy(partial(request_type, action, version)),
        answer=Lazy(partial(response_type, action, version)),
        body_required=False,
        example=_EXAMPLES.get(action),
        tag="commands",
    )(command)


OPERATIONS = tuple(map(_command, COMMANDS))
