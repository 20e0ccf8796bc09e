"""Security: events of stations (A04), their certificates (A02, A03), and those that a person gets for them (R217)."""

from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.admission.work import StationAdmissions
from csms.http.call import Call
from csms.http.operations import Page, Reply, get, post, to_station
from csms.http.parameters import OfAnyStation, Paged, StationId, page_of, pages
from csms.http.problems import conflict, existing
from csms.station_security import store as rows
from csms.station_security import work as certificates
from csms.station_security.authority import COMBINED, StationCa
from csms.station_security.enrolment import WaitingEnrolment, all_waiting, end, note, waiting_of
from v2g.ocpp.messages import certificates as ocpp
from v2g.ocpp.messages.base import CertificateHashData
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.units import WEEK_MS


class SecurityEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A security event; `source` is `station`, or `csms` for events of the back end.

    `times`: how often it happened, `last_ms` (UTC) the last time if more than once.
    """

    id: int
    station_id: str
    source: str
    type: str
    at_ms: int
    received_ms: int
    tech_info: str
    times: int
    last_ms: int | None


class StationCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate of a station; `serial` is in hex, `status` its current state."""

    serial: str
    station_id: str
    kind: str
    subject: str
    issued_ms: int
    until_ms: int
    status: str
    pem: str


@get("/security-events", Permission.READ_CERTIFICATES)
async def list_security_events(call: Call, parameters: OfAnyStation) -> Page[SecurityEvent]:
    """List security events, newest first."""
    await call.services[StationAdmissions].flush()
    return await pages(
        call, parameters, SecurityEvent, tuple[int, int], ("at_ms", "id"), rows.list_events, parameters.station_id
    )


@get("/certificates", Permission.READ_CERTIFICATES)
async def list_station_certificates(call: Call, parameters: OfAnyStation) -> Page[StationCertificate]:
    """List the certificates issued to stations, newest first."""
    keys = ("issued_ms", "serial")
    return await pages(
        call, parameters, StationCertificate, tuple[int, str], keys, rows.list_certificates, parameters.station_id
    )


class ExpiringCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """The newest certificate of a kind that a station has accepted, or shown."""

    station_id: str
    kind: str
    until_ms: int


class ExpiringWeek(msgspec.Struct, frozen=True, kw_only=True):
    """How many certificates of a kind expire in a week; `from_ms` null: those that have."""

    from_ms: int | None
    kind: str
    certificates: int


@get("/certificates/expiring", Permission.READ_CERTIFICATES)
async def list_expiring_certificates(call: Call, parameters: Paged) -> Page[ExpiringCertificate]:
    """List the newest certificate of each kind of each station, the first to expire first."""
    keys = ("until_ms", "station_id", "kind")
    return await pages(call, parameters, ExpiringCertificate, tuple[int, str, str], keys, rows.expiring)


@get("/certificates/forecast", Permission.READ_CERTIFICATES)
async def read_certificate_forecast(call: Call) -> tuple[ExpiringWeek, ...]:
    """Return how many stations' certificates expire in each of the next 52 weeks, as far as they are not renewed."""
    now_ms = call.now_ms
    return tuple(
        ExpiringWeek(from_ms=None if week < 0 else now_ms + week * WEEK_MS, kind=kind, certificates=number)
        for week, kind, number in await call.run(rows.forecast, now_ms, _WEEKS)
    )


_WEEKS: Final = 52


class WantedCertificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The certificate's use; null is a combined one for the CSMS and for vehicles."""

    kind: CertificateSigningUse | None = None


class RenewalAsked(msgspec.Struct, frozen=True, kw_only=True):
    """How the station answered TriggerMessage."""

    status: str


@to_station(
    "POST", "/certificates/renew", Permission.WRITE_CERTIFICATES, example={"kind": "ChargingStationCertificate"}
)
async def renew_certificate(call: Call, station_id: StationId, body: WantedCertificate) -> RenewalAsked:
    """Have a station request a new certificate (A02), which the built-in authority signs."""
    return RenewalAsked(status=await call.services[StationCa].renew(station_id, body.kind))


class CertificateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a station, PEM, that waits for a CA outside. `manual`: a person has to ask the CA; `issued`: the
    certificate is to be delivered."""

    station_id: str
    kind: str
    since_ms: int
    manual: bool
    issued: bool
    csr: str


class WhichRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a station's request, by the kind of certificate."""

    station_id: StationId
    certificate_kind: Literal["ChargingStationCertificate", "V2GCertificate", "V2G20Certificate", "Combined"]


