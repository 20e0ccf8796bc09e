"""Declarations in the terms of EXI: events, particles, value types."""

from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from v2g.exi.declare import (
    ATTRIBUTE,
    HEX,
    TEXT,
    Alt,
    Choice,
    Content,
    Element,
    Many,
    Maximum,
    Maybe,
    Part,
    Ref,
    Seq,
    namespace_of,
)

SMALL_RANGE: Final = 4096
"""Integers of at most this many values are n-bit integers (EXI 7.1.9)."""


class QName(NamedTuple):
    """A qualified name. The order of the parts is the order in which EXI sorts names."""

    local: str
    uri: str


class Simple(msgspec.Struct, frozen=True):
    """A value type. `kind` is its EXI representation."""

    kind: Literal["boolean", "enumeration", "bits", "unsigned", "integer", "string", "binary"]
    low: int | None = None
    high: int | None = None
    """Range of an integer."""
    width: int = 0
    """Bits of an n-bit integer or an enumeration."""
    members: type[Enum] | None = None
    shortest: int = 0
    longest: int | None = None
    """Length in characters or octets."""
    hexadecimal: bool = False


class Kind(Enum):
    """The form of a field in the stream."""

    ATTRIBUTE = "attribute"
    ELEMENT = "element"
    TEXT = "text"


class Event(msgspec.Struct, frozen=True):
    """One production: a possible next event, and its field."""

    qname: QName
    field: str
    kind: Kind
    type: Simple | type[Element] | None
    """None: the head of a substitution group without a type of its own; its event code must not occur."""


class Particle(msgspec.Struct, frozen=True):
    """Alternative events, and how often they may occur."""

    events: tuple[Event, ...]
    least: int = 1
    most: int | None = 1
    """None: unbounded."""

    @property
    def repeated(self) -> bool:
        """Whether the field is a tuple."""
        return self.most != 1


class Model(msgspec.Struct, frozen=True):
    """A complex type: attributes in EXI order, then either particles or free content."""

    type: type[Element]
    particles: tuple[Particle, ...]
    """Attributes, sorted, then child elements or the text, in schema order. Only attributes if `content` is set."""
    content: Content | None = None
    content_field: str = ""
    abstract: bool = False


T = TypeVar("T")


class _Declared(msgspec.Struct, frozen=True):
    """One annotation, split into its parts."""

    base: Any
    optional: bool
    marks: tuple[object, ...]
    item: "_Declared | None" = None

    def mark(self, kind: type[T]) -> T | None:
        """Return the first mark of a kind, or None."""
        for each in self.marks:
            if isinstance(each, kind):
                return each
        return None


def qname_of(declaration: type[Element]) -> QName:
    """Return the name of the global element (or the only local one) of a class."""
    schema = namespace_of(declaration)
    return QName(declaration.__name__, schema.uri if schema.qualified_elements else "")


@cache
def model_of(declaration: type[Element]) -> Model:
    """Read a declared class. Inherited fields come first and keep the namespace of the class that declares them."""
    wire = dict(zip(declaration.__struct_fields__, declaration.__struct_encode_fields__, strict=True))
    attributes: list[Particle] = []
    children: list[tuple[Particle, Choice | None]] = []
    content, content_field = None, ""
    owners = [each for each in reversed(declaration.__mro__) if issubclass(each, Element)]
    home = {name: owner for owner in owners for name in vars(owner).get("__annotations__", ())}
    for owner in owners:
        for name, annotation in vars(owner).get("__annotations__", {}).items():
            if name not in wire or home[name] is not owner:  # ClassVar, or declared anew by a variant
                continue
            declared = _take_apart(annotation)
            free = declared.mark(Content)
            if free is not None:
                content, content_field = free, name
            elif ATTRIBUTE in declared.marks:
                schema = namespace_of(owner)
                qname = QName(wire[name], schema.uri if schema.qualified_attributes else "")
                event = Event(qname, name, Kind.ATTRIBUTE, _simple(declared))
                attributes.append(Particle((event,), least=0 if declared.optional else 1))
            else:
                children.append((_child(owner, name, wire[name], declared), declared.mark(Choice)))
    attributes.sort(key=lambda each: each.events[0].qname)
    # merge neighbouring branches of a choice into one particle
    joined: list[Particle] = []
    last: Choice | None = None
    for particle, choice in children:
        if choice is not None and choice == last:
            joined[-1] = msgspec.structs.replace(joined[-1], events=joined[-1].events + particle.events)
        elif choice is not None:
            joined.append(Particle(particle.events, least=1 if choice.required else 0))
        else:
            joined.append(particle)
        last = choice
    return Model(
        type=declaration,
        particles=(*attributes, *joined),
        content=content,
        content_field=content_field,
        abstract=bool(declaration.__dict__.get("abstract", False)),
    )


