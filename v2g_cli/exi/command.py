"""`v2g exi`: read, write and explain EXI messages of ISO 15118-20, ISO 15118-2, DIN 70121 and the handshake.

Batch mode: one JSON object per line in, one per line out, also for invalid lines.
"""

import base64
import json
import json as json_
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from v2g.errors import ConfigError, V2GError
from v2g.exi import Dialect, to_xml
from v2g.exi.declare import Element, Schema
from v2g.exi.explain import ExplainStep, Explanation
from v2g.exi.explain_states import GrammarState, grammar_of, relaxed_names, relaxed_states, root_state
from v2g.exi.grammar import fragment
from v2g.exi.json import to_object
from v2g.typed_json import Fields
from v2g_cli.exi import guess
from v2g_cli.output import AMENDMENTS, say, say_row, terminal

_ENCODE: Final = ("xml", "json")


def record(message: guess.Message) -> Fields:
    """Return a message in every output form."""
    element, schema, name = message.element, message.schema, message.clark
    return {
        "message": message.name,
        "xml": to_xml(element, schema=schema, name=name),
        "json": to_object(element, schema=schema, name=name),
    }


def decode_lines(lines: Iterable[bytes], how: guess.How) -> Iterator[str]:
    """Answer `{"namespace", "fragment", "exi_hex"}` with `{"message", "xml", "json"}`.

    The default `namespace` is that of `how`, or guessed and reported; the default `fragment` is that of `how`.
    A line that cannot be decoded is answered with `{"error"}`.
    """
    for line in lines:
        if line.strip():
            yield _answer(line, lambda given: _decode(given, how))


def encode_lines(lines: Iterable[bytes], how: guess.How) -> Iterator[str]:
    """Answer `{"namespace", "fragment", "xml"}` (or `json`) with `{"exi_hex"}`, as `decode_lines` does."""
    for line in lines:
        if line.strip():
            yield _answer(line, lambda given: _encode(given, how))


def _answer(line: bytes, work: Callable[[Fields], object]) -> str:
    try:
        given = json.loads(line)
        if not isinstance(given, dict):
            raise ValueError("not an object")
        answer = work(given)
    except V2GError as error:
        answer = {"error": str(error)}
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deeply
        answer = {"error": f"not a JSON object: {error}"}
    return json.dumps(answer, ensure_ascii=False)


def _about(given: dict[str, object], how: guess.How) -> guess.How:
    namespace = given.get("namespace")
    schema = guess.schema_named(str(namespace)) if namespace else how.schema
    return guess.How(schema, bool(given.get("fragment", how.is_fragment)), how.dialect)


def _decode(given: Fields, how: guess.How) -> Fields:
    how = _about(given, how)
    if not isinstance(given.get("exi_hex"), str):
        return {"error": "exi_hex is missing"}
    message = guess.decode_stream(guess.stream_of(given["exi_hex"].encode(), guess.Notation.hex), how)
    return record(message) | _guessed(message, how)


def _encode(given: Fields, how: guess.How) -> Fields:
    how = _about(given, how)
    form = next((each for each in _ENCODE if given.get(each)), None)
    if form is None:
        return {"error": f"one of {', '.join(_ENCODE)} is missing"}
    text = given[form] if isinstance(given[form], str) else json.dumps(given[form])
    encoded = guess.encode_text(text, how)
    return {"exi_hex": encoded.octets.hex()} | _guessed(encoded.message, how)


def _guessed(message: guess.Message, how: guess.How) -> dict[str, str]:
    return {} if how.schema else {"namespace": message.schema.uri}


# -- many messages at once


# -- Explanations and grammars as text: coloured tables at a terminal, tab-separated lines in a pipe

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


def _place(step: ExplainStep) -> str:
    return f"{step.start // 8}.{step.start % 8}"


def _said(step: ExplainStep) -> str:
    if step.kind == "event":
        return f"{step.event} {step.value}".rstrip()
    return step.value if step.kind == "value" else f"{step.kind}: {step.value}"


def _opens(step: ExplainStep) -> bool:
    return step.event.startswith(("SE", "AT"))


def print_states(title: str, states: Iterable[tuple[GrammarState, Sequence[str]]]) -> None:
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


# -- Finds a declared type by name


def type_named(name: str, schema: Schema | None) -> type[Element]:
    """Return the complex type of an element or class. Raises ConfigError when there is none, or several."""
    found: dict[type[Element], Schema] = {}
    known: dict[str, str] = {}
    for each in [schema] if schema else guess.schemas():
        for local, kind in _types(each):
            known.setdefault(local.lower(), local)
            if local == name:
                found.setdefault(kind, each)
    if len(found) == 1:
        return next(iter(found))
    if found:
        places = "; ".join(f"--namespace {each.prefix}: {kind.__module__}" for kind, each in found.items())
        raise ConfigError(f"{name} is declared {len(found)} times", hint=places)
    near = [known[each] for each in get_close_matches(name.lower(), known, n=5)]
    raise ConfigError(
        f"no element or type {name!r}", hint=f"near: {', '.join(near)}" if near else "use the schema's names"
    )


