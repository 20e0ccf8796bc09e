"""`v2g csms costs`, `receipt`, `correct`, `unbooked`, `release`, `reject`: what sessions cost, for daily work."""

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from v2g.errors import ConfigError
from v2g_cli.csms.show import JsonFlag, Limit, client_of, part, show, show_one
from v2g_cli.output import Spoken, open_new, read_tariff, write_bytes

app = typer.Typer()
Session = Annotated[str, typer.Argument(metavar="SESSION", help="ISO 15118 session id.")]
AtStation = Annotated[str | None, typer.Option("--station", help="Its station, if several stations use that id.")]

_COLUMNS = {
    "session": {"station": "station_id", "session": "session_id", "vehicle": "vehicle", "ended (UTC)": "end_ms"},
    "vehicle": {"vehicle": "vehicle", "sessions": "sessions"},
    "period": {"period": "period", "sessions": "sessions"},
}


@app.command()
def costs(
    context: typer.Context,
    by: Annotated[
        str, typer.Option("--by", metavar="session|vehicle|period", help="What the sums are of.")
    ] = "session",
    period: Annotated[
        str | None, typer.Option("--period", metavar="YYYY-MM", help="Only what was posted then.")
    ] = None,
    vehicle: Annotated[str | None, typer.Option("--vehicle", metavar="EMAID", help="Only of this contract.")] = None,
    limit: Limit = 100,
    json: JsonFlag = False,
) -> None:
    """List what sessions cost: what drivers owe, or are owed (below 0).

    Examples: `v2g csms costs --period 2026-11`, `v2g csms costs --by vehicle`
    """
    if by not in _COLUMNS:
        raise ConfigError(f"--by {by}: session, vehicle or period expected")
    columns = _COLUMNS[by] | {"import kWh": "import_kwh", "export kWh": "export_kwh", "owed": "amounts"}
    rows = client_of(context).pages("/books/costs", limit, by=by, period=period, vehicle=vehicle)
    show(rows, "Costs", columns, json=json, present=_with_amounts)


def _with_amounts(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"amounts": ", ".join(f"{each['amount']} {each['currency']}" for each in row["owed"])}


@app.command()
def receipt(
    context: typer.Context,
    session: Session,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="New file, mode 0600; otherwise standard output.")
    ] = None,
    language: Annotated[Spoken, typer.Option("--language", help="Language of the receipt.")] = Spoken.EN,
    zone: Annotated[str | None, typer.Option("--zone", help="Time zone, such as Europe/Berlin or +01:00.")] = None,
    station: AtStation = None,
) -> None:
    """Write a session's receipt for the driver, a page (HTML), from the back end's copy of the journal.

    Example: `v2g csms receipt 0A1B2C3D4E5F6071 --out receipt.html --language de`
    """
    path = f"/settlements/{part(session)}/receipt"
    page = client_of(context).ask("GET", path, language=language.value, zone=zone, station=station).body or b""
    if out is None:
        write_bytes(page)
        return
    with os.fdopen(open_new(out, hint="name another file"), "wb") as file:
        file.write(page)


@app.command()
def correct(
    context: typer.Context,
    session: Session,
    reason: Annotated[str, typer.Option("--reason", help="Why the old price was wrong.")],
    line: Annotated[str | None, typer.Option("--line", metavar="LINE", help="Id of a line, with --price.")] = None,
    price: Annotated[str | None, typer.Option("--price", help="Its right price per kWh, such as 0.25.")] = None,
    tariff: Annotated[
        Path | None,
        typer.Option("--tariff", metavar="FILE", help="Reprice the session by this tariff (JSON, TOML, YAML)."),
    ] = None,
    station: AtStation = None,
    json: JsonFlag = False,
) -> None:
    """Correct a settled session: the price of a line, or all prices by a tariff. The books reverse and repost.

    Examples: `v2g csms correct SESSION --line 1795000000000/import --price 0.25 --reason "wrong tariff"`,
    `v2g csms correct SESSION --tariff tariff.json --reason "wrong tariff"`
    """
    if (tariff is None) == (line is None) or (line is None) != (price is None):
        raise ConfigError("give --line and --price, or --tariff")
    path = f"/settlements/{part(session)}"
    if tariff is None:
        body: dict[str, Any] = {"line": line, "price_per_kwh": price, "reason": reason}
        found = client_of(context).ask("POST", f"{path}/corrections", body, station=station).body
    else:
        body = {"tariff": msgspec.to_builtins(read_tariff(tariff)), "reason": reason}
        found = client_of(context).ask("POST", f"{path}/reprice", body, station=station).body
    show_one(found, json=json)


@app.command()
def unbooked(
    context: typer.Context,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="STATE", help="Only waiting, quarantined, released or rejected ones."),
    ] = None,
    limit: Limit = 100,
    json: JsonFlag = False,
) -> None:
    """List sessions whose journals are not booked, and held transactions: what waits for evidence or is in quarantine.

    Examples: `v2g csms unbooked`, `v2g csms unbooked --state rejected`
    """
    columns = {
        "station": "station_id",
        "kind": "kind",
        "session": "session_id",
        "state": "state",
        "reason": "reason",
        "since (UTC)": "since_ms",
        "detail": "detail",
    }
    show(client_of(context).pages("/books/quarantine", limit, state=state), "Not booked", columns, json=json)


Note = Annotated[str, typer.Option("--note", help="Why, for the audit log.")]


@app.command()
def release(
    context: typer.Context, session: Session, note: Note, station: AtStation = None, json: JsonFlag = False
) -> None:
    """Book a session or a held transaction in quarantine on your word.

    Example: `v2g csms release 0A1B2C3D4E5F6071 --note "confirmed by the driver"`
    """
    _decide(context, session, "release", note, station, json=json)


@app.command()
def reject(
    context: typer.Context, session: Session, note: Note, station: AtStation = None, json: JsonFlag = False
) -> None:
    """Reject a session or a held transaction in quarantine: it is never booked.

    Example: `v2g csms reject 0A1B2C3D4E5F6071 --note "no vehicle was there"`
    """
    _decide(context, session, "reject", note, station, json=json)


def _decide(context: typer.Context, session: str, decision: str, note: str, station: str | None, *, json: bool) -> None:
    path = f"/books/quarantine/{part(session)}/{decision}"
    show_one(client_of(context).ask("POST", path, {"note": note}, station=station).body, json=json)
