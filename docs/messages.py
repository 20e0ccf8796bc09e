"""The reference of EXI messages, from the declarations that the codec is made of."""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Final

from v2g.exi.declare import Content, Element, Wildcard, is_shared, schema_of
from v2g.exi.explain_states import describe
from v2g.exi.grammar import document
from v2g.exi.model import Event, Kind, Model, Particle, Simple, leaves, model_of
from v2g.iso15118.d2 import schemas as d2
from v2g.iso15118.d20 import schemas as d20
from v2g.iso15118.din import schemas as din
from v2g.iso15118.engine import schemas as engine
from v2g.iso15118.select import NAMESPACES

PAGES: Final = {
    "handshake": ("The handshake", (engine.APP_PROTOCOL,)),
    "common-messages": ("ISO 15118-20 common messages", (d20.COMMON_MESSAGES,)),
    "common-types": ("ISO 15118-20 common types", (d20.COMMON_TYPES,)),
    "ac": ("ISO 15118-20 alternating current", (d20.AC,)),
    "ac-der-iec": ("ISO 15118-20 Amendment 1: AC, grid support by IEC", (d20.AC_DER_IEC,)),
    "ac-der-sae": ("ISO 15118-20 Amendment 1: AC, grid support by SAE", (d20.AC_DER_SAE,)),
    "dc": ("ISO 15118-20 direct current", (d20.DC,)),
    "wpt": ("ISO 15118-20 wireless power transfer", (d20.WPT,)),
    "acdp": ("ISO 15118-20 automated connection devices", (d20.ACDP,)),
    "iso15118-2": ("ISO 15118-2:2013", (d2.ISO2, d2.ISO2_HEADER, d2.ISO2_BODY, d2.ISO2_DATA_TYPES)),
    "din70121": ("DIN 70121:2012", (din.DIN, din.DIN_HEADER, din.DIN_BODY, din.DIN_DATA_TYPES)),
    "xml-signature": ("XML Signature", (engine.XMLDSIG,)),
}
"""Name of a page in docs/reference/messages -> its title and the namespaces that it shows."""

_MODERN: Final = {each.uri for each in (d20.COMMON_TYPES, d20.COMMON_MESSAGES, d20.AC, d20.DC)}

_RATIONAL: Final = (
    (r"PowerRampLimitation$", "W/s"),
    (r"ReactivePower", "var"),
    (r"Power", "W"),
    (r"Voltage$", "V"),
    (r"Current$", "A"),
    (r"Energy(Request|Capacity)?$", "Wh"),
    (r"Frequency$", "Hz"),
)
"""Elements of -20 that hold a RationalNumber, by their names."""

_INTEGERS: Final = (
    (r"SOC$|Percentage$", "%"),
    (r"^(TimeStamp|TimeAnchor|MeterTimestamp|TMeter|EVSETimeStamp)$", "s since 1970, UTC"),
    (r"^(DepartureTime|NotificationMaxDelay|RemainingTimeTo\w+|Duration)$", "s"),
    (r"^(start|duration|ChargingProfileEntryStart)$", "s"),
    (r"^(MeterReading|\w+Wh)$", "Wh"),
    (r"VARh$", "varh"),
    (r"^CarbonDioxideEmission$", "g/kWh"),
)
"""Integer elements and attributes of every edition, by their names."""


def messages(page: str) -> str:
    """Return the namespaces of a page, every message, type and enumeration in them."""
    shown = PAGES[page][1]
    own = [kind for schema in shown for kind in schema.types()]
    roots = [kind for kind in own if _is_message(kind)]
    rows = []
    for schema in shown:
        payload = f"`{schema.payload_type:#06x}`" if schema.payload_type else ""
        codes = str(document(schema).width) if schema.uri in NAMESPACES else ""
        rows.append((f"`{schema.uri}`", f"`{schema.prefix}`", payload, codes))
    parts = [_table(("Namespace", "Prefix here", "V2GTP payload type", "Bits of a document's first event code"), rows)]
    for title, kinds in (("Messages", roots), ("Types", [kind for kind in own if kind not in roots])):
        parts += [f"## {title}\n"] if kinds else []
        parts += [_type(kind, page) for kind in sorted(kinds, key=lambda kind: kind.__name__)]
    enumerations = sorted({each for schema in shown for each in schema.enumerations()}, key=lambda each: each.__name__)
    parts += ["## Enumerations\n"] if enumerations else []
    parts += [_enumeration(each) for each in enumerations]
    return "\n".join(parts)


