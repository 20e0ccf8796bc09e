"""Character displays that follow ESC/POS, as at points of sale: a message as pages of lines, and their octets. Pure.

Source: Epson DM-D110 Specification. Displays of other makers have the same commands.
"""

import html
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

CodeTable = Literal["cp437", "cp850", "cp852", "cp858", "cp866", "cp1252"]

CODE_TABLES: Final[Mapping[CodeTable, int]] = {
    "cp437": 0,
    "cp850": 2,
    "cp1252": 16,
    "cp866": 17,
    "cp852": 18,
    "cp858": 19,
}
"""Character code table -> its number (ESC t)."""

CLEAR: Final = b"\x0c"


def setup(table: CodeTable) -> bytes:
    """Return the octets before the first page: ESC @, code table, overwrite mode, no cursor."""
    return b"\x1b@\x1bt" + bytes((CODE_TABLES[table],)) + b"\x1f\x01\x1fC\x00"


def pages(shown: Mapping[str, Any], columns: int, rows: int) -> list[tuple[str, ...]]:
    """Return pages of up to `rows` lines, at least one; `shown` is the object of DriverDisplay. A notice for a driver
    replaces all else while it lasts. The cost of an EVSE replaces its tariff. A QR code cannot be drawn."""
    notice = shown.get("notice")
    text = shown.get("content", "") if notice is None else notice["text"] or notice["word"].replace("_", " ")
    if notice is None and shown.get("format") == "HTML":
        text = html.unescape(re.sub("<[^>]*>", " ", text))
    prices = shown.get("prices", ()) if notice is None else ()
    numbered = [f"{each['evse']}: " * (len(prices) > 1) + (each["cost"] or each["tariff"]) for each in prices]
    plain = ("".join(each if each.isprintable() else " " for each in words) for words in (text, *numbered))
    lines = [line for words in plain for line in textwrap.wrap(" ".join(words.split()), columns)]
    return [tuple(lines[first : first + rows]) for first in range(0, len(lines), rows)] or [()]


def octets(page: Sequence[str], table: CodeTable) -> bytes:
    """Return what shows a page instead of what was there; a character that the table lacks is a question mark."""
    lines = (b"\x1f$\x01" + bytes((row,)) + line.encode(table, "replace") for row, line in enumerate(page, 1))
    return CLEAR + b"".join(lines)
