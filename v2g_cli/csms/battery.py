"""`v2g csms battery`: estimates of batteries against measurements."""

from typing import Annotated

import typer

from v2g_cli.csms.show import JsonFlag, client_of, part, show, show_one

app = typer.Typer(help="Check what is estimated of batteries, and reset what lasts.", no_args_is_help=True)

Vehicle = Annotated[str, typer.Argument(metavar="EV", help="Pseudonym of the vehicle.")]
Note = Annotated[str, typer.Option("--note", help="How it was measured, or why.")]


@app.command()
def reference(
    context: typer.Context,
    ev: Vehicle,
    capacity: Annotated[float, typer.Argument(metavar="AH", help="Measured capacity, Ah.", min=0)],
    deviation: Annotated[float, typer.Option("--deviation", help="Relative standard deviation of that.")] = 0.002,
    note: Note = "",
    json: JsonFlag = False,
) -> None:
    """Compare the estimated capacity with a measured one, such as that of a full discharge, and correct it by that.

    Example: `v2g csms battery reference EV-1 98.4 --note "C/3 discharge"`
    """
    body = {"capacity_ah": capacity, "deviation": deviation, "note": note}
    show_one(client_of(context).ask("POST", f"/vehicles/{part(ev)}/battery/references", body).body, json=json)


@app.command()
def calibrate(context: typer.Context, ev: Vehicle, note: Note = "", json: JsonFlag = False) -> None:
    """Take what the battery's twin deviates by now as offsets of the sensors: the battery is sound.

    Example: `v2g csms battery calibrate EV-1 --note "inspected"`
    """
    show_one(
        client_of(context).ask("POST", f"/vehicles/{part(ev)}/battery/calibrations", {"note": note}).body, json=json
    )


@app.command()
def reset(
    context: typer.Context,
    ev: Vehicle,
    reason: Annotated[str, typer.Option("--reason", help="What was found and done; it is recorded.")],
    json: JsonFlag = False,
) -> None:
    """End a thermal runaway, which never ends by itself, after a person has seen to the battery.

    That of the vehicle's gateway is reset there: `v2g emergency reset gateway`.

    Example: `v2g csms battery reset EV-1 --reason "module 3 replaced"`
    """
    show_one(client_of(context).ask("POST", f"/vehicles/{part(ev)}/battery/resets", {"reason": reason}).body, json=json)


@app.command()
def checks(context: typer.Context, ev: Vehicle, json: JsonFlag = False) -> None:
    """List references, calibrations and resets of a vehicle.

    Example: `v2g csms battery checks EV-1`
    """
    columns = {
        "at (UTC)": "at_ms", "what": "kind", "measured (Ah)": "measured_ah", "estimated (Ah)": "estimated_ah",
        "error (%)": "error_percent", "residual (V)": "residual_v", "residual (K)": "residual_c", "by": "by",
        "note": "note",
    }  # fmt: skip
    found = client_of(context).ask("GET", f"/vehicles/{part(ev)}/battery/checks").body
    show(found, "Checks", columns, json=json, present=lambda row: {**row, **row["values"]})


@app.command()
def reports(context: typer.Context, json: JsonFlag = False) -> None:
    """List the monthly reports of references.

    Example: `v2g csms battery reports`
    """
    columns = {
        "month": "month", "vehicles": "vehicles", "checked": "checked", "apart": "apart",
        "worst error (%)": "worst_percent", "RMS error (%)": "rms_percent",
    }  # fmt: skip
    show(client_of(context).ask("GET", "/battery-reports").body, "Reports", columns, json=json)
