"""Security: events of stations (A04), and certificates that the built-in authority has issued (A02, A03)."""

from typing import Annotated, Final

import msgspec

from csms.accounts.rules import Permission
from csms.admission.work import StationAdmissions
from csms.http.call import Call
from csms.http.operations import Page, get, to_station
from csms.http.parameters import OfAnyStation, OneStation, Paged, StationId, pages
from csms.station_security import store as rows
from csms.station_security import work as certificates
from csms.station_security.authority import StationCa
from v2g.ocpp.messages import certificates as ocpp
from v2g.ocpp.messages.base import CertificateHashData
from v2g.ocpp.messages.security import CertificateSigningUse


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
        call,
        parameters,
        SecurityEvent,
        tuple[int, int],
        ("at_ms", "id"),
        lambda connection, after, limit: rows.list_events(connection, parameters.station_id, limit, after),
    )


@get("/certificates", Permission.READ_CERTIFICATES)
async def list_station_certificates(call: Call, parameters: OfAnyStation) -> Page[StationCertificate]:
    """List the certificates issued to stations, newest first."""
    return await pages(
        call,
        parameters,
        StationCertificate,
        tuple[int, str],
        ("issued_ms", "serial"),
        lambda connection, after, limit: rows.list_certificates(connection, parameters.station_id, limit, after),
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
    return await pages(
        call,
        parameters,
        ExpiringCertificate,
        tuple[int, str, str],
        ("until_ms", "station_id", "kind"),
        lambda connection, after, limit: rows.expiring(connection, limit, after),
    )


@get("/certificates/forecast", Permission.READ_CERTIFICATES)
async def read_certificate_forecast(call: Call) -> tuple[ExpiringWeek, ...]:
    """Return how many stations' certificates expire in each of the next 52 weeks, as far as they are not renewed."""
    now_ms = call.now_ms
    return tuple(
        ExpiringWeek(from_ms=None if week < 0 else now_ms + week * rows.WEEK_MS, kind=kind, certificates=number)
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
async def renew_certificate(call: Call, parameters: OneStation, body: WantedCertificate) -> RenewalAsked:
    """Have a station request a new certificate (A02), which the built-in authority signs."""
    return RenewalAsked(status=await call.services[StationCa].renew(parameters.station_id, body.kind))


class NewRoot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A root certificate (PEM), and its use."""

    use: ocpp.InstallCertificateUse
    pem: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]


class WhichInstalled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for a station's certificates."""

    station_id: StationId
    use: Annotated[ocpp.GetCertificateIdUse | None, msgspec.Meta(description="Only of this use.")] = None


@to_station("GET", "/certificates", Permission.READ_CERTIFICATES)
async def list_installed_certificates(
    call: Call, parameters: WhichInstalled
) -> tuple[ocpp.CertificateHashDataChain, ...]:
    """Get the installed certificates of a station (M03)."""
    uses = () if parameters.use is None else (parameters.use,)
    return await certificates.installed(call.services, parameters.station_id, uses)


@to_station("POST", "/certificates", Permission.WRITE_CERTIFICATES)
async def install_certificate(call: Call, parameters: OneStation, body: NewRoot) -> ocpp.InstallCertificateResponse:
    """Install a root certificate at a station (M05)."""
    return await certificates.install(call.services, parameters.station_id, body.use, body.pem)


@to_station("POST", "/certificates/delete", Permission.WRITE_CERTIFICATES)
async def delete_certificate(
    call: Call, parameters: OneStation, body: CertificateHashData
) -> ocpp.DeleteCertificateResponse:
    """Delete a certificate of a station (M04), identified as reported."""
    return await certificates.delete(call.services, parameters.station_id, body)
