"""The `native` backend: TLS channels by the system's libssl, with keys from any store.

Unlike the bundled one, it lists a client's trust anchors in its ClientHello (V2G20-1006), sends
no session tickets, and signs with keys in tokens and TPMs.
"""

import functools
import weakref
from typing import Final

from v2g.errors import ConfigError, KeyAccessError, TlsError
from v2g.io.tls import openssl
from v2g.io.tls.endpoint import Endpoint, TlsIdentity, TlsProfile, offer_of
from v2g.io.tls.hello import TRUSTED_CA_KEYS, choose, trusted_ca_keys
from v2g.io.tls.openssl import OpenSsl, Pointer
from v2g.io.tls.openssl_provider import AdoptedKey, provider
from v2g.io.tls.peer_verifier import VERIFY_OK, JudgedChannel, check_own_key
from v2g.pki.certificates import load_certificate

# Constants of OpenSSL's headers that it declares as macros.
_MIN_PROTO, _MAX_PROTO = 123, 124
_GROUPS_LIST, _SIGALGS_LIST, _SESSION_CACHE_MODE = 92, 98, 44
_STATUS_CALLBACK, _STATUS_TYPE, _SET_STATUS_RESPONSE, _OCSP = 63, 65, 71, 1
_STATUS_OK, _STATUS_FATAL, _STATUS_NONE = 0, 2, 3
_NEGOTIATED_GROUP: Final = 134
_VERIFY_PEER_ALWAYS: Final = 0x01 | 0x02
_NO_TICKET, _SERVER_PREFERENCE, _NO_RENEGOTIATION = 1 << 14, 1 << 22, 1 << 30
_NO_COMPRESSION: Final = 1 << 32 | 1 << 33
"""Disables compression of certificates (RFC 8879), OpenSSL's default from 3.2 on: our verification
parses Certificate messages, and ISO 15118-20 names no compression."""

_READ_ALERT: Final = 0x4004
_WANT_READ, _ZERO_RETURN = 2, 6
_HANDSHAKE: Final = 22  # ContentType (RFC 8446, 5.1)
_CHUNK: Final = 64 * 1024


def open_native(endpoint: Endpoint) -> "NativeChannel":
    """Return a new connection. Raises as `v2g.io.tls.endpoint.open_channel`."""
    return NativeChannel(endpoint)


