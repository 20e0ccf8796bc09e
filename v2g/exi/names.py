"""String tables for the names of undeclared elements (EXI 7.3): only wildcards use them."""

from functools import cache
from typing import Final

from v2g.exi.declare import Schema
from v2g.exi.model import Kind, model_of

__all__ = ["Names"]

_BUILT_IN: Final = (
    "",
    "http://www.w3.org/XML/1998/namespace",
    "http://www.w3.org/2001/XMLSchema-instance",
    "http://www.w3.org/2001/XMLSchema",
)


class Names:
    """Namespaces and local names seen so far in one stream.

    Initially it holds the built-in namespaces and those of the schemas. Local names of schema namespaces are not
    held, since wildcards here take undeclared elements only; those without a namespace are.
    """

    __slots__ = ("_closed", "locals", "uris")

    def __init__(self, schema: Schema) -> None:
        closure = schema.closure()
        self.uris = [*_BUILT_IN, *sorted(each.uri for each in closure)]
        self._closed: Final = frozenset(self.uris[1:])
        self.locals: dict[str, list[str]] = {uri: [] for uri in self.uris}
        self.locals[""] = list(_names_without_namespace(schema))

    def is_closed(self, uri: str) -> bool:
        """Whether the namespace is one of a schema, whose names are not kept here."""
        return uri in self._closed

    def add_uri(self, uri: str) -> None:
        """Remember a namespace."""
        self.uris.append(uri)
        self.locals[uri] = []

    def add_local(self, uri: str, name: str) -> None:
        """Remember a local name."""
        self.locals[uri].append(name)


@cache
def _names_without_namespace(schema: Schema) -> tuple[str, ...]:
    """Return the declared names that have no namespace, sorted."""
    return tuple(
        sorted(
            {
                event.qname.local
                for each in schema.closure()
                for declaration in each.types()
                for particle in model_of(declaration).particles
                for event in particle.events
                if event.kind is not Kind.TEXT and not event.qname.uri
            }
        )
    )
