"""Our keys as keys of OpenSSL: a provider that calls Python for signatures, so that TLS can use keys in any store.

OpenSSL gets only the public half. When TLS needs a signature, the provider calls `SigningKey.sign`. The
interface between OpenSSL and a provider is fixed for all versions from 3.0 (provider(7)); engines, the earlier
mechanism, are removed in 4.0. The numbers below are those of its headers.
"""

import functools
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from v2g.errors import KeyAccessError, V2GError
from v2g.io.tls import openssl
from v2g.io.tls.openssl import INTEGER, OCTET_STRING, UTF8_STRING, OpenSsl, Pointer
from v2g.pki.keys import Algorithm, PublicKey, SigningKey, algorithm_of, sign_der

NAME: Final = b"v2g"

_OP_KEYMGMT, _OP_SIGNATURE = 10, 12
_PROVIDER_QUERY_OPERATION: Final = 1027
_KEYMGMT_NEW, _KEYMGMT_FREE, _KEYMGMT_GET_PARAMS, _KEYMGMT_GETTABLE_PARAMS = 1, 10, 11, 12
_KEYMGMT_QUERY_OPERATION_NAME, _KEYMGMT_HAS = 20, 21
_KEYMGMT_IMPORT, _KEYMGMT_IMPORT_TYPES, _KEYMGMT_EXPORT, _KEYMGMT_EXPORT_TYPES = 40, 41, 42, 43
_SIGNATURE_NEWCTX, _SIGNATURE_DIGEST_SIGN_INIT, _SIGNATURE_DIGEST_SIGN, _SIGNATURE_FREECTX = 1, 8, 11, 16

_SELECT_PRIVATE_KEY: Final = 0x01
_SELECT_KEYPAIR: Final = 0x87  # both halves and the parameters

_KINDS: Final = {  # algorithm: (OpenSSL's name, its name of the group, bits, security bits, longest signature, digest)
    Algorithm.ECDSA_SHA512: (b"EC", b"secp521r1", 521, 256, 139, b"SHA512"),
    Algorithm.ECDSA_SHA256: (b"EC", b"prime256v1", 256, 128, 72, b"SHA256"),
    Algorithm.ED448: (b"ED448", b"", 456, 224, 114, b""),
}


class HeldKey:
    """A key or operation behind OpenSSL's handles."""

    def __init__(self, public: PublicKey | None, key: SigningKey | None = None) -> None:
        self.public = public
        self.key = key
        self.failure: V2GError | None = None

    def sign(self, data: bytes) -> bytes:
        """Return the signature in TLS's form, or b"" after setting `failure`."""
        assert self.key is not None
        try:
            return sign_der(self.key, data)
        except V2GError as error:
            self.failure = error
            return b""
        except Exception as error:  # noqa: BLE001 - no exception may pass through C
            self.failure = KeyAccessError(f"{self.key}: {error!r}")
            return b""


class AdoptedKey:
    """One of our keys as OpenSSL sees it: `pointer`, an owned EVP_PKEY."""

    def __init__(self, pointer: Pointer, held: HeldKey) -> None:
        self.pointer = pointer
        self._held = held  # which must not refer back: C stands between, and the collector does not see the circle

    @property
    def failure(self) -> V2GError | None:
        """Why the last signature failed."""
        return self._held.failure


