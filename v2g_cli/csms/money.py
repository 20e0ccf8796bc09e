"""`v2g csms`, money: what sessions cost, reports of transactions, the operator's books, and tariffs."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from v2g.errors import ConfigError, RefusedError, TrustError, VerificationError
from v2g.svg_chart import Row, Series, stairs_chart
from v2g.typed_json import Fields
from v2g_cli.csms.client import CsmsClient
from v2g_cli.csms.declared import books, tariffs
from v2g_cli.csms.show import JsonFlag, Limit, client_of, columns_of, money, part, show, show_one
from v2g_cli.output import print_json, read_tariff, read_text, say, tell, write_new, write_out

Session = Annotated[str, typer.Argument(metavar="SESSION", help="ISO 15118 session id.")]
AtStation = Annotated[str | None, typer.Option("--station", help="Its station, if several stations use that id.")]

_COLUMNS = {
    "session": "station: station_id, session: session_id, vehicle, ended: end_ms",
    "vehicle": "vehicle, sessions",
    "period": "period, sessions",
}


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
    """List what settled sessions cost: what drivers owe, or are owed (below 0). Of other transactions: `report`.

    Examples: `v2g csms costs --period 2026-11`, `v2g csms costs --by vehicle`
    """
    if by not in _COLUMNS:
        raise ConfigError(f"--by {by}: session, vehicle or period expected")
    columns = columns_of(f"{_COLUMNS[by]}, import kWh: import_kwh, export kWh: export_kwh, owed: amounts")
    rows = client_of(context).pages("/books/costs", limit, by=by, period=period, vehicle=vehicle)
    show(rows, "Costs", columns, json=json, present=lambda row: row | {"amounts": ", ".join(map(money, row["owed"]))})
    held = sum(1 for _ in client_of(context).pages("/books/quarantine", sys.maxsize))
    say(f"{held} sessions and transactions are held, and in no sum: v2g csms unbooked", err=True)


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
        body: dict[str, object] = {"line": line, "price_per_kwh": price, "reason": reason}
        found = client_of(context).ask("POST", f"{path}/corrections", body, station=station).body
    else:
        body = {"tariff": msgspec.to_builtins(read_tariff(tariff)), "reason": reason}
        found = client_of(context).ask("POST", f"{path}/reprice", body, station=station).body
    show_one(found, json=json)


# -- report


_GROUPS: Final = ("month", "day", "site", "station", "token", "tariff")
_SUMS: Final = columns_of(
    "currency, transactions, held, unpriced, preliminary, import kWh: import_kwh, export kWh: export_kwh, "
    "time (s): duration_s, net, VAT: vat, gross"
)
_MOST_STEPS: Final = 3660
"""Ten years of days in one picture."""


def report(
    context: typer.Context,
    by: Annotated[str, typer.Option("--by", metavar="|".join(_GROUPS), help="What the sums are of.")] = "month",
    from_day: Annotated[
        str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="Only what ended on that day or later.")
    ] = None,
    to_day: Annotated[
        str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="Only what ended on that day or earlier.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="New CSV file, mode 0600; - is standard output.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="New SVG file: sums over days or months.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Sum transactions that ended: energy, time from start to end, net, VAT and gross, a row for each currency.

    Transactions without a price have a row without currency. Running ones are left out.

    Examples: `v2g csms report`, `v2g csms report --by station --from 2026-11-01 --to 2026-11-30`,
    `v2g csms report --by token --csv tokens.csv`, `v2g csms report --by day --plot days.svg`
    """
    if by not in _GROUPS:
        raise ConfigError(f"--by {by}: {', '.join(_GROUPS[:-1])} or {_GROUPS[-1]} expected")
    if plot is not None and by not in ("month", "day"):
        raise ConfigError(f"--plot draws over time, not by {by}", hint="--by month or --by day")
    query = {"by": by, "from_day": from_day, "to_day": to_day}
    rows = list(client_of(context).pages("/reports/transactions", sys.maxsize, **query))
    if plot is not None:
        picture = _picture(by, rows)
        write_new(plot, picture)
    if csv is not None:
        from v2g.energy.settlement.rows import csv_text  # on demand

        fields = ("group", *_SUMS.values())
        write_out(csv_text((by, *_SUMS.values()), *([row[name] for name in fields] for row in rows)).encode(), csv)
    if json or (csv is None and plot is None):
        show(rows, "Transactions", {by: "group"} | _SUMS, json=json)


