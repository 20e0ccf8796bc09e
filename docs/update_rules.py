"""The tables of docs/reference/update-rules.md, from `update-rules.toml`."""

import tomllib
from pathlib import Path
from typing import Final

import msgspec

from docs.hazards import links
from docs.markdown import table as markdown

ROWS: Final = Path(__file__).with_name("update-rules.toml")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A clause: what the software does, what is left to the maker or operator, and what is missing."""

    rule: str
    clause: str
    subject: str
    software: str = ""
    operator: str = ""
    missing: str = ""
    tests: tuple[str, ...] = ()


class Attack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An attack by its names in the lists of TUF and Uptane; `tests` show it refused, `here` says the rest."""

    tuf: str = ""
    uptane: str = ""
    here: str = ""
    tests: tuple[str, ...] = ()


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    rules: tuple[Rule, ...]
    attacks: tuple[Attack, ...]


def read() -> Rules:
    """Return the file."""
    return msgspec.convert(tomllib.loads(ROWS.read_text()), Rules)


def table() -> str:
    """Return the clauses, rule by rule."""
    rules = read().rules
    heads = ("Clause", "Asks", "The software", "The maker or operator", "Missing", "Shown by")
    parts = []
    for name in dict.fromkeys(each.rule for each in rules):
        rows = (
            (each.clause, each.subject, each.software, each.operator, each.missing, links(each.tests))
            for each in rules
            if each.rule == name
        )
        parts.append(f"### {name}\n\n{markdown(heads, rows)}")
    return "\n".join(parts)


def attacks() -> str:
    """Return the attacks."""
    rows = ((each.tuf, each.uptane, each.here, links(each.tests)) for each in read().attacks)
    return markdown(("TUF", "Uptane", "Here", "Shown by"), rows)
