"""Attestation of stations: keys of their TPMs, and what they have proved."""

from typing import Annotated

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.attestations import store as rows
from csms.attestations.rules import Attested, State
from csms.http.call import Call
from csms.http.operations import Page, delete, get, post, put
from csms.http.parameters import Paged, StationId, page_of
from csms.http.problems import ApiError, existing
from csms.prequalifications.work import ExportPermits
from v2g.errors import KeyAccessError
from v2g.pki.keys import parse_public_key


class NewTpmKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The public key of a station's TPM, PEM: of a restricted key that signs quotes only, read when it was made."""

    tpm_key: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


class Attestation(msgspec.Struct, frozen=True, kw_only=True):
    """What a station has proved. Times are ms since 1970 in UTC, null: never. `reasons`: why it is not whole."""

    station_id: str
    state: State
    reasons: tuple[str, ...]
    since_ms: int
    asked_ms: int | None
    verified_ms: int | None
    tpm_key: str


class WhichAttestations(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for attestations."""

    state: Annotated[State | None, msgspec.Meta(description="Only stations in this state.")] = None


_KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf7GHsI+tJrUvEzGCjJEOScOE8Mgz
rC5WJmUQyXzRBFMUDZcmAmDvFYfkqLwvUyvbsvOPRIyWVIQE2OV4hJ2Vfw==
-----END PUBLIC KEY-----
"""


@get("/attestations", Permission.READ_STATIONS)
async def list_attestations(call: Call, parameters: WhichAttestations) -> Page[Attestation]:
    """List the stations that are enrolled for attestation, by identity."""
    found = [_shown(each) for each in await call.run(rows.every) if parameters.state in (None, each.state)]
    return page_of(call, found, parameters, lambda each: each.station_id)


@get("/stations/{station_id}/attestation", Permission.READ_STATIONS, problems=(404,))
async def read_attestation(call: Call, station_id: StationId) -> Attestation:
    """Return what a station has proved."""
    return _shown(existing("attestation", await call.run(rows.find, station_id)))


@put("/stations/{station_id}/attestation", Permission.ADMIT_STATIONS, conditional=True, example={"tpm_key": _KEY})
async def put_attestation(call: Call, station_id: StationId, body: NewTpmKey) -> Attestation:
    """Enrol a station with the key of its TPM, replacing an earlier one. Until it has proved to be whole it may not
    feed back."""
    try:
        parse_public_key(body.tpm_key.encode(), "tpm_key")
    except KeyAccessError as error:
        raise ApiError(400, str(error), error.hint) from None
    one = Attested(station_id=station_id, tpm_key=body.tpm_key, changed_ms=call.now_ms)
    await _change(call, station_id, one)
    return _shown(one)


@post("/stations/{station_id}/attestation/ask", Permission.COMMAND_STATIONS, problems=(404,))
async def ask_attestation(call: Call, station_id: StationId) -> Attestation:
    """Ask a station for new evidence within seconds, if it is connected; until it has answered its state stays."""

    def read(connection: Connection) -> Attestation | None:
        found = rows.find(connection, station_id)
        return None if found is None else _shown(found)

    def write(connection: Connection, _before: Attestation | None) -> None:
        one = existing("attestation", rows.find(connection, station_id))
        rows.enrol(connection, msgspec.structs.replace(one, nonce="", asked_ms=0))

    return await call.put(read, write)


@delete("/stations/{station_id}/attestation", Permission.ADMIT_STATIONS, problems=(404,), conditional=True)
async def delete_attestation(call: Call, station_id: StationId) -> None:
    """Remove a station: it is not asked any more, and what it may feed back no longer depends on it."""
    await _change(call, station_id, None)


async def _change(call: Call, station_id: str, one: Attested | None) -> None:
    def write(connection: Connection, before: Attestation | None) -> None:
        if one is not None:
            rows.enrol(connection, one)
        elif existing("attestation", before):
            rows.remove(connection, station_id)

    def read(connection: Connection) -> Attestation | None:
        found = rows.find(connection, station_id)
        return None if found is None else _shown(found)

    await call.change(read, write)
    await call.services[ExportPermits].load()
    call.services[ExportPermits].on_change()
    call.services.feed.publish("attestation_changed", station_id, {})


def _shown(one: Attested) -> Attestation:
    return Attestation(
        station_id=one.station_id,
        state=one.state,
        reasons=one.reasons,
        since_ms=one.changed_ms,
        asked_ms=one.asked_ms or None,
        verified_ms=one.verified_ms or None,
        tpm_key=one.tpm_key,
    )