class KeyProvider:
    """A library context with OpenSSL's default provider, and ours for our keys; created by `provider`."""

    def __init__(self, lib: OpenSsl) -> None:
        self._lib = lib
        self._alive: dict[int, Pointer] = {}  # by address: handles that C holds
        self._wanted: dict[int, HeldKey] = {}
        self._keep: list[object] = []  # read by C as long as the process lives
        ffi, crypto = lib.ffi, lib.crypto
        self.context: Pointer = lib.own(crypto.OSSL_LIB_CTX_new(), crypto.OSSL_LIB_CTX_free)
        tables = self._tables()
        dispatch = self._dispatch({_PROVIDER_QUERY_OPERATION: ("void *(*)(void *, int, int *)", tables)})

        def init(_handle: Pointer, _core: Pointer, out: Pointer, own: Pointer) -> int:
            out[0], own[0] = dispatch, ffi.NULL
            return 1

        start = self._callback("OSSL_provider_init_fn", init)
        made = crypto.OSSL_PROVIDER_add_builtin(self.context, NAME, start) == 1 and all(
            crypto.OSSL_PROVIDER_load(self.context, name) != ffi.NULL for name in (b"default", NAME)
        )
        # Only operations with our keys may use our provider.
        if not made or crypto.EVP_set_default_properties(self.context, b"?provider=default") != 1:
            raise KeyAccessError(f"{lib.version}: no provider for our keys: {'; '.join(lib.reasons())}")

    @property
    def alive(self) -> int:
        """Number of keys and operations held by C."""
        return len(self._alive)

    def adopt(self, key: SigningKey) -> AdoptedKey:
        """Return `key` in a form that libssl accepts. Raises KeyAccessError."""
        lib, ffi, crypto = self._lib, self._lib.ffi, self._lib.crypto
        held = HeldKey(key.public_key, key)
        self._wanted[id(held)] = held
        kind = _KINDS[key.algorithm][0]
        made = ffi.new("EVP_PKEY **")
        number = ffi.new("int64_t *", id(held))
        params = lib.params((b"v2g-key", INTEGER, number, 8))
        query = b"provider=" + NAME
        crypto.ERR_clear_error()
        context = lib.own(crypto.EVP_PKEY_CTX_new_from_name(self.context, kind, query), crypto.EVP_PKEY_CTX_free)
        done = (
            context is not None
            and crypto.EVP_PKEY_fromdata_init(context) == 1
            and crypto.EVP_PKEY_fromdata(context, made, _SELECT_KEYPAIR, params.array) == 1
        )
        del self._wanted[id(held)]
        if not done:
            raise KeyAccessError(f"{lib.version} does not accept our key: {'; '.join(lib.reasons())}")
        return AdoptedKey(lib.own(made[0], crypto.EVP_PKEY_free), held)

    # Called by OpenSSL. Keys and operations are handles of Held, alive until C frees them.

    def _new(self, _provider: Pointer) -> Pointer:
        return self._hand_out(HeldKey(None))

    def _hand_out(self, held: HeldKey) -> Pointer:
        # A list, since the object behind a handle of a new key is known only when it is imported.
        handle = self._lib.ffi.new_handle([held])
        self._alive[int(self._lib.ffi.cast("uintptr_t", handle))] = handle
        return handle

    def _free(self, handle: Pointer) -> None:
        self._alive.pop(int(self._lib.ffi.cast("uintptr_t", handle)), None)

    def _held(self, handle: Pointer) -> HeldKey:
        found: HeldKey = self._lib.ffi.from_handle(handle)[0]
        return found

    def _has(self, handle: Pointer, selection: int) -> int:
        held = self._held(handle)
        return int(held.public is not None and (held.key is not None or not selection & _SELECT_PRIVATE_KEY))

    def _import(self, handle: Pointer, _selection: int, params: Pointer) -> int:
        ffi, crypto = self._lib.ffi, self._lib.crypto
        which = crypto.OSSL_PARAM_locate_const(params, b"v2g-key")
        if which == ffi.NULL:
            return 0
        ffi.from_handle(handle)[0] = self._wanted[ffi.cast("int64_t *", which.data)[0]]
        return 1

    def _export(self, handle: Pointer, selection: int, callback: Pointer, argument: Pointer) -> int:
        """Export the public half to another provider; there is no private half."""
        held = self._held(handle)
        if selection & _SELECT_PRIVATE_KEY or held.public is None:
            return 0
        group = _KINDS[algorithm_of(held.public)][1]
        ffi = self._lib.ffi
        public = ffi.from_buffer(_point(held.public))
        fields: list[tuple[bytes, int, Pointer, int]] = [(b"pub", OCTET_STRING, public, len(public))]
        if group:
            fields.append((b"group", UTF8_STRING, ffi.from_buffer(group), len(group)))
        params = self._lib.params(*fields)
        return int(ffi.cast("OSSL_CALLBACK *", callback)(params.array, argument))

    def _get_params(self, handle: Pointer, params: Pointer) -> int:
        crypto, ffi = self._lib.crypto, self._lib.ffi
        public = self._held(handle).public
        if public is None:
            return 0
        _, group, bits, strength, size, digest = _KINDS[algorithm_of(public)]
        for name, number in ((b"bits", bits), (b"security-bits", strength), (b"max-size", size)):
            wanted = crypto.OSSL_PARAM_locate(params, name)
            if wanted != ffi.NULL and crypto.OSSL_PARAM_set_int(wanted, number) != 1:
                return 0
        texts = [(b"group", group)] if group else []
        for name, text in (*texts, (b"default-digest" if group else b"mandatory-digest", digest)):
            wanted = crypto.OSSL_PARAM_locate(params, name)
            if wanted != ffi.NULL and crypto.OSSL_PARAM_set_utf8_string(wanted, text) != 1:
                return 0
        return 1

    def _sign_init(self, operation: Pointer, digest: Pointer, key: Pointer, _params: Pointer) -> int:
        ffi = self._lib.ffi
        if key != ffi.NULL:
            ffi.from_handle(operation)[0] = self._held(key)
        held = self._held(operation)
        if held.key is None:
            return 0
        name = self._lib.text(digest).replace("SHA2-", "SHA")  # SHA512 and SHA2-512 are the same
        return int(name.encode() == _KINDS[held.key.algorithm][5])

    def _sign(self, operation: Pointer, out: Pointer, length: Pointer, room: int, data: Pointer, size: int) -> int:
        ffi, held = self._lib.ffi, self._held(operation)
        assert held.key is not None
        if out == ffi.NULL:
            length[0] = _KINDS[held.key.algorithm][4]
            return 1
        signature = held.sign(bytes(ffi.buffer(data, size)))
        if not signature or len(signature) > room:
            return 0
        ffi.memmove(out, signature, len(signature))
        length[0] = len(signature)
        return 1

    # Tables of these functions for OpenSSL.

    def _tables(self) -> Callable[[Pointer, int, Pointer], Pointer]:
        ffi = self._lib.ffi
        algorithms = {}
        for operation, make in ((_OP_KEYMGMT, self._keymgmt), (_OP_SIGNATURE, self._signature)):
            kinds = ((b"EC", b"ECDSA"), (b"ED448", b"ED448"))
            table = ffi.new("OSSL_ALGORITHM[]", len(kinds) + 1)
            for entry, (key_name, signature_name) in zip(table, kinds, strict=False):
                name = key_name if operation == _OP_KEYMGMT else signature_name
                texts = ffi.new("char[]", name), ffi.new("char[]", b"provider=" + NAME)
                self._keep.append(texts)
                entry.algorithm_names, entry.property_definition = texts
                entry.implementation = make(signature_name)
            algorithms[operation] = table
        self._keep.append(algorithms)

        def query(_provider: Pointer, operation: int, no_cache: Pointer) -> Pointer:
            no_cache[0] = 0
            return algorithms.get(operation, ffi.NULL)

        return query

    def _keymgmt(self, signature_name: bytes) -> Pointer:
        ffi = self._lib.ffi
        name = ffi.new("char[]", signature_name)
        numbers = (b"bits", b"security-bits", b"max-size")
        readable = self._lib.params(*((each, INTEGER, ffi.NULL, 4) for each in numbers))
        movable = self._lib.params((b"pub", OCTET_STRING, ffi.NULL, 0), (b"group", UTF8_STRING, ffi.NULL, 0))
        self._keep += [name, readable, movable]
        return self._dispatch(
            {
                _KEYMGMT_NEW: ("void *(*)(void *)", self._new),
                _KEYMGMT_FREE: ("void (*)(void *)", self._free),
                _KEYMGMT_GET_PARAMS: ("int (*)(void *, OSSL_PARAM *)", self._get_params),
                _KEYMGMT_GETTABLE_PARAMS: ("const void *(*)(void *)", lambda _: readable.array),
                _KEYMGMT_QUERY_OPERATION_NAME: ("const char *(*)(int)", lambda _: name),
                _KEYMGMT_HAS: ("int (*)(const void *, int)", self._has),
                _KEYMGMT_IMPORT: ("int (*)(void *, int, const OSSL_PARAM *)", self._import),
                _KEYMGMT_IMPORT_TYPES: ("const void *(*)(int)", lambda _: movable.array),
                _KEYMGMT_EXPORT: ("int (*)(void *, int, void *, void *)", self._export),
                _KEYMGMT_EXPORT_TYPES: ("const void *(*)(int)", lambda _: movable.array),
            }
        )

    def _signature(self, _name: bytes) -> Pointer:
        return self._dispatch(
            {
                _SIGNATURE_NEWCTX: ("void *(*)(void *, const char *)", lambda *_: self._hand_out(HeldKey(None))),
                _SIGNATURE_FREECTX: ("void (*)(void *)", self._free),
                _SIGNATURE_DIGEST_SIGN_INIT: (
                    "int (*)(void *, const char *, void *, const OSSL_PARAM *)",
                    self._sign_init,
                ),
                _SIGNATURE_DIGEST_SIGN: (
                    "int (*)(void *, unsigned char *, size_t *, size_t, const unsigned char *, size_t)",
                    self._sign,
                ),
            }
        )

    def _dispatch(self, functions: dict[int, tuple[str, Callable[..., object]]]) -> Pointer:
        ffi = self._lib.ffi
        table = ffi.new("OSSL_DISPATCH[]", len(functions) + 1)
        for entry, (number, (signature, function)) in zip(table, functions.items(), strict=False):
            entry.function_id = number
            entry.function = ffi.cast("void *", self._callback(signature, function))
        self._keep.append(table)
        return table

    def _callback(self, signature: str, function: Callable[..., object]) -> Pointer:
        made = self._lib.ffi.callback(signature, function)  # after an exception it returns 0 or NULL
        self._keep.append(made)
        return made


def _point(public: PublicKey) -> bytes:
    if isinstance(public, ec.EllipticCurvePublicKey):
        return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return public.public_bytes_raw()


@functools.cache
def provider() -> KeyProvider:
    """Return the process's provider of our keys. Raises ConfigError without OpenSSL 3, KeyAccessError."""
    return KeyProvider(openssl.load())
