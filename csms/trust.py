"""Loads what `[trust]` names: whose certificates are believed."""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from csms.config import Trust
from csms.core.contracts import Anchors
from v2g.errors import CertificateError, ConfigError, RevocationError
from v2g.pki.credentials import load_chain
from v2g.pki.crl import load_crl


def load_roots(name: str, files: Sequence[Path]) -> tuple[bytes, ...]:
    """Return the certificates (DER) in PEM files that `name` lists. Raises ConfigError, also for none."""
    try:
        roots = tuple(der for file in files for der in load_chain(file))
    except CertificateError as error:
        raise ConfigError(f"{name}: {error}", hint="roots are PEM files") from None
    if not roots:
        raise ConfigError(f"{name} names no certificate")
    return roots


def load_anchors(config: Trust) -> Anchors:
    """Read the files that `[trust]` names. Raises ConfigError."""
    try:
        roots = tuple(der for name in config.roots for der in load_chain(Path(name)))
        crosses = tuple(der for name in config.cross_certificates for der in load_chain(Path(name)))
        issuers = tuple(
            x509.load_der_x509_certificate(der) for name in config.issuers for der in load_chain(Path(name))
        )
        crls = tuple(load_crl(Path(name).read_bytes()) for name in config.crls)
        revoked = frozenset(int(serial, 16) for serial in config.revoked)
    except CertificateError as error:
        raise ConfigError(f"[trust]: {error}", hint="roots and issuers are PEM files") from None
    except RevocationError as error:
        raise ConfigError(f"[trust]: {error}", hint="crls are whole lists, PEM or DER") from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"[trust]: {error}", hint="crls are PEM or DER files, revoked serial numbers in hex"
        ) from None
    if not roots:
        raise ConfigError("[trust]: roots names no certificate", hint="list the MO and V2G roots")
    return Anchors(
        roots=roots,
        crosses=crosses,
        issuers=issuers,
        crls=crls,
        revoked=revoked,
        interop=config.profile == "interop",
    )
