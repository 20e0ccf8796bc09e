"""`v2g telemetry` and `v2g-telemetry-daemon`: the telemetry gateway, and the keys that it needs."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from v2g.errors import ConfigError, TransportError
from v2g_cli.options import CheckFlag, check_config, seen_by_others
from v2g_cli.output import say

_MAX_VIN: Final = 100

app = typer.Typer(invoke_without_command=True, rich_markup_mode="markdown")


@app.callback()
def telemetry(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="TOML or YAML, mode 0600; default: /etc/v2g-engine/telemetry.toml.")
    ] = None,
    events: Annotated[Path | None, typer.Option(help="File for one JSON line per event.")] = None,
    check: CheckFlag = False,
) -> None:
    """Send telemetry of a CAN bus and of local programs to the back end.

    Example: `v2g telemetry --config gateway.toml`
    """
    if context.invoked_subcommand is not None:
        return
    from v2g.io.runtime.program import config_path

    config = config_path(config, "telemetry")
    if check:
        check_config("v2g_gateway", config)
    from v2g_gateway.app import main as run

    raise typer.Exit(run(config, events))


@app.command()
def pseudonym(
    key: Annotated[Path, typer.Option(help="File with 64 hexadecimal digits, mode 0600: the operator's key.")],
    create: Annotated[bool, typer.Option(help="Create the key; the file must not exist.")] = False,
) -> None:
    """Print the pseudonym of each VIN on standard input, one a line.

    A VIN on a command line would be in the shell's history and in the list of processes.

    Example: `v2g telemetry pseudonym --key pseudonyms.key < vins.txt`
    """
    import secrets

    from v2g.pki.keys import read_secret, save_secret
    from v2g.telemetry.privacy import pseudonym as pseudonym_of

    if create:
        if key.exists():
            raise ConfigError(f"{key} exists", hint="another key would give every vehicle another pseudonym")
        save_secret(key, secrets.token_hex(32).encode() + b"\n")
    try:
        secret = bytes.fromhex(read_secret(key).decode("ascii"))
    except ValueError:
        raise ConfigError(f"{key} holds no key", hint="64 hexadecimal digits; --create writes a new key") from None
    for line in sys.stdin:
        if line.strip():
            print(pseudonym_of(line[:_MAX_VIN], secret))


@app.command("key")
def new_key(file: Annotated[Path, typer.Argument(help="File of the keys, mode 0600; created when missing.")]) -> None:
    """Append a key for the outbox: new records are sealed with it. Older keys stay until their records are delivered.

    Example: `v2g telemetry key outbox.keys`
    """
    from v2g.io.storage.record_keys import RecordKeys

    say(f"{file}: key {RecordKeys.rotate(file)}, used by a running gateway within 5 s")


@app.command()
def simulate(
    url: Annotated[str, typer.Option(envvar="V2G_CSMS_URL", help="https://host:port of the back end's API.")],
    ca: Annotated[Path, typer.Option(envvar="V2G_CSMS_CA", help="PEM file of the root of its certificate.")],
    token: Annotated[
        str,
        typer.Option(
            envvar="V2G_CSMS_TOKEN", callback=seen_by_others, help="Bearer token that may report for the vehicles."
        ),
    ],
    count: Annotated[int, typer.Option(min=1, max=500, help="Number of vehicles.")] = 10,
    prefix: Annotated[str, typer.Option(help="Vehicles are the prefix and a number.")] = "EV-",
    hours: Annotated[float, typer.Option(min=0.1, max=72, help="Their hours until now.")] = 24.0,
    speed: Annotated[float, typer.Option(min=1, max=20_000, help="Simulated seconds per second.")] = 3600.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same vehicles.")] = 1,
    weak: Annotated[float, typer.Option(min=0, max=1000, help="By how many mV a cell of the first one is weak.")] = 0.0,
    begin: Annotated[
        datetime | None, typer.Option(help="UTC at which their hours begin; default: so many hours before now.")
    ] = None,
) -> None:
    """Simulate vehicles of commuters, and send their telemetry through the gateway's own code.

    They drive to work and home, have no connection on the way home, feed back in the evening and charge at night.

    Example: `v2g telemetry simulate --count 20 --speed 3600`
    """
    import asyncio
    import tempfile

    from rich.status import Status

    from v2g.io.runtime.clock import Clock
    from v2g_cli.output import terminal, when
    from v2g_gateway.uplink import HttpConfig, HttpsUplink
    from v2g_testkit.commuters import Commuters, CommutersConfig

    http = HttpConfig(url=f"{url.rstrip('/')}/telemetry", ca=ca, token=token)
    end_ms = Clock().utc_ms()
    if begin is not None:
        end_ms = round((begin.replace(tzinfo=UTC).timestamp() + hours * 3600) * 1000)
    screen = terminal(err=True)
    with tempfile.TemporaryDirectory(prefix="v2g-telemetry-") as folder, Status("", console=screen) as status:
        fleet = Commuters(
            CommutersConfig(
                folder=Path(folder),
                end_ms=end_ms,
                count=count,
                prefix=prefix,
                hours=hours,
                speed=speed,
                seed=seed,
                weak_mv=weak,
            ),
            lambda on_marks: HttpsUplink(http, on_marks),
        )
        found = asyncio.run(
            fleet.run(lambda each: status.update(f"{when(each.at_ms)}: {each.made} records, {each.stored} stored"))
        )
    say(f"{count} vehicles, {found.made} records made, {found.stored} stored")
    if found.stored < found.made:
        raise TransportError(
            f"{found.made - found.stored} records are not stored",
            hint="is the back end running, and may the token deliver?",
        )


def main() -> None:
    """Entry point of the `v2g-telemetry-daemon` command."""
    from v2g_cli.main import guarded

    guarded(app)
