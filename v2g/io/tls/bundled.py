"""The `bundled` backend: TLS channels by pyOpenSSL and the OpenSSL that comes with it.

This and `ski_channel` are the only modules that touch pyOpenSSL. The standard library's `ssl` cannot staple OCSP
answers, choose groups and signature algorithms, choose a chain by the peer's trust anchors, or leave verification to
the caller.
"""

import contextlib
from typing import Any, Final

from OpenSSL import SSL
from OpenSSL._util import ffi, lib  # groups, signature algorithms, messages and verify codes have no public way

from v2g.errors import TlsError
from v2g.io.tls.endpoint import Endpoint, TlsIdentity, offer_of
from v2g.io.tls.hello import TRUSTED_CA_KEYS, choose, trusted_ca_keys
from v2g.io.tls.peer_verifier import VERIFY_OK, JudgedChannel, check_own_key
from v2g.pki.certificates import load_certificate

_HANDSHAKE: Final = 22  # ContentType (RFC 8446, 5.1)
_CHUNK: Final = 64 * 1024
_RECORD: Final = 16 * 1024  # RFC 8446, 5.1


def open_bundled(endpoint: Endpoint) -> "BundledChannel":
    """Return a new connection."""
    return BundledChannel(endpoint)


class NegotiatedChannel:
    """A connection of pyOpenSSL over memory BIOs, and what both sides have agreed on."""

    _connection: SSL.Connection

    @property
    def cipher(self) -> str:
        """The negotiated cipher suite."""
        return self._connection.get_cipher_name() or ""

    @property
    def group(self) -> str:
        return (self._connection.get_group_name() or "").lower()

    @property
    def version(self) -> str:
        """The negotiated protocol version."""
        return self._connection.get_protocol_version_name()

    def feed(self, data: bytes) -> None:
        """Feed bytes from the network."""
        if data:  # a memory BIO treats an empty write as an error
            self._connection.bio_write(data)

    def shutdown(self) -> None:
        """Send close_notify, if the connection still allows it."""
        with contextlib.suppress(SSL.Error):
            self._connection.shutdown()