class IssuedChain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate and those of the CAs above it, PEM, in any order."""

    pem: Annotated[str, msgspec.Meta(min_length=1, max_length=40_000)]


class RefusedRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why there will be no certificate."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


@get("/certificates/requests", Permission.READ_CERTIFICATES)
async def list_certificate_requests(call: Call, parameters: Paged) -> Page[CertificateRequest]:
    """List the requests of stations that wait for CAs outside."""
    found = sorted((_shown(call, each) for each in await call.run(all_waiting)), key=_place)
    return page_of(call, found, parameters, _place)


@get(
    "/stations/{station_id}/certificates/requests/{certificate_kind}",
    Permission.READ_CERTIFICATES,
    media_type="application/x-pem-file",
    problems=(404,),
    answer=str,
)
async def read_certificate_request(call: Call, parameters: WhichRequest) -> Reply[bytes]:
    """Return a station's request that waits for a CA outside (PKCS #10, PEM)."""
    waiting = await _wanted(call, parameters)
    return Reply(content=waiting.csr.encode(), media_type="application/x-pem-file")


@post(
    "/stations/{station_id}/certificates/requests/{certificate_kind}/issue",
    Permission.WRITE_CERTIFICATES,
    problems=(404, 409),
)
async def issue_certificate_request(call: Call, parameters: WhichRequest, body: IssuedChain) -> CertificateRequest:
    """Hand over what a CA has issued for a request; it is checked, and delivered when the station is connected."""
    waiting = await _wanted(call, parameters, manual=True)
    enrolments, now_ms = call.services[StationCa].enrolments, call.now_ms
    chain = enrolments.checked(waiting, body.pem)
    await _decide(call, waiting, lambda connection: note(connection, waiting, chain=chain, due_ms=now_ms))
    enrolments.decided(waiting)
    return _shown(call, msgspec.structs.replace(waiting, chain=chain))


@post(
    "/stations/{station_id}/certificates/requests/{certificate_kind}/refuse",
    Permission.WRITE_CERTIFICATES,
    problems=(404, 409),
)
async def refuse_certificate_request(call: Call, parameters: WhichRequest, body: RefusedRequest) -> None:
    """Give a request up. OCPP has no message for that: the station may ask again, which is a new request."""
    waiting = await _wanted(call, parameters, manual=True)
    await _decide(call, waiting, lambda connection: end(connection, waiting))
    call.services[StationCa].enrolments.decided(waiting, body.reason)


async def _wanted(call: Call, which: WhichRequest, *, manual: bool = False) -> WaitingEnrolment:
    kind = "" if which.certificate_kind == COMBINED else which.certificate_kind
    found = existing("request", await call.run(waiting_of, which.station_id, kind))
    if manual and not call.services[StationCa].enrolments.is_manual(*found.key):
        raise conflict("its CA is asked by EST", "only outside_cas without est leave requests to people")
    return found


async def _decide(call: Call, waiting: WaitingEnrolment, write: Callable[[Connection], object]) -> None:
    """Change a request, unless the station has replaced it, or somebody else decided on it, meanwhile."""

    def read(connection: Connection) -> CertificateRequest | None:
        found = waiting_of(connection, *waiting.key)
        return None if found is None else _shown(call, found)

    def unchanged(connection: Connection, before: CertificateRequest | None) -> None:
        if before != _shown(call, waiting):
            raise conflict("the request has changed meanwhile", "read it again")
        write(connection)

    await call.change(read, unchanged)


def _shown(call: Call, waiting: WaitingEnrolment) -> CertificateRequest:
    return CertificateRequest(
        station_id=waiting.station_id,
        kind=waiting.kind or COMBINED,
        since_ms=waiting.since_ms,
        manual=call.services[StationCa].enrolments.is_manual(*waiting.key),
        issued=bool(waiting.chain),
        csr=waiting.csr,
    )


def _place(request: CertificateRequest) -> str:
    return f"{request.station_id}/{request.kind}"


class NewRoot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A root certificate (PEM), and its use."""

    use: ocpp.InstallCertificateUse
    pem: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]


Use = Annotated[ocpp.GetCertificateIdUse | None, msgspec.Meta(description="Only of this use.")]


@to_station("GET", "/certificates", Permission.READ_CERTIFICATES)
async def list_installed_certificates(
    call: Call, station_id: StationId, use: Use = None
) -> tuple[ocpp.CertificateHashDataChain, ...]:
    """Get the installed certificates of a station (M03)."""
    uses = () if use is None else (use,)
    return await certificates.installed(call.services, station_id, uses)


@to_station("POST", "/certificates", Permission.WRITE_CERTIFICATES)
async def install_certificate(call: Call, station_id: StationId, body: NewRoot) -> ocpp.InstallCertificateResponse:
    """Install a root certificate at a station (M05)."""
    return await certificates.install(call.services, station_id, body.use, body.pem)


@to_station("POST", "/certificates/delete", Permission.WRITE_CERTIFICATES)
async def delete_certificate(
    call: Call, station_id: StationId, body: CertificateHashData
) -> ocpp.DeleteCertificateResponse:
    """Delete a certificate of a station (M04), identified as reported."""
    return await certificates.delete(call.services, station_id, body)
