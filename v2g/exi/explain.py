"""Explains every bit of a stream: its grammar state and its meaning.

The walk follows the codec's grammars (`explain_states`) and reads values with a recording variant of the codec's
reader. The codec decides whether a stream is valid: its error ends the
explanation, and the rest is shown as unread, so that the steps always add up to the stream.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from enum import Enum
from typing import Any, Final, Literal, TypeVar

import msgspec

from v2g.errors import ExiDecodeError
from v2g.exi.bits import MAX_INTEGER_BITS, BitReader, Deviation, ExiRefusal, TolerantReader
from v2g.exi.cbexigen import Dialect, swapped
from v2g.exi.codec import HEADER, decode, decode_fragment
from v2g.exi.declare import Element, Schema
from v2g.exi.decoder import write_decoder
from v2g.exi.encoder import write_encoder
from v2g.exi.explain_states import (
    GrammarState,
    Production,
    grammar_of,
    only_text,
    relaxed_states,
    root_state,
    simple_states,
    text_of,
)
from v2g.exi.free import read_any
from v2g.exi.grammar import RelaxedPlan, document, fragment
from v2g.exi.model import Kind, Simple, model_of
from v2g.exi.source import SourceText

# -- A recording variant of the codec's reader of bits

_T = TypeVar("_T")


class BitPiece(msgspec.Struct):
    """Bits read in one step."""

    start: int
    width: int
    kind: Literal["bits", "number", "octets", "characters"]
    value: Any = None
    note: str = ""


class BitRecorder(TolerantReader):
    """The codec's reader, recording what is read at which position."""

    def __init__(self, data: bytes, schema: Schema, *, loose: bool) -> None:
        super().__init__(data, schema, loose=loose)
        self._inside = False
        self._pieces: list[BitPiece] = []

    def _deviates(self, kind: Literal["number", "length", "enumeration"], value: int, allowed: str) -> None:
        """The codec names what is beyond the schema, with its path."""

    def drain(self) -> list[BitPiece]:
        """Return the bits read since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def note(self, what: str) -> None:
        """Record the meaning of the last bits."""
        for piece in reversed(self._pieces):
            if piece.note:
                break
            piece.note = what

    def take(self, width: int) -> int:
        return self._record("bits", lambda: super(BitRecorder, self).take(width))

    def varint(self, bits: int = 64) -> int:
        return self._record("number", lambda: super(BitRecorder, self).varint(bits))

    def octets(self, size: int) -> bytes:
        return self._record("octets", lambda: super(BitRecorder, self).octets(size))

    def characters(self, size: int) -> str:
        return self._record("characters", lambda: super(BitRecorder, self).characters(size))

    def _record(self, kind: Literal["bits", "number", "octets", "characters"], read: Callable[[], _T]) -> _T:
        """Read and record, unless it is part of a larger value."""
        if self._inside:
            return read()
        self._inside = True
        piece = BitPiece(self.position, 0, kind)
        try:
            value = read()
            piece.value = value
            return value
        finally:
            self._inside = False
            piece.width = self.position - piece.start
            self._pieces.append(piece)


# -- Values of explained streams: read as in the codec, and described

_LONGEST_SHOWN: Final = 120
"""Maximum number of characters shown of a value."""


def read_value(reader: BitReader, simple: Simple) -> object:
    """Read a value like the codec."""
    match simple.kind:
        case "string":
            return reader.string(simple.shortest, simple.longest)
        case "binary":
            return reader.binary(simple.shortest, simple.longest)
        case "boolean":
            return reader.take(1) == 1
        case "enumeration":
            assert simple.members is not None
            index, members = reader.take(simple.width), tuple(simple.members)
            return members[index] if index < len(members) else reader.unlisted(reader.n, index, members)
        case "bits":
            value = reader.take(simple.width) + (simple.low or 0)
        case _:
            sign = simple.kind == "integer" and reader.take(1)
            bounds = [abs(each) for each in (simple.low, simple.high) if each is not None]
            known = simple.high is not None and (simple.kind == "unsigned" or simple.low is not None)
            value = reader.varint(max(64, max(bounds).bit_length()) if known else MAX_INTEGER_BITS)
            value = ~value if sign else value
    if (simple.low is not None and value < simple.low) or (simple.high is not None and value > simple.high):
        reader.outside(reader.n, value, simple.low, simple.high)
    return value


def show_length(value: int | None, simple: Simple) -> str:
    if value is None:
        return "length"
    if simple.kind == "binary":
        return f"{value} octet{'' if value == 1 else 's'} follow"
    size = value - 2
    return f"{size} character{'' if size == 1 else 's'} follow (written as {value})" if size >= 0 else f"{value}"


def show_value(read: object, simple: Simple, value: object) -> str:
    """Return the meaning of a value, given the part that was read."""
    if read is None:
        return "ends too early"
    if value is None:
        return f"{read}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return f"{value.value} (number {read})"
    if isinstance(value, bytes):
        return _cut(value.hex())
    if isinstance(value, str):
        return _cut(f'"{value}"')
    return f"{value}" if value == read or simple.kind != "bits" else f"{value} (written as {read})"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


StepKind = Literal["header", "event", "length", "value", "padding", "unread"]

_TEXT: Final = Simple("string")
_ENDS_AT_ONCE: Final = "second level: ends at once"
"""Text of mixed content."""


class ExplainStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some neighbouring bits and their meaning."""

    start: int
    """Position of the first bit."""
    bits: str
    """The bits, as 0 and 1."""
    kind: StepKind
    node: int = 0
    """Number of the element or attribute of the bits, in document order; 0 before the first."""
    depth: int = 0
    """Depth of that element; that of the root is 0."""
    path: str = ""
    """Its path, with the position among items of a list: `ServiceIDList/ServiceID[2]`."""
    state: str = ""
    """Grammar state of an event code."""
    event: str = ""
    """The event: SE(Header), AT(Id), CH, EE, SE(*), ED."""
    code: int | None = None
    value: str = ""
    """Meaning of the bits, for display; long values are truncated."""
    choices: tuple[str, ...] = ()
    """All events of the state by their codes; the first code beyond them escapes to deviations."""
    raw: object = None
    """The value in the message, in the step that completes it."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A stream in steps, and its message or the reason why there is none."""

    data: bytes
    schema: Schema
    is_fragment: bool
    steps: tuple[ExplainStep, ...]
    element: Element | None = None
    beyond: tuple[Deviation, ...] = ()
    """Values that the bits allow and the schema does not; they are read all the same."""
    error: ExiDecodeError | None = None

    @property
    def name(self) -> str:
        """Name of the root element; empty if the stream does not even have one."""
        return next((step.path for step in self.steps if step.node == 1), "")


