"""`v2g demo`."""

import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from rich.table import Table
from rich.text import Text

from v2g.errors import ConfigError
from v2g_cli.output import print_json, print_table, say, terminal

if TYPE_CHECKING:
    from v2g_cli.demo.summary import Summary


_DETAILS: Final = ("TLS", "authenticated", "offers decided", "plug-in to power", "telemetry")
"""Facts that are not about energy and money."""

_NEXT: Final = "next: docs/tutorials/first-session.md goes through this run; `. .venv/bin/activate` brings `v2g`"


def demo(
    scenario: Annotated[str, typer.Option(help="Scenario to run; --list shows all.")] = "discharge",
    time_scale: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=2000,
            help="Simulated seconds per second, for battery and settlement intervals; default: 300, or the scenario's.",
        ),
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Folder of the run; default: runs/TIME.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON record per event, and one for the summary.")] = False,
    console: Annotated[
        bool, typer.Option("--console", help="Afterwards leave the back end's console open, with a fleet at it.")
    ] = False,
    world: Annotated[
        bool,
        typer.Option(
            "--world", help="Open the console of three sites and 40 vehicles instead: their day takes seven minutes."
        ),
    ] = False,
    open_for: Annotated[float, typer.Option(min=0.1, max=1440, help="For how long, minutes.")] = 10.0,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also every step of the session, and figures of the programs.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the scenarios and exit.")] = False,
) -> None:
    """Run a whole session across four programs (csms, secc, evcc, telemetry gateway) and show the events.

    With `--console` its back end then stays open in the browser, and stations that charge and discharge connect to it.

    Examples: `v2g demo`, `v2g demo --console`, `v2g demo --scenario forged-command`, `v2g demo --json | tail -1`

    Exit code 0 if everything that the scenario expects has happened, 1 otherwise.
    """
    from v2g_cli.demo.scenario import SCENARIOS, find
    from v2g_cli.demo.timeline import Timeline
    from v2g_cli.demo.update import UPDATES, play

    if list_:
        every = [(each.name, each.about) for each in SCENARIOS] + [(each.name, each.about) for each in UPDATES]
        if json:
            for name, about in every:
                print_json({"name": name, "about": about})
        else:
            print_table("Scenarios", ("name", "shows"), every)
        return
    path = folder or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    if path.exists():
        raise ConfigError(f"{path} already exists", hint="choose a new folder")
    style = "json" if json else "rich" if sys.stdout.isatty() else "plain"
    for update in UPDATES:
        if update.name == scenario:
            from v2g.extras import extras_named

            with extras_named(), Timeline(time.monotonic(), style) as timeline:
                _finish(play(update, path.resolve(), timeline), style)
    chosen = find(scenario)
    if chosen is None:
        raise ConfigError(f"no scenario {scenario!r}", hint="v2g demo --list shows all")

    from v2g_cli.demo.conductor import Conductor
    from v2g_cli.demo.folder import RunFolder
    from v2g_cli.demo.summary import summarise

    if chosen.fleet is not None:
        from v2g.energy.dispatch.planner import check_solver

        check_solver()
    run = RunFolder(path.resolve(), chosen, time_scale or chosen.time_scale)
    run.prepare()
    if world:
        from v2g_cli.demo.world import World

        World(run, partial(say, err=json)).serve(open_for * 60)
        return
    _head("What happens", style)
    with Timeline(time.monotonic(), style, whole=verbose) as timeline:
        conductor = Conductor(run, timeline)
        timeline.say(time.monotonic(), "demo", "run", chosen.about)
        conductor.play()
    summary = summarise(conductor)
    if console:
        from v2g_cli.demo.console import ConsoleDemo

        _report(summary, style, whole=verbose)
        ConsoleDemo(run, partial(say, err=json)).serve(open_for * 60)
        raise typer.Exit(0 if summary.passed else 1)
    _finish(summary, style, whole=verbose)


def _finish(summary: "Summary", style: str, *, whole: bool = True) -> NoReturn:
    """Show the result, and end with its exit code."""
    _report(summary, style, whole=whole)
    raise typer.Exit(0 if summary.passed else 1)


def _head(text: str, style: str) -> None:
    """Begin a block of the output."""
    if style == "rich":
        terminal().print(Text(text, "bold underline"))
    elif style == "plain":
        say(text)


def _report(summary: "Summary", style: str, *, whole: bool) -> None:
    """Show verdicts, and what was paid; `whole`: all facts."""
    facts = [
        each for each in summary.facts if whole or each[0] not in {*_DETAILS, *summary.figures.get("programs", ())}
    ]
    if style == "json":
        import msgspec

        plain: dict[str, object] = msgspec.to_builtins(summary)
        print_json({"record": "summary", **plain})
    else:
        rich = style == "rich"
        _head("Verdicts", style)
        if not rich:
            for check in summary.checks:
                say(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.evidence}")
            _head("Energy and money", style)
            for label, text in facts:
                say(f"{label}: {text}")
            say(_NEXT)
            return
        console = terminal()
        checks = Table(show_header=False, box=None, padding=(0, 1))
        for check in summary.checks:
            mark = Text("✓", "green") if check.passed else Text("✗", "red")
            checks.add_row(mark, check.name, Text(check.evidence, "dim"))
        shown = Table(show_header=False, box=None, padding=(0, 1))
        for label, text in facts:
            shown.add_row(Text(label, "bold"), text)
        console.print(checks)
        _head("Energy and money", style)
        console.print(shown)
        say(_NEXT)
