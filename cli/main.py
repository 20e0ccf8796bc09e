"""The `v2g` command.

Every error of `v2g.errors` ends as one line and a hint on standard error, with the exit code of its kind; nothing ends
as a traceback.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli import exi, pki, settle
from cli.demo.command import demo
from v2g.errors import V2GError

app = typer.Typer(
    name="v2g",
    help="Plug and charge, discharge, settle: an ISO 15118-20 charger and vehicle, an OCPP back end, and their tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command(help="Run a whole session across three processes and show what happens.")(demo)
app.add_typer(exi.app, name="exi")
app.add_typer(pki.app, name="pki")
app.add_typer(settle.app, name="settle")

ConfigFile = Annotated[Path, typer.Option("--config", help="TOML or YAML configuration, mode 0600.")]
EventsFile = Annotated[Path | None, typer.Option("--events", help="File for one JSON line per event.")]


def _program(name: str, what: str) -> None:
    """Add a sub-command that runs one of the programs in this process."""

    def run(config: ConfigFile, events: EventsFile = None) -> None:
        from importlib import import_module

        main_: Callable[[Path, Path | None], int] = import_module(f"{name}.app").main
        raise typer.Exit(main_(config, events))

    example = f"Example: `v2g {name} --config /etc/v2g-engine/{name}.toml`"
    app.command(name, help=f"{what}\n\n{example}")(run)


_program("secc", "Run a charger: ISO 15118-20 SECC and OCPP charging station.")
_program("evcc", "Run a vehicle: one ISO 15118-20 session, then exit.")
_program("csms", "Run a back end: OCPP central system, grid signals, settlement, telemetry ingest.")


def main() -> None:
    """Entry point of the `v2g` command."""
    try:
        app()
    except V2GError as error:
        sys.stderr.write(f"v2g: {error}\n" + (f"     {error.hint}\n" if error.hint else ""))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
