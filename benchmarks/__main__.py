"""`python -m benchmarks`: measure and print the figures in README and docs."""

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Any

import msgspec
import typer

from benchmarks.figures import Figure, machine, run_command, show
from v2g.errors import ConfigError
from v2g_cli.output import print_json, print_table

NAMES = (
    "exi", "ocpp", "telemetry", "battery", "gateway", "journal", "settlement", "books", "links", "tls", "trust",
    "dispatch", "shares", "roaming", "broker", "decision", "uplink", "ota", "session", "warm", "charging", "crowd",
    "sessions", "scores", "editions", "grid", "station", "csms", "console",
)  # fmt: skip
"""Modules of this package with `ABOUT` and `measure(*, quick)`, fast ones first; `REQUIREMENTS` if any."""


def run(
    names: Annotated[list[str] | None, typer.Argument(help="Names; default: all.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON record per figure.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the benchmarks and exit.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Few repetitions, only to check that it runs.")] = False,
) -> None:
    """Measure, with figures of a peer if one exists and can run here.

    Examples: `python -m benchmarks`, `python -m benchmarks exi tls`, `python -m benchmarks --json decision`
    """
    unknown = [name for name in names or () if name not in NAMES]
    if unknown:
        raise ConfigError(f"no benchmark {unknown[0]!r}", hint="python -m benchmarks --list shows all")
    modules = {name: import_module(f"benchmarks.{name}") for name in NAMES if not names or name in names}
    if list_:
        _list(modules.items(), json=json)
        return
    if not json:
        sys.stdout.write(machine() + "\n")
        sys.stdout.flush()
    for name, module in modules.items():
        sys.stderr.write(f"measuring {name} ...\n")
        figures: list[Figure] = [msgspec.structs.replace(each, name=name) for each in module.measure(quick=quick)]
        if json:
            for figure in figures:
                print_json(figure)
        else:
            show(name, module.ABOUT, figures)


def _list(modules: Iterable[tuple[str, Any]], *, json: bool) -> None:
    if json:
        for name, module in modules:
            print_json({"name": name, "about": module.ABOUT})
    else:
        print_table("Benchmarks", ("name", "measures"), ((name, module.ABOUT) for name, module in modules))


if __name__ == "__main__":
    run_command(run)
