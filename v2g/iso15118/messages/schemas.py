"""The namespaces of ISO 15118-20 and what they import. Declarations load when a schema is first used."""

from collections.abc import Mapping
from typing import Final

from v2g.exi.declare import Schema

_HERE: Final = "v2g.iso15118.messages."

APP_PROTOCOL: Final = Schema(
    uri="urn:iso:15118:2:2010:AppProtocol",
    prefix="app",
    modules=(_HERE + "app_protocol",),
    qualified_elements=False,
    qualified_attributes=False,
    payload_type=0x8001,
)
"""The handshake that every edition begins with."""

XMLDSIG: Final = Schema(
    uri="http://www.w3.org/2000/09/xmldsig#",
    prefix="ds",
    modules=(_HERE + "xmldsig",),
    qualified_attributes=False,
)
"""XML Signature."""

COMMON_TYPES: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:CommonTypes",
    prefix="ct",
    modules=(_HERE + "common_types",),
    imports=(XMLDSIG,),
)
"""Types shared by all -20 messages; no messages of its own."""

COMMON_MESSAGES: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:CommonMessages",
    prefix="cm",
    modules=(
        _HERE + "common_messages",
        _HERE + "certificates",
        _HERE + "schedules",
    ),
    imports=(COMMON_TYPES,),
    payload_type=0x8002,
)
"""Messages of every -20 session, whatever the energy transfer mode."""

DC: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:DC",
    prefix="dc",
    modules=(_HERE + "dc",),
    imports=(COMMON_TYPES,),
    payload_type=0x8004,
)
"""Direct current, one or both directions."""

NAMESPACES: Final[Mapping[str, Schema]] = {
    schema.uri: schema for schema in (APP_PROTOCOL, XMLDSIG, COMMON_MESSAGES, DC)
}
"""Schema by the namespace that supportedAppProtocol negotiates."""
