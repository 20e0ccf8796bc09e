"""Everything that a stream can hold, by name, and instances of it: drawn at random, smallest, largest, lists filled."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.exi.strategies import Wishes, elements
from v2g.exi import decode, decode_fragment, encode, encode_fragment, to_xml
from v2g.exi.declare import AnyElement, Element, Schema
from v2g.exi.free import states_of
from v2g.exi.grammar import document, fragment
from v2g.exi.model import Event, Model, Particle, QName, Simple, model_of
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.schemas import XMLDSIG

SIGNED = {
    XMLDSIG: ("SignedInfo",),
    COMMON_MESSAGES: (
        *("PnC_AReqAuthorizationMode", "SignedInstallationData", "SignedMeteringData"),
        *("OEMProvisioningCertificateChain", "AbsolutePriceSchedule", "PriceLevelSchedule"),
    ),
    ISO2: (
        *("AuthorizationReq", "MeteringReceiptReq", "CertificateUpdateReq", "CertificateInstallationReq", "eMAID"),
        *("ContractSignatureCertChain", "ContractSignatureEncryptedPrivateKey", "DHpublickey", "SalesTariff"),
    ),
    DIN: (
        *("ContractAuthenticationReq", "MeteringReceiptReq", "CertificateUpdateReq", "CertificateUpdateRes"),
        *("CertificateInstallationReq", "CertificateInstallationRes", "SalesTariff"),
    ),
}
"""Elements that are signed, and therefore stand alone in fragments."""

LONGEST_LIST = 64
"""Lists are filled if their schema allows no more items than this; longer ones get as many and are not full."""


@dataclass(frozen=True)
class Subject:
    """One thing that a stream can hold."""

    schema: Schema
    name: QName
    is_fragment: bool
    label: str
    declaration: type[Element]
    """What varies: the element itself or, in -2 and DIN 70121, what the body holds."""
    wrap: Callable[[Element, Element], Element] | None = None
    """Makes a message of a body and a header."""
    header: type[Element] | None = None

    @property
    def clark(self) -> str:
        """The name, unambiguous."""
        return f"{{{self.name.uri}}}{self.name.local}"

    def strategy(self, wishes: Wishes) -> st.SearchStrategy[Any]:
        """Draw instances."""
        drawn = elements(self.declaration, wishes)
        if self.wrap is None or self.header is None:
            return drawn
        return st.builds(self.wrap, drawn, elements(self.header, wishes))

    def edges(self) -> Iterator[Element]:
        """Yield the smallest and the largest instance."""
        for largest in (False, True):
            found = extreme(self.declaration, largest=largest)
            if self.wrap is not None and self.header is not None:
                found = self.wrap(found, extreme(self.header, largest=largest))
            yield found

    def write(self, element: Element) -> bytes:
        """Encode."""
        return encode_fragment(element, self.schema, name=self.clark) if self.is_fragment else encode(element)

    def read(self, octets: bytes) -> Element:
        """Decode."""
        return (decode_fragment if self.is_fragment else decode)(octets, self.schema)

    def xml(self, element: Element) -> str:
        """Return XML."""
        return to_xml(element, schema=self.schema, name=self.clark)


@cache
def documents(schema: Schema) -> list[Subject]:
    """Return the messages of a schema; what a body can hold counts as one each."""
    roots = document(schema)
    found: list[Subject] = []
    for name in roots.names:
        declaration = roots.structure_of(name)
        if declaration is None or name.uri != schema.uri:
            continue
        if name.local == "V2G_Message":
            found += _bodies(schema, name, declaration)
        else:
            found.append(Subject(schema, name, is_fragment=False, label=name.local, declaration=declaration))
    return found


def _bodies(schema: Schema, name: QName, message: Any) -> list[Subject]:
    header, body = (particle.events[0].type for particle in model_of(message).particles)
    assert isinstance(header, type)
    assert isinstance(body, type)
    (particle,) = model_of(body).particles

    def wrap(element: Element, header: Element) -> Element:
        return message(header=header, body=body(body_element=element))  # type: ignore[no-any-return, operator]

    return [
        Subject(
            schema, name, is_fragment=False, label=event.qname.local, declaration=event.type, wrap=wrap, header=header
        )
        for event in _concrete(particle)
        if isinstance(event.type, type)
    ]


@cache
def fragments(schema: Schema) -> list[Subject]:
    """Return everything that can be a fragment of a schema."""
    roots = fragment(schema)
    found = [(name, roots.structure_of(name)) for name in roots.names]
    return [
        Subject(schema, name, is_fragment=True, label=name.local, declaration=kind)
        for name, kind in found
        if kind is not None
    ]


def signed(schema: Schema) -> list[Subject]:
    """Return the fragments of a schema that are signed."""
    found = [each for each in fragments(schema) if each.label in SIGNED.get(schema, ())]
    assert {each.label for each in found} == set(SIGNED.get(schema, ()))
    return found


def draw(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return `count` drawn values, the same ones at every run; fewer when there are not as many."""
    drawn: list[Any] = []

    @settings(
        max_examples=count + 1,  # the first one is the simplest
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(value: Any) -> None:
        drawn.append(value)

    keep()
    return drawn[1:] or drawn


def extreme(declaration: type[Element], *, largest: bool) -> Element:
    """Return an instance with every value at its lower or upper bound, and what is optional left out or put in.

    Text and octets have at least one and at most 300 items, lists at most two.
    """
    model = model_of(declaration)
    fields: dict[str, Any] = {}
    for particle in model.particles:
        if largest or particle.least:
            event = _concrete(particle)[-1 if largest else 0]
            value = _bound(event, largest=largest)
            size = max(particle.least, min(2, particle.most or 2)) if largest else particle.least
            fields[event.field] = (value,) * size if particle.repeated else value
    if model.content is not None:
        fields[model.content_field] = _shortest(model)
    return declaration(**fields)


def _bound(event: Event, *, largest: bool) -> Any:
    if not isinstance(event.type, Simple):
        assert event.type is not None
        return extreme(event.type, largest=largest)
    simple = event.type
    size = min(300, simple.longest if simple.longest is not None else 300) if largest else max(1, simple.shortest)
    match simple.kind:
        case "boolean":
            return largest
        case "enumeration":
            assert simple.members is not None
            return list(simple.members)[-1 if largest else 0]
        case "string":
            return "\U0001f50c" * size if largest else "a" * size
        case "binary":
            return b"\xff" * size if largest else bytes(size)
        case _:
            bound = simple.high if largest else simple.low
            return bound if bound is not None else 2**300 if largest else -(2**300)


def _shortest(model: Model) -> tuple[Any, ...]:
    """Return the content with the fewest items that may end."""
    assert model.content is not None
    states = states_of(model.content.model, mixed=model.content.mixed)
    ways: list[tuple[int, tuple[Any, ...]]] = [(0, ())]
    for at, items in ways:  # grows while it is walked
        if states[at].can_end:
            return items
        ways += [(after, (*items, extreme(leaf, largest=False))) for leaf, after in states[at].elements]
        wildcard = states[at].wildcard
        if wildcard is not None:
            ways.append((wildcard, (*items, AnyElement(namespace="urn:a", name="b"))))
    raise AssertionError("content that never ends")


def filled(declaration: type[Element]) -> Iterator[Element]:
    """Yield, for each list of a type, the smallest instance in which it is full."""
    for particle in model_of(declaration).particles:
        if particle.repeated:
            event = _concrete(particle)[0]
            size = max(particle.least, min(LONGEST_LIST, particle.most or LONGEST_LIST))
            value = _bound(event, largest=False)
            yield msgspec.structs.replace(extreme(declaration, largest=False), **{event.field: (value,) * size})


def _concrete(particle: Particle) -> list[Event]:
    """Return the events that a value can stand for."""
    return [
        event
        for event in particle.events
        if isinstance(event.type, Simple) or (event.type is not None and not model_of(event.type).abstract)
    ]
