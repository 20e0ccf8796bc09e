"""The namespaces of ISO 15118-20. Declarations load when a schema is first used."""

from typing import Final

from v2g.exi.declare import Schema
from v2g.iso15118.engine.schemas import XMLDSIG

_HERE: Final = "v2g.iso15118.d20.messages."

COMMON_TYPES: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:CommonTypes", prefix="ct", modules=(_HERE + "common_types",), imports=(XMLDSIG,)
)
"""Types shared by all -20 messages; no messages of its own."""

COMMON_MESSAGES: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:CommonMessages",
    prefix="cm",
    modules=(_HERE + "common_messages", _HERE + "certificates", _HERE + "schedules"),
    imports=(COMMON_TYPES,),
    payload_type=0x8002,
)
"""Messages of every -20 session, with any energy transfer mode."""

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
"""Alternating current in support of the grid by IEC rules (Amendment 1); the payload type is by EVerest only."""

AC_DER_SAE: Final = Schema(
    uri="urn:iso:std:iso:15118:-20:AC-DER-SAE",
    prefix="dersae",
    modules=(_HERE + "ac_der_sae",),
    imports=(AC, COMMON_TYPES),
    payload_type=0x8011,
)
"""Alternating current in support of the grid by SAE rules (Amendment 1); the payload type is by EVerest only."""

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