def _child(owner: type[Element], name: str, wire: str, declared: _Declared) -> Particle:
    schema = namespace_of(owner)
    if TEXT in declared.marks:
        return Particle((Event(QName("", ""), name, Kind.TEXT, _simple(declared)),))
    ref = declared.mark(Ref)
    if ref is not None:
        schema = namespace_of(ref.element)
    qname = QName(wire, schema.uri if schema.qualified_elements or ref is not None else "")
    item = declared.item or declared
    events = _substitutes(qname, name, item) or (Event(qname, name, Kind.ELEMENT, _type(item)),)
    if declared.item is None:
        return Particle(events, least=0 if declared.optional else 1)
    least, most = _bounds(declared, "min_length", "max_length")
    return Particle(events, least=least or 0, most=most)


def _substitutes(head: QName, name: str, item: _Declared) -> tuple[Event, ...]:
    """Return the events of a substitution group, sorted; empty for an ordinary element."""
    if get_origin(item.base) not in (Union, UnionType):
        return ()
    events = {head: Event(head, name, Kind.ELEMENT, None)}
    for member in get_args(item.base):
        events[qname_of(member)] = Event(qname_of(member), name, Kind.ELEMENT, member)
    return tuple(events[each] for each in sorted(events))


def _take_apart(annotation: Any) -> _Declared:
    """Split an annotation into base type, optionality, marks and, for tuples, the declaration of an item."""
    marks: list[object] = []
    optional = False
    while (origin := get_origin(annotation)) is not None:
        if origin is Annotated:
            marks += annotation.__metadata__
            annotation = annotation.__origin__
        elif origin in (Union, UnionType) and NoneType in get_args(annotation):
            optional = True
            members = [each for each in get_args(annotation) if each is not NoneType]
            annotation = members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007
        elif origin is tuple and not any(isinstance(mark, Content) for mark in marks):
            return _Declared(tuple, optional, tuple(marks), _take_apart(get_args(annotation)[0]))
        else:
            break
    return _Declared(annotation, optional, tuple(marks))


def simple_of(annotation: object) -> Simple:
    """Read an annotated value type, such as that of a global element without structure."""
    return _simple(_take_apart(annotation))


def _type(declared: _Declared) -> Simple | type[Element]:
    if isinstance(declared.base, type) and issubclass(declared.base, Element):
        return declared.base
    return _simple(declared)


def _simple(declared: _Declared) -> Simple:
    """Choose the EXI representation of a value type (EXI 7.1, 8.5.4.1.2)."""
    base: type = declared.base
    if base is bool:
        return Simple("boolean", width=1)
    if issubclass(base, Enum):
        return Simple("enumeration", width=(len(base) - 1).bit_length(), members=base)
    if base is str or base is bytes:
        shortest, longest = _bounds(declared, "min_length", "max_length")
        kind: Literal["string", "binary"] = "string" if base is str else "binary"
        return Simple(kind, shortest=shortest or 0, longest=longest, hexadecimal=HEX in declared.marks)
    assert base is int, f"{base} is not a value type"
    low, high = _bounds(declared, "ge", "le")
    maximum = declared.mark(Maximum)
    if maximum is not None:
        high = maximum.value
    if low is not None and high is not None and high - low < SMALL_RANGE:
        return Simple("bits", low=low, high=high, width=(high - low).bit_length())
    return Simple("unsigned" if low is not None and low >= 0 else "integer", low=low, high=high)


def _bounds(declared: _Declared, low: str, high: str) -> tuple[int | None, int | None]:
    found: dict[str, int | None] = {low: None, high: None}
    for mark in declared.marks:
        if isinstance(mark, msgspec.Meta):
            for name in found:
                value = getattr(mark, name)
                found[name] = value if value is not None else found[name]
    return found[low], found[high]


def leaves(part: Part) -> list[type[Element]]:
    """Return the elements that a content model names, in document order, each once."""
    match part:
        case Seq(parts) | Alt(parts):
            found = [leaf for each in parts for leaf in leaves(each)]
        case Many() | Maybe():
            found = leaves(part.part)
        case type():
            found = [part]
        case _:
            found = []
    return list(dict.fromkeys(found))
