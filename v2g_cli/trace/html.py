"""A conversation as one self-contained HTML file: message trees, times, search, and a timeline."""

import json
from html import escape
from importlib.resources import files
from typing import Final

from v2g.iso15118.trace_read import Entry, leaves, runs, summary, times, word
from v2g.look import document
from v2g_cli.trace.picture import opening, picture

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
