"""Event codes of documents and fragments: every name of a schema and its imports, sorted."""

from functools import cache
from typing import Final

from v2g.errors import ExiEncodeError
from v2g.exi.declare import Element, Schema
from v2g.exi.model import Kind, QName, Simple, leaves, model_of, qname_of, simple_of

__all__ = ["Roots", "document", "fragment", "root_name", "root_type", "root_type_of_local"]

_Type = Simple | type[Element] | None


class Roots:
    """The elements that a stream may begin with. The event code is the index; one more is SE(*)."""

    def __init__(self, types: dict[QName, set[_Type]], *, reserved: int) -> None:
        self.names: Final = sorted(types)
        self.types: Final = types
        self.code: Final = {name: code for code, name in enumerate(self.names)}
        self.width: Final = (len(self.names) + reserved - 1).bit_length()
        """Bits of an event code."""
        self.end: Final = len(self.names) + 1
        """Code of the end of a fragment."""
        self._by_type: dict[_Type, list[QName]] = {}
        for name in self.names:
            for each in types[name]:
                self._by_type.setdefault(each, []).append(name)

    def names_of(self, declaration: type[Element]) -> list[QName]:
        """Return the names that elements of a type have."""
        return self._by_type.get(declaration, [])

    def choose(self, declaration: type[Element], name: str | None) -> QName:
        """Return the name of a type: `name`, or the one like the class, or the only one. Raises ExiEncodeError."""
        names = [each for each in self.names_of(declaration) if name is None or each.local == name]
        own = qname_of(declaration)
        names = [own] if own in names else names
        if len(names) != 1:
            found = " or ".join(each.local for each in names) or "no element"
            raise ExiEncodeError(f"{declaration.__name__} stands for {found} here", hint="Give the element's name.")
        if self.type_of(names[0]) is None:
            raise ExiEncodeError(f"{names[0].local} is abstract, or declared with several types")
        return names[0]

    def type_of(self, name: QName) -> _Type:
        """Return the type of a name; None if it is abstract or declared with several types."""
        types = self.types[name]
        return next(iter(types)) if len(types) == 1 else None


@cache
def document(schema: Schema) -> Roots:
    """Return the document grammar: the global elements of all schemas, and SE(*) (EXI 8.5.1)."""
    return Roots(_globals(schema), reserved=1)


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
    return Roots(types, reserved=2)


def _globals(schema: Schema) -> dict[QName, set[_Type]]:
    types: dict[QName, set[_Type]] = {}
    for each in schema.closure():
        for name, declaration in each.elements().items():
            types[QName(name, each.uri)] = {_type(declaration)}
    return types


def _type(declaration: object) -> _Type:
    if isinstance(declaration, type) and issubclass(declaration, Element):
        return _concrete(declaration)
    return simple_of(declaration)


def _concrete(declaration: _Type) -> _Type:
    """Return None for an abstract type, which no element can have by itself."""
    return None if isinstance(declaration, type) and model_of(declaration).abstract else declaration


def root_name(declaration: type[Element], schema: Schema, name: str | None) -> QName:
    """Return the name under which an element of a type stands alone: global if possible, otherwise local.

    Raises ExiEncodeError when there is none, or more than one and `name` does not choose.
    """
    roots = document(schema)
    return (
        roots.choose(declaration, name) if roots.names_of(declaration) else fragment(schema).choose(declaration, name)
    )


def root_type(name: QName, schema: Schema) -> type[Element]:
    """Return the complex type of a global or local element. Raises ExiEncodeError when there is none, or several."""
    roots = fragment(schema)
    found = roots.type_of(name) if name in roots.types else None
    if found is None or isinstance(found, Simple):
        raise ExiEncodeError(f"{name.local} names no structure of {schema.uri}")
    return found


def root_type_of_local(local: str, schema: Schema) -> type[Element]:
    """Return the complex type of a global or local element by its local name, whatever its namespace."""
    for roots in (document(schema), fragment(schema)):
        types = {roots.type_of(name) for name in roots.names if name.local == local}
        if len(types) == 1 and isinstance(found := types.pop(), type):
            return found
    raise ExiEncodeError(f"{local} names no structure of {schema.uri}, or several")
