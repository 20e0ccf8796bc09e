"""Renewal with overlap: the new certificate is in place before the old one expires, and both are valid meanwhile."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509

from pki_tools.authority import Keys, chain_above, cross_certificate, load_issuer, subject_of, to_pem
from pki_tools.ca_session import CaSession, CertificateSpec, Made, opened
from pki_tools.files import stage
from pki_tools.index import Index, IndexEntry, entry_of
from pki_tools.issuing import Issued, issue_in, responder_order
from pki_tools.layout import responder_name
from v2g.errors import ConfigError
from v2g.pki.certificates import key_kind
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
    session.index = _exchanged(session.index, old, entry, old.file)
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


def _exchanged(index: Index, old: IndexEntry, entry: IndexEntry, file: str) -> Index:
    return index.changed(old, msgspec.structs.replace(old, replaced=True, file=file)).with_entry(entry)


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