class NativeChannel(JudgedChannel):
    """One connection over memory BIOs; see `v2g.io.tls.endpoint.TlsChannel`."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._raised: Exception | None = None
        self._key: AdoptedKey | None = None
        for each in self._identities:
            check_own_key(load_certificate(each.credentials.leaf), endpoint.profile)
        self._factory = factory()
        self._lib = lib = self._factory.lib
        ffi, ssl, crypto = lib.ffi, lib.ssl, lib.crypto
        self._roots = ffi.new("unsigned char[]", b"" if endpoint.server else trusted_ca_keys(endpoint.trusted()))
        self._buffer = ffi.new("char[]", _CHUNK)
        context = self._factory.context(
            endpoint.server, endpoint.offered, endpoint.trusted(), key_log=endpoint.key_log is not None
        )
        self._ssl = lib.own(ssl.SSL_new(context), ssl.SSL_free)
        self._in, self._out = (crypto.BIO_new(crypto.BIO_s_mem()) for _ in range(2))
        ssl.SSL_set_bio(self._ssl, self._in, self._out)  # transfers ownership
        # C finds this object by it; weak, since the collector does not look into handles.
        self._handle = ffi.new_handle(weakref.ref(self))
        ssl.SSL_set_ex_data(self._ssl, 0, self._handle)
        if endpoint.server:
            ssl.SSL_set_accept_state(self._ssl)
        else:
            ssl.SSL_set_connect_state(self._ssl)
            ssl.SSL_ctrl(self._ssl, _STATUS_TYPE, _OCSP, ffi.NULL)  # V2G20-2372, -2373
        if self._shown is not None:
            self._put_in_place(self._shown)  # report an unusable key now, not at the first peer

    @property
    def cipher(self) -> str:
        """The negotiated cipher suite."""
        ssl = self._lib.ssl
        return self._lib.text(ssl.SSL_CIPHER_get_name(ssl.SSL_get_current_cipher(self._ssl)))

    @property
    def group(self) -> str:
        """The negotiated group."""
        ssl = self._lib.ssl
        number = ssl.SSL_ctrl(self._ssl, _NEGOTIATED_GROUP, 0, self._lib.ffi.NULL)
        return self._lib.text(ssl.SSL_group_to_name(self._ssl, number)).lower()

    @property
    def version(self) -> str:
        """The negotiated protocol version."""
        return self._lib.text(self._lib.ssl.SSL_get_version(self._ssl))

    def handshake(self) -> bool:
        """Proceed as far as the received bytes allow; True when complete. Raises TlsError."""
        self._lib.crypto.ERR_clear_error()
        result = self._lib.ssl.SSL_do_handshake(self._ssl)
        if result != 1:
            if self._lib.ssl.SSL_get_error(self._ssl, result) == _WANT_READ:
                return False
            raise self._named()
        self._lib.ssl.SSL_set_msg_callback(self._ssl, self._lib.ffi.NULL)  # called for each record otherwise
        self._verdict.check_end(self.version, self.group)
        return True

    def feed(self, data: bytes) -> None:
        """Feed bytes from the network."""
        if data:
            self._lib.crypto.BIO_write(self._in, data, len(data))

    def take(self) -> bytes:
        """Return the bytes to send, possibly none."""
        taken = b""
        while (size := self._lib.crypto.BIO_read(self._out, self._buffer, _CHUNK)) > 0:
            taken += self._lib.ffi.buffer(self._buffer, size)[:]
        return taken

    def read(self, n: int) -> bytes | None:
        """Return up to `n` bytes; b"" after the peer's close_notify; None when more must be fed. Raises TlsError."""
        ffi, ssl = self._lib.ffi, self._lib.ssl
        self._lib.crypto.ERR_clear_error()
        size = ffi.new("size_t *")
        result = ssl.SSL_read_ex(self._ssl, self._buffer, min(n, _CHUNK), size)
        if result == 1:
            return bytes(ffi.buffer(self._buffer, size[0]))
        if (why := ssl.SSL_get_error(self._ssl, result)) in (_WANT_READ, _ZERO_RETURN):
            return None if why == _WANT_READ else b""
        raise self._named()

    def write(self, data: bytes) -> None:
        """Encrypt `data`. Raises TlsError."""
        self._lib.crypto.ERR_clear_error()
        if data and self._lib.ssl.SSL_write_ex(self._ssl, data, len(data), self._lib.ffi.new("size_t *")) != 1:
            raise self._named()

    def shutdown(self) -> None:
        """Send close_notify, if the connection still allows it."""
        self._lib.ssl.SSL_shutdown(self._ssl)
        self._lib.crypto.ERR_clear_error()

    def _named(self) -> TlsError:
        reasons = self._lib.reasons()
        if self._key is not None and (failure := self._key.failure) is not None:
            error = TlsError(f"our own key: {failure}", reason="own_key_unusable", hint=failure.hint)
            error.__cause__ = failure
            return error
        raised, self._raised = self._raised, None
        if isinstance(raised, OSError):
            return TlsError(f"no OCSP answer to staple: {raised}", reason="staple_unreadable", hint="see tls.ocsp")
        if raised is not None:
            raise raised
        return self._verdict.name(reasons, self._shown)

    def _put_in_place(self, identity: TlsIdentity) -> None:
        """Use this chain. Raises KeyAccessError."""
        lib, ffi, ssl = self._lib, self._lib.ffi, self._lib.ssl
        self._key = self._factory.keys.adopt(identity.credentials.key)
        leaf, *rest = (self._factory.certificate(der) for der in identity.credentials.chain)
        chain = lib.own(lib.crypto.OPENSSL_sk_new_null(), lib.crypto.OPENSSL_sk_free)
        for each in rest:
            lib.crypto.OPENSSL_sk_push(chain, each)  # SSL_use_cert_and_key takes references of its own
        ssl.SSL_certs_clear(self._ssl)  # or one with another kind of key would stay beside it
        if ssl.SSL_use_cert_and_key(self._ssl, leaf, self._key.pointer, chain or ffi.NULL, 1) != 1:
            raise KeyAccessError(f"{lib.version} cannot use our certificate: {'; '.join(lib.reasons())}")
        self._shown = identity

    # Called by libssl, through the factory. An exception is stored for the caller of `handshake`.

    def on_choose(self) -> int:
        """Select the chain that the peer trusts."""
        try:
            if len(self._identities) > 1:
                self._put_in_place(choose(self._identities, self._verdict.wishes, self._endpoint.trusted()))
        except Exception as error:  # noqa: BLE001 - no exception may pass through C
            self._raised = error
            return 0
        return 1

    def on_verify(self, store_context: Pointer) -> int:
        """Verify the peer's chain."""
        try:
            code = self._verdict.judge()
        except Exception as error:  # noqa: BLE001
            self._raised = error
            return 0
        self._lib.crypto.X509_STORE_CTX_set_error(store_context, code)
        return int(code == VERIFY_OK)

    def on_status(self) -> int:
        """Provide the OCSP answer for the own chain, or verify the peer's."""
        if not self._endpoint.server:
            return int(self._verdict.staples_good())
        try:
            answer = self._shown.answer() if self._shown is not None else b""
        except Exception as error:  # noqa: BLE001
            self._raised = error
            return _STATUS_FATAL
        if not answer:
            return _STATUS_NONE
        crypto, ffi = self._lib.crypto, self._lib.ffi
        copy = crypto.CRYPTO_malloc(len(answer), b"", 0)
        ffi.memmove(copy, answer, len(answer))
        self._lib.ssl.SSL_ctrl(self._ssl, _SET_STATUS_RESPONSE, len(answer), copy)  # transfers ownership
        return _STATUS_OK

    def on_add_roots(self, out: Pointer, size: Pointer) -> int:
        """Fill in trusted_ca_keys: a client's list, or a server's empty answer (RFC 6066, 6)."""
        out[0], size[0] = self._roots, 0 if self._endpoint.server else len(self._roots) - 1
        return 1

    def on_message(self, message: bytes) -> None:
        """Process a message of the peer."""
        self._verdict.on_message(message)

    def on_alert(self, description: int) -> None:
        """Store the peer's alert."""
        self._verdict.alert = description

    def on_key_log(self, line: bytes) -> None:
        """Pass on a line of the key log."""
        if self._endpoint.key_log is not None:
            self._endpoint.key_log(line)