def _types(schema: Schema) -> list[tuple[str, type[Element]]]:
    """Return names of elements and classes with their types."""
    found = [(kind.__name__, kind) for each in schema.closure() for kind in each.types()]
    roots = fragment(schema)
    for qname in roots.names:
        found += [(qname.local, kind) for kind in roots.types[qname] if isinstance(kind, type)]
    return found


app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


class Form(Enum):
    """Output forms of a message."""

    xml = "xml"
    json = "json"


class Wire(Enum):
    """Output forms of bytes."""

    hex = "hex"
    base64 = "base64"
    binary = "binary"


Octets = Annotated[
    str | None, typer.Argument(metavar="EXI", help="Hexadecimal, base64 or a file's name; otherwise standard input.")
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="URI, prefix (cm) or last part (CommonMessages); guessed by default."),
]
Fragment = Annotated[bool, typer.Option("--fragment", help="The input is an EXI fragment, as hashed for signatures.")]
Peer = Annotated[Dialect, typer.Option("--dialect", help="cbexigen: as libcbv2g and EVerest code some messages.")]
From = Annotated[guess.Notation, typer.Option("--from", help="Notation of the octets.")]
Lines = Annotated[bool, typer.Option("--jsonl", help="Batch: one JSON object per line in and out.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]


def _schema(name: str | None) -> Schema | None:
    return guess.schema_named(name) if name else None


def _how(namespace: str | None, dialect: Dialect, *, is_fragment: bool) -> guess.How:
    return guess.How(_schema(namespace), is_fragment, dialect)


@app.command()
def decode(
    exi: Octets = None,
    namespace: Namespace = None,
    fragment: Fragment = False,
    dialect: Peer = Dialect.EXI,
    notation: From = guess.Notation.auto,
    to: Annotated[Form, typer.Option("--to", help="What to print.")] = Form.xml,
    jsonl: Lines = False,
    json: JsonFlag = False,
) -> None:
    """Decode a message and print it as XML or JSON.

    A V2GTP header is stripped and narrows the guess. If several namespaces match, the error lists them.

    Examples:

    - `v2g exi decode 808c0455e6f7...`
    - `v2g exi decode message.exi --to json`
    - `v2g exi decode --fragment --namespace xmldsig 808112b4...`
    - `v2g exi decode --jsonl < in.jsonl > out.jsonl`: reads lines `{"namespace", "fragment", "exi_hex"}`, writes
      `{"message", "xml", "json"}`, or `{"error"}` for a line that cannot be decoded; the exit code is still 0
    """
    how = _how(namespace, dialect, is_fragment=fragment)
    if jsonl:
        _print_lines(decode_lines(_input_lines(exi), how))
        return
    message = guess.decode_stream(guess.read_stream(exi, notation), how)
    if json:
        _print({"namespace": message.schema.uri, "fragment": fragment, **record(message)})
    else:
        say(_text(message, to), lines=True)
        _name_amendment(message.schema)


def _name_amendment(schema: Schema) -> None:
    """Name a grammar that the names of its messages do not show, beside the output."""
    if name := AMENDMENTS.get(schema.uri.rpartition(":")[2].replace("-", "_")):
        say(f"ISO 15118-20 {name}", err=True)


def _text(message: guess.Message, form: Form) -> str:
    from v2g.exi.json import to_object
    from v2g.exi.xml import to_xml

    if form is Form.xml:
        return to_xml(message.element, schema=message.schema, name=message.clark)
    found = to_object(message.element, schema=message.schema, name=message.clark)
    return json_.dumps(found, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)


@app.command()
def encode(
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="XML, JSON or a file's name; otherwise standard input.")
    ] = None,
    namespace: Namespace = None,
    fragment: Fragment = False,
    dialect: Peer = Dialect.EXI,
    to: Annotated[Wire, typer.Option("--to", help="How to print the octets.")] = Wire.hex,
    jsonl: Lines = False,
    json: JsonFlag = False,
) -> None:
    """Encode a message given as XML or JSON, in any form that `decode` prints.

    Examples:

    - `v2g exi encode message.xml`
    - `v2g exi decode 808c0455e6f7... --to json | v2g exi encode`
    - `v2g exi encode message.json --to binary > message.exi`
    - `v2g exi encode --jsonl < in.jsonl > out.jsonl`: reads lines `{"namespace", "fragment", "xml"}` (or `"json"`),
      writes `{"exi_hex"}`, or `{"error"}`; the exit code is still 0
    """
    how = _how(namespace, dialect, is_fragment=fragment)
    if jsonl:
        _print_lines(encode_lines(_input_lines(message), how))
        return
    encoded = guess.encode_text(guess.read_text(message), how)
    octets, about = encoded.octets, encoded.message
    if json:
        _print({"namespace": about.schema.uri, "fragment": fragment, "message": about.name, "exi_hex": octets.hex()})
    elif to is Wire.binary:
        sys.stdout.buffer.write(octets)
        sys.stdout.flush()
    else:
        say(octets.hex() if to is Wire.hex else base64.b64encode(octets).decode("ascii"))


