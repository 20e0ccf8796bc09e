"""Revocation: first in the index, then in the authority's CRL and stapled answers."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization

from pki_tools.authority import Keys, load_issuer, sign_crl, sign_staple
from pki_tools.ca_session import CaSession, opened
from pki_tools.files import write_whole
from pki_tools.index import REASONS, IndexEntry
from pki_tools.layout import ANSWERED
from v2g.errors import ConfigError, KeyAccessError
from v2g.pki.crl import load_crl


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
        return _publish(session, revoked)


def _publish(session: CaSession, entry: IndexEntry) -> Revocation:
    files, waiting = [], ""
    authority = session.index.authority(entry.issuer)
    assert authority is not None
    try:
        crl = sign_crl(session.index, authority, load_issuer(session.directory, authority, session.keys), at=session.at)
    except KeyAccessError:
        waiting = authority.name
    else:
        file = str(Path(authority.file).with_suffix(".crl"))
        write_whole(session.directory / file, crl)
        files.append(file)
    # An earlier certificate, which may still be in use, has its own answer; the later one's covers it, too.
    for each in {entry, session.index.find(entry.name)} if entry.role in ANSWERED else ():
        file = str(Path(each.file).with_name("ocsp.der"))
        if (session.directory / file).exists():
            write_whole(session.directory / file, sign_staple(session.directory, session.index, each, at=session.at))
            files.append(file)
    return Revocation(entry=entry, files=tuple(files), waiting=waiting)


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
