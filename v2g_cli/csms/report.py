"""`v2g csms report`: energy, time and money of all transactions that ended."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from v2g.energy.settlement.rows import csv_text
from v2g.errors import ConfigError
from v2g.svg_chart import Row, Series, stairs_chart
from v2g_cli.csms.show import JsonFlag, client_of, show
from v2g_cli.output import write_bytes, write_new

app = typer.Typer()

_GROUPS: Final = ("month", "day", "site", "station", "token", "tariff")
_FIELDS: Final = {
    "currency": "currency",
    "transactions": "transactions",
    "held": "held",
    "unpriced": "unpriced",
    "preliminary": "preliminary",
    "import kWh": "import_kwh",
    "export kWh": "export_kwh",
    "time (s)": "duration_s",
    "net": "net",
    "VAT": "vat",
    "gross": "gross",
}
_MOST_STEPS: Final = 3660
"""Ten years of days in one picture."""


@app.command()
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
        _write_csv(csv, by, rows)
    if json or (csv is None and plot is None):
        show(rows, "Transactions", {by: "group"} | _FIELDS, json=json)


def _write_csv(path: Path, by: str, rows: Sequence[Mapping[str, Any]]) -> None:
    fields = ("group", *_FIELDS.values())
    text = csv_text((by, *_FIELDS.values()), *([row[name] for name in fields] for row in rows)).encode()
    if str(path) == "-":
        write_bytes(text)
        return
    write_new(path, text)


def _picture(by: str, rows: Sequence[Mapping[str, Any]]) -> str:
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
