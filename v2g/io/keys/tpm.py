"""Keys of a TPM 2.0, by the provider tpm2-openssl: persistent handles, and key files that only their TPM can read.

The provider is in its own library context, since it would otherwise offer itself for hashes and random numbers
as well. The TPM is accessed by the `tcti` of the reference, else TPM2OPENSSL_TCTI, else the kernel's
resource manager.
"""

import atexit
import contextlib
import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Concatenate, Final, ParamSpec, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from v2g.errors import ConfigError, KeyAccessError
from v2g.io.keys.pins import read_pin, same_curve
from v2g.io.tls import openssl
from v2g.io.tls.openssl import UTF8_STRING, OpenSsl, Pointer
from v2g.pki.keys import AgreementPeer, Algorithm, algorithm_of, check_agreement, save_secret
from v2g.pki.reference import KeyReference

_TPM: Final = b"?provider=tpm2"
_DEFAULT: Final = b"provider=default"
_CURVES: Final = {Algorithm.ECDSA_SHA512: (b"P-521", b"SHA512", 66), Algorithm.ECDSA_SHA256: (b"P-256", b"SHA256", 32)}
_MAX_SIGNATURE_BYTES: Final = 256
_MAX_PEM_BYTES: Final = 16 * 1024
_REFUSED: Final = ("authorization HMAC check failed", "authorization failure")
"""Messages of tpm2-tss for a wrong PIN, with and without counting it."""

