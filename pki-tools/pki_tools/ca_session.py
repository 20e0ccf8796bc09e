"""A tree opened for change: by one program at a time, its index in memory, keys of authorities available.

Every change is first written to the index: a certificate in use is always known to the responder.
Files change afterwards, related ones atomically (`files.stage`), so running and starting programs are not
disturbed.
"""

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509

from pki_tools import authority
from pki_tools.files import locked
from pki_tools.index import Index, IndexEntry, load_index, save_index
from pki_tools.layout import ANSWERED
from v2g.errors import ConfigError
from v2g.pki.certificates import key_kind
from v2g.pki.conformity import check_profile
from v2g.pki.csr import requested_key
from v2g.pki.issue import CertifiedKey, Issuer, Subject
from v2g.pki.keys import PrivateKey
from v2g.pki.profile import KeyKind, Role
from v2g.pki.profiles import profile_of


class CertificateSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate to be issued; `above` is the name of its issuer, None for a root.

    The key is that of `request`, whose signature has been checked, or `key`, or a new one of `kind`.
    """

    role: Role
    subject: Subject
    above: str | None
    hosts: tuple[str, ...] = ()
    days: int | None = None  # None: the profile's
    kind: KeyKind
    key: PrivateKey | None = None
    request: x509.CertificateSigningRequest | None = None


class Made(msgspec.Struct, frozen=True):
    """An issued certificate, not yet in use, with its key unless held elsewhere, and its issuer."""

    certificate: x509.Certificate
    key: PrivateKey | None
    issuer: x509.Certificate

    @property
    def as_issuer(self) -> Issuer:
        """The certificate as an issuer. Only with its key."""
        assert self.key is not None
        return Issuer(self.certificate, self.key)


class CaSession:
    """Created by `opened`. `at` is now, in whole seconds; `keys` are those of authorities that are not in the tree."""

    def __init__(self, directory: Path, at: datetime, keys: authority.Keys) -> None:
        self.directory = directory
        self.at = at.replace(microsecond=0)
        self.keys = keys
        self.index = load_index(directory)

    def record(self, index: Index) -> None:
        """Store a changed index. Raises StoreError."""
        save_index(self.directory, index)
        self.index = index

    def issuer(self, name: str) -> tuple[IndexEntry, Issuer]:
        """Return an authority that may sign now. Raises ConfigError, KeyAccessError."""
        entry = self.index.find(name)
        if not entry.is_authority or entry.role is Role.CROSS:
            raise ConfigError(f"{name} is not a CA", hint=f"see v2g pki show {self.directory}")
        if entry.revoked_at is not None or entry.not_after < self.at:
            state = "revoked" if entry.revoked_at else "expired"
            raise ConfigError(f"{name} is {state}", hint=f"v2g pki renew {self.directory} {name}")
        return entry, authority.load_issuer(self.directory, entry, self.keys)

    def make(self, spec: CertificateSpec, name: str) -> Made:
        """Return a certificate that conforms to the profile of its role; nothing is written.

        Raises ConfigError for an impossible one, CertificateError for a violation of the profile, KeyAccessError.
        """
        settings, role = self.index.settings, spec.role
        generation = authority.generation_of(settings, role)
        public: CertifiedKey
        key = spec.key
        if spec.request is not None:
            interop = KeyKind.SECP256R1 is settings.key_kind
            public = requested_key(spec.request, role, generation, interop=interop)
        else:
            key = key or authority.new_key(spec.kind, role)
            public = key.public_key()
        if spec.above is not None:
            _, issuer = self.issuer(spec.above)
        elif key is None:
            raise ConfigError("a root is self-signed: it cannot be issued from a request")
        else:
            issuer = Issuer(None, key)
        # the requested days, or the profile's, limited by the issuer's
        days = spec.days or profile_of(spec.role, authority.generation_of(self.index.settings, spec.role)).days
        try:
            end = self.at + timedelta(days=days)
        except OverflowError:
            raise ConfigError(f"--days {days} ends after the year 9999") from None
        if issuer.certificate is not None and end > issuer.certificate.not_valid_after_utc:
            if spec.days is not None:
                raise ConfigError(
                    f"it would outlive {spec.above}, which ends {issuer.certificate.not_valid_after_utc:%Y-%m-%d}",
                    hint=f"ask for fewer --days, or renew first: v2g pki renew {self.directory} {spec.above}",
                )
            end = issuer.certificate.not_valid_after_utc
        validity = self.at - authority.BACKDATED, end
        try:
            certificate = authority.sign_certificate(
                settings,
                spec.above or name,
                issuer,
                role=role,
                subject=spec.subject,
                public_key=public,
                at=self.at,
                validity=validity,
                hosts=spec.hosts,
            )
        except (ValueError, TypeError, OverflowError) as error:
            raise ConfigError(f"not valid in a certificate: {error}") from None
        check_profile(certificate, role, interop=key_kind(public) is KeyKind.SECP256R1, generation=generation)
        return Made(certificate, key, issuer.certificate or certificate)

    def files(self, entry: IndexEntry, made: Made) -> dict[str, bytes]:
        """Return the files of a certificate by name in its folder; all change atomically.

        The certificate must be in the index already.
        """
        path = Path(entry.file)
        files = {path.name: authority.to_pem(made.certificate)}
        if made.key is not None:
            files[path.with_suffix(".key").name] = authority.key_to_pem(made.key)
        if entry.is_authority:
            if made.key is not None:
                files[path.with_suffix(".crl").name] = authority.sign_crl(self.index, entry, made.as_issuer, at=self.at)
        elif entry.role is not Role.OCSP_RESPONDER:
            files["chain.pem"] = authority.to_pem(
                made.certificate, *authority.chain_above(self.directory, self.index, entry)
            )
            if entry.role in ANSWERED:
                files["ocsp.der"] = authority.sign_staple(self.directory, self.index, entry, at=self.at)
        return files

    def certificate(self, entry: IndexEntry) -> x509.Certificate:
        """Return a certificate of the index. Raises ConfigError."""
        return authority.load_pem(self.directory / entry.file)


@contextlib.contextmanager
def opened(directory: Path, *, at: datetime, keys: authority.Keys | None = None) -> Iterator[CaSession]:
    """Open a tree for change; others wait until it is closed. Raises ConfigError, StoreError."""
    if not directory.is_dir():
        raise ConfigError(f"{directory} holds no PKI", hint=f"make one: v2g pki make {directory}")
    with locked(directory):
        yield CaSession(directory, at, keys or {})
