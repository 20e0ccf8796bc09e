"""The peer's statements about certificates in the handshake, and the choice of the own chain: bytes in, choice out.

A vehicle lists its trust anchors in ClientHello (V2G20-1006), a charger in CertificateRequest
(V2G20-2400, -2401); both send theirs in Certificate, with an OCSP answer for each (V2G20-2388). The TLS library
reassembles and decrypts the messages; this module parses the relevant parts, bounded and without state.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from v2g.errors import FrameError
from v2g.io.tls.endpoint import TlsIdentity
from v2g.pki.certificates import key_kind, load_certificate
from v2g.pki.profiles import KeyKind

T = TypeVar("T")

CLIENT_HELLO: Final = 1
CERTIFICATE: Final = 11
CERTIFICATE_REQUEST: Final = 13
"""Handshake message types (RFC 8446, 4) that are parsed here."""

MAX_MESSAGE_BYTES: Final = 128 * 1024
MAX_AUTHORITIES: Final = 256
MAX_CERTIFICATES: Final = 16
"""Limit of names, and certificates, in a message."""

_STATUS_REQUEST: Final = 5
_SIGNATURE_ALGORITHMS: Final = 13
_CERTIFICATE_AUTHORITIES: Final = 47
_SCHEMES: Final = {KeyKind.SECP521R1: 0x0603, KeyKind.ED448: 0x0808, KeyKind.SECP256R1: 0x0403}
"""SignatureScheme (RFC 8446, 4.2.3) of each kind of key."""


class PeerPreferences(msgspec.Struct, frozen=True):
    """The peer's preferences. An empty tuple stands for none."""

    authorities: tuple[bytes, ...] = ()
    """DER names of roots, from certificate_authorities."""
    signature_algorithms: tuple[int, ...] = ()
    """SignatureScheme codes, best first."""


class Entry(msgspec.Struct, frozen=True):
    """One certificate of a peer (CertificateEntry)."""

    der: bytes
    staple: bytes = b""
    """Its OCSP answer, DER, or b""."""


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
    return PeerPreferences(authorities, algorithms)


def read_certificates(message: bytes) -> tuple[Entry, ...]:
    """Return the entries of a complete Certificate message of TLS 1.3, with its 4-byte header, in order.

    Raises FrameError for any other or malformed message.
    """
    kind, body = _open(message)
    if kind != CERTIFICATE:
        raise FrameError(f"handshake message of type {kind}")
    body.vector(1)  # certificate_request_context
    shown = _Reader(body.vector(3))
    body.end()
    entries: list[Entry] = []
    while shown.left:
        if len(entries) == MAX_CERTIFICATES:
            raise FrameError(f"more than {MAX_CERTIFICATES} certificates")
        der = shown.vector(3)
        status = _extensions(shown).get(_STATUS_REQUEST)
        entries.append(Entry(der, _ocsp_response(status) if status is not None else b""))
    return tuple(entries)


def choose(identities: Sequence[TlsIdentity], wishes: PeerPreferences) -> TlsIdentity:
    """Return the first of `identities` (at least one) that the peer can verify and trusts.

    Without certificate_authorities the choice is free (V2G20-2378): the first with an acceptable signature. If
    none matches, the first is still sent, so that both sides see the reason.
    """
    usable = [each for each in identities if _signs_with(each, wishes.signature_algorithms)] or list(identities)
    trusted = [each for each in usable if _stands_under(each, wishes.authorities)]  # V2G20-1007, -2379
    return (trusted or usable)[0]


def _signs_with(identity: TlsIdentity, algorithms: Sequence[int]) -> bool:
    kind = key_kind(load_certificate(identity.credentials.leaf))
    return not algorithms or (kind is not None and _SCHEMES.get(kind) in algorithms)


def _stands_under(identity: TlsIdentity, authorities: Sequence[bytes]) -> bool:
    return any(load_certificate(each).issuer.public_bytes() in authorities for each in identity.credentials.chain)


def _open(message: bytes) -> "tuple[int, _Reader]":
    """Return the type of a handshake message and its body."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise FrameError(f"handshake message of {len(message)} bytes")
    reader = _Reader(message)
    kind, body = reader.number(1), reader.vector(3)
    reader.end()
    return kind, _Reader(body)


def _extensions(reader: "_Reader") -> dict[int, "_Reader"]:
    extensions = _Reader(reader.vector(2))
    found: dict[int, _Reader] = {}
    while extensions.left:
        number = extensions.number(2)
        found[number] = _Reader(extensions.vector(2))
    return found


def _list(value: "_Reader | None", most: int, item: "Callable[[_Reader], T]") -> tuple[T, ...]:
    """Return the items of an extension that is a list with a length of two bytes."""
    if value is None:
        return ()
    items = _Reader(value.vector(2))
    value.end()
    found: list[T] = []
    while items.left:
        if len(found) == most:
            raise FrameError(f"a list of more than {most} items")
        found.append(item(items))
    return tuple(found)


def _ocsp_response(status: "_Reader") -> bytes:
    """Return the answer in a CertificateStatus (RFC 6066, 8); b"" for a kind that is not OCSP."""
    if status.number(1) != 1:
        return b""
    response = status.vector(3)
    status.end()
    return response


class _Reader:
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
