"""Renewal with overlap: the new certificate is in place before the old one expires, and both are valid meanwhile."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pki_tools.authority import (
    Keys,
    chain_above,
    cross_certificate,
    load_issuer,
    sign_crl,
    sign_staple,
    subject_of,
    to_pem,
)
from pki_tools.ca_session import CaSession, CertificateSpec, Made, opened
from pki_tools.files import stage, write_whole
from pki_tools.index import REASONS, Index, IndexEntry, entry_of
from pki_tools.issuing import Issued, issue_in, responder_order
from pki_tools.layout import ANSWERED, responder_name
from v2g.errors import ConfigError, KeyAccessError
from v2g.pki.certificates import key_kind
from v2g.pki.crl import load_crl
from v2g.pki.profile import Role


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """Options: `keep_key` certifies the same key again; `below` renews certificates of an authority's former key."""

    days: int | None = None
    keep_key: bool = False
    below: bool = False
    request: x509.CertificateSigningRequest | None = None


def renew_certificate(
    directory: Path, name: str, renewal: Renewal, *, at: datetime, keys: Keys | None = None
) -> tuple[Issued, ...]:
    """Renew the certificate called `name` and dependent ones; the first returned is the named one.

    An authority with a new key gets a new OCSP responder, and its former key keeps answering for its certificates. A
    root with a new key gets two cross certificates. Raises ConfigError, CertificateError, KeyAccessError, StoreError.
    """
    with opened(directory, at=at, keys=keys) as session:
        return tuple(_renew(session, name, renewal))


def _renew(session: CaSession, name: str, renewal: Renewal) -> Iterator[Issued]:
    old = session.index.find(name)
    if old.role is Role.CROSS:
        raise ConfigError(f"{name} is a cross certificate", hint="it is reissued when one of its roots is renewed")
    made = session.make(_wish(session, old, renewal), name)
    entry = entry_of(made.certificate, name=name, role=old.role, file=old.file, issuer=made.issuer)
    # replace an old certificate with a new one: index first, then all its files atomically
    folder, place = session.directory / Path(old.file).parent, Path(old.file)
    crosses = []
    if entry.is_root and entry.key != old.key:
        crosses = [*_crosses(session, old, entry, made)]
    session.index = session.index.changed(old, msgspec.structs.replace(old, replaced=True, file=old.file)).with_entry(
        entry
    )
    for cross, _ in crosses:
        session.index = session.index.with_entry(cross)
    files = session.files(entry, made) | {Path(cross.file).name: data for cross, data in crosses}
    staged = stage(folder, place.stem, files)
    former = str((staged.old / place.name).relative_to(session.directory))
    listed = next(each for each in session.index.entries if each.serial == old.serial and each.issuer == old.issuer)
    session.record(session.index.changed(listed, msgspec.structs.replace(listed, file=former)))
    staged.commit()
    written = tuple(str(place.parent / name) for name in files)
    yield Issued(entry=entry, certificate=made.certificate, files=written, former=former)
    if not entry.is_authority:
        return
    if entry.key == old.key:
        yield from _rechain(session, entry)
        return
    responder = responder_name(name)
    if any(each.name == responder and not each.replaced for each in session.index.entries):
        yield from _renew(session, responder, Renewal())
    elif made.key is not None:
        yield from issue_in(session, responder_order(name))
    if renewal.below:
        for each in _below(session.index, name):
            yield from _renew(session, each.name, Renewal(below=True))


def _wish(session: CaSession, old: IndexEntry, renewal: Renewal) -> CertificateSpec:
    certificate = session.certificate(old)
    above = None if old.is_root else session.index.authority(old.issuer)
    if above is None and not old.is_root:
        raise ConfigError(f"the issuer of {old.name} is missing from the index")
    kind = key_kind(certificate.public_key())
    key_file = (session.directory / old.file).with_suffix(".key")
    if renewal.request is None and not key_file.exists() and old.key not in session.keys:
        raise ConfigError(
            f"the key of {old.name} is missing: another party holds it", hint="renew with a request: --csr FILE"
        )
    if kind is None:
        raise ConfigError(f"{old.name} has an unsupported kind of key")
    return CertificateSpec(
        role=old.role,
        subject=subject_of(certificate),
        above=above.name if above else None,
        hosts=tuple(_hosts(certificate)),
        days=renewal.days,
        kind=kind,
        key=load_issuer(session.directory, old, session.keys).key if renewal.keep_key else None,
        request=renewal.request,
    )


