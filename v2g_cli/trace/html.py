"""A conversation as one self-contained HTML file: message trees, times, search, and a timeline."""

import json
from html import escape
from typing import Final

from v2g.iso15118.trace_read import Entry, leaves, runs, summary, times, word
from v2g.look import document
from v2g_cli.trace.picture import opening, picture

_STYLE: Final = """
h3{font-weight:400;color:var(--dim)}svg{width:100%;min-width:60em;height:auto}
svg text{font:11px system-ui,sans-serif;fill:var(--dim)}svg .axis{stroke:var(--line)}svg .power{fill:none;
stroke:var(--plum);stroke-width:1.5}svg .answer{fill:var(--in)}svg .late{fill:var(--bad)}svg .limit{stroke:var(--bad);
stroke-dasharray:4 3}svg .vehicle{stroke:var(--out)}svg .charger{stroke:var(--in)}svg .fact{stroke:var(--dim)}
#search{width:min(30em,100%)}details{border-bottom:1px solid var(--line)}
summary{padding:.15em 0;list-style:none;display:flex;align-items:baseline;font-weight:400}
summary:hover{background:var(--dull-bg)}
.n,.t,.a,.f{color:var(--dim)}.n{flex:0 0 3em}.t,.a{flex:0 0 6em}.f{flex:1;min-width:0;overflow:hidden;
white-space:nowrap;text-overflow:ellipsis}details[open] .f{white-space:normal}.vehicle b{color:var(--out)}
.charger b{color:var(--in)}.name{flex:0 0 20em}.next{flex:none;padding-left:.6em;color:var(--warn)}
.FAILED,.late .a{color:var(--bad)}.WARNING{color:var(--warn)}
ul{margin:.1em 0 .3em 1.2em;padding:0;list-style:none}li span{color:var(--dim)}
.tree{padding:.3em 0 .8em 3em;overflow-wrap:anywhere}td,th{padding:.2em 1.2em .2em 0;text-align:right}
td:first-child,th:first-child{text-align:left}
@media (max-width:60em){summary{flex-wrap:wrap}.name{flex:1 0 14em}.f{flex:1 0 100%;white-space:normal;
overflow-wrap:anywhere}.n{flex-basis:2.4em}.t,.a{flex-basis:5em}.next{padding-left:0}.tree{padding-left:0}}
"""

_SCRIPT: Final = """
const box=document.querySelector('#search'),count=document.querySelector('#count');
const rows=[...document.querySelectorAll('details')];
function look(){const words=box.value.toLowerCase().split(/\\s+/).filter(Boolean);let n=0;
for(const row of rows){const found=words.every(w=>row.dataset.text.includes(w));row.hidden=!found;n+=found}
count.textContent=words.length?n+' of '+rows.length:''}
box.addEventListener('input',look);
document.querySelector('#all').addEventListener('click',()=>{const shown=rows.filter(r=>!r.hidden);
const open=!shown.every(r=>r.open);for(const r of shown)r.open=open});
for(const mark of document.querySelectorAll('svg [data-n]'))mark.addEventListener('click',()=>{
const row=document.querySelector('#m'+mark.dataset.n);row.hidden=false;row.open=true;
row.scrollIntoView({block:'center'})});
"""


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
