"""`v2g csms`: runs a back end, and common operations on a running one."""

import contextlib
import itertools
import json as json_
import os
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from v2g.errors import ConfigError, OcppError, TrustError
from v2g_cli.config_check import CheckFlag, check_config
from v2g_cli.csms import admin as csms_admin
from v2g_cli.csms import billing as csms_billing
from v2g_cli.csms import books, declared, tariffs  # noqa: F401  they add commands to those that are declared
from v2g_cli.csms import campaigns as csms_campaigns
from v2g_cli.csms import csv_files as csms_csv_files
from v2g_cli.csms import fleets as csms_fleets
from v2g_cli.csms import passwords as csms_passwords
from v2g_cli.csms import report as csms_report
from v2g_cli.csms import store as csms_store
from v2g_cli.csms import variables as csms_variables
from v2g_cli.csms import vehicles as csms_vehicles
from v2g_cli.csms.show import (
    AccessFile,
    Ca,
    Certificate,
    JsonFlag,
    Key,
    Limit,
    StationName,
    TokenFile,
    Url,
    access_options,
    cell,
    client_of,
    moment,
    part,
    plain,
    refusal,
    show,
    show_one,
)
from v2g_cli.init import csms_init
from v2g_cli.output import print_json, say

_MOST = 10_000
"""Records that a list of stations gathers from other lists."""