@app.command()
def explain(
    exi: Octets = None,
    namespace: Namespace = None,
    fragment: Fragment = False,
    dialect: Peer = Dialect.EXI,
    notation: From = guess.Notation.auto,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file instead.")] = None,
    json: JsonFlag = False,
) -> None:
    """Explain every bit: the grammar state in which it was read, and its event code or value.

    Positions are octet.bit. Values that the bits allow and the schema does not are read and named, as by `v2g trace`.
    An invalid stream is explained up to the error; the exit code is then 3.

    Examples: `v2g exi explain 808c0455e6f7...`, `v2g exi explain message.exi --html message.html`
    """
    from v2g.exi.explain import explain as explain_
    from v2g.exi.explain_html import to_html

    stream = guess.read_stream(exi, notation)
    how = _how(namespace, dialect, is_fragment=fragment)
    schema = how.schema or guess.nearest_schema(stream, how)
    explanation = explain_(stream.octets, schema, is_fragment=fragment, dialect=dialect)
    if html is not None:
        try:
            html.write_text(to_html(explanation), "utf-8")
        except OSError as error:
            raise ConfigError(f"{html}: {error.strerror}") from None
    if json:
        for step in explanation.steps:
            found = {name: getattr(step, name) for name in step.__struct_fields__ if name not in ("raw", "choices")}
            _print({key: value for key, value in found.items() if value not in ("", None)})
        for each in explanation.beyond:
            _print({"beyond": str(each)})
    elif html is None:
        print_explanation(explanation)
        _name_amendment(schema)
        for each in explanation.beyond:
            say(f"beyond the schema: {each}")
    if explanation.error is not None:
        raise explanation.error


@app.command()
def grammar(
    name: Annotated[
        str | None, typer.Argument(help="Element or type; without it, how streams of the namespace begin.")
    ] = None,
    namespace: Namespace = None,
    fragment: Fragment = False,
    source: Annotated[bool, typer.Option("--source", help="Print the generated Python of its codec instead.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show the states of a type: the events that each allows, their codes, and the state after each.

    `T.3` is the state before the fourth element in schema order, `T.3+` the same place when that element may occur
    again, `T.3!` when it must. One code more than a state has productions escapes to deviations from the schema.

    Examples: `v2g exi grammar DC_ChargeLoopReq`, `v2g exi grammar DC_ChargeLoopReq --source`, `v2g exi grammar -n dc`
    """
    from v2g.exi.explain import readable_source

    schema = _schema(namespace)
    if source and name is not None:
        _print_source(readable_source(type_named(name, schema)))
        return
    title, found = _states(name, schema, is_fragment=fragment)
    if not json:
        print_states(title, found)
        return
    for state, following in found:
        events = [
            {"code": each.code, "event": each.event, "type": each.type, "then": then}
            for each, then in zip(state.productions, following, strict=True)
        ]
        _print({"state": state.name, "bits": state.width, "productions": events})


def _states(
    name: str | None, schema: Schema | None, *, is_fragment: bool
) -> tuple[str, list[tuple[GrammarState, list[str]]]]:
    """Return a title, and states with the names of those after each production."""
    if name is None and schema is None:
        raise ConfigError("no name and no namespace given", hint="v2g exi grammar DC_ChargeLoopReq, or -n dc")
    if name is not None and not (schema and is_fragment and name in relaxed_names(schema)):
        kind = type_named(name, schema)
        of = grammar_of(kind)
        states = [(state, [of.then(each) for each in state.productions]) for _, state in of.states()]
        return f"{kind.__name__} ({kind.__module__})", states
    assert schema is not None
    begin = (root_state(schema, is_fragment=is_fragment),) if name is None else relaxed_states(schema, name)
    return schema.uri, [(state, [""] * len(state.productions)) for state in begin]


def _print_source(text: str) -> None:
    if not sys.stdout.isatty():
        say(text, lines=True)
        return
    from rich.syntax import Syntax

    terminal().print(Syntax(text, "python", background_color="default", word_wrap=True))


def _input_lines(given: str | None) -> Iterable[bytes]:
    """Return the lines of a file, or of standard input as they come."""
    if given in (None, "-"):
        return sys.stdin.buffer
    try:
        return Path(str(given)).open("rb")
    except OSError as error:
        raise ConfigError(f"{given}: {error.strerror}") from None


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)


def _print(found: object) -> None:
    """Print a record; the standard library writes integers of any length."""
    _print_lines([json_.dumps(found, ensure_ascii=False)])
