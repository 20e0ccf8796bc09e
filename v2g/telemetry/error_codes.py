"""Error codes in logs: what they mean, and the line of a gateway's error log (R158)."""

from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from v2g.text import printable, redacted

Level = Literal["ERROR", "WARNING"]

LINE: Final = (
    r"^(?P<utc>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>ERROR|WARNING) (?P<code>0x[0-9A-F]{3}) "
    r"(?P<name>[A-Z][A-Z0-9_]*) (?P<detail>.+)\Z"
)
"""A line of the error log, without its line feed."""

MAX_DETAIL: Final = 500


class ErrorCode(NamedTuple):
    """An error in a log: its name, the cause, and what to do."""

    name: str
    cause: str
    hint: str


CODES: Final = {
    0x1A4: ErrorCode(
        "ISO15118_MSG_TIMEOUT",
        "a message was not answered in time: the peer, the line or this computer is too slow",
        "`v2g trace --stats` shows who was late; beside a busy back end, give it more workers",
    ),
    0x1C1: ErrorCode(
        "CAN_FAULT",
        "a CAN bus has a fault, or another bit rate than configured",
        "`v2g diag can` shows bit rate, state and errors of the bus",
    ),
    0x1D1: ErrorCode(
        "OUTBOX_FULL",
        "the gateway has deleted records that the back end has not stored, for lack of space",
        "raise `max_outbox_bytes`, or restore the uplink",
    ),
    0x1D2: ErrorCode(
        "UPLINK_DOWN",
        "the back end does not store records; they wait in the outbox",
        "check broker and back end; `v2g diag tls` shows why a handshake fails",
    ),
    0x1D3: ErrorCode("RECORD_UNREADABLE", "a record in the outbox is damaged, and was given up", "check the disk"),
    0x1D4: ErrorCode(
        "BOOT_RENUMBERED",
        "another gateway or a lost outbox has used the boot's number, or the clock was set back; nothing is lost",
        "check that no other device has this `ev`, and the clock",
    ),
    0x1D5: ErrorCode(
        "OUTBOX_DAMAGED",
        "the outbox's file was damaged; it is set aside, what could be read is delivered, the rest is reported lost",
        "check the disk; the file that was set aside may be deleted",
    ),
    0x1E1: ErrorCode(
        "TASK_FAILED",
        "a part of the gateway has failed and is restarted",
        "the detail says why: a full disk, or an adapter that is gone",
    ),
    0x2B9: ErrorCode(
        "UNSUPPORTED_SCHEMA_VERSION",
        "a telemetry record has a version of the schema that the back end does not know",
        "update the back end; `v2g csms quarantine --release` then stores the record",
    ),
}
"""0x1A4 and 0x2B9 are names of the field; the others are this project's."""


def error_line(utc_ms: int, level: Level, code: int, detail: str) -> str:
    """Return a line of the error log, with its line feed: `detail` and the hint, without line ends or passwords."""
    at = datetime.fromtimestamp(utc_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc_ms % 1000:03d}Z"
    found = CODES[code]
    text = printable(redacted(detail))[:MAX_DETAIL] or "-"
    return f"{at} {level} 0x{code:03X} {found.name} {text} ({found.hint})\n"
