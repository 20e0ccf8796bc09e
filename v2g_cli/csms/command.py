"""`v2g csms`: runs a back end, and administers a running one."""

import json as json_
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from v2g.errors import ConfigError
from v2g_cli.csms import campaigns, csv_files, declared, money, stations, vehicles
from v2g_cli.csms.show import NO_ACCESS, AccessOptions, JsonFlag, client_of, show_one
from v2g_cli.init import csms_init
from v2g_cli.options import CheckFlag, check_config, with_option_groups
from v2g_cli.output import tell, write_bytes

_PANELS: Final[Mapping[str, str]] = {
    "Back end": "init run health events migrate backup restore request api",
    "Stations": "stations station admissions door admit password send set variables templates csv inventory campaigns "
    "attestation trust uptime session-metrics",
    "Charging": "tokens allow transactions transaction start stop limits",
    "Money": "tariffs costs report receipt charging-entries journal correct unbooked release reject contradictions "
    "exchange-meter books roaming",
    "Sites and grid": "grid-limits site-limits fleets fleet-bids plan",
    "Vehicles": "vehicles telemetry quarantine telemetry-keys export plot battery profile scores score-drifts erase",
    "People and programs": "users token alerts audit",
}
"""Every command, in the order of help, by heading; `door` is the former name of `admissions`."""


class _Nouns(TyperGroup):
    """Commands, of which `fleets list` is what `fleets` is: some nouns have more commands, and a list among them."""

    def list_commands(self, ctx: Any) -> list[str]:
        found = super().list_commands(ctx)
        for panel, names in _PANELS.items():
            for name in names.split():
                self.commands[name].rich_help_panel = panel  # type: ignore[attr-defined]
        order = " ".join(_PANELS.values()).split()
        return sorted(found, key=order.index)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the headings where help is plain text, too."""
        for panel, names in _PANELS.items():
            rows = [(name, self.commands[name].get_short_help_str(200)) for name in names.split() if name != "door"]
            with formatter.section(panel):
                formatter.write_dl(rows)

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
    "`~/.config/v2g-engine/csms-client.toml` (`url`, `token`, `ca`; mode 0600), or in the file that "
    "`V2G_CSMS_ACCESS` names.",
    no_args_is_help=True,
    invoke_without_command=True,
    rich_markup_mode="markdown",
)
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML or YAML, mode 0600; runs it. Default: /etc/v2g-engine/csms.toml.")
]
ScriptFile = Annotated[
    Path | None, typer.Option("--script", help="TOML or YAML script: run a back end that follows it.")
]
EventsFile = Annotated[Path | None, typer.Option("--events", help="File for one JSON line per event.")]


@app.callback()
@with_option_groups
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
    access: AccessOptions = NO_ACCESS,
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
    access.give(context)


def _run(config: Path, events: Path | None) -> int:
    from csms.app import main

    return main(config, events)


def run(config: ConfigFile = None, events: EventsFile = None) -> None:
    """Run a back end: OCPP central system, grid signals, settlement, telemetry ingest.

    Example: `v2g csms run --config /etc/v2g-engine/csms.toml`
    """
    from v2g.io.runtime.program import config_path

    raise typer.Exit(_run(config_path(config, "csms"), events))


def request(
    context: typer.Context,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, PUT, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="API path, such as /openapi.json.")],
    body: Annotated[str | None, typer.Argument(metavar="[JSON]", help="Request body.")] = None,
    json: JsonFlag = False,
) -> None:
    """Send any request to the API.

    Example: `v2g csms request GET /campaigns`
    """
    try:
        content = None if body is None else json_.loads(body)
    except ValueError as error:
        raise ConfigError(f"the body is not JSON: {error}", hint='quote it: \'{"name": "value"}\'') from None
    found = client_of(context).ask(method.upper(), path, content).body
    if isinstance(found, bytes):  # a route with another format, such as /metrics
        write_bytes(found)
    else:
        show_one(found, json=json)


# -- the database


BackendConfig = Annotated[Path, typer.Option("--config", help="Configuration of the back end.")]
User = Annotated[
    str, typer.Option("--user", metavar="ROLE", help="PostgreSQL role to use instead of the one in `store_url`.")
]
OneRecord = Annotated[bool, typer.Option("--json", help="Print a JSON record.")]


def migrate(config: BackendConfig, user: User = "", json: OneRecord = False) -> None:
    """Create or migrate the back end's tables; it also does so at its start, if its role may.

    Example: `v2g csms migrate --config csms.toml --user csms_owner`
    """
    from csms.db.store import HEAD, Store

    Store(_address(config, user)).close()
    tell({"done": "migrated", "revision": HEAD}, f"{HEAD}: the tables are up to date", json=json)


def backup(
    config: BackendConfig,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write, mode 0600; replaces an earlier backup.")],
    json: OneRecord = False,
) -> None:
    """Back up the database to a file, also while the back end runs.

    Journal copies and keys in `data_dir` are separate files. Example:
    `v2g csms backup --config csms.toml csms.db.backup`
    """
    from csms.db import backup as work

    _report("written", work.backup(_address(config), file), file, json=json)


def restore(
    config: BackendConfig,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File written by `v2g csms backup`.")],
    user: User = "",
    json: OneRecord = False,
) -> None:
    """Restore a backup into an empty database; between SQLite and PostgreSQL in either direction.

    Example: `v2g csms restore --config csms.toml csms.db.backup`
    """
    from csms.db import backup as work

    _report("restored", work.restore(_address(config, user), file), file, json=json)


def _address(config: Path, user: str = "") -> str:
    """Return the URL of the database, with its role. Raises ConfigError and StoreError."""
    from csms.config import load_config
    from csms.db.store import address, as_user

    loaded = load_config(config)
    return as_user(address(loaded.store_url, loaded.data_dir), user)


def _report(what: str, rows: int, file: Path, *, json: bool) -> None:
    tell({"done": what, "rows": rows, "file": str(file)}, f"{rows} rows {what}", json=json)


_COMMANDS: Final[Mapping[str, Any]] = {
    "init": csms_init, "run": run, "stations": stations.stations,
    "send": stations.send, "door": stations.admissions, "admissions": stations.admissions, "admit": stations.admit,
    "start": stations.start, "events": stations.events, "migrate": migrate, "backup": backup, "restore": restore,
    "allow": stations.allow, "request": request, "costs": money.costs, "correct": money.correct,
    "inventory": campaigns.inventory, "csv": csv_files.app, "plan": vehicles.plan, "password": stations.password,
    "report": money.report, "set": stations.set_variable, "export": vehicles.export, "plot": vehicles.plot,
    "profile": vehicles.profile,
}  # fmt: skip

for _name, _command in _COMMANDS.items():
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, no_args_is_help=True)
        continue
    _alone = typer.Typer()
    _alone.command(_name, hidden=_name == "door")(_command)
    app.add_typer(_alone)
for _group in (declared.app, declared.api, *declared.GROUPS):
    app.add_typer(_group, no_args_is_help=bool(_group.info.name))
