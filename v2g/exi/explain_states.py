"""Grammars in readable form: every state of a type with its productions, from the same model as the codec.

A state is named by its type and position: `DC_ChargeLoopReq.3` is the state before the fourth particle in schema
order, `.3+` the same position after the particle has occurred and may occur again, `.3!` while it must occur again.
"""

from functools import cache
from typing import Final

import msgspec

from v2g.exi.cbexigen import is_looped
from v2g.exi.declare import Element, Schema
from v2g.exi.free import states_of
from v2g.exi.grammar import attribute_names, document, fragment
from v2g.exi.model import Event, Kind, Model, Particle, QName, Simple, model_of
from v2g.exi.source import Ordinals

Key = tuple[int, int]
"""A position in a grammar. Particles: index and occurrences. Free content: number of attributes passed, automaton."""

_NEW, _AGAIN, _MISSING = 0, 1, 2
"""A particle has not occurred yet; it has, and may occur again; it has, and must occur again."""


class Production(msgspec.Struct, frozen=True):
    """One event allowed in a state."""

    code: int
    """First-level event code."""
    event: str
    """The event in the notation of the EXI specification: SE(Header), AT(Id), CH, EE, SE(*), ED."""
    type: str = ""
    """The type of the event: a class of the declarations, or a description of a value type."""
    target: Event | None = None
    """Its declaration; None for EE, ED, and for text and wildcards of free content."""
    next: Key | None = None
    """The next position; None if the element ends. For items of a list, the position after all but the last ones."""
    repeats: bool = False
    """Whether it is an item of a list, of `least` to `most` items; None: without bound."""
    least: int = 1
    most: int | None = 1


class GrammarState(msgspec.Struct, frozen=True):
    """A state and its productions. The event code after the last one escapes to deviations."""

    name: str
    productions: tuple[Production, ...]

    @property
    def width(self) -> int:
        """Width of an event code, bits."""
        return len(self.productions).bit_length()


class Grammar:
    """The states of one complex type. `first` is the start of its elements."""

    first: Final[Key] = (0, 0)

    def __init__(self, model: Model) -> None:
        self.model: Final = model
        self._ordinals = Ordinals(model.particles)
        content = model.content
        self._automaton = states_of(content.model, mixed=content.mixed) if content is not None else []

    def state(self, key: Key) -> GrammarState:
        """Return the state at a position."""
        return self._particle_state(*key) if self.model.content is None else self._free_state(*key)

    def is_item(self, production: Production, key: Key) -> bool:
        """Return whether a production at a position is a further item of a list that has begun."""
        return production.repeats and key[1] != _NEW and production.next is not None and production.next[0] == key[0]

    def is_looped(self, production: Production, count: int) -> bool:
        """Return whether a production is the last item of a list that cbexigen leaves like a further item."""
        if not production.repeats or production.next is None or count != production.most:
            return False
        return is_looped(self.model.particles[production.next[0]])

    def after(self, production: Production, count: int, *, loose: bool = False) -> Key | None:
        """Return the position after a production; for an item, after `count` items.

        The last allowed item is followed by the rest of the element; with `loose` by the state of a further item.
        """
        if not production.repeats or production.next is None:
            return production.next
        if count < production.least:
            return production.next[0], _MISSING
        return (production.next[0] + 1, _NEW) if count == production.most and not loose else production.next

    def states(self) -> list[tuple[Key, GrammarState]]:
        """Return every reachable state, in the order of the stream."""
        found: dict[Key, GrammarState] = {}
        queue: list[Key | None] = [self.first]
        for key in queue:  # grows while it is walked
            if key is None or key in found:
                continue
            found[key] = self.state(key)
            for each in found[key].productions:
                queue += [self.after(each, count) for count in {1, each.least, each.most or each.least}]
        return sorted(found.items())

    def then(self, production: Production) -> str:
        """Return the name of the state after a production, for a list also of that after its last item."""
        if production.next is None:
            return ""
        name = self.name(self.after(production, 1) or production.next)
        if not production.repeats:
            return name
        following = self.name(production.next)
        name += f", after {production.least} {following}" if production.least > 1 else ""
        most = production.most
        return name if most is None else f"{name}, after {most} {self.name((production.next[0] + 1, _NEW))}"

    def name(self, key: Key) -> str:
        """Return the name of the state at a position."""
        name = self.model.type.__name__
        if self.model.content is None:
            return f"{name}.{key[0]}{('', '+', '!')[key[1]]}"
        return f"{name}.{key[0] + key[1]}"

    def _particle_state(self, index: int, come: int) -> GrammarState:
        _, count = self._ordinals.state(index, again=come == _AGAIN)
        particles = self.model.particles
        events = [(at, event) for at in range(index, len(particles)) for event in particles[at].events]
        productions = []
        for code, (at, event) in enumerate(events[:count]):
            particle = particles[at]
            following = (at, _AGAIN) if particle.repeated else (at + 1, _NEW)
            productions.append(_production(code, event, following, particle))
        if len(productions) < count:
            productions.append(Production(len(productions), "EE"))
        return GrammarState(self.name((index, come)), tuple(productions))

    def _free_state(self, passed: int, at: int) -> GrammarState:
        ahead = []
        for particle in self.model.particles[passed:]:
            ahead.append(particle)
            if particle.least:
                break
        productions = [
            _production(code, each.events[0], (passed + code + 1, 0), each) for code, each in enumerate(ahead)
        ]
        end = len(self.model.particles)
        if passed + len(ahead) == end and not any(each.least for each in ahead):
            # the productions of a state of free content, with codes starting from `code`
            code = len(productions)
            state = self._automaton[at]
            found: list[Production] = []
            for member, after in state.elements:
                event = Event(QName(member.__name__, ""), "", Kind.ELEMENT, member)
                found.append(_production(code + len(found), event, (end, after), None))
            if state.wildcard is not None:
                found.append(Production(code + len(found), "SE(*)", "undeclared", next=(end, state.wildcard)))
            if state.can_end:
                found.append(Production(code + len(found), "EE"))
            if state.mixed:
                found.append(Production(code + len(found), "CH", "string", next=(end, at)))
            productions += found
        return GrammarState(self.name((passed, at)), tuple(productions))


