"""`v2g csms --script`: a back end that follows a script, with a live log and a report."""

import asyncio
import signal
from pathlib import Path
from typing import Literal

from msgspec.structs import replace
from rich.text import Text

from csms.script.declared import StationScript, read_script
from csms.script.run import ScriptedBackEnd
from csms.script.station import Line, ScriptCheck, ScriptReport
from v2g.errors import ConfigError
from v2g.io.websocket.client import OcppSocket
from v2g.text import printable
from v2g_cli.output import print_json, print_table, say, terminal

_STYLES = {"<": "cyan", ">": "green", ".": "dim", "!": "bold red"}
_ARROWS = {"<": "<-", ">": "->", ".": "--", "!": "!!"}


def run_script(path: Path, *, official: bool, as_json: bool) -> int:
    """Run a script to its end, or to Ctrl-C; return 0 if all checks passed, 1 otherwise.

    `official`: also validate each frame by the official schemas (extra [testkit]).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="a script is a TOML or YAML file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    script = read_script(text, str(path))
    outcome = asyncio.run(_run(script, official=official))
    if as_json:
        print_json({"ok": outcome.ok, "checks": outcome.checks, "requests": outcome.requests})
    else:
        rows = [("ok" if each.ok else "FAILED", each.station, each.what, each.detail) for each in outcome.checks]
        print_table("Checks", ("", "station", "what", "detail"), rows)
        counts = [
            (station, action, str(count))
            for station, all_ in outcome.requests.items()
            for action, count in all_.items()
        ]
        print_table("Requests", ("station", "action", "count"), counts)
        failed = sum(not each.ok for each in outcome.checks)
        say(f"{len(outcome.checks) - failed} of {len(outcome.checks)} checks hold")
    return 0 if outcome.ok else 1


async def _run(script: StationScript, *, official: bool) -> ScriptReport:
    console = terminal(err=True, soft_wrap=True)

    def report(at_s: float, station: str, line: Line) -> None:
        shown = Text(f"{at_s:8.3f} ", style="dim").append(f"{station} ", style="bold")
        console.print(shown.append(f"{_ARROWS[line.mark]} {line.text}", style=_STYLES[line.mark]))

    def ready(port: int) -> None:
        scheme = "wss" if script.certificate else "ws"
        console.print(f"stations connect to {scheme}://{script.host}:{port}{script.path}/IDENTITY; Ctrl-C ends")

    judged = _Judged() if official else None
    back_end = ScriptedBackEnd(script, report, ready, *([judged.take] if judged else []))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, back_end.stop)
    outcome = await back_end.run()
    return outcome if judged is None else replace(outcome, checks=(*outcome.checks, *judged.checks()))


class _Judged:
    """Validation results of frames, of stations and of the script, by the official schemas."""

    def __init__(self) -> None:
        from v2g_testkit.ocpp.connection import malformed
        from v2g_testkit.official_schemas import FrameJudge

        self._malformed = malformed
        self._judges: dict[OcppSocket, FrameJudge] = {}
        self._new_judge = FrameJudge
        self._faults: dict[str, list[str]] = {}

    def take(self, socket: OcppSocket, way: Literal["in", "out"], text: str) -> None:
        """Validate a frame."""
        if socket not in self._judges:
            self._judges[socket] = self._new_judge(socket.version)
        faults = self._faults.setdefault(socket.identity, [])
        fault = self._judges[socket].judge(text, from_station=way == "in")
        if way == "in":  # the script may send what is no frame on purpose
            fault = self._malformed(text, socket.version) or fault
        if fault:
            faults.append(f"{'station' if way == 'in' else 'script'}: {printable(fault)}")

    def checks(self) -> list[ScriptCheck]:
        """Return a check for each station that connected."""
        name = "frames are valid by the official schemas"
        return [ScriptCheck(each, name, ok=not all_, detail="; ".join(all_[:5])) for each, all_ in self._faults.items()]
