"""Content of a tree in reading order: the data behind `v2g pki show DIR`."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography.x509 import ocsp

from pki_tools.index import Entry, Index
from pki_tools.layout import ANSWERED
from v2g.errors import RevocationError
from v2g.pki.crl import load_crl
from v2g.pki.profiles import Role

SOON: Final = 1 / 6
"""Fraction of the lifetime in which renewal is due: ten days of a charger's sixty, four months of two years."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate and its place: `depth` 0 is a root. `days` are left, negative once it has expired.

    `state`: valid, due (renew it now), expired, not_yet_valid, revoked, replaced (by a later one, and still valid).
    `key`: whether its private key is here; cross certificates have none. `crl_until`, `ocsp_until`: expiry of the
    related files; None: none.
    """

    depth: int
    name: str
    role: Role
    common_name: str
    state: str
    days: int
    not_after: datetime
    serial: str
    file: str
    key: bool
    revoked_at: datetime | None
    reason: str
    crl_until: datetime | None
    ocsp_until: datetime | None


def overview(directory: Path, index: Index, *, at: datetime, everything: bool = False) -> tuple[Line, ...]:
    """Return the certificates of a tree, each below its issuer.

    Expired replaced ones are omitted, and replaced revoked ones, unless `everything` is set.
    """
    return tuple(_lines(directory, index, at, everything=everything))


def _lines(directory: Path, index: Index, at: datetime, *, everything: bool) -> Iterator[Line]:
    def below(entry: Entry, depth: int) -> Iterator[Line]:
        path = directory / entry.file
        common_name = next((p[3:] for p in reversed(entry.subject.split(",")) if p.startswith("CN=")), entry.subject)
        yield Line(
            depth=depth,
            name=entry.name,
            role=entry.role,
            common_name=common_name,
            state=_state(entry, at),
            days=(entry.not_after - at).days,
            not_after=entry.not_after,
            serial=entry.serial,
            file=entry.file,
            key=entry.role is Role.CROSS or path.with_suffix(".key").exists(),
            revoked_at=entry.revoked_at,
            reason=entry.reason,
            crl_until=_crl_until(path.with_suffix(".crl")) if entry.is_authority else None,
            ocsp_until=_ocsp_until(path.with_name("ocsp.der")) if entry.role in ANSWERED else None,
        )
        if entry.is_authority and entry.role is not Role.CROSS and depth < 8 and index.authority(entry.key) == entry:
            children = [each for each in index.issued_by(entry.key) if everything or _matters(each, at)]
            for child in sorted(children, key=lambda each: (each.is_authority, each.name, each.not_before)):
                yield from below(child, depth + 1)

    for root in index.entries:
        if root.is_root and (everything or _matters(root, at)):
            yield from below(root, 0)


def _matters(entry: Entry, at: datetime) -> bool:
    return not entry.replaced or (entry.revoked_at is None and entry.not_after >= at)


def _state(entry: Entry, at: datetime) -> str:
    if entry.revoked_at is not None:
        return "revoked"
    if at > entry.not_after:
        return "expired"
    if at < entry.not_before:
        return "not_yet_valid"
    if entry.replaced:
        return "replaced"
    return "due" if entry.not_after - at < (entry.not_after - entry.not_before) * SOON else "valid"


def _crl_until(path: Path) -> datetime | None:
    try:
        return load_crl(path.read_bytes()).crl.next_update_utc
    except (OSError, RevocationError):
        return None


def _ocsp_until(path: Path) -> datetime | None:
    try:
        answer = ocsp.load_der_ocsp_response(path.read_bytes())
        return next(iter(answer.responses)).next_update_utc
    except (OSError, ValueError, TypeError, StopIteration):
        return None
