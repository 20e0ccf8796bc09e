"""Explanations and grammars as text: coloured tables at a terminal, tab-separated lines in a pipe."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from v2g.exi.explain import Explanation, Step
from v2g.exi.explain_states import State

__all__ = ["print_explanation", "print_states"]

_STYLES: Final = {
    "header": "dim",
    "event": "cyan",
    "length": "yellow",
    "value": "green",
    "padding": "dim",
    "unread": "red",
}
_BITS: Final = 32
"""Bits that one line shows."""

_Row = Sequence[tuple[str, str]]
"""Cells with their styles."""


def print_explanation(explanation: Explanation) -> None:
    """Print a line per step: where it is (octet and bit), its bits, its element, the state, and what it says."""
    rows = [_row(step) for step in explanation.steps]
    kind = "fragment" if explanation.is_fragment else "document"
    title = f"{explanation.name or 'EXI'}: {kind}, {len(explanation.data)} octets, {explanation.schema.uri}"
    _print(title, ("bit", "bits", "element", "state", "event or value"), rows)


def _row(step: Step) -> _Row:
    bits = step.bits
    style = _STYLES[step.kind]
    name = "  " * step.depth + step.path.rpartition("/")[2]
    if step.kind == "event":
        said = f"{step.event} {step.value}".rstrip()
    else:
        said = step.value if step.kind == "value" else f"{step.kind}: {step.value}"
    plain = not sys.stdout.isatty()
    return (
        (f"{step.start // 8}.{step.start % 8}", "dim"),
        (bits if plain or len(bits) <= _BITS else f"{bits[: _BITS - 12]}… {len(bits)} bits", style),
        (step.path if plain else name, "bold" if step.event.startswith(("SE", "AT")) else "dim"),
        (step.state, ""),
        (said, style),
    )


def print_states(title: str, states: Iterable[tuple[State, Sequence[str]]]) -> None:
    """Print a line per production: state, event code in bits and as a number, event, type, and the state after it.

    Each state comes with the names of the states after its productions.
    """
    rows: list[_Row] = []
    for state, following in states:
        for each, after in zip(state.productions, following, strict=True):
            name = state.name if each.code == 0 or not sys.stdout.isatty() else ""
            code = f"{each.code:0{state.width}b}"
            rows.append(
                (
                    (name, "bold"),
                    (code, "cyan"),
                    (str(each.code), ""),
                    (each.event, "green"),
                    (each.type, ""),
                    (after, ""),
                )
            )
    _print(title, ("state", "bits", "code", "event", "type", "then"), rows)


def _print(title: str, columns: Sequence[str], rows: Iterable[_Row]) -> None:
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(text for text, _ in row) + "\n")
        sys.stdout.flush()
        return
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text, style=style) for text, style in row))
    Console().print(table)
