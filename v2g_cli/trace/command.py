"""`v2g trace`: shows recorded conversations."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from v2g.errors import ConfigError, TransportError, V2GError
from v2g.iso15118 import trace_read
from v2g.iso15118.trace_read import Entry
from v2g_cli.output import print_json, raise_all
from v2g_cli.trace import html as trace_html
from v2g_cli.trace import text as trace_text
from v2g_cli.trace.source import read_entries

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
        _show_differences(trace_read.differences(a, b, strict=strict), files, json=json)
        return
    errors: list[V2GError] = []
    found = [entry for file in files for entry in _chosen(read_entries(file, errors), only, run)]
    if message:
        _show_message(found, message, json=json)
    elif stats:
        rows = trace_read.times(found)
        if json:
            for row in rows:
                print_json(row)
        else:
            trace_text.print_times(rows)
    elif html is not None:
        try:
            html.write_text(trace_html.page(", ".join(each.name for each in files), found), encoding="utf-8")
        except OSError as error:
            raise TransportError(f"{html}: {error.strerror}") from None
    elif json:
        for entry in found:
            print_json(_record(entry))
    else:
        trace_text.print_conversation(found)
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


def _show_message(found: list[Entry], number: int, *, json: bool) -> None:
    entry = next((each for each in found if each.number == number), None)
    if entry is None:
        raise ConfigError(f"no message {number}", hint="each line begins with its message number")
    if json:
        print_json(_record(entry))
    else:
        trace_text.print_message(entry)


def _show_differences(found: list[trace_read.Difference], files: list[Path], *, json: bool) -> None:
    if json:
        for each in found:
            print_json(each)
    else:
        trace_text.print_differences(found, *(str(file) for file in files))
    if found:
        raise typer.Exit(1)
