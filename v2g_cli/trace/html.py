"""A conversation as one self-contained HTML file: message trees, times, search, and a timeline.

The timeline is an SVG: states, messages, response times, and power.
"""

import json
from collections.abc import Callable, Mapping
from html import escape
from importlib.resources import files
from typing import Final

from v2g.iso15118.trace_read import Entry, leaves, runs, summary, times, word
from v2g.look import document

_WIDTH, _LEFT, _RIGHT = 1100, 120, 1090
_STATES, _SPOKEN, _ANSWERS, _POWER = (10, 34), (44, 94), (106, 196), (210, 300)
_LIMIT_MS: Final = 250.0
"""The standard's limit for a charger in the charge loop, drawn in the response times."""


ZOOM_MS: Final = 1000.0
"""The beginning, drawn again on its own, ms: it has most messages, but is a thin line in a long session."""


def opening(conversation: list[Entry]) -> list[Entry]:
    """Return the second after the first message, if it is hard to see in the whole; else nothing."""
    first = next((each.at_ms for each in conversation if each.speaker), None)
    if first is None or conversation[-1].at_ms - conversation[0].at_ms < 3 * ZOOM_MS:
        return []
    return [each for each in conversation if first <= each.at_ms <= first + ZOOM_MS]


def picture(conversation: list[Entry], *, begin_ms: float = 0.0) -> str:
    """Return the picture of one conversation, from `begin_ms` on; a click on a mark opens its message."""
    end_ms = max(conversation[-1].at_ms, begin_ms + 1.0)
    length = end_ms - begin_ms
    powers = [(each, power_w) for each in conversation if (power_w := power(each)) is not None]
    height = (_POWER[1] if powers else _ANSWERS[1]) + 30

    def x(at_ms: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (at_ms - begin_ms) / length, 2)

    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    parts = [f'<svg {size} role="img" aria-label="timeline of the conversation">']
    parts += _states(conversation, x, end_ms)
    parts += _spoken(conversation, x)
    parts += _answers(conversation, x)
    if powers:
        parts += _powers(powers, x)
    for step in range(6):
        at = begin_ms + length * step / 5
        anchor = "end" if step == 5 else "middle"
        parts.append(f'<text x="{x(at)}" y="{height - 8}" text-anchor="{anchor}">{at / 1000:.2f} s</text>')
    return "".join(parts) + "</svg>"


def power(entry: Entry) -> float | None:
    """Return the power, W, in a charge loop response; None without one."""
    body = entry.line.body
    if not entry.line.name.endswith("ChargeLoopRes") or not isinstance(body, dict):
        return None
    if "EVSEPresentVoltage" in body and "EVSEPresentCurrent" in body:
        return _number(body["EVSEPresentVoltage"]) * _number(body["EVSEPresentCurrent"])
    for mode in body.values():
        if isinstance(mode, dict) and "EVSEPresentActivePower" in mode:
            names = ("EVSEPresentActivePower", "EVSEPresentActivePower_L2", "EVSEPresentActivePower_L3")
            return sum((_number(mode[name]) for name in names if name in mode), 0.0)
    return None


def _number(value: Mapping[str, float]) -> float:
    return float(value["Value"] * 10.0 ** value["Exponent"])


def _states(conversation: list[Entry], x: Callable[[float], float], end_ms: float) -> list[str]:
    spans: list[tuple[str, float]] = []
    for each in conversation:
        if each.line.next and (not spans or spans[-1][0] != each.line.next):
            spans.append((each.line.next, each.at_ms))
    top, bottom = _STATES
    parts = [f'<text x="4" y="{bottom - 8}">state</text>']
    for (state, since), (_, until) in zip(spans, [*spans[1:], ("", end_ms)][: len(spans)], strict=True):
        width = max(1.0, x(until) - x(since))
        hue = sum(ord(letter) * 37 for letter in state) % 360
        label = f'<text x="{x(since) + 3}" y="{bottom - 8}">{escape(state)}</text>' if width > 6.5 * len(state) else ""
        place = f'x="{x(since)}" y="{top}" width="{width:.2f}" height="{bottom - top}"'
        parts.append(
            f'<rect {place} fill="hsl({hue} 50% 60% / .45)">'
            f"<title>{escape(state)}: {(until - since) / 1000:.3f} s</title></rect>{label}"
        )
    return parts


