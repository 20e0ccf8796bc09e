"""`v2g csms attestation`: which stations have proved by their TPMs that they are whole (R148)."""

from pathlib import Path
from typing import Annotated

import typer

from v2g_cli.csms.show import JsonFlag, Limit, StationName, client_of, part, show, show_one
from v2g_cli.output import read_file, say

app = typer.Typer(
    help="List, enrol and ask stations that prove by their TPMs that they are whole.", no_args_is_help=True
)


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[str, typer.Option("--state", help="Only Pending, Whole, Failed or Silent ones.")] = "",
    limit: Limit = 100,
    json: JsonFlag = False,
) -> None:
    """List the stations that are enrolled, and what each has proved.

    Example: `v2g csms attestation list --state Failed`
    """
    columns = {
        "station": "station_id",
        "state": "state",
        "since (UTC)": "since_ms",
        "asked (UTC)": "asked_ms",
        "whole at (UTC)": "verified_ms",
        "reasons": "reasons",
    }
    query = {"state": state} if state else {}
    show(client_of(context).pages("/attestations", limit, **query), "attestation", columns, json=json)


@app.command("show")
def show_(context: typer.Context, station: StationName, json: JsonFlag = False) -> None:
    """Show what one station has proved, or why it is not whole.

    Example: `v2g csms attestation show CS-V2G-0001`
    """
    show_one(client_of(context).ask("GET", f"/stations/{part(station)}/attestation").body, json=json)


@app.command()
def enrol(
    context: typer.Context,
    station: StationName,
    tpm_key: Annotated[Path, typer.Argument(metavar="FILE", help="Public key of its TPM's quoting key, PEM.")],
    json: JsonFlag = False,
) -> None:
    """Enrol a station with the key of its TPM; until it has proved to be whole it may not feed back.

    Example: `v2g csms attestation enrol CS-V2G-0001 tpm.pem`
    """
    body = {"tpm_key": read_file(tpm_key).decode(errors="replace")}
    show_one(client_of(context).ask("PUT", f"/stations/{part(station)}/attestation", body).body, json=json)


@app.command()
def ask(context: typer.Context, station: StationName, json: JsonFlag = False) -> None:
    """Ask a station for new evidence now.

    Example: `v2g csms attestation ask CS-V2G-0001`
    """
    show_one(client_of(context).ask("POST", f"/stations/{part(station)}/attestation/ask").body, json=json)


@app.command()
def remove(context: typer.Context, station: StationName) -> None:
    """Ask a station no more; what it may feed back no longer depends on it.

    Example: `v2g csms attestation remove CS-V2G-0001`
    """
    client_of(context).ask("DELETE", f"/stations/{part(station)}/attestation")
    say(f"{station} is no longer asked")
