"""Shows matchings, live or recorded, and the modem's status.

At a terminal: attenuation per carrier group, steps, and the chosen charger.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from v2g.io.plc.datalink import SlacRunner
from v2g.look import document
from v2g.slac.inspection import ModemInspector, ModemReport
from v2g.slac.pib import Role
from v2g.slac.watch import STAGES, ReportedAttenuation, SlacWatch, WatchedMatching
from v2g_cli.output import print_json, say_row, terminal, write_text
from v2g_cli.plc.source import Seen, Source

ROWS: Final = 8
"""Lines of a picture, in eighths."""

DIRECT_DB: Final = 20
INDIRECT_DB: Final = 40
"""Below the first a charger counts as connected, above the second as out of reach (the vehicle's default limits)."""

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_WORST: Final = "red"


def colour(db: float) -> str:
    """Return the colour of an attenuation: green, yellow or red."""
    return "green" if db <= DIRECT_DB else "yellow" if db <= INDIRECT_DB else _WORST


def bars(groups: Iterable[int], *, top_db: int) -> list[Text]:
    """Return ROWS lines, the highest first, with one column for each carrier group; `top_db` fills a column."""
    columns = [(min(db, top_db) * ROWS * 8 // top_db if top_db else 0, colour(db)) for db in groups]
    lines = []
    for row in reversed(range(ROWS)):
        line = Text()
        for height, style in columns:
            line.append(_BLOCKS[max(0, min(8, height - 8 * row))], style=style)
        lines.append(line)
    return lines


def top_of(groups: Iterable[int]) -> int:
    """Return the top of a scale that shows `groups`: a multiple of 10 dB."""
    return max(10, -(-max(groups, default=0) // 10) * 10)


def picture(measured: ReportedAttenuation, *, chosen: bool) -> RenderableType:
    """Return the profile of one charger: dB upwards, carrier groups to the right (low to high frequency)."""
    top = top_of(measured.groups)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right")
    grid.add_column()
    for row, line in enumerate(bars(measured.groups, top_db=top)):
        mark = {0: f"{top} dB", ROWS - 1: "0 dB"}.get(row, "")
        grid.add_row(Text(mark, style="dim"), line)
    grid.add_row("", Text(f"1{'carrier group':^{len(measured.groups) - 3}}{len(measured.groups)}", style="dim"))
    average = Text(f"{measured.average_db} dB", style=colour(measured.average_db))
    title = Text.assemble(measured.evse, "  average ", average, f" over {measured.sounds} sounds")
    return Group(title + Text("  chosen", style="bold") if chosen else title, grid)


def steps(conversation: WatchedMatching) -> Text:
    """Return the stages in a line, with times for those reached."""
    reached = dict(conversation.steps)
    text = Text()
    for stage in STAGES:
        if stage in reached:
            text.append(f"{stage} {reached[stage]:.0f} ms  ", style="bold" if stage == conversation.stage else "")
        elif stage != "validating":
            text.append(f"{stage}  ", style="dim")
    return text


def panel(conversation: WatchedMatching) -> RenderableType:
    """Return one matching."""
    pictures = [picture(each, chosen=each.evse == conversation.chosen) for each in conversation.measured]
    facts = f"requests {conversation.requests}, responses {len(conversation.chargers)}, sounds {conversation.sounds}"
    ending = f", network {conversation.nid}" if conversation.nid else ""
    ending += f"; ignored: {conversation.ignored}" if conversation.ignored else ""
    return Panel(
        Group(steps(conversation), Text(facts + ending), *pictures),
        title=f"vehicle {conversation.pev}, run {conversation.run_id}",
        title_align="left",
    )


def modem_panel(report: ModemReport) -> RenderableType:
    """Return the modem's report."""
    table = Table.grid(padding=(0, 2))
    for name, value in modem_rows(report):
        table.add_row(Text(name, style="dim"), value)
    return Panel(table, title="modem", title_align="left")


def modem_rows(report: ModemReport) -> list[tuple[str, str]]:
    """Return the facts of a modem as pairs of name and text."""
    if not report.answered:
        return [("modem", "does not answer")]
    link = {None: "not known", True: "up", False: "down"}[report.link]
    rows = [
        ("address", report.modem),
        ("maker", report.vendor.value),
        ("chip", report.chip),
        ("firmware", report.firmware),
        ("name", report.name),
        ("link", link),
        ("network", report.network),
    ]
    rows += [
        ("station", f"{each.modem} host {each.host or '-'} sends {each.tx} Mbit/s receives {each.rx} Mbit/s")
        for each in report.neighbours
    ]
    rows += [
        (each.name, each.found if each.good else f"{each.found}, but {each.wanted} required")
        for each in report.settings
    ]
    rows += [("problem", problem) for problem in report.problems]
    return [(name, text) for name, text in rows if text]


def everything(report: ModemReport | None, conversations: list[WatchedMatching], frames: int) -> RenderableType:
    """Return the complete view."""
    parts: list[RenderableType] = [modem_panel(report)] if report is not None else []
    parts += [panel(each) for each in conversations[-4:]]
    if not conversations:
        parts.append(Text("no matching seen yet", style="dim"))
    return Group(*parts, Text(f"{frames} frames, {len(conversations)} matchings", style="dim"))


def plain(report: ModemReport | None, conversations: list[WatchedMatching]) -> list[tuple[str, ...]]:
    """Return the same as rows, for pipes."""
    rows: list[tuple[str, ...]] = []
    if report is not None:
        rows += [("modem", name, text) for name, text in modem_rows(report)]
    for each in conversations:
        reached = " ".join(f"{stage}={after:.0f}ms" for stage, after in each.steps)
        rows.append(("matching", each.pev, each.run_id, each.stage, reached))
        if each.ignored:
            rows.append(("ignored", each.pev, each.run_id, each.ignored))
        for measured in each.measured:
            word = "chosen" if measured.evse == each.chosen else "measured"
            groups = " ".join(map(str, measured.groups))
            rows.append(("attenuation", each.pev, measured.evse, word, str(measured.average_db), groups))
    return rows


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
        ("ignored", conversation.ignored or "none"),
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
            for row in plain(self.report, conversations):
                say_row(*row)
        elif self._live is None:
            terminal().print(everything(self.report, conversations, self._frames))

    def _draw(self) -> None:
        if self._live is not None:
            parts = everything(self.report, self._watched.conversations, self._frames)
            self._live.update(parts, refresh=True)

    def write_html(self, path: Path, title: str) -> None:
        """Write the view as an HTML file. Raises StoreError."""
        write_text(path, page(title, self.report, self._watched.conversations))
