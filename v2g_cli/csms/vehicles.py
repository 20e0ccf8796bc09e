"""`v2g csms`: vehicles by their telemetry, and plans of fleets."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from v2g.errors import ConfigError
from v2g.extras import extras_named
from v2g.io.runtime.clock import Clock
from v2g.typed_json import Fields
from v2g.units import DAY_MS, LAST_MS
from v2g_cli.csms.show import JsonFlag, client_of, part, show, show_one
from v2g_cli.csms.vehicle_plot import (
    BATTERY,
    BATTERY_WIDTH_S,
    POWER,
    SOC,
    Known,
    battery_rows,
    chart,
    fleet_health_rows,
    fleet_rows,
    held,
    vehicle_rows,
)
from v2g_cli.output import print_json, print_table, say, when, write_new

Vehicle = Annotated[str, typer.Argument(metavar="EV", help="Pseudonym of the vehicle.")]


def export(
    context: typer.Context,
    ev: Vehicle,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to write: .csv, .parquet, or .osmand for Traccar.")
    ],
    signals: Annotated[str, typer.Option("--signals", help="Signals with commas between them; default: all.")] = "",
    from_ms: Annotated[int, typer.Option("--from", help="Begin, ms since 1970 in UTC.")] = 0,
    to_ms: Annotated[int, typer.Option("--to", help="End, ms since 1970 in UTC.")] = LAST_MS,
) -> None:
    """Write a vehicle's values to a file.

    Example: `v2g csms export EV-1 day.csv --signals battery.soc,charging.power`
    """
    form = file.suffix.removeprefix(".")
    if form not in ("csv", "parquet", "osmand"):
        raise ConfigError(f"{file}: unknown format", hint="the name ends with .csv, .parquet or .osmand")
    query = {"format": form, "from_ms": from_ms, "to_ms": to_ms} | ({"signals": signals} if signals else {})
    content: bytes = client_of(context).ask("GET", f"/vehicles/{part(ev)}/export", **query).body or b""
    write_new(file, content)


def plot(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="SVG file to write.")],
    ev: Annotated[str, typer.Option("--ev", help="Only this vehicle: a row for each of its --signals.")] = "",
    signals: Annotated[
        str, typer.Option("--signals", help="Signals with commas between them, with --ev.")
    ] = "battery.soc,charging.power,battery.temperature.max,battery.cell_voltage.imbalance",
    hours: Annotated[float, typer.Option("--hours", min=0.1, max=24 * 366, help="How long ago it begins.")] = 24.0,
    width: Annotated[int, typer.Option("--width-s", help="Width of the intervals: 60 or 900 s.")] = 900,
    battery: Annotated[
        bool,
        typer.Option(
            "--battery",
            help="The battery of --ev: charge, health, cells and temperature; without --ev the fleet's health.",
        ),
    ] = False,
) -> None:
    """Draw power and state of charge of all vehicles over time, or signals of one, or batteries.

    Example: `v2g csms plot fleet.svg --hours 24`, `v2g csms plot ev-1.svg --ev EV-1 --battery`,
    `v2g csms plot health.svg --battery --hours 2000`
    """
    width = BATTERY_WIDTH_S if battery else width
    client, width_ms = client_of(context), width * 1000
    now_ms = Clock().utc_ms()
    begin_ms = (now_ms - round(hours * 3_600_000)) // width_ms * width_ms
    starts = range(begin_ms, now_ms, width_ms)
    edges = [*starts, starts[-1] + width_ms]

    def known(name: str, signal: str) -> Known:
        path = f"/vehicles/{part(name)}/aggregates"
        query = {"signal": signal, "width_s": width, "from_ms": begin_ms, "to_ms": now_ms}
        return held(client.pages(path, len(starts) + 1, **query), starts)

    span = {"from_ms": begin_ms, "to_ms": now_ms}
    if battery and not ev:
        health = [each for each in client.ask("GET", "/battery-health", points=31, **span).body if each["vehicles"]]
        rows = fleet_health_rows(health) if len(health) > 1 else ()
        edges = [each["at_ms"] for each in health]
    elif battery:
        found = client.pages(f"/vehicles/{part(ev)}/battery", len(starts) + 1, **span)
        estimates = {each["at_ms"]: each["values"] for each in found}
        rows = battery_rows({each: known(ev, each) for each in BATTERY}, [estimates.get(at, {}) for at in starts])
    elif ev:
        rows = vehicle_rows({each: known(ev, each) for each in signals.split(",")})
    else:
        names = [each["ev"] for each in client.ask("GET", "/vehicles").body]
        rows = fleet_rows([known(each, POWER) for each in names], [known(each, SOC) for each in names])
    if not rows or not any(len(each.values) for row in rows for each in row.series):
        raise ConfigError("nothing to draw", hint="are there vehicles, and did they report in these hours?")
    picture = chart(f"Telemetry of {ev or 'all vehicles'}", edges, rows)
    write_new(file, picture)


def profile(
    context: typer.Context,
    ev: Vehicle,
    reference: Annotated[int, typer.Option("--reference", min=20, max=366, help="Days that were sound.")] = 30,
    days: Annotated[int, typer.Option("--days", min=1, max=30, help="Days since then, to be compared.")] = 3,
    json: JsonFlag = False,
) -> None:
    """Say whether a battery's temperature profile has shifted: exit code 1 if it has.

    Example: `v2g csms profile EV-1 --reference 30 --days 3`
    """
    with extras_named():
        from v2g.battery import heat_profiles as profiles

    client, intervals = client_of(context), dict[int, dict[str, float]]()
    end_ms = Clock().utc_ms() // DAY_MS * DAY_MS
    begin_ms = end_ms - (reference + days) * DAY_MS
    most = (end_ms - begin_ms) // (profiles.WIDTH_S * 1000)
    for signal in profiles.SIGNALS:
        query = {"signal": signal, "width_s": profiles.WIDTH_S, "from_ms": begin_ms, "to_ms": end_ms}
        for each in client.pages(f"/vehicles/{part(ev)}/aggregates", most + 1, **query):
            intervals.setdefault(each["at_ms"], {})[signal] = each["mean"]
    found = profiles.find(intervals, profiles.HeatProfileSettings(days=days))
    show_one(msgspec.to_builtins(found) | {"ev": ev}, json=json)
    if found.shifted:
        raise typer.Exit(1)


# -- fleets


def plan(
    context: typer.Context,
    fleet: Annotated[str, typer.Argument(metavar="FLEET", help="Id of a fleet.")],
    chart: Annotated[Path | None, typer.Option("--chart", metavar="FILE", help="Write a picture (SVG).")] = None,
    past: Annotated[
        float | None, typer.Option(metavar="HOURS", help="Plans of so many hours, and what happened.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Show when a fleet's vehicles charge and discharge from now on, why, and what that earns.

    Examples: `v2g csms plan depot`, `v2g csms plan depot --chart plan.svg`, `v2g csms plan depot --past 24`
    """
    if past is not None:
        from_ms = round((time.time() - past * 3600) * 1000)
        rows = client_of(context).ask("GET", f"/fleets/{part(fleet)}/course", from_ms=from_ms).body
        powers = {f"{each} W": f"{each}_w" for each in ("planned", "asked", "accepted", "delivered")}
        columns = {"minute": "at_ms", **powers, "vehicles": "vehicles"}
        show(rows, f"Past plans of {fleet}", columns, json=json)
        return
    found: Fields = client_of(context).ask("GET", f"/fleets/{part(fleet)}/plan").body
    if chart is not None:
        write_new(chart, found["chart"])
    if json:
        print_json(found)
        return
    print_table(f"plan of {fleet}", ("from", "vehicles kW", "grid kW"), _rows(found["plan"]))
    for sentence in found["explanation"]:
        say(sentence)


def _rows(plan: Fields) -> list[tuple[str, str, str]]:
    """Return a row for each stretch of equal powers."""
    rows: list[tuple[str, str, str]] = []
    for number, grid_w in enumerate(plan["grid_w"]):
        power_w = sum(each["power_w"][number] for each in plan["vehicles"])
        shown = f"{power_w / 1000:+.1f}", f"{grid_w / 1000:+.1f}"
        if not rows or rows[-1][1:] != shown:
            rows.append((when(plan["edges_ms"][number]), *shown))
    return rows