def _picture(by: str, rows: Sequence[Fields]) -> str:
    """Return gross by currency, energy and number of transactions over time; steps without any are 0."""
    if not rows:
        raise ConfigError("nothing to draw", hint="did transactions end in this time?")
    edges = _edges(by, rows[0]["group"], rows[-1]["group"])
    starts = [f"{each:%Y-%m}" if by == "month" else each.isoformat() for each in edges[:-1]]

    def values(field: str, currency: str | None = None) -> list[float]:
        sums = dict.fromkeys(starts, 0.0)
        for row in rows:
            if currency is None or row["currency"] == currency:
                sums[row["group"]] += float(row[field])
        return list(sums.values())

    currencies = sorted({row["currency"] for row in rows if row["currency"] is not None})
    energy = (Series("blue", "into vehicles", values("import_kwh")), Series("green", "fed back", values("export_kwh")))
    drawn = (
        *(Row(f"gross, {each}", (Series("blue", "", values("gross", each)),)) for each in currencies),
        Row("energy, kWh", energy),
        Row("transactions", (Series("blue", "", values("transactions")),)),
    )
    edges_ms = [int(datetime(each.year, each.month, each.day, tzinfo=UTC).timestamp() * 1000) for each in edges]
    return stairs_chart(f"Transactions by {by}", edges_ms, drawn)


def _edges(by: str, first: str, last: str) -> list[date]:
    """Return the first day of each step from `first` to `last`, and of the one after them."""
    day, end = (date.fromisoformat(each if by == "day" else f"{each}-01") for each in (first, last))
    edges = [day]
    while edges[-1] <= end:
        if len(edges) > _MOST_STEPS:
            raise ConfigError(f"more than {_MOST_STEPS} steps to draw", hint="shorten it with --from and --to")
        edges.append(edges[-1] + timedelta(days=1) if by == "day" else (edges[-1] + timedelta(days=31)).replace(day=1))
    return edges


# -- books


@books.command()
def verify(context: typer.Context, json: JsonFlag = False) -> None:
    """Recompute the books from journals, and verify digests and signatures of closed months; exit code 9 for a finding.

    Example: `v2g csms books verify`
    """
    client = client_of(context)
    found = checked = 0
    for each in client.ask("GET", "/books/audit/periods").body:
        found += 1
        tell(each, f"period {each['period']}: {each['finding']}", json=json)
    for each in client.pages("/books/audit/sessions", sys.maxsize):
        checked, found = checked + 1, found + len(each["findings"])
        for text in each["findings"]:
            tell(each, f"session {each['session_id']} of {each['station_id']}: {text}", json=json)
    if found:
        raise VerificationError(f"{found} findings in {checked} sessions and all months", where="books")
    if not json:
        say(f"{checked} sessions follow from their journals, and all months hold")


@books.command()
def anchor(
    context: typer.Context,
    period: Annotated[str, typer.Argument(metavar="YYYY-MM", help="A closed month.")],
    timestamp: Annotated[str, typer.Option("--timestamp", metavar="URL", help="A time-stamp authority (RFC 3161).")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="New file: its answer (DER).")],
) -> None:
    """Have an authority time-stamp the digest of a closed month, and keep its answer outside the back end.

    `openssl ts -verify -digest DIGEST -in FILE -CAfile ROOT` verifies it, with the digest that is printed here.

    Example: `v2g csms books anchor 2026-11 --timestamp https://tsa.example/ --out 2026-11.tsr`
    """
    from v2g.io.tls.timestamps import time_stamp

    found = client_of(context).ask("GET", f"/books/periods/{part(period)}").body
    digest = found["state"]["digest"]
    if digest is None:
        raise RefusedError(f"period {period} is open", reason="open", hint="v2g settle close-period closes it")
    answer = asyncio.run(time_stamp(timestamp, bytes.fromhex(digest)))
    write_new(out, answer)
    say(f"{out}: digest {digest}")


# -- tariffs


TariffFile = Annotated[Path, typer.Argument(metavar="FILE", help="JSON, TOML or YAML file with a tariff.")]

_MOST = 10_000
_PRICES = ("energy", "export", "charging_time", "idle_time", "fixed")


@tariffs.command("list")
def list_(context: typer.Context, limit: Limit = 100, json: JsonFlag = False) -> None:
    """List tariffs, and where they apply.

    Example: `v2g csms tariffs list`
    """
    client = client_of(context)
    applies = {} if json else _applies(client)

    def shown(plan: Fields) -> Fields:
        prices = {name: ", ".join(each["price"] for each in plan[name]["rates"]) for name in _PRICES if name in plan}
        return plan | prices | {"applies": ", ".join(applies.get(plan["id"], ()))}

    columns = columns_of(
        "tariff: id, currency, per kWh: energy, per kWh fed back: export, per min charging: charging_time, "
        "per min idle: idle_time, per session: fixed, applies at: applies, description"
    )
    show(client.pages("/tariffs", limit), "Tariffs, without tax", columns, json=json, present=shown)


