"""Commands: every action that OCPP lets a CSMS call, with the station's own answer."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

import msgspec

from csms.api.http.call import Call, encode
from csms.api.http.operations import Lazy, Operation, post
from csms.api.http.parameters import StationId
from csms.api.http.problems import ApiError, conflict, missing
from csms.db.queries import stations
from csms.domain.stations.commands import COMMANDS, permission_to_set
from csms.services.stations import raw_commands
from v2g.errors import OcppError
from v2g.ocpp.messages.provisioning import SetVariablesRequest
from v2g.ocpp.routes import known, request_type, response_type
from v2g.ocpp.versions import read_payload


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
        if await call.run(stations.find, station_id) is None:
            raise missing("station")
        raise conflict(f"{station_id} is not connected", "try again when it is back", code="not_connected")
    if action not in known(version):
        raise conflict(f"{station_id} uses OCPP {version}, which has no {action}", code="version")
    try:
        request = read_payload(body or b"{}", request_type(action), version)
    except OcppError as error:
        raise ApiError(400, f"payload: {error}", f"see {action}Request in /openapi.json", code=error.answer) from None
    if isinstance(request, SetVariablesRequest):
        call.require(permission_to_set(request.set_variable_data))
    return encode(await raw_commands.send(call.services, station_id, request, timeout_s))


_TOKEN: Final = {"idToken": "04A1B2C3", "type": "ISO14443"}
_EXAMPLES: Final[Mapping[str, Any]] = {
    "GetLog": {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": "https://files.example/logs"}},
    "RequestStartTransaction": {"idToken": _TOKEN, "remoteStartId": 1, "evseId": 1},
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
"""Actions whose minimal payload is valid only in 2.1; the others' examples follow from their schemas."""


def _command(action: str) -> Operation:
    async def command(call: Call, parameters: Command, body: bytes) -> bytes:
        return await send(call, parameters.station_id, action, body, parameters.timeout_s)

    command.__name__ = f"command_{action}"
    return post(
        f"/stations/{{station_id}}/commands/{action}",
        COMMANDS[action],
        about=f"Send {action} to a station and return its response unchanged.",
        problems=(404, 501, 502, 504),
        takes=Lazy(partial(request_type, action)),
        answer=Lazy(partial(response_type, action)),
        body_required=False,
        example=_EXAMPLES.get(action),
    )(command)


OPERATIONS = tuple(map(_command, COMMANDS))