def _spoken(conversation: list[Entry], x: Callable[[float], float]) -> list[str]:
    top, bottom = _SPOKEN
    lanes = {"vehicle": top, "charger": top + 18, "": top + 36}
    parts = [f'<text x="4" y="{y + 11}">{who or "beside"}</text>' for who, y in lanes.items()]
    for each in conversation:
        y = lanes[each.speaker]
        at, title = x(each.at_ms), f"<title>{each.number} {escape(each.line.name)}</title>"
        parts.append(
            f'<line class="{each.speaker or "fact"}" data-n="{each.number}" x1="{at}" y1="{y}" x2="{at}" '
            f'y2="{min(y + 14, bottom)}">{title}</line>'
        )
    return parts


def _answers(conversation: list[Entry], x: Callable[[float], float]) -> list[str]:
    top, bottom = _ANSWERS
    answered = [(each, each.answer_ms) for each in conversation if each.answer_ms is not None]
    most = max([_LIMIT_MS, *(ms for _, ms in answered)]) * 1.05

    def y(ms: float) -> float:
        return round(bottom - (bottom - top) * ms / most, 2)

    parts = [
        f'<text x="4" y="{top + 10}">answers, ms</text>',
        f'<line class="axis" x1="{_LEFT}" y1="{bottom}" x2="{_RIGHT}" y2="{bottom}"/>',
        f'<line class="limit" x1="{_LEFT}" y1="{y(_LIMIT_MS)}" x2="{_RIGHT}" y2="{y(_LIMIT_MS)}"/>',
        f'<text x="{_LEFT - 6}" y="{y(_LIMIT_MS) + 4}" text-anchor="end">{_LIMIT_MS:.0f}</text>',
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0</text>',
    ]
    for each, ms in answered:
        parts.append(
            f'<circle class="{"late" if each.late else "answer"}" data-n="{each.number}" cx="{x(each.at_ms)}" '
            f'cy="{y(ms)}" r="2.5"><title>{each.number} {escape(each.line.name)}: {ms:.1f} ms</title></circle>'
        )
    return parts


def _powers(powers: list[tuple[Entry, float]], x: Callable[[float], float]) -> list[str]:
    top, bottom = _POWER
    low, high = min(0.0, *(w for _, w in powers)), max(0.0, *(w for _, w in powers))
    span = (high - low) or 1.0

    def y(watts: float) -> float:
        return round(bottom - (bottom - top) * (watts - low) / span, 2)

    points = " ".join(f"{x(each.at_ms)},{y(watts)}" for each, watts in powers)
    marks = "".join(
        f'<text x="{_LEFT - 6}" y="{y(w) + 4}" text-anchor="end">{w / 1000:.1f}</text>' for w in {low, 0.0, high}
    )
    return [
        f'<text x="4" y="{top - 2}">power, kW</text>{marks}',
        f'<line class="axis" x1="{_LEFT}" y1="{y(0)}" x2="{_RIGHT}" y2="{y(0)}"/>',
        f'<polyline class="power" points="{points}"/>',
    ]


_STYLE, _SCRIPT = ((files("v2g_cli.trace") / name).read_text("utf-8") for name in ("trace.css", "trace.js"))

_SEARCH: Final = (
    '<p><input id="search" type="search" placeholder="Search: names, fields, values, states" '
    'aria-label="Search messages"/> <button id="all">open or close all</button> <span id="count"></span></p>'
)


