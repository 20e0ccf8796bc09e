"""Shows matchings, live or recorded, and the modem's status."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

import msgspec
from rich.live import Live

from v2g.errors import TransportError
from v2g.io.plc.runner import SlacRunner
from v2g.look import document
from v2g.slac.inspection import ModemInspector, ModemReport
from v2g.slac.pib import Role
from v2g.slac.watch import ReportedAttenuation, SlacWatch, WatchedMatching
from v2g_cli.output import print_json, say_row, terminal
from v2g_cli.plc import view as plc_view
from v2g_cli.plc.source import Seen, Source
from v2g_cli.plc.view import DIRECT_DB, INDIRECT_DB, colour, modem_rows, top_of

# -- The same view as one self-contained HTML file with SVG pictures

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 200, 48, 28
_STYLE: Final = """
h2{margin-top:2em}.sheet{max-width:60em}svg{max-width:100%;height:auto}.chosen{font-weight:600}
.green{fill:var(--good)}.yellow{fill:#d9a400}.red{fill:var(--bad)}
text{font:11px system-ui,sans-serif;fill:var(--dim)}line{stroke:var(--line)}
.limit{stroke:var(--dim);stroke-dasharray:4 3}
"""


def page(title: str, report: ModemReport | None, conversations: list[WatchedMatching]) -> str:
    """Return the page."""
    parts = [f"<h1>{escape(title)}</h1>"]
    if report is not None:
        parts += ["<h2>Modem</h2>", _pairs(modem_rows(report))]
    for each in conversations:
        parts += _conversation(each)
    if not conversations:
        parts.append("<p>No matching was seen.</p>")
    return document(title, "\n".join(parts), style=_STYLE)


def _pairs(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f'<dl class="pairs">{cells}</dl>'


def _conversation(conversation: WatchedMatching) -> list[str]:
    begun = datetime.fromtimestamp(conversation.time_ns // 1_000_000_000, UTC)
    rows = [
        ("vehicle", conversation.pev),
        ("run", conversation.run_id),
        ("begun", f"{begun:%Y-%m-%d %H:%M:%S} UTC"),
        ("steps", ", ".join(f"{stage} after {after:.1f} ms" for stage, after in conversation.steps)),
        ("chargers", ", ".join(conversation.chargers) or "none"),
        ("chosen", conversation.chosen or "none"),
        ("network", conversation.nid or "none"),
    ]
    parts = [f"<h2>Matching of {escape(conversation.pev)}: {escape(conversation.stage)}</h2>", _pairs(rows)]
    for each in conversation.measured:
        chosen = ' class="chosen"' if each.evse == conversation.chosen else ""
        word = ", chosen" if chosen else ""
        measured = f"{each.average_db} dB on average over {each.sounds} sounds{word}"
        parts += [f"<p{chosen}>Charger {escape(each.evse)}: {measured}</p>", chart(each)]
    return parts


def chart(measured: ReportedAttenuation) -> str:
    """Return the attenuation per carrier group as an SVG element."""
    top = top_of((*measured.groups, INDIRECT_DB))
    width = (_WIDTH - _LEFT) / max(1, len(measured.groups))
    height = _HEIGHT - _BOTTOM

    def y(db: float) -> float:
        return round(height - min(db, top) * (height - 10) / top, 1)

    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    parts = [f'<svg {size} role="img" aria-label="attenuation per carrier group of {escape(measured.evse)}">']
    for db in range(0, top + 1, 10):
        parts.append(f'<line x1="{_LEFT}" y1="{y(db)}" x2="{_WIDTH}" y2="{y(db)}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(db) + 4}" text-anchor="end">{db} dB</text>')
    for number, db in enumerate(measured.groups):
        x = round(_LEFT + number * width + 1, 1)
        parts.append(
            f'<rect class="{colour(db)}" x="{x}" y="{y(db)}" width="{round(width - 2, 1)}" '
            f'height="{round(height - y(db), 1)}"><title>group {number + 1}: {db} dB</title></rect>'
        )
        if number % 10 == 9 or number == 0:
            middle = round(x + width / 2, 1)
            parts.append(f'<text x="{middle}" y="{height + 16}" text-anchor="middle">{number + 1}</text>')
    parts += [
        f'<line class="limit" x1="{_LEFT}" y1="{y(limit)}" x2="{_WIDTH}" y2="{y(limit)}"/>'
        for limit in (DIRECT_DB, INDIRECT_DB)
    ]
    return "".join(parts) + "</svg>"


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
            path.write_text(page(title, self.report, self._watched.conversations), encoding="utf-8")
        except OSError as error:
            raise TransportError(f"{path}: {error.strerror}") from None
