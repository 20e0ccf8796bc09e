"""Cases for vehicles before a session: SDP and TLS."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Final

from v2g.iso15118.engine import sdp
from v2g_testkit.cases.case import Case, probe_case

CONNECTS: Final = "connects"
STAYS_AWAY: Final = "does not connect"
TALKS: Final = "begins to talk"
REFUSES: Final = "refuses the connection"
BREAKS: Final = "breaks the handshake"
"""It sends what is no TLS, nothing more, or a certificate that is not accepted: so it has refused nothing."""
ASKS_AGAIN: Final = "asks again every 250 ms"

SDP: Final = ("good", "unanswered", "no-tls", "garbage", "port-0")
"""SDP probes: the charger's answers."""

TLS: Final = ("good", "unknown-root", "expired", "not-yet-valid", "revoked", "no-staple", "version-1.2", "curve-p256")
"""TLS probes: the charger's certificates."""

_TOLERANCE_S: Final = 0.1


def request_facts(times: list[float]) -> list[str]:
    """Return the facts from the times (s) of unanswered SDP requests."""
    gaps = [b - a for a, b in pairwise(times)]
    if not times:
        return ["sends no request"]
    even = bool(gaps) and all(abs(gap - sdp.RETRY_S) <= _TOLERANCE_S for gap in gaps)
    return [ASKS_AGAIN] if even else [f"asks {len(times)} times, after {', '.join(f'{gap:.2f}' for gap in gaps[:5])} s"]


def sdp_probes() -> Iterator[Case]:
    """Return the cases about SDP, the same for every edition."""

    case = partial(probe_case, "EVCC")

    yield case("sdp:good", "A correct SDP response", "the vehicle connects", (), facts=(CONNECTS,))
    yield case("sdp:unanswered", "Eight requests are not answered", "the request is repeated every 250 ms", (),
               "the tolerance of the 250 ms is not public", facts=(ASKS_AGAIN,))  # fmt: skip
    yield case("sdp:garbage", "Invalid bytes, then a response", "the vehicle connects", (), facts=(CONNECTS,))
    yield case("sdp:port-0", "A response with port 0, then a valid one", "the vehicle connects", (),
               "the reaction to an unusable response is not public", facts=(CONNECTS,))  # fmt: skip


def probes() -> Iterator[Case]:
    """Return the cases before a session, the same for every message set."""

    case = partial(probe_case, "EVCC")

    yield from sdp_probes()
    yield case("sdp:no-tls", "A response that offers no TLS", "no connection without TLS", ("V2G20-1237",),
               facts=(STAYS_AWAY,))  # fmt: skip
    yield case("tls:good", "A correct handshake", "the vehicle begins a session", ("V2G20-1264",),
               facts=(TALKS, "TLSv1.3"))  # fmt: skip
    for form, title, ids, why in (
        ("unknown-root", "A charger's certificate under an unknown root", ("V2G20-1007",), ""),
        ("expired", "A charger's certificate that has expired", (), ""),
        ("not-yet-valid", "A charger's certificate that is not valid yet", (), ""),
        ("revoked", "A stapled OCSP response with status revoked", ("V2G20-2409", "V2G20-2413"), ""),
        (
            "no-staple",
            "No stapled OCSP response",
            ("V2G20-1240", "V2G20-2411"),
            "a vehicle may query the responder itself",
        ),
        ("version-1.2", "TLS 1.2 only", ("V2G20-1237", "V2G20-1264"), "a vehicle may continue with -2"),
        ("curve-p256", "Key exchange on secp256r1 only", ("V2G20-2460",), ""),
    ):
        yield case(f"tls:{form}", title, "the vehicle refuses the connection", ids, why, facts=(REFUSES,),
                   no_facts=(TALKS,))  # fmt: skip