_LOCKED: Final = "lockout mode"


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _alone(method: "Callable[Concatenate[Tpm, _P], _T]") -> "Callable[Concatenate[Tpm, _P], _T]":
    """Serialise access to the TPM: a new key may be made while others sign."""

    @functools.wraps(method)
    def turn(self: "Tpm", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with self.turn:
            return method(self, *args, **kwargs)

    return turn


class Tpm:
    """A library context in which the TPM's provider is loaded. All keys of one TPM share it: see `connect`."""

    def __init__(self, lib: OpenSsl, tcti: str) -> None:
        self.lib = lib
        self.turn: Final = threading.Lock()
        self.context: Pointer = lib.own(lib.crypto.OSSL_LIB_CTX_new(), lib.crypto.OSSL_LIB_CTX_free)
        ffi, crypto = lib.ffi, lib.crypto
        crypto.ERR_clear_error()
        os.environ.setdefault("TSS2_LOG", "all+NONE")  # its errors are returned; do not print them, too
        with _environment(TPM2OPENSSL_TCTI=tcti):  # read when the provider is loaded; there is no other way
            missing = any(crypto.OSSL_PROVIDER_load(self.context, name) == ffi.NULL for name in (b"default", b"tpm2"))
        if missing:
            reasons = "; ".join(lib.reasons())
            if "shared library" in reasons:
                hint = "Debian: apt-get install tpm2-openssl"
                raise ConfigError(f"{lib.version} has no provider for TPMs: {reasons}", hint=hint)
            raise KeyAccessError(f"no TPM: {reasons}", hint="may this user access /dev/tpmrm0? see ?tcti=")

        def ask(buffer: Pointer, size: int, _writing: int, secret: Pointer) -> int:
            pin: bytes | None = ffi.from_handle(secret)
            if pin is None or len(pin) > size:
                return -1
            ffi.memmove(buffer, pin, len(pin))
            return len(pin)

        self._ask = ffi.callback("pem_password_cb", ask, error=-1)
        self._dialogue = lib.own(crypto.UI_UTIL_wrap_read_pem_callback(self._ask, 0), crypto.UI_destroy_method)

    @_alone
    def load(self, uri: str, pin: bytes | None) -> Pointer:
        """Return the private key under a URI of OSSL_STORE, owned; None when there is none."""
        lib, ffi, crypto = self.lib, self.lib.ffi, self.lib.crypto
        crypto.ERR_clear_error()
        secret = ffi.new_handle(pin)
        store = lib.own(
            crypto.OSSL_STORE_open_ex(
                uri.encode(), self.context, _TPM, self._dialogue, secret, ffi.NULL, ffi.NULL, ffi.NULL
            ),
            crypto.OSSL_STORE_close,
        )
        while store is not None and not crypto.OSSL_STORE_eof(store):
            info = lib.own(crypto.OSSL_STORE_load(store), crypto.OSSL_STORE_INFO_free)
            if info is None:
                break
            key = lib.own(crypto.OSSL_STORE_INFO_get1_PKEY(info), crypto.EVP_PKEY_free)
            if key is not None:
                return key
        return None

    @_alone
    def sign(self, key: Pointer, digest: bytes, data: bytes) -> bytes | None:
        """Return a signature in DER; None when the TPM rejects, with the reason in the error queue."""
        lib, ffi, crypto = self.lib, self.lib.ffi, self.lib.crypto
        crypto.ERR_clear_error()
        operation = lib.own(crypto.EVP_MD_CTX_new(), crypto.EVP_MD_CTX_free)
        length = ffi.new("size_t *", _MAX_SIGNATURE_BYTES)
        signature = ffi.new("unsigned char[]", _MAX_SIGNATURE_BYTES)
        done = (
            crypto.EVP_DigestSignInit_ex(operation, ffi.NULL, digest, self.context, _TPM, key, ffi.NULL) == 1
            and crypto.EVP_DigestSign(operation, signature, length, data, len(data)) == 1
        )
        return bytes(ffi.buffer(signature, length[0])) if done else None

    @_alone
    def derive(self, key: Pointer, peer: bytes) -> bytes | None:
        """Return the secret shared with a public key (SubjectPublicKeyInfo); None when the TPM rejects."""
        lib, ffi, crypto = self.lib, self.lib.ffi, self.lib.crypto
        crypto.ERR_clear_error()
        at = ffi.new("unsigned char **", ffi.from_buffer(peer))
        theirs = lib.own(crypto.d2i_PUBKEY_ex(ffi.NULL, at, len(peer), self.context, _DEFAULT), crypto.EVP_PKEY_free)
        operation = lib.own(crypto.EVP_PKEY_CTX_new_from_pkey(self.context, key, _TPM), crypto.EVP_PKEY_CTX_free)
        length, secret = ffi.new("size_t *", 128), ffi.new("unsigned char[]", 128)
        done = (
            theirs is not None
            and operation is not None
            and crypto.EVP_PKEY_derive_init(operation) == 1
            and crypto.EVP_PKEY_derive_set_peer(operation, theirs) == 1
            and crypto.EVP_PKEY_derive(operation, secret, length) == 1
        )
        return bytes(ffi.buffer(secret, length[0])) if done else None

    @_alone
    def generate(self, group: bytes, pin: bytes | None) -> bytes:
        """Return a new key as its TPM's key file (PEM); b"" when the TPM rejects."""
        lib, ffi, crypto = self.lib, self.lib.ffi, self.lib.crypto
        crypto.ERR_clear_error()
        made = ffi.new("EVP_PKEY **")
        operation = lib.own(
            crypto.EVP_PKEY_CTX_new_from_name(self.context, b"EC", b"provider=tpm2"), crypto.EVP_PKEY_CTX_free
        )
        texts = [(b"group", group), *([(b"user-auth", pin)] if pin else [])]
        params = lib.params(*((name, UTF8_STRING, ffi.new("char[]", text), len(text)) for name, text in texts))
        done = (
            operation is not None
            and crypto.EVP_PKEY_keygen_init(operation) == 1
            and crypto.EVP_PKEY_CTX_set_params(operation, params.array) == 1
            and crypto.EVP_PKEY_generate(operation, made) == 1
        )
        key = lib.own(made[0], crypto.EVP_PKEY_free) if done else None
        bio = lib.own(crypto.BIO_new(crypto.BIO_s_mem()), crypto.BIO_free)
        none = ffi.NULL
        if key is None or not crypto.PEM_write_bio_PrivateKey_ex(
            bio, key, none, none, 0, none, none, self.context, _TPM
        ):
            return b""
        pem = ffi.new("char[]", _MAX_PEM_BYTES)
        return bytes(ffi.buffer(pem, max(0, crypto.BIO_read(bio, pem, _MAX_PEM_BYTES))))


class TpmKey:
    """A StoredKey of a TPM. A wrong PIN is not tried again, so that the TPM does not lock itself."""

    def __init__(self, reference: KeyReference) -> None:
        self.reference = reference
        self._tcti = reference.options.get("tcti", os.environ.get("TPM2OPENSSL_TCTI", ""))
        self._opened: tuple[Tpm, Pointer] | None = None
        atexit.register(TpmKey._leave, weakref.ref(self))
        self._over = ""
        """Why this key must not be used any more."""
        tpm, key = self._open()
        der = tpm.lib.der(tpm.lib.crypto.i2d_PUBKEY, key)
        try:
            public = load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm):
            public = None
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise KeyAccessError(f"{self} is not an EC key")
        self.public_key = public
        self.algorithm = algorithm_of(self.public_key)
        self.sign(b"v2g: does this key sign?")  # a TPM compares the PIN only when the key is used

    def __str__(self) -> str:
        return str(self.reference)

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data`. Raises KeyAccessError."""
        tpm, key = self._open()
        _, digest, width = _CURVES[self.algorithm]
        signature = tpm.sign(key, digest, data)
        if signature is None:
            raise self._failed(tpm)
        r, s = decode_dss_signature(signature)
        return r.to_bytes(width, "big") + s.to_bytes(width, "big")

    def agree(self, peer: AgreementPeer) -> bytes:
        """Return the x coordinate shared with `peer`. Raises KeyAccessError, SignatureError."""
        check_agreement(self.public_key, peer)
        tpm, key = self._open()
        point = same_curve(self, peer).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        secret = tpm.derive(key, point)
        if secret is None:
            raise self._failed(tpm)
        return secret.rjust(_CURVES[self.algorithm][2], b"\0")

    def close(self) -> None:
        """Release the TPM."""
        self._over = self._over or "it is closed"
        self._opened = None

    @staticmethod
    def _leave(key: "weakref.ref[TpmKey]") -> None:
        """At the end of the process: without a resource manager a TPM keeps loaded keys."""
        if (found := key()) is not None:
            found.close()

    def _failed(self, tpm: Tpm) -> KeyAccessError:
        """Return the error of a failed operation, and release the TPM; the next use reconnects."""
        reasons = "; ".join(tpm.lib.reasons()) or "no reason given"
        hint = ""
        if any(words in reasons for words in _REFUSED):
            self._over = "its PIN was wrong before"
            hint = "correct the PIN in pin-source and start again"
        elif _LOCKED in reasons:
            hint = "after wrong PINs a TPM waits: tpm2_getcap properties-variable, tpm2_dictionarylockout"
        self._opened = None
        _FOUND.pop(self._tcti, None)
        return KeyAccessError(f"{self}: {reasons}", hint=hint)

    def _open(self) -> tuple[Tpm, Pointer]:
        if self._over:
            raise KeyAccessError(f"{self} is not used: {self._over}")
        if self._opened is None:
            pin = read_pin(self.reference.pin)
            tpm = connect(self._tcti)
            if self.reference.path is not None:
                uri = f"file:{self.reference.path.absolute()}"
            else:
                uri = f"handle:{self.reference.handle}{'?pass' if pin else ''}"
            key = tpm.load(uri, pin)
            if key is None:
                reasons = "; ".join(tpm.lib.reasons()) or "not found"
                hint = "" if pin else "a key with a PIN needs pin-source="
                raise KeyAccessError(f"the TPM has no private key {self}: {reasons}", hint=hint)
            self._opened = tpm, key
        return self._opened


def connect(tcti: str) -> Tpm:
    """Return the TPM for `tcti`; keys share the connection, since some TPMs allow only one.

    Raises ConfigError without provider, KeyAccessError without TPM.
    """
    found = _FOUND.get(tcti)
    if found is None:
        found = _FOUND[tcti] = Tpm(openssl.load(), tcti)
    return found


_FOUND: "Final[weakref.WeakValueDictionary[str, Tpm]]" = weakref.WeakValueDictionary()
"""Connections in use."""


def open_tpm(reference: KeyReference) -> TpmKey:
    """Return a persistent key, or one in a TPM's key file. Raises as `v2g.io.keys.stores.open_key`."""
    return TpmKey(reference)


def make_tpm(reference: KeyReference, algorithm: Algorithm) -> TpmKey:
    """Create a key under the TPM's owner hierarchy and write its key file, which only this TPM can use.

    The PIN of the reference becomes the key's. Raises KeyAccessError, also when the file exists.
    """
    if reference.path is None:
        raise KeyAccessError(
            f"{reference}: keys of a TPM are created in files", hint="tpm2_evictcontrol turns one into a handle"
        )
    if reference.path.exists():
        raise KeyAccessError(f"{reference.path} exists", hint="choose another name")
    if algorithm not in _CURVES:
        raise KeyAccessError("TPMs do not support Ed448", hint="use secp521r1, or a PKCS#11 token")
    tpm = connect(reference.options.get("tcti", os.environ.get("TPM2OPENSSL_TCTI", "")))
    pem = tpm.generate(_CURVES[algorithm][0], read_pin(reference.pin))
    if not pem:
        reasons = "; ".join(tpm.lib.reasons())
        hint = "many TPMs support P-256 only: tpm2_getcap ecc-curves"
        raise KeyAccessError(f"the TPM cannot create a {algorithm.value} key: {reasons}", hint=hint)
    save_secret(reference.path, pem)
    return TpmKey(reference)


@contextlib.contextmanager
def _environment(**changes: str) -> Iterator[None]:
    """Set environment variables temporarily; an empty value leaves one unchanged."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update({name: value for name, value in changes.items() if value})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
