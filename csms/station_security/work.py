"""Functional blocks A and M: security events and certificate requests of stations, and their trusted roots."""

from collections.abc import Sequence

from csms.handlers import answers
from csms.requests.work import call
from csms.services import HandlerContext, Services
from csms.station_security import store as security
from csms.station_security.authority import StationCa
from v2g.errors import CertificateError, RefusedError
from v2g.ocpp.messages import certificates as ocpp
from v2g.ocpp.messages.base import CertificateHashData
from v2g.ocpp.messages.security import (
    SecurityEventNotificationRequest,
    SecurityEventNotificationResponse,
    SignCertificateRequest,
    SignCertificateResponse,
)
from v2g.ocpp.times import parse_time
from v2g.pki.certificates import chain_from_pem, load_certificate
from v2g.pki.conformity import is_authority


async def install(
    services: Services, station_id: str, use: ocpp.InstallCertificateUse, pem: str
) -> ocpp.InstallCertificateResponse:
    """Install a root at a station (M05). Raises RefusedError as `check_root`, V2GError as `ConnectionRegistry.call`."""
    check_root(use, pem)
    request = ocpp.InstallCertificateRequest(certificate_type=use, certificate=pem)
    return await call(services, station_id, request, ocpp.InstallCertificateResponse)


def check_root(use: str, pem: str) -> None:
    """Raise RefusedError (`certificate`) unless a text is exactly one certificate, of a root. One of the CSMS may be
    signed by the root that it replaces (M05.FR.10)."""
    try:
        certificate, *others = map(load_certificate, chain_from_pem(pem.encode()))
        authority = is_authority(certificate)
    except (CertificateError, ValueError) as error:
        raise RefusedError(f"not one PEM certificate: {error}", reason="certificate") from None
    if others:
        found = f"{len(others) + 1} certificates, but one is installed at a time"
        raise RefusedError(found, reason="certificate", hint="install each root by itself")
    if not authority:
        raise RefusedError("the certificate is not one of a CA", reason="certificate", hint="install the root above it")
    of_csms = use in ("CSMSRootCertificate", "CentralSystemRootCertificate")
    if not of_csms and certificate.subject != certificate.issuer:
        raise RefusedError("the certificate is not a root", reason="certificate", hint="install the root above it")


async def installed(
    services: Services, station_id: str, uses: Sequence[ocpp.GetCertificateIdUse] = ()
) -> tuple[ocpp.CertificateHashDataChain, ...]:
    """Return the installed certificates of a station, of some uses or of all (M03). Raises V2GError."""
    request = ocpp.GetInstalledCertificateIdsRequest(certificate_type=tuple(uses))
    answer = await call(services, station_id, request, ocpp.GetInstalledCertificateIdsResponse)
    return answer.certificate_hash_data_chain if answer.status == "Accepted" else ()


async def delete(services: Services, station_id: str, which: CertificateHashData) -> ocpp.DeleteCertificateResponse:
    """Delete a certificate of a station (M04): `which` as `installed` returned it. Raises V2GError."""
    return await call(
        services, station_id, ocpp.DeleteCertificateRequest(certificate_hash_data=which), ocpp.DeleteCertificateResponse
    )


@answers
async def answer_security_event(
    context: HandlerContext, request: SecurityEventNotificationRequest
) -> SecurityEventNotificationResponse:
    """Store a security event, and publish it (A04.FR.03)."""
    services, info = context.services, request.tech_info or ""
    at_ms, now_ms = parse_time(request.timestamp), services.clock.utc_ms()
    await services.store.run(security.add_event, context.station_id, "station", request.type, at_ms, now_ms, info)
    context.observe("ocpp", "security_event", type=request.type, tech_info=info, source="station")
    return SecurityEventNotificationResponse()


@answers
async def answer_sign_certificate(context: HandlerContext, request: SignCertificateRequest) -> SignCertificateResponse:
    """Answer whether a certificate will follow; it is sent after this answer (A02, A03)."""
    return await context.services[StationCa].answer(context.station_id, request)
