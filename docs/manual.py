"""What the names of the manual "V2G Fleet Telemetry Standards" are here (R216)."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from docs.markdown import table as markdown

ROOT: Final = Path(__file__).resolve().parent.parent


class ManualRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name: what it is `here`; a command (`run`) that ends with `exit`, or a file, which `shows` it."""

    here: str
    shows: str
    run: str = ""
    file: str = ""
    exit: int = 0


@cache
def rows() -> dict[str, dict[str, ManualRow]]:
    """Return the rows by section and name."""
    return msgspec.convert(tomllib.loads((ROOT / "docs/manual.toml").read_text()), dict[str, dict[str, ManualRow]])


def table() -> str:
    """Return a table for each section."""
    parts = []
    for section, members in rows().items():
        lines = ((name, row.here, f"`{row.run}`" if row.run else "") for name, row in members.items())
        parts.append(f"## {section}\n\n{markdown(('In the manual', 'Here', 'Try'), lines)}")
    return "\n".join(parts)
