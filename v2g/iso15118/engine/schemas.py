"""The namespaces shared by all editions. Declarations load when a schema is first used."""

from typing import Final

from v2g.exi.declare import Schema

_HERE: Final = "v2g.iso15118.engine."

APP_PROTOCOL: Final = Schema(
    uri="urn:iso:15118:2:2010:AppProtocol",
    prefix="app",
    modules=(_HERE + "app_protocol",),
    qualified_elements=False,
    qualified_attributes=False,
    payload_type=0x8001,
)
"""The handshake at the start of every edition."""

XMLDSIG: Final = Schema(
    uri="http://www.w3.org/2000/09/xmldsig#", prefix="ds", modules=(_HERE + "xmldsig",), qualified_attributes=False
)
"""XML Signature."""
