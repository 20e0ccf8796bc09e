"""Functional block A: security events, and certificates that stations ask for."""

from csms.db.queries import security
from csms.ocpp.base import Desk
from v2g.ocpp.messages.security import (
    SecurityEventNotificationRequest,
    SecurityEventNotificationResponse,
    SignCertificateRequest,
    SignCertificateResponse,
)
from v2g.ocpp.times import parse_time


async def answer_security_event(
    desk: Desk, request: SecurityEventNotificationRequest
) -> SecurityEventNotificationResponse:
    """Keep a security event, and show it (A04.FR.03)."""
    services, info = desk.services, request.tech_info or ""
    at_ms, now_ms = parse_time(request.timestamp), services.clock.utc_ms()
    await services.store.run(security.add_event, desk.station_id, "station", request.type, at_ms, now_ms, info)
    desk.observe("ocpp", "security_event", type=request.type, tech_info=info, source="station")
    return SecurityEventNotificationResponse()


async def answer_sign_certificate(desk: Desk, request: SignCertificateRequest) -> SignCertificateResponse:
    """Say whether a certificate will come; it follows this answer (A02, A03)."""
    return desk.services.station_ca.answer(desk.station_id, request)
