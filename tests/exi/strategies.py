"""Hypothesis strategies that draw messages from their declarations."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st

from v2g.exi.declare import AnyAttribute, AnyElement, Element
from v2g.exi.free import states_of
from v2g.exi.model import Event, Particle, Simple, model_of

PRINTABLE = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
"""Characters that XML can hold and that no parser normalises."""

UNSPACED = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=" \ufffe\uffff")
"""The same without the space, of which XML leaves not every one in URIs and identifiers."""

NAMES = st.sampled_from(["a", "b", "Id", "Knoten", "é", "x-1"])
NAMESPACES = st.sampled_from(["", "urn:example:a", "urn:example:b"])


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What to draw: `most` items per list, and whether text and octets may be empty.

    Equal wishes are the same, so that strategies are made once and not for every example.
    """

    most: int = 3
    empty: bool = True
    alphabet: st.SearchStrategy[str] = PRINTABLE


@cache
def simple_values(simple: Simple, wishes: Wishes) -> st.SearchStrategy[Any]:
    """Draw values of a simple type, its bounds among them."""
    least = simple.shortest if wishes.empty else max(1, simple.shortest)
    most = max(least, min(24, simple.longest if simple.longest is not None else 24))
    match simple.kind:
        case "boolean":
            return st.booleans()
        case "enumeration":
            assert simple.members is not None
            return st.sampled_from(list(simple.members))
        case "string":
            return st.text(wishes.alphabet, min_size=least, max_size=most)
        case "binary":
            return st.binary(min_size=least, max_size=most)
        case _:
            low = simple.low if simple.low is not None else -(2**200)
            high = simple.high if simple.high is not None else 2**200
            return st.sampled_from([low, high]) | st.integers(low, high)


@cache
def elements(declaration: type[Element], wishes: Wishes) -> st.SearchStrategy[Any]:
    """Draw elements of a declared type."""
    return _elements(declaration, wishes)


@st.composite
def _elements(draw: st.DrawFn, declaration: type[Element], wishes: Wishes) -> Element:
    model = model_of(declaration)
    fields: dict[str, Any] = {}
    for particle in model.particles:
        fields.update(draw(_particles(particle, wishes)))
    if model.content is not None:
        states = states_of(model.content.model, mixed=model.content.mixed)
        fields[model.content_field] = draw(_contents(states, wishes))
    return declaration(**fields)


@cache
def _particles(particle: Particle, wishes: Wishes) -> st.SearchStrategy[dict[str, Any]]:
    return _drawn_particles(particle, wishes)


@st.composite
def _drawn_particles(draw: st.DrawFn, particle: Particle, wishes: Wishes) -> dict[str, Any]:
    if particle.repeated:
        most = wishes.most if particle.most is None else min(wishes.most, particle.most)
        size = draw(st.integers(particle.least, max(most, particle.least)))
        field = particle.events[0].field
        return {field: tuple(draw(_values(draw(_events(particle)), wishes)) for _ in range(size))}
    if not particle.least and draw(st.booleans()):
        return {}
    event = draw(_events(particle))
    return {event.field: draw(_values(event, wishes))}


@cache
def _events(particle: Particle) -> st.SearchStrategy[Event]:
    concrete = [
        event
        for event in particle.events
        if event.type is not None and (isinstance(event.type, Simple) or not model_of(event.type).abstract)
    ]
    return st.just(concrete[0]) if len(concrete) == 1 else st.sampled_from(concrete)


def _values(event: Event, wishes: Wishes) -> st.SearchStrategy[Any]:
    if isinstance(event.type, Simple):
        return simple_values(event.type, wishes)
    assert event.type is not None
    return elements(event.type, wishes)


@st.composite
def _contents(draw: st.DrawFn, states: list[Any], wishes: Wishes) -> tuple[Any, ...]:
    """Walk the automaton at random and leave it where it may be left."""
    state, items = states[0], []
    for _ in range(40):
        if state.can_end and (len(items) >= wishes.most or draw(st.booleans())):
            break
        ways: list[Any] = list(state.elements)
        if state.wildcard is not None:
            ways.append((AnyElement, state.wildcard))
        if state.mixed and not (items and isinstance(items[-1], str)):
            ways.append((str, None))
        if not ways:
            break
        leaf, after = draw(st.sampled_from(ways))
        if leaf is str:
            items.append(draw(st.text(wishes.alphabet, min_size=1, max_size=8).filter(str.strip)))
            continue
        items.append(draw(any_elements(2, foreign=True) if leaf is AnyElement else elements(leaf, wishes)))
        state = states[after]
    return tuple(items)


@st.composite
def any_elements(draw: st.DrawFn, depth: int, *, foreign: bool = False) -> AnyElement:
    """Draw an undeclared element; a `foreign` one has a namespace."""
    attributes = draw(
        st.lists(st.tuples(NAMESPACES, NAMES), unique=True, max_size=2).map(
            lambda found: sorted(found, key=lambda each: (each[1], each[0]))
        )
    )
    content: list[Any] = []
    for _ in range(draw(st.integers(0, 2)) if depth else 0):
        if draw(st.booleans()) and not (content and isinstance(content[-1], str)):
            content.append(draw(st.text(PRINTABLE, min_size=1, max_size=5).filter(str.strip)))
        else:
            content.append(draw(any_elements(depth - 1)))
    return AnyElement(
        namespace=draw(NAMESPACES.filter(bool) if foreign else NAMESPACES),
        name=draw(NAMES),
        attributes=tuple(
            AnyAttribute(namespace=uri, name=name, value=draw(st.text(PRINTABLE, min_size=1, max_size=5)))
            for uri, name in attributes
        ),
        content=tuple(content),
    )
