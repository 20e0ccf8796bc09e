"""Shows events as they happen: coloured lines and a status line at a terminal, plain lines to a pipe, or JSON."""

from types import TracebackType
from typing import Final, Self

import msgspec
from rich.status import Status
from rich.text import Text

from v2g_cli.demo.processes import Event
from v2g_cli.demo.story import MILESTONES, describe
from v2g_cli.output import print_json, say, terminal

COLOURS: Final = {"evcc": "green", "evcc2": "bright_green", "secc": "cyan", "csms": "magenta",
                  "provider": "bright_magenta", "demo": "yellow"}  # fmt: skip


class Timeline:
    """One run's timeline. `start` (s, CLOCK_MONOTONIC) is its zero; `style` is `rich`, `plain` or `json`; not `whole`:
    the short story only."""

    def __init__(self, start: float, style: str, *, whole: bool = True) -> None:
        self.start, self._style, self.whole = start, style, whole
        self._console = terminal()
        self._status: Status | None = None

    def __enter__(self) -> Self:
        if self._style == "rich":
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, event: Event) -> None:
        """Show an event if it is part of the story; JSON shows all."""
        if self._style == "json":
            print_json({"record": "event", **msgspec.to_builtins(event), "t": round(event.t - self.start, 4)})
            return
        if (event.process, event.stage, event.name) == ("evcc", "loop", "flow") and self._status is not None:
            data = event.data
            self._status.update(
                f"{data['power_w'] / 1000:+.1f} kW at {data['voltage_mv'] / 1000:.0f} V, battery {data['soc']:.1f} %, "
                f"charger allows {data['evse_charge_w'] / 1000:.1f} kW in, {data['evse_discharge_w'] / 1000:.1f} kW out"
            )
        of = event.process.rstrip("0123456789"), event.stage, event.name
        words = describe(event) if self.whole or of in MILESTONES else None
        if words is not None:
            self.say(event.t, event.process, event.stage, words)

    def say(self, t: float, process: str, stage: str, words: str) -> None:
        """Show one line."""
        seconds = t - self.start
        if self._style == "rich":
            colour = COLOURS.get(process, "white")
            line = Text.assemble(
                (f"{seconds:7.3f} ", "dim"), (f"{process:<5} ", colour), (f"{stage:<13} ", "dim"), words
            )
            self._console.print(line)
        elif self._style == "plain":
            say(f"{seconds:7.3f} {process:<5} {stage:<13} {words}")