def explain(data: bytes, schema: Schema, *, is_fragment: bool = False, dialect: Dialect = Dialect.EXI) -> Explanation:
    """Explain a document or fragment, valid or not. Never raises, for any octets."""
    data = bytes(data)
    element, error = None, None
    beyond: list[Deviation] = []
    try:
        element = (decode_fragment if is_fragment else decode)(data, schema, dialect=dialect, deviations=beyond)
    except ExiDecodeError as caught:
        error = caught
    loose = dialect is not Dialect.EXI
    walk = _ExplainWalk(data, schema, swap=loose, loose=loose)
    refusal = walk.run(is_fragment=is_fragment)
    if refusal is not None and walk.reader.full:
        other = _ExplainWalk(data, schema, swap=loose, loose=not loose)
        if other.run(is_fragment=is_fragment) is None:
            walk, refusal = other, None
    if error is None and refusal is not None:  # never observed; the codec and its explanation are tested to agree
        error = ExiDecodeError(str(refusal), bit_position=walk.reader.position)
    # drop steps after an error and add the unread bits
    size = 8 * len(data)
    found = [each for each in walk.steps if each.bits and (error is None or each.start < error.bit_position)]
    at = found[-1].start + len(found[-1].bits) if found else 0
    if at < size:
        kind: StepKind = "unread" if error is not None else "padding"
        value = "not read" if error is not None else "fills the last octet"
        found.append(ExplainStep(start=at, bits=_bits_of(data, at, size - at), kind=kind, value=value))
    return Explanation(
        data=data,
        schema=schema,
        is_fragment=is_fragment,
        steps=tuple(found),
        element=element,
        beyond=tuple(beyond),
        error=error,
    )


