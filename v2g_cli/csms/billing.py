"""`v2g csms costs`, `receipt`, `correct`, `unbooked`, `release`, `reject`: what sessions cost, for daily work."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from v2g.errors import ConfigError
from v2g_cli.csms.show import JsonFlag, Limit, client_of, money, part, show, show_one
from v2g_cli.output import read_tariff, say

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
    held = sum(1 for _ in client_of(context).pages("/books/quarantine", sys.maxsize))
    say(f"{held} sessions and transactions are held, and in no sum: v2g csms unbooked", err=True)


def _with_amounts(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"amounts": ", ".join(map(money, row["owed"]))}


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
