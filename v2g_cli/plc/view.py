"""Matchings and modems at a terminal: attenuation per carrier group, steps, and the chosen charger."""

from collections.abc import Iterable
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from v2g.slac.inspection import ModemReport
from v2g.slac.watch import STAGES, ReportedAttenuation, WatchedMatching

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
        for measured in each.measured:
            word = "chosen" if measured.evse == each.chosen else "measured"
            groups = " ".join(map(str, measured.groups))
            rows.append(("attenuation", each.pev, measured.evse, word, str(measured.average_db), groups))
    return rows
