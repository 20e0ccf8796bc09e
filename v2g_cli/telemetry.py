"""`v2g telemetry` and `v2g-telemetry-daemon`: the telemetry gateway, and the keys that it needs."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from v2g.errors import ConfigError
from v2g_cli.config_check import CheckFlag, check_config
from v2g_cli.output import say

_MAX_VIN: Final = 100

app = typer.Typer(invoke_without_command=True, no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def telemetry(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="TOML or YAML configuration, mode 0600.")] = None,
    events: Annotated[Path | None, typer.Option(help="File for one JSON line per event.")] = None,
    check: CheckFlag = False,
) -> None:
    """Send telemetry of a CAN bus and of local programs to the back end.

    Example: `v2g telemetry --config gateway.toml`
    """
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise ConfigError("no configuration given", hint="add --config FILE")
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

    say(f"{file}: key {RecordKeys.rotate(file)}, from the gateway's next start on")


def main() -> None:
    """Entry point of the `v2g-telemetry-daemon` command."""
    from v2g_cli.main import guarded

    guarded(app)
