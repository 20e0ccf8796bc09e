"""`v2g telemetry` and `v2g-telemetry-daemon`: the telemetry gateway."""

from pathlib import Path
from typing import Annotated

import typer

from v2g_cli.config_check import CheckFlag, check_config


def telemetry(
    config: Annotated[Path, typer.Option(help="TOML or YAML configuration, mode 0600.")],
    events: Annotated[Path | None, typer.Option(help="File for one JSON line per event.")] = None,
    check: CheckFlag = False,
) -> None:
    """Send telemetry of a CAN bus and of local programs to the back end.

    Example: `v2g telemetry --config gateway.toml`
    """
    if check:
        check_config("v2g_gateway", config)
    from v2g_gateway.app import main as run

    raise typer.Exit(run(config, events))


def main() -> None:
    """Entry point of the `v2g-telemetry-daemon` command."""
    from v2g_cli.main import guarded

    guarded(lambda: typer.run(telemetry))