def _bits_of(data: bytes, start: int, width: int) -> str:
    """Return bits of a stream as 0 and 1, as far as it reaches."""
    stop = min(start + width, 8 * len(data))
    if stop <= start:
        return ""
    first, last = start // 8, (stop + 7) // 8
    text = f"{int.from_bytes(data[first:last]):0{8 * (last - first)}b}"
    return text[start - 8 * first : stop - 8 * first]


class _ExplainWalk:
    """Follows the grammars through one stream."""

    def __init__(self, data: bytes, schema: Schema, *, swap: bool, loose: bool) -> None:
        self._swap = swap
        self.data = data
        self.schema = schema
        self.reader = BitRecorder(data, schema, loose=loose)
        self.steps: list[ExplainStep] = []
        self._nodes = 0
        self._open: list[tuple[int, str]] = [(0, "")]
        """Numbers and paths of the current elements and attribute."""

    def run(self, *, is_fragment: bool) -> ExiRefusal | None:
        """Walk; return why it ended early, if so."""
        try:
            reader = self.reader
            if self.data[:1] != bytes((HEADER,)):
                raise ExiRefusal("not the EXI header of V2G (0x80)")
            for width, meaning in ((2, "distinguishing bits of EXI"), (1, "no options follow"), (5, "final version 1")):
                reader.take(width)
                self._add(reader.drain()[0], "header", value=meaning)
            state = root_state(self.schema, is_fragment=is_fragment)
            roots = fragment(self.schema) if is_fragment else document(self.schema)
            code = reader.take(state.width)
            if code >= len(roots.names):
                self._event(state, code)
                raise ExiRefusal("the stream begins with no declared element")
            name = swapped(roots.names[code]) if self._swap and not is_fragment else roots.names[code]
            declaration = roots.type_of(name)
            with self._enter(name.local):
                self._event(state, code)
                if name in roots.relaxed:
                    self._relaxed(name.local, roots.relaxed[name])
                elif declaration is None or isinstance(declaration, Simple):
                    raise ExiRefusal("the element is abstract, or not a structure")
                else:
                    self._complex(declaration)
            if is_fragment:
                code = reader.take(state.width)
                self._event(state, code)
                if code != roots.end:
                    raise ExiRefusal("data follows the element of the fragment")
            if not 0 <= reader.left < 8:
                raise ExiRefusal("the stream ends too early, or data follows the message")
        except ExiRefusal as refusal:
            for piece in self.reader.drain():
                self._add(piece, "value", value="ends too early")
            return refusal
        return None

    def _complex(self, declaration: type[Element]) -> None:
        """Walk an element of a complex type after its start."""
        grammar = grammar_of(declaration)
        text = only_text(grammar.model)
        if text is not None:
            self._simple(declaration.__name__, text)
            return
        key, count, leave = grammar.first, 0, False
        while True:
            state = grammar.state(key)
            code = self.reader.take(state.width)
            text = text_of(state)
            if text is not None and code == len(state.productions):
                self._end_at_once(state, text)
                return
            production = self._production(state, code)
            is_item = grammar.is_item(production, key)
            if leave and is_item:
                raise ExiRefusal("more items than are allowed")
            count = count + 1 if is_item else 1
            if production.event == "EE":
                self._event(state, production.code)
                return
            # walk the content of an event
            event = production.target
            if event is None and production.event == "CH":
                self._event(state, production.code)
                self._value(_TEXT)
            elif event is None:
                with self._enter("*"):
                    self._event(state, production.code)
                    self._undeclared()
            elif event.kind is Kind.TEXT:
                self._event(state, production.code)
                self._value(event.type)
            else:
                mark = "@" if event.kind is Kind.ATTRIBUTE else ""
                with self._enter(mark + event.qname.local + (f"[{count}]" if production.repeats else "")):
                    self._event(state, production.code)
                    if event.type is None:
                        raise ExiRefusal("the head of a substitution group, which is abstract")
                    if not isinstance(event.type, Simple):
                        self._complex(event.type)
                    elif event.kind is Kind.ATTRIBUTE:
                        self._value(event.type)
                    else:
                        self._simple(event.qname.local, event.type)
            is_full = grammar.is_looped(production, count)
            self.reader.full |= is_full
            leave = is_full and self.reader.loose
            following = grammar.after(production, count, loose=leave)
            assert following is not None
            key = following

    def _simple(self, name: str, simple: Simple) -> None:
        """Walk an element of a simple type after its start."""
        before, after = simple_states(name, simple)
        if simple.kind not in ("string", "binary"):
            self._event(before, self._choose(before).code)
            self._value(simple)
            self._event(after, self._choose(after).code)
            return
        read = self.reader.string_element if simple.kind == "string" else self.reader.binary_element
        value: str | bytes | None = None
        try:
            value = read(simple.shortest, simple.longest)
        finally:
            first, *rest = self.reader.drain()
            self._event(before, first.value, piece=first)
            if first.value and rest:
                self._add(rest.pop(0), "event", state=before.name, event="EE", value=_ENDS_AT_ONCE)
            last = rest.pop() if rest and rest[-1].kind == "bits" else None
            self._pieces(rest, simple, value)
            if last is not None:
                self._event(after, last.value, piece=last)
        if first.value:
            self.steps[-1] = msgspec.structs.replace(self.steps[-1], raw=value)

    def _end_at_once(self, state: GrammarState, text: Simple) -> None:
        """Walk the end of an element where its text may begin; the escape to the second level has been read."""
        self._event(state, len(state.productions))
        read = self.reader.empty_string if text.kind == "string" else self.reader.empty_binary
        value: str | bytes | None = None
        try:
            value = read(text.shortest, text.longest)
        finally:
            self._add(self.reader.drain()[0], "event", state=state.name, event="EE", value=_ENDS_AT_ONCE)
        self.steps[-1] = msgspec.structs.replace(self.steps[-1], raw=value)

    def _value(self, simple: Simple | type[Element] | None) -> None:
        """Read a value without surrounding events."""
        assert isinstance(simple, Simple)
        value: object = None
        try:
            value = read_value(self.reader, simple)
        finally:
            self._pieces(self.reader.drain(), simple, value)

    def _relaxed(self, name: str, plan: RelaxedPlan) -> None:
        """Walk an element whose name has several types."""
        state, after = relaxed_states(self.schema, name)
        try:
            plan.decode(self.reader)
        finally:
            pieces = self.reader.drain()
            while pieces:
                event = pieces.pop(0)
                parts = [pieces.pop(0) for _ in pieces[:2] if pieces[0].kind != "bits"]
                value = parts[1].value if len(parts) > 1 else None
                production = state.productions[event.value] if event.value in range(len(state.productions)) else None
                mark = f"@{production.event[3:-1]}" if production and production.event.startswith("AT") else ""
                with self._enter(mark) if mark else nullcontext():
                    self._event(state, event.value, piece=event)
                    self._pieces(parts, _TEXT, value)
                state = state if mark else after

    def _undeclared(self) -> None:
        try:
            read_any(self.reader)
        finally:
            for piece in self.reader.drain():
                if piece.kind == "bits" and not piece.note.startswith(("namespace", "name")):
                    self._add(piece, "event", state="undeclared", event=piece.note, value="in the built-in grammar")
                else:
                    self._add(piece, "value", value=piece.note or str(piece.value))

    # Notes

    def _choose(self, state: GrammarState) -> Production:
        """Read an event code and return its production; the code itself is noted by `_event`."""
        return self._production(state, self.reader.take(state.width))

    def _production(self, state: GrammarState, code: int) -> Production:
        if code >= len(state.productions):
            self._event(state, code)
            raise ExiRefusal("an event that the schema does not foresee, or a deviation that is not supported")
        return state.productions[code]

    @contextmanager
    def _enter(self, name: str) -> Iterator[None]:
        """Set the element or attribute of the next notes."""
        self._nodes += 1
        path = self._open[-1][1]
        self._open.append((self._nodes, f"{path}/{name}" if path else name))
        yield  # not closed after a refusal, so that the last bits are noted in the right place
        self._open.pop()

    def _event(self, state: GrammarState, code: int | None, *, piece: BitPiece | None = None) -> None:
        """Note an event code, by default all bits read since the last note."""
        piece = piece or self.reader.drain()[0]
        known = code is not None and code < len(state.productions)
        production = state.productions[code] if known and code is not None else None
        choices = tuple(f"{each.code} {each.event}" for each in state.productions)
        self._add(
            piece,
            "event",
            state=state.name,
            event=production.event if production else "?",
            value=(production.type if production.event != "EE" else "") if production else "escapes to a deviation",
            choices=choices,
        )

    def _pieces(self, pieces: list[BitPiece], simple: Simple, value: object) -> None:
        """Note the parts of a value."""
        measured = simple.kind in ("string", "binary")
        size = len(self.steps)
        for piece in pieces:
            if piece.kind == "number" and measured:
                self._add(piece, "length", value=show_length(piece.value, simple))
            elif piece.kind == "bits" and simple.kind == "integer":
                self._add(piece, "value", value="negative, minus one" if piece.value else "not negative")
            else:
                self._add(piece, "value", value=show_value(piece.value, simple, value))
        if value is not None and self.steps and (measured or len(self.steps) > size or not pieces[-1].width):
            self.steps[-1] = msgspec.structs.replace(self.steps[-1], raw=value)

    def _add(self, piece: BitPiece, kind: StepKind, **about: Any) -> None:
        bits = _bits_of(self.data, piece.start, piece.width)
        if not bits:
            return
        if len(bits) < piece.width:
            about["value"] = "cut off"
        node, path = self._open[-1]
        code = piece.value if kind == "event" else None
        depth = max(0, len(self._open) - 2)
        self.steps.append(
            ExplainStep(start=piece.start, bits=bits, kind=kind, node=node, depth=depth, path=path, code=code, **about)
        )