def _applies(client: CsmsClient) -> dict[str, list[str]]:
    """Return where each tariff applies, nothing for a role that sees tariffs only for its sites."""
    found: dict[str, list[str]] = {}
    try:
        for each in client.pages("/tariff-assignments", _MOST):
            many = [f"{kind} {each[f'{kind}_id']}" for kind in ("site", "group") if each[f"{kind}_id"]]
            station = each["station_id"] or (many[0] if many else "every station")
            where = station + (f"/{each['evse_id']}" if each["evse_id"] else "")
            whose = f" for {each['id_token'] or each['token_type']}" if each["token_type"] else ""
            found.setdefault(each["plan_id"], []).append(where + whose)
    except TrustError:
        return {}
    return found


@tariffs.command("set")
def set_(
    context: typer.Context,
    file: TariffFile,
    station: Annotated[str | None, typer.Option("--station", help="Let it apply at this station.")] = None,
    site: Annotated[str | None, typer.Option("--site", help="Let it apply at all EVSEs of this site.")] = None,
    group: Annotated[str | None, typer.Option("--group", help="Let it apply to drivers of this group.")] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Let it apply at every station without a tariff of its own.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Store a tariff. It never changes afterwards: new prices are a new tariff, which is set where the old one applied.

    Examples: `v2g csms tariffs set summer.toml --everywhere`, `v2g csms tariffs set depot.json --station CS-1`
    """
    named = {"station_id": station, "site_id": site, "group_id": group}
    there = {name: value for name, value in named.items() if value is not None}
    if len(there) + everywhere > 1:
        raise ConfigError("give one of --station, --site, --group and --everywhere")
    plan = _read_plan(file)
    client = client_of(context)
    stored = client.ask("POST", "/tariffs", plan).body
    if everywhere or there:
        client.ask("PUT", "/tariff-assignments", {"plan_id": stored["id"], **there})
    show_one(stored, json=json)


@tariffs.command()
def price(
    context: typer.Context,
    tariff: Annotated[str | None, typer.Argument(metavar="[TARIFF]", help="Name of a stored tariff.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A tariff that is not stored: JSON, TOML, YAML.")] = None,
    import_kwh: Annotated[float, typer.Option("--import-kwh", min=0, max=10_000, help="Energy taken.")] = 30,
    export_kwh: Annotated[float, typer.Option("--export-kwh", min=0, max=10_000, help="Energy fed back.")] = 0,
    charging_min: Annotated[int, typer.Option("--charging-min", min=1, max=10_000, help="Minutes of charging.")] = 60,
    idle_min: Annotated[int, typer.Option("--idle-min", min=0, max=10_000, help="Minutes idle after that.")] = 0,
    json: JsonFlag = False,
) -> None:
    """Show what a session that begins now would cost, with and without tax, as the console's editor does.

    Examples: `v2g csms tariffs price day-night --import-kwh 40`, `v2g csms tariffs price --file summer.toml`
    """
    if (tariff is None) == (file is None):
        raise ConfigError("give the name of a tariff, or --file")
    client = client_of(context)
    session = {
        "plan": client.ask("GET", f"/tariffs/{part(tariff or '')}").body if file is None else _read_plan(file),
        "import_wh": round(import_kwh * 1000),
        "export_wh": round(export_kwh * 1000),
        "charging_min": charging_min,
        "idle_min": idle_min,
    }
    found = client.ask("POST", "/tariffs/example", session).body
    if json:
        print_json(found)
        return
    columns = columns_of("for: kind, quantity, price, without tax: excl_tax, with tax: incl_tax")
    show(found["lines"], "Cost of the example", columns, json=False)
    sums = (money({"amount": found[each], "currency": found["currency"]}) for each in ("incl_tax", "excl_tax"))
    say("{} with tax, {} without".format(*sums))


def _read_plan(file: Path) -> dict[str, object]:
    """Return the tariff of a file, checked. Raises ConfigError."""
    import msgspec

    from v2g.config import parse_config
    from v2g.energy.price_plan import PricePlan

    found: dict[str, object] = msgspec.to_builtins(parse_config(read_text(file), PricePlan, name=str(file)))
    return found
