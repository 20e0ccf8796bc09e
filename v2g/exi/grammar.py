"""Event codes of documents and fragments: every name of a schema and its imports, sorted."""

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Final, cast

from v2g.errors import ExiEncodeError
from v2g.exi.bits import BitReader, ExiRefusal, put_string
from v2g.exi.declare import Element, Schema, namespace_of
from v2g.exi.model import Kind, QName, Simple, leaves, model_of, qname_of, simple_of

_UNSUPPORTED: Final = "an event that the type does not foresee, or a deviation that is not supported"


def fits(declaration: object) -> bool:
    """Return whether elements of a type consist of attributes and text, all of them strings."""
    if not (isinstance(declaration, type) and issubclass(declaration, Element)):
        return False
    model = model_of(declaration)
    events = [event for particle in model.particles for event in particle.events]
    return model.content is None and all(
        event.kind is not Kind.ELEMENT and isinstance(event.type, Simple) and event.type.kind == "string"
        for event in events
    )


class RelaxedPlan:
    """Decoder and encoder of elements of one type in the element fragment grammar of a schema."""

    def __init__(self, declaration: type[Element], schema: Schema, elements: int) -> None:
        """`elements` is the number of element names of the schema and its imports."""
        self.type: Final = declaration
        names = attribute_names(schema)
        particles = model_of(declaration).particles
        self._attributes: Final = {
            names.index(each.events[0].qname): (each.events[0].field, _text(each.events[0].type), each.least)
            for each in particles
            if each.events[0].kind is Kind.ATTRIBUTE
        }
        text = next(each.events[0] for each in particles if each.events[0].kind is Kind.TEXT)
        self._field, self._text = text.field, _text(text.type)
        # In this order: the attributes and AT(*), at the start only; the elements and SE(*), the end, text.
        self._before: Final = len(names) + 1
        self._content: Final = elements + 3

    def decode(self, reader: BitReader) -> Element:
        """Read an element after its start."""
        fields: dict[str, object] = {each: None for each, _, least in self._attributes.values() if not least}
        before, last = self._before, -1
        while True:
            code = reader.take((before + self._content).bit_length())
            if code < before:
                if code not in self._attributes or code <= last:
                    raise ExiRefusal(_UNSUPPORTED)
                field, simple, _ = self._attributes[code]
                fields[field] = reader.string(simple.shortest, simple.longest)
                last = code
            elif code - before == self._content - 2:
                if self._field not in fields and not self._text.shortest:
                    fields[self._field] = ""
                if len(fields) < len(self.type.__struct_fields__):
                    raise ExiRefusal(f"an element that is not {self.type.__name__}, the structure of this name")
                return self.type(**fields)
            elif code - before == self._content - 1 and self._field not in fields:
                fields[self._field] = reader.string(self._text.shortest, self._text.longest)
                before = 0
            else:
                raise ExiRefusal(_UNSUPPORTED)

    def encode(self, acc: int, element: object) -> int:
        """Append an element after its start."""
        if element.__class__ is not self.type:
            raise ExiRefusal(f"{type(element).__name__} where {self.type.__name__} is declared")
        width = (self._before + self._content).bit_length()
        for code, (field, simple, least) in sorted(self._attributes.items()):
            value = getattr(element, field)
            if value is not None or least:
                acc = put_string(acc << width | code, value, simple.longest, simple.shortest)
        value = getattr(element, self._field)
        acc = acc << width | self._before + self._content - 1
        acc = put_string(acc, value, self._text.longest, self._text.shortest)
        return acc << self._content.bit_length() | self._content - 2


def _text(declared: object) -> Simple:
    assert isinstance(declared, Simple)
    return declared


@cache
def attribute_names(schema: Schema) -> list[QName]:
    """Return the names of all attributes of a schema and its imports, sorted."""
    return sorted(
        {
            particle.events[0].qname
            for each in schema.closure()
            for declaration in each.types()
            for particle in model_of(declaration).particles
            if particle.events[0].kind is Kind.ATTRIBUTE
        }
    )


_Type = Simple | type[Element] | None


