"""Certificates and keys in `ssl` contexts, for connections outside ISO 15118. Each error names its file."""

import ssl
from pathlib import Path

from v2g.errors import CertificateError, KeyAccessError
from v2g.pki.credentials import load_chain
from v2g.pki.keys import read_secret


def client_context(ca: Path | None, chain: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return a context for TLS 1.3 only, which verifies the peer, and shows the own chain if there is one.

    Raises KeyAccessError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca is not None:
        trust(context, ca)
    if chain is not None:
        show(context, chain, key)
    return context


def trust(context: ssl.SSLContext, roots: Path) -> None:
    """Let a context verify peers by the roots in a PEM file. Raises KeyAccessError."""
    try:
        context.load_verify_locations(roots)
    except OSError as error:  # ssl.SSLError is one
        why = "no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise KeyAccessError(f"{roots}: {why}", hint="roots are PEM files") from None


def show(context: ssl.SSLContext, chain: Path, key: Path | None) -> None:
    """Let a context show a chain, with its key in a file of mode 0600; None: the key is in the chain's file.

    Raises KeyAccessError.
    """
    try:
        load_chain(chain)
    except CertificateError as error:
        raise KeyAccessError(str(error), hint="chains are PEM files") from None
    key = key or chain
    read_secret(key)
    try:
        context.load_cert_chain(chain, key, password="")
    except OSError as error:
        hint = "keys are PEM files of mode 0600 without passphrase"
        raise KeyAccessError(f"{key} is no key of {chain}: {error}", hint=hint) from None
