"""Prequalification records of grid operators: without a valid one a station feeds nothing back."""

from typing import Annotated, Literal

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, delete, get, put
from csms.http.parameters import OfAnyStation, StationId, page_of
from csms.http.problems import ApiError, existing
from csms.prequalifications import store as rows
from csms.prequalifications.rules import Certificate, EvseId, Prequalification
from csms.prequalifications.work import CHANGED, ExportPermits
from csms.stations import store as stations
from v2g.energy.limits import Watts
from v2g.units import UtcMs


class NewPrequalification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate: of which grid operator, for an EVSE or the whole station, when, and for how much export (W)."""

    operator: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    valid_from_ms: UtcMs
    valid_until_ms: UtcMs
    most_export_w: Watts
    evse_id: EvseId = 0


class KnownPrequalification(Prequalification, frozen=True, kw_only=True):
    """A record, and whether it is valid now."""

    state: Literal["valid", "pending", "expired"]


class EvsePermit(msgspec.Struct, frozen=True, kw_only=True):
    """What an EVSE may export now, W (null: no record bounds it), and until when; `reason`: why nothing."""

    evse_id: int
    most_export_w: int | None
    until_ms: int | None
    reason: str


class OneRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a record."""

    station_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9*_=+|@.-]{1,48}\Z", examples=["CS-V2G-0001"])]
    certificate: Certificate


_EXAMPLE = {
    "operator": "Stadtwerke",
    "valid_from_ms": 1_800_000_000_000,
    "valid_until_ms": 1_900_000_000_000,
    "most_export_w": 11_000,
}


@get("/prequalifications", Permission.READ_GRID)
async def list_prequalifications(call: Call, parameters: OfAnyStation) -> Page[KnownPrequalification]:
    """List prequalification records, by station and certificate."""
    found = [_shown(call, each) for each in await call.run(rows.records, parameters.station_id)]
    return page_of(call, found, parameters, lambda each: f"{each.station_id}/{each.certificate}")


@get("/stations/{station_id}/prequalifications/{certificate}", Permission.READ_GRID, problems=(404,))
async def read_prequalification(call: Call, parameters: OneRecord) -> KnownPrequalification:
    """Return one prequalification record."""
    found = await call.run(rows.record, parameters.station_id, parameters.certificate)
    return _shown(call, existing("prequalification", found))


@put(
    "/stations/{station_id}/prequalifications/{certificate}",
    Permission.WRITE_PREQUALIFICATIONS,
    conditional=True,
    example=_EXAMPLE,
)
async def put_prequalification(call: Call, parameters: OneRecord, body: NewPrequalification) -> KnownPrequalification:
    """Store a prequalification record, replacing one of the same certificate; it applies at once."""
    if body.valid_until_ms <= body.valid_from_ms:
        raise ApiError(400, "valid_until_ms must be after valid_from_ms")
    record = Prequalification(
        station_id=parameters.station_id, certificate=parameters.certificate, **msgspec.structs.asdict(body)
    )
    await _change(call, parameters, record)
    return _shown(call, record)


@delete(
    "/stations/{station_id}/prequalifications/{certificate}",
    Permission.WRITE_PREQUALIFICATIONS,
    problems=(404,),
    conditional=True,
)
async def delete_prequalification(call: Call, parameters: OneRecord) -> None:
    """Delete a prequalification record; that applies at once."""
    await _change(call, parameters, None)


@get("/stations/{station_id}/export-permits", Permission.READ_GRID)
async def list_export_permits(call: Call, station_id: StationId) -> tuple[EvsePermit, ...]:
    """List what each EVSE of a station may export now by its prequalification, or why nothing."""
    evses = await call.run(stations.count_evses, station_id)
    permits = call.services[ExportPermits]
    found = [(evse_id, permits.of(station_id, evse_id)) for evse_id in range(1, evses + 1)]
    return tuple(
        EvsePermit(
            evse_id=evse_id,
            most_export_w=granted.most_w if granted.bound else None,
            until_ms=granted.until_ms,
            reason=granted.reason,
        )
        for evse_id, granted in found
    )


async def _change(call: Call, parameters: OneRecord, record: Prequalification | None) -> None:
    place = parameters.station_id, parameters.certificate

    def write(connection: Connection, before: KnownPrequalification | None) -> None:
        if record is not None:
            rows.put(connection, record)
        elif existing("prequalification", before):
            rows.remove(connection, *place)

    def read(connection: Connection) -> KnownPrequalification | None:
        found = rows.record(connection, *place)
        return None if found is None else _shown(call, found)

    await call.change(read, write)
    await call.services[ExportPermits].load()
    call.services[ExportPermits].on_change()
    call.services.feed.publish(CHANGED, parameters.station_id, {"certificate": parameters.certificate})


def _shown(call: Call, record: Prequalification) -> KnownPrequalification:
    pending = call.now_ms < record.valid_from_ms
    state: Literal["valid", "pending", "expired"] = (
        "valid" if record.valid(call.now_ms) else "pending" if pending else "expired"
    )
    return KnownPrequalification(state=state, **msgspec.structs.asdict(record))