def message_pages() -> str:
    """Return what is on which page."""
    rows = []
    for page, (title, shown) in PAGES.items():
        kinds = [kind for schema in shown for kind in schema.types()]
        count = sum(_is_message(kind) for kind in kinds)
        prefix = f"`{shown[0].prefix}`" if shown[0].uri in NAMESPACES else ""
        payload = f"`{shown[0].payload_type:#06x}`" if shown[0].payload_type else ""
        rows.append((f"[{title}](messages/{page}.md)", prefix, payload, str(count), str(len(kinds))))
    return _table(("Page", "`--namespace`", "V2GTP payload type", "Messages", "Types"), rows)


def _is_message(kind: type[Element]) -> bool:
    names = {name for name, each in schema_of(kind).elements().items() if each is kind}
    return any(re.search(r"(Req|Res|^V2G_Message)$", name) for name in names)


def _type(kind: type[Element], page: str) -> str:
    """Return one type: what it is, what it extends, its fields."""
    model = model_of(kind)
    base = kind.__mro__[1]
    extends = f" Extends {_link(base, page)}." if base is not Element else ""
    abstract = " Abstract." if model.abstract else ""
    names = [name for name, each in schema_of(kind).elements().items() if each is kind and name != kind.__name__]
    element = f" Element `{'`, `'.join(names)}`." if names else ""
    lines = [f"### `{kind.__name__}`\n", f"{_doc(kind)}{element}{extends}{abstract}\n"]
    rows = [row for particle in model.particles for row in _particle(particle, model, page)]
    rows += [_content(model, page)] if model.content is not None else []
    if rows:
        lines.append(_table(("Element", "In Python", "Occurs", "Type", "Unit"), rows))
    return "\n".join(lines)


def _doc(kind: type) -> str:
    text = " ".join((kind.__dict__.get("__doc__") or "").split())
    return text.replace("|", "\\|")


def _particle(particle: Particle, model: Model, page: str) -> Iterator[tuple[str, ...]]:
    events = [event for event in particle.events if event.type is not None]
    for event in events:
        mark = "@" if event.kind is Kind.ATTRIBUTE else ""
        name = "text" if event.kind is Kind.TEXT else f"`{mark}{event.qname.local}`"
        occurs = _occurs(particle) if len(events) == 1 else f"{_occurs(particle)} of these {len(events)}"
        yield name, f"`{event.field}`", occurs, _kind(event, page), _unit(event, model)


def _occurs(particle: Particle) -> str:
    most = "n" if particle.most is None else str(particle.most)
    return most if str(particle.least) == most else f"{particle.least}..{most}"


def _kind(event: Event, page: str) -> str:
    if not isinstance(event.type, Simple):
        assert event.type is not None
        return _link(event.type, page)
    if event.type.members is not None:
        return _link(event.type.members, page)
    return describe(event.type)


def _content(model: Model, page: str) -> tuple[str, ...]:
    content = model.content
    assert content is not None
    parts = ["text"] if content.mixed else []
    parts += [_link(leaf, page) for leaf in leaves(content.model)]
    parts += ["elements that no schema declares"] if _has_wildcard(content) else []
    return "content", f"`{model.content_field}`", "", f"in document order: {', '.join(parts)}", ""


def _has_wildcard(content: Content) -> bool:
    def inside(part: Any) -> bool:
        if isinstance(part, Wildcard):
            return True
        return any(inside(each) for each in (*getattr(part, "parts", ()), getattr(part, "part", None)) if each)

    return inside(content.model)


def _unit(event: Event, model: Model) -> str:
    """Return the unit of a field, where its name and type tell."""
    local = event.qname.local
    if isinstance(event.type, Simple):
        rules = _INTEGERS if event.type.kind in ("bits", "unsigned", "integer") else ()
    elif event.type is not None and event.type.__name__ == "PhysicalValue":
        return "as its `Unit` says"
    else:
        modern = schema_of(model.type).uri in _MODERN and event.type is not None
        rules = _RATIONAL if modern and event.type.__name__ == "RationalNumber" else ()  # type: ignore[union-attr]
    return next((unit for pattern, unit in rules if re.search(pattern, local)), "")


def _enumeration(kind: type[Enum]) -> str:
    words = ", ".join(f"`{member.value}` ({number})" for number, member in enumerate(kind))
    return f"### `{kind.__name__}`\n\n{_doc(kind)}\n\n{words}\n"


def _link(kind: type, page: str) -> str:
    """Return a link to where a type is described."""
    if issubclass(kind, Enum) and is_shared(kind):  # shown with each edition
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    schema = schema_of(kind)
    place = next((name for name, (_, shown) in PAGES.items() if schema in shown), None)
    assert place is not None, kind
    return f"[{kind.__name__}]({'' if place == page else f'{place}.md'}#{kind.__name__.lower()})"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (tuple(header), *rows)]
    return "\n".join([lines[0], "|" + "---|" * (lines[0].count(" | ") + 1), *lines[1:]]) + "\n"
