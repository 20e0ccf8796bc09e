"""The folder of an EEBUS node: its key and certificate, the peers that the user trusts, and what a guard has written.

`key.pem` (0600) and `certificate.pem` are made once: another key is another node, which must be paired anew.
`trusted.json` is written by `v2g eebus` and read anew when it changes; the others by the running charger only.
`commands.jsonl` proves what was commanded and drawn (§ 14a EnWG).
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from v2g.eebus.charger import KeptValues
from v2g.eebus.identity import SKI, ski_of
from v2g.errors import CertificateError, ConfigError, StoreError
from v2g.io.storage.kept_file import read_kept
from v2g.pki.keys import PrivateKey, load_private_key, save_key, save_secret

KEY, CERTIFICATE, TRUSTED, FAILSAFE, SEEN, COMMANDS = (
    "key.pem",
    "certificate.pem",
    "trusted.json",
    "failsafe.json",
    "seen.json",
    "commands.jsonl",
)
_YEARS: Final = 10
_HINT: Final = "remove the file: the charger writes another one"


class NodeKey(msgspec.Struct, frozen=True):
    """A node's own certificate and key."""

    certificate: x509.Certificate
    key: PrivateKey
    ski: str


class Trusted(msgspec.Struct, frozen=True):
    """SKIs that the user trusts."""

    skis: tuple[str, ...] = ()


class SeenPeer(msgspec.Struct, frozen=True, kw_only=True):
    """A node that was found or has connected; `id` is its SHIP id, if it is known."""

    ski: str
    id: str = ""
    brand: str = ""
    model: str = ""
    state: str = "found"
    """found, waiting (for trust), connected, disconnected."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the running node shows: its own SKI and the text of its QR code, and peers."""

    ski: str
    qr: str
    peers: tuple[SeenPeer, ...] = ()
    configured: tuple[str, ...] = ()
    """SKIs that the configuration trusts."""


def node_key(folder: Path, name: str) -> NodeKey:
    """Return the node's key, made at the first call. Raises ConfigError, KeyAccessError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / KEY).exists():
            save_key(folder / KEY, ec.generate_private_key(ec.SECP256R1()))
        key = load_private_key(folder / KEY)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        if not (folder / CERTIFICATE).exists():
            made = _self_signed(key, name)
            (folder / CERTIFICATE).write_bytes(made.public_bytes(Encoding.PEM))
        certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        if certificate.public_key() != key.public_key():
            raise ConfigError(f"{folder}: certificate and key differ", hint=f"remove {folder / CERTIFICATE}")
        return NodeKey(certificate, key, ski_of(certificate))
    except (OSError, ValueError, CertificateError) as error:
        raise ConfigError(f"the EEBUS node in {folder}: {error}") from None


def _self_signed(key: ec.EllipticCurvePrivateKey, name: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def trusted(folder: Path) -> frozenset[str]:
    """Return the SKIs that the user trusts. Raises StoreError."""
    found = read_kept(folder / TRUSTED, Trusted, hint=_HINT) or Trusted()
    return frozenset(each for each in found.skis if SKI.match(each))


def trust(folder: Path, skis: frozenset[str]) -> None:
    """Write the SKIs that the user trusts. Raises StoreError."""
    path = folder / TRUSTED
    try:
        save_secret(path, as_text(Trusted(tuple(sorted(skis)))))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None


def kept(folder: Path) -> KeptValues:
    """Return what outlives a restart. Raises StoreError."""
    return read_kept(folder / FAILSAFE, KeptValues, hint=_HINT) or KeptValues()


def seen(folder: Path) -> Seen | None:
    """Return what the running node shows; None before its first start. Raises StoreError."""
    return read_kept(folder / SEEN, Seen, hint=_HINT)


def as_text(value: msgspec.Struct) -> bytes:
    """Return what a file of the folder says, for people, too."""
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"
