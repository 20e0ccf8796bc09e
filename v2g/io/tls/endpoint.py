"""A TLS end, independent of any library: offers, trust, identities, and the channel.

Two backends make channels and pass the same tests: `native` (the system's libssl) and `bundled` (pyOpenSSL and the
OpenSSL that comes with it). They are loaded on demand; `auto` is the native one if the system has it. Their
limitations are in docs/explanation/tls-backends.md.
"""

import asyncio
import functools
import importlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from v2g.errors import ConfigError
from v2g.pki.credentials import Credentials
from v2g.pki.crl import RevocationList
from v2g.pki.keys import SoftwareKey
from v2g.pki.profile import Generation, Role
from v2g.pki.revocation import Fail
from v2g.pki.verify import VerifiedChain

Backend = Annotated[
    Literal["auto", "bundled", "native"],
    Meta(
        description="native: the system's OpenSSL, needed for keys in tokens and TPMs; bundled: the one that comes "
        "along; auto: native where the system has it"
    ),
]
Curve = Literal["secp521r1", "x448"]
Curves = Annotated[
    tuple[Curve, ...],
    Meta(
        min_length=1,
        max_length=2,
        description="curve sets of the handshake, the preferred one first (V2G20-2320): secp521r1 with ECDSA, x448 "
        "with Ed448; certificates of the other set cannot be used",
    ),
]
KeyLog = Annotated[
    Path | None, Meta(description="append the secrets of every connection here, for Wireshark; never in the field")
]


Version = Literal["TLSv1.2", "TLSv1.3"]


class TlsProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One version of TLS with its offered and accepted algorithms, each list in order of preference, by OpenSSL's
    names."""

    name: str
    version: Version = "TLSv1.3"
    mutual: bool = True  # the client shows a certificate, too
    generation: Generation = Generation.ISO15118_20  # of the certificates
    marks_downgrade: bool = False  # a server's random shows that it could do a later version (RFC 8446, 4.1.3)
    ciphers: tuple[str, ...]
    groups: tuple[str, ...]
    signature_algorithms: tuple[str, ...]
    revocation: Fail  # policy of a client when the server's revocation status is unknown
    interop: bool  # certificates are checked by the relaxed profile

    def with_curves(self, curves: Sequence[Curve]) -> "TlsProfile":
        """Return the profile with the named curve sets of the standard, in this order (V2G20-2320). A profile's
        other offers follow them."""
        sets = [_CURVES[each] for each in curves]
        groups, algorithms = zip(*_CURVES.values(), strict=True)
        return msgspec.structs.replace(
            self,
            groups=(*(each for each, _ in sets), *(each for each in self.groups if each not in groups)),
            signature_algorithms=(
                *(each for _, each in sets),
                *(each for each in self.signature_algorithms if each not in algorithms),
            ),
        )


_CURVES: Final[dict[Curve, tuple[str, str]]] = {
    "secp521r1": ("secp521r1", "ecdsa_secp521r1_sha512"),
    "x448": ("X448", "ed448"),
}
"""Curve set -> its group and its signature algorithm (Tables 7 and 8)."""


ISO15118_20: Final = TlsProfile(
    name="iso15118-20",
    ciphers=("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),  # Table 6, V2G20-2458, -2459
    groups=("secp521r1", "X448"),  # Table 7, V2G20-2460, -2461
    signature_algorithms=("ecdsa_secp521r1_sha512", "ed448"),  # Table 8, V2G20-1667, -1668
    revocation=Fail.HARD,  # V2G20-1240, -2388, -2409
    interop=False,
)

INTEROP: Final = TlsProfile(
    name="interop",
    ciphers=(*ISO15118_20.ciphers, "TLS_AES_128_GCM_SHA256"),
    groups=(*ISO15118_20.groups, "prime256v1"),
    signature_algorithms=(*ISO15118_20.signature_algorithms, "ecdsa_secp256r1_sha256"),
    revocation=Fail.SOFT,
    interop=True,
)
"""For peers with -20 but the certificates and curves of -2."""

ISO15118_2: Final = TlsProfile(
    name="iso15118-2",
    version="TLSv1.2",
    mutual=False,
    generation=Generation.ISO15118_2,
    ciphers=("ECDHE-ECDSA-AES128-SHA256",),
    groups=("prime256v1",),
    signature_algorithms=("ecdsa_secp256r1_sha256",),
    revocation=Fail.HARD,
    interop=False,
)
"""TLS of ISO 15118-2. Its second cipher suite, with static ECDH, is gone from OpenSSL."""

PROFILES: Final = {profile.name: profile for profile in (ISO15118_20, INTEROP)}


class TlsOffer(msgspec.Struct, frozen=True):
    """What a library is set to, for one profile or two; versions by their numbers."""

    lowest: int
    highest: int
    ciphersuites: tuple[str, ...]  # of TLS 1.3
    ciphers: tuple[str, ...]  # of TLS 1.2
    groups: tuple[str, ...]
    signature_algorithms: tuple[str, ...]


_NUMBERS: Final[dict[Version, int]] = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def offer_of(profiles: Sequence[TlsProfile]) -> TlsOffer:
    """Return the offer of all `profiles`, the first one preferred."""
    versions = [_NUMBERS[each.version] for each in profiles]
    highest = _NUMBERS["TLSv1.3"] if any(each.marks_downgrade for each in profiles) else max(versions)
    return TlsOffer(
        min(versions),
        highest,
        tuple(cipher for each in profiles if each.version == "TLSv1.3" for cipher in each.ciphers),
        tuple(cipher for each in profiles if each.version == "TLSv1.2" for cipher in each.ciphers),
        tuple(dict.fromkeys(group for each in profiles for group in each.groups)),
        tuple(dict.fromkeys(algorithm for each in profiles for algorithm in each.signature_algorithms)),
    )


Staple = bytes | Callable[[], bytes] | None
"""A server's DER OCSP answer, or a function that returns the current one (b"" for none), as it is renewed weekly."""


