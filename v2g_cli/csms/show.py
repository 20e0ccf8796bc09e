"""Shared by the commands of `v2g csms`: the client, and the display of records."""

import json as json_
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
import typer

from v2g.errors import ConfigError
from v2g.units import payable
from v2g_cli.csms.client import CsmsClient, Pages, find_access
from v2g_cli.output import json_line, print_json, print_table, say

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Maximum number of records.")]
StationName = Annotated[str, typer.Argument(metavar="STATION", help="Identity of a station.")]


def part(name: str) -> str:
    """Return a name escaped for a path."""
    return quote(name, safe="")


class AccessOptions(msgspec.Struct, frozen=True):
    """Options of access to a back end."""

    url: Annotated[str | None, typer.Option(help="https://host:port of the back end's API.")] = None
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token.")] = None
    ca: Annotated[Path | None, typer.Option(help="PEM file of the root of the back end's certificate.")] = None
    certificate: Annotated[Path | None, typer.Option(help="PEM file of a client certificate.")] = None
    key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None
    access: Annotated[Path | None, typer.Option(envvar="V2G_CSMS_ACCESS", help="TOML file with url, token, ca.")] = None

    def give(self, context: typer.Context) -> None:
        """Let `client_of` use them. Raises ConfigError for an unreadable token."""
        options: dict[str, object] = {"url": self.url, "ca": self.ca, "certificate": self.certificate, "key": self.key}
        if self.token_file is not None:
            try:
                options["token"] = self.token_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "not text"
                hint = "the file of --token-file must contain only the token"
                raise ConfigError(f"{self.token_file}: {why}", hint=hint) from None
        context.obj = options, self.access


NO_ACCESS: Final = AccessOptions()
"""Default of commands: the environment, or the file, has URL and credentials."""


def client_of(context: typer.Context) -> CsmsClient:
    """Return the client for the group's options; it is closed when the command ends."""
    options, file = context.obj
    client = CsmsClient(find_access(options, os.environ, file))
    context.call_on_close(client.close)
    return client


def show(
    rows: Iterable[object],
    title: str,
    columns: dict[str, str],
    *,
    json: bool,
    present: Callable[[Any], Any] = lambda row: row,
) -> None:
    """Print rows; `columns`: heading -> field, whose name shows whether it is a time; none: all that are plain.

    `present` formats a row for display. An empty or truncated list is noted on standard error.
    """
    if json:
        for row in rows:
            print_json(row)
    else:
        records = [each if isinstance(each, dict) else {"": each} for each in map(present, rows)]
        plain = (name for name, value in (records or [{}])[0].items() if not isinstance(value, dict | list))
        columns = columns or {name.removesuffix("_ms"): name for name in plain}
        shown = [tuple(cell(field, _member(each, field)) for field in columns.values()) for each in records]
        if shown:
            print_table(title, tuple(name.replace("(UTC)", f"({zone()})") for name in columns), shown)
        else:
            say(f"{title}: none", err=True)
    if isinstance(rows, Pages) and rows.cut:
        say(f"{title}: only the first {rows.limit}; --limit {10 * rows.limit} shows more", err=True)


def columns_of(spec: str) -> dict[str, str]:
    """Return headings and fields: `heading: field` with commas between them, or fields; times get their zone."""
    pairs = ([text.strip() for text in each.split(":")] for each in spec.split(",") if each)
    named = ((pair[0].removesuffix("_ms").replace("_", " ") if len(pair) == 1 else pair[0], pair[-1]) for pair in pairs)
    return {f"{name} (UTC)" if field.endswith("_ms") else name: field for name, field in named}


def _member(row: object, field: str) -> object:
    """Return a field of a row; `a.b` is the member `b` of `a`, unless the row has a field of that name."""
    if not isinstance(row, dict) or field in row or "." not in field:
        return row.get(field) if isinstance(row, dict) else None
    first, _, rest = field.partition(".")
    return _member(row.get(first), rest)


def cell(field: str, value: Any) -> str:
    """Return a value for display; the field's name shows whether it is a time."""
    if field.endswith("_ms"):
        return moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else plain(value)


def plain(value: object) -> str:
    """Return a value as text: lists of words with commas, what is more than that as JSON."""
    if isinstance(value, list) and all(isinstance(each, str | int) for each in value):
        return ", ".join(map(str, value))
    return json_line(value) if isinstance(value, dict | list) else str(value)


def money(amount: Mapping[str, str]) -> str:
    """Return an amount as it can be paid; --json has it exactly."""
    return f"{payable(Decimal(amount['amount']), amount['currency'])} {amount['currency']}"


def moment(ms: int | None) -> str:
    """Return a time (ms of UTC) in this machine's zone, empty for none."""
    return "" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def zone() -> str:
    """Return the name of this machine's zone, as now."""
    return datetime.now(UTC).astimezone().tzname() or "local"


def show_one(record: object, *, json: bool) -> None:
    """Print one record: a line of JSON, or indented text."""
    if json:
        print_json(record)
    elif record is not None:
        say(json_.dumps(record, indent=2, ensure_ascii=False), lines=True)


def show_fields(record: Mapping[str, object]) -> None:
    """Print a line for each field, with readable name and value."""
    for field, value in record.items():
        say(f"{field.removesuffix('_ms').replace('_', ' ')}: {cell(field, value)}")


def refusal(answer: object) -> str:
    """Return the first status in a station's answer that reports a failure; empty if there is none.

    Lists of results, such as those of SetVariables, have a status each.
    """
    if isinstance(answer, list):
        return next(filter(None, map(refusal, answer)), "")
    if not isinstance(answer, dict):
        return ""
    for name, value in answer.items():
        if isinstance(value, str) and name.lower().endswith("status") and value not in _DONE:
            return value
    return next(filter(None, (refusal(each) for each in answer.values() if isinstance(each, list))), "")


_DONE: Final = frozenset(
    {
        "Accepted",
        "AcceptedCanceled",
        "EmptyResultSet",
        "NoProfiles",
        "NotFound",
        "RebootRequired",
        "Scheduled",
        "Unlocked",
        "Unpublished",
    }
)
"""Statuses of OCPP with which a station has done, or will do, the request, or has nothing to do."""
