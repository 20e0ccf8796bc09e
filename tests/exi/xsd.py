"""Reads schema files into the terms in which declarations are compared with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lxml import etree

XS = "{http://www.w3.org/2001/XMLSchema}"

INTEGERS = {
    "byte": (-(2**7), 2**7 - 1),
    "short": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "long": (-(2**63), 2**63 - 1),
    "unsignedByte": (0, 2**8 - 1),
    "unsignedShort": (0, 2**16 - 1),
    "unsignedInt": (0, 2**32 - 1),
    "unsignedLong": (0, 2**64 - 1),
    "integer": (None, None),
}


@dataclass(frozen=True)
class Value:
    """A simple type: what kind of value, its range or length, its words."""

    kind: str
    low: int | None = None
    high: int | None = None
    words: tuple[str, ...] = ()


@dataclass
class Complex:
    """A complex type, extension included."""

    name: str
    abstract: bool
    mixed: bool
    attributes: list[tuple[tuple[str, str], Value, bool]] = field(default_factory=list)
    """Qualified name (local, namespace), type, whether required."""
    content: Any = None
    """None, ("text", Value) or a particle; see `Files.particle`."""


@dataclass(frozen=True)
class Name:
    """A qualified name in a schema file, resolved."""

    uri: str
    local: str


class Files:
    """All schema files that one refers to. `renamed` holds classes that are not called as their types, by namespace."""

    def __init__(self, path: Path, renamed: Mapping[str, Mapping[str, str]] = MappingProxyType({})) -> None:
        self.roots: dict[str, Any] = {}
        self._renamed = renamed
        self._load(path)

    def _load(self, path: Path) -> None:
        root = etree.parse(path).getroot()
        self.roots[root.get("targetNamespace")] = root
        for found in root.iterfind(f"{XS}import"):
            if found.get("namespace") not in self.roots:
                self._load(path.parent / found.get("schemaLocation"))

    def resolve(self, node: Any, text: str) -> Name:
        """Resolve a prefixed name where it stands."""
        prefix, _, local = text.rpartition(":")
        return Name(node.nsmap[prefix or None], local)

    def find(self, tag: str, name: Name) -> Any:
        """Return a top-level declaration."""
        return self.roots[name.uri].find(f"{XS}{tag}[@name='{name.local}']")

    def owner(self, node: Any) -> Any:
        """Return the schema element around a node."""
        return node.getroottree().getroot()

    def globals(self) -> dict[tuple[str, str], Any]:
        """Return all global elements by (local, namespace)."""
        return {
            (node.get("name"), uri): node for uri, root in self.roots.items() for node in root.iterfind(f"{XS}element")
        }

    def complex_types(self, uri: str) -> dict[str, Any]:
        """Return the named complex types of a namespace, and anonymous ones by their element's name."""
        root = self.roots[uri]
        found = {self.class_name(uri, node.get("name")): node for node in root.iterfind(f"{XS}complexType")}
        for node in root.iter(f"{XS}element"):
            inner = node.find(f"{XS}complexType")
            if inner is not None:
                found[self.class_name(uri, node.get("name"))] = inner
        return found

    def class_name(self, uri: str, name: str) -> str:
        """Return what the class of a type, or of an element with a type of its own, is called."""
        name = name.removesuffix("Type")
        name = name[0].upper() + name[1:]
        return self._renamed.get(uri, {}).get(name, name)

    def complex(self, name: str, node: Any) -> Complex:
        """Read a complex type with everything that it inherits."""
        result = Complex(name, node.get("abstract") == "true", node.get("mixed") == "true")
        simple = node.find(f"{XS}simpleContent/{XS}extension")
        extension = node.find(f"{XS}complexContent/{XS}extension")
        body = node
        parts = []
        if simple is not None:
            result.content = ("text", self.value(simple, simple.get("base")))
            body = simple
        elif extension is not None:
            base = self.resolve(extension, extension.get("base"))
            inherited = self.complex(base.local, self.find("complexType", base))
            result.attributes += inherited.attributes
            parts.append(inherited.content)
            body = extension
        result.attributes += [self._attribute(each) for each in body.iterfind(f"{XS}attribute")]
        for tag in ("sequence", "choice"):
            found = body.find(f"{XS}{tag}")
            if found is not None:
                parts.append(self.particle(found))
        parts = [part for part in parts if part not in (None, ("seq", ()))]
        if simple is None and parts:
            result.content = parts[0] if len(parts) == 1 else join(parts)
        return result

    def _attribute(self, node: Any) -> tuple[tuple[str, str], Value, bool]:
        schema = self.owner(node)
        uri = schema.get("targetNamespace") if schema.get("attributeFormDefault") == "qualified" else ""
        return (node.get("name"), uri), self.value(node, node.get("type")), node.get("use") == "required"

    def particle(self, node: Any) -> Any:
        """Return ("many", least, most, part), ("seq"|"alt", parts), ("any", namespace) or ("element", events)."""
        match node.tag.removeprefix(XS):
            case "element":
                part: Any = ("element", tuple(self.events(node)))
            case "any":
                part = ("any", node.get("namespace", "##any"))
            case "sequence":
                part = join([self.particle(child) for child in node if isinstance(child.tag, str)])
            case "choice":
                parts = tuple(self.particle(child) for child in node if isinstance(child.tag, str))
                part = parts[0] if len(parts) == 1 else ("alt", parts)
        least, most = int(node.get("minOccurs", "1")), node.get("maxOccurs", "1")
        if (least, most) == (1, "1"):
            return part
        return ("many", least, None if most == "unbounded" else int(most), part)

    def events(self, node: Any) -> list[tuple[tuple[str, str], Any]]:
        """Return the names and types that may stand for an element: itself, or a substitution group, sorted."""
        if node.get("ref") is None:
            schema = self.owner(node)
            top = node.getparent() is schema
            qualified = top or schema.get("elementFormDefault") == "qualified"
            uri = schema.get("targetNamespace") if qualified else ""
            return [((node.get("name"), uri), self.type(node))]
        head = self.resolve(node, node.get("ref"))
        members = [((head.local, head.uri), self.type(self.find("element", head)))]
        queue = [head]
        for each in queue:
            for key, candidate in self.globals().items():
                group = candidate.get("substitutionGroup")
                if group and self.resolve(candidate, group) == each:
                    members.append((key, self.type(candidate)))
                    queue.append(Name(key[1], key[0]))
        return sorted(members, key=lambda member: member[0])

    def type(self, node: Any) -> Any:
        """Return the type of an element: a Value, or the name of a complex type as a class would be called."""
        named = node.get("type")
        if named is None:
            simple = node.find(f"{XS}simpleType/{XS}restriction")
            if simple is not None:
                return self._restricted(simple)
            return self.class_name(self.owner(node).get("targetNamespace"), node.get("name"))
        resolved = self.resolve(node, named)
        if resolved.uri in self.roots and self.find("complexType", resolved) is not None:
            return self.class_name(resolved.uri, resolved.local)
        return self.value(node, named)

    def type_name(self, node: Any) -> Any:
        """Return what identifies the type of an element; anonymous types are identified by their element."""
        return self.resolve(node, node.get("type")) if node.get("type") else node

    def value(self, node: Any, text: str) -> Value:
        """Return a simple type with its facets."""
        name = self.resolve(node, text)
        if name.uri not in self.roots:
            return _built_in(name.local)
        return self._restricted(self.find("simpleType", name).find(f"{XS}restriction"))

    def _restricted(self, restriction: Any) -> Value:
        base = self.value(restriction, restriction.get("base"))
        low, high, words = base.low, base.high, base.words
        for facet in restriction:
            if not isinstance(facet.tag, str):
                continue
            number = facet.get("value")
            match facet.tag.removeprefix(XS):
                case "minInclusive" | "minLength":
                    low = int(number)
                case "maxInclusive" | "maxLength":
                    high = int(number)
                case "length":
                    low = high = int(number)
                case "enumeration":
                    words = (*words, number)
                case other:
                    raise AssertionError(other)
        return Value("enumeration" if words else base.kind, low, high, words)


def join(parts: list[Any]) -> Any:
    """Return parts one after the other, without needless nesting."""
    flat: list[Any] = []
    for part in parts:
        flat += part[1] if part[0] == "seq" else [part]
    return flat[0] if len(flat) == 1 else ("seq", tuple(flat))


def _built_in(name: str) -> Value:
    if name in INTEGERS:
        return Value("integer", *INTEGERS[name])
    kinds = {
        **dict.fromkeys(("string", "anyURI", "ID", "IDREF"), "string"),
        "base64Binary": "base64",
        "hexBinary": "hex",
    }
    return Value({**kinds, "boolean": "boolean"}[name], None if name == "boolean" else 0)
