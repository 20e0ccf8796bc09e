"""The tables of docs/explanation/threats.md, from `threats.toml`: ratings by the method of ISO/SAE 21434.

Points of an attack's feasibility by its potential (annex G.3); risk by impact and feasibility (annex H).
"""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec

from docs.hazards import links
from docs.markdown import table as markdown

ROOT: Final = Path(__file__).resolve().parent.parent
ROWS: Final = ROOT / "docs" / "threats.toml"

Time = Literal["day", "week", "month", "half_year", "longer"]
Expertise = Literal["layman", "proficient", "expert", "experts"]
Knowledge = Literal["public", "restricted", "confidential", "strict"]
Window = Literal["unlimited", "easy", "moderate", "difficult"]
Equipment = Literal["standard", "specialised", "bespoke", "several"]
Effort = tuple[Time, Expertise, Knowledge, Window, Equipment]
Kind = Literal["safety", "financial", "operational", "privacy"]
Impact = Literal["negligible", "moderate", "major", "severe"]

POINTS: Final[tuple[Mapping[str, int], ...]] = (
    {"day": 0, "week": 1, "month": 4, "half_year": 17, "longer": 19},
    {"layman": 0, "proficient": 3, "expert": 6, "experts": 8},
    {"public": 0, "restricted": 3, "confidential": 7, "strict": 11},
    {"unlimited": 0, "easy": 1, "moderate": 4, "difficult": 10},
    {"standard": 0, "specialised": 4, "bespoke": 7, "several": 9},
)
"""What each part of an effort counts, in the order of `Effort`."""

FEASIBILITY: Final = ((25, "very low"), (20, "low"), (14, "medium"), (0, "high"))
"""Points from which an attack's feasibility is this."""

RISK: Final[Mapping[Impact, Mapping[str, int]]] = {
    "negligible": {"very low": 1, "low": 1, "medium": 1, "high": 1},
    "moderate": {"very low": 1, "low": 2, "medium": 2, "high": 3},
    "major": {"very low": 1, "low": 2, "medium": 3, "high": 4},
    "severe": {"very low": 2, "low": 3, "medium": 4, "high": 5},
}
"""Risk, 1 to 5, by impact and feasibility."""

_IMPACTS: Final[tuple[Impact, ...]] = tuple(RISK)
TREATED: Final = 3
"""A risk from which a row has to say what remains."""


class Threat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A threat: asset, damage, what it takes without and with the treatment; `tests` show it, FILE[::TEST]."""

    id: str
    asset: str
    damage: str
    treatment: str
    impact: dict[Kind, Impact]
    before: Effort
    after: Effort
    tests: tuple[str, ...]
    remains: str = ""

    @property
    def worst(self) -> Impact:
        """The highest impact of all kinds."""
        return max(self.impact.values(), key=_IMPACTS.index)

    def risk(self, effort: Effort) -> int:
        """Return the risk, 1 to 5, of an attack that takes this effort."""
        return RISK[self.worst][feasibility(effort)]


class Detection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sign of an attack, its events (program, stage, name), and who sees them."""

    sign: str
    events: tuple[str, ...]
    seen: str


class Analysis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    assets: dict[str, str]
    threats: tuple[Threat, ...]
    detection: tuple[Detection, ...]


@cache
def read() -> Analysis:
    """Return the file."""
    return msgspec.convert(tomllib.loads(ROWS.read_text()), Analysis)


def points(effort: Effort) -> int:
    """Return the points of an effort."""
    return sum(table[word] for table, word in zip(POINTS, effort, strict=True))


def feasibility(effort: Effort) -> str:
    """Return how feasible an attack of this effort is."""
    return next(name for least, name in FEASIBILITY if points(effort) >= least)


def tests_of(analysis: Analysis) -> Iterator[str]:
    """Yield the tests that rows name: FILE or FILE::TEST, below `tests`."""
    for each in analysis.threats:
        yield from each.tests


def table() -> str:
    """Return the threats, by asset."""
    found = read()
    parts = []
    for asset, what in found.assets.items():
        rows = [each for each in found.threats if each.asset == asset]
        heads = ("", "Damage", "Treatment", "Impact", "Without: feasibility, risk", "With it", "Shown by")
        parts.append(f"### {what}\n\n{markdown(heads, (_cells(each) for each in rows))}")
    return "\n".join(parts)


def _cells(each: Threat) -> tuple[str, ...]:
    impact = ", ".join(f"{kind} {value}" for kind, value in each.impact.items())
    treatment = each.treatment + (f". **{each.remains}**" if each.remains else "")
    return (
        each.id,
        each.damage,
        treatment,
        impact,
        _rated(each, each.before),
        _rated(each, each.after),
        links(each.tests),
    )


def _rated(each: Threat, effort: Effort) -> str:
    return f"{feasibility(effort)} ({points(effort)}), **{each.risk(effort)}**"


def detection() -> str:
    """Return which events mean an attack, and who sees them."""
    rows = ((each.sign, ", ".join(f"`{event}`" for event in each.events), each.seen) for each in read().detection)
    return markdown(("Sign", "Events", "Seen in"), rows)


def ratings() -> str:
    """Return the points of each word."""
    names = ("Elapsed time", "Expertise", "Knowledge", "Window", "Equipment")
    words = (", ".join(f"{word.replace('_', ' ')} {count}" for word, count in each.items()) for each in POINTS)
    return markdown(("Effort", "Points"), zip(names, words, strict=True))
