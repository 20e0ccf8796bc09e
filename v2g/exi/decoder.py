"""Generates the source of decoders: one straight-line function per complex type.

Fixed-width fields that follow each other, together with the event codes between them, are read in one step: the codes
of a single possible event are zero bits, so one mask checks them all. Generated code has no bookkeeping for error
messages; instead every line has a label, from which `codec` builds the element path of a traceback.
"""

from typing import Final

from v2g.exi.bits import GUARANTEED_BITS, MAX_INTEGER_BITS
from v2g.exi.cbexigen import is_looped
from v2g.exi.model import Event, Kind, Model, Particle, Simple
from v2g.exi.source import Ordinals, SourceText

_INLINE_VARINT: Final = 2**21
"""Magnitudes below this need at most three octets and are read without a call."""


def write_decoder(model: Model, source: SourceText, *, with_start: bool = False) -> None:
    """Append `def d_<name>(r)`, which reads one element of the type after its start and returns the struct.

    `with_start` appends `def z_<name>(r)` instead. It also reads the start, if only that is possible: one zero bit.
    """
    _Decoder(model, source, with_start=with_start).write()


class _Decoder:
    def __init__(self, model: Model, source: SourceText, *, with_start: bool) -> None:
        self.model = model
        self.source = source
        self.with_start = with_start
        self.ordinals = Ordinals(model.particles)
        self.zeros_and_fields: list[tuple[int, str]] = []
        """Fixed-width reads not yet written: width and variable, or "" for bits that must be zero."""
        self.afterwards: list[tuple[str, str]] = []
        """Labels and lines that follow them."""
        self.sure = 0
        """Number of bits certainly in the window."""
        self.live = False
        """Whether `c` is the ordinal of the next event."""
        self.local = False
        """Whether `n` and `w` are the reader's state; a called function has left it in the reader."""
        self.ended = False
        """Whether the end of the element has been read."""

    def write(self) -> None:
        source, model = self.source, self.model
        with source.block(f"def {source.name_of(model.type, 'z' if self.with_start else 'd')}(r):"):
            if self.with_start:
                self._zeros(1)
            if model.content is not None:
                self._return_to_reader()
                source.line(f"return {source.plan(model)}.decode(r)")
                return
            if len(model.particles) == 1 and model.particles[0].events[0].kind is Kind.TEXT:
                # an element with a value only, like one of a simple type
                event = model.particles[0].events[0]
                source, simple = self.source, event.type
                assert isinstance(simple, Simple)
                self._element_value(event.field, simple)
                self._return_to_reader()
                source.line(f"return {source.constant(self.model.type)}({event.field}={event.field})")
                return
            for index, particle in enumerate(model.particles):
                self._particle(index, particle)
            if not self.live and not self.ended:
                self._zeros(1)
            self._flush()
            source.label = ""
            self._return_to_reader()
            fields = ", ".join(f"{name}={name}" for name in model.type.__struct_fields__)
            source.line(f"return {source.constant(model.type)}({fields})")

    def _particle(self, index: int, particle: Particle) -> None:
        self.source.label = particle.events[0].qname.local
        ambiguous = len(particle.events) > 1
        if self._may_be_empty(index):
            self._text(index, particle.events[0])
            return
        if not self.live:
            if self.ordinals.is_single(index):
                self._single(index, particle)
                return
            self._read_code(index)
        if particle.least and not ambiguous:
            self._present(index, particle)
            return
        for name in dict.fromkeys(event.field for event in particle.events):
            self.source.line(f"{name} = {'()' if particle.repeated else 'None'}")
        if particle.least:
            self._present(index, particle)
            return
        first, last = self.ordinals.span(index)
        sure = self.sure
        with self.source.block(f"if c == {first}:" if first == last else f"if c <= {last}:"):
            self._present(index, particle)
            if not self.live:
                self._read_code(index + 1)
            self._flush()
            self._load()
        self.sure = min(sure, self.sure)
        self.live = True

    def _may_be_empty(self, index: int) -> bool:
        """Whether a particle is text of length zero or more, so that the element may end there (EXI 8.5.4.4.1)."""
        event = self.ordinals.particles[index].events[0]
        return event.kind is Kind.TEXT and isinstance(event.type, Simple) and event.type.kind in ("string", "binary")

    def _text(self, index: int, event: Event) -> None:
        """Read text after attributes, and the end of the element."""
        source, simple = self.source, event.type
        assert isinstance(simple, Simple)
        self.ended = True
        if not self.live:
            self._element_value(event.field, simple)
            return
        self._flush()
        self._load()
        read = f"r.n = n; {event.field} = r.{{}}({simple.shortest}, {simple.longest})"
        with source.block(f"if c > {self.ordinals.span(index)[1]}:"):
            source.line(read.format(f"empty_{simple.kind}"))
        with source.block("else:"):
            source.line(f"{read.format(simple.kind)}; r.end()")
        self.live, self.local, self.sure = False, False, 0

    def _single(self, index: int, particle: Particle) -> None:
        """Read the only possible event, and its value."""
        event = particle.events[0]
        if particle.repeated:
            self._zeros(1)
            self._list(index, particle)
        elif isinstance(event.type, type) and not self.zeros_and_fields:
            # its function reads the zero bit together with what follows
            self.source.label = event.qname.local
            self._call(event.field, f"{self.source.call(event.type, 'z', always=True)}(r)")
        else:
            self._zeros(1)
            self._event(event, always=True)

    def _present(self, index: int, particle: Particle) -> None:
        """Read the value of an event whose ordinal is in `c`."""
        self.live = False
        if particle.repeated:
            self._list(index, particle)
            return
        first, _ = self.ordinals.span(index)
        if len(particle.events) == 1:
            self._event(particle.events[0])
            return
        self._branches(particle, first)

    def _branches(self, particle: Particle, first: int) -> None:
        """Read one of several events."""
        self._flush()
        self._load()
        sure, left = self.sure, []
        label = self.source.label
        for offset, event in enumerate(particle.events):
            self.sure = sure
            word = "if" if offset == 0 else "elif"
            self.source.label = event.qname.local
            last = offset == len(particle.events) - 1
            with self.source.block("else:" if last else f"{word} c == {first + offset}:"):
                self._event(event)
                self._flush()
                self._load()
            left.append(self.sure)
        self.sure = min(left)
        self.source.label = label

    def _list(self, index: int, particle: Particle) -> None:
        """Read a repeated element after its first event."""
        source = self.source
        name = particle.events[0].field
        first, last = self.ordinals.span(index)
        self._flush()
        self._load()
        items = f"{name}_items"
        source.line(f"{items} = []")
        if len(particle.events) > 1 and not self.live and self.ordinals.is_single(index):
            source.line(f"c = {first}")
        self.sure = 0
        with source.block("while True:"):
            if len(particle.events) == 1:
                self._event(particle.events[0])
            else:
                self._branches(particle, first)
            self._flush()
            self._load()
            source.line(f"{items}.append({name})")
            if particle.least > 1:
                # while items are missing, only the next one is allowed
                condition = f"len({items}) < {particle.least}"
                sure = self.sure
                with self.source.block(f"if {condition}:"):
                    self._zeros(1)
                    self._flush()
                    self.source.line("continue")
                self.sure = sure
            if particle.most is not None:
                with source.block(f"if len({items}) == {particle.most}:"):
                    self._full_list(index)
            self._read_code(index, again=True)
            source.line(f"if c > {last}: break")
        source.line(f"{name} = tuple({items})")
        self.sure = 0
        self.live = True

    def _full_list(self, index: int) -> None:
        """After the last copy only its successors are allowed; cbexigen still writes the code of the copies before."""
        source, sure = self.source, self.sure
        if not is_looped(self.model.particles[index]):
            self._read_code(index + 1)
            source.line("break")
            self.sure = sure
            return
        source.line("r.full = True")
        with source.block("if r.loose:"):
            self._read_code(index, again=True)
            source.line(f"if c <= {self.ordinals.span(index)[1]}: r.refuse(n, 'more items than are allowed')")
        self.sure = sure
        with source.block("else:"):
            self._read_code(index + 1)
        source.line("break")
        self.sure = sure

    def _event(self, event: Event, *, always: bool = False) -> None:
        source = self.source
        source.label = ("@" if event.kind is Kind.ATTRIBUTE else "") + event.qname.local
        if event.type is None:
            self._flush()
            self._load()
            source.line("r.refuse(n, 'the head of a substitution group, which is abstract')")
        elif isinstance(event.type, Simple):
            if event.kind is Kind.ELEMENT:
                self._element_value(event.field, event.type)
            else:
                self._value(event.field, event.type)
        else:
            self._call(event.field, f"{source.call(event.type, 'd', always=always)}(r)")

    def _element_value(self, name: str, simple: Simple) -> None:
        """Read the value of a simple element with the events around it."""
        if simple.kind in ("string", "binary"):
            self._call(name, f"r.{simple.kind}_element({simple.shortest}, {simple.longest})")
            return
        self._zeros(1)
        self._value(name, simple)
        self._zeros(1)

    def _value(self, name: str, simple: Simple) -> None:
        match simple.kind:
            case "string" | "binary":
                self._call(name, f"r.{simple.kind}({simple.shortest}, {simple.longest})")
            case "boolean":
                self._fixed(1, name, f"{name} = {name} == 1")
            case "enumeration":
                assert simple.members is not None
                members = self.source.constant(tuple(simple.members), simple.members)
                size, read = len(simple.members), f"{name} = {members}[{name}]"
                if size != 1 << simple.width:
                    read += f" if {name} < {size} else r.unlisted(n, {name}, {members})"
                self._fixed(simple.width, name, read)
            case "bits":
                assert simple.low is not None
                assert simple.high is not None
                shift = [f"{name} += {simple.low}"] if simple.low > 0 else []
                shift = [f"{name} -= {-simple.low}"] if simple.low < 0 else shift
                whole = simple.high - simple.low == (1 << simple.width) - 1
                check = f"if {name} > {simple.high}: {self._out_of_range(name, simple)}"
                self._fixed(simple.width, name, *shift, *([] if whole else [check]))
            case _:
                # read a variable-length integer, negative numbers as -(n + 1) after a sign bit (EXI 7.1.5, 7.1.6)
                source = self.source
                signed = simple.kind == "integer"
                if signed:
                    self._fixed(1, "s")
                self._flush()
                bounds = [abs(each) for each in (simple.low, simple.high) if each is not None]
                known = simple.high is not None and (not signed or simple.low is not None)
                if known and max(bounds) < _INLINE_VARINT:
                    self._inline_varint(name)
                else:
                    bits = max(64, max(bounds).bit_length()) if known else MAX_INTEGER_BITS
                    self._ensure(8)
                    with source.block("if w >> n - 1 & 1:"):
                        source.line(f"r.n = n; {name} = r.varint({bits}); n = r.n; w = r.w")
                    with source.block("else:"):
                        source.line(f"n -= 8; {name} = w >> n & 127")
                    self.sure = 0
                if signed:
                    source.line(f"if s: {name} = -{name} - 1")
                tests = [f"{name} < {simple.low}"] if simple.low and (signed or simple.low > 0) else []
                tests += [f"{name} > {simple.high}"] if simple.high is not None else []
                if tests:
                    source.line(f"if {' or '.join(tests)}: {self._out_of_range(name, simple)}")

    def _out_of_range(self, name: str, simple: Simple) -> str:
        return f"r.outside(n, {name}, {simple.low}, {simple.high})"

    def _inline_varint(self, name: str) -> None:
        source = self.source
        self._ensure(24)
        source.line("v = w >> n - 24 & 16777215")
        source.line(f"if v < 8388608: n -= 8; {name} = v >> 16")
        source.line(f"elif not v & 32768: n -= 16; {name} = v >> 16 & 127 | v >> 1 & 16256")
        source.line(f"elif not v & 128: n -= 24; {name} = v >> 16 & 127 | v >> 1 & 16256 | (v & 127) << 14")
        source.line(f"else: r.n = n; {name} = r.varint(); n, w = r.refill(r.n)")
        self.sure -= 24

    def _call(self, name: str, call: str) -> None:
        self._flush()
        self.source.line(f"r.n = n; {name} = {call}" if self.local else f"{name} = {call}")
        self.local = False
        self.sure = 0

    def _load(self) -> None:
        """Load the state from the reader if it is there."""
        if not self.local:
            self.source.line("n = r.n; w = r.w")
            self.local = True

    def _return_to_reader(self) -> None:
        self._flush()
        if self.local:
            self.source.line("r.n = n")
            self.local = False

    def _read_code(self, index: int, *, again: bool = False) -> None:
        """Read the code of the next event into `c` as an ordinal; `again` if the particle at `index` may repeat."""
        base, count = self.ordinals.state(index, again=again)
        width = count.bit_length()
        last = len(self.ordinals.particles) - 1
        if base + count - 1 == self.ordinals.span(last)[0] and self._may_be_empty(last):
            count += 1  # the escape to the second level, where the end may stand: in `c` like the end
        if count == 1:
            self._zeros(1)
            self.afterwards.append((self.source.label, f"c = {base}"))
        else:
            shift = [f"c += {base}"] if base else []
            check = f"if c >= {count}: r.unforeseen(n)"
            self._fixed(width, "c", *([check] if count < (1 << width) else []), *shift)
        self._flush()
        self.live = True

    def _zeros(self, width: int) -> None:
        self.zeros_and_fields.append((width, ""))

    def _fixed(self, width: int, name: str, *afterwards: str) -> None:
        if sum(each for each, _ in self.zeros_and_fields) + width > GUARANTEED_BITS or any(
            name == other for _, other in self.zeros_and_fields
        ):
            self._flush()
        self.zeros_and_fields.append((width, name))
        self.afterwards += [(self.source.label, line) for line in afterwards]

    def _ensure(self, width: int) -> None:
        self._load()
        if self.sure < width:
            self.source.line(f"if n < {GUARANTEED_BITS}: n, w = r.refill(n)")
            self.sure = GUARANTEED_BITS

    def _flush(self) -> None:
        """Emit the pending fixed-width reads as one."""
        pieces, self.zeros_and_fields = self.zeros_and_fields, []
        after, self.afterwards = self.afterwards, []
        total = sum(width for width, _ in pieces)
        if total:
            self._ensure(total)
            self.sure -= total
            self.source.line(f"n -= {total}")
            self._extract(pieces, total)
        label = self.source.label
        for self.source.label, line in after:
            self.source.line(line)
        self.source.label = label

    def _extract(self, pieces: list[tuple[int, str]], total: int) -> None:
        if len(pieces) == 1 and pieces[0][1]:
            self.source.line(f"{pieces[0][1]} = w >> n & {(1 << total) - 1}")
            return
        if not any(name for _, name in pieces):
            mask = (1 << total) - 1
            self.source.line(f"if w >> n & {mask}: r.misplaced(n, w >> n & {mask})")
            return
        self.source.line(f"v = w >> n & {(1 << total) - 1}")
        zeros, at, reads = 0, total, []
        for width, name in pieces:
            at -= width
            mask = (1 << width) - 1
            if name:
                reads.append(f"{name} = v >> {at} & {mask}" if at else f"{name} = v & {mask}")
            else:
                zeros |= mask << at
        if zeros:
            self.source.line(f"if v & {zeros}: r.misplaced(n, v & {zeros})")
        for line in reads:
            self.source.line(line)