_INDENT: Final = "    "
_WIDTH: Final = 100


def readable_source(declaration: type[Element]) -> str:
    """Return the decoder and the encoder of a type, as the codec generates and runs them.

    Functions of other types are only named: `d_` decodes, `z_` decodes with the preceding zero bit, `e_` encodes.
    `C_` is a class, `K_` the members of an enumeration by number or the numbers by member, `F_` the automaton of
    mixed content. In a decoder `w` has the unread bits, of which there are `n`; in an encoder `a` has the bits written
    after a leading 1, `b` and `k` are the first code and the width of the current state.
    """
    model = model_of(declaration)
    parts = []
    for title, write in (("decoder", write_decoder), ("encoder", write_encoder)):
        source = SourceText()
        write(model, source)
        parts.append(f"# {declaration.__name__}: {title}\n{_readable(source)}")
    return "\n\n".join(parts)


def _readable(source: SourceText) -> str:
    lines: list[str] = []
    label = ""
    for line, about in zip(source.lines, source.labels, strict=True):
        code = line.lstrip(" ")
        indent = _INDENT * (len(line) - len(code))
        if about != label and about and not code.startswith(("else:", "elif ")):
            lines.append(f"{indent}# {about}")
        label = about
        head, colon, rest = code.partition(": ")
        if colon and head.split(" ", 1)[0] in ("if", "elif", "else", "while", "for"):
            lines.append(f"{indent}{head}:")
            lines += [f"{indent}{_INDENT}{each}" for each in rest.split("; ")]
        else:
            lines += [f"{indent}{each}" for each in code.split("; ")]
    # split a long call, the one that creates the struct, into one argument per line
    line = lines[-1]
    head, _, arguments = line.partition("(")
    if len(line) <= _WIDTH:
        lines[-1:] = [line]
    else:
        inner = " " * (len(line) - len(line.lstrip(" ")) + 4)
        lines[-1:] = [f"{head}(", *(f"{inner}{each}," for each in arguments[:-1].split(", ")), f"{inner[4:]})"]
    return "\n".join(lines)