def page(title: str, found: list[Entry]) -> str:
    """Return the page."""
    parts = [f"<h1>{escape(title)}</h1>"]
    for run, conversation in runs(found).items():
        first = conversation[0].line
        session = next((each.line.session for each in conversation if each.line.session), "none")
        parts.append(
            f'<section class="card"><h2>Session {escape(session)}</h2><p>Run {escape(run)}, as seen by '
            f'{escape(first.process)} from {escape(first.time)}</p><div class="scroll">{picture(conversation)}</div>'
        )
        if begins := opening(conversation):
            zoomed = picture(begins, begin_ms=begins[0].at_ms)
            parts.append(f'<h3>The first second of messages</h3><div class="scroll">{zoomed}</div>')
        parts.append("</section>")
    parts += [
        f'<section class="card"><h2>Messages</h2>{_SEARCH}',
        *(_row(each) for each in found),
        f'</section><section class="card"><h2>Answer times, ms</h2><div class="scroll">{_times(found)}</div></section>',
    ]
    return document(title, "\n".join(parts), style=_STYLE, script=_SCRIPT)


def _row(entry: Entry) -> str:
    line = entry.line
    answer = "" if entry.answer_ms is None else f"{entry.answer_ms:.1f} ms"
    name = line.name if entry.speaker else f"{line.stage} {line.name}"
    fields = "  ".join(f"{label} {value}" for label, value in summary(line))
    code = line.body.get("ResponseCode", "") if isinstance(line.body, dict) else ""
    judged = str(code).partition("_")[0].upper()
    moved = f'<span class="next">⇒ {escape(line.next)}</span>' if line.next != line.state else ""
    classes = " ".join(filter(None, (entry.speaker or "fact", "late" if entry.late else "")))
    searched = " ".join(
        [name, entry.speaker, line.state, line.next, line.stream, line.error]
        + [f"{path} {word(value)}" for path, value in leaves(line.body)]
    )
    return (
        f'<details id="m{entry.number}" class="{classes}" data-text="{escape(searched.lower())}"><summary>'
        f'<span class="n">{entry.number}</span><span class="t">{entry.at_ms / 1000:.3f} s</span>'
        f'<span class="a">{answer}</span><span class="name"><b>{escape(entry.speaker)}</b> '
        f'{escape(name or "unreadable")}</span><span class="f {escape(judged)}">{escape(fields or line.error)}</span>'
        f"{moved}</summary>{_whole(entry)}</details>"
    )


def _whole(entry: Entry) -> str:
    line = entry.line
    facts = [line.time, line.stream, f"state {line.state}" if line.state else "", f"run {line.run}", line.error]
    facts += [f"withheld: {', '.join(line.withheld)}"] if line.withheld else []
    octets = f"<p><code>{escape(line.exi)}</code></p>" if line.exi else ""
    described = escape(", ".join(filter(None, facts)))
    return f'<div class="tree"><p>{described}</p>{_tree(line.body)}{octets}</div>'


def _tree(value: object) -> str:
    if isinstance(value, dict) and value.keys() != {"Exponent", "Value"}:
        children = value.items()
    elif isinstance(value, list):
        children = ((f"[{at}]", each) for at, each in enumerate(value))  # type: ignore[assignment]
    else:
        return ""
    items = "".join(
        f"<li><span>{escape(str(label))}</span> {_leaf(each)}{_tree(each)}</li>" for label, each in children
    )
    return f"<ul>{items}</ul>"


def _leaf(value: object) -> str:
    if isinstance(value, dict):
        number = value.keys() == {"Exponent", "Value"}
        return escape(word(value["Value"] * 10.0 ** value["Exponent"])) if number else ""
    if isinstance(value, list):
        return ""
    return escape(json.dumps(value, ensure_ascii=False) if isinstance(value, str) else word(value))


def _times(found: list[Entry]) -> str:
    heads = ("message", "count", "median", "p99", "longest", "within", "timeout", "late")
    rows = [
        (
            each.message,
            str(each.count),
            *("" if v is None else f"{v:.1f}" for v in (each.median, each.p99, each.longest)),
            *("" if v is None else f"{v:.0f}" for v in (each.performance, each.timeout)),
            str(each.late),
        )
        for each in times(found)
    ]
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
