"""Known flaws of what ships: `make audit`, or `python -m deploy.audit [SBOM...]`.

Without arguments: the locks of packages and containers, the OpenSSL that `cryptography` contains, and the Python of the
container. The advisories are those of `deploy/advisories`, so that the same commit gives the same result without a
network; `--renew` replaces them by the newest. A flaw that does not concern us has an entry in `waivers.toml`, with the
reason and the day on which it is looked at again.
"""

import argparse
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Annotated, Final, Literal

import msgspec
from cryptography.hazmat.backends.openssl.backend import backend
from packaging.requirements import InvalidRequirement, Requirement

from deploy.debian import EXTRAS, HERE, KEPT, LOCKS, SYSTEM
from v2g import typed_json
from v2g.config import parse_config
from v2g.errors import CodecError, ConfigError, RefusedError, StoreError, V2GError
from v2g.io import advisories
from v2g.io.http.files import download
from v2g.text import printable

ADVISORIES: Final = HERE / "advisories" / "advisories.jsonl"
WAIVERS: Final = HERE / "advisories" / "waivers.toml"
CONTAINERFILE: Final = HERE / "containers" / "Containerfile"
OSV: Final = "https://storage.googleapis.com/osv-vulnerabilities"
OWN: Final = "v2g-engine"
OLD_DAYS: Final = 90
LARGEST: Final = 512 << 20
"""Bytes of a file, or of an archive of advisories."""


class Component(msgspec.Struct, frozen=True, order=True):
    """What ships, in one version. `system`: it is the machine's, so that its distribution corrects it."""

    ecosystem: str
    name: str
    version: str
    system: bool = False


class Waiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A flaw that does not concern us, until a day."""

    id: str
    component: str
    reason: Annotated[str, msgspec.Meta(min_length=20)]
    until: date


class Waivers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of them."""

    waiver: tuple[Waiver, ...] = ()


class Finding(msgspec.Struct, frozen=True):
    """A flaw of a component, with all ids under which it is known."""

    component: Component
    ids: tuple[str, ...]
    fixed: tuple[str, ...]
    summary: str
    state: Literal["open", "waived", "expired", "system"]
    reason: str = ""

    @property
    def stops(self) -> bool:
        """Whether nothing may be released with it."""
        return self.state in ("open", "expired")


class Report(msgspec.Struct, frozen=True):
    """What an audit found. `unknown`: components of which the database has no source."""

    findings: tuple[Finding, ...]
    unknown: tuple[Component, ...]
    components: int
    sources: tuple[advisories.AdvisorySource, ...]
    old: tuple[advisories.AdvisorySource, ...]


def audit(components: Iterable[Component], database: advisories.Database, waivers: Waivers, today: date) -> Report:
    """Return the known flaws of components."""
    by_package: dict[tuple[str, str], list[tuple[advisories.Advisory, advisories.Affected]]] = {}
    for advisory in database.advisories:
        for affected in advisory.affected if advisory.withdrawn is None else ():
            if affected.package is not None:
                by_package.setdefault(affected.package.key, []).append((advisory, affected))
    covered = {
        advisories.Package(source.ecosystem, name).key for source in database.sources for name in source.packages
    }
    findings, unknown, asked = [], [], sorted(set(components))
    for component in asked:
        key = advisories.Package(component.ecosystem, component.name).key
        if key not in covered:
            unknown.append(component)
        hits = [each for each in by_package.get(key, ()) if advisories.affects(each[1], component.version)]
        findings += [_finding(component, group, waivers, today) for group in _joined(hits)]
    keys = {advisories.Package(each.ecosystem, each.name).key for each in asked}
    old = tuple(
        source
        for source in database.sources
        if (today - source.as_of).days > OLD_DAYS
        and any(advisories.Package(source.ecosystem, name).key in keys for name in source.packages)
    )
    return Report(tuple(findings), tuple(unknown), len(asked), database.sources, old)


def _joined(
    hits: Iterable[tuple[advisories.Advisory, advisories.Affected]],
) -> list[list[tuple[advisories.Advisory, advisories.Affected]]]:
    """Return advisories about the same flaw together: those that share an id or alias."""
    groups: list[tuple[set[str], list[tuple[advisories.Advisory, advisories.Affected]]]] = []
    for hit in hits:
        ids, group = {hit[0].id, *hit[0].aliases}, [hit]
        apart = []
        for known, others in groups:
            if known & ids:
                ids, group = known | ids, others + group
            else:
                apart.append((known, others))
        groups = [*apart, (ids, group)]
    return [group for _, group in groups]


def _finding(
    component: Component, group: list[tuple[advisories.Advisory, advisories.Affected]], waivers: Waivers, today: date
) -> Finding:
    ids = dict.fromkeys(one for advisory, _ in group for one in (advisory.id, *advisory.aliases))
    state: Literal["open", "waived", "expired", "system"] = "system" if component.system else "open"
    reason = ""
    for waiver in waivers.waiver:
        if waiver.component == component.name and waiver.id in ids:
            state, reason = "waived" if today <= waiver.until else "expired", waiver.reason
    fixed = advisories.fixes([affected for _, affected in group], component.version)
    summary = next((advisory.summary for advisory, _ in group if advisory.summary), "")
    return Finding(component, tuple(ids), tuple(fixed), summary, state, reason)


