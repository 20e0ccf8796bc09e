"""The same view as one self-contained HTML file with SVG pictures."""

from datetime import UTC, datetime
from html import escape
from typing import Final

from v2g.look import document
from v2g.slac.inspection import ModemReport
from v2g.slac.watch import Conversation, Measured
from v2g_cli.plc.view import DIRECT_DB, INDIRECT_DB, colour, modem_rows, top_of

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 200, 48, 28
_STYLE: Final = """
h2{margin-top:2em}.sheet{max-width:60em}svg{max-width:100%;height:auto}.chosen{font-weight:600}
.green{fill:var(--good)}.yellow{fill:#d9a400}.red{fill:var(--bad)}
text{font:11px system-ui,sans-serif;fill:var(--dim)}line{stroke:var(--line)}
.limit{stroke:var(--dim);stroke-dasharray:4 3}
"""


def page(title: str, report: ModemReport | None, conversations: list[Conversation]) -> str:
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


def _conversation(conversation: Conversation) -> list[str]:
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


def chart(measured: Measured) -> str:
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
