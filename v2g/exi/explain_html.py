"""An explanation as one HTML page: the octets with their bits on the left, the tree of elements on the right.

The page is well-formed XML, loads nothing, and is complete without its script, which only joins the two halves:
pointing at a bit or an element shows the other.
"""

import re
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from itertools import groupby
from typing import Final

from v2g.exi.explain import ExplainStep, Explanation
from v2g.look import document

STYLE, SCRIPT = ((files("v2g.exi") / name).read_text("utf-8") for name in ("explain.css", "explain.js"))

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters of text values that are not allowed in a page."""

_LONG: Final = 40
"""Longer runs of octets in one value are shown by their first and last ones."""

_SHOWN: Final = 12
"""First and last octets of such a run."""

_CHIP: Final = 20
"""Maximum number of a step's bits shown next to its element."""

_OCTETS_PER_ROW: Final = 4

_HEAD: Final = (
    '<tr><th class="at">bit</th><th class="bits">bits</th><th class="states">state</th><th>event or value</th></tr>'
)

_KINDS: Final = {
    "header": "header, padding",
    "event": "event code",
    "length": "length",
    "value": "value",
    "unread": "not read",
}


def to_html(explanation: Explanation) -> str:
    """Return the page."""
    title = explanation.name or "EXI stream"
    kinds = [kind for kind in _KINDS if any(step.kind == kind for step in explanation.steps)]
    legend = "".join(f'<span><i class="{kind}"></i>{_KINDS[kind]}</span>' for kind in kinds)
    size = len(explanation.data)
    grammar = "fragment" if explanation.is_fragment else "document"
    wrong = [*(f"beyond the schema: {each}" for each in explanation.beyond), *filter(None, [explanation.error])]
    error = "".join(f'<p class="notice bad">{escape(str(each))}</p>' for each in wrong)
    body = (
        f"<header><h1>{escape(title)}</h1>"
        f'<p class="dim">EXI {grammar} of {size} octets in the grammar of '
        f'<code>{escape(explanation.schema.uri)}</code></p><p class="legend dim">{legend}</p>{error}</header>\n<main>'
        f'<section id="ruler" class="card"><h2>Octets and bits</h2><div id="octets">{_ruler(explanation)}</div>'
        '</section>\n<section id="tree" class="card"><h2>Elements; open one for grammar states and event codes</h2>'
        f"<div>{_tree(explanation)}</div></section></main>"
    )
    page = document(f"{title}, bit by bit", body, style=STYLE, script=SCRIPT)
    return _NOT_XML.sub("\ufffd", page)


# Octets


def _ruler(explanation: Explanation) -> str:
    """Return every octet in hexadecimal above its bits, which are split at steps."""
    skipped = dict(_long_runs(explanation.steps))
    cells: list[str] = []
    column = 0
    cuts = _cut(explanation.steps, len(explanation.data))
    at = 0
    while at < len(explanation.data):
        if at in skipped:
            stop, index = skipped[at]
            kind = explanation.steps[index].kind
            cells.append(f'<span class="at"></span><span class="gap {kind}" data-step="{index}">')
            cells.append(f"{stop - at} octets</span>")
            at, column = stop, 0
            continue
        if column == 0:
            cells.append(f'<span class="at mono">{at}</span>')
        column = (column + 1) % _OCTETS_PER_ROW
        last = at + 1 in skipped
        style = f' style="grid-column-end: span {_OCTETS_PER_ROW - column + 1}"' if last and column else ""
        cells.append(f'<span class="octet mono"{style}><span class="hex">{explanation.data[at]:02x}</span>')
        cells.append("".join(cuts[at]) + "</span>")
        at += 1
    return "".join(cells)


