"""A schema file of Amendment 1 for an EXI processor that is not ours: what our declarations add to the official AC.

The amendment's own file is not at hand. So names and order are ours, as compared with other codecs
(`tests/vectors/exi/README.md`); the coding that follows from them is the processor's.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.exi import official
from v2g.exi.declare import Element, Schema
from v2g.exi.model import Particle, Simple, model_of
from v2g.iso15118.d20.messages import common_types
from v2g.iso15118.d20.schemas import AC, COMMON_TYPES

_NUMBERS = {255: "unsignedByte", 65_535: "unsignedShort", 2**32 - 1: "unsignedInt", 127: "byte", 32_767: "short"}


def amendment_schema(schema: Schema, module: ModuleType, folder: Path, base: Path) -> Path:
    """Write the file of a grammar into `folder`, which imports the official ones in `base`; return its path."""
    types = {each.__name__: each for each in vars(module).values() if _is_own(each, module)}
    members = {name: each for name, each in types.items() if name.startswith("DER_")}
    elements = "".join(
        f'<xs:element name="{name}" type="t:{name}Type" substitutionGroup="{_head(each)}"/>'
        for name, each in members.items()
    )
    for name in getattr(module, "ELEMENTS", {}):
        if name in types and name not in members and not name.startswith("AC_"):
            elements += f'<xs:element name="{name}" type="t:{name}Type"/>'
    known = {name: each for name, each in types.items() if not name.startswith("AC_")}
    text = (
        f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="{schema.uri}" xmlns:ac="{AC.uri}" '
        f'xmlns:ct="{COMMON_TYPES.uri}" targetNamespace="{schema.uri}" elementFormDefault="qualified">'
        f'<xs:import namespace="{AC.uri}" schemaLocation="{(base / official.AC).as_uri()}"/>'
        f'<xs:import namespace="{COMMON_TYPES.uri}" schemaLocation="{(base / official.COMMON_TYPES).as_uri()}"/>'
        f"{elements}{''.join(_complex(name, each) for name, each in known.items())}</xs:schema>"
    )
    path = folder / f"{schema.prefix}.xsd"
    path.write_text(text)
    return path


def _is_own(each: object, module: ModuleType) -> bool:
    return isinstance(each, type) and issubclass(each, Element) and each.__module__ == module.__name__


def _head(each: type[Element]) -> str:
    """Return the head of a member's substitution group: that of what it extends."""
    base = each.__base__
    assert base is not None
    if "CPD" in base.__name__:
        return f"ac:{base.__name__}"
    return "ct:CLReqControlMode" if "CLReq" in base.__name__ else "ct:CLResControlMode"


def _complex(name: str, each: type[Element]) -> str:
    particles, base = model_of(each).particles, each.__base__
    assert base is not None
    if base is Element:
        content = "".join(_elements(particles))
        return f'<xs:complexType name="{name}Type"><xs:sequence>{content}</xs:sequence></xs:complexType>'
    own = particles[len(model_of(base).particles) :]
    prefix = "t" if base.__module__ == each.__module__ else "ac"
    return (
        f'<xs:complexType name="{name}Type"><xs:complexContent><xs:extension base="{prefix}:{base.__name__}Type">'
        f"<xs:sequence>{''.join(_elements(own))}</xs:sequence></xs:extension></xs:complexContent></xs:complexType>"
    )


def _elements(particles: tuple[Particle, ...]) -> Iterator[str]:
    for each in particles:
        most = "unbounded" if each.most is None else each.most
        occurs = f'minOccurs="{each.least}" maxOccurs="{most}"'
        if len(each.events) == 1:
            yield _element(each, 0, occurs)
        else:
            choice = "".join(_element(each, place, "") for place in range(len(each.events)))
            yield f"<xs:choice {occurs}>{choice}</xs:choice>"


def _element(particle: Particle, place: int, occurs: str) -> str:
    event = particle.events[place]
    name, of = event.qname.local, event.type
    if isinstance(of, Simple):
        return f'<xs:element name="{name}" {occurs}>{_simple(of)}</xs:element>'
    assert of is not None
    prefix = "ct" if of.__module__ == common_types.__name__ else "t"
    return f'<xs:element name="{name}" type="{prefix}:{of.__name__}Type" {occurs}/>'


def _simple(of: Simple) -> str:
    """Return an anonymous type of the same representation."""
    if of.members is not None:
        values = "".join(f'<xs:enumeration value="{each.value}"/>' for each in of.members)
        return f'<xs:simpleType><xs:restriction base="xs:string">{values}</xs:restriction></xs:simpleType>'
    if of.kind == "string":
        return (
            f'<xs:simpleType><xs:restriction base="xs:string"><xs:maxLength value="{of.longest}"/>'
            "</xs:restriction></xs:simpleType>"
        )
    base = "boolean" if of.kind == "boolean" else _NUMBERS.get(of.high or 0, "unsignedLong")
    return f'<xs:simpleType><xs:restriction base="xs:{base}"/></xs:simpleType>'