class Factory:
    """Shared by connections: contexts, the provider of our keys, and the callbacks of libssl."""

    def __init__(self, lib: OpenSsl) -> None:
        self.lib = lib
        self.keys = provider()
        self.context = functools.lru_cache(maxsize=16)(self._context)
        """`context(server, profiles, anchors, *, key_log)` is the SSL_CTX for such connections."""
        self.certificate = functools.lru_cache(maxsize=64)(self._certificate)
        """`certificate(der)` is the X509 of one of our own chains."""
        ffi = lib.ffi
        self._choose = ffi.callback("int (*)(SSL *, void *)", lambda ssl, _: self._channel(ssl).on_choose())
        self._verify = ffi.callback("int (*)(X509_STORE_CTX *, void *)", self._on_verify)
        self._status = ffi.callback("int (*)(SSL *, void *)", lambda ssl, _: self._channel(ssl).on_status())
        self._info = ffi.callback("void (*)(const SSL *, int, int)", self._on_info)
        self._message = ffi.callback("void (*)(int, int, int, const void *, size_t, SSL *, void *)", self._on_message)
        self._add_roots = ffi.callback(
            "int (*)(SSL *, unsigned int, const unsigned char **, size_t *, int *, void *)",
            lambda ssl, _kind, out, size, _alert, _data: self._channel(ssl).on_add_roots(out, size),
        )
        self._key_log = ffi.callback("void (*)(const SSL *, const char *)", self._on_key_log)

    def _certificate(self, der: bytes) -> Pointer:
        lib, crypto = self.lib, self.lib.crypto
        made = lib.ffi.new("X509 **", crypto.X509_new_ex(self.keys.context, lib.ffi.NULL))
        if crypto.d2i_X509(made, lib.ffi.new("unsigned char **", lib.ffi.from_buffer(der)), len(der)) == lib.ffi.NULL:
            raise KeyAccessError(f"{lib.version} cannot read our certificate: {'; '.join(lib.reasons())}")
        return lib.own(made[0], crypto.X509_free)

    def _context(
        self, server: bool, profiles: tuple[TlsProfile, ...], anchors: tuple[bytes, ...], *, key_log: bool
    ) -> Pointer:
        lib, ffi, ssl = self.lib, self.lib.ffi, self.lib.ssl
        method = ssl.TLS_server_method() if server else ssl.TLS_client_method()
        context = lib.own(ssl.SSL_CTX_new_ex(self.keys.context, ffi.NULL, method), ssl.SSL_CTX_free)
        offer = offer_of(profiles)
        groups, algorithms = (":".join(each).encode() for each in (offer.groups, offer.signature_algorithms))
        suites, ciphers = (":".join(each).encode() for each in (offer.ciphersuites, offer.ciphers))
        done = context is not None and all(
            (
                ssl.SSL_CTX_ctrl(context, _MIN_PROTO, offer.lowest, ffi.NULL),
                ssl.SSL_CTX_ctrl(context, _MAX_PROTO, offer.highest, ffi.NULL),
                not suites or ssl.SSL_CTX_set_ciphersuites(context, suites),
                not ciphers or ssl.SSL_CTX_set_cipher_list(context, ciphers),
                ssl.SSL_CTX_ctrl(context, _GROUPS_LIST, 0, ffi.new("char[]", groups)),
                ssl.SSL_CTX_ctrl(context, _SIGALGS_LIST, 0, ffi.new("char[]", algorithms)),
                ssl.SSL_CTX_set_num_tickets(context, 0),
                ssl.SSL_CTX_callback_ctrl(context, _STATUS_CALLBACK, self._status),
            )
        )
        if not done:
            names = " and ".join(each.name for each in profiles)
            raise ConfigError(f"{lib.version} does not support {names}: {'; '.join(lib.reasons())}")
        ssl.SSL_CTX_ctrl(context, _SESSION_CACHE_MODE, 0, ffi.NULL)
        ssl.SSL_CTX_set_options(context, _NO_TICKET | _SERVER_PREFERENCE | _NO_COMPRESSION | _NO_RENEGOTIATION)
        mutual = not server or profiles[0].mutual
        ssl.SSL_CTX_set_verify(context, _VERIFY_PEER_ALWAYS if mutual else 0, ffi.NULL)
        ssl.SSL_CTX_set_cert_verify_callback(context, self._verify, ffi.NULL)
        ssl.SSL_CTX_set_cert_cb(context, self._choose, ffi.NULL)
        ssl.SSL_CTX_set_info_callback(context, self._info)
        ssl.SSL_CTX_set_msg_callback(context, self._message)
        if key_log:
            ssl.SSL_CTX_set_keylog_callback(context, self._key_log)
        if mutual:
            ssl.SSL_CTX_set0_CA_list(context, lib.give(self._names(anchors)))  # V2G20-1006, -2401
        if profiles[-1].version == "TLSv1.2":
            add = ssl.SSL_CTX_add_server_custom_ext if server else ssl.SSL_CTX_add_client_custom_ext
            add(context, TRUSTED_CA_KEYS, self._add_roots, ffi.NULL, ffi.NULL, ffi.NULL, ffi.NULL)
        return context

    def _names(self, anchors: tuple[bytes, ...]) -> Pointer:
        lib, ffi, crypto = self.lib, self.lib.ffi, self.lib.crypto
        free = ffi.addressof(crypto, "X509_NAME_free")
        stack = lib.own(crypto.OPENSSL_sk_new_null(), lambda each: crypto.OPENSSL_sk_pop_free(each, free))
        for anchor in anchors:
            name = load_certificate(anchor).subject.public_bytes()
            at = ffi.new("unsigned char **", ffi.from_buffer(name))
            crypto.OPENSSL_sk_push(stack, crypto.d2i_X509_NAME(ffi.NULL, at, len(name)))
        return stack

    def _channel(self, ssl: Pointer) -> NativeChannel:
        found: NativeChannel | None = self.lib.ffi.from_handle(self.lib.ssl.SSL_get_ex_data(ssl, 0))()
        assert found is not None  # it is referenced by the call that led here
        return found

    def _on_verify(self, store_context: Pointer, _data: Pointer) -> int:
        crypto, ssl = self.lib.crypto, self.lib.ssl
        index = ssl.SSL_get_ex_data_X509_STORE_CTX_idx()
        return self._channel(crypto.X509_STORE_CTX_get_ex_data(store_context, index)).on_verify(store_context)

    def _on_info(self, ssl: Pointer, where: int, value: int) -> None:
        if where & _READ_ALERT == _READ_ALERT and value >> 8 == 2:
            self._channel(ssl).on_alert(value & 0xFF)

    def _on_message(
        self, sent: int, _version: int, kind: int, data: Pointer, size: int, ssl: Pointer, _argument: Pointer
    ) -> None:
        if not sent and kind == _HANDSHAKE:
            self._channel(ssl).on_message(bytes(self.lib.ffi.buffer(data, size)))

    def _on_key_log(self, ssl: Pointer, line: Pointer) -> None:
        self._channel(ssl).on_key_log(self.lib.text(line).encode())


@functools.cache
def factory() -> Factory:
    """Return the factory shared by this process's connections. Raises ConfigError without OpenSSL 3."""
    return Factory(openssl.load())
