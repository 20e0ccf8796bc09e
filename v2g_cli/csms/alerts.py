"""`v2g csms alerts`: what began, whether it has ended, and who has seen it."""

from typing import Annotated

import typer

from v2g_cli.csms.show import JsonFlag, Limit, client_of, show, show_one

app = typer.Typer(help="List, show and acknowledge alerts of vehicles and stations.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(metavar="ALERT", help="Number of the alert.", min=1)]


@app.command("list")
def list_(
    context: typer.Context,
    subject: Annotated[str, typer.Option("--subject", help="Only of this vehicle or station.")] = "",
    ended: Annotated[bool, typer.Option("--ended", help="Also those that have ended.")] = False,
    limit: Limit = 100,
    json: JsonFlag = False,
) -> None:
    """List alerts, the newest first.

    Example: `v2g csms alerts list`
    """
    query = {"subject": subject} if subject else {}
    if not ended:
        query["active"] = "true"
    columns = {
        "alert": "alert_id",
        "about": "subject",
        "what": "kind",
        "severity": "severity",
        "value": "value",
        "limit": "limit",
        "since (UTC)": "raised_ms",
        "ended (UTC)": "cleared_ms",
        "seen by": "acknowledged_by",
    }
    show(client_of(context).pages("/alerts", limit, **query), "Alerts", columns, json=json)


@app.command("show")
def show_(context: typer.Context, alert: Number, json: JsonFlag = False) -> None:
    """Show one alert with what was measured.

    Example: `v2g csms alerts show 17`
    """
    show_one(client_of(context).ask("GET", f"/alerts/{alert}").body, json=json)


@app.command()
def acknowledge(
    context: typer.Context,
    alert: Number,
    note: Annotated[str, typer.Option("--note", help="What is done about it.")] = "",
    json: JsonFlag = False,
) -> None:
    """Note that you have seen an alert: it is not announced again. It ends by itself.

    Example: `v2g csms alerts acknowledge 17 --note "towed to the workshop"`
    """
    body = {"note": note}
    show_one(client_of(context).ask("POST", f"/alerts/{alert}/acknowledge", body).body, json=json)