def shipped() -> set[Component]:
    """Return what packages and containers install, by the locks and the Containerfile."""
    found = {each for name in EXTRAS for each in of_lock((LOCKS / f"{name}.txt").read_text(), f"{name}.txt")}
    found.add(Component("generic", "openssl", backend.openssl_version_text().split()[1]))
    if (python := re.search(r"/python:(\d+\.\d+\.\d+)-\S*@sha256:", CONTAINERFILE.read_text())) is None:
        raise ConfigError(f"{CONTAINERFILE.name} names no version of Python by digest")
    kept = {Component("generic", name, version) for name, version, _ in KEPT}
    return found | kept | {Component("generic", "cpython", python[1])}


def of_lock(text: str, name: str) -> Iterator[Component]:
    """Return what a lock installs, on any platform. Raises ConfigError."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(("#", "--hash")):
            continue
        try:
            requirement = Requirement(line.removesuffix("\\"))
            (pinned,) = requirement.specifier
        except (InvalidRequirement, ValueError):
            raise ConfigError(f"{name}:{number}: not a version of a package: {printable(line[:80])}") from None
        yield Component("PyPI", requirement.name, pinned.version)


class _Property(msgspec.Struct, frozen=True):
    name: str
    value: str = ""


class _Listed(msgspec.Struct, frozen=True):
    name: str
    purl: str = ""
    properties: tuple[_Property, ...] = ()


class _Bom(msgspec.Struct, frozen=True):
    bomFormat: Literal["CycloneDX"]  # noqa: N815
    components: Annotated[tuple[_Listed, ...], msgspec.Meta(max_length=100_000)]


_PURL: Final = re.compile(r"pkg:(pypi|generic)/([A-Za-z0-9._-]{1,200})@([^?#/@]{1,200})")


def of_sbom(path: Path) -> Iterator[Component]:
    """Return what a CycloneDX list of components has, except ourselves. Raises StoreError, CodecError."""
    try:
        bom = typed_json.decode(_read(path), _Bom)
    except msgspec.DecodeError as error:
        raise CodecError(f"{path.name}: not a list of components (CycloneDX, JSON): {error}") from None
    for listed in bom.components:
        if listed.name == OWN:
            continue
        if (found := _PURL.match(listed.purl)) is None:
            raise CodecError(
                f"{path.name}: {printable(listed.name[:80])} has no package URL of PyPI, nor a generic one"
            )
        kind, package, version = found.groups()
        system = any(each.name == SYSTEM for each in listed.properties)
        yield Component("PyPI" if kind == "pypi" else kind, package, version.replace("%2B", "+"), system)


def of_image(text: str, name: str, release: str) -> Iterator[Component]:
    """Return the source packages of an image: lines of `dpkg-query`, name and version. Raises ConfigError."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if len(words) != 2:
            hint = "dpkg-query -W -f '${source:Package} ${source:Version}\\n'"
            raise ConfigError(f"{name}:{number}: not a package and its version", hint=hint)
        yield Component(f"Debian:{release}", words[0], words[1])


def refuse(report: Report) -> None:
    """Raise RefusedError for a flaw that stops a release, and for a component that no source covers."""
    stopping = [each for each in report.findings if each.stops]
    if stopping:
        first, more = stopping[0], f", and {len(stopping) - 1} more" if len(stopping) > 1 else ""
        raise RefusedError(
            f"{first.component.name} {first.component.version} has a known flaw: {first.ids[0]}{more}",
            reason="known_flaw",
            hint=f"update it (make lock), or judge it in {WAIVERS.name}",
        )
    if report.unknown:
        names = ", ".join(sorted({each.name for each in report.unknown})[:10])
        raise RefusedError(
            f"no source of advisories covers {names}", reason="not_covered", hint="python -m deploy.audit --renew"
        )


def check(components: Iterable[Component], today: date) -> None:
    """Raise RefusedError unless components may be released, by the advisories that travel with the project."""
    refuse(audit(components, advisories.read_database(_read(ADVISORIES)), read_waivers(), today))


def read_waivers(path: Path = WAIVERS) -> Waivers:
    """Return the judged flaws. Raises ConfigError."""
    return parse_config(_read(path).decode(errors="replace"), Waivers, name=path.name)


