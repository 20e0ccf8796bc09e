"""Advisories in OSV format (https://ossf.github.io/osv-schema/), and the file of those that travel with the project.

The file has one JSON object a line: first the sources with their dates and the packages that each covers, then the
advisories. Affected is a version that an advisory lists, or one in a range; a range that cannot be read affects every
version, since it excludes none.
"""

import functools
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Annotated, Any, Final

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import Version

from v2g import typed_json
from v2g.errors import CodecError
from v2g.typed_json import Fields

LONGEST: Final = 4 << 20
"""Bytes of one advisory."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=1 << 20)]


class VersionEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A border of a range: a version from which the flaw exists, or no longer exists, or the last one that has it."""

    introduced: Name | None = None
    fixed: Name | None = None
    last_affected: Name | None = None


class Range(msgspec.Struct, frozen=True):
    """Versions between borders; `type` GIT counts commits, which say nothing about a version."""

    type: Name
    events: Annotated[tuple[VersionEvent, ...], msgspec.Meta(max_length=10_000)]


class Package(msgspec.Struct, frozen=True):
    """A package of an ecosystem, such as PyPI or Debian:12; ours for others is `generic`, as in a purl."""

    ecosystem: Name
    name: Name

    @property
    def key(self) -> tuple[str, str]:
        """The ecosystem and the normalized name."""
        return self.ecosystem, canonicalize_name(self.name) if self.ecosystem == "PyPI" else self.name


class Affected(msgspec.Struct, frozen=True, omit_defaults=True):
    """A package, and which of its versions have the flaw."""

    package: Package | None = None
    ranges: Annotated[tuple[Range, ...], msgspec.Meta(max_length=1_000)] = ()
    versions: Annotated[tuple[Name, ...], msgspec.Meta(max_length=100_000)] = ()


class Advisory(msgspec.Struct, frozen=True, omit_defaults=True):
    """A known flaw."""

    id: Name
    modified: Name
    summary: Text = ""
    aliases: Annotated[tuple[Name, ...], msgspec.Meta(max_length=1_000)] = ()
    withdrawn: Name | None = None
    affected: Annotated[tuple[Affected, ...], msgspec.Meta(max_length=10_000)] = ()


