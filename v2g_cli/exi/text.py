"""Explanations and grammars as text: coloured tables at a terminal, tab-separated lines in a pipe."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from v2g.exi.explain import Explanation, Step
from v2g.exi.explain_states import State
from v2g_cli.output import say_row, terminal

__all__ = ["print_explanation", "print_states"]

_STYLES: Final = {
    "header": "dim",
    "event": "cyan",
    "length": "yellow",
    "value": "green",
    "padding": "dim",
    "unread": "red",
}
_BITS: Final = 24
"""Bits shown in one line."""


def print_explanation(explanation: Explanation) -> None:
    """Print a line per step: position (octet and bit), bits, element, state, and meaning."""
    if not sys.stdout.isatty():
        _print_plain((_place(step), step.bits, step.path, step.state, _said(step)) for step in explanation.steps)
        return
    kind = "fragment" if explanation.is_fragment else "document"
    title = f"{explanation.name or 'EXI'}: {kind}, {len(explanation.data)} octets, {explanation.schema.uri}"
    table = _table(title, "bit", "bits", "event or value, and grammar state")
    for step in explanation.steps:
        bits = step.bits if len(step.bits) <= _BITS else f"{step.bits[: _BITS - 10]}… {len(step.bits)} bits"
        said = Text("  " * (step.depth + (step.kind in ("length", "value"))))
        said.append(step.event or _said(step), style=f"{_STYLES[step.kind]}{' bold' if _opens(step) else ''}")
        kind = f", {step.value}" if _opens(step) else ""
        said.append(f"  {step.state}{kind}" if step.event else "", style="dim")
        table.add_row(Text(_place(step), style="dim"), Text(bits, style=_STYLES[step.kind]), said)
    terminal().print(table)


def _place(step: Step) -> str:
    return f"{step.start // 8}.{step.start % 8}"


def _said(step: Step) -> str:
    if step.kind == "event":
        return f"{step.event} {step.value}".rstrip()
    return step.value if step.kind == "value" else f"{step.kind}: {step.value}"


def _opens(step: Step) -> bool:
    return step.event.startswith(("SE", "AT"))


def print_states(title: str, states: Iterable[tuple[State, Sequence[str]]]) -> None:
    """Print a line per production: state, event code in bits and as a number, event, type, and the state after it.

    Each state comes with the names of the states after its productions.
    """
    rows = [
        (state.name, f"{each.code:0{state.width}b}", str(each.code), each.event, each.type, after)
        for state, following in states
        for each, after in zip(state.productions, following, strict=True)
    ]
    if not sys.stdout.isatty():
        _print_plain(rows)
        return
    table = _table(title, "state", "bits", "code", "event", "then", "type")
    for name, bits, code, event, kind, after in rows:
        short = name.rpartition(".")[1:]
        shown = "".join(short) if code == "0" else ""
        following = after.replace(name.rpartition(".")[0], "")
        kind = "" if event == f"SE({kind})" else kind
        table.add_row(Text(shown, "bold"), Text(bits, "cyan"), code, Text(event, "green"), following, Text(kind, "dim"))
    terminal().print(table)


def _print_plain(rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        say_row(*row)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
