"""Functional block A: security events, and certificate requests of stations."""

from csms.ocpp.base import HandlerContext
from csms.ocpp.handlers import answers
from csms.station_security import store as security
from v2g.ocpp.messages.security import (
    SecurityEventNotificationRequest,
    SecurityEventNotificationResponse,
    SignCertificateRequest,
    SignCertificateResponse,
)
from v2g.ocpp.times import parse_time


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
    return context.services.station_ca.answer(context.station_id, request)
