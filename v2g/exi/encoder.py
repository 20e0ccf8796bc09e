"""Generates the source of encoders: one straight-line function per complex type.

An encoder checks its input; a value that violates its declaration raises any exception, and
`encoder_fault` then determines the field and the reason for the error message.
"""

from v2g.exi.bits import FLUSH_BITS
from v2g.exi.cbexigen import reads_loop
from v2g.exi.model import Event, Kind, Model, Particle, Simple
from v2g.exi.source import Ordinals, SourceText


def write_encoder(model: Model, source: SourceText) -> None:
    """Append `def <name>(a, o, out)`, which appends struct `o` to the accumulator `a` and returns it."""
    _Encoder(model, source).write()


class _Encoder:
    def __init__(self, model: Model, source: SourceText) -> None:
        self.model = model
        self.source = source
        self.ordinals = Ordinals(model.particles)
        self.pieces: list[tuple[int, str]] = []
        """Fixed-width bits not yet written: width and expression, "" for zeros."""
        self.state: tuple[int, int] | None = self.ordinals.state(0)
        """First ordinal and number of events of the current state, or None if `b` and `k` are ordinal and width."""

    def write(self) -> None:
        source, model = self.source, self.model
        with source.block(f"def {source.name_of(model.type, 'e')}(a, o, out):"):
            if model.content is not None:
                source.line(f"return {source.plan(model)}.encode(a, o, out)")
                return
            source.line(f"if o.__class__ is not {source.constant(model.type)}: raise ExiRefusal")
            for index, particle in enumerate(model.particles):
                if particle.repeated:
                    self._list(index, particle)
                elif len({event.field for event in particle.events}) > 1:
                    self._choice(index, particle)
                elif particle.least:
                    self.source.line(f"x = o.{particle.events[0].field}")
                    self._present(index, particle, always=True)
                    self.state = self.ordinals.state(index + 1)
                else:
                    self._make_dynamic()
                    self.source.line(f"x = o.{particle.events[0].field}")
                    with self.source.block("if x is not None:"):
                        self._present(index, particle)
                        self._enter(index + 1)
            self._code(self.ordinals.first[len(model.particles)])
            self._flush()
            source.line("return a")

    def _code(self, ordinal: int) -> None:
        """Append the code of an event."""
        if self.state is None:
            self._flush()
            self.source.line(f"a = a << k | {ordinal} - b")
            return
        base, count = self.state
        self._bits(count.bit_length(), str(ordinal - base) if ordinal != base else "")

    def _make_dynamic(self) -> None:
        """Put the current state into `b` and `k`, because it depends on which fields are present."""
        self._flush()
        if self.state is not None:
            self.source.line(f"b = {self.state[0]}; k = {self.state[1].bit_length()}")
            self.state = None

    def _enter(self, index: int, *, again: bool = False) -> None:
        """Put the state before a particle into `b` and `k`."""
        self._flush()
        base, count = self.ordinals.state(index, again=again)
        self.source.line(f"b = {base}; k = {count.bit_length()}")

    def _choice(self, index: int, particle: Particle) -> None:
        """Append the branch that is set; only one may be."""
        source = self.source
        self._make_dynamic()
        first, _ = self.ordinals.span(index)
        fields = [event.field for event in particle.events]
        unset = " + ".join(f"(o.{field} is None)" for field in fields)
        allowed = f"!= {len(fields) - 1}" if particle.least else f"< {len(fields) - 1}"
        source.line(f"if {unset} {allowed}: raise ExiRefusal")
        for offset, event in enumerate(particle.events):
            source.line(f"x = o.{event.field}")
            with source.block("if x is not None:"):
                self._code(first + offset)
                self._event(event)
                self._enter(index + 1)
        if particle.least:
            self.state = self.ordinals.state(index + 1)

    def _list(self, index: int, particle: Particle) -> None:
        """Append all items; after the last allowed one, the state is that of the next particle."""
        source = self.source
        name = particle.events[0].field
        base, count = self.ordinals.state(index, again=True)
        self._make_dynamic()
        source.line(f"items = o.{name}")
        most = "" if particle.most is None else f" or len(items) > {particle.most}"
        least = particle.least
        few = f" or len(items) < {least}" if least > 1 else " or not items" if least else ""
        source.line(f"if items.__class__ is not tuple{few}{most}: raise ExiRefusal")
        with source.block("for i, x in enumerate(items, 1):" if least > 1 else "for x in items:"):
            self._present(index, particle)
            self._flush()
            # while items are missing, only the next one is allowed
            width = f"1 if i < {least} else {count.bit_length()}" if least > 1 else str(count.bit_length())
            source.line(f"b = {base}; k = {width}")
            source.line(f"if a.bit_length() > {FLUSH_BITS}: a = flush(a, out)")
        if particle.most is not None:
            strict = " and not out.loose" if reads_loop(particle) else ""
            with source.block(f"if len(items) == {particle.most}{strict}:"):
                self._enter(index + 1)

    def _present(self, index: int, particle: Particle, *, always: bool = False) -> None:
        """Append the event and value `x` of a particle; `always`: it is in every element of the type."""
        first, _ = self.ordinals.span(index)
        if len(particle.events) == 1:
            self._code(first)
            self._event(particle.events[0], always=always)
            return
        members = {
            event.type: (first + offset, event.type) for offset, event in enumerate(particle.events) if event.type
        }
        state, before = self.state, self.pieces
        for position, (ordinal, member) in enumerate(members.values()):
            assert isinstance(member, type)
            self.state, self.pieces = state, list(before)
            word = "if" if position == 0 else "elif"
            with self.source.block(f"{word} x.__class__ is {self.source.constant(member)}:"):
                self._code(ordinal)
                self._flush()
                self.source.line(f"a = {self.source.call(member, 'e')}(a, x, out)")
        self.pieces = []
        self.source.line("else: raise ExiRefusal")

    def _event(self, event: Event, *, always: bool = False) -> None:
        """Append the value `x` of an event whose code has been appended."""
        if not isinstance(event.type, Simple):
            assert event.type is not None
            self._flush()
            self.source.line(f"a = {self.source.call(event.type, 'e', always=always)}(a, x, out)")
            return
        if event.kind is Kind.ELEMENT:
            self._bits(1, "")
        simple = event.type
        source = self.source
        match simple.kind:
            case "string":
                self._flush()
                shortest = f", {simple.shortest}" if simple.shortest else ""
                source.line(f"a = put_string(a, x, {simple.longest}{shortest})")
            case "binary":
                self._flush()
                source.line(f"a = put_binary(a, x, {simple.shortest}, {simple.longest})")
            case "boolean":
                source.line("if x is not True and x is not False: raise ExiRefusal")
                self._keep(1, "x")
            case "enumeration":
                assert simple.members is not None
                codes = {member: code for code, member in enumerate(simple.members)}
                source.line(f"x = {source.constant(codes, simple.members)}[x]")
                self._keep(simple.width, "x")
            case "bits":
                source.line(f"if not {simple.low} <= x <= {simple.high}: raise ExiRefusal")
                offset = f" - {simple.low}" if (simple.low or 0) > 0 else f" + {-(simple.low or 0)}"
                self._keep(simple.width, f"x{offset}" if simple.low else "x")
            case _:
                self._integer(simple)
        if event.kind is Kind.ELEMENT:
            self._bits(1, "")

    def _keep(self, width: int, expression: str) -> None:
        """Append bits whose expression uses `x`, which the next field overwrites: assign it to its own variable."""
        name = f"x{len(self.pieces)}"
        self.source.line(f"{name} = {expression}")
        self._bits(width, name)

    def _integer(self, simple: Simple) -> None:
        source = self.source
        signed = simple.kind == "integer"
        low = f"{simple.low} <= " if simple.low is not None else ""
        high = f" <= {simple.high}" if simple.high is not None else ""
        if low or high:
            source.line(f"if not {low}x{high}: raise ExiRefusal")
        self._flush()
        if signed:
            source.line("if x < 0: a = a << 1 | 1; x = ~x")
            source.line("else: a <<= 1")
        if not (low and high):
            source.line("if x >> MAX_INTEGER_BITS: raise ExiRefusal")
        source.line("if x < 128: a = a << 8 | x")
        source.line("elif x < 16384: a = a << 16 | (x & 127 | 128) << 8 | x >> 7")
        source.line("else: a = put_varint(a, x)")

    def _bits(self, width: int, expression: str) -> None:
        self.pieces.append((width, expression))

    def _flush(self) -> None:
        """Emit the pending fixed-width bits as one."""
        pieces, self.pieces = self.pieces, []
        total = sum(width for width, _ in pieces)
        if not total:
            return
        terms, at = [f"a << {total}"], total
        for width, expression in pieces:
            at -= width
            if expression:
                terms.append(f"{expression} << {at}" if at else expression)
        self.source.line(f"a = {' | '.join(terms)}")
