"""What has been tried with whom: programs and libraries that we did not write, and when ours last met them."""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec

from docs.markdown import table as markdown

ROOT: Final = Path(__file__).resolve().parent.parent
ROWS: Final = ROOT / "docs" / "tried.toml"
NOTED: Final = ROOT / "docs" / "tried.json"
PINS: Final = {"==": "PyPI", "@": "npm"}
"""What stands between name and version of a package that a test installs, and where from."""


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """A package that speaks a protocol with ours in some tests (files)."""

    protocol: str
    package: str
    source: Literal["PyPI", "npm", "Debian"]
    role: str
    tests: tuple[str, ...]

    @property
    def key(self) -> str:
        """Names the row, whatever the version."""
        return f"{self.protocol}: {self.named[0]}"

    @property
    def named(self) -> tuple[str, str]:
        """The package's name, and its version if a test names one."""
        for pin, source in PINS.items():
            if source == self.source and pin in self.package:
                name, _, version = self.package.partition(pin)
                return name, version
        return self.package, ""


class Meeting(msgspec.Struct, frozen=True):
    """The last time that all tests of a peer passed: its version, the date (ISO 8601), and how many they were."""

    version: str
    on: str
    tests: int


@cache
def peers() -> tuple[Peer, ...]:
    """Return the rows."""
    return msgspec.convert(tomllib.loads(ROWS.read_text())["peers"], tuple[Peer, ...])


def read(noted: Path = NOTED) -> dict[str, Meeting]:
    """Return when each was met last, by key."""
    return msgspec.json.decode(noted.read_bytes(), type=dict[str, Meeting]) if noted.exists() else {}


def note(met: Mapping[str, Meeting], rows: Iterable[Peer], noted: Path = NOTED) -> None:
    """Write these over what was noted; rows that are gone go with their notes."""
    known = {each.key for each in rows}
    kept = {key: each for key, each in sorted((read(noted) | dict(met)).items()) if key in known}
    noted.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")


def table(noted: Path = NOTED) -> str:
    """Return the table of peers."""
    return markdown(("Protocol", "With", "Which is", "Last passed"), _lines(read(noted)))


def _lines(met: Mapping[str, Meeting]) -> Iterable[tuple[str, str, str, str]]:
    for each in peers():
        meeting, (name, version) = met.get(each.key), each.named
        passed = f"{meeting.on}, {meeting.tests} tests" if meeting else "not noted"
        shown = " ".join(filter(None, (name, meeting.version if meeting else version)))
        yield each.protocol, f"{shown} ({each.source})", each.role, passed
