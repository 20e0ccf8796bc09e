"""The trust list of an ecosystem, and the stations that are brought up to it."""

from typing import Annotated, Literal

import msgspec

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, get, post
from csms.http.parameters import Paged, StationId, page_of, shown
from csms.http.problems import ApiError, conflict
from csms.trust import store as rows
from csms.trust.store import ListState
from csms.trust.work import TrustLists
from v2g.errors import CertificateError, CodecError, RefusedError, StoreError, V2GError
from v2g.pki.pools import SIGNATURE_HEADERS, PoolEvent


class ListRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A root that the list has, or had until `removed_ms`; `kinds` are V2G, MO, OEM, PE behind commas."""

    fingerprint: str
    kinds: str
    subject: str
    until_ms: int
    since_ms: int
    removed_ms: int | None
    pem: str


class RootRollout(msgspec.Struct, frozen=True, kw_only=True):
    """A station that is to have the roots of a list: Waiting until it is connected, Done, or Failed with the reason."""

    station_id: str
    list_number: int
    removes: bool
    state: Literal["Waiting", "Done", "Failed"]
    detail: str
    changed_ms: int


class WantedRollout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stations, all that have ever booted where none is named; `removes`: also delete the roots that the list no longer
    has. Others that a station has stay."""

    station_ids: Annotated[tuple[StationId, ...], msgspec.Meta(max_length=10_000)] = ()
    removes: bool = False


class OrderedRollout(msgspec.Struct, frozen=True, kw_only=True):
    """The list to which stations are brought, and how many these are."""

    list_number: int
    stations: int


@get("/trust/list", Permission.READ_CERTIFICATES)
async def read_trust_list_state(call: Call) -> ListState:
    """Return the state of the trust list, and what was wrong with the last attempt to get one."""
    return await call.run(rows.state)


@get("/trust/roots", Permission.READ_CERTIFICATES)
async def list_trusted_roots(call: Call, parameters: Paged) -> Page[ListRoot]:
    """List the roots of the trust list, and those that it no longer has."""
    found = [shown(each, ListRoot) for each in await call.run(rows.roots)]
    return page_of(call, found, parameters, lambda each: each.fingerprint)


@post("/trust/list/fetch", Permission.WRITE_CERTIFICATES, problems=(409, 502))
async def fetch_trust_list(call: Call) -> ListState:
    """Fetch and verify the trust list now. One that is not signed, expired or older than the known one is refused."""
    await _fetch(call)
    return await call.services.store.run(rows.state)


async def _fetch(call: Call) -> None:
    try:
        await _lists(call).fetch(call.services)
    except StoreError:
        raise
    except V2GError as error:
        raise ApiError(502, f"trust list: {error}", error.hint, code="trust_list") from None


@post("/trust/rollouts", Permission.WRITE_CERTIFICATES, problems=(409,), example={"station_ids": ["CS-1"]})
async def roll_out_roots(call: Call, body: WantedRollout) -> OrderedRollout:
    """Bring stations up to the trust list: install roots that they lack (M05); if wanted delete removed ones (M04)."""
    lists, named = _lists(call), frozenset(body.station_ids or await call.run(rows.booted))
    try:
        number = await lists.order(call.services, named, removes=body.removes)
    except RefusedError as error:
        raise conflict(str(error), error.hint, code=error.reason) from None
    return OrderedRollout(list_number=number, stations=len(named))


@get("/trust/rollouts", Permission.READ_CERTIFICATES)
async def list_root_rollouts(call: Call, parameters: Paged) -> Page[RootRollout]:
    """List the stations that were to be brought up to a trust list."""
    found = [shown(each, RootRollout) for each in await call.run(rows.rollouts)]
    return page_of(call, found, parameters, lambda each: each.station_id)


@post(
    "/trust/events",
    Permission.PUBLIC,
    problems=(400, 403, 409, 502),
    audited=False,
    confidential=True,
    takes=PoolEvent,
    request_headers=SIGNATURE_HEADERS,
    example={"eventId": "caf56bee", "eventType": "root.cert.added", "payload": {}},
)
async def receive_trust_event(call: Call, body: bytes) -> None:
    """Take an event of the ecosystem, signed with the secret of its subscription; one about roots has the trust list
    fetched."""
    signature = next((call.headers[each.lower()] for each in SIGNATURE_HEADERS if each.lower() in call.headers), "")
    try:
        about_roots = _lists(call).told(body, signature)
    except RefusedError as error:
        raise conflict(str(error), error.hint, code=error.reason) from None
    except CertificateError as error:
        raise ApiError(403, str(error), code=error.reason) from None
    except CodecError as error:
        raise ApiError(400, str(error)) from None
    if about_roots:  # the ecosystem repeats the event if this fails
        await _fetch(call)


def _lists(call: Call) -> TrustLists:
    found = call.services.find(TrustLists)
    if found is None:
        raise conflict("no trust list is configured", "set [trust_list]", code="not_configured")
    return found
