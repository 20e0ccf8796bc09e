"""Certificates and keys in `ssl` contexts, for connections outside ISO 15118. Each error names its file."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from v2g.errors import CertificateError, KeyAccessError, V2GError
from v2g.io.runtime.file_watch import FileWatch
from v2g.observe import Observe
from v2g.pki.certificates import common_name, load_certificate
from v2g.pki.credentials import load_chain, load_credentials
from v2g.pki.keys import read_secret

SUITES: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384"
)
"""TLS 1.2 suites of the CSMS: the four of A00.FR.318 (RSA last, for lack of forward secrecy), ECDHE beside them."""
_NO_CHECK_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which `ssl` does not define."""


class TlsFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files of one end.

    Without `chain` and `key` only the other end sends a certificate (security profile 2 of OCPP).
    """

    ca: Path
    """Roots for the other end's certificate."""
    chain: Path | None = None
    """Own certificate first, then its chain."""
    key: Path | None = None
    """Key of the own certificate, PKCS#8, mode 0600."""

    def __post_init__(self) -> None:
        if (self.chain is None) != (self.key is None):
            raise ValueError("give chain and key together, or neither for TLS with a password")

    @property
    def own(self) -> tuple[Path, Path] | None:
        """The own chain and its key."""
        return (self.chain, self.key) if self.chain is not None and self.key is not None else None

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies the other end, with TLS 1.2, too (A00.FR.313). Raises KeyAccessError."""
        return client_context(self.ca, self.chain, self.key, older=True)


def client_context(ca: Path | None, chain: Path | None, key: Path | None, *, older: bool = False) -> ssl.SSLContext:
    """Return a context for TLS 1.3 only, which verifies the peer, and shows the own chain if there is one.

    `older`: TLS 1.2, too, and without `ca` the roots of the machine. Raises KeyAccessError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if older else ssl.TLSVersion.TLSv1_3
    if ca is not None:
        trust(context, ca)
    elif older:
        context.load_default_certs()
    if chain is not None:
        show(context, chain, key)
    return context


def server_context(
    chain: Path,
    key: Path,
    roots: Sequence[Path] = (),
    *,
    second: tuple[Path, Path] | None = None,
    check_dates: bool = True,
) -> ssl.SSLContext:
    """Return the context of a CSMS: TLS 1.2 or newer, the suites of A00.FR.318, no compression (A00.FR.321).

    With `roots` it requires and verifies a certificate of the client (security profile 3), without it requests none
    (profile 2). `second`: chain and key of the other kind, elliptic or RSA. Without `check_dates` those of the client's
    certificates are not checked, which is then up to the caller (`PeerJudge`): so a station with an expired certificate
    gets a specific fault, or is admitted (A00.FR.429). Raises KeyAccessError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # A00.FR.313, A00.FR.416
    show(context, chain, key)
    if second is not None:
        show(context, *second)
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    for root in roots:
        trust(context, root)
        context.verify_mode = ssl.CERT_REQUIRED
    if not check_dates:
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
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


# -- Renewal of certificates in `ssl` contexts while the program runs: later handshakes use the new one. For
# connections outside ISO 15118: OCPP at both ends, the HTTP API, telemetry. Open connections are not affected, unless
# their owner begins new ones (`then`).

POLL_S: Final = 5.0
"""Interval of checks. Certificates overlap by days."""


class RenewedContext:
    """A context, and the files of its chain and key; both PEM. `then` is called after each renewal."""

    def __init__(
        self,
        context: ssl.SSLContext,
        chain: Path,
        key: Path,
        observe: Callable[[Observe], None],
        then: Callable[[], object] = lambda: None,
    ) -> None:
        self._context, self._then = context, then
        self._chain = chain
        self._key = key
        self._observe = observe
        self._watched = FileWatch((chain, key))

    def poll(self) -> None:
        """Load a renewed certificate into the context; an expired one, or one with another key, is reported."""
        if not self._watched.changed():
            return
        try:
            leaf = load_certificate(load_credentials(self._chain, self._key).leaf)
            # A context that fails half way has lost its key: try with a temporary one.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._chain, self._key)
            self._context.load_cert_chain(self._chain, self._key)
        except (V2GError, OSError) as error:  # ssl.SSLError is one
            self._observe(Observe("tls", "credentials_kept", {"certificate": str(self._chain), "error": str(error)}))
            return
        data = {"certificate": common_name(leaf), "until": f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"}
        self._observe(Observe("tls", "credentials_renewed", dict(data)))
        self._then()


class Renewed(Protocol):
    """Contexts that are renewed from files."""

    def poll(self) -> None:
        """Load renewed certificates."""


async def keep_renewed(renewed: Sequence[Renewed], interval_s: float = POLL_S) -> None:
    """Check the files until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        for each in renewed:
            each.poll()
