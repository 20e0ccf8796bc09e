"""The vocabulary of message declarations.

A complex type of a schema is one frozen `Element` struct. Its fields are in schema order, have the wire name in
`name=` if it does not follow from theirs (`wire_name`), and all other properties in their annotation:

=============================================  ===================================================================
annotation                                      schema
=============================================  ===================================================================
`X`                                             one element of type X
`X | None`, default None                        minOccurs="0"
`Annotated[tuple[X, ...], Meta(max_length=3)]`  a repeated element; `min_length` unless minOccurs="0"
`Annotated[X | None, Choice("mode")]`           one branch of xs:choice; neighbours with an equal `Choice`
`Annotated[X, Ref(X)]`                          xs:element ref=: the element keeps the namespace of X
`A | B`                                         a substitution group: its concrete members, tagged with their names
`Annotated[str, ATTRIBUTE]`                     an attribute
`Annotated[bytes, TEXT]`                        simple content
`Annotated[tuple[...], Content(...)]`           mixed content, wildcards, repeated choices: kept in document order
=============================================  ===================================================================

Inheritance is xs:extension. A class belongs to the schema of its module (`SCHEMA`), whose global elements are the
module's `ELEMENTS`. Constructors do not validate; encoders do.

Where a schema adds members to the substitution groups of one that it imports, messages of that one have other event
codes. Such a variant is a class of the adding schema; its class variable `namespace` is the original schema.
"""

import sys
from collections.abc import Mapping
from enum import Enum
from importlib import import_module
from typing import Annotated, Final, TypeAlias, cast

import msgspec
from msgspec import Meta

_ACRONYMS: Final = frozenset(
    {
        *("bssid", "cl", "cp", "cpd", "cps", "dc", "der", "dh"),
        *("dso", "ecdh", "ev", "evcc", "evpc", "evse", "frt", "id"),
        *("ieee1547", "j3072", "oem", "pd", "pt1", "rcd", "ress", "rssi"),
        *("sa", "sd", "secc", "soc", "spc", "ssid", "uri", "v2x", "vas", "wlan"),
    }
)
_SPELLED: Final = {"ids": "IDs", "l2": "_L2", "l3": "_L3"}
_NAMELESS: Final = ("content", "value")


def wire_name(field: str) -> str:
    """Return the wire name of a field that has no explicit one: `ev_maximum_power_l2` is EVMaximumPower_L2."""
    if field in _NAMELESS:  # an element's content has no name
        return field
    words = field.split("_")
    return "".join(_SPELLED.get(word) or (word.upper() if word in _ACRONYMS else word.capitalize()) for word in words)


class Element(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
    rename=wire_name,
):
    """Base of every declared complex type. Messages are trees, so garbage collection of cycles is off."""


class Marker(Enum):
    """Kind of a field that is not a child element."""

    ATTRIBUTE = "attribute"
    TEXT = "text"
    HEX = "hex"


ATTRIBUTE: Final = Marker.ATTRIBUTE
"""The field is an attribute."""

TEXT: Final = Marker.TEXT
"""The field is the element's character content (xs:simpleContent)."""

HEX: Final = Marker.HEX
"""The bytes are written in hexadecimal in XML (xs:hexBinary) instead of base64."""


class Choice(msgspec.Struct, frozen=True):
    """Neighbouring fields with an equal `Choice` are branches: exactly one is set, or at most one if not `required`."""

    name: str
    required: bool = True


class Ref(msgspec.Struct, frozen=True):
    """The field refers to a global element, which lives in the namespace of `element` (a struct class)."""

    element: type


class Maximum(msgspec.Struct, frozen=True):
    """Upper bound beyond 63 bits, where `Meta(le=...)` cannot go."""

    value: int


Byte: TypeAlias = Annotated[int, Meta(ge=-128, le=127)]
Short: TypeAlias = Annotated[int, Meta(ge=-(2**15), le=2**15 - 1)]
Int: TypeAlias = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Long: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
UnsignedByte: TypeAlias = Annotated[int, Meta(ge=0, le=2**8 - 1)]
UnsignedShort: TypeAlias = Annotated[int, Meta(ge=0, le=2**16 - 1)]
UnsignedInt: TypeAlias = Annotated[int, Meta(ge=0, le=2**32 - 1)]
UnsignedLong: TypeAlias = Annotated[int, Meta(ge=0), Maximum(2**64 - 1)]


class Wildcard(Enum):
    """xs:any: an element that is not in the schema."""

    ANY = "##any"
    OTHER = "##other"


