"""What must hold for any handshake message: what it says, written again and read again, or FrameError."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.io.tls.hello import certificate, certificate_2, certificate_request, client_hello, server_hello, status
from v2g.errors import FrameError, TlsError
from v2g.io.tls.endpoint import ISO15118_2, ISO15118_20
from v2g.io.tls.hello import (
    VERSIONS,
    ClientHello,
    HelloEntry,
    PeerPreferences,
    RootForm,
    TrustedRoot,
    first_message,
    read_certificates,
    read_client_hello,
    read_preferences,
    read_status,
    read_version,
    select,
)


def hello(data: bytes) -> None:
    """Any handshake message."""
    wishes: PeerPreferences | None = _read(read_preferences, data)
    if wishes is not None:
        for write in (client_hello, certificate_request):
            assert read_preferences(write(wishes.authorities, wishes.signature_algorithms, wishes.roots)) == wishes
    entries: tuple[HelloEntry, ...] | None = _read(read_certificates, data)
    if entries is not None:
        assert read_certificates(certificate(entries)) == entries
    shown: tuple[HelloEntry, ...] | None = _read(lambda each: read_certificates(each, "TLSv1.2"), data)
    if shown is not None:
        assert read_certificates(certificate_2([each.der for each in shown]), "TLSv1.2") == shown
    answer: bytes | None = _read(read_status, data)
    if answer:
        assert read_status(status(answer)) == answer
    offered: ClientHello | None = _read(read_client_hello, data)
    if offered is not None:
        _select(offered)
    for read in (read_version, first_message):
        _read(read, data)


def _select(offered: ClientHello) -> None:
    """Whatever is offered gets a profile or a named refusal."""
    with suppress(TlsError):
        assert select(offered, (ISO15118_20, ISO15118_2)).version in {VERSIONS.get(each) for each in offered.versions}


def _read(read: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return read(data)
    except FrameError:
        return None


def hello_seeds() -> list[bytes]:
    """Return one message of each kind."""
    names, codes = (b"0\x10a name of a root", b"0\x00"), (0x0603, 0x0808)
    shown = (HelloEntry(b"a leaf", b"its OCSP answer"), HelloEntry(b"a sub-CA"))
    roots = (TrustedRoot(RootForm.CERT_SHA1, bytes(20)), TrustedRoot(RootForm.X509_NAME, b"0"))
    of_2 = [client_hello((), codes, roots), certificate_2([b"a leaf", b"a sub-CA"]), status(b"answer"), server_hello()]
    whole = [client_hello(names, codes), certificate_request(names, codes), client_hello((), ()), certificate(shown)]
    return [*whole, *of_2, b"\x16\x03\x01" + len(of_2[0]).to_bytes(2, "big") + of_2[0]]
