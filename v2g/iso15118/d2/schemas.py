"""The namespaces of ISO 15118-2. Declarations load when a schema is first used."""

from typing import Final

from v2g.exi.declare import Schema
from v2g.iso15118.engine.schemas import XMLDSIG

_HERE: Final = "v2g.iso15118.d2.messages."

ISO2_DATA_TYPES: Final = Schema(
    uri="urn:iso:15118:2:2013:MsgDataTypes", prefix="iso2t", modules=(_HERE + "data_types",), imports=(XMLDSIG,)
)
ISO2_HEADER: Final = Schema(
    uri="urn:iso:15118:2:2013:MsgHeader", prefix="iso2h", modules=(_HERE + "header",), imports=(ISO2_DATA_TYPES,)
)
ISO2_BODY: Final = Schema(
    uri="urn:iso:15118:2:2013:MsgBody",
    prefix="iso2b",
    modules=(_HERE + "common", _HERE + "body"),
    imports=(ISO2_DATA_TYPES,),
)
ISO2: Final = Schema(
    uri="urn:iso:15118:2:2013:MsgDef",
    prefix="iso2",
    modules=(_HERE + "message",),
    imports=(ISO2_HEADER, ISO2_BODY),
    payload_type=0x8001,
)
"""ISO 15118-2:2013, the edition before -20; every document is a `V2G_Message`."""