class TlsIdentity(msgspec.Struct, frozen=True):
    """One own chain, with its key and, on a server, its OCSP answer."""

    credentials: Credentials
    staple: Staple = None

    def answer(self) -> bytes:
        """Return the OCSP answer to staple, or b"". Raises OSError when it cannot be read."""
        return (self.staple() if callable(self.staple) else self.staple) or b""


def utc_now() -> datetime:
    """Return the current time, for verification unless the caller has another clock."""
    return datetime.now(UTC)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Own identities and trust anchors, for one or many connections."""

    server: bool
    identities: tuple[TlsIdentity, ...] | Callable[[], tuple[TlsIdentity, ...]]
    """Own identities, best first; a callable is called at every handshake, so that renewed chains come into use."""
    anchors: tuple[bytes, ...] | Callable[[], tuple[bytes, ...]]
    """DER roots for the peer's chain; also the certificate_authorities that are sent. A callable is called
    at every handshake."""
    peer_role: Role
    crosses: tuple[bytes, ...] = ()
    """DER cross certificates, over which the peer's chain may lead to one of the anchors."""
    profile: TlsProfile = ISO15118_20
    older: TlsProfile | None = None
    """A profile of TLS 1.2 besides one of 1.3: a server uses it for clients that stop there, a client offers both."""
    falls_back: bool = False
    """Whether a server uses `older` also for a client that offers TLS 1.3 without the algorithms of `profile`."""
    backend: Backend = "auto"
    ask_responder: bool = False
    """On a client: a missing answer does not end the handshake. The caller asks the responder before it uses
    the connection (V2G20-2411)."""
    crls: Callable[[], Sequence[RevocationList]] = tuple
    """Returns the revocation lists for the peer's chain."""
    key_log: Callable[[bytes], None] | None = None
    """Called with each line of the NSS key log, with which the connection can be decrypted."""
    record: "Callable[[TlsChannel, asyncio.StreamWriter], TlsChannel] | None" = None
    """Wraps the channel of each new connection with a recorder: see v2g.io.capture.tls_recorder."""
    now: Callable[[], datetime] = utc_now

    @property
    def profiles(self) -> tuple[TlsProfile, ...]:
        """`profile`, and `older` if there is one."""
        return (self.profile,) if self.older is None else (self.profile, self.older)

    @property
    def offered(self) -> tuple[TlsProfile, ...]:
        """The profiles of one connection: a server has settled on `profile`."""
        return (self.profile,) if self.server else self.profiles

    def trusted(self) -> tuple[bytes, ...]:
        """Return the present roots."""
        return self.anchors() if callable(self.anchors) else self.anchors

    def current(self) -> tuple[TlsIdentity, ...]:
        """Return the present identities."""
        return self.identities() if callable(self.identities) else self.identities


