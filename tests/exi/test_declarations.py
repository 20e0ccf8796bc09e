"""Declarations say what the official schema files say: names, order, cardinality, types, ranges, enumerations."""

from pathlib import Path
from typing import Any

import pytest

from tests.exi import official
from tests.exi.xsd import XS, Complex, Files, Value
from v2g.exi.declare import Alt, Content, Element, Many, Maybe, Schema, Seq, Wildcard
from v2g.exi.grammar import document, fragment
from v2g.exi.model import Kind, Particle, Simple, model_of, qname_of, simple_of
from v2g.iso15118.d2.schemas import ISO2, ISO2_BODY, ISO2_DATA_TYPES, ISO2_HEADER
from v2g.iso15118.d20.schemas import AC, ACDP, COMMON_MESSAGES, COMMON_TYPES, DC, WPT
from v2g.iso15118.din.schemas import DIN, DIN_BODY, DIN_DATA_TYPES, DIN_HEADER
from v2g.iso15118.engine.schemas import APP_PROTOCOL, XMLDSIG

pytestmark = pytest.mark.requirement("R16")

FILES = {
    APP_PROTOCOL: official.APP_PROTOCOL,
    XMLDSIG: official.XMLDSIG,
    COMMON_TYPES: official.COMMON_TYPES,
    COMMON_MESSAGES: official.COMMON_MESSAGES,
    AC: official.AC,
    DC: official.DC,
    WPT: official.WPT,
    ACDP: official.ACDP,
    **dict.fromkeys((ISO2, ISO2_HEADER, ISO2_BODY, ISO2_DATA_TYPES), official.ISO2),
    **dict.fromkeys((DIN, DIN_HEADER, DIN_BODY, DIN_DATA_TYPES), official.DIN),
}
"""Each schema with the file that it is in, or that imports it."""

DOCUMENTS = (APP_PROTOCOL, XMLDSIG, COMMON_MESSAGES, AC, DC, WPT, ACDP, ISO2, DIN)
"""Schemas with a document or fragment grammar of their own; the others are imported by these."""

TYPES_NAMED_AFTER_ELEMENTS = {
    ISO2_BODY: {"BodyBase": "BodyElement"},
    ISO2_DATA_TYPES: {"Interval": "TimeInterval"},
    DIN: {"BodyBase": "BodyElement"},
    DIN_BODY: {"SessionStop": "SessionStopReq"},
    DIN_DATA_TYPES: {"Interval": "TimeInterval"},
}
"""Difference 1: a class is named after its type, but after its element where only that has the name of a message."""

TWINS = {ACDP: {"ACDP_DisconnectReq": "ACDP_ConnectReq", "ACDP_DisconnectRes": "ACDP_ConnectRes"}}
"""Difference 2: a global element that borrows the type of another one has a class of its own, to be recognised by."""

VALUES_AS_STRUCTS = {
    *("KeyName", "MgmtData", "HMACOutputLength", "XPath", "X509SKI", "X509SubjectName", "X509Certificate", "X509CRL"),
    *("PGPKeyID", "PGPKeyPacket", "SPKISexp", "P", "Q", "G", "Y", "J", "Seed", "PgenCounter"),
}
"""Elements of simple type that are structs here, because they stand in ordered content and must carry their name."""

SCHEMAS = pytest.mark.parametrize("schema", list(FILES), ids=lambda schema: schema.prefix)
GRAMMARS = pytest.mark.parametrize("schema", DOCUMENTS, ids=lambda schema: schema.prefix)


@pytest.fixture(scope="session")
def files(schema_folder: Path) -> dict[Schema, Files]:
    renamed = {schema.uri: names for schema, names in TYPES_NAMED_AFTER_ELEMENTS.items()}
    opened = {name: Files(schema_folder / name, renamed) for name in dict.fromkeys(FILES.values())}
    return {schema: opened[name] for schema, name in FILES.items()}


def own_types(schema: Schema) -> list[type[Element]]:
    """Return the classes that stand for a complex type of the schema file."""
    twins = TWINS.get(schema, {})
    return [each for each in schema.types() if each.__name__ not in VALUES_AS_STRUCTS and each.__name__ not in twins]


@SCHEMAS
def test_every_complex_type_is_declared_and_nothing_else(files: dict[Schema, Files], schema: Schema) -> None:
    declared = {each.__name__ for each in own_types(schema)}
    assert declared == set(files[schema].complex_types(schema.uri))


@SCHEMAS
def test_complex_types_have_the_attributes_and_content_of_the_schema(
    files: dict[Schema, Files], schema: Schema
) -> None:
    nodes = files[schema].complex_types(schema.uri)
    for declaration in own_types(schema):
        expected = files[schema].complex(declaration.__name__, nodes[declaration.__name__])
        expected.attributes.sort()  # the schema file's order means nothing, EXI sorts them
        assert as_complex(declaration) == expected, declaration.__name__