class BundledChannel(NegotiatedChannel, JudgedChannel):
    """One connection over memory BIOs; see `v2g.io.tls.endpoint.TlsChannel`."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._buffer = ffi.new("char[]", _CHUNK)
        # C keeps pointers to these; they must live as long as the connection.
        self._verify = ffi.callback("int (*)(int, X509_STORE_CTX *)", self._on_verify, error=0)
        self._message = ffi.callback("void (*)(int, int, int, void *, size_t, SSL *, void *)", self._on_message)
        self._choose = ffi.callback("int (*)(SSL *, void *)", self._on_choose, error=0)
        self._roots = ffi.new("unsigned char[]", b"" if endpoint.server else trusted_ca_keys(endpoint.trusted()))
        self._add_roots = ffi.callback(
            "int (*)(SSL *, unsigned int, const unsigned char **, size_t *, int *, void *)", self._on_add_roots, error=0
        )
        self._contexts = {id(each): self._context(each) for each in self._identities or (None,)}
        self._connection = SSL.Connection(self._contexts[id(self._shown)], None)
        if endpoint.server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
            self._connection.request_ocsp()  # V2G20-2372, with an empty responder list, V2G20-2373

    def handshake(self) -> bool:
        """Proceed as far as the received bytes allow; True when complete. Raises TlsError."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise self._named(error) from None
        except OSError as error:
            raise TlsError(
                f"no OCSP answer to staple: {error}", reason="staple_unreadable", hint="see tls.ocsp"
            ) from None
        self._verdict.check_end(self.version, self.group)
        return True

    def take(self) -> bytes:
        """Return the bytes to send, possibly none."""
        # Bypass pyOpenSSL's own methods, whose exceptions for "nothing" are the main cost of a message.
        taken, out = b"", self._connection._from_ssl
        while (size := lib.BIO_read(out, self._buffer, _CHUNK)) > 0:
            taken += ffi.buffer(self._buffer, size)[:]
        return taken

    def read(self, n: int) -> bytes | None:
        """Return up to `n` bytes; b"" after the peer's close_notify; None when more must be fed. Raises TlsError."""
        ssl = self._connection._ssl
        size = lib.SSL_read(ssl, self._buffer, min(n, _CHUNK))
        if size > 0:
            return bytes(ffi.buffer(self._buffer, size))
        if lib.SSL_get_error(ssl, size) == lib.SSL_ERROR_WANT_READ:
            return None
        try:
            self._connection._raise_ssl_error(ssl, size)
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise self._named(error) from None
        return None

    def write(self, data: bytes) -> None:
        """Encrypt `data`. Raises TlsError."""
        # A memory BIO accepts a whole record, or there is an error, which the method raises.
        if 0 < len(data) <= _RECORD and lib.SSL_write(self._connection._ssl, data, len(data)) == len(data):
            return
        try:
            self._connection.sendall(data)
        except SSL.Error as error:
            raise self._named(error) from None

    def _context(self, identity: TlsIdentity | None) -> SSL.Context:
        endpoint = self._endpoint
        context = _context(endpoint, identity)
        if endpoint.profile.mutual or not endpoint.server:
            mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
            lib.SSL_CTX_set_verify(context._context, mode, self._verify)
        if endpoint.offered[-1].version == "TLSv1.2":
            add = lib.SSL_CTX_add_server_custom_ext if endpoint.server else lib.SSL_CTX_add_client_custom_ext
            add(context._context, TRUSTED_CA_KEYS, self._add_roots, ffi.NULL, ffi.NULL, ffi.NULL, ffi.NULL)
        context.set_info_callback(self._on_info)
        if endpoint.server:
            context.set_ocsp_server_callback(self._on_status_request)
        else:
            context.set_ocsp_client_callback(self._on_status)
        lib.SSL_CTX_set_msg_callback(context._context, self._message)
        if len(self._identities) > 1 or endpoint.profile.marks_downgrade:  # without it, only a P-521 key could do 1.3
            lib.SSL_CTX_set_cert_cb(context._context, self._choose, ffi.NULL)
        if (key_log := endpoint.key_log) is not None:
            context.set_keylog_callback(lambda _connection, line: key_log(line))
        return context

    def _on_info(self, _connection: SSL.Connection, where: int, value: int) -> None:
        if where & SSL.SSL_CB_READ_ALERT == SSL.SSL_CB_READ_ALERT and value >> 8 == 2:
            self._verdict.alert = value & 0xFF

    def _on_message(
        self, sent: int, _version: int, kind: int, data: object, size: int, _connection: object, _data: object
    ) -> None:
        """Process a complete message of the peer."""
        if not sent and kind == _HANDSHAKE:
            self._verdict.on_message(bytes(ffi.buffer(data, size)))

    def _on_choose(self, _connection: object, _data: object) -> int:
        """Before the own certificate is sent: select the chain that the peer trusts."""
        self._shown = choose(self._identities, self._verdict.wishes, self._endpoint.trusted())
        self._connection.set_context(self._contexts[id(self._shown)])
        return 1

    def _on_add_roots(self, _connection: Any, _kind: int, out: Any, size: Any, _alert: Any, _data: Any) -> int:
        """Fill in trusted_ca_keys: a client's list, or a server's empty answer (RFC 6066, 6)."""
        out[0], size[0] = self._roots, 0 if self._endpoint.server else len(self._roots) - 1
        return 1

    def _on_verify(self, _ok: int, store_context: object) -> int:
        """Verify the peer's chain when OpenSSL asks about its leaf, and ignore OpenSSL's other questions."""
        code = VERIFY_OK
        if lib.X509_STORE_CTX_get_error_depth(store_context) == 0 and self.peer is None:
            code = self._verdict.judge()
        lib.X509_STORE_CTX_set_error(store_context, code)
        return int(code == VERIFY_OK)

    def _on_status_request(self, _connection: SSL.Connection, _data: object) -> bytes:
        return self._shown.answer() if self._shown is not None else b""

    def _on_status(self, _connection: SSL.Connection, _response: bytes, _data: object) -> bool:
        return self._verdict.staples_good()

    def _named(self, error: SSL.Error) -> TlsError:
        # SysCallError carries a number and a text, SSL.Error a list of (library, function, reason).
        details = error.args[0] if error.args and isinstance(error.args[0], list) else []
        return self._verdict.name([str(detail[2]) for detail in details] or [str(error)], self._shown)


def _context(endpoint: Endpoint, identity: TlsIdentity | None) -> SSL.Context:
    offer = offer_of(endpoint.offered)
    context = SSL.Context(SSL.TLS_SERVER_METHOD if endpoint.server else SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(offer.lowest)
    context.set_max_proto_version(offer.highest)
    if offer.ciphersuites:
        context.set_tls13_ciphersuites(":".join(offer.ciphersuites).encode())
    if offer.ciphers:
        context.set_cipher_list(":".join(offer.ciphers).encode())
    if lib.SSL_CTX_set1_curves_list(context._context, ":".join(offer.groups).encode()) != 1:
        raise ValueError(f"this OpenSSL does not support the groups {offer.groups}")
    if lib.SSL_CTX_set1_sigalgs_list(context._context, ":".join(offer.signature_algorithms).encode()) != 1:
        raise ValueError(f"this OpenSSL does not support the signature algorithms {offer.signature_algorithms}")
    # No resumption: every session shows its certificates. OpenSSL before 4.1 still sends tickets,
    # but without the cache they are meaningless.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if identity is not None:
        leaf, *rest = map(load_certificate, identity.credentials.chain)
        check_own_key(leaf, endpoint.profile)
        context.use_certificate(leaf)
        for certificate in rest:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(identity.credentials.private_key)
    if endpoint.server and endpoint.profile.mutual:
        for anchor in endpoint.trusted():
            context.add_client_ca(load_certificate(anchor))  # V2G20-2401
    return context
