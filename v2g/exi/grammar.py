"""Event codes of documents and fragments: every name of a schema and its imports, sorted."""

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Final, cast

from v2g.errors import ExiEncodeError
from v2g.exi.bits import BitReader
from v2g.exi.declare import Element, Schema, namespace_of
from v2g.exi.model import Kind, QName, Simple, leaves, model_of, qname_of, simple_of
from v2g.exi.relaxed import RelaxedPlan, fits

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
