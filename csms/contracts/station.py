"""Functional block M: certificates of vehicles and their contracts."""

import asyncio
import base64

from csms.handlers import answers
from csms.services import HandlerContext
from csms.trust import certificate_status
from v2g.errors import CertificateError, RevocationError
from v2g.ocpp.messages import certificates
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.times import format_time

_LONGEST = {"2.0.1": 5500, "2.1": 18_000}
"""Maximum length of ocspResult."""

_AGAIN_MS = 3_600_000
"""When to ask again about a status without a date."""


@answers
async def answer_get_15118_ev_certificate(
    context: HandlerContext, request: certificates.Get15118EVCertificateRequest
) -> certificates.Get15118EVCertificateResponse:
    """Issue a contract to a vehicle (M01), or renew it (M02), from own and outside pools, as configured; -20 has no
    separate update (M02.FR.02)."""
    found = await _contract(context, request)
    if found.status == "Failed" and (info := found.status_info) is not None:
        context.observe("provisioning", "refused", reason=info.reason_code, detail=info.additional_info or "")
    return found


async def _contract(
    context: HandlerContext, request: certificates.Get15118EVCertificateRequest
) -> certificates.Get15118EVCertificateResponse:
    config, services = context.services.config, context.services
    if config.provisioning is None and not config.outside_pools:
        info = StatusInfo(reason_code="NotConfigured", additional_info="[provisioning] is not configured")
        return certificates.Get15118EVCertificateResponse(status="Failed", exi_response="", status_info=info)
    from csms.contracts.outside import OutsidePools  # on demand: imports messages of ISO 15118
    from csms.contracts.provisioning import Provisioner

    own, outside = services.find(Provisioner), services.find(OutsidePools)
    found, sure = (None, True) if outside is None else await outside.answer(request, context.version, before_own=True)
    refused = None
    if found is None and own is not None:
        answer = await own.answer(request, context.version)
        found, refused = (answer, None) if answer.status == "Accepted" else (None, answer)
    if found is None and outside is not None:
        found, answered = await outside.answer(request, context.version, before_own=False)
        refused = refused or outside.refuse(request, sure=sure and answered)
    found = found or refused
    assert found is not None
    return found


@answers
async def answer_certificate_status(
    context: HandlerContext, request: certificates.GetCertificateStatusRequest
) -> certificates.GetCertificateStatusResponse:
    """Ask a responder for a station (M06): its answer is returned unchanged, for the station and vehicle to verify."""
    try:
        body = await context.services[certificate_status.CertificateStatus].answer(request.ocsp_request_data)
    except (RevocationError, CertificateError) as error:
        context.observe("ocpp", "certificate_status_failed", reason=error.reason, detail=str(error)[:300])
        return _no_status(error.reason, str(error))
    result = base64.b64encode(body).decode()
    if len(result) > _LONGEST[context.version]:
        return _no_status("TooLong", f"the answer is too long: {len(body)} bytes")
    return certificates.GetCertificateStatusResponse(status="Accepted", ocsp_result=result)


def _no_status(reason: str, detail: str) -> certificates.GetCertificateStatusResponse:
    info = StatusInfo(reason_code=reason[:20], additional_info=detail[:500])
    return certificates.GetCertificateStatusResponse(status="Failed", status_info=info)


@answers
async def answer_certificate_chain_status(
    context: HandlerContext, request: certificates.GetCertificateChainStatusRequest
) -> certificates.GetCertificateChainStatusResponse:
    """Ask responders and lists for a station, and return the status (M07, 2.1)."""
    found = await asyncio.gather(*(_status(context, each) for each in request.certificate_status_requests))
    return certificates.GetCertificateChainStatusResponse(certificate_status=tuple(found))


async def _status(
    context: HandlerContext, wanted: certificates.CertificateStatusRequestInfo
) -> certificates.CertificateStatus:
    finding = await context.services[certificate_status.CertificateStatus].find(
        wanted.certificate_hash_data, wanted.source, wanted.urls
    )
    until_ms = context.services.clock.utc_ms() + _AGAIN_MS
    if finding.until is not None:
        until_ms = int(finding.until.timestamp() * 1000)
    return certificates.CertificateStatus(
        certificate_hash_data=wanted.certificate_hash_data,
        source=wanted.source,
        status=finding.status,
        next_update=format_time(until_ms),
    )
