"""The handshake before any session: the vehicle lists its protocols, the charger selects one."""

from enum import Enum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from v2g.exi.declare import Element, UnsignedByte, UnsignedInt
from v2g.iso15118.engine.schemas import APP_PROTOCOL

SCHEMA: Final = APP_PROTOCOL

ProtocolNamespace: TypeAlias = Annotated[str, Meta(max_length=100)]
Priority: TypeAlias = Annotated[int, Meta(ge=1, le=20)]


class ResponseCode(Enum):
    """Whether a common protocol was found (responseCodeType)."""

    OK_SuccessfulNegotiation = "OK_SuccessfulNegotiation"
    OK_SuccessfulNegotiationWithMinorDeviation = "OK_SuccessfulNegotiationWithMinorDeviation"
    Failed_NoNegotiation = "Failed_NoNegotiation"


class AppProtocol(Element, frozen=True, kw_only=True):
    """A protocol by its namespace and version; 1 is the highest priority."""

    protocol_namespace: ProtocolNamespace
    version_number_major: UnsignedInt
    version_number_minor: UnsignedInt
    schema_id: UnsignedByte
    priority: Priority


class SupportedAppProtocolReq(Element, frozen=True, kw_only=True):
    """The vehicle's protocols."""

    app_protocol: Annotated[tuple[AppProtocol, ...], Meta(min_length=1, max_length=20)]


class SupportedAppProtocolRes(Element, frozen=True, kw_only=True):
    """The selected protocol, by the vehicle's SchemaID."""

    response_code: ResponseCode
    schema_id: UnsignedByte | None = None


ELEMENTS: Final = {
    "supportedAppProtocolReq": SupportedAppProtocolReq,
    "supportedAppProtocolRes": SupportedAppProtocolRes,
}
