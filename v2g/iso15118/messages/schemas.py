"""The namespaces of ISO 15118-20, ISO 15118-2 and DIN 70121. Declarations load when a schema is first used."""

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

AC: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:AC",
    prefix="ac",
    modules=(_HERE + "ac",),
    imports=(COMMON_TYPES,),
    payload_type=0x8003,
)
"""Alternating current, one or both directions."""

AC_DER_IEC: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:AC-DER-IEC",
    prefix="deriec",
    modules=(_HERE + "ac_der_iec",),
    imports=(AC, COMMON_TYPES),
    payload_type=0x8010,
)
"""Alternating current in support of the grid by IEC rules: a draft of Amendment 1, not verified."""

AC_DER_SAE: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:AC-DER-SAE",
    prefix="dersae",
    modules=(_HERE + "ac_der_sae",),
    imports=(AC, COMMON_TYPES),
    payload_type=0x8011,
)
"""Alternating current in support of the grid by SAE rules: a draft of Amendment 1, not verified."""

WPT: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:WPT",
    prefix="wpt",
    modules=(_HERE + "wpt", _HERE + "wpt_positioning"),
    imports=(COMMON_TYPES,),
    payload_type=0x8006,
)
"""Wireless power transfer."""

ACDP: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:ACDP",
    prefix="acdp",
    modules=(_HERE + "acdp",),
    imports=(COMMON_TYPES,),
    payload_type=0x8005,
)
"""Automated connection devices."""

ISO2_DATA_TYPES: Final = Schema(
    uri="urn:iso:15118:2:2013:MsgDataTypes",
    prefix="iso2t",
    modules=(_HERE + "iso2.data_types", _HERE + "iso2.tariffs", _HERE + "iso2.parameters"),
    imports=(XMLDSIG,),
)
ISO2_HEADER: Final = Schema(
    uri="urn:iso:15118:2:2013:MsgHeader",
    prefix="iso2h",
    modules=(_HERE + "iso2.header",),
    imports=(ISO2_DATA_TYPES,),
)
ISO2_BODY: Final = Schema(
    uri="urn:iso:15118:2:2013:MsgBody",
    prefix="iso2b",
    modules=(_HERE + "iso2.common", _HERE + "iso2.charging", _HERE + "iso2.body"),
    imports=(ISO2_DATA_TYPES,),
)
ISO2: Final = Schema(
    uri="urn:iso:15118:2:2013:MsgDef",
    prefix="iso2",
    modules=(_HERE + "iso2.message",),
    imports=(ISO2_HEADER, ISO2_BODY),
    payload_type=0x8001,
)
"""ISO 15118-2:2013, the edition before -20; every document is a `V2G_Message`."""

DIN_DATA_TYPES: Final = Schema(
    uri="urn:din:70121:2012:MsgDataTypes",
    prefix="dint",
    modules=(_HERE + "din.data_types", _HERE + "din.tariffs", _HERE + "din.parameters"),
    qualified_attributes=False,
)
DIN_HEADER: Final = Schema(
    uri="urn:din:70121:2012:MsgHeader",
    prefix="dinh",
    modules=(_HERE + "din.header",),
    imports=(DIN_DATA_TYPES, XMLDSIG),
    qualified_attributes=False,
)
DIN_BODY: Final = Schema(
    uri="urn:din:70121:2012:MsgBody",
    prefix="dinb",
    modules=(_HERE + "din.common", _HERE + "din.charging"),
    imports=(DIN_DATA_TYPES,),
    qualified_attributes=False,
)
DIN: Final = Schema(
    uri="urn:din:70121:2012:MsgDef",
    prefix="din",
    modules=(_HERE + "din.base", _HERE + "din.message"),
    imports=(DIN_HEADER, DIN_BODY),
    qualified_attributes=False,
    payload_type=0x8001,
)
"""DIN 70121:2012, direct current before ISO 15118-2; every document is a `V2G_Message`."""

NAMESPACES: Final[Mapping[str, Schema]] = {
    schema.uri: schema
    for schema in (
        *(APP_PROTOCOL, XMLDSIG, COMMON_MESSAGES, AC, DC, WPT, ACDP, ISO2, DIN),
        *(AC_DER_IEC, AC_DER_SAE),
    )
}
"""Schema by the namespace of its documents or fragments; all but XMLDSIG's are what supportedAppProtocol negotiates."""
