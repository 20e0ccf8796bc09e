"""`v2g csms session-metrics`: how the parts of stations work, by figures of their sessions (R179)."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from v2g_cli.csms.show import JsonFlag, Limit, StationName, client_of, part, show, show_one

app = typer.Typer(
    help="List figures of sessions that show worn parts of stations, and start over after a repair.",
    no_args_is_help=True,
)


@app.command("list")
def list_(context: typer.Context, limit: Limit = 100, json: JsonFlag = False) -> None:
    """List the stations with the figure that has moved most since their first sessions; with `--json` all figures.

    Example: `v2g csms session-metrics list`
    """
    columns = {
        "station": "station_id",
        "drift": "drift",
        "apart": "apart",
        "EVSE": "evse_id",
        "figure": "figure",
        "sessions": "sessions",
        "first": "first",
        "recent": "recent",
    }
    found = client_of(context).pages("/session-metrics", limit)
    show(found, "Session metrics", columns, json=json, present=_line)


def _line(station: Mapping[str, Any]) -> dict[str, Any]:
    figures = sorted(station["figures"], key=lambda each: each["moved"])
    line = {**station, **(figures[-1] if figures else {})}
    return {name: f"{each:.3g}" if isinstance(each, float) else each for name, each in line.items()}


@app.command()
def reset(
    context: typer.Context,
    station: StationName,
    reason: Annotated[str, typer.Option("--reason", help="What was found and done; it is in the audit log.")],
    json: JsonFlag = False,
) -> None:
    """Start over after a repair: the station's next sessions are its reference, and its alerts of them end.

    Example: `v2g csms session-metrics reset CS-V2G-0001 --reason "contactor of EVSE 1 replaced"`
    """
    path = f"/stations/{part(station)}/session-metrics/resets"
    show_one(client_of(context).ask("POST", path, {"reason": reason}).body, json=json)