class AdvisorySource(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where advisories come from. `as_of`: whatever was published later is missing."""

    ecosystem: Name
    url: Name
    licence: Name
    as_of: date
    packages: tuple[Name, ...]
    commit: str = ""
    note: Text = ""


class Sources(msgspec.Struct, frozen=True):
    """The first line of the file."""

    sources: tuple[AdvisorySource, ...]


class Database(msgspec.Struct, frozen=True):
    """Sources and their advisories."""

    sources: tuple[AdvisorySource, ...]
    advisories: tuple[Advisory, ...]


def read_advisory(data: bytes) -> Advisory:
    """Return an advisory. Raises CodecError."""
    if len(data) > LONGEST:
        raise CodecError(f"an advisory has {len(data)} bytes, {LONGEST} are allowed")
    try:
        return typed_json.decode(data, Advisory)
    except msgspec.DecodeError as error:
        raise CodecError(f"not an advisory in OSV format: {error}") from None


def read_database(data: bytes) -> Database:
    """Return the content of the file. Raises CodecError with the line."""
    first, *others = data.splitlines() or [b""]
    try:
        sources = typed_json.decode(first, Sources).sources
    except msgspec.DecodeError as error:
        raise CodecError(f"line 1: not the sources of advisories: {error}") from None
    advisories = []
    for number, line in enumerate(others, 2):
        try:
            advisories.append(read_advisory(line))
        except CodecError as error:
            raise CodecError(f"line {number}: {error}") from None
    return Database(sources, tuple(advisories))


def write_database(database: Database) -> bytes:
    """Return the file: advisories sorted, so that a renewal changes few lines."""
    lines: list[object] = [Sources(database.sources), *sorted(database.advisories, key=lambda each: each.id)]
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def compact(advisory: Advisory, wanted: Callable[[Package], bool]) -> Advisory | None:
    """Return what an audit of the wanted packages needs, with the same result; None for nothing.

    Listed versions are left out where a range has them.
    """
    kept = []
    for affected in advisory.affected:
        if affected.package is None or not wanted(affected.package):
            continue
        ranges = tuple(each for each in affected.ranges if each.type != "GIT") or affected.ranges
        order = order_of(affected.package.ecosystem)
        listed = tuple(one for one in affected.versions if not any(in_range(one, each, order) for each in ranges))
        kept.append(msgspec.structs.replace(affected, ranges=ranges, versions=listed))
    if not kept or advisory.withdrawn is not None:
        return None
    return msgspec.structs.replace(advisory, affected=tuple(kept))


Order = Callable[[str], Any]
"""Returns what versions are compared by. Raises ValueError for a text that is not a version."""


def order_of(ecosystem: str) -> Order:
    """Return the order of versions of an ecosystem."""
    if ecosystem.startswith("Debian"):
        return functools.cmp_to_key(_by_dpkg)
    return _openssl if ecosystem == "generic" else Version


_RELEASE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9}){0,3})([a-z]{0,2})(?:-?(alpha|beta|pre|a|b|rc)(\d{1,9}))?")


def _openssl(text: str) -> tuple[tuple[int, ...], str, bool, str, int]:
    """Order releases of OpenSSL, such as 1.1.1w and 3.0.0-alpha17, of CPython, such as 3.14.0rc1, and by number."""
    if (found := _RELEASE.fullmatch(text)) is None:
        raise ValueError(f"not a release: {text}")
    numbers, letters, stage, count = found.groups()
    return tuple(map(int, numbers.split("."))), letters, stage is None, stage or "", int(count or 0)


def _by_dpkg(one: str, other: str) -> int:
    """Compare as Debian does; dpkg decides what a version is."""
    for relation, result in (("lt", -1), ("eq", 0)):
        done = subprocess.run(["dpkg", "--compare-versions", one, relation, other], capture_output=True, check=False)  # noqa: S603, S607
        if done.stderr:
            raise ValueError(f"not versions of Debian: {one}, {other}")
        if done.returncode == 0:
            return result
    return 1


def affects(affected: Affected, version: str) -> bool:
    """Whether a version of its package has the flaw."""
    assert affected.package is not None
    order = order_of(affected.package.ecosystem)
    if any(_equal(version, listed, order) for listed in affected.versions):
        return True
    ranges = [each for each in affected.ranges if each.type != "GIT"]
    if not ranges:
        return not affected.versions  # commits only, or nothing at all: no version is excluded
    return any(in_range(version, each, order) for each in ranges)


def in_range(version: str, range_: Range, order: Order) -> bool:
    """Whether a range has a version, as the OSV schema evaluates it; a border that is not one excludes nothing."""
    if range_.type == "GIT":
        return False
    inside = False
    try:
        asked = order(version)
        for border, event in sorted(_borders(range_.events, order), key=lambda each: each[0]):
            if event.introduced is not None and (not border[0] or asked >= border[1]):
                inside = True
            elif (event.fixed is not None and asked >= border[1]) or (
                event.last_affected is not None and asked > border[1]
            ):
                inside = False
    except ValueError:
        return True
    return inside


def _borders(events: Iterable[VersionEvent], order: Order) -> list[tuple[tuple[bool, object], VersionEvent]]:
    """Return each event with its place: 0 comes before all versions."""
    found = []
    for event in events:
        text = event.introduced or event.fixed or event.last_affected
        if text is None:
            raise ValueError("an event of another kind")
        found.append(((False, order("0.0")) if event.introduced == "0" else (True, order(text)), event))
    return found


def _equal(one: str, other: str, order: Order) -> bool:
    if one == other:
        return True
    try:
        return bool(order(one) == order(other))
    except ValueError:
        return False


def fixes(affected: Sequence[Affected], version: str) -> list[str]:
    """Return the versions after this one that no longer have the flaw, the nearest first."""
    found: Fields = {}
    for each in affected:
        assert each.package is not None
        order = order_of(each.package.ecosystem)
        for event in (event for range_ in each.ranges if range_.type != "GIT" for event in range_.events):
            try:
                if event.fixed is not None and order(event.fixed) > order(version):
                    found[event.fixed] = order(event.fixed)
            except ValueError:
                continue
    return sorted(found, key=found.__getitem__)
