"""What several tests of line display use."""

import re

from v2g.hardware.line_display import CODE_TABLES

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
