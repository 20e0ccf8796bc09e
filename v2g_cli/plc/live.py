"""Shows matchings, live or recorded, and the modem's status."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import msgspec
from rich.live import Live

from v2g.errors import TransportError
from v2g.io.plc.runner import SlacRunner
from v2g.slac.inspection import ModemInspector, ModemReport
from v2g.slac.pib import Role
from v2g.slac.watch import SlacWatch
from v2g_cli.output import print_json, say_row, terminal
from v2g_cli.plc import html as plc_html
from v2g_cli.plc import view as plc_view
from v2g_cli.plc.source import Seen, Source

_INSPECTION_S = 5.0
_POLL_S = 0.01


async def inspect(source: Source, role: Role) -> ModemReport:
    """Query the modem; unanswered values stay unknown."""
    async with source.open() as link:
        loop = asyncio.get_running_loop()
        inspector = ModemInspector(role, mac=link.mac, now=loop.time())
        runner = SlacRunner(inspector, link, lambda _: None)
        runner.drain()
        until = loop.time() + _INSPECTION_S
        while not inspector.finished and loop.time() < until:
            await asyncio.sleep(_POLL_S)
        runner.close()
        return inspector.report


class View:
    """The state, and the terminal that shows it."""

    def __init__(self, *, live: bool) -> None:
        self.report: ModemReport | None = None
        self._watched = SlacWatch()
        self._frames = 0
        self._live = Live(console=terminal(), auto_refresh=False) if live else None

    def take(self, seen: Seen) -> None:
        """Process one frame."""
        self._frames += 1
        self._watched.take(seen.data, seen.time_ns)

    async def watch(self, source: AsyncIterator[Seen]) -> None:
        """Process all frames; redraw at a terminal."""
        with self._live or nullcontext():
            self._draw()
            async for seen in source:
                self.take(seen)
                self._draw()

    def show(self, *, json: bool) -> None:
        """Print the end result."""
        conversations = self._watched.conversations
        if json:
            if self.report is not None:
                print_json({"modem": self.report})
            for each in conversations:
                averages = {measured.evse: measured.average_db for measured in each.measured}
                print_json({"matching": msgspec.to_builtins(each) | {"average_db": averages}})
        elif not sys.stdout.isatty():
            for row in plc_view.plain(self.report, conversations):
                say_row(*row)
        elif self._live is None:
            terminal().print(plc_view.everything(self.report, conversations, self._frames))

    def _draw(self) -> None:
        if self._live is not None:
            parts = plc_view.everything(self.report, self._watched.conversations, self._frames)
            self._live.update(parts, refresh=True)

    def write_html(self, path: Path, title: str) -> None:
        """Write the view as an HTML file. Raises TransportError."""
        try:
            path.write_text(plc_html.page(title, self.report, self._watched.conversations), encoding="utf-8")
        except OSError as error:
            raise TransportError(f"{path}: {error.strerror}") from None
