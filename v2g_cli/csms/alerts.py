"""`v2g csms alerts`: what began, whether it has ended, who has seen it, and what is silenced."""

import re
from typing import Annotated, Final

import typer

from v2g.errors import ConfigError
from v2g.io.runtime.clock import Clock
from v2g_cli.csms.show import JsonFlag, Limit, client_of, show, show_one

app = typer.Typer(
    help="List, show, acknowledge and silence alerts of vehicles, stations and the back end.", no_args_is_help=True
)

Number = Annotated[int, typer.Argument(metavar="ALERT", help="Number of the alert.", min=1)]

_UNITS_S: Final = {"m": 60, "h": 3600, "d": 86400}


@app.command("list")
def list_(
    context: typer.Context,
    subject: Annotated[str, typer.Option("--subject", help="Only of this vehicle, station or other subject.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Only of this kind.")] = "",
    ended: Annotated[bool, typer.Option("--ended", help="Also those that have ended.")] = False,
    limit: Limit = 100,
    json: JsonFlag = False,
) -> None:
    """List alerts, the newest first.

    Example: `v2g csms alerts list`
    """
    query = {name: value for name, value in (("subject", subject), ("kind", kind)) if value}
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
        "escalated": "escalations",
        "acknowledged by": "acknowledged_by",
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


@app.command()
def rules(context: typer.Context, json: JsonFlag = False) -> None:
    """List the rules that raise alerts. `[alerts.rules]` of the configuration changes them.

    Example: `v2g csms alerts rules`
    """
    columns = {
        "rule": "name",
        "about a": "subject_kind",
        "value": "value",
        "limit": "limit",
        "ends at": "clear",
        "severity": "severity",
        "enabled": "enabled",
    }
    show(client_of(context).ask("GET", "/alert-rules").body, "Rules", columns, json=json)


@app.command()
def silence(
    context: typer.Context,
    about: Annotated[str, typer.Argument(metavar="ABOUT", help="station, site, node, queue, vehicle, settlement, ...")],
    duration: Annotated[str, typer.Option("--for", help="How long: 30m, 8h, 2d.")],
    subject: Annotated[str, typer.Option("--subject", help="Only this one; default: all.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Only alerts of this kind; default: all.")] = "",
    note: Annotated[str, typer.Option("--note", help="Why.")] = "",
    json: JsonFlag = False,
) -> None:
    """Announce no alerts of something for a while. They are listed all the same, and announced if they last longer.

    Example: `v2g csms alerts silence station --subject CS-1 --for 8h --note "replaced today"`
    """
    until_ms = Clock().utc_ms() + 1000 * _seconds(duration)
    body = {"subject_kind": about, "subject": subject, "kind": kind, "until_ms": until_ms, "note": note}
    show_one(client_of(context).ask("POST", "/alert-silences", body).body, json=json)


@app.command()
def silences(context: typer.Context, json: JsonFlag = False) -> None:
    """List what is silenced.

    Example: `v2g csms alerts silences`
    """
    columns = {
        "silence": "silence_id",
        "about a": "subject_kind",
        "subject": "subject",
        "kind": "kind",
        "until (UTC)": "until_ms",
        "by": "created_by",
        "note": "note",
    }
    show(client_of(context).ask("GET", "/alert-silences").body, "Silences", columns, json=json)


@app.command("end-silence")
def end_silence(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="SILENCE", help="Number of the silence.", min=1)],
) -> None:
    """End a silence: what is active is announced.

    Example: `v2g csms alerts end-silence 3`
    """
    client_of(context).ask("DELETE", f"/alert-silences/{number}")


def _seconds(duration: str) -> int:
    """Return a duration such as 30m, s. Raises ConfigError."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", duration)
    if found is None:
        raise ConfigError(f"{duration!r} is not a duration", hint="such as 30m, 8h or 2d")
    return int(found[1]) * _UNITS_S[found[2]]
