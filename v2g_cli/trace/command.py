"""`v2g trace`: shows recorded conversations; as text with colours at a terminal, plain lines in a pipe."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from v2g.errors import ConfigError, V2GError
from v2g.iso15118 import trace_read
from v2g.iso15118.trace_read import Difference, Entry, Times, parallel, runs, summary, word
from v2g_cli.output import AMENDMENTS, print_json, print_table, raise_all, say, terminal, write_text
from v2g_cli.trace import html as trace_html
from v2g_cli.trace.source import read_entries

_ARROWS: Final = {"vehicle": "→", "charger": "←", "": " "}
_COLOURS: Final = {"vehicle": "green", "charger": "cyan", "": "dim"}
_NAME: Final = 32


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
    if line.stream in AMENDMENTS:
        text.append(f"  {AMENDMENTS[line.stream]}", "dim")
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


def _number(value: object) -> Any:
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
            often = "" if field.times == 1 else f"  ({field.times} times)"
            values = (_short(field.a), "red"), " | ", (_short(field.b), "green")
            _print(console, Text.assemble(f"    {field.path}: ", *values, (often, "dim")))


def _short(value: object) -> str:
    text = "absent" if value is None else word(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# -- text


Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Trace files, or recordings (pcapng, pcap) with their secrets.")
]


def trace(
    files: Files,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Only messages whose name contains this; repeatable."),
    ] = None,
    run: Annotated[str, typer.Option(help="Only the conversation of this run or session id.")] = "",
    message: Annotated[int, typer.Option(min=0, metavar="N", help="Show message N in full.")] = 0,
    stats: Annotated[bool, typer.Option("--stats", help="Show response times and their limits.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show how two traces differ.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --diff: also compare times, random numbers and signatures.")
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file instead.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON record per line.")] = False,
) -> None:
    """Show the messages between vehicle and charger.

    Traces are written by `log.trace` of secc and evcc, and by the demo. Times count from the first line of a
    conversation; a response shows how long it took, and the state after it.

    Examples:

    - `v2g trace runs/first/evcc.trace.jsonl`
    - `v2g trace FILE --only PowerDelivery`, `v2g trace FILE --message 25`, `v2g trace FILE --stats`
    - `v2g trace FILE --html conversation.html`
    - `v2g trace --diff good.jsonl bad.jsonl`: exit code 1 when they differ
    - `v2g trace evcc.pcapng`: a recording that contains the secrets of its connection (`tls.key_log`)
    """
    if diff:
        if len(files) != 2:
            raise ConfigError("--diff compares two traces", hint="v2g trace --diff A B")
        a, b = (_chosen(read_entries(each), only, run) for each in files)
        differences = trace_read.differences(a, b, strict=strict)
        if json:
            for each in differences:
                print_json(each)
        else:
            print_differences(differences, *(str(file) for file in files))
        if differences:
            raise typer.Exit(1)
        return
    errors: list[V2GError] = []
    found = [entry for file in files for entry in _chosen(read_entries(file, errors), only, run)]
    if message:
        entry = next((each for each in found if each.number == message), None)
        if entry is None:
            raise ConfigError(f"no message {message}", hint="each line begins with its message number")
        if json:
            print_json(_record(entry))
        else:
            print_message(entry)
    elif stats:
        rows = trace_read.times(found)
        if json:
            for row in rows:
                print_json(row)
        else:
            print_times(rows)
    elif html is not None:
        write_text(html, trace_html.page(", ".join(each.name for each in files), found))
    elif json:
        for entry in found:
            print_json(_record(entry))
    else:
        print_conversation(found)
        if not found and not errors:
            say("no messages", err=True)
    raise_all(errors)


def _chosen(found: list[Entry], only: list[str] | None, run: str) -> list[Entry]:
    """Return the selected entries. Raises ConfigError if none belongs to that run."""
    if run:
        found = [each for each in found if run in (each.line.run, each.line.session)]
        if not found:
            raise ConfigError(f"no conversation {run!r} in this trace", hint="the headings of the output list them")
    if only:
        words = [each.lower() for each in only]
        found = [each for each in found if any(word in each.line.name.lower() for word in words)]
    return found


def _record(entry: Entry) -> dict[str, object]:
    line: dict[str, object] = msgspec.to_builtins(entry.line)
    answer = {} if entry.answer_ms is None else {"answer_ms": entry.answer_ms}
    return {"number": entry.number, "at_ms": entry.at_ms, "speaker": entry.speaker, **answer, **line}
