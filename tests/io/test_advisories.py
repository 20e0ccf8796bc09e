"""Which versions an advisory is about, by real ones at the borders of their ranges; and broken ones."""

import json
import shutil
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.audit import ADVISORIES
from tests.together import together
from v2g.errors import CodecError
from v2g.io.advisories import (
    LONGEST,
    Advisory,
    AdvisorySource,
    Affected,
    Database,
    Package,
    Range,
    VersionEvent,
    affects,
    compact,
    fixes,
    read_advisory,
    read_database,
    write_database,
)

SHIPPED = {each.id: each for each in read_database(ADVISORIES.read_bytes()).advisories}


def of(name: str, *events: dict[str, str], versions: tuple[str, ...] = (), ecosystem: str = "PyPI") -> Affected:
    """Return a package's versions: a range of these events."""
    borders = tuple(VersionEvent(**event) for event in events)
    return Affected(Package(ecosystem, name), (Range("ECOSYSTEM", borders),) if events else (), versions)


@together(
    ("advisory", "version", "affected"),
    [
        ("PYSEC-2026-3625", "1.2.0", True),
        ("PYSEC-2026-3625", "1.2.1rc1", True),  # comes before the correction
        ("PYSEC-2026-3625", "1.2.1", False),
        ("PYSEC-2026-3552", "43.0.3", False),  # before the flaw was introduced
        ("PYSEC-2026-3552", "44.0.0", True),
        ("PYSEC-2026-3552", "49.0.0", True),
        ("PYSEC-2026-3552", "50.0.0", False),
        ("PYSEC-2026-2605", "2.6.3", True),  # three ranges
        ("PYSEC-2026-2605", "2.6.4", False),
        ("PYSEC-2026-2605", "2.7.0", True),
        ("PYSEC-2026-2605", "2.8.3", False),
        ("PYSEC-2024-60", "3.10", False),  # no decimal number: after 3.7
        ("CVE-2026-84782", "4.0.2", True),
        ("CVE-2026-84782", "4.0.3", False),
        ("CVE-2026-84782", "4.0.0-beta1", False),  # before the first of its line
        ("CVE-2026-84782", "1.1.1w", True),
        ("CVE-2026-84782", "1.1.1zi", True),
        ("CVE-2026-84782", "1.1.1zj", False),
        ("CVE-2026-84783", "3.6.4", False),  # only of 4.0
        ("CVE-2026-19445", "3.11.16", True),
        ("CVE-2026-19445", "3.11.17", False),
        ("CVE-2025-15366", "3.15.0a5", True),
        ("CVE-2025-15366", "3.15.0", False),
    ],
)
def test_a_range_begins_with_its_first_version_and_ends_before_its_correction(
    advisory: str, version: str, affected: bool
) -> None:
    (one,) = SHIPPED[advisory].affected
    assert affects(one, version) is affected


def test_the_last_affected_version_is_affected() -> None:
    one = of("x", {"introduced": "1.0"}, {"last_affected": "2.0"})
    assert [affects(one, version) for version in ("0.9", "1.0", "2.0", "2.0.post1", "2.1")] == [
        False, True, True, False, False,
    ]  # fmt: skip


def test_listed_versions_are_affected_besides_ranges() -> None:
    one = of("x", {"introduced": "2.0"}, {"fixed": "2.1"}, versions=("1.0", "not-a-version"))
    assert [affects(one, version) for version in ("1.0.0", "1.1", "2.0", "2.1", "not-a-version")] == [
        True, False, True, False, True,
    ]  # fmt: skip


def test_the_order_of_events_does_not_matter() -> None:
    one = of("x", {"fixed": "3.1"}, {"introduced": "3.0"}, {"fixed": "1.5"}, {"introduced": "0"})
    assert [affects(one, version) for version in ("0", "1.4", "1.5", "3.0", "3.1")] == [True, True, False, True, False]


@pytest.mark.parametrize(
    "one",
    [
        of("x", {"introduced": "0"}, {"fixed": "no version"}),
        of("x", {}),  # an event of a kind that is unknown
        of("x"),  # nothing at all
        Affected(Package("PyPI", "x"), (Range("GIT", (VersionEvent(introduced="0"), VersionEvent(fixed="ab12"))),)),
    ],
)
def test_what_cannot_be_read_excludes_no_version(one: Affected) -> None:
    assert affects(one, "1.0")


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg")
def test_versions_of_debian_are_compared_as_debian_does() -> None:
    one = of("openssl", {"introduced": "0"}, {"fixed": "3.0.17-1~deb12u3"}, ecosystem="Debian:12")
    assert affects(one, "3.0.17-1~deb12u2")
    assert affects(one, "3.0.17~rc1-1")
    assert not affects(one, "3.0.17-1~deb12u3")
    assert not affects(one, "1:1.0-1")  # an epoch


def test_the_nearest_correction_is_named_first() -> None:
    (one,) = SHIPPED["CVE-2026-84782"].affected
    assert fixes([one], "3.4.7") == ["3.4.8", "3.5.9", "3.6.5", "4.0.3"]
    assert fixes([one], "4.0.3") == []


def test_a_compact_advisory_says_the_same() -> None:
    versions = tuple(f"1.{minor}" for minor in range(9))
    git = Range("GIT", (VersionEvent(introduced="0"),))
    kept = of("x", {"introduced": "1.2"}, {"fixed": "1.5"}, versions=versions[2:5] + versions[7:8])
    whole = Affected(kept.package, (git, *kept.ranges), kept.versions)
    other = of("y", {"introduced": "0"})
    short = compact(
        Advisory("A-1", "2026-01-01T00:00:00Z", affected=(whole, other)), lambda package: package.name == "x"
    )
    assert short is not None
    (one,) = short.affected
    assert one.versions == ("1.7",)
    assert [affects(one, version) for version in versions] == [affects(whole, version) for version in versions]
    assert compact(short, lambda package: package.name == "z") is None


def test_a_withdrawn_advisory_is_left_out() -> None:
    """PYSEC-2022-43162: a flaw of the server Redis that was withdrawn for the client."""
    one = Advisory("PYSEC-2022-43162", "2024-12-20T18:23:42Z", affected=(of("redis", {"introduced": "0"}),))
    assert compact(one, lambda _: True) is not None
    assert (
        compact(Advisory(one.id, one.modified, withdrawn="2024-11-22T04:37:05Z", affected=one.affected), lambda _: True)
        is None
    )


def test_the_file_is_what_was_written() -> None:
    source = AdvisorySource("PyPI", "https://example.org", "CC0-1.0", date(2026, 1, 2), ("x",))
    database = Database((source,), (Advisory("A-1", "2026-01-01T00:00:00Z", affected=(of("x", {"introduced": "0"}),)),))
    assert read_database(write_database(database)) == database


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode))
def test_any_octets_are_an_advisory_or_the_one_error(data: bytes) -> None:
    for read in (read_advisory, read_database):
        try:
            read(data)
        except CodecError:
            continue


@together(
    "text",
    [
        "{}", "[]", '{"id":"","modified":"x"}', '{"id":"A","modified":"x","affected":[{"versions":[1]}]}',
        '{"id":"' + "A" * 300 + '","modified":"x"}', "[" * 100_000,
    ],
)  # fmt: skip
def test_garbage_names_its_line(text: str) -> None:
    with pytest.raises(CodecError, match="line 2"):
        read_database(b'{"sources":[]}\n' + text.encode())


def test_a_huge_advisory_is_refused() -> None:
    with pytest.raises(CodecError, match="allowed"):
        read_advisory(b'{"id":"A","modified":"x","summary":"' + b"x" * LONGEST + b'"}')
