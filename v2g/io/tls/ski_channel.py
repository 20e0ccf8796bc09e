"""TLS channels of SHIP: both sides show self-signed certificates, and a key's identifier (SKI) is the peer's identity.

Nothing of the certificate but its key is verified here: the caller decides by `ski`, which is computed from the key.
"""

from typing import Final

from cryptography import x509
from OpenSSL import SSL

from v2g.eebus.identity import ski_of
from v2g.errors import CertificateError, TlsError
from v2g.io.tls.bundled import NegotiatedChannel
from v2g.pki.keys import PrivateKey

SUITES: Final = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA256"
"""TLS 1.2: the one that SHIP 1.0.1 requires is the second."""
_CHUNK: Final = 64 * 1024


class SkiChannel(NegotiatedChannel):
    """One connection over memory BIOs; see `v2g.io.tls.endpoint.TlsChannel`."""

    peer = shown = None
    ocsp_responses: tuple[bytes, ...] = ()
    unproven = ""

    def __init__(self, certificate: x509.Certificate, key: PrivateKey, *, server: bool) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD if server else SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(SUITES)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        self._connection = SSL.Connection(context, None)
        if server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
        self.ski = ""
        """The peer's SKI, after the handshake."""

    def handshake(self) -> bool:
        """Proceed as far as the received bytes allow; True when complete. Raises TlsError."""
        try:
            self._connection.do_handshake()
            shown = self._connection.get_peer_certificate(as_cryptography=True)
            assert shown is not None
            self.ski = ski_of(shown)
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise TlsError(f"TLS with an EEBUS node failed: {error}"[:200], reason="handshake_failed") from None
        except CertificateError as error:
            raise TlsError(str(error), reason=error.reason) from None
        return True

    def take(self) -> bytes:
        """Return the bytes to send, possibly none."""
        taken = b""
        try:
            while True:
                taken += self._connection.bio_read(_CHUNK)
        except SSL.WantReadError:
            return taken

    def read(self, n: int) -> bytes | None:
        """Return up to `n` bytes; b"" after the peer's close_notify; None when more must be fed. Raises TlsError."""
        try:
            return self._connection.recv(n)
        except SSL.WantReadError:
            return None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise TlsError(f"TLS with an EEBUS node failed: {error}"[:200], reason="truncated") from None

    def write(self, data: bytes) -> None:
        """Encrypt `data`. Raises TlsError."""
        try:
            self._connection.sendall(data)
        except SSL.Error as error:
            raise TlsError(f"TLS with an EEBUS node failed: {error}"[:200], reason="truncated") from None
