"""Messages on a character display of ESC/POS, as a display reads them."""

import re
from typing import Any

import pytest

from v2g.hardware.line_display import CODE_TABLES, CodeTable, octets, pages, setup

ENCODINGS = {number: name for name, number in CODE_TABLES.items()}


class Screen:
    """A display of 2 x 20 characters, by the commands of Epson's DM-D110."""

    def __init__(self) -> None:
        self.lines, self._at, self._rest, self._table = [" " * 20] * 2, (0, 0), b"", ""

    def receive(self, data: bytes) -> None:
        """Execute commands. Raises AssertionError for an unknown one."""
        self._rest += data
        while self._rest:
            match = re.match(rb"(?s)\x1b@|\x1bt.|\x1f\x01|\x1fC.|\x1f\$..|[ -\xff]+|\x0c|\Z", self._rest)
            if match is None:
                assert len(self._rest) < 4, f"unknown command {self._rest[:4]!r}"
                return  # the rest comes later
            self._execute(match[0])
            self._rest = self._rest[match.end() :]

    def _execute(self, command: bytes) -> None:
        if command[:2] == b"\x1bt":
            self._table = ENCODINGS[command[2]]
        elif command[:2] == b"\x1f$":
            assert 1 <= command[2] <= 20, command
            assert 1 <= command[3] <= 2, command
            self._at = command[3] - 1, command[2] - 1
        elif command in (b"\x0c", b"\x1b@"):
            self.lines, self._at = [" " * 20] * 2, (0, 0)
        elif command[0] >= 0x20:
            row, column = self._at
            line = self.lines[row]
            self.lines[row] = (line[:column] + command.decode(self._table) + line[column + len(command) :])[:20]
            assert column + len(command) <= 20, "it would go on in the next line"
            self._at = row, column + len(command)

    @property
    def text(self) -> list[str]:
        """The lines, without spaces at their ends."""
        return [line.rstrip() for line in self.lines]


def shown(about: dict[str, Any], table: CodeTable = "cp850") -> list[list[str]]:
    """What a display shows, page by page; each follows a full one."""
    found = []
    for page in pages(about, 20, 2):
        screen = Screen()
        screen.receive(setup(table) + octets(("x" * 20, "y" * 20), table) + octets(page, table))
        found.append(screen.text)
    return found


@pytest.mark.parametrize(
    ("about", "lines"),
    [
        ({}, [["", ""]]),
        ({"content": "Half price until six"}, [["Half price until six", ""]]),
        ({"content": "Free from\n8 to 9\x1b@\x0c"}, [["Free from 8 to 9 @", ""]]),
        ({"content": "Zwölf Cent für eine Kilowattstunde, heute"}, [["Zwölf Cent für eine", "Kilowattstunde,"],
                                                                    ["heute", ""]]),
        ({"content": "x" * 41}, [["x" * 20] * 2, ["x", ""]]),
        ({"content": "充电 1 €"}, [["?? 1 ?", ""]]),
        ({"content": "<p>A <b>&amp;</b> B</p>", "format": "HTML"}, [["A & B", ""]]),
        ({"content": "a <b> c", "format": "UTF8"}, [["a <b> c", ""]]),
        ({"content": "Free", "notice": {"word": "rejected", "text": ""}}, [["rejected", ""]]),
        ({"notice": {"word": "cost_limit", "text": "No more than 5 EUR"}}, [["No more than 5 EUR", ""]]),
        ({"qr_codes": [{"evse": 1, "url": "https://pay.example"}]}, [["", ""]]),
    ],
)  # fmt: skip
def test_a_message_becomes_pages(about: dict[str, Any], lines: list[list[str]]) -> None:
    assert shown(about) == lines


@pytest.mark.parametrize(
    ("table", "text"), [("cp1252", "5 €"), ("cp852", "Łódź"), ("cp866", "Москва"), ("cp858", "é€")]
)
def test_other_code_tables_have_other_characters(table: CodeTable, text: str) -> None:
    assert shown({"content": text}, table) == [[text, ""]]
