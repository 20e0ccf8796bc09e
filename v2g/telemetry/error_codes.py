"""Error codes in logs: what they mean, and the line of a gateway's error log (R158)."""

from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from v2g.tables import table
from v2g.text import printable, redacted

Level = Literal["ERROR", "WARNING"]

LINE: Final = (
    r"^(?P<utc>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>ERROR|WARNING) (?P<code>0x[0-9A-F]{3}) "
    r"(?P<name>[A-Z][A-Z0-9_]*) (?P<detail>.+)\Z"
)
"""A line of the error log, without its line feed."""

MAX_DETAIL: Final = 500


class ErrorCode(msgspec.Struct, frozen=True):
    """An error in a log: its name, the cause, and what to do."""

    name: str
    cause: str
    hint: str


CODES: Final = {
    int(code, 16): each for code, each in table("v2g.telemetry", "data/error_codes.toml", dict[str, ErrorCode]).items()
}
"""0x1A4 and 0x2B9 are names of the field; the others are this project's."""


def error_line(utc_ms: int, level: Level, code: int, detail: str) -> str:
    """Return a line of the error log, with its line feed: `detail` and the hint, without line ends or passwords."""
    at = datetime.fromtimestamp(utc_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc_ms % 1000:03d}Z"
    found = CODES[code]
    text = printable(redacted(detail))[:MAX_DETAIL] or "-"
    return f"{at} {level} 0x{code:03X} {found.name} {text} ({found.hint})\n"
