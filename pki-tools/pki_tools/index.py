"""The record of all issued and revoked certificates of a tree: `index.json`, used by every command.

A certificate that is not in the index is unknown to the OCSP responder, even if validly signed.
"""

from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from pki_tools.files import write_whole
from v2g import typed_json
from v2g.errors import ConfigError
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.profiles import PROFILES

FILE: Final = "index.json"
_MAX_BYTES: Final = 64 * 1024 * 1024

REASONS: Final = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key_compromise": x509.ReasonFlags.key_compromise,
    "ca_compromise": x509.ReasonFlags.ca_compromise,
    "affiliation_changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation_of_operation": x509.ReasonFlags.cessation_of_operation,
    "certificate_hold": x509.ReasonFlags.certificate_hold,
    "privilege_withdrawn": x509.ReasonFlags.privilege_withdrawn,
    "aa_compromise": x509.ReasonFlags.aa_compromise,
}
"""Reasons of revocation (RFC 5280 5.3.1). `unspecified` is omitted in lists and answers, as required there."""


class TreeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a tree, also for later certificates."""

    url: str  # base of OCSP and CRL addresses in certificates
    operator: str  # O of subjects
    country: str  # C of subjects
    key_kind: KeyKind
    annex_b_critical: bool = False
    generation: Generation = Generation.ISO15118_20  # generation of the profiles


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One certificate. Key identifiers are 20 bytes of SHA-1 (RFC 5280 4.2.1.2), as is `serial`, in hexadecimal."""

    name: str  # what commands call it: `secc`, `cpo/sub2`
    role: Role
    file: str  # PEM, below the tree
    issuer: str  # key identifier of the authority that signed it
    key: str  # key identifier of its own key
    serial: str
    subject: str  # RFC 4514
    not_before: datetime
    not_after: datetime
    replaced: bool = False  # by a later certificate of the same name
    revoked_at: datetime | None = None
    reason: str = ""  # of REASONS

    @property
    def is_authority(self) -> bool:
        """Whether it may sign certificates."""
        return PROFILES[self.role].ca

    @property
    def is_root(self) -> bool:
        """Whether it signed itself."""
        return self.issuer == self.key


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a tree and all issued certificates, oldest first."""

    settings: TreeSettings
    entries: tuple[IndexEntry, ...] = ()
    version: int = 1

    def find(self, name: str) -> IndexEntry:
        """Return the current certificate called `name`. Raises ConfigError."""
        for entry in reversed(self.entries):
            if entry.name == name and not entry.replaced:
                return entry
        names = sorted({entry.name for entry in self.entries})
        raise ConfigError(f"no certificate named {name!r}", hint=f"there are: {', '.join(names)}")

    def find_serial(self, serial: str, issuer: str = "") -> IndexEntry:
        """Return the certificate with a hexadecimal serial number. Raises ConfigError when there is none, or two."""
        wanted = serial.lower().replace(":", "").lstrip("0x") or "0"
        found = [each for each in self.entries if each.serial == wanted and issuer in ("", each.issuer)]
        if len(found) != 1:
            raise ConfigError(f"{len(found) or 'no'} certificates have the serial number {serial}")
        return found[0]

    def authority(self, key: str) -> IndexEntry | None:
        """Return the certificate of the authority with a key identifier; preferably not a cross certificate."""
        found = [each for each in self.entries if each.key == key and each.is_authority]
        return next((each for each in found if each.is_root), found[-1] if found else None)

    def issued_by(self, key: str) -> tuple[IndexEntry, ...]:
        """Return the certificates signed by the authority with a key identifier, except itself."""
        return tuple(each for each in self.entries if each.issuer == key and not each.is_root)

    def with_entry(self, entry: IndexEntry) -> "Index":
        """Return the index with one more certificate."""
        return msgspec.structs.replace(self, entries=(*self.entries, entry))

    def changed(self, old: IndexEntry, new: IndexEntry) -> "Index":
        """Return the index with `new` replacing `old`."""
        return msgspec.structs.replace(
            self, entries=tuple(new if each is old or each == old else each for each in self.entries)
        )


def key_of(certificate: x509.Certificate) -> str:
    """Return the key identifier of a certificate's own key, as the index writes it."""
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest.hex()


def entry_of(
    certificate: x509.Certificate, *, name: str, role: Role, file: str, issuer: x509.Certificate
) -> IndexEntry:
    return IndexEntry(
        name=name,
        role=role,
        file=file,
        issuer=key_of(issuer),
        key=key_of(certificate),
        serial=f"{certificate.serial_number:x}",
        subject=certificate.subject.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def load_index(directory: Path) -> Index:
    """Read the index of a tree. Raises ConfigError."""
    path = directory / FILE
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path} has more than {_MAX_BYTES} bytes")
        index = typed_json.decode(path.read_bytes(), Index)
    except FileNotFoundError:
        raise ConfigError(f"{directory} holds no PKI", hint=f"make one: v2g pki make {directory}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint="it is written by v2g pki; restore it from a copy") from None
    for entry in index.entries:
        # reject paths outside the tree, and times without zone
        parts = (Path(entry.file), Path(entry.name))
        times = (entry.not_before, entry.not_after, entry.revoked_at)
        if any(part.is_absolute() or ".." in part.parts for part in parts):
            raise ConfigError(f"{path}: {entry.name}: file lies outside the tree")
        if any(time is not None and time.tzinfo is None for time in times):
            raise ConfigError(f"{path}: {entry.name}: a time has no time zone")
        if entry.reason not in REASONS and entry.reason:
            raise ConfigError(f"{path}: {entry.name}: unknown reason {entry.reason!r}")
        try:
            int(entry.serial, 16), bytes.fromhex(entry.issuer), bytes.fromhex(entry.key)
        except ValueError:
            raise ConfigError(f"{path}: {entry.name}: not hexadecimal") from None
    return index


def save_index(directory: Path, index: Index) -> None:
    """Write the index of a tree. Raises StoreError."""
    write_whole(directory / FILE, msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n")
