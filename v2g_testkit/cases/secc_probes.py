"""Cases for chargers before a session: SDP and TLS."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from v2g.errors import FrameError
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import sdp
from v2g.iso15118.engine.sdp import SdpRequest, Security, Transport
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_testkit.cases.case import Case, probe_case

_GOOD: Final = sdp.encode_request(SdpRequest())
_PLAIN: Final = sdp.encode_request(SdpRequest(Security.NONE))

DATAGRAMS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "tls": (_GOOD,),
    "without-tls": (_PLAIN,),
    "repeated": (_GOOD,) * 4,
    "udp": (sdp.encode_request(SdpRequest(transport=Transport.UDP)),),
    "security-reserved": (frame(PayloadType.SDP_REQ, b"\x42\x00"),),
    "version": (b"\x02\xfd" + _GOOD[2:],),
    "type": (frame(PayloadType.SDP_RES, _GOOD[8:]),),
    "short": (_GOOD[:9],),
    "long": (frame(PayloadType.SDP_REQ, _GOOD[8:] + b"\x00\x00"),),
    "length": (_GOOD[:4] + b"\x00\x00\x00\x20" + _GOOD[8:],),
    "empty": (b"",),
    "length-0": (_GOOD[:4] + bytes(4) + _GOOD[8:],),
    "type-7000": (frame(0x7000, _GOOD[8:]),),
    "version-ff": (b"\xff" + _GOOD[1:],),
    "inverse-ff": (_GOOD[:1] + b"\xff" + _GOOD[2:],),
    "garbage-then-good": (b"\xff" * 64, _GOOD),
}
"""Name -> the datagrams of an SDP probe, sent at intervals of RETRY_S."""

TLS: Final = (
    "good",
    "staple",
    "version-1.2",
    "no-certificate",
    "expired-vehicle",
    "unknown-vehicle",
    "curve-p256",
    "no-status-request",
)
"""TLS probes: the vehicle's behaviour in its handshake."""

ANSWERED: Final = "answers"
SILENT: Final = "does not answer"
TWICE: Final = "answers more often than it is asked"
TALKS: Final = "agrees on ISO 15118-20"
REFUSES: Final = "refuses the connection"
STAPLES: Final = "staples an OCSP answer"


def sdp_facts(sent: int, answers: Sequence[bytes]) -> list[str]:
    """Return the facts in received datagrams, by stable names."""
    if not answers:
        return [SILENT]
    facts = [ANSWERED]
    if len(answers) >= sent:
        facts.append("answers every request")
    if len(answers) > sent and len(set(answers)) == 1:  # others are of other chargers on the link
        facts.append(TWICE)
    for each in answers:
        try:
            response = sdp.decode_response(each)
        except FrameError as error:
            facts += [flaw for flaw in (f"malformed: {error}",) if flaw not in facts]
            continue
        announced = [f"security {response.security.name}", f"transport {response.transport.name}"]
        if not (response.address.is_link_local or response.address.is_loopback):
            announced.append("address is not link-local")
        if response.port not in sdp.TCP_PORTS:
            announced.append("port outside 49152 to 65535")
        facts += [word for word in announced if word not in facts]
    return facts


def probes(family: Family) -> Iterator[Case]:
    """Return the cases before a session, the same for every message set."""

    case = partial(probe_case, "SECC")
    well_formed = ("address is not link-local", "port outside 49152 to 65535", TWICE, "malformed*")
    silence = "a response to something other than a request is harmless"
    yield case("sdp:tls", "A request for TLS over TCP", "a response: TLS over TCP, a link-local address, a port of the "
               "dynamic range", ("V2G20-1235", "V2G20-1238"), facts=(ANSWERED, "security TLS", "transport TCP"),
               no_facts=well_formed)  # fmt: skip
    yield case("sdp:repeated", "The request four times, every 250 ms", "each is answered", (),
               facts=("answers every request", "security TLS"))  # fmt: skip
    yield case("sdp:without-tls", "A request without TLS", "no offer without TLS for -20; allowed for -2",
               ("V2G20-1238", "V2G20-1805"), "a charger that serves -2, too, may offer that without TLS",
               facts=("security TLS",))  # fmt: skip
    yield case("sdp:garbage-then-good", "Invalid bytes, then a request", "the request is answered", (),
               facts=(ANSWERED, "security TLS"))  # fmt: skip
    for form, title in (
        ("udp", "A request for transport over UDP, which is reserved"),
        ("security-reserved", "A request with a reserved security byte"),
        ("version", "A request with another V2GTP version"),
        ("type", "A request with the payload type of a response"),
        ("short", "A request that is cut off"),
        ("long", "A request with two bytes too many"),
        ("length", "A request with a length field that is too large"),
        ("empty", "An empty datagram"),
    ):
        yield case(f"sdp:{form}", title, "no response", (), silence, facts=(SILENT,))
    yield case("tls:good", "A correct handshake", "TLS 1.3 with both certificates, then the protocol handshake",
               ("V2G20-1264", "V2G20-2458", "V2G20-2460"), facts=("TLSv1.3", TALKS))  # fmt: skip
    yield case("tls:staple", "The OCSP response for the charger's certificate", "stapled by a public charger",
               ("V2G20-2388", "V2G20-2398"), "optional for a private charger",
               ("staples",), facts=(STAPLES,))  # fmt: skip
    yield case("tls:version-1.2", "TLS 1.2 only", "no session of -20", ("V2G20-1264", "V2G20-2356", "V2G20-2359"),
               facts=(REFUSES,), no_facts=(TALKS,))  # fmt: skip
    for form, title in (
        ("no-certificate", "No vehicle certificate"),
        ("expired-vehicle", "A vehicle certificate that has expired"),
        ("unknown-vehicle", "A vehicle certificate under an unknown root"),
        ("curve-p256", "Key exchange on secp256r1 only"),
    ):
        ids = ("V2G20-1264", "V2G20-2331") if "vehicle" in form or "certificate" in form else ("V2G20-2460",)
        yield case(f"tls:{form}", title, "the connection is refused", ids, facts=(REFUSES,), no_facts=(TALKS,))
    yield case("tls:no-status-request", "A handshake that requests no OCSP responses", "not public",
               ("V2G20-2372",), "only the vehicle's duty to request them is public", facts=(TALKS,))  # fmt: skip