class TlsChannel(Protocol):
    """One connection in memory. `feed` received bytes, `take` bytes to send; both around every other call.

    No resumption, no renegotiation, no early data; the peer's certificate is always required, except a client's in
    TLS 1.2. A backend passes the peer's messages to `v2g.io.tls.peer_verifier.PeerVerdict`, which verifies the chain
    and names failures, and lets `v2g.io.tls.hello.choose` choose among the own chains.
    """

    @property
    def peer(self) -> VerifiedChain | None:
        """The peer's verified chain; after `handshake` returned True None only for a client in TLS 1.2."""

    @property
    def ocsp_responses(self) -> tuple[bytes, ...]:
        """The verified stapled answer for each certificate of the peer (client), or b"" without one."""

    @property
    def unproven(self) -> str:
        """Why the server's revocation status is unknown although the handshake succeeded: a RevocationReason, or ""."""

    @property
    def shown(self) -> Credentials | None:
        """The own chain that was sent, or would be sent first; None for a client that has none to send."""

    @property
    def cipher(self) -> str:
        """The negotiated cipher suite."""

    @property
    def group(self) -> str:
        """The negotiated group, in lower case: secp521r1, x448, secp256r1."""

    @property
    def version(self) -> str:
        """The negotiated protocol version: TLSv1.2 or TLSv1.3."""

    def handshake(self) -> bool:
        """Proceed as far as the received bytes allow; True when complete. Raises TlsError."""

    def feed(self, data: bytes) -> None:
        """Feed bytes from the network."""

    def take(self) -> bytes:
        """Return the bytes to send, possibly none; also the alert after a TlsError."""

    def read(self, n: int) -> bytes | None:
        """Return up to `n` bytes; b"" after the peer's close_notify; None when more must be fed. Raises TlsError."""

    def write(self, data: bytes) -> None:
        """Encrypt `data`. Raises TlsError."""

    def shutdown(self) -> None:
        """Send close_notify, if the connection still allows it."""


Opener = Literal["bundled", "native"]
"""Resolution of `auto`."""

BACKENDS: Final[dict[Opener, tuple[str, str]]] = {
    "bundled": ("v2g.io.tls.bundled", "open_bundled"),
    "native": ("v2g.io.tls.native", "open_native"),
}
"""Backend name -> module and function that opens a channel."""


def backend_of(endpoint: Endpoint) -> Opener:
    """Return the backend for channels of `endpoint`: keys in a token or TPM need the native one."""
    if any(not isinstance(each.credentials.key, SoftwareKey) for each in endpoint.current()):
        return "native"
    if endpoint.backend != "auto":
        return endpoint.backend
    return "native" if _system_has_openssl() else "bundled"


@functools.cache  # without libssl each call would take 120 ms
def _system_has_openssl() -> bool:
    try:
        importlib.import_module("v2g.io.tls.openssl").load()
    except (ConfigError, ImportError):  # no libssl, or no cffi to reach it with
        return False
    return True


def open_channel(endpoint: Endpoint) -> TlsChannel:
    """Return a new connection of `endpoint`, before its first byte. A server's has `profile`, not `older`: see
    `v2g.io.tls.hello`.

    Raises TlsError(own_certificate_unsuitable) when the profile has no signature algorithm for one of our keys,
    KeyAccessError when the backend cannot use a key, and ConfigError when this machine lacks the backend.
    """
    module, function = BACKENDS[backend_of(endpoint)]
    opener: Callable[[Endpoint], TlsChannel] = getattr(importlib.import_module(module), function)
    return opener(endpoint)


def record_channel(endpoint: Endpoint, channel: TlsChannel, writer: asyncio.StreamWriter) -> TlsChannel:
    """Return `channel`, wrapped by a recorder if `endpoint` has one."""
    return channel if endpoint.record is None else endpoint.record(channel, writer)
