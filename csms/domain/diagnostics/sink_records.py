"""What sinks get: stored records with their typed values, and the topics and lines that carry them.

The line protocol is InfluxDB's (docs.influxdata.com, "Line protocol reference").
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

UNCLASSIFIED = "vehicle"
"""Class of vehicles that no pattern matches."""


class StoredRecord(msgspec.Struct, frozen=True):
    """A stored record: its key, time (UTC), driving mode and numbers, and its canonical JSON.

    `late`: the sink has got one of the vehicle with a higher (boot, seq) before.
    """

    ev: str
    boot: int
    seq: int
    at_ms: int
    context: str
    values: Mapping[str, float]
    document: bytes
    late: bool = False

    @property
    def key(self) -> tuple[str, int, int]:
        """(ev, boot, seq)."""
        return self.ev, self.boot, self.seq


def class_of(ev: str, classes: Mapping[str, Sequence[str]]) -> str:
    """Return the first class with a pattern (`T-*`) that matches the vehicle."""
    return next(
        (name for name, patterns in classes.items() if any(fnmatchcase(ev, each) for each in patterns)), UNCLASSIFIED
    )


def line_of(record: StoredRecord) -> str | None:
    """Return a record in line protocol, time in ns; None for one without values.

    The vehicle is a tag: each has a series of its own. Points of one series and time overwrite each other, so boot and
    number tell records of one millisecond apart, as ns.
    """
    if not record.values:
        return None
    fields = [f"{_escape(name)}={float(value)!r}" for name, value in sorted(record.values.items())]
    fields += [f'context="{record.context}"', f"boot={record.boot}i", f"seq={record.seq}i"]
    return f"telemetry,ev={_escape(record.ev)} {','.join(fields)} {record.at_ms}{_within_ms(record):06}"


def _within_ms(record: StoredRecord) -> int:
    """Return ns within the millisecond; fewer than a million, since times end in the middle of the last one."""
    return record.boot % 700 * 1000 + record.seq % 1000


def _escape(name: str) -> str:
    """Return a tag or the name of a field; vehicles and signals have no character but those of their patterns."""
    return name.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")