def renewed(
    database: advisories.Database, archive: IO[bytes], ecosystem: str, names: Iterable[str], url: str
) -> advisories.Database:
    """Return a database with an ecosystem's advisories from an archive of OSV: a ZIP of one file each.

    Its date is that of its newest advisory, of any package. Raises CodecError.
    """
    packages = tuple(sorted(set(names)))
    wanted = {advisories.Package(ecosystem, name).key for name in packages}
    kept = [each for each in database.advisories if not _about(each, ecosystem)]
    newest = ""
    try:
        with zipfile.ZipFile(archive) as files:
            for entry in files.infolist():
                if entry.file_size > advisories.LONGEST:
                    raise CodecError(f"{entry.filename} has {entry.file_size} bytes, {advisories.LONGEST} are allowed")
                try:
                    advisory = advisories.read_advisory(files.read(entry))
                except CodecError as error:
                    raise CodecError(f"{entry.filename}: {error}") from None
                newest = max(newest, advisory.modified)
                if (found := advisories.compact(advisory, lambda package: package.key in wanted)) is not None:
                    kept.append(found)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise CodecError(f"{url} is not a ZIP archive of advisories: {error}") from None
    try:
        as_of = datetime.fromisoformat(newest).date()
    except ValueError:
        raise CodecError(f"{url} has no advisory with a date") from None
    others = tuple(each for each in database.sources if each.ecosystem != ecosystem)
    source = advisories.AdvisorySource(
        ecosystem, url, "CC-BY-4.0, and those of each advisory's own source", as_of, packages
    )
    return advisories.Database((*others, source), tuple(kept))


def _about(advisory: advisories.Advisory, ecosystem: str) -> bool:
    return any(each.package is not None and each.package.ecosystem == ecosystem for each in advisory.affected)


def renew(path: Path, components: Iterable[Component], server: str) -> None:
    """Replace the advisories of each ecosystem that OSV has, for these components. Raises TransferError, CodecError."""
    database = advisories.read_database(_read(path))
    names: dict[str, set[str]] = {}
    for each in components:
        if each.ecosystem != "generic":
            names.setdefault(each.ecosystem, set()).add(each.name)
    for ecosystem, wanted in sorted(names.items()):
        url = f"{server}/{ecosystem}/all.zip"
        with tempfile.TemporaryFile() as archive:
            download(url, archive, most=LARGEST)
            database = renewed(database, archive, ecosystem, wanted, url)
    path.write_bytes(advisories.write_database(database))


def shown(report: Report) -> Iterator[str]:
    """Return the lines of a report."""
    for source in report.sources:
        count = len(source.packages)
        yield f"advisories as of {source.as_of}: {source.ecosystem}, {count} packages, {source.url}"
    if report.findings:
        rows = [("COMPONENT", "VERSION", "ADVISORY", "FIXED IN", "STATE", "SUMMARY")]
        for each in report.findings:
            ids, fixed = " ".join(each.ids), " ".join(each.fixed) or "-"
            summary = each.summary + (f" ({each.reason})" if each.reason else "")
            rows.append((each.component.name, each.component.version, ids, fixed, each.state, summary))
        widths = [max(len(printable(row[column])) for row in rows) for column in range(5)]
        for row in rows:
            *cells, last = map(printable, row)
            yield "  ".join([*map(str.ljust, cells, widths), last[:200]])
    for component in report.unknown:
        yield f"not covered: {component.ecosystem} {printable(component.name)} {printable(component.version)}"
    states = [each.state for each in report.findings]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) or "none"
    yield f"{report.components} components, {len(report.unknown)} not covered; known flaws: {counts}"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    if len(data) > LARGEST:
        raise StoreError(f"{path} has more than {LARGEST} bytes")
    return data


def main() -> int:
    """Audit what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m deploy.audit", description=__doc__.splitlines()[0])
    parser.add_argument("sbom", type=Path, nargs="*", help="lists of components (CycloneDX); without: what ships")
    parser.add_argument("--image", type=Path, help="packages of an image, by dpkg-query, names of their sources")
    parser.add_argument("--debian", default="12", help="release of the image (default: 12)")
    parser.add_argument("--advisories", type=Path, default=ADVISORIES, help="file of advisories")
    parser.add_argument(
        "--today", type=date.fromisoformat, default=datetime.now(UTC).date(), help="YYYY-MM-DD, else the clock's"
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--renew", action="store_true", help="replace the advisories by OSV's newest first")
    parser.add_argument("--server", default=OSV, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        components = {each for path in options.sbom for each in of_sbom(path)} or shipped()
        if options.image is not None:
            text = _read(options.image).decode(errors="replace")
            components.update(of_image(text, options.image.name, options.debian))
        if options.renew:
            renew(options.advisories, components | shipped(), options.server)
        report = audit(components, advisories.read_database(_read(options.advisories)), read_waivers(), options.today)
    except V2GError as error:
        sys.stderr.write(
            printable(f"audit: {error}") + f"\n{f'       {error.hint}' if error.hint else ''}".rstrip() + "\n"
        )
        return error.exit_code
    print(msgspec.json.encode(report).decode() if options.json else "\n".join(shown(report)))
    for source in report.old:
        remedy = "python -m deploy.audit --renew" if source.ecosystem != "generic" else f"see {source.url}"
        sys.stderr.write(f"audit: advisories of {source.ecosystem} are of {source.as_of}: {remedy}\n")
    return int(any(each.stops for each in report.findings))


if __name__ == "__main__":
    sys.exit(main())