class _Nouns(TyperGroup):
    """Commands, of which `fleets list` is what `fleets` is: some nouns have more commands, and a list among them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, TyperCommand) and not any(isinstance(each, TyperArgument) for each in command.params):
            rest = rest[rest[:1] == ["list"] :]
        return name, command, rest


app = typer.Typer(
    cls=_Nouns,
    help="Run a back end, or administer a running one.\n\n"
    "Examples: `v2g csms --config csms.toml`, `v2g csms --script reject.yaml`, "
    "`v2g csms --url https://127.0.0.1:8443 --ca root.pem stations`\n\n"
    "URL, token and root can also be set in `V2G_CSMS_URL`, `V2G_CSMS_TOKEN`, `V2G_CSMS_CA`, or in "
    "`~/.config/v2g-engine/csms-client.toml` (`url`, `token`, `ca`; mode 0600).",
    no_args_is_help=True,
    invoke_without_command=True,
    rich_markup_mode="markdown",
)
for group in (
    csms_admin.app,
    csms_billing.app,
    csms_campaigns.inventory_app,
    csms_csv_files.app,
    csms_fleets.app,
    csms_passwords.app,
    csms_report.app,
    csms_variables.app,
    csms_vehicles.app,
    declared.app,
    declared.api,
    *declared.GROUPS,
):
    app.add_typer(group, no_args_is_help=bool(group.info.name))
app.command("init")(csms_init)
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML or YAML, mode 0600; runs it. Default: /etc/v2g-engine/csms.toml.")
]
ScriptFile = Annotated[
    Path | None, typer.Option("--script", help="TOML or YAML script: run a back end that follows it.")
]
EventsFile = Annotated[Path | None, typer.Option("--events", help="File for one JSON line per event.")]


@app.callback()
def csms(
    context: typer.Context,
    config: ConfigFile = None,
    events: EventsFile = None,
    script: ScriptFile = None,
    check: CheckFlag = False,
    official: Annotated[
        bool, typer.Option("--official", help="With --script: also check the official schemas (extra [testkit]).")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --script: the report as one JSON record.")] = False,
    url: Url = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    access: AccessFile = None,
    utc: Annotated[bool, typer.Option("--utc", help="Show times in UTC; default: in this machine's zone.")] = False,
) -> None:
    """Run a back end, or administer a running one."""
    if utc and context.invoked_subcommand is not None:
        os.environ["TZ"] = "UTC"
        time.tzset()
    if context.invoked_subcommand is None:
        if config is not None and script is not None:
            raise ConfigError("give --config, --script or a command", hint="v2g csms --help shows them")
        if script is not None:
            from v2g_cli.csms.script import run_script

            raise typer.Exit(run_script(script, official=official, as_json=json))
        from v2g.io.runtime.program import config_path

        config = config_path(config, "csms")
        if check:
            check_config("csms", config)
        raise typer.Exit(_run(config, events))
    context.obj = access_options(url, token_file, ca, certificate, key, access)


def _run(config: Path, events: Path | None) -> int:
    from csms.app import main

    return main(config, events)


@app.command()
def run(config: ConfigFile = None, events: EventsFile = None) -> None:
    """Run a back end: OCPP central system, grid signals, settlement, telemetry ingest.

    Example: `v2g csms run --config /etc/v2g-engine/csms.toml`
    """
    from v2g.io.runtime.program import config_path

    raise typer.Exit(_run(config_path(config, "csms"), events))


@app.command()
def health(context: typer.Context, json: JsonFlag = False) -> None:
    """Show the state of the back end.

    Example: `v2g csms health`
    """
    found = client_of(context).ask("GET", "/health").body
    if json:
        print_json(found)
        return
    _say_fields(found)


def _say_fields(found: Mapping[str, Any]) -> None:
    """Print a line for each field, with readable name and value."""
    for field, value in found.items():
        say(f"{field.removesuffix('_ms').replace('_', ' ')}: {cell(field, value)}")


@app.command()
def stations(
    context: typer.Context,
    text: Annotated[str | None, typer.Option("--text", help="Only those with this text in their identity.")] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only those with a connector of this status, such as Faulted.")
    ] = None,
    connected: Annotated[
        bool | None, typer.Option("--connected/--offline", help="Only those that are, or are not, connected.")
    ] = None,
    limit: Limit = 100,
    json: JsonFlag = False,
) -> None:
    """List stations: states of connectors, power of transactions, what alerts say of them, and their sites.

    Examples: `v2g csms stations`, `v2g csms stations --status Faulted`
    """
    client = client_of(context)
    powers: dict[str, Decimal] = {}
    faults: dict[str, list[str]] = {}
    sites: dict[str, str] = {}

    def whole(row: dict[str, Any]) -> dict[str, Any]:
        name = row["station_id"]
        plugs = (f"{each['evse_id']}/{each['connector_id']} {each['status']}" for each in row["connectors"])
        about = {"power_w": powers.get(name), "site": sites.get(name), "faults": ", ".join(faults.get(name, ()))}
        return row | {"plugs": ", ".join(plugs)} | about

    columns = {
        "station": "station_id",
        "connected": "connected",
        "protocol": "protocol",
        "boot": "boot_status",
        "connectors": "plugs",
        "W": "power_w",
        "alerts": "faults",
        "site": "site",
        "vendor": "vendor",
        "model": "model",
        "firmware": "firmware",
        "last seen (UTC)": "last_seen_ms",
    }
    if not json:
        with contextlib.suppress(TrustError):  # a role may see stations without transactions
            for each in client.pages("/transactions", _MOST, active=True):
                if each["power_w"] is not None:
                    station_id = each["station_id"]
                    powers[station_id] = powers.get(station_id, Decimal(0)) + Decimal(each["power_w"])
        with contextlib.suppress(TrustError):
            for each in client.pages("/alerts", _MOST, active=True):
                if each["subject_kind"] == "station":
                    faults.setdefault(each["subject"], []).append(each["kind"])
        with contextlib.suppress(TrustError):
            for site in client.pages("/sites", _MOST):
                sites.update(dict.fromkeys((each["station_id"] for each in site["places"]), site["id"]))
    rows = client.pages("/stations", limit, text=text, status=status, connected=connected)
    show(rows, "Stations", columns, json=json, present=whole)


@app.command()
def station(context: typer.Context, name: StationName, json: JsonFlag = False) -> None:
    """Show a station.

    Example: `v2g csms station CS-V2G-0001`
    """
    found = client_of(context).ask("GET", f"/stations/{part(name)}").body
    if json:
        print_json(found)
        return
    _say_fields({field: value for field, value in found.items() if field != "connectors"})
    columns = {"EVSE": "evse_id", "connector": "connector_id", "status": "status", "since (UTC)": "changed_ms"}
    show(found["connectors"], "Connectors", columns, json=False)


@app.command()
def send(
    context: typer.Context,
    name: StationName,
    action: Annotated[str, typer.Argument(metavar="ACTION", help="OCPP action, such as GetVariables.")],
    payload: Annotated[str, typer.Argument(metavar="JSON", help="JSON payload.")] = "{}",
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for the station's answer.")] = 30.0,
    json: JsonFlag = False,
) -> None:
    """Send a request to a station and print its answer.

    A station of OCPP 1.6 takes actions of 2.0.1, which are translated, and those of 1.6 as they are. The exit code is 3
    if the station rejects the request.

    Examples: `v2g csms send CS-V2G-0001 Reset '{"type": "OnIdle"}'`,
    `v2g csms send CS-16 GetConfiguration '{"key": ["HeartbeatInterval"]}'`
    """
    try:
        body = json_.loads(payload)
    except ValueError as error:
        raise ConfigError(f"the payload is not JSON: {error}", hint='quote it: \'{"type": "OnIdle"}\'') from None
    path = f"/stations/{part(name)}/commands/{part(action)}"
    answer = client_of(context).ask("POST", path, body, timeout_s=timeout).body
    show_one(answer, json=json)
    if refused := refusal(answer):
        raise OcppError(f"{name} answered {action} with {refused}", answer=refused)


@app.command()
@app.command("door", hidden=True)  # its former name
def admissions(
    context: typer.Context,
    undecided: Annotated[bool, typer.Option("--undecided", help="Only stations without a decision.")] = False,
    json: JsonFlag = False,
) -> None:
    """List admitted stations, connection attempts, and why they failed.

    Example: `v2g csms admissions`
    """
    client = client_of(context)
    found = client.ask("GET", "/admissions", undecided=True if undecided else None).body
    faults = client.ask("GET", "/admissions/faults").body
    if json:
        for row in (*found, *faults):
            print_json(row)
        return
    columns = {
        "station": "station_id",
        "decided": "boot",
        "by": "decided_by",
        "profile": "security_profile",
        "offers": "offered",
        "address": "address",
        "last seen (UTC)": "last_seen_ms",
    }
    show(found, "Admissions", columns, json=False)
    columns = {"station": "station_id", "times": "times", "last (UTC)": "last_ms", "what": "detail", "do": "hint"}
    show(faults, "Failed connection attempts", columns, json=False)


@app.command()
def admit(
    context: typer.Context,
    name: StationName,
    refuse: Annotated[bool, typer.Option("--refuse", help="Reject the station instead.")] = False,
    pending: Annotated[
        bool, typer.Option("--pending", help="Accept its connection but do not let it charge yet (Pending).")
    ] = False,
    expired_for: Annotated[
        int | None,
        typer.Option(
            "--expired-for", help="Accept its expired certificate for this many days, so that it can renew it."
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Admit a station.

    Examples: `v2g csms admit CS-V2G-0001`, `v2g csms admit CS-V2G-0001 --expired-for 7`
    """
    if refuse + pending + (expired_for is not None) > 1:
        raise ConfigError("--refuse, --pending and --expired-for exclude each other", hint="v2g csms admit --help")
    if expired_for is not None:
        path = f"/admissions/{part(name)}/expired-certificate"
        show_one(client_of(context).ask("PUT", path, {"days": expired_for}).body, json=json)
        return
    decision = "Refused" if refuse else "Pending" if pending else "Accepted"
    show_one(client_of(context).ask("PUT", f"/admissions/{part(name)}", {"decision": decision}).body, json=json)