def _hosts(certificate: x509.Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in names:
        yield str(name.value)


def _crosses(session: CaSession, old: IndexEntry, entry: IndexEntry, made: Made) -> Iterator[tuple[IndexEntry, bytes]]:
    """Yield the certificates between a root's former and new key (RFC 4210 4.4: new with old, old with new)."""
    former = load_issuer(session.directory, old, session.keys)
    settings, name = session.index.settings, entry.name
    assert former.certificate is not None
    for word, root, signer in (
        ("new-by-former", made.certificate, former),
        ("former-by-new", former.certificate, made.as_issuer),
    ):
        certificate = cross_certificate(settings, name, signer, root, at=session.at)
        assert signer.certificate is not None
        cross = f"{name}-{word}"
        yield (
            entry_of(certificate, name=cross, role=Role.CROSS, file=f"{cross}.pem", issuer=signer.certificate),
            to_pem(certificate),
        )


def _rechain(session: CaSession, authority: IndexEntry) -> Iterator[Issued]:
    """Update the chains of leaves below an authority whose key has a new certificate."""
    for entry in session.index.entries:
        leaf = session.directory / entry.file
        if entry.is_authority or entry.replaced or not (leaf.parent / "chain.pem").exists():
            continue
        chain = chain_above(session.directory, session.index, entry)
        above = session.certificate(authority)
        if above not in chain:
            continue
        certificate = session.certificate(entry)
        files = {each.name: each.read_bytes() for each in leaf.parent.iterdir() if each.is_file()}
        files["chain.pem"] = to_pem(certificate, *chain)
        staged = stage(leaf.parent, leaf.stem, files)
        staged.commit()
        name = str(Path(entry.file).parent / "chain.pem")
        yield Issued(entry=entry, certificate=certificate, files=(name,))


def _below(index: Index, name: str) -> Iterator[IndexEntry]:
    """Yield certificates in use of an authority's former key, except revoked ones and foreign keys."""
    current = index.find(name).key
    former = {each.key for each in index.entries if each.name == name and each.key != current}
    for entry in index.entries:
        special = entry.role in (Role.CROSS, Role.OCSP_RESPONDER) or entry.is_root
        if entry.issuer in former and not entry.replaced and entry.revoked_at is None and not special:
            yield entry


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """The result: the index entry, written files, and an authority whose CRL could not be signed."""

    entry: IndexEntry
    files: tuple[str, ...]
    waiting: str = ""


def revoke_certificate(
    directory: Path,
    *,
    name: str = "",
    serial: str = "",
    reason: str = "unspecified",
    since: datetime | None = None,
    at: datetime,
    keys: Keys | None = None,
) -> Revocation:
    """Revoke the current certificate called `name`, or the one with a hexadecimal `serial` number.

    `since` is the start of its invalidity, `at` now. The responder knows at once. Raises ConfigError
    for an unknown or already revoked one, for a root, and for a reason unknown to RFC 5280.
    """
    if reason not in REASONS:
        raise ConfigError(f"unknown reason {reason!r}", hint=f"known: {', '.join(REASONS)}")
    with opened(directory, at=at, keys=keys) as session:
        entry = session.index.find_serial(serial) if serial else session.index.find(name)
        since = (since or at).replace(microsecond=0)
        if entry.is_root:
            raise ConfigError(f"{entry.name} is a root", hint="remove it from the trust anchors of all parties instead")
        if entry.revoked_at is not None:
            raise ConfigError(f"{entry.name} has been revoked since {entry.revoked_at:%Y-%m-%d %H:%M}Z")
        if since > at:
            raise ConfigError("a certificate cannot be revoked in the future")
        revoked = msgspec.structs.replace(entry, revoked_at=since, reason=reason)
        session.record(session.index.changed(entry, revoked))
        files, waiting = [], ""
        authority = session.index.authority(revoked.issuer)
        assert authority is not None
        try:
            crl = sign_crl(
                session.index, authority, load_issuer(session.directory, authority, session.keys), at=session.at
            )
        except KeyAccessError:
            waiting = authority.name
        else:
            file = str(Path(authority.file).with_suffix(".crl"))
            write_whole(session.directory / file, crl)
            files.append(file)
        # An earlier certificate, which may still be in use, has its own answer; the later one's covers it, too.
        for each in {revoked, session.index.find(revoked.name)} if revoked.role in ANSWERED else ():
            file = str(Path(each.file).with_name("ocsp.der"))
            if (session.directory / file).exists():
                write_whole(
                    session.directory / file, sign_staple(session.directory, session.index, each, at=session.at)
                )
                files.append(file)
        return Revocation(entry=revoked, files=tuple(files), waiting=waiting)


def refresh_crls(
    directory: Path, *, at: datetime, keys: Keys | None = None, only: frozenset[str] | None = None
) -> tuple[str, ...]:
    """Sign the CRL of every authority with an available key, or of `only` those (by key identifier); return the files.

    Raises ConfigError when there is none.
    """
    with opened(directory, at=at, keys=keys) as session:
        files: list[str] = []
        for entry in session.index.entries:
            wanted = only is None or entry.key in only
            if not entry.is_authority or not wanted or session.index.authority(entry.key) != entry:
                continue
            try:
                issuer = load_issuer(directory, entry, session.keys)
            except KeyAccessError:
                continue
            file = str(Path(entry.file).with_suffix(".crl"))
            write_whole(directory / file, sign_crl(session.index, entry, issuer, at=session.at))
            files.append(file)
    if not files:
        raise ConfigError(f"no CA in {directory} has that key")
    return tuple(files)


def crls_as_pem(directory: Path, files: Sequence[str]) -> bytes:
    """Return lists of a tree one after the other as PEM, which brokers such as mosquitto read."""
    lists = (load_crl((directory / file).read_bytes()).crl for file in files)
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in lists)
