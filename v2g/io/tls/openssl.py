"""The system's OpenSSL (libcrypto and libssl, 3.0 or newer) by its stable binary interface.

The OpenSSL in the `cryptography` package cannot load providers, so it cannot use a TPM, and pyOpenSSL exposes
only a part of it. This module gives access to the system's: it loads the library, owns what it allocates, and reads
its error queue. Rules for everything built on it:

- every pointer that must be freed is wrapped by `own` in the expression that obtains it, and freed by nothing else;
- functions that take over ownership get `give(pointer)`;
- C calls back into functions that live as long as the process, and finds Python objects by handles that
  the object concerned keeps alive; no exception passes through C.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from v2g.errors import ConfigError
from v2g.io.tls.openssl_ffi import ffi

if TYPE_CHECKING:
    from _cffi_backend import FFI

Pointer = Any
"""A C pointer, function or structure: cffi's are not typed."""

NAMES: Final = (
    ("libcrypto.so.3", "libssl.so.3"),
    ("libcrypto.so.4", "libssl.so.4"),
    ("libcrypto.3.dylib", "libssl.3.dylib"),
)
"""libcrypto and libssl by their usual names; the first available one is used."""

INTEGER, UTF8_STRING, OCTET_STRING = 1, 4, 5
"""Types of parameters (OSSL_PARAM(3))."""

_UNMODIFIED: Final = 2**64 - 1
_OLDEST: Final = 0x30000000
_MAX_REASONS: Final = 32


class Params:
    """An array of OSSL_PARAM, and its data: keep this for as long as C reads `array`."""

    def __init__(self, ffi: "FFI", fields: Sequence[tuple[bytes, int, Pointer, int]]) -> None:
        self.array: Pointer = ffi.new("OSSL_PARAM[]", len(fields) + 1)
        self._kept = [(ffi.new("char[]", name), data) for name, _, data, _ in fields]
        for entry, (name, data), (_, kind, _, size) in zip(self.array, self._kept, fields, strict=False):
            entry.key, entry.data_type, entry.data, entry.data_size = name, kind, ffi.cast("void *", data), size
            entry.return_size = _UNMODIFIED


class OpenSsl:
    """The loaded library; made by `load`."""

    def __init__(self, ffi: "FFI", crypto: Pointer, ssl: Pointer) -> None:
        self.ffi = ffi
        self.crypto = crypto
        self.ssl = ssl
        self.version = self.text(crypto.OpenSSL_version(0))

    def own(self, pointer: Pointer, free: Pointer) -> Pointer:
        """Return `pointer` so that `free` is called once, when it is no longer referenced; None when it is NULL."""
        return None if pointer == self.ffi.NULL else self.ffi.gc(pointer, free)

    def give(self, pointer: Pointer) -> Pointer:
        """Return an owned pointer, transferring ownership to C."""
        self.ffi.gc(pointer, None)
        return pointer

    def text(self, pointer: Pointer) -> str:
        """Return a C string; "" for NULL."""
        return "" if pointer == self.ffi.NULL else str(self.ffi.string(pointer).decode("utf-8", "replace"))

    def params(self, *fields: tuple[bytes, int, Pointer, int]) -> Params:
        """Return parameters: name, type, pointer to the value, and its length in bytes."""
        return Params(self.ffi, fields)

    def reasons(self) -> tuple[str, ...]:
        """Return, and clear, the error queue of this thread, oldest first.

        Clear the queue before an operation whose errors are needed: other users of the library leave theirs behind.
        """
        ffi, crypto, found = self.ffi, self.crypto, list[str]()
        data, text = ffi.new("const char **"), ffi.new("char[]", 256)
        while code := crypto.ERR_get_error_all(ffi.NULL, ffi.NULL, ffi.NULL, data, ffi.NULL):
            words = [self.text(crypto.ERR_reason_error_string(code)), self.text(data[0]).strip()]
            if not any(words):
                crypto.ERR_error_string_n(code, text, len(text))
                words = [self.text(text)]
            found.append(": ".join(filter(None, words)))
        return tuple(found[:_MAX_REASONS])

    def der(self, encode: Pointer, value: Pointer) -> bytes:
        """Return the result of an i2d function for a value; b"" on failure."""
        size = encode(value, self.ffi.NULL)
        if size <= 0:
            return b""
        buffer = self.ffi.new("unsigned char[]", size)
        encode(value, self.ffi.new("unsigned char **", buffer))
        return bytes(self.ffi.buffer(buffer))


@functools.cache
def load() -> OpenSsl:
    """Return the system's OpenSSL. Raises ConfigError when there is none, or only one before 3.0."""
    for names in NAMES:
        try:
            crypto, ssl = map(ffi.dlopen, names)
        except OSError:
            continue
        if crypto.OpenSSL_version_num() >= _OLDEST:
            return OpenSsl(ffi, crypto, ssl)
    raise ConfigError("this machine has no OpenSSL 3 or newer", hint="Debian: apt-get install libssl3")
