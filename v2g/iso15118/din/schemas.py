"""The namespaces of DIN 70121. Declarations load when a schema is first used."""

from typing import Final

from v2g.exi.declare import Schema
from v2g.iso15118.engine.schemas import XMLDSIG

_HERE: Final = "v2g.iso15118.din.messages."

DIN_DATA_TYPES: Final = Schema(
    uri="urn:din:70121:2012:MsgDataTypes", prefix="dint", modules=(_HERE + "data_types",), qualified_attributes=False
)
DIN_HEADER: Final = Schema(
    uri="urn:din:70121:2012:MsgHeader",
    prefix="dinh",
    modules=(_HERE + "header",),
    imports=(DIN_DATA_TYPES, XMLDSIG),
    qualified_attributes=False,
)
DIN_BODY: Final = Schema(
    uri="urn:din:70121:2012:MsgBody",
    prefix="dinb",
    modules=(_HERE + "common",),
    imports=(DIN_DATA_TYPES,),
    qualified_attributes=False,
)
DIN: Final = Schema(
    uri="urn:din:70121:2012:MsgDef",
    prefix="din",
    modules=(_HERE + "base", _HERE + "message"),
    imports=(DIN_HEADER, DIN_BODY),
    qualified_attributes=False,
    payload_type=0x8001,
)
"""DIN 70121:2012, direct current before ISO 15118-2; every document is a `V2G_Message`."""
