"""Source text of generated functions, with a label per line: the field of the line."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from v2g.exi.declare import Element, is_shared, schema_of
from v2g.exi.free import FreePlan
from v2g.exi.model import Model, Particle


class Ordinals:
    """Numbers for the events of a type in schema order, the end of the element last.

    In every state the possible events are neighbours: from the next particle up to and with the first required one.
    So an event code is the ordinal of the event minus the ordinal of the state's first event.
    """

    def __init__(self, particles: tuple[Particle, ...]) -> None:
        self.particles = particles
        self.first = [0]
        for particle in particles:
            self.first.append(self.first[-1] + len(particle.events))
        self.first.append(self.first[-1] + 1)

    def span(self, index: int) -> tuple[int, int]:
        """Return the ordinals of the first and the last event of a particle."""
        return self.first[index], self.first[index + 1] - 1

    def state(self, index: int, *, again: bool = False) -> tuple[int, int]:
        """Return the first ordinal and the number of events of the state before a particle.

        With `again` the particle has occurred already and may, but need not, occur again.
        """
        last = index
        while last < len(self.particles) and (self.particles[last].least == 0 or (again and last == index)):
            last += 1
        return self.first[index], self.first[last + 1] - self.first[index]

    def is_single(self, index: int) -> bool:
        """Whether only one event is possible before a particle."""
        return self.state(index)[1] == 1


class SourceText:
    """Lines of Python for a set of types, and the constants that they use."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.labels: list[str] = []
        """Subject of each line: an element's name, an attribute's with `@`, or empty."""
        self.label = ""
        self.names: dict[str, object] = {}
        """Constants and plans, by their names in the lines."""
        self.calls: dict[str, tuple[type[Element], str, bool]] = {}
        """Functions called by the lines, by name: type, prefix, and whether every run calls them."""
        self._indent = ""

    def line(self, text: str) -> None:
        """Append a line."""
        self.lines.append(self._indent + text)
        self.labels.append(self.label)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Append a compound statement; lines written inside are its body."""
        self.line(head)
        self._indent += " "
        yield
        self._indent = self._indent[:-1]

    def call(self, declaration: type[Element], prefix: str, *, always: bool = False) -> str:
        """Return the name of the generated function of a type, which the next line calls."""
        name = self.name_of(declaration, prefix)
        always = always or (name in self.calls and self.calls[name][2])
        self.calls[name] = (declaration, prefix, always)
        return name

    def name_of(self, declaration: type[Element], prefix: str) -> str:
        """Return the name of the generated function of a type; `prefix` is its purpose."""
        return f"{prefix}_{schema_of(declaration).prefix}_{declaration.__name__}"

    def constant(self, value: object, kind: type | None = None) -> str:
        """Return a name for a constant that belongs to a class, or for the class itself."""
        owner = value if kind is None else kind
        assert isinstance(owner, type)
        prefix = "shared" if issubclass(owner, Enum) and is_shared(owner) else schema_of(owner).prefix
        name = f"{'C' if kind is None else 'K'}_{prefix}_{owner.__name__}"
        self.names[name] = value
        return name

    def plan(self, model: Model) -> str:
        """Return a name for the plan of a type with free content."""
        name = self.name_of(model.type, "F")
        if name not in self.names:
            self.names[name] = FreePlan(model)
        return name
