"""The editions that are spoken: ISO 15118-20, ISO 15118-2 and DIN 70121, by the namespaces that name them."""

from collections.abc import Mapping
from typing import Final

from v2g.exi.declare import Schema
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.schemas import AC, AC_DER_IEC, AC_DER_SAE, ACDP, COMMON_MESSAGES, DC, WPT
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.schemas import APP_PROTOCOL, XMLDSIG

NAMESPACES: Final[Mapping[str, Schema]] = {
    schema.uri: schema
    for schema in (
        *(APP_PROTOCOL, XMLDSIG, COMMON_MESSAGES, AC, DC, WPT, ACDP, ISO2, DIN),
        *(AC_DER_IEC, AC_DER_SAE),
    )
}
"""Schema by the namespace of its documents or fragments; all but XMLDSIG's are what supportedAppProtocol negotiates."""
