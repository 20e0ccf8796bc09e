"""Charging sessions that really happened, as operators export them, for the simulator to repeat.

CSV with a header, also of spreadsheets, or JSON Lines (`.jsonl`): a row for each session, other columns are ignored.
"""

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TextIO

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import ConfigError
from v2g.ocpp.messages.authorization import IdTokenType

MOST_SESSIONS: Final = 1_000_000
MOST_STATIONS: Final = 10_000
_HINT: Final = "columns: station,evse,plugged_in,plugged_out,energy_kwh,max_kw,token"


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the file. Times without an offset are UTC."""

    station: Annotated[str, Meta(pattern=r"^[A-Za-z0-9*_=+|@-][A-Za-z0-9*_=+|@.-]{0,47}\Z")]
    evse: Annotated[int, Meta(ge=1, le=64)] = 1
    plugged_in: datetime
    plugged_out: datetime
    energy_kwh: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    """What the vehicle wants; it takes less if its time, `max_kw` or a limit of the back end does not allow it."""
    max_kw: Annotated[float, Meta(gt=0, le=10_000)] = 11.0
    token: Annotated[str, Meta(max_length=36)] = ""
    """Empty: nobody identifies."""
    token_type: IdTokenType = "ISO14443"  # noqa: S105 - no secret
    fault: bool = False
    """The EVSE is faulted in that time, instead of a vehicle."""


class PlannedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session at an EVSE, in ms from the first one of the file."""

    evse: int
    starts_ms: int
    ends_ms: int
    energy_mwh: int
    max_w: int
    token: str
    token_type: IdTokenType
    fault: bool


def read_sessions(path: Path) -> dict[str, tuple[PlannedSession, ...]]:
    """Return the sessions of each station, in the order of time. Raises ConfigError with the line of a fault."""
    rows: list[tuple[int, SessionRow]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = _json_lines(file) if path.suffix == ".jsonl" else _csv(file)
            for line, record in records:
                rows.append((line, _row(path, line, record)))
                if len(rows) > MOST_SESSIONS:
                    raise ConfigError(f"{path}: more than {MOST_SESSIONS} sessions", hint="split the file")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=_HINT) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8", hint="save the file as UTF-8") from None
    except csv.Error as error:
        raise ConfigError(f"{path}: {error}", hint=_HINT) from None
    if not rows:
        raise ConfigError(f"{path} has no sessions", hint=_HINT)
    rows.sort(key=lambda each: each[1].plugged_in)
    first = rows[0][1].plugged_in
    found: dict[str, list[PlannedSession]] = {}
    until: dict[tuple[str, int], tuple[datetime, int]] = {}
    for line, row in rows:
        ends, other = until.get((row.station, row.evse), (first, 0))
        if row.plugged_in < ends:
            raise ConfigError(
                f"{path}:{line}: EVSE {row.evse} of {row.station} is still occupied by line {other}",
                hint="one vehicle at a time",
            )
        until[row.station, row.evse] = row.plugged_out, line
        found.setdefault(row.station, []).append(
            PlannedSession(
                evse=row.evse,
                starts_ms=round((row.plugged_in - first).total_seconds() * 1000),
                ends_ms=round((row.plugged_out - first).total_seconds() * 1000),
                energy_mwh=round(row.energy_kwh * 1_000_000),
                max_w=round(row.max_kw * 1000),
                token=row.token,
                token_type=row.token_type,
                fault=row.fault,
            )
        )
    if len(found) > MOST_STATIONS:
        raise ConfigError(f"{path}: {len(found)} stations", hint=f"{MOST_STATIONS} at most")
    return {name: tuple(each) for name, each in sorted(found.items())}


def _csv(file: TextIO) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield records; empty fields are left out. Spreadsheets whose decimal separator is a comma write semicolons."""
    from v2g.energy.settlement.rows import csv_records  # on demand

    reader = csv_records(file)
    for record in reader:
        row = {name: text for name, text in record.items() if isinstance(name, str) and text}
        if reader.reader.dialect.delimiter == ";":
            row |= {name: row[name].replace(",", ".") for name in ("energy_kwh", "max_kw") if name in row}
        yield reader.line_num, row


def _json_lines(file: TextIO) -> Iterator[tuple[int, str]]:
    for line, text in enumerate(file, 1):
        if text.strip():
            yield line, text


def _row(path: Path, line: int, record: object) -> SessionRow:
    try:
        row = (
            typed_json.decode(record, SessionRow)
            if isinstance(record, str)
            else typed_json.convert(record, SessionRow, strict=False)
        )
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}:{line}: {error}", hint=_HINT) from None
    times = {name: getattr(row, name) for name in ("plugged_in", "plugged_out")}
    row = msgspec.structs.replace(
        row, **{name: each if each.tzinfo else each.replace(tzinfo=UTC) for name, each in times.items()}
    )
    if row.plugged_out <= row.plugged_in:
        raise ConfigError(f"{path}:{line}: plugged_out is not after plugged_in", hint=_HINT)
    return row
