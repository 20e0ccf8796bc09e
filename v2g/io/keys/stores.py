"""The registry of key stores, and the common interface of their keys.

A store that keeps the private half elsewhere (a token, a TPM) returns a `StoredKey`; files return a
`SoftwareKey`. Both sign and agree; only the latter can be exported.
"""

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from v2g.errors import KeyAccessError
from v2g.io.keys.pins import read_pin
from v2g.pki.credentials import Credentials, matching
from v2g.pki.keys import LeafKey, load_key, read_secret
from v2g.pki.reference import KeyReference, Scheme

_TPM_FILE: Final = b"-----BEGIN TSS2 PRIVATE KEY-----"


class StoredKey(LeafKey, Protocol):
    """A key whose private half never leaves its store."""

    reference: KeyReference

    def close(self) -> None:
        """Close the store. A closed key cannot be used any more; idempotent."""


STORES: Final[dict[Scheme, tuple[str, str]]] = {
    "file": ("v2g.io.keys.stores", "open_file"),
    "pkcs11": ("v2g.io.keys.pkcs11", "open_pkcs11"),
    "handle": ("v2g.io.keys.tpm", "open_tpm"),
}
"""Scheme of a reference -> module and function that opens such a key; loaded on demand."""


def open_key(reference: KeyReference) -> LeafKey:
    """Return the key of `reference`.

    Raises KeyAccessError with a hint when it cannot be used, SignatureError for a curve that ISO 15118 does not
    allow, and ConfigError when the store's library is missing.
    """
    module, function = STORES[reference.scheme]
    opener: Callable[[KeyReference], LeafKey] = getattr(importlib.import_module(module), function)
    return opener(reference)


def open_file(reference: KeyReference) -> LeafKey:
    """Return the key in a PEM file; a TPM's own key file is opened by the TPM."""
    assert reference.path is not None
    if is_tpm_file(reference):
        opener: Callable[[KeyReference], LeafKey] = importlib.import_module("v2g.io.keys.tpm").open_tpm
        return opener(reference)
    return load_key(reference.path, read_pin(reference.pin))


def load_credentials(chain_path: Path, reference: KeyReference) -> Credentials:
    """Return a chain together with its key.

    Raises CertificateError(malformed) for a bad chain file, and as `open_key`; KeyAccessError also for a key that is
    not the leaf's.
    """
    return matching(chain_path, partial(open_key_of, reference), reference)


def open_key_of(reference: KeyReference, public: object) -> LeafKey:
    """Return the key of `reference`; in a token, the one of its successors that has this public half.

    Raises as `open_key`.
    """
    if reference.scheme != "pkcs11":
        return open_key(reference)
    opener: Callable[[KeyReference, object], LeafKey] = importlib.import_module("v2g.io.keys.pkcs11").open_fitting
    return opener(reference, public)


def is_tpm_file(reference: KeyReference) -> bool:
    """Return whether a reference is to a TPM's own key file."""
    try:
        return reference.path is not None and read_secret(reference.path).lstrip().startswith(_TPM_FILE)
    except KeyAccessError:
        return False