@app.command()
def start(
    context: typer.Context,
    name: StationName,
    id_token: Annotated[str, typer.Argument(metavar="TOKEN", help="Token of the driver.")],
    kind: Annotated[str, typer.Option("--type", help="Token type, such as ISO14443, eMAID, Central.")] = "Central",
    evse: Annotated[int | None, typer.Option("--evse", help="EVSE id.")] = None,
    json: JsonFlag = False,
) -> None:
    """Ask a station to start a transaction.

    Example: `v2g csms start CS-V2G-0001 04A1B2C3 --type ISO14443 --evse 1`
    """
    body: dict[str, Any] = {"id_token": {"idToken": id_token, "type": kind}}
    if evse is not None:
        body["evse_id"] = evse
    show_one(client_of(context).ask("POST", f"/stations/{part(name)}/transactions", body).body, json=json)


@app.command()
def events(
    context: typer.Context,
    kinds: Annotated[list[str] | None, typer.Argument(metavar="[KIND]...", help="Only events of these kinds.")] = None,
    name: Annotated[str | None, typer.Option("--station", help="Only events of this station.")] = None,
    frames: Annotated[bool, typer.Option("--ocpp", help="Show OCPP frames instead.")] = False,
    count: Annotated[int | None, typer.Option("--count", min=1, help="Exit after this many events.")] = None,
    json: JsonFlag = False,
) -> None:
    """Stream events until interrupted.

    Examples: `v2g csms events transaction_started transaction_ended`, `v2g csms events --ocpp --station CS-V2G-0001`
    """
    client = client_of(context)
    path = "/ocpp-log" if frames else "/events"
    query = {"station_id": name} | ({"kinds": ",".join(kinds)} if kinds and not frames else {})
    for kind, event in itertools.islice(client.events(path, **query), count):
        if json:
            print_json({"kind": kind, **event})
        else:
            say(_line(kind, event))


def _line(kind: str, event: dict[str, Any]) -> str:
    data = event["data"]
    if kind == "ocpp_frame":
        arrow = "→" if data["direction"] == "sent" else "←"
        return f"{moment(event['at_ms'])} {event['station_id']} {arrow} {data['text']}"
    shown = " ".join(f"{name}={plain(value)}" for name, value in data.items())
    return f"{moment(event['at_ms'])} {event['station_id'] or '-'} {kind} {shown}"


csms_store.register(app)  # shown last