@cache
def grammar_of(declaration: type[Element]) -> Grammar:
    """Return the grammar of a complex type."""
    return Grammar(model_of(declaration))


def simple_states(name: str, simple: Simple) -> tuple[GrammarState, GrammarState]:
    """Return the states of an element of a simple type: before its value and before its end."""
    value = Production(0, "CH", describe(simple), next=(1, 0))
    return GrammarState(f"{name}.0", (value,)), GrammarState(f"{name}.1", (Production(0, "EE"),))


def only_text(model: Model) -> Simple | None:
    """Return the text type of an element without attributes and children, as if it were a simple type."""
    event = model.particles[0].events[0] if len(model.particles) == 1 and model.content is None else None
    return event.type if event is not None and event.kind is Kind.TEXT and isinstance(event.type, Simple) else None


def text_of(state: GrammarState) -> Simple | None:
    """Return the type of the string or octets that may begin in a state where the element may also end."""
    event = state.productions[-1].target
    found = event.type if event is not None and event.kind is Kind.TEXT else None
    return found if isinstance(found, Simple) and found.kind in ("string", "binary") else None


@cache
def root_state(schema: Schema, *, is_fragment: bool) -> GrammarState:
    """Return the start state of a document or a fragment."""
    roots = fragment(schema) if is_fragment else document(schema)
    productions = [Production(code, f"SE({name.local})", name.uri) for code, name in enumerate(roots.names)]
    productions.append(Production(len(productions), "SE(*)"))
    if is_fragment:
        productions.append(Production(len(productions), "ED"))
    return GrammarState("FragmentContent" if is_fragment else "DocContent", tuple(productions))


def relaxed_names(schema: Schema) -> list[str]:
    """Return the names with several types in fragments, and therefore a separate grammar there."""
    return [name.local for name in fragment(schema).relaxed]


@cache
def relaxed_states(schema: Schema, name: str) -> tuple[GrammarState, GrammarState]:
    """Return the states of an element whose name has several types in fragments: at its start, and after text."""
    start = [f"AT({each.local})" for each in attribute_names(schema)] + ["AT(*)"]
    content = [f"SE({each.local})" for each in fragment(schema).names] + ["SE(*)", "EE", "CH"]
    return _listed(f"{name}.0", start + content), _listed(f"{name}.1", content)


def _listed(name: str, events: list[str]) -> GrammarState:
    return GrammarState(name, tuple(Production(code, event) for code, event in enumerate(events)))


def _production(code: int, event: Event, following: Key, particle: Particle | None) -> Production:
    kinds = {Kind.ATTRIBUTE: "AT", Kind.ELEMENT: "SE", Kind.TEXT: "CH"}
    name = kinds[event.kind] if event.kind is Kind.TEXT else f"{kinds[event.kind]}({event.qname.local})"
    if event.type is None:
        kind = "abstract"
    elif isinstance(event.type, Simple):
        kind = describe(event.type)
    else:
        kind = event.type.__name__
    if particle is None or not particle.repeated:
        return Production(code, name, kind, event, following)
    return Production(code, name, kind, event, following, repeats=True, least=particle.least, most=particle.most)


def describe(simple: Simple) -> str:
    """Return a description of a value type: its encoding, and its range."""
    match simple.kind:
        case "enumeration":
            assert simple.members is not None
            return f"{simple.members.__name__}, one of {len(simple.members)} in {_bits(simple.width)}"
        case "bits":
            return f"integer {simple.low} to {simple.high} in {_bits(simple.width)}"
        case "unsigned" | "integer":
            return f"{'unsigned ' if simple.kind == 'unsigned' else ''}integer{_range(simple.low, simple.high)}"
        case "string":
            return f"string{_length(simple, 'character')}"
        case "binary":
            return f"{'hexBinary' if simple.hexadecimal else 'base64Binary'}{_length(simple, 'octet')}"
        case _:
            return "boolean"


def _bits(width: int) -> str:
    return f"{width} bit{'' if width == 1 else 's'}"


def _range(low: object, high: object) -> str:
    if low is None and high is None:
        return ""
    return f" from {low}" if high is None else f" up to {high}" if low is None else f" {low} to {high}"


def _length(simple: Simple, unit: str) -> str:
    if simple.longest is None:
        return f" of {simple.shortest} {unit}s or more" if simple.shortest else ""
    if simple.shortest == simple.longest:
        return f" of {simple.longest} {unit}{'' if simple.longest == 1 else 's'}"
    return (
        f" of {simple.shortest} to {simple.longest} {unit}s"
        if simple.shortest
        else f" of up to {simple.longest} {unit}s"
    )
