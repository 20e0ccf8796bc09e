"""Content in document order: mixed text, wildcards and repeated choices, used only by XML Signature.

Such types are rare in a session, so they are processed by an automaton instead of generated code.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from v2g.exi.bits import (
    FLUSH_BITS,
    XSD_ANY_TYPE,
    XSI_TYPE,
    BitOutput,
    BitReader,
    ExiRefusal,
    Names,
    flush,
    put_characters,
    put_string,
    put_varint,
)
from v2g.exi.declare import Alt, AnyAttribute, AnyElement, Element, Many, Maybe, Part, Seq, Wildcard
from v2g.exi.model import Model, Particle, QName

MAX_DEPTH: Final = 16
"""Maximum nesting of undeclared elements."""

_XML_NAME: Final = re.compile(r"[^\W\d][\w.\-]*")

_ATTRIBUTE: Final = "attribute"
_ELEMENT: Final = "element"
_TEXT: Final = "text"
_TYPE: Final = "xsi:type"
_END: Final = "end"

_BUILT_IN_START: Final = (_END, _ATTRIBUTE, _ELEMENT, _TEXT)
"""Second-level event codes at the start of an element in the built-in grammar; there is no first level."""

_ANY_TYPE_START: Final = (_ATTRIBUTE, _ELEMENT, _END, _TEXT)
_ANY_TYPE_CONTENT: Final = (_ELEMENT, _END, _TEXT)
"""Event codes of xsd:anyType before and after the first content."""


class FreeState(msgspec.Struct):
    """A position in a content model and its successors."""

    elements: list[tuple[type[Element], int]]
    """Declared elements in schema order and the states after them; the index is the event code."""
    wildcard: int | None
    """The state after an undeclared element."""
    can_end: bool
    mixed: bool

    @property
    def size(self) -> int:
        """Number of first-level event codes."""
        return len(self.elements) + (self.wildcard is not None) + self.can_end + self.mixed


class _FreeWalk:
    """Positions of a content model (Glushkov): possible first and last ones, and the successors of each."""

    def __init__(self) -> None:
        self.leaves: list[type[Element] | Wildcard] = []
        self.follow: list[list[int]] = []

    def visit(self, part: Part) -> tuple[list[int], list[int], bool]:
        """Return the first positions, the last positions and whether the part may be absent."""
        match part:
            case Seq(parts):
                first: list[int] = []
                last: list[int] = []
                absent = True
                for each in parts:
                    begin, end, empty = self.visit(each)
                    self._link(last, begin)
                    first += begin if absent else []
                    last = end + (last if empty else [])
                    absent = absent and empty
                return first, last, absent
            case Alt(parts):
                visited = [self.visit(each) for each in parts]
                begins = [position for begin, _, _ in visited for position in begin]
                ends = [position for _, end, _ in visited for position in end]
                return begins, ends, any(empty for _, _, empty in visited)
            case Many(inner, least):
                begin, end, empty = self.visit(inner)
                self._link(end, begin)
                return begin, end, empty or least == 0
            case Maybe(inner):
                begin, end, _ = self.visit(inner)
                return begin, end, True
            case _:
                self.leaves.append(part)
                self.follow.append([])
                return [len(self.leaves) - 1], [len(self.leaves) - 1], False

    def _link(self, ends: list[int], begins: list[int]) -> None:
        for end in ends:
            self.follow[end] += [each for each in begins if each not in self.follow[end]]


def states_of(model: Part, *, mixed: bool) -> list[FreeState]:
    """Return the automaton; state 0 is the start, state p + 1 the one after position p."""
    walk = _FreeWalk()
    first, last, absent = walk.visit(model)

    def state(positions: list[int], *, can_end: bool) -> FreeState:
        elements: dict[type[Element], int] = {}
        wildcard = None
        for position in sorted(positions):
            leaf = walk.leaves[position]
            if isinstance(leaf, Wildcard):
                wildcard = position + 1 if wildcard is None else wildcard
            else:
                elements.setdefault(leaf, position + 1)
        return FreeState(list(elements.items()), wildcard, can_end, mixed)

    after = [state(walk.follow[p], can_end=p in last) for p in range(len(walk.leaves))]
    return [state(first, can_end=absent), *after]


class FreePlan:
    """Decoder and encoder of one free type: its attributes, its automaton, the functions of its children."""

    __slots__ = ("attributes", "decoders", "encoders", "field", "states", "type")

    def __init__(self, model: Model) -> None:
        assert model.content is not None
        self.type: Final = model.type
        self.field: Final = model.content_field
        self.attributes: Final = model.particles
        self.states: Final = states_of(model.content.model, mixed=model.content.mixed)
        self.decoders: dict[type[Element], Callable[[BitReader], Element]] = {}
        self.encoders: dict[type[Element], Callable[[int, Element, BitOutput], int]] = {}

    def decode(self, reader: BitReader) -> Element:
        """Read the attributes and content of an element after its start."""
        fields: dict[str, object] = {each.events[0].field: None for each in self.attributes}
        at = 0
        while True:
            state = self.states[0]
            ahead = self._attributes_from(at)
            whole = at + len(ahead) == len(self.attributes) and all(each.least == 0 for each in ahead)
            count = len(ahead) + (state.size if whole else 0)
            code = reader.take(count.bit_length())
            if code >= count:
                raise ExiRefusal("an attribute that the schema does not foresee, or a deviation that is not supported")
            if code >= len(ahead):
                fields[self.field] = self._content(reader, code - len(ahead))
                return self.type(**fields)
            fields[ahead[code].events[0].field] = reader.string(0, None)
            at += code + 1
            if at == len(self.attributes):
                fields[self.field] = self._content(reader, None)
                return self.type(**fields)

    def _attributes_from(self, at: int) -> list[Particle]:
        """Return the possible next attributes: up to and including the first required one."""
        ahead = []
        for each in self.attributes[at:]:
            ahead.append(each)
            if each.least:
                break
        return ahead

    def _content(self, reader: BitReader, code: int | None) -> tuple[str | Element, ...]:
        """Read content up to the end of the element; `code` is the first event if it has been read already."""
        state = self.states[0]
        found: list[str | Element] = []
        while True:
            if code is None:
                code = reader.take(state.size.bit_length())
            if code < len(state.elements):
                member, after = state.elements[code]
                found.append(self.decoders[member](reader))
                state, code = self.states[after], None
                continue
            code -= len(state.elements)
            if state.wildcard is not None:
                if code == 0:
                    found.append(read_any(reader))
                    state, code = self.states[state.wildcard], None
                    continue
                code -= 1
            if state.can_end:
                if code == 0:
                    return tuple(found)
                code -= 1
            if not (state.mixed and code == 0):
                raise ExiRefusal("content that the schema does not foresee, or a deviation that is not supported")
            found.append(reader.string(0, None))
            code = None

    def encode(self, acc: int, element: Element, out: BitOutput) -> int:
        """Append the attributes and content of an element, and its end."""
        if element.__class__ is not self.type:
            raise ExiRefusal(f"{type(element).__name__} where {self.type.__name__} is declared")
        content = getattr(element, self.field)
        if content.__class__ is not tuple:
            raise ExiRefusal(f"{type(content).__name__} where a tuple is declared")
        base = 0
        for index, each in enumerate(self.attributes):
            value = getattr(element, each.events[0].field)
            if value is None and not each.least:
                continue
            ahead = self._attributes_from(base)
            whole = base + len(ahead) == len(self.attributes) and all(other.least == 0 for other in ahead)
            count = len(ahead) + (self.states[0].size if whole else 0)
            acc = put_string(acc << count.bit_length() | index - base, value, None)
            base = index + 1
        skipped = len(self.attributes) - base
        state = self.states[0]
        for item in content:
            code, after = self._code(state, item)
            acc = acc << (skipped + state.size).bit_length() | skipped + code
            if isinstance(item, str):
                acc = put_string(acc, item, None)
            elif isinstance(item, AnyElement):
                acc = put_any(acc, item, out, 0)
            else:
                acc = self.encoders[item.__class__](acc, item, out)
            if acc.bit_length() > FLUSH_BITS:
                acc = flush(acc, out)
            state, skipped = (state if after is None else self.states[after]), 0
        if not state.can_end:
            raise ExiRefusal("the content is not complete")
        code = len(state.elements) + (state.wildcard is not None)
        return acc << (skipped + state.size).bit_length() | skipped + code

    def _code(self, state: FreeState, item: str | Element) -> tuple[int, int | None]:
        """Return the event code of an item and the state after it (None: the same)."""
        if isinstance(item, str):
            if not state.mixed:
                raise ExiRefusal("text between elements that allow none")
            return state.size - 1, None
        if isinstance(item, AnyElement):
            if state.wildcard is None:
                raise ExiRefusal(f"{item.name} where undeclared elements are not allowed")
            return len(state.elements), state.wildcard
        for code, (member, after) in enumerate(state.elements):
            if item.__class__ is member:
                return code, after
        raise ExiRefusal(f"{type(item).__name__} is not expected here")


def read_any(reader: BitReader) -> AnyElement:
    """Read an undeclared element after SE(*).

    Its start is in the built-in element grammar without learning (EXI 8.4.3). V2G allows no built-in grammars, so an
    encoder leaves it at once by xsi:type="xsd:anyType" (EXI Profile 2.1); streams that do not are also decoded.
    """
    reader.depth += 1
    if reader.depth > MAX_DEPTH:
        raise ExiRefusal(f"undeclared elements nest deeper than {MAX_DEPTH}")
    # read the name of an undeclared element, which is in no schema's namespace
    name = _read_name(reader)
    if reader.names.is_closed(name.uri):
        raise ExiRefusal(f"{name.local} is in {name.uri}, where only undeclared elements are supported")
    attributes: list[AnyAttribute] = []
    content: list[str | AnyElement] = []
    is_typed = False
    while (event := _next_event(reader, name, is_start=not content, is_typed=is_typed)) is not _END:
        reader.note(event)
        if event is _ATTRIBUTE or event is _TYPE:
            attribute = XSI_TYPE if event is _TYPE else _read_name(reader)
            if attribute == XSI_TYPE:
                if is_typed or attributes or _read_name(reader) != XSD_ANY_TYPE:
                    raise ExiRefusal("a type of an undeclared element that is not supported")
                is_typed = True
                reader.names.typed.add(name)
                continue
            if reader.names.is_closed(attribute.uri):
                raise ExiRefusal(f"attribute {attribute.local} is in {attribute.uri}, which is not supported")
            value = reader.string(0, None)
            reader.note("value of the attribute")
            attributes.append(AnyAttribute(namespace=attribute.uri, name=attribute.local, value=value))
        else:
            content.append(read_any(reader) if event is _ELEMENT else reader.string(0, None))
            reader.note("text")
    reader.note(_END)
    reader.depth -= 1
    return AnyElement(namespace=name.uri, name=name.local, attributes=tuple(attributes), content=tuple(content))


def _next_event(reader: BitReader, name: QName, *, is_start: bool, is_typed: bool) -> str:
    """Read the next event in an undeclared element."""
    if is_typed:
        events: tuple[str, ...] = _ANY_TYPE_START if is_start else _ANY_TYPE_CONTENT
        code = reader.take(len(events).bit_length())
        if code >= len(events):
            raise ExiRefusal("a deviation that is not supported")
        return events[code]
    if is_start:
        if name in reader.names.typed and not reader.take(1):
            return _TYPE
        return _BUILT_IN_START[reader.take(2)]
    return (_ELEMENT, _TEXT)[reader.take(1)] if reader.take(1) else _END


def _read_name(reader: BitReader) -> QName:
    names = reader.names
    index = reader.take(len(names.uris.entries).bit_length())
    if index > len(names.uris.entries):
        raise ExiRefusal("a namespace that is in no table")
    if index == 0:
        uri = reader.characters(reader.varint(32))
        if uri in names.locals:
            raise ExiRefusal("a namespace that is in the table is spelled out")
        names.add_uri(uri)
    else:
        uri = names.uris.entries[index - 1]
    reader.note(f"namespace {uri or 'none'}")
    known = names.locals[uri].entries
    size = reader.varint(32)
    if size == 0:
        if not known:
            raise ExiRefusal(f"a declared name of {uri} where only undeclared ones are supported")
        index = reader.take((len(known) - 1).bit_length())
        if index >= len(known):
            raise ExiRefusal("a name that is in no table")
        reader.note(f"name {known[index]}")
        return QName(known[index], uri)
    name = reader.characters(size - 1)
    if not _XML_NAME.fullmatch(name):
        raise ExiRefusal(f"{name!r} is not a name")
    names.add_local(uri, name)
    reader.note(f"name {name}")
    return QName(name, uri)


def put_any(acc: int, element: AnyElement, out: BitOutput, depth: int) -> int:
    """Append an undeclared element after its event code, as xsd:anyType."""
    names = out.names
    if depth >= MAX_DEPTH:
        raise ExiRefusal(f"undeclared elements nest deeper than {MAX_DEPTH}")
    if names.is_closed(element.namespace):
        raise ExiRefusal(f"{element.name} is in {element.namespace}, where only undeclared elements are supported")
    name = QName(element.name, element.namespace)
    acc = _put_name(acc, name, names)
    if name in names.typed:
        acc = acc << 1 | 1  # past the learned event, which EXIficient does not use either
    names.typed.add(name)
    acc = _put_name(acc << 2 | _BUILT_IN_START.index(_ATTRIBUTE), XSI_TYPE, names)
    acc = _put_name(acc, XSD_ANY_TYPE, names)
    events: tuple[str, ...] = _ANY_TYPE_START
    for attribute in element.attributes:
        if names.is_closed(attribute.namespace):
            raise ExiRefusal(f"attribute {attribute.name} is in {attribute.namespace}, which is not supported")
        acc = acc << len(events).bit_length() | events.index(_ATTRIBUTE)
        acc = _put_name(acc, QName(attribute.name, attribute.namespace), names)
        acc = put_string(acc, attribute.value, None)
        if acc.bit_length() > FLUSH_BITS:
            acc = flush(acc, out)
    for item in element.content:
        code = events.index(_ELEMENT if isinstance(item, AnyElement) else _TEXT)
        acc = acc << len(events).bit_length() | code
        acc = put_any(acc, item, out, depth + 1) if isinstance(item, AnyElement) else put_string(acc, item, None)
        if acc.bit_length() > FLUSH_BITS:
            acc = flush(acc, out)
        events = _ANY_TYPE_CONTENT
    return acc << len(events).bit_length() | events.index(_END)


def _put_name(acc: int, qname: QName, names: Names) -> int:
    name, uri = qname
    if not _XML_NAME.fullmatch(name):
        raise ExiRefusal(f"{name!r} is not a name")
    width = len(names.uris.entries).bit_length()
    if uri in names.locals:
        acc = acc << width | names.uris.place(uri) + 1
    else:
        acc = put_varint(acc << width, len(uri))
        acc = put_characters(acc, uri)
        names.add_uri(uri)
    known = names.locals[uri]
    if name in known:
        return acc << 8 + (len(known.entries) - 1).bit_length() | known.place(name)
    names.add_local(uri, name)
    return put_characters(put_varint(acc, len(name) + 1), name)