class Roots:
    """The possible first elements of a stream. The event code is the index; the next code is SE(*)."""

    def __init__(self, schema: Schema, types: dict[QName, set[_Type]], *, reserved: int) -> None:
        self._schema = schema
        self.names: Final = sorted(types)
        self.types: Final = types
        self.code: Final = {name: code for code, name in enumerate(self.names)}
        self.width: Final = (len(self.names) + reserved - 1).bit_length()
        """Width of an event code, bits."""
        self.end: Final = len(self.names) + 1
        """Code of the end of a fragment."""
        self.readers: Final[dict[QName, Callable[[BitReader], Element]]] = {}
        """Functions that read an element after its start, by its name; the codec adds them at their first use."""
        self._chosen: dict[tuple[type[Element], str | None], QName] = {}
        self._by_type: dict[_Type, list[QName]] = {}
        for name in self.names:
            for each in types[name]:
                self._by_type.setdefault(each, []).append(name)

    def names_of(self, declaration: type[Element], name: str | None = None) -> list[QName]:
        """Return the names of elements of a type, or only those equal to `name`."""
        names = self._by_type.get(declaration, [])
        if name is None:
            return names
        uri, _, local = name.rpartition("}")
        return [each for each in names if each.local == local and (not uri or each.uri == uri[1:])]

    def choose(self, declaration: type[Element], name: str | None) -> QName:
        """Return the name of a type: `name`, or the one equal to the class, or the only one. Raises ExiEncodeError.

        `name` is a local name or, if two namespaces have it, one in Clark notation: `{namespace}name`.
        """
        found = self._chosen.get((declaration, name))
        if found is None:
            found = self._chosen[declaration, name] = self._choose(declaration, name)
        return found

    def _choose(self, declaration: type[Element], name: str | None) -> QName:
        names = self.names_of(declaration, name)
        own = qname_of(declaration)
        names = [own] if own in names else names
        if len(names) != 1:
            ambiguous = len({each.local for each in names}) < len(names)
            found = " or ".join(f"{{{each.uri}}}{each.local}" if ambiguous else each.local for each in names)
            found = found or "no element"
            raise ExiEncodeError(f"{declaration.__name__} stands for {found} here", hint="Give the element's name.")
        if self.structure_of(names[0]) is None:
            raise ExiEncodeError(f"{names[0].local} is abstract, or declared with several types")
        return names[0]

    def type_of(self, name: QName) -> _Type:
        """Return the type of a name; None if it is abstract or declared with several types."""
        types = self.types[name]
        return next(iter(types)) if len(types) == 1 else None

    def structure_of(self, name: QName) -> type[Element] | None:
        """Return the structure of a name; None if it is abstract, a simple value, or one of several."""
        found = self.relaxed[name].type if name in self.relaxed else self.type_of(name)
        return found if isinstance(found, type) else None

    @cached_property
    def relaxed(self) -> Mapping[QName, RelaxedPlan]:
        """Names with several types, one of them a structure, whose elements have a separate grammar."""
        found: dict[QName, RelaxedPlan] = {}
        for name, types in self.types.items():
            structures = [each for each in types if isinstance(each, type)]
            if len(types) > 1 and len(structures) == 1 and fits(structures[0]):
                found[name] = RelaxedPlan(structures[0], self._schema, len(self.names))
        return found


@cache
def document(schema: Schema) -> Roots:
    """Return the document grammar: the global elements of all schemas, and SE(*) (EXI 8.5.1)."""
    return Roots(schema, _globals(schema), reserved=1)


@cache
def fragment(schema: Schema) -> Roots:
    """Return the fragment grammar: all element names, global or local, SE(*) and the end (EXI 8.5.2)."""
    types = _globals(schema)
    for each in schema.closure():
        for declaration in each.types():
            model = model_of(declaration)
            for particle in model.particles:
                for event in particle.events:
                    if event.kind is Kind.ELEMENT and event.type is not None:
                        types.setdefault(event.qname, set()).add(_concrete(event.type))
            if model.content is not None:
                for leaf in leaves(model.content.model):
                    types.setdefault(qname_of(leaf), set()).add(leaf)
    return Roots(schema, types, reserved=2)


def _globals(schema: Schema) -> dict[QName, set[_Type]]:
    types: dict[QName, set[_Type]] = {}
    for each in schema.closure():
        for name, declaration in each.elements().items():
            is_structure = isinstance(declaration, type) and issubclass(declaration, Element)
            uri = namespace_of(cast(type, declaration)).uri if is_structure else each.uri
            types.setdefault(QName(name, uri), {_type(declaration)})  # a variant comes before its original
    return types


def _type(declaration: object) -> _Type:
    if isinstance(declaration, type) and issubclass(declaration, Element):
        return _concrete(declaration)
    return simple_of(declaration)


def _concrete(declaration: _Type) -> _Type:
    """Return None for an abstract type, which no element can have directly."""
    return None if isinstance(declaration, type) and declaration.__dict__.get("abstract", False) else declaration


def root_name(declaration: type[Element], schema: Schema, name: str | None) -> QName:
    """Return the name of a single element of a type: global if possible, otherwise local.

    Raises ExiEncodeError if there is none, or more than one and `name` does not choose.
    """
    roots = document(schema)
    if not roots.names_of(declaration, name):
        roots = fragment(schema)
    return roots.choose(declaration, name)


def root_type(name: QName, schema: Schema) -> type[Element]:
    """Return the complex type of a global or local element. Raises ExiEncodeError if there is none, or several."""
    roots = fragment(schema)
    found = roots.structure_of(name) if name in roots.types else None
    if found is None:
        raise ExiEncodeError(f"{name.local} names no structure of {schema.uri}")
    return found


def root_type_of_local(local: str, schema: Schema) -> type[Element]:
    """Return the complex type of a global or local element by its local name, whatever its namespace."""
    for roots in (document(schema), fragment(schema)):
        types = {roots.structure_of(name) for name in roots.names if name.local == local}
        if len(types) == 1 and (found := types.pop()) is not None:
            return found
    raise ExiEncodeError(f"{local} does not name exactly one structure of {schema.uri}")
