"""String tables for the names of undeclared elements (EXI 7.3): only wildcards use them."""

from collections.abc import Iterable
from functools import cache
from typing import Final

from v2g.exi.declare import Schema
from v2g.exi.model import Kind, QName, model_of

_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_XSD: Final = "http://www.w3.org/2001/XMLSchema"

XSI_TYPE: Final = QName("type", _XSI)
XSD_ANY_TYPE: Final = QName("anyType", _XSD)

_BUILT_IN: Final = {
    "": "",
    "http://www.w3.org/XML/1998/namespace": "base id lang space",
    _XSI: "nil type",
    _XSD: "ENTITIES ENTITY ID IDREF IDREFS NCName NMTOKEN NMTOKENS NOTATION Name QName anySimpleType anyType anyURI"
    " base64Binary boolean byte date dateTime decimal double duration float gDay gMonth gMonthDay gYear gYearMonth"
    " hexBinary int integer language long negativeInteger nonNegativeInteger nonPositiveInteger normalizedString"
    " positiveInteger short string time token unsignedByte unsignedInt unsignedLong unsignedShort",
}
"""Initial entries of the string tables (EXI appendix D)."""


class NameTable:
    """Entries in the order of their addition, and their positions."""

    __slots__ = ("_places", "entries")

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self.entries = list(entries)
        self._places = {entry: place for place, entry in enumerate(self.entries)}

    def __contains__(self, entry: str) -> bool:
        return entry in self._places

    def add(self, entry: str) -> None:
        """Append an entry. A repeated one gets a second position, which encoders do not use."""
        self._places.setdefault(entry, len(self.entries))
        self.entries.append(entry)

    def place(self, entry: str) -> int:
        """Return the position of an entry."""
        return self._places[entry]


class Names:
    """Namespaces and local names seen so far in one stream.

    Initially it has the built-in entries, the namespaces of the schemas, and the declared names without a
    namespace. Declared names of schema namespaces are omitted: wildcards here accept undeclared elements only.
    """

    __slots__ = ("_closed", "locals", "typed", "uris")

    def __init__(self, schema: Schema) -> None:
        uris = [*_BUILT_IN, *sorted(each.uri for each in schema.closure())]
        self.uris: Final = NameTable(uris)
        self._closed: Final = frozenset(uris[1:])
        self.locals: Final = {uri: NameTable(_BUILT_IN.get(uri, "").split()) for uri in uris}
        self.locals[""] = NameTable(_names_without_namespace(schema))
        self.typed: Final[set[QName]] = set()
        """Undeclared elements that have had an xsi:type: their built-in grammars have learned it (EXI 8.4.3)."""

    def is_closed(self, uri: str) -> bool:
        """Whether the namespace is built in or one of a schema, so that no undeclared element is in it."""
        return uri in self._closed

    def add_uri(self, uri: str) -> None:
        """Add a namespace."""
        self.uris.add(uri)
        self.locals[uri] = NameTable()

    def add_local(self, uri: str, name: str) -> None:
        """Add a local name."""
        self.locals[uri].add(name)


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
