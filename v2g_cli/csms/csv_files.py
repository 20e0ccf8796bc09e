"""`v2g csms csv export` and `import`: stations and tokens as CSV, also from a spreadsheet."""

import csv
import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import typer

from v2g.errors import ConfigError, RefusedError, V2GError
from v2g.typed_json import Fields
from v2g_cli.csms.client import CsmsClient
from v2g_cli.csms.show import client_of, part
from v2g_cli.csms.stations import token_settings
from v2g_cli.output import read_file, say, write_new

app = typer.Typer(name="csv", help="Stations and tokens as CSV.", no_args_is_help=True)
What = Annotated[Literal["stations", "tokens"], typer.Argument(metavar="stations|tokens", help="What the file has.")]
CsvFile = Annotated[Path, typer.Argument(metavar="FILE", help="CSV file with a header.")]

_MOST: Final = 1_000_000
_MOST_BYTES: Final = 1 << 28


class Columns(NamedTuple):
    """Columns of a kind of file: those that a row needs first."""

    needed: tuple[str, ...]
    others: tuple[str, ...]


_COLUMNS: Final = {
    "stations": Columns(("station",), ("decision", "vendor", "model", "serial_number", "firmware")),
    "tokens": Columns(("type", "token"), ("status", "group", "until", "energy_transfer")),
}
_ABOUT: Final = _COLUMNS["stations"].others[1:]
_DECISIONS: Final = ("Accepted", "Pending", "Rejected", "Refused")


@app.command("export")
def export(context: typer.Context, what: What, file: CsvFile) -> None:
    """Write all stations or tokens to a new file, mode 0600. `import` reads it.

    Examples: `v2g csms csv export stations stations.csv`, `v2g csms csv export tokens tokens.csv`
    """
    from v2g.energy.settlement.rows import csv_text  # on demand

    client = client_of(context)
    rows = _stations(client) if what == "stations" else _tokens(client)
    columns = _COLUMNS[what].needed + _COLUMNS[what].others
    write_new(file, csv_text(columns, *([row.get(name) for name in columns] for row in rows)))
    say(f"{len(rows)} {what} written")


@app.command("import")
def import_(context: typer.Context, what: What, file: CsvFile) -> None:
    """Decide about the stations of a file, or store its tokens. Nothing is changed if a line is malformed; where the
    back end refuses one, those before it are stored.

    Columns of stations: `station`, and `decision` (Accepted, Pending, Rejected, Refused); others are not read. Of
    tokens: `type`, `token`, and `status`, `group`, `until` (ISO 8601, UTC), `energy_transfer`. Other terms of a known
    token are kept.

    Examples: `v2g csms csv import stations stations.csv`, `v2g csms csv import tokens tokens.csv`
    """
    requests = _read(file, _COLUMNS[what], _station if what == "stations" else _token)
    client = client_of(context)
    for number, (method, path, body) in requests:
        try:
            known = token_settings(client, path).get("terms", {}) if what == "tokens" else {}
            client.ask(method, path, {**body, "terms": {**known, **body["terms"]}} if what == "tokens" else body)
        except V2GError as error:
            hint = "the lines before it are stored; correct it and import the file again"
            raise RefusedError(f"{file}:{number}: {error}", reason="line", hint=hint) from None
    say(f"{len(requests)} {what} stored")


Request = tuple[str, str, Fields]


def _stations(client: CsmsClient) -> list[dict[str, str]]:
    decided = {each["station_id"]: each["boot"] for each in client.pages("/admissions", _MOST)}
    known = {each["station_id"]: each for each in client.pages("/stations", _MOST)}
    return [
        {
            "station": name,
            "decision": decided.get(name) or known.get(name, {}).get("boot_status", ""),
            **{each: str(known.get(name, {}).get(each, "")) for each in _ABOUT},
        }
        for name in sorted(decided.keys() | known.keys())
    ]


def _tokens(client: CsmsClient) -> list[dict[str, str]]:
    return [
        {
            "type": each["token_type"],
            "token": each["id_token"],
            "status": each["status"],
            "group": each["terms"].get("group_id", ""),
            "until": _written(each["terms"].get("expires_ms")),
            "energy_transfer": " ".join(each["energy_transfer"]),
        }
        for each in client.pages("/tokens", _MOST)
    ]


def _written(ms: int | None) -> str:
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _read(file: Path, columns: Columns, request: Callable[[Mapping[str, str]], Request]) -> list[tuple[int, Request]]:
    """Return the requests of a file's lines. Every faulty line is reported. Raises ConfigError if there is one."""
    from v2g.energy.settlement.rows import csv_records, unmarked  # on demand

    octets = read_file(file)
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not UTF-8", hint="save the file as UTF-8") from None
    if len(octets) > _MOST_BYTES:
        raise ConfigError(f"{file} has more than {_MOST_BYTES} bytes", hint="split it")
    found: list[tuple[int, Request]] = []
    faults = 0
    reader = csv_records(io.StringIO(text, newline=""))
    try:
        if missing := [each for each in columns.needed if each not in (reader.fieldnames or ())]:
            columns_text = ", ".join(columns.needed + columns.others)
            raise ConfigError(f"{file}:1: no column {', '.join(missing)}", hint=f"columns: {columns_text}")
        for row in reader:
            cells = {name: unmarked((value or "").strip()) for name, value in row.items() if isinstance(name, str)}
            try:
                if None in row or None in row.values():
                    raise ValueError(f"{len(reader.fieldnames or ())} cells expected")
                if empty := [each for each in columns.needed if not cells[each]]:
                    raise ValueError(f"{empty[0]} is empty")
                found.append((reader.line_num, request(cells)))
            except ValueError as error:
                faults += 1
                say(f"{file}:{reader.line_num}: {error}", err=True)
    except csv.Error as error:
        raise ConfigError(f"{file}:{reader.line_num}: invalid CSV: {error}") from None
    if faults:
        raise ConfigError(f"{file}: {faults} faulty lines, nothing was changed")
    if not found:
        raise ConfigError(f"{file} has no lines below its header")
    return found


def _station(row: Mapping[str, str]) -> Request:
    decision = row.get("decision") or "Accepted"
    if decision not in _DECISIONS:
        raise ValueError(f"decision is {decision!r}, not one of {', '.join(_DECISIONS)}")
    return "PUT", f"/admissions/{part(row['station'])}", {"decision": decision}


def _token(row: Mapping[str, str]) -> Request:
    terms: dict[str, object] = {}
    if row.get("group"):
        terms["group_id"] = row["group"]
    if row.get("until"):
        moment = datetime.fromisoformat(row["until"])
        terms["expires_ms"] = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    modes = row.get("energy_transfer", "").split()
    body = {"status": row.get("status") or "Accepted", "energy_transfer": modes, "terms": terms}
    return "PUT", f"/tokens/{part(row['type'])}/{part(row['token'])}", body
