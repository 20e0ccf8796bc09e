"""`v2g board-sim`, `v2g terminal-sim` and `v2g vtn`: what a charger, or its back end, is tried with.

Each runs until it is stopped, and takes commands on standard input.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from v2g.errors import ConfigError
from v2g.hardware.board.firmware import BoardFirmware
from v2g.hardware.board.protocol import LOST_S
from v2g.hardware.zvt.terminal_sim import Card
from v2g.iec61851.pilot import VEHICLE_OHM, PilotState
from v2g.io.hardware.zvt_terminal import ZvtSimulator
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.board import BoardSimulator, Monitor, SimulatedBoardMonitor
from v2g.io.simulation.compiled_monitor import CompiledMonitor
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.safety import ChargerMonitor, ChargerRating
from v2g.typed_json import Fields

if TYPE_CHECKING:
    from v2g_testkit.vtn import Vtn


async def _obey_until_stopped(running: str, commands: str, obey: Callable[[str], str | None]) -> None:
    """Print the running program and its `commands`, then the output of `obey` for each line,
    until SIGINT or SIGTERM.

    `obey` raises ConfigError for an invalid line; the error is printed.
    """
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def typed() -> None:
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            loop.remove_reader(sys.stdin)
            return
        for line in data.decode("utf-8", "replace").splitlines():
            try:
                print(obey(line) or "", end="", flush=True)
            except ConfigError as error:
                print(f"{error}; {error.hint}", flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):  # before it reports that it runs
        loop.add_signal_handler(number, stopped.set)
    print(f"{running}; commands: {commands}", flush=True)
    with contextlib.suppress(OSError, ValueError):  # a file or closed: then there are no commands
        loop.add_reader(sys.stdin, typed)
    await stopped.wait()


# -- a control board on a pseudo-terminal, for a charger configured for a real one


_BOARD_LINES: Final = (
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
    asyncio.run(_run_board(link, medium, name, BoardFirmware(lost_s=lost_s, monitor=runs)))


async def _run_board(link: Path | None, folder: Path | None, name: str, firmware: BoardFirmware) -> None:
    with contextlib.ExitStack() as stack:
        medium = await FolderMedium.attach(folder, name) if folder is not None else None
        if medium is not None:
            stack.callback(medium.close)
        board = BoardSimulator(Clock(), medium, firmware=firmware)
        stack.callback(board.close)
        if link is not None:
            board.link(link)
            stack.callback(link.unlink, missing_ok=True)
        await _obey_until_stopped(
            f"board on {link or board.device}", _BOARD_LINES, lambda line: obey_board(board, line)
        )


def obey_board(board: BoardSimulator, line: str) -> None:
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
                raise ConfigError(f"{value!r} is not a temperature", hint=_BOARD_LINES) from None
            known = dict(board.firmware.inputs.temperatures)
            if sensor not in known:
                raise ConfigError(f"no such sensor: {sensor!r}", hint=f"one of {', '.join(known)}")
            board.set(temperatures=tuple({**known, sensor: celsius}.items()))
        case _:
            raise ConfigError(f"unknown command {line.strip()!r}", hint=_BOARD_LINES)


# -- a payment terminal with ZVT, for a charger configured for a real one


_TERMINAL_LINES: Final = "card LAST4, bad LAST4, show"


def terminal_sim(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 picks a free one.")] = 20007,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    card: Annotated[str, typer.Option(help="Last digits of a card that is presented automatically.")] = "",
    after: Annotated[float, typer.Option(min=0, help="Delay of that card, s.")] = 1.0,
) -> None:
    """Run a simulated payment terminal (ZVT over TCP) until it is stopped.

    Examples: `v2g terminal-sim`, `v2g terminal-sim --port 0 --card 4771 --after 5`

    Lines on standard input present a card: a valid one, or one that its bank declines.
    """
    asyncio.run(
        _run_terminal(ZvtSimulator(host=host, port=port, card=_card(card) if card else None, card_s=after), host)
    )


async def _run_terminal(simulator: ZvtSimulator, host: str) -> None:
    await simulator.open()
    running = f"terminal at {host}, port {simulator.port}"
    await _obey_until_stopped(running, _TERMINAL_LINES, lambda line: obey_terminal(simulator, line))
    await simulator.close()


def obey_terminal(simulator: ZvtSimulator, line: str) -> str:
    """Run one command line; return the output. Raises ConfigError for an unknown command."""
    match line.split():
        case []:
            return ""
        case ["show"]:
            payments = simulator.terminal.payments.items()
            return "".join(f"{number} {each.state} {each.reserved} {each.taken}\n" for number, each in payments)
        case [("card" | "bad") as word, digits]:
            if not simulator.terminal.waits_for_card:
                return "no card is expected now\n"
            simulator.present(_card(digits, good=word == "card"))
            return ""
        case _:
            raise ConfigError(f"unknown command {line.strip()!r}", hint=_TERMINAL_LINES)


def _card(digits: str, *, good: bool = True) -> Card:
    if len(digits) != 4 or not (digits.isascii() and digits.isdecimal()):
        raise ConfigError(f"{digits!r}: give the last four digits of a card", hint="such as 4771")
    return Card(last4=digits, good=good)


# -- an OpenADR VTN to try a VEN with


_VTN_LINES: Final = "event JSON, delete ID, show, reports"


def vtn(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 picks a free one.")] = 8081,
    program: Annotated[str, typer.Option(help="Name of its program.")] = "depot",
    events: Annotated[Path | None, typer.Option(help="JSON file: a list of events to publish.")] = None,
) -> None:
    """Run an OpenADR 3.1 VTN on this machine until it is stopped; it validates requests by the API's schemas.

    Examples: `v2g vtn`, `v2g vtn --events events.json`

    A VEN's credentials are ven_client and ven_secret, those of business logic bl_client and bl_secret. Events are
    those of the API; `programID` may be left out. Lines on standard input publish and delete events.
    """
    from v2g_testkit.vtn import Vtn  # with an HTTP server

    asyncio.run(_run_vtn(Vtn(), port, program, events))


async def _run_vtn(server: "Vtn", port: int, program: str, events: Path | None) -> None:
    program_id: str = server.put("programs", {"programName": program})["id"]
    for event in _read(events) if events is not None else ():
        _publish(server, program_id, event)
    port = await server.start(port)
    running = f"VTN at http://127.0.0.1:{port}, program {program}"
    await _obey_until_stopped(running, _VTN_LINES, lambda line: obey_vtn(server, program_id, line))
    await server.close()


def obey_vtn(server: "Vtn", program_id: str, line: str) -> str:
    """Execute one line; return the output. Raises ConfigError for an unknown command."""
    command, _, rest = line.strip().partition(" ")
    match command:
        case "":
            return ""
        case "event":
            return f"{_publish(server, program_id, _decoded(rest, 'the event'))}\n"
        case "delete" if server.objects["events"].pop(rest, None) is not None:
            return ""
        case "delete":
            raise ConfigError(f"unknown event {rest[:128]!r}", hint="show lists them")
        case "show" | "reports":
            listed = server.objects["events" if command == "show" else "reports"].values()
            return "".join(f"{msgspec.json.encode(each).decode()}\n" for each in listed)
    raise ConfigError(f"unknown command {command[:40]!r}", hint=_VTN_LINES)


def _publish(server: "Vtn", program_id: str, event: object) -> str:
    if not isinstance(event, dict):
        raise ConfigError("an event must be a JSON object", hint="see the schema eventRequest of the OpenADR API")
    try:
        return str(server.put("events", {"programID": program_id, **event})["id"])
    except ValueError as error:
        raise ConfigError(f"event: {error}", hint="see the schema eventRequest of the OpenADR API") from None


def _read(path: Path) -> list[Fields]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint="a JSON file with a list of events") from None
    events = _decoded(text, str(path))
    if not isinstance(events, list):
        raise ConfigError(f"{path}: not a list of events")
    return events


def _decoded(text: str, name: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"{name}: {error}") from None
