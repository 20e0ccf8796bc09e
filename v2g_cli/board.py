"""`v2g board-sim`: a control board on a pseudo-terminal, for a charger configured for a real one."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from v2g.errors import ConfigError
from v2g.hardware.board.firmware import BoardFirmware
from v2g.hardware.board.protocol import LOST_S
from v2g.iec61851.pilot import VEHICLE_OHM, PilotState
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.board import BoardSimulator
from v2g.io.simulation.board_monitor import Monitor, SimulatedBoardMonitor
from v2g.io.simulation.compiled_monitor import CompiledMonitor
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.safety import ChargerMonitor, ChargerRating
from v2g_cli.typed import obey_until_stopped

HELP: Final = (
    "estop|weld|dead|jammed on|off, plug B|C|D|off, cable OHM|off, temperature NAME CELSIUS|off, silent on|off"
)


def board_sim(
    link: Annotated[Path | None, typer.Option(help="Path of the symbolic link to the board's terminal.")] = None,
    medium: Annotated[
        Path | None, typer.Option(help="Folder of simulated wires; a vehicle in it is plugged in.")
    ] = None,
    name: Annotated[str, typer.Option(help="The board's name in that folder.")] = "board",
    lost_s: Annotated[
        float,
        typer.Option(min=0.05, max=2, help="Seconds without a controller message until the board opens everything."),
    ] = LOST_S,
    monitor: Annotated[
        str, typer.Option(help='Run the safety monitor on the board, too: "python", or the library of `make board`.')
    ] = "",
) -> None:
    """Run a simulated control board until it is stopped.

    Examples: `v2g board-sim --link board`, `v2g board-sim --link board --medium runs/TIME/medium`

    Lines on standard input change the hardware connected to it; the first line of output lists them.
    """
    make: Callable[[ChargerRating], Monitor] = ChargerMonitor
    if monitor not in ("", "python"):
        make = partial(CompiledMonitor, Path(monitor))
        make(ChargerRating(charge_w=0, discharge_w=0))  # a file that is no library is an error now
    runs = SimulatedBoardMonitor(make) if monitor else None
    asyncio.run(_run(link, medium, name, BoardFirmware(lost_s=lost_s, monitor=runs)))


async def _run(link: Path | None, folder: Path | None, name: str, firmware: BoardFirmware) -> None:
    with contextlib.ExitStack() as stack:
        medium = await FolderMedium.attach(folder, name) if folder is not None else None
        if medium is not None:
            stack.callback(medium.close)
        board = BoardSimulator(Clock(), medium, firmware=firmware)
        stack.callback(board.close)
        if link is not None:
            board.link(link)
            stack.callback(link.unlink, missing_ok=True)
        await obey_until_stopped(f"board on {link or board.device}", HELP, lambda line: obey(board, line))


def obey(board: BoardSimulator, line: str) -> None:
    """Run one command line. Raises ConfigError for an unknown command."""
    match line.split():
        case []:
            return
        case ["silent", ("on" | "off") as word]:
            board.firmware.silent = word == "on"
        case [("estop" | "weld" | "dead" | "jammed") as what, ("on" | "off") as word]:
            board.set(**{"welded" if what == "weld" else what: word == "on"})
        case ["plug", "off"]:
            board.set(resistance_ohm=None, proximity_ohm=None)
        case ["plug", ("B" | "C" | "D") as state]:
            seated = board.firmware.inputs.proximity_ohm or 220
            board.set(resistance_ohm=VEHICLE_OHM[PilotState(state)], proximity_ohm=seated)
        case ["cable", "off"]:
            board.set(proximity_ohm=None)
        case ["cable", ohm] if ohm.isdigit():
            board.set(proximity_ohm=int(ohm))
        case ["temperature", sensor, value]:
            try:
                celsius = None if value == "off" else float(value)
            except ValueError:
                raise ConfigError(f"{value!r} is not a temperature", hint=HELP) from None
            known = dict(board.firmware.inputs.temperatures)
            if sensor not in known:
                raise ConfigError(f"no such sensor: {sensor!r}", hint=f"one of {', '.join(known)}")
            board.set(temperatures=tuple({**known, sensor: celsius}.items()))
        case _:
            raise ConfigError(f"unknown command {line.strip()!r}", hint=HELP)
