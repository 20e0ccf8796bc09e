"""The supported editions, ISO 15118-20, ISO 15118-2 and DIN 70121, by their namespaces.

The vehicle's priority selects one of those that the charger serves: `best_ranked`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal

from v2g.exi.declare import Schema
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.schemas import AC, AC_DER_IEC, AC_DER_SAE, ACDP, COMMON_MESSAGES, DC, WPT
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.schemas import APP_PROTOCOL, XMLDSIG

if TYPE_CHECKING:  # declarations load when their schema is first used
    from v2g.iso15118.engine.app_protocol import AppProtocol

EditionName = Literal["20", "2", "din"]
"""ISO 15118-20, ISO 15118-2 and DIN 70121, as configurations name them."""

TRANSPORTS: Final[Mapping[str, frozenset[EditionName]]] = {
    "TLSv1.3": frozenset(("20", "2")),  # -2 there: see `carried`
    "TLSv1.2": frozenset(("2",)),  # V2G20-1237, V2G20-2356
    "none": frozenset(("2", "din")),
}
"""Editions by the version of TLS that carries them, "none" for TCP alone."""

NAMESPACES: Final[Mapping[str, Schema]] = {
    schema.uri: schema
    for schema in (*(APP_PROTOCOL, XMLDSIG, COMMON_MESSAGES, AC, DC, WPT, ACDP, ISO2, DIN), *(AC_DER_IEC, AC_DER_SAE))
}
"""Schema by the namespace of its documents or fragments; all but XMLDSIG's are what supportedAppProtocol negotiates."""


def carried(version: str, *, of_2_in_tls13: bool, without_tls: bool) -> frozenset[EditionName]:
    """Return the editions that a connection may carry; `version` is that of TLS, "none" for TCP alone.

    No source says whether ISO 15118-2 may be used within TLS 1.3. `without_tls` lets laboratories use ISO 15118-20 on
    TCP alone.
    """
    found = TRANSPORTS[version]
    if version == "TLSv1.3" and not of_2_in_tls13:
        found -= {"2"}
    return found | {"20"} if version == "none" and without_tls else found


def best_ranked(protocols: "Iterable[AppProtocol]", served: "Callable[[AppProtocol], bool]") -> "AppProtocol | None":
    """Return the protocol served that the vehicle prefers, None without a common one (V2G20-167, -169)."""
    return min(filter(served, protocols), key=lambda each: each.priority, default=None)
