"""`v2g plc`: shows powerline frames, live or from a recording."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from v2g.errors import V2GError
from v2g_cli.plc.source import (
    BaudOption,
    DeviceOption,
    FollowFlag,
    InterfaceOption,
    JsonFlag,
    MediumOption,
    SecondsOption,
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
KeysFlag = Annotated[bool, typer.Option("--keys", help="Show network keys (secret).")]


@app.command()
def listen(
    interface: InterfaceOption = None,
    device: DeviceOption = None,
    medium: MediumOption = None,
    baud: BaudOption = 115200,
    seconds: SecondsOption = None,
    count: Annotated[int | None, typer.Option("--count", help="Exit after this many frames.")] = None,
    record: Annotated[Path | None, typer.Option("--record", help="Also write the frames to a pcapng file.")] = None,
    keys: KeysFlag = False,
    json: JsonFlag = False,
) -> None:
    """Decode every management message received, until Ctrl-C.

    Examples: `v2g plc listen --interface eth1`, `v2g plc listen --medium runs/TIME/medium --record line.pcapng`
    """
    import asyncio

    from v2g_cli.plc.frames import Printer, listen_to
    from v2g_cli.plc.source import Source

    source = Source(interface, device, medium, baud)
    asyncio.run(listen_to(source, Printer(keys=keys, json=json), seconds=seconds, count=count, record=record))


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Recording (pcapng).")],
    follow: FollowFlag = False,
    into: Annotated[
        Literal["evse"] | None,
        typer.Option(
            "--into", help="Replay the vehicle's frames into this project's charger core and show its answers."
        ),
    ] = None,
    keys: KeysFlag = False,
    json: JsonFlag = False,
) -> None:
    """Show a recording, frame by frame.

    Examples: `v2g plc replay secc.pcapng`, `v2g plc replay secc.pcapng --into evse`
    """
    import asyncio

    from v2g_cli.output import raise_all
    from v2g_cli.plc.frames import Printer, follow_file, into_charger
    from v2g_cli.plc.source import recorded

    printer = Printer(keys=keys, json=json)
    if into is not None:
        into_charger(file, printer)
    elif follow:
        asyncio.run(follow_file(file, printer))
    else:
        errors: list[V2GError] = []
        for seen in recorded(file, errors):
            printer.frame(seen)
        raise_all(errors)
