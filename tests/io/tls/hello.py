"""What several tests of hello use."""

import struct
from collections.abc import Sequence

from v2g.io.tls.hello import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CERTIFICATE_STATUS,
    CLIENT_HELLO,
    SERVER_HELLO,
    HelloEntry,
    RootForm,
    TrustedRoot,
)


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(number: int, data: bytes) -> bytes:
    return struct.pack(">H", number) + vector(2, data)


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + vector(3, body)


def extensions(authorities: Sequence[bytes], algorithms: Sequence[int], roots: Sequence[TrustedRoot] = ()) -> bytes:
    found = extension(0xFF00, b"of a private use")
    if algorithms:
        found += extension(13, vector(2, struct.pack(f">{len(algorithms)}H", *algorithms)))
    if authorities:
        found += extension(47, vector(2, b"".join(vector(2, each) for each in authorities)))
    if roots:
        found += extension(3, vector(2, b"".join(map(trusted_root, roots))))
    return vector(2, found)


def trusted_root(root: TrustedRoot) -> bytes:
    value = vector(2, root.value) if root.form is RootForm.X509_NAME else root.value
    return bytes([root.form]) + value


def client_hello(authorities: Sequence[bytes], algorithms: Sequence[int], roots: Sequence[TrustedRoot] = ()) -> bytes:
    head = b"\x03\x03" + bytes(32) + vector(1, bytes(32)) + vector(2, b"\x13\x02\x13\x03") + vector(1, b"\0")
    return message(CLIENT_HELLO, head + extensions(authorities, algorithms, roots))


def certificate_request(
    authorities: Sequence[bytes], algorithms: Sequence[int], roots: Sequence[TrustedRoot] = ()
) -> bytes:
    return message(CERTIFICATE_REQUEST, vector(1, b"") + extensions(authorities, algorithms, roots))


def certificate(entries: Sequence[HelloEntry]) -> bytes:
    def one(entry: HelloEntry) -> bytes:
        status = extension(5, b"\x01" + vector(3, entry.staple)) if entry.staple else b""
        return vector(3, entry.der) + vector(2, status)

    return message(CERTIFICATE, vector(1, b"") + vector(3, b"".join(map(one, entries))))


def certificate_2(chain: Sequence[bytes]) -> bytes:
    """Return a Certificate message of TLS 1.2."""
    return message(CERTIFICATE, vector(3, b"".join(vector(3, each) for each in chain)))


def status(answer: bytes) -> bytes:
    """Return a CertificateStatus message of TLS 1.2."""
    return message(CERTIFICATE_STATUS, b"\x01" + vector(3, answer))


def server_hello(chosen: int | None = None) -> bytes:
    """Return a ServerHello, with the extension of TLS 1.3 if a version is given."""
    body = b"\x03\x03" + bytes(32) + vector(1, b"") + b"\xc0\x23\x00"
    more = b"" if chosen is None else vector(2, extension(43, struct.pack(">H", chosen)))
    return message(SERVER_HELLO, body + more)
