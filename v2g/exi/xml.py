"""Messages as XML text, for display, logs and tests. XML is never transmitted."""

import base64
import binascii
import re
from enum import Enum
from typing import Final
from xml.etree import ElementTree

from v2g.errors import ExiEncodeError
from v2g.exi.declare import AnyAttribute, AnyElement, Element, Schema, schema_of
from v2g.exi.grammar import root_name, root_type
from v2g.exi.model import Event, Kind, Particle, QName, Simple, leaves, model_of, qname_of
from v2g.typed_json import Fields

_INDENT: Final = "  "
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_xml(element: Element, *, schema: Schema | None = None, name: str | None = None) -> str:
    """Return an element as indented XML with all prefixes declared at its root.

    `schema` and `name` are needed only where `encode_fragment` needs them. Characters not allowed in XML are shown
    as U+FFFD. Raises ExiEncodeError if the element has no name in the schema.
    """
    schema = schema or schema_of(type(element))
    root = root_name(type(element), schema, name)
    writer = _XmlWriter(schema)
    lines = writer.element(root, element, "")
    declared = "".join(f" xmlns:{prefix}={_quote(uri)}" for uri, prefix in sorted(writer.prefixes.items()))
    head = f"<{writer.tag(root)}"
    return head + declared + lines.removeprefix(head)


class _XmlWriter:
    def __init__(self, schema: Schema) -> None:
        self._known = {each.uri: each.prefix for each in schema.closure()}
        self.prefixes: dict[str, str] = {}
        """Prefixes in use, by namespace."""

    def tag(self, name: QName) -> str:
        if not name.uri:
            return name.local
        if name.uri not in self.prefixes:
            self.prefixes[name.uri] = self._known.get(name.uri, f"n{len(self.prefixes)}")
        return f"{self.prefixes[name.uri]}:{name.local}"

    def element(self, name: QName, element: Element, indent: str | None) -> str:
        """Return an element without a line break before or after it, and inside neither if `indent` is None."""
        model = model_of(type(element))
        tag = self.tag(name)
        attributes, children, text = "", [], ""
        for particle in model.particles:
            for event, value in _values(particle.events, element, repeated=particle.repeated):
                if event.kind is Kind.ATTRIBUTE:
                    attributes += f" {self.tag(event.qname)}={_quote(_text(event.type, value))}"
                elif event.kind is Kind.TEXT:
                    text = _escape(_text(event.type, value))
                else:
                    children.append(self._child(event, value, None if indent is None else indent + _INDENT))
        if model.content is not None:
            text = "".join(self._item(item) for item in getattr(element, model.content_field))
        if children:
            if indent is None:
                return f"<{tag}{attributes}>{''.join(children)}</{tag}>"
            inner = "".join(f"\n{indent}{_INDENT}{each}" for each in children)
            return f"<{tag}{attributes}>{inner}\n{indent}</{tag}>"
        return f"<{tag}{attributes}>{text}</{tag}>" if text else f"<{tag}{attributes}/>"

    def _child(self, event: Event, value: object, indent: str | None) -> str:
        if isinstance(value, Element):
            return self.element(event.qname, value, indent)
        tag, text = self.tag(event.qname), _escape(_text(event.type, value))
        return f"<{tag}>{text}</{tag}>" if text else f"<{tag}/>"

    def _item(self, item: str | Element) -> str:
        """Return one item of mixed content, where white space is significant."""
        if isinstance(item, str):
            return _escape(_printable(item))
        if not isinstance(item, AnyElement):
            return self.element(qname_of(type(item)), item, None)
        tag = self.tag(QName(item.name, item.namespace))
        attributes = "".join(
            f" {self.tag(QName(each.name, each.namespace))}={_quote(_printable(each.value))}"
            for each in item.attributes
        )
        inner = "".join(self._item(each) for each in item.content)
        return f"<{tag}{attributes}>{inner}</{tag}>" if inner else f"<{tag}{attributes}/>"


def _values(events: tuple[Event, ...], element: Element, *, repeated: bool) -> list[tuple[Event, object]]:
    """Return the set values of a particle, each with its event."""
    found: list[tuple[Event, object]] = []
    by_class = len({event.field for event in events}) < len(events)
    for field in dict.fromkeys(event.field for event in events):
        value = getattr(element, field)
        for item in value if repeated else () if value is None else (value,):
            event = next(each for each in events if (each.type is type(item) if by_class else each.field == field))
            found.append((event, item))
    return found


