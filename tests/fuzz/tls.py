"""What must hold for any handshake message: what it says, written again and read again, or FrameError."""

from collections.abc import Callable
from typing import Any

from tests.io.tls.test_hello import certificate, certificate_request, client_hello
from v2g.errors import FrameError
from v2g.io.tls.hello import Entry, PeerPreferences, read_certificates, read_preferences


def hello(data: bytes) -> None:
    """Any handshake message."""
    wishes: PeerPreferences | None = _read(read_preferences, data)
    if wishes is not None:
        for write in (client_hello, certificate_request):
            assert read_preferences(write(wishes.authorities, wishes.signature_algorithms)) == wishes
    entries: tuple[Entry, ...] | None = _read(read_certificates, data)
    if entries is not None:
        assert read_certificates(certificate(entries)) == entries


def _read(read: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return read(data)
    except FrameError:
        return None


def hello_seeds() -> list[bytes]:
    """Return one message of each kind."""
    names, codes = (b"0\x10a name of a root", b"0\x00"), (0x0603, 0x0808)
    shown = (Entry(b"a leaf", b"its OCSP answer"), Entry(b"a sub-CA"))
    return [client_hello(names, codes), certificate_request(names, codes), client_hello((), ()), certificate(shown)]
