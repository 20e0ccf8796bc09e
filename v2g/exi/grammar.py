"""Event codes of documents and fragments: every name of a schema and its imports, sorted."""

from functools import cache
from typing import Final

from v2g.exi.declare import Element, Schema
from v2g.exi.model import Kind, QName, Simple, leaves, model_of, qname_of, simple_of

__all__ = ["Roots", "document", "fragment"]

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
        """Return the names that elements of a type have; one that is spelled like the class alone, if there is one."""
        found = self._by_type.get(declaration, [])
        own = qname_of(declaration)
        return [own] if own in found else found

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
                        types.setdefault(event.qname, set()).add(event.type)
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
        return None if model_of(declaration).abstract else declaration
    return simple_of(declaration)
