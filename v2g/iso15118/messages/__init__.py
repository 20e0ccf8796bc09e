"""Messages of ISO 15118 and DIN 70121, declared once: EXI, JSON, XML, validation and documentation derive from them.

Declarations are in one module per namespace, or a few: `v2g.iso15118.messages.dc.DC_ChargeLoopReq`, or
`v2g.iso15118.messages.iso2.message.V2G_Message`. Nothing is loaded before it is used. Declared are the first edition
of ISO 15118-20 (2022), ISO 15118-2:2013 and DIN 70121:2012, and from a draft of Amendment 1, not verified, AC_DER_IEC
and AC_DER_SAE.
"""

from v2g.iso15118.messages.schemas import (
    AC,
    AC_DER_IEC,
    AC_DER_SAE,
    ACDP,
    APP_PROTOCOL,
    COMMON_MESSAGES,
    DC,
    DIN,
    ISO2,
    NAMESPACES,
    WPT,
    XMLDSIG,
)

__all__ = [
    "AC",
    "ACDP",
    "AC_DER_IEC",
    "AC_DER_SAE",
    "APP_PROTOCOL",
    "COMMON_MESSAGES",
    "DC",
    "DIN",
    "ISO2",
    "NAMESPACES",
    "WPT",
    "XMLDSIG",
]
