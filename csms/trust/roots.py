"""Loads the trust anchors of `[trust]`."""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from csms.config import Trust
from csms.contracts.rules import Anchors
from v2g.errors import CertificateError, ConfigError
from v2g.pki.credentials import load_chain


def load_roots(name: str, files: Sequence[Path]) -> tuple[bytes, ...]:
    """Return the certificates (DER) in PEM files of the setting `name`. Raises ConfigError, also for none."""
    try:
        roots = tuple(der for file in files for der in load_chain(file))
    except CertificateError as error:
        raise ConfigError(f"{name}: {error}", hint="roots are PEM files") from None
    if not roots:
        raise ConfigError(f"{name} contains no certificate")
    return roots


def load_anchors(config: Trust) -> Anchors:
    """Read the files of `[trust]`, except revocation lists, which change. Raises ConfigError."""
    try:
        roots = tuple(der for name in config.roots for der in load_chain(Path(name)))
        crosses = tuple(der for name in config.cross_certificates for der in load_chain(Path(name)))
        issuers = tuple(
            x509.load_der_x509_certificate(der) for name in config.issuers for der in load_chain(Path(name))
        )
        revoked = frozenset(int(serial, 16) for serial in config.revoked)
    except CertificateError as error:
        raise ConfigError(f"[trust]: {error}", hint="roots and issuers are PEM files") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"[trust]: {error}", hint="revoked are serial numbers in hex") from None
    if not roots:
        raise ConfigError("[trust]: roots contains no certificate", hint="list the MO and V2G roots")
    return Anchors(roots=roots, crosses=crosses, issuers=issuers, revoked=revoked, interop=config.profile == "interop")