ANY: Final = Wildcard.ANY
OTHER: Final = Wildcard.OTHER


class Seq(msgspec.Struct, frozen=True):
    """The parts in sequence."""

    parts: tuple["Part", ...]


class Alt(msgspec.Struct, frozen=True):
    """One of the parts."""

    parts: tuple["Part", ...]


class Many(msgspec.Struct, frozen=True):
    """The part `least` (0 or 1) or more times, without an upper bound."""

    part: "Part"
    least: int = 0


class Maybe(msgspec.Struct, frozen=True):
    """The part once or not at all."""

    part: "Part"


Part: TypeAlias = Seq | Alt | Many | Maybe | Wildcard | type
"""A content model: an element is its struct class, which has the element's name."""


class Content(msgspec.Struct, frozen=True):
    """The field has the element's whole content in document order; `mixed` allows text (`str`) between elements."""

    model: Part
    mixed: bool = False


class AnyAttribute(Element, frozen=True, kw_only=True, rename={}):
    """An attribute of an undeclared element."""

    namespace: str = ""
    name: str
    value: str


class AnyElement(Element, frozen=True, kw_only=True, tag="*", rename={}):
    """An undeclared element, where a wildcard allows one."""

    namespace: str = ""
    name: str
    attributes: tuple[AnyAttribute, ...] = ()
    content: tuple["str | AnyElement", ...] = ()


class Schema(msgspec.Struct, frozen=True, eq=False):
    """One target namespace: its modules of declarations and its imports. Modules are loaded at first use."""

    uri: str
    """Target namespace."""
    prefix: str
    """Prefix in XML output."""
    modules: tuple[str, ...]
    """Modules with the declarations, by full name."""
    imports: tuple["Schema", ...] = ()
    qualified_elements: bool = True
    """elementFormDefault: local elements are in the target namespace."""
    qualified_attributes: bool = True
    """attributeFormDefault: local attributes are in the target namespace."""
    payload_type: int | None = None
    """V2GTP payload type of documents of this namespace, if it is a message set."""

    def elements(self) -> Mapping[str, object]:
        """Return the global elements: name to struct class or annotated simple type."""
        found: dict[str, object] = {}
        for module in self.modules:
            found.update(cast(Mapping[str, object], import_module(module).ELEMENTS))
        return found

    def types(self) -> list[type[Element]]:
        """Return every complex type of the namespace, used or not."""
        found: list[type[Element]] = []
        for module in self.modules:
            found += [
                value
                for value in vars(import_module(module)).values()
                if isinstance(value, type) and issubclass(value, Element) and value.__module__ == module
            ]
        return found

    def enumerations(self) -> list[type[Enum]]:
        """Return every enumeration that its modules declare, or share with those of other editions."""
        kinds = [
            (module, kind)
            for module in self.modules
            for kind in vars(import_module(module)).values()
            if isinstance(kind, type) and issubclass(kind, Enum) and kind is not Enum
        ]
        return [kind for module, kind in kinds if kind.__module__ == module or is_shared(kind)]

    def closure(self) -> list["Schema"]:
        """Return this schema and everything that it imports, directly or indirectly, each once."""
        found: list[Schema] = [self]
        for schema in found:  # grows while it is walked
            found.extend(each for each in schema.imports if each not in found)
        return found


def is_shared(kind: type[Enum]) -> bool:
    """Return whether an enumeration is declared outside of any schema: editions share it."""
    return not hasattr(sys.modules[kind.__module__], "SCHEMA")


def global_elements(module: str, *others: type[Element]) -> Mapping[str, type[Element]]:
    """Return a module's classes that are global elements: messages (Req, Res), members of substitution groups, others.

    To be called at the end of the module, with its `__name__`.
    """
    own = [each for each in vars(sys.modules[module]).values() if isinstance(each, type) and each.__module__ == module]
    return {
        each.__name__: each
        for each in own
        if issubclass(each, Element)
        and (each in others or each.__struct_config__.tag is not None or each.__name__.endswith(("Req", "Res")))
    }


def schema_of(declaration: type) -> Schema:
    """Return the schema that a declared class belongs to."""
    schema: Schema = sys.modules[declaration.__module__].SCHEMA
    return schema


def namespace_of(declaration: type) -> Schema:
    """Return the schema whose namespace a declared class is in: its `namespace`, or the schema that it belongs to."""
    variant_of: Schema | None = declaration.__dict__.get("namespace")
    return variant_of or schema_of(declaration)