def _escape(text: str) -> str:
    """Return text as XML character data."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def _quote(text: str) -> str:
    """Return text as a quoted XML attribute value."""
    escaped = _escape(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
    return f'"{escaped}"'


def _text(simple: Simple | type[Element] | None, value: object) -> str:
    if isinstance(value, bytes):
        hexadecimal = isinstance(simple, Simple) and simple.hexadecimal
        return value.hex().upper() if hexadecimal else base64.b64encode(value).decode("ascii")
    if isinstance(value, bool):
        return "true" if value else "false"
    return _printable(str(value.value if isinstance(value, Enum) else value))


def _printable(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def from_xml(text: str, schema: Schema) -> Element:
    """Return the element described by XML; its root is a global or local element of the schema or its imports.

    Rejects document types, so that no entity is ever expanded. Raises ExiEncodeError with the element path.
    """
    if "<!" in text:
        raise ExiEncodeError("a document type, a comment or CDATA, which are not supported")
    try:
        node = ElementTree.fromstring(text)  # noqa: S314 - no document type, hence no entities
    except ElementTree.ParseError as error:
        raise ExiEncodeError(f"not well-formed XML: {error}") from error
    name = _qname(node.tag)
    return _element(node, root_type(name, schema), name.local)


def _qname(tag: str) -> QName:
    uri, _, local = tag.rpartition("}")
    return QName(local, uri.removeprefix("{"))


def _element(node: ElementTree.Element, declaration: type[Element], path: str) -> Element:
    model = model_of(declaration)
    fields: dict[str, object] = {}
    attributes = {_qname(key): value for key, value in node.attrib.items()}
    events = {event.qname: (event, particle) for particle in model.particles for event in particle.events}
    for key, value in attributes.items():
        event, _ = events.get(key, (None, None))
        if event is None or event.kind is not Kind.ATTRIBUTE:
            raise ExiEncodeError(f"attribute {key.local} is not declared", path=path)
        fields[event.field] = _value(event.type, value, f"{path}/@{key.local}")
    if model.content is not None:
        # mixed content in document order
        assert model.content is not None
        declared = {qname_of(leaf): leaf for leaf in leaves(model.content.model)}
        items: list[str | Element] = [node.text] if node.text and model.content.mixed else []
        for child in node:
            name = _qname(child.tag)
            leaf = declared.get(name)
            items.append(_any(child) if leaf is None else _element(child, leaf, f"{path}/{name.local}"))
            if child.tail and model.content.mixed:
                items.append(child.tail)
        fields[model.content_field] = tuple(items)
    elif model.particles and model.particles[-1].events[0].kind is Kind.TEXT:
        event = model.particles[-1].events[0]
        fields[event.field] = _value(event.type, node.text or "", path)
    else:
        _children(node, events, fields, path)
    try:
        return declaration(**fields)
    except TypeError as error:
        raise ExiEncodeError(str(error), path=path) from error


def _children(
    node: ElementTree.Element, events: dict[QName, tuple[Event, Particle]], fields: Fields, path: str
) -> None:
    for child in node:
        name = _qname(child.tag)
        event, particle = events.get(name, (None, None))
        here = f"{path}/{name.local}"
        if event is None or particle is None or event.kind is not Kind.ELEMENT or event.type is None:
            raise ExiEncodeError("is not declared here", path=here)
        if isinstance(event.type, Simple):
            value: object = _value(event.type, child.text or "", here)
        else:
            value = _element(child, event.type, here)
        if particle.repeated:
            fields[event.field] = (*fields.get(event.field, ()), value)
        elif event.field in fields:
            raise ExiEncodeError("occurs more than once", path=here)
        else:
            fields[event.field] = value


def _any(node: ElementTree.Element) -> AnyElement:
    name = _qname(node.tag)
    content: list[str | AnyElement] = [node.text] if node.text else []
    for child in node:
        content.append(_any(child))
        if child.tail:
            content.append(child.tail)
    attributes = sorted((_qname(key), value) for key, value in node.attrib.items())
    return AnyElement(
        namespace=name.uri,
        name=name.local,
        attributes=tuple(AnyAttribute(namespace=key.uri, name=key.local, value=value) for key, value in attributes),
        content=tuple(content),
    )


def _value(simple: Simple | type[Element] | None, text: str, path: str) -> object:
    assert isinstance(simple, Simple)
    try:
        match simple.kind:
            case "string":
                return text
            case "binary":
                return bytes.fromhex(text) if simple.hexadecimal else base64.b64decode(text, validate=True)
            case "boolean":
                return {"true": True, "1": True, "false": False, "0": False}[text.strip()]
            case "enumeration":
                assert simple.members is not None
                return simple.members(text)
            case _:
                return int(text)
    except (ValueError, KeyError, binascii.Error) as error:
        raise ExiEncodeError(f"{text!r} is not of type {simple.kind}", path=path) from error
