"""Local authorization lists at stations (block D)."""

from typing import Any

import msgspec

from csms.api.http.call import Call
from csms.api.http.operations import get, to_station
from csms.api.http.parameters import OneStation
from csms.api.http.problems import missing
from csms.db.queries import commands as rows
from csms.domain.security.access import Permission
from csms.services.authorization import local_lists
from v2g.ocpp.messages.local_list import SendLocalListStatus


class LocalList(msgspec.Struct, frozen=True, kw_only=True):
    """A station's list as last sent: `status` is the station's answer, `entries` are OCPP's AuthorizationData."""

    station_id: str
    version: int
    status: str
    updated_ms: int
    entries: Any


class SentList(msgspec.Struct, frozen=True, kw_only=True):
    """A station's list after an update: its version, number of entries, and the last answer."""

    version: int
    entries: int
    status: SendLocalListStatus


@get("/stations/{station_id}/local-list", Permission.READ_TOKENS, problems=(404,))
async def read_local_list(call: Call, parameters: OneStation) -> LocalList:
    """Return the expected content of a station's list."""
    found = await call.run(rows.find_local_list, parameters.station_id)
    if found is None:
        raise missing("local list of that station")
    return LocalList(**{**found, "entries": msgspec.json.decode(found["entries"])})


@to_station("POST", "/local-list/synchronise", Permission.WRITE_TOKENS)
async def synchronise_local_list(call: Call, parameters: OneStation) -> SentList:
    """Synchronise a station's list with the tokens, by differences or in full (D01)."""
    return _sent(await local_lists.synchronise(call.services, parameters.station_id))


@to_station("DELETE", "/local-list", Permission.WRITE_TOKENS, status=200)
async def clear_local_list(call: Call, parameters: OneStation) -> SentList:
    """Empty a station's list (D01)."""
    return _sent(await local_lists.clear(call.services, parameters.station_id))


def _sent(found: local_lists.LocalList) -> SentList:
    return SentList(version=found.version_number, entries=found.entries, status=found.status)
