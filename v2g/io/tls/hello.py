"""The peer's statements about certificates in the handshake, and the choice of the own chain: bytes in, choice out.

A vehicle lists its trust anchors in ClientHello (V2G20-1006, in TLS 1.2 V2G2-651), a charger in CertificateRequest
(V2G20-2400, -2401); both send theirs in Certificate, with an OCSP answer for each (V2G20-2388). The TLS library
reassembles and decrypts the messages; this module parses the relevant parts, bounded and without state.
"""

import enum
import hashlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
from cryptography import x509
from msgspec.structs import replace

from v2g.errors import FrameError, TlsError
from v2g.io.tls.endpoint import Endpoint, TlsChannel, TlsIdentity, TlsProfile, Version, open_channel
from v2g.pki.certificates import key_kind, load_certificate
from v2g.pki.paths import signature_matches

T = TypeVar("T")

CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
CERTIFICATE: Final = 11
CERTIFICATE_REQUEST: Final = 13
CERTIFICATE_STATUS: Final = 22
"""Handshake message types (RFC 8446, 4; the last one of TLS 1.2: RFC 6066, 8) that are parsed here."""

VERSIONS: Final[dict[int, Version]] = {0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
"""Version numbers of the wire (RFC 8446, 4.2.1)."""

MAX_MESSAGE_BYTES: Final = 128 * 1024
MAX_AUTHORITIES: Final = 256
MAX_CERTIFICATES: Final = 16
"""Limit of names, and certificates, in a message."""

TRUSTED_CA_KEYS: Final = 3
"""Number of the extension (RFC 6066, 6)."""

_HANDSHAKE_RECORD: Final = 22  # ContentType (RFC 8446, 5.1)
_STATUS_REQUEST: Final = 5
_SUPPORTED_GROUPS: Final = 10
_SIGNATURE_ALGORITHMS: Final = 13
_SUPPORTED_VERSIONS: Final = 43
_CERTIFICATE_AUTHORITIES: Final = 47
_SCHEMES: Final = {"ecdsa_secp521r1_sha512": 0x0603, "ed448": 0x0808, "ecdsa_secp256r1_sha256": 0x0403}
"""Numbers of signature algorithms (SignatureScheme of RFC 8446, 4.2.3); their names contain the kind of key."""


class RootForm(enum.IntEnum):
    """How an entry of trusted_ca_keys identifies a root (IdentifierType)."""

    PRE_AGREED = 0
    KEY_SHA1 = 1
    X509_NAME = 2
    CERT_SHA1 = 3


class TrustedRoot(msgspec.Struct, frozen=True):
    """A root in trusted_ca_keys; `value` is a SHA-1 hash or a DER name, empty for PRE_AGREED."""

    form: RootForm
    value: bytes = b""


class ClientHello(msgspec.Struct, frozen=True):
    """What a client offers, by the numbers of the wire, best first."""

    versions: tuple[int, ...]
    ciphers: tuple[int, ...]
    groups: tuple[int, ...] = ()
    algorithms: tuple[int, ...] = ()


class PeerPreferences(msgspec.Struct, frozen=True):
    """The peer's preferences. An empty tuple stands for none."""

    authorities: tuple[bytes, ...] = ()
    """DER names of roots, from certificate_authorities."""
    signature_algorithms: tuple[int, ...] = ()
    """SignatureScheme codes, best first."""
    roots: tuple[TrustedRoot, ...] = ()
    """Roots from trusted_ca_keys, which only clients of TLS 1.2 send."""


class HelloEntry(msgspec.Struct, frozen=True):
    """One certificate of a peer (CertificateEntry)."""

    der: bytes
    staple: bytes = b""
    """Its OCSP answer, DER, or b""."""


def first_message(data: bytes) -> bytes | None:
    """Return the first handshake message in TLS records; None while it is incomplete.

    Raises FrameError for anything but records of a handshake.
    """
    reader, message = _HelloReader(data), bytearray()
    while reader.left:
        if reader.number(1) != _HANDSHAKE_RECORD:
            raise FrameError("not a record of a TLS handshake")
        if reader.left < 4:
            return None
        reader.number(2)  # legacy_record_version
        size = reader.number(2)
        message += reader.take(min(size, reader.left))
        if len(message) >= 4 and len(message) >= (whole := 4 + int.from_bytes(message[1:4], "big")):
            return bytes(message[:whole])
        if len(message) > MAX_MESSAGE_BYTES or size == 0:
            raise FrameError("not a handshake message")
    return None


def read_client_hello(message: bytes) -> ClientHello:
    """Return what a complete ClientHello offers, with its 4-byte header.

    Raises FrameError for any other or malformed message.
    """
    kind, body = _open(message)
    if kind != CLIENT_HELLO:
        raise FrameError(f"handshake message of type {kind}")
    highest = body.number(2)  # legacy_version: the highest one where there is no list
    body.take(32)  # random
    body.vector(1)  # legacy_session_id
    ciphers = _numbers(body.vector(2))
    body.vector(1)  # legacy_compression_methods
    extensions = _extensions(body) if body.left else {}
    body.end()
    listed = extensions.get(_SUPPORTED_VERSIONS)
    if listed is None:
        versions = tuple(number for number in VERSIONS if number <= min(highest, 0x0303))
    else:
        versions = _numbers(listed.vector(1))
        listed.end()
    groups, algorithms = (
        _list(extensions.get(each), MAX_MESSAGE_BYTES, lambda codes: codes.number(2))
        for each in (_SUPPORTED_GROUPS, _SIGNATURE_ALGORITHMS)
    )
    return ClientHello(versions, ciphers, groups, algorithms)


def read_version(message: bytes) -> int:
    """Return the version that a complete ServerHello chooses. Raises FrameError for any other or malformed message."""
    kind, body = _open(message)
    if kind != SERVER_HELLO:
        raise FrameError(f"handshake message of type {kind}")
    version = body.number(2)
    body.take(32)  # random
    body.vector(1)  # legacy_session_id_echo
    body.take(2 + 1)  # cipher suite, compression method
    chosen = _extensions(body).get(_SUPPORTED_VERSIONS) if body.left else None
    return version if chosen is None else chosen.number(2)


def read_preferences(message: bytes) -> PeerPreferences:
    """Return the preferences in a complete handshake message, ClientHello or CertificateRequest with its 4-byte header.

    Raises FrameError for any other or malformed message.
    """
    kind, body = _open(message)
    if kind == CLIENT_HELLO:
        body.take(2 + 32)  # legacy_version, random
        body.vector(1)  # legacy_session_id
        body.vector(2)  # cipher_suites
        body.vector(1)  # legacy_compression_methods
    elif kind == CERTIFICATE_REQUEST:
        body.vector(1)  # certificate_request_context
    else:
        raise FrameError(f"handshake message of type {kind}")
    extensions = _extensions(body) if body.left else {}  # TLS 1.2 clients may have none
    body.end()
    authorities = _list(extensions.get(_CERTIFICATE_AUTHORITIES), MAX_AUTHORITIES, lambda names: names.vector(2))
    algorithms = _list(extensions.get(_SIGNATURE_ALGORITHMS), MAX_MESSAGE_BYTES, lambda codes: codes.number(2))
    return PeerPreferences(authorities, algorithms, _list(extensions.get(TRUSTED_CA_KEYS), MAX_AUTHORITIES, _root))


def trusted_ca_keys(roots: Sequence[bytes]) -> bytes:
    """Return the extension's content that lists these roots (DER) by the hashes of their certificates (V2G2-651)."""
    entries = b"".join(bytes((RootForm.CERT_SHA1,)) + hashlib.sha1(each).digest() for each in roots)  # noqa: S324
    return len(entries).to_bytes(2, "big") + entries


def read_certificates(message: bytes, version: Version = "TLSv1.3") -> tuple[HelloEntry, ...]:
    """Return the entries of a complete Certificate message, with its 4-byte header, in order.

    In TLS 1.2 the OCSP answer is a message of its own: see `read_status`. Raises FrameError for any other or
    malformed message.
    """
    kind, body = _open(message)
    if kind != CERTIFICATE:
        raise FrameError(f"handshake message of type {kind}")
    if version == "TLSv1.3":
        body.vector(1)  # certificate_request_context
    shown = _HelloReader(body.vector(3))
    body.end()
    entries: list[HelloEntry] = []
    while shown.left:
        if len(entries) == MAX_CERTIFICATES:
            raise FrameError(f"more than {MAX_CERTIFICATES} certificates")
        der = shown.vector(3)
        status = _extensions(shown).get(_STATUS_REQUEST) if version == "TLSv1.3" else None
        entries.append(HelloEntry(der, _ocsp_response(status) if status is not None else b""))
    return tuple(entries)


def read_status(message: bytes) -> bytes:
    """Return the OCSP answer of a complete CertificateStatus message of TLS 1.2, with its 4-byte header; b"" for none.

    Raises FrameError for any other or malformed message.
    """
    kind, body = _open(message)
    if kind != CERTIFICATE_STATUS:
        raise FrameError(f"handshake message of type {kind}")
    return _ocsp_response(body)


def choose(identities: Sequence[TlsIdentity], wishes: PeerPreferences, roots: Sequence[bytes] = ()) -> TlsIdentity:
    """Return the first of `identities` (at least one) that the peer can verify and trusts.

    `roots` (DER) are those among which the ones of trusted_ca_keys are found. Without a list of roots the choice is
    free (V2G20-2378): the first with an acceptable signature. If none matches, the first is still sent, so that both
    sides see the reason; in TLS 1.2 the standard wants that (V2G2-923).
    """
    usable = [each for each in identities if _signs_with(each, wishes.signature_algorithms)] or list(identities)
    trusted = [each for each in usable if _stands_under(each, wishes.authorities)]  # V2G20-1007, -2379
    trusted = trusted or [each for each in usable if _is_trusted(each, wishes.roots, roots)]  # V2G2-871
    return (trusted or usable)[0]


def _signs_with(identity: TlsIdentity, algorithms: Sequence[int]) -> bool:
    kind = key_kind(load_certificate(identity.credentials.leaf))
    return not algorithms or any(_SCHEMES[name] in algorithms for name in _SCHEMES if kind and kind.value in name)


def _stands_under(identity: TlsIdentity, authorities: Sequence[bytes]) -> bool:
    return any(load_certificate(each).issuer.public_bytes() in authorities for each in identity.credentials.chain)


def _is_trusted(identity: TlsIdentity, trusted: Sequence[TrustedRoot], roots: Sequence[bytes]) -> bool:
    """Return whether a chain ends at one of the roots that trusted_ca_keys identifies."""
    if not trusted:
        return False
    top = load_certificate(identity.credentials.chain[-1])
    above = [root for root in roots if signature_matches(load_certificate(root), top)]
    forms = {TrustedRoot(RootForm.X509_NAME, top.issuer.public_bytes())}
    for root in above:
        key = x509.SubjectKeyIdentifier.from_public_key(load_certificate(root).public_key()).digest
        forms |= {
            TrustedRoot(RootForm.CERT_SHA1, hashlib.sha1(root).digest()),  # noqa: S324 - an identifier
            TrustedRoot(RootForm.KEY_SHA1, key),
        }
    return not forms.isdisjoint(trusted)


def _root(entries: "_HelloReader") -> TrustedRoot:
    number = entries.number(1)
    try:
        form = RootForm(number)
    except ValueError:
        raise FrameError(f"trusted_ca_keys has an entry of type {number}") from None
    match form:
        case RootForm.PRE_AGREED:
            return TrustedRoot(form)
        case RootForm.X509_NAME:
            return TrustedRoot(form, entries.vector(2))
        case _:
            return TrustedRoot(form, entries.take(20))


def _numbers(data: bytes) -> tuple[int, ...]:
    """Return the numbers of two bytes in `data`. Raises FrameError for an odd length."""
    reader = _HelloReader(data)
    found: list[int] = []
    while reader.left:
        found.append(reader.number(2))
    return tuple(found)


def _open(message: bytes) -> "tuple[int, _HelloReader]":
    """Return the type of a handshake message and its body."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise FrameError(f"handshake message of {len(message)} bytes")
    reader = _HelloReader(message)
    kind, body = reader.number(1), reader.vector(3)
    reader.end()
    return kind, _HelloReader(body)


def _extensions(reader: "_HelloReader") -> dict[int, "_HelloReader"]:
    extensions = _HelloReader(reader.vector(2))
    found: dict[int, _HelloReader] = {}
    while extensions.left:
        number = extensions.number(2)
        found[number] = _HelloReader(extensions.vector(2))
    return found


def _list(value: "_HelloReader | None", most: int, item: "Callable[[_HelloReader], T]") -> tuple[T, ...]:
    """Return the items of an extension that is a list with a length of two bytes."""
    if value is None:
        return ()
    items = _HelloReader(value.vector(2))
    value.end()
    found: list[T] = []
    while items.left:
        if len(found) == most:
            raise FrameError(f"a list of more than {most} items")
        found.append(item(items))
    return tuple(found)


def _ocsp_response(status: "_HelloReader") -> bytes:
    """Return the answer in a CertificateStatus (RFC 6066, 8); b"" for a kind that is not OCSP."""
    if status.number(1) != 1:
        return b""
    response = status.vector(3)
    status.end()
    return response


class _HelloReader:
    """Parses big-endian numbers and length-prefixed vectors of a message."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise FrameError(f"handshake message ends {size - self.left} bytes early")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Return the vector after a length of `size` bytes."""
        return self.take(self.number(size))

    def end(self) -> None:
        if self.left:
            raise FrameError(f"handshake message has {self.left} bytes too many")


GROUPS: Final = {"prime256v1": 23, "secp384r1": 24, "secp521r1": 25, "X25519": 29, "X448": 30}
"""Numbers of groups (RFC 8446, 4.2.7)."""

CIPHERS: Final = {
    "ECDHE-ECDSA-AES128-SHA256": 0xC023,
    "TLS_AES_128_GCM_SHA256": 0x1301,
    "TLS_AES_256_GCM_SHA384": 0x1302,
    "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
}
"""Numbers of the cipher suites in the profiles (RFC 5289, 3.1; RFC 8446, B.4)."""

STATIC_ECDH: Final = 0xC025
"""TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA256, the second suite of ISO 15118-2, which OpenSSL has no longer."""


def select(hello: ClientHello, profiles: Sequence[TlsProfile], *, falls_back: bool = False) -> TlsProfile:
    """Return the one of `profiles`, the newest first, that a client gets.

    With `falls_back` TLS 1.2 is also for a client whose TLS 1.3 has nothing in common with its profile. Raises TlsError
    when the client offers the version, the group, the cipher suite or the signature algorithm of none.
    """
    offered = _offered(hello)
    known = {profile.version: profile for profile in profiles}
    newer, older = known.get("TLSv1.3"), known.get("TLSv1.2")
    if newer is not None and "TLSv1.3" in offered:
        wider = (
            'security_profile = "interop" accepts more, such as secp256r1'
            if older is None
            else "tls.falls_back lets such peers use ISO 15118-2"
        )
        error = _lacks(hello, newer, f"offer one of these; {wider}")
        if error is None:
            return newer
        if older is None or not falls_back or "TLSv1.2" not in offered:
            raise error
    elif older is not None and "TLSv1.2" in offered:
        older = replace(older, marks_downgrade=newer is not None)
    else:
        served = [*known]
        what = " and ".join(sorted(offered)) or "a version before TLS 1.2"
        hint = "offer " + " or ".join(served)
        if served == ["TLSv1.3"] and "TLSv1.2" in offered:
            hint = 'ISO 15118-20 needs TLS 1.3; for vehicles of ISO 15118-2 add "2" to charger.editions'
        raise TlsError(
            f"the peer offers {what}, we support {' and '.join(served)}", reason="protocol_version", hint=hint
        )
    if error := _lacks(hello, older, "offer one of these"):
        raise error
    return older


def _offered(hello: ClientHello) -> set[Version]:
    return {VERSIONS[number] for number in hello.versions if number in VERSIONS}


def _lacks(hello: ClientHello, profile: TlsProfile, hint: str) -> TlsError | None:
    """Return what a client that offers the version of a profile lacks of it. Without a list of groups or signature
    algorithms it has none: OpenSSL then takes no curve, and what RFC 5246 assumes is SHA-1."""
    for what, names, numbers, offered in (
        ("cipher", profile.ciphers, CIPHERS, hello.ciphers),
        ("group", profile.groups, GROUPS, hello.groups),
        ("signature_algorithm", profile.signature_algorithms, _SCHEMES, hello.algorithms),
    ):
        if any(numbers[each] in offered for each in names):
            continue
        if what == "cipher" and profile.version == "TLSv1.2" and STATIC_ECDH in offered:
            return TlsError(
                "the peer offers static ECDH only (TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA256), which OpenSSL has removed",
                reason="static_ecdh_only",
                hint="the peer must offer TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, too",
            )
        version, kind = profile.version.replace("v", " "), what.replace("_", " ")
        return TlsError(
            f"the peer offers {version} without a {kind} of {profile.name}: {', '.join(names)}",
            reason=f"no_common_{what}",
            hint=hint,
        )
    return None


def open_for(endpoint: Endpoint, received: bytes) -> TlsChannel | None:
    """Return a server's channel by the bytes that have been received, None until they suffice.

    Raises as `open_channel`. A ClientHello that gets no profile is left to a channel that refuses it by name.
    """
    if endpoint.older is None:
        return open_channel(endpoint)
    try:
        message = first_message(received)
        if message is None:
            return None
        hello = read_client_hello(message)
        profile = select(hello, endpoint.profiles, falls_back=endpoint.falls_back)
    except FrameError:
        return open_channel(endpoint)
    except TlsError as error:
        if error.reason == "protocol_version" or "TLSv1.3" in _offered(hello):
            return open_channel(endpoint)
        profile = endpoint.older
    return open_channel(replace(endpoint, profile=profile, older=None))
