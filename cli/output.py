"""What commands print: tables for people at a terminal, plain lines for pipes, JSON records for machines."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

_encode = msgspec.json.Encoder().encode


def print_json(record: Any) -> None:
    """Print one record on a line of its own."""
    sys.stdout.write(_encode(record).decode() + "\n")
    sys.stdout.flush()


def when(ms: int | None) -> str:
    """Return a time (ms of UTC) for people, empty for none."""
    return "" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to a terminal, tab-separated lines to anything else."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(row) + "\n")
        sys.stdout.flush()
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
