"""Conversations as text: colours at a terminal, plain lines in a pipe."""

import sys
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from v2g.iso15118.trace_read import Difference, Entry, Times, parallel, runs, summary, word
from v2g_cli.output import print_table, say, terminal

_ARROWS: Final = {"vehicle": "→", "charger": "←", "": " "}
_COLOURS: Final = {"vehicle": "green", "charger": "cyan", "": "dim"}
_NAME: Final = 32
_AMENDMENTS: Final = {"AC_DER_IEC": "Amendment 1, IEC", "AC_DER_SAE": "Amendment 1, SAE"}
"""Streams whose messages are named as those of AC, and have another grammar."""


def print_conversation(found: list[Entry]) -> None:
    """Print every conversation under its heading."""
    console = terminal(soft_wrap=True) if sys.stdout.isatty() else None
    for run, conversation in runs(found).items():
        first = conversation[0].line
        session = next((each.line.session for each in conversation if each.line.session), "none")
        _print(console, Text(f"run {run}, session {session}, as seen by {first.process} from {first.time}", "bold"))
        for entry in conversation:
            _print(console, line_of(entry))


def line_of(entry: Entry) -> Text:
    """Return one line: number, seconds, sender, name, important fields, response time, next state."""
    line, colour = entry.line, _COLOURS[entry.speaker]
    text = Text(f"{entry.number:4} {entry.at_ms / 1000:9.3f} ", "dim")
    text.append(f"{entry.speaker:7} {_ARROWS[entry.speaker]} ", colour)
    name = line.name if entry.speaker else f"{line.stage} {line.name}"
    text.append(f"{name or 'unreadable':{_NAME}}", "bold" if entry.speaker else "dim")
    if entry.answer_ms is not None:
        text.append(f" {entry.answer_ms:8.1f} ms", "red" if entry.late else "dim")
    else:
        text.append(" " * 12)
    for label, value in summary(line):
        text.append(f"  {label} ", "dim")
        text.append(value, _judged(value) if label == "ResponseCode" else "")
    for beyond in line.beyond:
        text.append(f"  beyond the schema: {beyond}", "yellow")
    if line.error:
        text.append(f"  {line.error}", "red")
    if line.stream in _AMENDMENTS:
        text.append(f"  {_AMENDMENTS[line.stream]}", "dim")
    if parallel(line):
        text.append(f"  on {line.stream}", "magenta")
    if line.next != line.state:
        text.append(f"  ⇒ {line.next}", "yellow")
    return text


def _judged(code: str) -> str:
    return "red" if code.upper().startswith("FAILED") else "yellow" if code.startswith("WARNING") else "green"


def _print(console: Console | None, text: Text) -> None:
    if console is None:
        say(text.plain.rstrip())
    else:
        console.print(text)


def print_message(entry: Entry) -> None:
    """Print one message completely."""
    console = terminal(soft_wrap=True) if sys.stdout.isatty() else None
    line = entry.line
    _print(console, line_of(entry))
    rows = [
        ("time", f"{line.time}, {line.mono_ms:.3f} ms of the monotonic clock"),
        ("run", f"{line.run}, session {line.session or 'none'}"),
        ("state", f"{line.state}, then {line.next}" if line.state else ""),
        ("stream", line.stream),
        ("withheld", ", ".join(line.withheld)),
        ("error", line.error),
    ]
    for label, value in rows:
        if value:
            _print(console, Text(f"{label:9} {value}"))
    if console is not None:
        tree = Tree(Text(line.name, f"bold {_COLOURS[entry.speaker]}"))
        _grow(tree, line.body)
        console.print(tree)
    else:
        for text in _indented(line.body, 0):
            say(text)
    if line.exi:
        _print(console, Text(f"{'der' if line.stream == 'SIGNED_DISCHARGE' else 'exi':9} {line.exi}", "dim"))


def _grow(tree: Tree, value: object) -> None:
    for label, each in _children(value):
        if isinstance(each, dict | list):
            _grow(tree.add(Text(label, "cyan")), each)
        else:
            tree.add(Text.assemble((f"{label} ", "cyan"), word(each)))


def _indented(value: object, depth: int) -> Iterable[str]:
    for label, each in _children(value):
        if isinstance(each, dict | list):
            yield "  " * depth + label
            yield from _indented(each, depth + 1)
        else:
            yield f"{'  ' * depth}{label} {word(each)}"


def _children(value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, dict):
        return [(name, _number(each)) for name, each in value.items()]
    if isinstance(value, list):
        return [(f"[{at}]", _number(each)) for at, each in enumerate(value)]
    return []


def _number(value: Any) -> Any:
    """Return a RationalNumber as one number, anything else unchanged."""
    if isinstance(value, dict) and value.keys() == {"Exponent", "Value"}:
        return value["Value"] * 10.0 ** value["Exponent"]
    return value


def print_times(rows: list[Times]) -> None:
    """Print response times."""

    def ms(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}"

    print_table(
        "Answer times, ms",
        ("message", "count", "median", "p99", "longest", "within", "timeout", "late"),
        (
            (
                each.message,
                str(each.count),
                ms(each.median),
                ms(each.p99),
                ms(each.longest),
                ms(each.performance),
                ms(each.timeout),
                str(each.late),
            )
            for each in rows
        ),
    )


def print_differences(found: list[Difference], a: str, b: str) -> None:
    """Print the differences between two traces."""
    console = terminal(soft_wrap=True) if sys.stdout.isatty() else None
    if not found:
        _print(console, Text("no difference"))
        return
    _print(console, Text(f"- {a}", "red"))
    _print(console, Text(f"+ {b}", "green"))
    for each in found:
        for count, first, sign, colour in zip(each.count, each.first, "-+", ("red", "green"), strict=True):
            if each.count[0] != each.count[1] and count:
                _print(console, Text(f"{sign} {each.message}: {count} from message {first}", colour))
        if each.fields:
            _print(console, Text(f"  {each.message}, messages {each.first[0]} and {each.first[1]}", "bold"))
        for field in each.fields:
            _print(console, Text(f"    {field.path}: ") + _values(field.a, field.b) + Text(_often(field.times), "dim"))


def _values(a: object, b: object) -> Text:
    return Text.assemble((_short(a), "red"), " | ", (_short(b), "green"))


def _short(value: object) -> str:
    text = "absent" if value is None else word(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _often(times: int) -> str:
    return "" if times == 1 else f"  ({times} times)"
