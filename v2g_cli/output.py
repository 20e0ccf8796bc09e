"""Output of commands: tables at a terminal, plain lines for pipes, JSON records for programs.

All output goes through here; nothing from a device, a vehicle or a certificate reaches a terminal or a pipe
except as plain text: see `v2g.text`.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from v2g.errors import ConfigError, StoreError, V2GError
from v2g.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from v2g.energy.grid_signal import TypedTariff

_encode = msgspec.json.Encoder().encode

MOST_ERRORS: Final = 10
"""Places of a file that cannot be read and are named, before the last."""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def terminal(*, err: bool = False, soft_wrap: bool = False) -> "Console":
    """Return a console for standard output or standard error, which prints text literally: no markup, no emoji names,
    no control sequences."""
    from rich.console import Console, ConsoleOptions, RenderableType  # here: slow to load, and pipes do without
    from rich.segment import Segment

    class Literal(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if segment.control or segment.text.isprintable():
                    yield segment
                else:
                    yield Segment(printable(segment.text, lines=True), segment.style)

    return Literal(stderr=err, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False)


def say(text: str, *, err: bool = False, lines: bool = False) -> None:
    """Print a line; with `lines` a multi-line text of this program."""
    stream = sys.stderr if err else sys.stdout
    stream.write(printable(text, lines=lines) + "\n")
    stream.flush()


AMENDMENTS: Final = {"AC_DER_IEC": "Amendment 1, IEC", "AC_DER_SAE": "Amendment 1, SAE"}
"""Grammars whose messages are named as those of AC; they are named beside it."""


def raise_all(errors: Sequence[V2GError]) -> None:
    """Print what could not be read of a file, after what could, and raise the last: its kind is the exit code."""
    if not errors:
        return
    *others, last = errors
    for each in others[:MOST_ERRORS]:
        say(f"v2g: {each}", err=True)
    if more := others[MOST_ERRORS:]:
        say(f"v2g: {len(more)} more", err=True)
    raise last


def say_row(*cells: str) -> None:
    """Print cells on a line, separated by tabs."""
    sys.stdout.write("\t".join(map(_cell, cells)) + "\n")
    sys.stdout.flush()


def _cell(text: str) -> str:
    """Return a cell to print; a no-break space, as in our own ages, is a space there."""
    return printable(text.replace("\u00a0", " "))


def print_json(record: object) -> None:
    """Print one record on its own line."""
    say(json_line(record))


def tell(record: object, text: str, *, json: bool) -> None:
    """Print a record, or the line of text that says the same."""
    say(json_line(record) if json else text)


def json_line(record: object) -> str:
    """Return a record as JSON, whatever a device has sent: half of a surrogate pair, an integer of 100 digits."""
    try:
        return _encode(record).decode()
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(msgspec.to_builtins(record))


def write_bytes(data: bytes) -> None:
    """Write data to standard output unchanged; a terminal gets it as text."""
    if sys.stdout.isatty():
        say(data.decode(errors="replace").removesuffix("\n"), lines=True)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def when(ms: int | None) -> str:
    """Return a time (ms of UTC) for display, empty for none."""
    return "" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to a terminal, without its empty columns, and tab-separated lines to anything else."""
    if not sys.stdout.isatty():
        for row in rows:
            say_row(*row)
        return
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    shown = [tuple(map(_cell, row)) for row in rows]
    filled = [number for number in range(len(columns)) if any(row[number] for row in shown)]
    for number in filled:
        whole = any(_UUID.fullmatch(row[number]) for row in shown)  # to be copied
        table.add_column(columns[number], overflow="fold", no_wrap=whole, min_width=36 if whole else None)
    for row in shown:
        table.add_row(*(row[number] for number in filled))
    terminal().print(table)


class Spoken(Enum):
    """Languages of pages for drivers."""

    EN = "en"
    DE = "de"


def read_file(path: Path, *, hint: str = "") -> bytes:
    """Return the content of a file that the user names. Raises ConfigError, with the hint."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=hint) from None


def read_text(path: Path) -> str:
    """Return the text in a file that the user names. Raises ConfigError."""
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None


def read_tariff(path: Path) -> "TypedTariff":
    """Return the tariff in a file, and say so if it has prices as integers. Raises ConfigError."""
    from v2g.config import parse_config
    from v2g.energy.grid_signal import TypedTariff
    from v2g.units import decimals_of

    found = parse_config(read_text(path), TypedTariff, name=str(path))
    if found.integer_price is not None:
        shown = decimals_of(found.integer_price)
        say(
            f'{path}: {found.integer_price} is read as millionths per kWh; write "{shown}" instead, also for all other '
            "prices that are integers",
            err=True,
        )
    return found


def or_stdout(path: Path | None) -> Path | None:
    """Return a file to write; None, standard output, for `-` as well. A callback of options that permit it."""
    return None if path is not None and str(path) == "-" else path


def open_new(path: Path, *, hint: str) -> int:
    """Create a file, readable only by its owner; return its descriptor.

    Raises ConfigError, with `hint` if the file exists.
    """
    if or_stdout(path) is None:
        raise ConfigError("this is not written to standard output", hint="name a file")
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} exists", hint=hint) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="choose a folder that this user may write") from None


def write_new(path: Path, content: str | bytes, *, hint: str = "name another file") -> None:
    """Write a new file, readable only by its owner. Raises ConfigError, with `hint` if it exists; StoreError."""
    number = open_new(path, hint=hint)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StoreError(f"{path}: {error.strerror}", hint="is the disk full?") from None


def write_text(path: Path, text: str) -> None:
    """Write a file, in place of what is there. Raises StoreError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint="choose a file that this user may write") from None


def write_out(content: bytes, path: Path | None) -> None:
    """Write to a new file, or to standard output unchanged: without one, or for `-`."""
    file = or_stdout(path)
    if file is None:
        write_bytes(content)
    else:
        write_new(file, content)