def test_a_twin_has_the_fields_of_the_type_that_it_borrows() -> None:
    for schema, twins in TWINS.items():
        types = {each.__name__: each for each in schema.types()}
        for name, original in twins.items():
            assert model_of(types[name]).particles == model_of(types[original]).particles


@SCHEMAS
def test_global_elements_and_their_types(files: dict[Schema, Files], schema: Schema) -> None:
    own = {local: node for (local, uri), node in files[schema].globals().items() if uri == schema.uri}
    assert set(schema.elements()) == set(own)
    for name, declaration in schema.elements().items():
        if isinstance(declaration, type) and issubclass(declaration, Element):
            found: Any = TWINS.get(schema, {}).get(declaration.__name__, declaration.__name__)
            if found in VALUES_AS_STRUCTS:
                found = as_value(model_of(declaration).particles[0].events[0].type)
        else:
            found = as_value(simple_of(declaration))
        assert found == files[schema].type(own[name]), name


@GRAMMARS
def test_event_codes_count_every_name_of_the_schema_files(files: dict[Schema, Files], schema: Schema) -> None:
    assert [tuple(name) for name in document(schema).names] == sorted(files[schema].globals())
    local = {
        files[schema].events(node)[0][0]
        for root in files[schema].roots.values()
        for node in root.iter(f"{XS}element")
        if node.get("ref") is None
    }
    assert [tuple(name) for name in fragment(schema).names] == sorted(local)


@GRAMMARS
def test_names_with_several_types_are_the_same_as_in_the_schema_files(
    files: dict[Schema, Files], schema: Schema
) -> None:
    """EXI gives such a name a grammar of its own in fragments; the only one is eMAID of -2."""
    types: dict[tuple[str, str], set[Any]] = {}
    for root in files[schema].roots.values():
        for node in root.iter(f"{XS}element"):
            if node.get("ref") is None:
                types.setdefault(files[schema].events(node)[0][0], set()).add(files[schema].type_name(node))
    several = {name for name, found in types.items() if len(found) > 1}
    assert several == {tuple(name) for name, found in fragment(schema).types.items() if len(found) > 1}


def as_complex(declaration: type[Element]) -> Complex:
    """Return a declaration in the terms of the schema file."""
    model = model_of(declaration)
    mixed = model.content is not None and model.content.mixed
    result = Complex(declaration.__name__, model.abstract, mixed)
    children = []
    for particle in model.particles:
        event = particle.events[0]
        if event.kind is Kind.ATTRIBUTE:
            result.attributes.append((tuple(event.qname), as_value(event.type), particle.least == 1))
        elif event.kind is Kind.TEXT:
            result.content = ("text", as_value(event.type))
        else:
            children.append(as_particle(particle))
    if children:
        result.content = children[0] if len(children) == 1 else ("seq", tuple(children))
    if model.content is not None:
        result.content = as_content(model.content)
    return result


def as_particle(particle: Particle) -> Any:
    """Return a particle: a choice has several fields, a substitution group several events of one field."""
    if len({event.field for event in particle.events}) > 1:
        part: Any = ("alt", tuple(("element", ((tuple(e.qname), as_type(e.type)),)) for e in particle.events))
    else:
        part = ("element", tuple((tuple(event.qname), as_type(event.type)) for event in particle.events))
    if (particle.least, particle.most) == (1, 1):
        return part
    return ("many", particle.least, particle.most, part)


def as_content(content: Content) -> Any:
    def convert(part: Any) -> Any:
        match part:
            case Seq(parts):
                return ("seq", tuple(convert(each) for each in parts))
            case Alt(parts):
                return ("alt", tuple(convert(each) for each in parts))
            case Many(inner, least):
                return ("many", least, None, convert(inner))
            case Maybe(inner):
                return ("many", 0, 1, convert(inner))
            case Wildcard():
                return ("any", part.value)
        if part.__name__ in VALUES_AS_STRUCTS:
            return ("element", ((tuple(qname_of(part)), as_value(model_of(part).particles[0].events[0].type)),))
        return ("element", ((tuple(qname_of(part)), part.__name__),))

    return convert(content.model)


def as_type(declared: Any) -> Any:
    return as_value(declared) if isinstance(declared, Simple) else declared.__name__


def as_value(simple: Any) -> Value:
    assert isinstance(simple, Simple)
    match simple.kind:
        case "boolean":
            return Value("boolean")
        case "enumeration":
            assert simple.members is not None
            return Value("enumeration", 0, None, tuple(member.value for member in simple.members))
        case "string":
            return Value("string", simple.shortest, simple.longest)
        case "binary":
            return Value("hex" if simple.hexadecimal else "base64", simple.shortest, simple.longest)
        case _:
            return Value("integer", simple.low, simple.high)
