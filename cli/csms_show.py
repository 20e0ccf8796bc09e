"""What the commands of `v2g csms` have in common: the client, and how records are shown."""

import json as json_
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli.csms_client import CsmsClient, access_from
from cli.output import print_json, print_table, when

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
StationName = Annotated[str, typer.Argument(metavar="STATION", help="Identity of a station.")]


def part(name: str) -> str:
    """Return a name as a part of a path."""
    return quote(name, safe="")


def client_of(context: typer.Context) -> CsmsClient:
    """Return what asks, as the options of the group say; it is closed when the command ends."""
    client = CsmsClient(access_from(*context.obj))
    context.call_on_close(client.close)
    return client


def show(rows: Iterable[Any], title: str, columns: dict[str, str], *, json: bool) -> None:
    """Print rows; `columns`: heading -> field, whose name tells when it is a time."""
    if json:
        for row in rows:
            print_json(row)
        return
    print_table(
        title,
        tuple(columns),
        (tuple(cell(field, row.get(field)) for field in columns.values()) for row in rows),
    )


def cell(field: str, value: Any) -> str:
    """Return a value for people; the field's name tells when it is a time."""
    if field.endswith("_ms"):
        return when(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def show_one(record: Any, *, json: bool) -> None:
    """Print one record: a line of JSON for machines, indented for people."""
    if json:
        print_json(record)
    elif record is not None:
        typer.echo(json_.dumps(record, indent=2, ensure_ascii=False))
