"""`v2g diag` and `v2g-diag`: diagnosis of a link."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from v2g.errors import ConfigError
from v2g_cli.plc.options import (
    BaudOption,
    DeviceOption,
    FollowFlag,
    InterfaceOption,
    JsonFlag,
    MediumOption,
    SecondsOption,
)

app = typer.Typer(help="Diagnose a link.", no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def _diag() -> None:
    """Diagnose a link."""


@app.command()
def plc(
    interface: InterfaceOption = None,
    device: DeviceOption = None,
    medium: MediumOption = None,
    from_: Annotated[Path | None, typer.Option("--from", help="Recording (pcapng) instead of a port.")] = None,
    follow: FollowFlag = False,
    baud: BaudOption = 115200,
    role: Annotated[
        Literal["ev", "evse"], typer.Option("--role", help="Role that the modem must be configured for.")
    ] = "evse",
    seconds: SecondsOption = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report to this HTML file on exit.")] = None,
    json: JsonFlag = False,
) -> None:
    """Show SLAC matchings with attenuation per carrier group, and the modem's status.

    Examples: `v2g diag plc --interface eth1 --role evse`, `v2g diag plc --medium runs/TIME/medium`,
    `v2g diag plc --from secc.pcapng --html secc.html`
    """
    import asyncio

    from v2g_cli.plc.live import View, inspect
    from v2g_cli.plc.source import Source, followed, frames, recorded

    if from_ is not None and (interface or device or medium):
        raise ConfigError("--from and a port exclude each other", hint="use one of them")
    view = View(live=not json and sys.stdout.isatty() and (from_ is None or follow))
    if from_ is not None and not follow:
        for seen in recorded(from_):
            view.take(seen)
    elif from_ is not None:
        asyncio.run(view.watch(followed(from_, seconds=seconds)))
    else:
        source = Source(interface, device, medium, baud)
        if medium is None:
            view.report = asyncio.run(inspect(source, role))
        asyncio.run(view.watch(frames(source, seconds=seconds)))
    view.show(json=json)
    if html is not None:
        view.write_html(html, f"Powerline: {from_ or interface or device or medium}")


def main() -> None:
    """Entry point of `v2g-diag`."""
    from v2g_cli.main import guarded

    guarded(app)
