"""One TLS 1.3 connection over memory BIOs: bytes in, bytes out, and a name for everything that goes wrong.

This is the only module that touches pyOpenSSL. The standard library's `ssl` cannot staple OCSP answers, choose
groups and signature algorithms, or leave the judgement of a chain to us; generic judgement would refuse the
extensions that Annex B marks critical and accept keys that -20 forbids.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from cryptography import x509
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib  # groups, signature algorithms and verify codes have no public way

from v2g.errors import CertificateError, RevocationError, TlsError
from v2g.pki.certificates import key_kind, load_certificate
from v2g.pki.credentials import Credentials
from v2g.pki.ocsp import check_ocsp
from v2g.pki.profiles import Role
from v2g.pki.verify import VerifiedChain, verify_chain


class TlsProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What is offered and accepted, each list in order of preference, by the names that OpenSSL uses."""

    name: str
    ciphers: tuple[str, ...]
    groups: tuple[str, ...]
    signature_algorithms: tuple[str, ...]
    staple_required: bool  # the client wants a stapled OCSP answer for the server's leaf
    interop: bool  # certificates are judged by the relaxed profile


ISO15118_20: Final = TlsProfile(
    name="iso15118-20",
    ciphers=("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),  # Table 6, V2G20-2458, -2459
    groups=("secp521r1", "X448"),  # Table 7, V2G20-2460, -2461
    signature_algorithms=("ecdsa_secp521r1_sha512", "ed448"),  # Table 8, V2G20-1667, -1668
    staple_required=True,  # V2G20-1240, -2388
    interop=False,
)
"""ISO 15118-20 as written."""

INTEROP: Final = TlsProfile(
    name="interop",
    ciphers=ISO15118_20.ciphers,
    groups=(*ISO15118_20.groups, "prime256v1"),
    signature_algorithms=(*ISO15118_20.signature_algorithms, "ecdsa_secp256r1_sha256"),
    staple_required=False,
    interop=True,
)
"""For peers that speak -20 with the certificates and curves of -2."""

PROFILES: Final = {profile.name: profile for profile in (ISO15118_20, INTEROP)}

Staple = bytes | Callable[[], bytes] | None
"""A server's DER OCSP answer, or where to get the current one, as it is renewed every week."""


def utc_now() -> datetime:
    """Return the current time, by which certificates are judged unless the caller has another clock."""
    return datetime.now(UTC)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are and whom we believe, for one or many connections."""

    server: bool
    credentials: Credentials
    anchors: tuple[bytes, ...]
    profile: TlsProfile
    peer_role: Role
    staple: Staple = None
    now: Callable[[], datetime] = utc_now


# Alerts that the peer sends about us (RFC 8446 6.2), by number.
_RECEIVED: Final = {
    40: ("handshake_refused", "the peer shares none of our ciphers, groups or signature algorithms"),
    42: ("own_certificate_refused", "the peer finds our certificate bad"),
    43: ("own_certificate_refused", "the peer does not support our certificate"),
    44: ("own_certificate_revoked", "the peer says that our certificate is revoked"),
    45: ("own_certificate_expired", "the peer says that our certificate has expired"),
    46: ("own_certificate_refused", "the peer refuses our certificate"),
    48: ("own_certificate_unknown_ca", "the peer does not know the root of our certificate"),
    51: ("decrypt_error", "the peer could not verify a signature of ours"),
    70: ("protocol_version", "the peer does not speak TLS 1.3"),
    71: ("no_common_cipher", "the peer finds our ciphers too weak"),
    113: ("own_ocsp_refused", "the peer refuses our OCSP answer"),
    116: ("own_certificate_missing", "the peer wants a certificate"),
}

# What OpenSSL calls the failures that it finds by itself.
_FOUND: Final = (
    ("no shared cipher", "no_common_cipher", "the peer offers none of our ciphers"),
    ("no suitable key share", "no_common_group", "the peer offers none of our groups"),
    ("no suitable groups", "no_common_group", "the peer offers none of our groups"),
    ("bad key share", "no_common_group", "the peer chose a group that we did not offer"),
    ("no suitable signature algorithm", "no_common_signature_algorithm", "the peer accepts no signature of our key"),
    ("no shared signature algorithms", "no_common_signature_algorithm", "the peer offers no algorithm of ours"),
    ("wrong signature type", "no_common_signature_algorithm", "the peer signs with an algorithm that we refuse"),
    ("unsupported protocol", "protocol_version", "the peer does not speak TLS 1.3"),
    ("wrong version number", "not_tls", "the peer does not speak TLS"),
    ("http request", "not_tls", "the peer speaks HTTP"),
    ("peer did not return a certificate", "peer_certificate_missing", "the peer has no certificate"),
)

# X.509 verify codes that make OpenSSL send the alert that tells the peer what is wrong with its certificate.
_VERIFY_CODES: Final = {
    "expired": 10,  # certificate_expired
    "not_yet_valid": 9,  # bad_certificate
    "unknown_root": 20,  # unknown_ca
    "bad_signature": 7,  # decrypt_error
    "bad_profile": 26,  # unsupported_certificate
    "wrong_subject": 26,
    "malformed": 28,  # bad_certificate
}
_VERIFY_OK: Final = 0
_CHUNK: Final = 64 * 1024


class Channel:
    """One connection. `feed` what arrived, `take` what must be sent; both after every other call."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.peer: VerifiedChain | None = None
        self.ocsp_response = b""
        self._endpoint = endpoint
        self._refusal: TlsError | None = None
        self._alert: int | None = None
        context = _context(endpoint)
        self._verify = ffi.callback("int (*)(int, X509_STORE_CTX *)", self._on_verify, error=0)
        mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        lib.SSL_CTX_set_verify(context._context, mode, self._verify)
        context.set_info_callback(self._on_info)
        if endpoint.server:
            context.set_ocsp_server_callback(self._on_status_request)
        else:
            context.set_ocsp_client_callback(self._on_status)
        self._connection = SSL.Connection(context, None)
        if endpoint.server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
            self._connection.request_ocsp()  # V2G20-2372, with an empty responder list, V2G20-2373

    def handshake(self) -> bool:
        """Go as far as the received bytes allow; True when complete. Raises TlsError."""
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
        if self.peer is None:  # nobody was judged, so nobody is trusted
            raise TlsError("the peer showed no certificate", reason="peer_certificate_missing")
        return True

    def feed(self, data: bytes) -> None:
        """Take in bytes from the network."""
        if data:  # a memory BIO takes an empty write for an error
            self._connection.bio_write(data)

    def take(self) -> bytes:
        """Return the bytes to send, possibly none."""
        taken = bytearray()
        try:
            while True:
                taken += self._connection.bio_read(_CHUNK)
        except SSL.WantReadError:
            return bytes(taken)

    def read(self, n: int) -> bytes | None:
        """Return up to `n` bytes; b"" after the peer's close_notify; None when more must be fed. Raises TlsError."""
        try:
            return self._connection.recv(n)
        except SSL.WantReadError:
            return None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise self._named(error) from None

    def write(self, data: bytes) -> None:
        """Encrypt `data`. Raises TlsError."""
        try:
            self._connection.sendall(data)
        except SSL.Error as error:
            raise self._named(error) from None

    def shutdown(self) -> None:
        """Say close_notify, where the connection still allows it."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            return

    @property
    def cipher(self) -> str:
        """The negotiated cipher suite."""
        return self._connection.get_cipher_name() or ""

    @property
    def group(self) -> str:
        """The negotiated group."""
        return self._connection.get_group_name() or ""

    @property
    def version(self) -> str:
        """The negotiated protocol version."""
        return self._connection.get_protocol_version_name()

    def _on_info(self, _connection: SSL.Connection, where: int, value: int) -> None:
        if where & SSL.SSL_CB_READ_ALERT == SSL.SSL_CB_READ_ALERT and value >> 8 == 2:
            self._alert = value & 0xFF

    def _on_verify(self, _ok: int, store_context: Any) -> int:
        """Judge the peer's chain when OpenSSL asks about its leaf, and leave all else to that judgement."""
        code = _VERIFY_OK
        if lib.X509_STORE_CTX_get_error_depth(store_context) == 0 and self.peer is None:
            code = self._judge(_chain(store_context))
        lib.X509_STORE_CTX_set_error(store_context, code)
        return int(code == _VERIFY_OK)

    def _judge(self, chain: tuple[bytes, ...]) -> int:
        endpoint = self._endpoint
        try:
            self.peer = verify_chain(
                chain[0],
                chain[1:],
                endpoint.anchors,
                role=endpoint.peer_role,
                at=endpoint.now(),
                interop=endpoint.profile.interop,
            )
        except CertificateError as error:
            reason = "unknown_ca" if error.reason == "unknown_root" else f"peer_certificate_{error.reason}"
            self._refusal = TlsError(str(error), reason=reason, hint=error.hint)
            return _VERIFY_CODES[error.reason]
        return _VERIFY_OK

    def _on_status_request(self, _connection: SSL.Connection, _data: object) -> bytes:
        staple = self._endpoint.staple
        return (staple() if callable(staple) else staple) or b""

    def _on_status(self, _connection: SSL.Connection, response: bytes, _data: object) -> bool:
        if not response and not self._endpoint.profile.staple_required:
            return True
        if self.peer is None:
            return False
        try:
            check_ocsp(response, self.peer.leaf, self.peer.leaf_issuer, self._endpoint.now())
        except RevocationError as error:
            self._refusal = TlsError(str(error), reason=f"ocsp_{error.reason}", hint=error.hint)
            return False
        self.ocsp_response = response
        return True

    def _named(self, error: SSL.Error) -> TlsError:
        """Return what happened under a name that a person can act on."""
        if self._refusal is not None:
            return self._refusal
        offered = self._endpoint.profile
        hint = f"offered: {', '.join((*offered.ciphers, *offered.groups, *offered.signature_algorithms))}"
        if self._alert is not None:
            unknown = (f"alert_{self._alert}", f"the peer sent TLS alert {self._alert}")
            reason, sentence = _RECEIVED.get(self._alert, unknown)
            return TlsError(sentence, reason=reason, hint=hint)
        # SysCallError carries a number and a text, SSL.Error a list of (library, function, reason).
        details = error.args[0] if error.args and isinstance(error.args[0], list) else []
        text = "; ".join(str(detail[2]) for detail in details) or str(error)
        for words, reason, sentence in _FOUND:
            if words in text:
                return TlsError(sentence, reason=reason, hint=hint)
        return TlsError(f"TLS failed: {text}", reason="tls_failed", hint=hint)


def _context(endpoint: Endpoint) -> SSL.Context:
    profile = endpoint.profile
    context = SSL.Context(SSL.TLS_SERVER_METHOD if endpoint.server else SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(":".join(profile.ciphers).encode())
    if lib.SSL_CTX_set1_curves_list(context._context, ":".join(profile.groups).encode()) != 1:
        raise ValueError(f"this OpenSSL does not know the groups {profile.groups}")
    if lib.SSL_CTX_set1_sigalgs_list(context._context, ":".join(profile.signature_algorithms).encode()) != 1:
        raise ValueError(f"this OpenSSL does not know the signature algorithms {profile.signature_algorithms}")
    # No resumption: every session shows both certificates (V2G20-2677). OpenSSL before 4.1 still sends tickets,
    # but with the cache off they name nothing.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    leaf, *rest = map(load_certificate, endpoint.credentials.chain)
    _check_own_key(leaf, profile)
    context.use_certificate(leaf)
    for certificate in rest:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(endpoint.credentials.private_key)
    if endpoint.server:
        for anchor in endpoint.anchors:
            context.add_client_ca(load_certificate(anchor))  # V2G20-2401
    return context


def _check_own_key(leaf: x509.Certificate, profile: TlsProfile) -> None:
    """Refuse a certificate that the profile has no signature algorithm for. OpenSSL would blame the peer."""
    kind = key_kind(leaf)
    if kind is None or not any(kind.value in algorithm for algorithm in profile.signature_algorithms):
        raise TlsError(
            f"our own certificate's key is {kind.value if kind else 'unknown'}, which {profile.name} does not allow",
            reason="own_certificate_unsuitable",
            hint="certificates of -2 need security_profile: interop",
        )


def _chain(store_context: Any) -> tuple[bytes, ...]:
    """Return the chain that OpenSSL put together from what the peer sent, leaf first, as DER."""
    stack = lib.X509_STORE_CTX_get1_chain(store_context)
    try:
        certificates = [
            crypto.X509._from_raw_x509_ptr(lib.sk_X509_value(stack, index)) for index in range(lib.sk_X509_num(stack))
        ]
    finally:
        lib.sk_X509_free(stack)
    return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in certificates)