def _cut(steps: tuple[ExplainStep, ...], size: int) -> list[list[str]]:
    """Return the pieces of steps in each octet."""
    octets: list[list[str]] = [[] for _ in range(size)]
    for index, step in enumerate(steps):
        stop = step.start + len(step.bits)
        at = step.start
        while at < stop:
            end = min(stop, at - at % 8 + 8)
            ends = f"{' first' if at == step.start else ''}{' last' if end == stop else ''}"
            bits = step.bits[at - step.start : end - step.start]
            octets[at // 8].append(f'<b class="{step.kind}{ends}" data-step="{index}">{bits}</b>')
            at = end
    return octets


def _long_runs(steps: tuple[ExplainStep, ...]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Return the omitted octets: first one, and the one after the last, with the number of their step."""
    for index, step in enumerate(steps):
        first, stop = -(-step.start // 8), (step.start + len(step.bits)) // 8
        if stop - first > _LONG:
            yield first + _SHOWN, (stop - _SHOWN, index)


# Elements


def _tree(explanation: Explanation) -> str:
    numbered = enumerate(explanation.steps)
    nodes = [(node, list(group)) for node, group in groupby(numbered, key=lambda each: each[1].node)]
    seen: set[int] = set()
    rows = []
    for at, (node, steps) in enumerate(nodes):
        first = node not in seen
        seen.add(node)
        kind = ""
        if first and node and at + 1 < len(nodes) and nodes[at + 1][1][0][1].path.startswith(f"{steps[0][1].path}/"):
            kind = steps[0][1].value + _number(explanation.steps, steps[0][0])
        rows.append(_node(steps, first=first, kind=kind))
    return "".join(rows)


def _number(steps: tuple[ExplainStep, ...], index: int) -> str:
    """Return the value of an element with exponent and mantissa; its first step is given."""
    inside = f"{steps[index].path}/"
    near = steps[index + 1 : index + 12]
    parts = {each.path.removeprefix(inside): each.raw for each in near if each.raw is not None}
    if not {"Exponent", "Value"} <= set(parts):
        return ""
    return f": {parts['Value']} \u00d7 10^{parts['Exponent']}"


def _node(steps: list[tuple[int, ExplainStep]], *, first: bool, kind: str) -> str:
    """Return neighbouring steps of one element: a line, and a table of the steps that can be expanded.

    `kind` is the type of an element with content, if this is its start.
    """
    step = steps[0][1]
    name = step.path.rpartition("/")[2] if step.node else {"header": "EXI header"}.get(step.kind, step.kind)
    if step.node and not first:
        name = f"end of {name}" if steps[-1][1].event == "EE" else f"{name}, continued"
    bits = "".join(_chip(index, each) for index, each in steps)
    numbers = " ".join(str(index) for index, _ in steps)
    said = f'<span class="dim">{escape(kind)}</span>' if kind else f"<span>{escape(_said(steps))}</span>"
    indent = 18 * (step.depth if step.node else 0)
    style = ' class="structure"' if kind else ""
    table = "".join(_line(index, each) for index, each in steps)
    return (
        f'<details{style}><summary data-step="{numbers}">'
        f'<span class="name" style="padding-left: {indent + 13}px">{escape(name)}</span>'
        f'<span class="said">{said}</span><span class="chips mono">{bits}</span></summary>'
        f'<div class="inside"><table>{_HEAD}{table}'
        f"</table></div></details>\n"
    )


def _said(steps: list[tuple[int, ExplainStep]]) -> str:
    """Return the value of an element, or the part that was read."""
    values = [step for _, step in steps if step.kind not in ("event", "length")]
    whole = [step.value for step in values if step.raw is not None]
    return whole[-1] if whole else ", ".join(step.value for step in values)


def _chip(index: int, step: ExplainStep) -> str:
    bits = step.bits if len(step.bits) <= _CHIP else f"{len(step.bits)} bits"
    hint = f"{step.event} " if step.event else ""
    return f'<span class="chip {step.kind}" data-step="{index}" title="{escape(hint + step.value)}">{bits}</span>'


def _line(index: int, step: ExplainStep) -> str:
    bits = step.bits if len(step.bits) <= 128 else f"{step.bits[:96]}… {len(step.bits)} bits"
    where = f"{step.start // 8}.{step.start % 8}"
    if step.kind == "event":
        what = f"<b>{escape(step.event)}</b> {escape(step.value)}{_choices(step)}"
    else:
        what = f"{step.kind}: {escape(step.value)}"
    return (
        f'<tr data-step="{index}"><td class="mono">{where}</td><td class="bits mono">{bits}</td>'
        f"<td>{escape(step.state)}</td><td>{what}</td></tr>"
    )


def _choices(step: ExplainStep) -> str:
    """Return the alternatives in this state."""
    if len(step.choices) < 2:
        return ""
    shown = [
        f'<span class="{"taken" if number == step.code else "other"}">{escape(each)}</span>'
        for number, each in enumerate(step.choices)
    ]
    if len(shown) > 16:
        middle = min(step.code or 0, len(shown) - 1)
        near = range(max(0, middle - 5), min(len(shown), middle + 6))
        shown = [*(["…"] if near[0] else []), *(shown[each] for each in near), f"… {len(shown)} in all"]
    return f'<br/><span class="dim choices">{", ".join(shown)}</span>'
