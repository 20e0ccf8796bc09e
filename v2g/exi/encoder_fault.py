"""Finds the fault of a message that an encoder has rejected, for the error message only."""

from enum import Enum
from typing import Any

from v2g.exi.bits import MAX_INTEGER_BITS, is_listed
from v2g.exi.declare import AnyElement, Element
from v2g.exi.free import states_of
from v2g.exi.model import Event, Kind, Model, Particle, Simple, model_of


def find_fault(element: Element, path: str) -> tuple[str, str] | None:
    """Return the path of the first field that violates its declaration, and why; None if there is none."""
    model = model_of(type(element))
    if model.abstract:
        return path, f"{type(element).__name__} is abstract"
    for particle in model.particles:
        found = _particle(element, particle, path)
        if found:
            return found
    return _content(element, model, path) if model.content is not None else None


def _particle(element: Element, particle: Particle, path: str) -> tuple[str, str] | None:
    values = [(event, getattr(element, event.field)) for event in particle.events]
    here = path if particle.events[0].kind is Kind.TEXT else f"{path}/{_name(particle)}"
    if particle.repeated:
        return _list(particle, values[0][1], here)
    present = [(event, value) for event, value in values if value is not None]
    fields = {event.field for event in particle.events}
    if len(fields) > 1 and len(present) > 1:
        return path, f"only one of {', '.join(sorted(fields))} may be set"
    if not present:
        if not particle.least:
            return None
        if len(fields) > 1:
            return path, f"one of {', '.join(sorted(fields))} must be set"
        return here, "is missing"
    if len(fields) > 1:
        event, value = present[0]
        return _value(event, value, f"{path}/{event.qname.local}")
    return _alternative(particle, present[0][1], here)


def _name(particle: Particle) -> str:
    head = next((event for event in particle.events if event.type is None), particle.events[0])
    return head.qname.local


def _list(particle: Particle, value: object, path: str) -> tuple[str, str] | None:
    if not isinstance(value, tuple):
        return path, f"{type(value).__name__} where a tuple is declared"
    if len(value) < particle.least or (particle.most is not None and len(value) > particle.most):
        most = "any number" if particle.most is None else particle.most
        return path, f"{len(value)} items where {particle.least} to {most} are allowed"
    for index, item in enumerate(value):
        found = _alternative(particle, item, f"{path}[{index}]")
        if found:
            return found
    return None


def _alternative(particle: Particle, value: object, path: str) -> tuple[str, str] | None:
    """Check a value against the event that its class selects, whose name the path then has."""
    if len(particle.events) == 1:
        return _value(particle.events[0], value, path)
    for event in particle.events:
        if event.type is type(value):
            parent, _, head = path.rpartition("/")
            index = head[head.index("[") :] if "[" in head else ""
            return _value(event, value, f"{parent}/{event.qname.local}{index}")
    return path, f"{type(value).__name__} is not a member of the substitution group"


def _value(event: Event, value: object, path: str) -> tuple[str, str] | None:
    if isinstance(event.type, Simple):
        why = _simple(event.type, value)
        return (path, why) if why else None
    if type(value) is not event.type or not isinstance(value, Element):
        expected = event.type.__name__ if event.type else "nothing"
        return path, f"{type(value).__name__} where {expected} is declared"
    return find_fault(value, path)


def _simple(simple: Simple, value: Any) -> str | None:
    """Return the fault of a simple value."""
    match simple.kind:
        case "boolean":
            good = isinstance(value, bool)
        case "enumeration":
            good = isinstance(value, Enum) and type(value) is simple.members and is_listed(value)
        case "string":
            good = isinstance(value, str)
        case "binary":
            good = isinstance(value, bytes)
        case _:
            good = isinstance(value, int)
    if not good:
        expected = simple.members.__name__ if simple.members else simple.kind
        return f"{type(value).__name__} where {expected} is declared"
    if simple.kind in ("string", "binary"):
        if len(value) < simple.shortest or (simple.longest is not None and len(value) > simple.longest):
            what = "characters" if simple.kind == "string" else "octets"
            most = "any number" if simple.longest is None else simple.longest
            allowed = most if simple.shortest == simple.longest else f"{simple.shortest} to {most}"
            return f"{len(value)} {what} where {allowed} are allowed"
        if isinstance(value, str) and any(0xD800 <= ord(each) <= 0xDFFF for each in value):
            return "half a surrogate pair"
        return None
    if simple.kind in ("bits", "unsigned", "integer"):
        if (simple.low is not None and value < simple.low) or (simple.high is not None and value > simple.high):
            return f"{value} is outside the range from {simple.low} to {simple.high}"
        if abs(value) >> MAX_INTEGER_BITS:
            return f"an integer of more than {MAX_INTEGER_BITS} bits"
    return None


def _content(element: Element, model: Model, path: str) -> tuple[str, str] | None:
    """Walk the automaton of a free type."""
    assert model.content is not None
    states = states_of(model.content.model, mixed=model.content.mixed)
    value = getattr(element, model.content_field)
    if not isinstance(value, tuple):
        return path, f"{type(value).__name__} where a tuple is declared"
    state = states[0]
    for index, item in enumerate(value):
        here = f"{path}/{type(item).__name__}[{index}]"
        after = dict(state.elements).get(type(item))
        if isinstance(item, str) and state.mixed:
            found = None if _encodable(item) else (here, "half a surrogate pair")
        elif isinstance(item, AnyElement) and state.wildcard is not None:
            found, state = None, states[state.wildcard]
        elif after is not None:
            found, state = find_fault(item, here), states[after]
        else:
            return here, "is not expected here"
        if found:
            return found
    return None if state.can_end else (path, "the content is not complete")


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(each) <= 0xDFFF for each in text)
