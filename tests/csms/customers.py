"""Customers, what a station says about its connectors, and what the back end has stored of requests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.csms.backend import Backend
from tests.csms.charging import TOKENS, VALID
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload, ScriptedStation
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.times import format_time

__all__ = [
    "CUSTOMER",
    "TOKENS",
    "VALID",
    "Start",
    "accepted",
    "connector_is",
    "device_event",
    "make_certificate",
    "parts_of",
    "request_of",
]

CUSTOMER = IdToken(id_token=VALID["idToken"], type=VALID["type"])
"""A token that the back end knows."""

accepted: Payload = {"status": "Accepted"}


async def connector_is(csms: Backend, station: ScriptedStation, status: str, evse_id: int = 1) -> None:
    """Report a connector's status both ways, as the cases have it; the back end acknowledges both."""
    now = format_time(csms.clock.utc_ms())
    about = {"evseId": evse_id, "connectorId": 1, "connectorStatus": status, "timestamp": now}
    assert await station.call("StatusNotification", about) == {}
    event = device_event(
        component={"name": "Connector", "evse": {"id": evse_id, "connectorId": 1}},
        variable={"name": "AvailabilityState"},
        actualValue=status,
        timestamp=now,
    )
    assert await station.call("NotifyEvent", {"generatedAt": now, "seqNo": 0, "eventData": [event]}) == {}


def device_event(**changes: Any) -> Payload:
    """Return one event of the device model."""
    return {
        "eventId": 1,
        "timestamp": "2026-01-01T00:00:00Z",
        "trigger": "Delta",
        "actualValue": "true",
        "component": {"name": "ConnectorPlugRetentionLock"},
        "eventNotificationType": "HardWiredNotification",
        "variable": {"name": "Problem"},
        **changes,
    }


async def request_of(csms: Backend, number: int) -> dict[str, Any]:
    """Return a request whose outcome comes later, as the back end has noted it."""
    from csms.requests import store as requests

    found = await csms.services.store.run(requests.find, number)
    assert found is not None
    return found


async def parts_of(csms: Backend, number: int) -> list[str]:
    """Return what came in parts."""
    from csms.requests import store as requests

    return await csms.services.store.run(requests.parts, number)


def make_certificate() -> str:
    """Return a firmware signing certificate that is valid now, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Maker")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=9))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
