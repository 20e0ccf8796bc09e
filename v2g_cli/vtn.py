"""`v2g vtn`: an OpenADR VTN to try a VEN with."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from v2g.errors import ConfigError
from v2g_cli.typed import obey_until_stopped

if TYPE_CHECKING:
    from v2g_testkit.vtn import Vtn

HELP: Final = "event JSON, delete ID, show, reports"


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

    asyncio.run(_run(Vtn(), port, program, events))


async def _run(server: "Vtn", port: int, program: str, events: Path | None) -> None:
    program_id: str = server.put("programs", {"programName": program})["id"]
    for event in _read(events) if events is not None else ():
        _publish(server, program_id, event)
    port = await server.start(port)
    running = f"VTN at http://127.0.0.1:{port}, program {program}"
    await obey_until_stopped(running, HELP, lambda line: obey(server, program_id, line))
    await server.close()


def obey(server: "Vtn", program_id: str, line: str) -> str:
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
    raise ConfigError(f"unknown command {command[:40]!r}", hint=HELP)


def _publish(server: "Vtn", program_id: str, event: object) -> str:
    if not isinstance(event, dict):
        raise ConfigError("an event must be a JSON object", hint="see the schema eventRequest of the OpenADR API")
    try:
        return str(server.put("events", {"programID": program_id, **event})["id"])
    except ValueError as error:
        raise ConfigError(f"event: {error}", hint="see the schema eventRequest of the OpenADR API") from None


def _read(path: Path) -> list[Any]:
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
