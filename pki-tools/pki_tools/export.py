"""Export of certificates for other implementations: PEM, DER, PKCS #12, and the folder for Josev's `iso15118`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from pki_tools.authority import chain_above, load_pem, to_pem
from pki_tools.files import write_whole
from pki_tools.index import Index, IndexEntry
from v2g.errors import ConfigError
from v2g.pki.keys import PrivateKey, load_private_key
from v2g.pki.profile import KeyKind

JOSEV_FOLDER: Final = "iso15118_2"
"""Its loader reads from there for every protocol."""

_JOSEV_AUTHORITIES: Final = {
    "v2g/root": "v2gRootCA",
    "cpo/sub1": "cpoSubCA1",
    "cpo/sub2": "cpoSubCA2",
    "oem/root": "oemRootCA",
    "oem/sub1": "oemSubCA1",
    "oem/sub2": "oemSubCA2",
    "mo/root": "moRootCA",
    "mo/sub1": "moSubCA1",
    "mo/sub2": "moSubCA2",
    "cps/sub1": "cpsSubCA1",
    "cps/sub2": "cpsSubCA2",
}
_JOSEV_PASSWORDS: Final = {
    "seccLeaf": "seccLeafPassword.txt",
    "oemLeaf": "oemLeafPassword.txt",
    "contractLeaf": "contractLeafPassword.txt",
    "cpsLeaf": "cpsLeafPassword.txt",
    "moSubCA2": "moSubCA2LeafPassword.txt",
}
_JOSEV_CHAINS: Final = {"secc": "cpoCertChain.pem", "oem": "oemCertChain.pem"}


def export_pem(directory: Path, index: Index, entry: IndexEntry) -> bytes:
    """Return the certificate and those above it, without the root, as PEM."""
    return to_pem(load_pem(directory / entry.file), *_above(directory, index, entry))


def export_der(directory: Path, entry: IndexEntry) -> bytes:
    """Return the certificate alone as DER, which has no chains."""
    return load_pem(directory / entry.file).public_bytes(serialization.Encoding.DER)


def export_pkcs12(directory: Path, index: Index, entry: IndexEntry, password: bytes) -> bytes:
    """Return key, certificate and chain as PKCS #12, encrypted with AES-256 (PBES2, PBKDF2 of 600,000 rounds).

    Raises ConfigError for an empty password, or a key that is not in the tree.
    """
    if not password:
        raise ConfigError("a key is not exported without a password", hint="see --password-env and --password-file")
    path = directory / entry.file
    key = _key(path)
    encryption = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(600_000)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password)
    )
    chain = list(_above(directory, index, entry))
    return pkcs12.serialize_key_and_certificates(entry.name.encode(), key, load_pem(path), chain, encryption)


def _key(path: Path) -> PrivateKey:
    key_file = path.with_suffix(".key")
    if not key_file.exists():
        raise ConfigError(f"{key_file} is missing: another party holds the key", hint="export PEM or DER")
    return load_private_key(key_file)


def _above(directory: Path, index: Index, entry: IndexEntry) -> tuple[x509.Certificate, ...]:
    return () if entry.is_root else chain_above(directory, index, entry)


def export_josev(
    directory: Path, index: Index, out: Path, password: bytes, *, leaves: Mapping[str, str]
) -> tuple[str, ...]:
    """Write the folder for Josev's PKI_PATH below `out`, and return the files.

    `leaves` selects its `seccLeaf`, `oemLeaf`, `contractLeaf` and `cpsLeaf`. Its vehicle
    uses one OEM leaf for everything; the caller selects the vehicle or the provisioning certificate.
    Keys are encrypted; the password is stored beside them, as its loader requires. Raises ConfigError for a tree with
    other keys than secp256r1, the only ones it supports.
    """
    if index.settings.key_kind is not KeyKind.SECP256R1:
        raise ConfigError(
            f"the tree's keys are {index.settings.key_kind.value}; Josev supports secp256r1 only",
            hint="v2g pki make DIR --key-kind secp256r1",
        )
    if not password or b"\n" in password or password.strip() != password:
        raise ConfigError("its loader needs a password of one line", hint="see --password-env and --password-file")
    certificates = {word: index.find(name) for name, word in _JOSEV_AUTHORITIES.items()}
    certificates |= {word: index.find(name) for word, name in leaves.items()}
    files: dict[str, bytes] = {}
    for word, entry in certificates.items():
        certificate = load_pem(directory / entry.file)
        files[f"certs/{word}Cert.pem"] = to_pem(certificate)
        files[f"certs/{word}Cert.der"] = certificate.public_bytes(serialization.Encoding.DER)
        if (directory / entry.file).with_suffix(".key").exists():
            # a key as encrypted PKCS #8 PEM
            files[f"private_keys/{word}.key"] = _key(directory / entry.file).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password),
            )
        if word in _JOSEV_PASSWORDS:
            files[f"private_keys/{_JOSEV_PASSWORDS[word]}"] = password + b"\n"
    for word, file in _JOSEV_CHAINS.items():
        files[f"certs/{file}"] = export_pem(directory, index, certificates[f"{word}Leaf"])
    for name, data in files.items():
        path = out / JOSEV_FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data, mode=0o600 if name.startswith("private_keys/") else None)
    return tuple(f"{JOSEV_FOLDER}/{name}" for name in files)


LEAVES: Final = {"seccLeaf": "secc", "oemLeaf": "vehicle", "contractLeaf": "contract", "cpsLeaf": "cps"}
"""Josev's leaves -> the tree's, by default."""
