"""`v2g csms fleets` and `v2g csms plan`: fleets that are planned together, and their plans."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from v2g_cli.csms.show import JsonFlag, client_of, part, show
from v2g_cli.output import print_json, print_table, say, when, write_new

app = typer.Typer()

_PAST: Final = {
    "minute": "at_ms",
    "planned W": "planned_w",
    "asked W": "asked_w",
    "accepted W": "accepted_w",
    "delivered W": "delivered_w",
    "vehicles": "vehicles",
}


@app.command()
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
        show(rows, f"Past plans of {fleet}", _PAST, json=json)
        return
    found: dict[str, Any] = client_of(context).ask("GET", f"/fleets/{part(fleet)}/plan").body
    if chart is not None:
        write_new(chart, found["chart"])
    if json:
        print_json(found)
        return
    print_table(f"plan of {fleet}", ("from", "vehicles kW", "grid kW"), _rows(found["plan"]))
    for sentence in found["explanation"]:
        say(sentence)


def _rows(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return a row for each stretch of equal powers."""
    rows: list[tuple[str, str, str]] = []
    for number, grid_w in enumerate(plan["grid_w"]):
        power_w = sum(each["power_w"][number] for each in plan["vehicles"])
        shown = f"{power_w / 1000:+.1f}", f"{grid_w / 1000:+.1f}"
        if not rows or rows[-1][1:] != shown:
            rows.append((when(plan["edges_ms"][number]), *shown))
    return rows
