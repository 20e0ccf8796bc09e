"""Encodes and decodes messages: generates functions for a type when it is first used, and explains failures."""

from collections.abc import Callable, Iterable
from functools import cache
from types import TracebackType
from typing import Any, Final

from v2g.errors import ExiDecodeError, ExiEncodeError
from v2g.exi import bits
from v2g.exi.bits import Output, Reader, Refusal
from v2g.exi.cbexigen import Dialect, swapped, unspeakable
from v2g.exi.declare import Element, Schema, schema_of
from v2g.exi.decoder import write_decoder
from v2g.exi.encoder import write_encoder
from v2g.exi.free import FreePlan
from v2g.exi.grammar import Roots, document, fragment
from v2g.exi.model import Model, QName, Simple, leaves, model_of
from v2g.exi.source import Source
from v2g.exi.validate import find_fault

__all__ = ["decode", "decode_fragment", "encode", "encode_fragment"]

HEADER: Final = 0x80
"""Distinguishing bits, no options, final version 1 (EXI 5): the only header of V2G streams."""

_HEADER_BITS: Final = 8


def encode(message: Element, *, dialect: Dialect = Dialect.EXI) -> bytes:
    """Return a message as an EXI document, in the grammar of its own namespace.

    Raises ExiEncodeError with the path of the field that its declaration does not allow, or that a peer of the dialect
    cannot read.
    """
    schema = schema_of(type(message))
    roots = document(schema)
    name = roots.choose(type(message), None)
    if dialect is not Dialect.EXI:
        _check(message, name)
        return _encode(message, schema, roots, name, roots.code[swapped(name)], loose=True)
    return _encode(message, schema, roots, name, roots.code[name])


def encode_fragment(
    element: Element, schema: Schema, *, name: str | None = None, dialect: Dialect = Dialect.EXI
) -> bytes:
    """Return an element as an EXI fragment in the grammar of `schema`: the octets that a signature hashes.

    `name` is needed where elements of several names have the type; in Clark notation, `{namespace}name`, it is never
    ambiguous. `SignedInfo` is hashed in the grammar of XMLDSIG, signed elements in that of their messages. Raises
    ExiEncodeError.
    """
    roots = fragment(schema)
    chosen = roots.choose(type(element), name)
    loose = dialect is not Dialect.EXI
    if loose:
        _check(element, chosen)
    return _encode(element, schema, roots, chosen, roots.code[chosen], fragment_end=roots.end, loose=loose)


def decode(data: bytes, schema: Schema, *, dialect: Dialect = Dialect.EXI) -> Element:
    """Return the message that an EXI document holds. Raises ExiDecodeError, and nothing else, for any octets.

    Full lists and empty values are read in every form that is known, whatever the dialect.
    """
    return _decode(data, schema, document(schema), dialect, is_fragment=False)


def decode_fragment(data: bytes, schema: Schema, *, dialect: Dialect = Dialect.EXI) -> Element:
    """Return the element that an EXI fragment holds. Raises ExiDecodeError, and nothing else, for any octets."""
    return _decode(data, schema, fragment(schema), dialect, is_fragment=True)


def _check(element: Element, name: QName) -> None:
    found = unspeakable(element, name.local)
    if found:
        path, why = found
        raise ExiEncodeError(why, path=path, hint="Only the specification's own dialect can say this.")


def _encode(
    element: Element,
    schema: Schema,
    roots: Roots,
    name: QName,
    code: int,
    *,
    fragment_end: int | None = None,
    loose: bool = False,
) -> bytes:
    out = Output(schema, loose=loose)
    try:
        acc = (256 | HEADER) << roots.width | code
        if name in roots.relaxed:
            acc = roots.relaxed[name].encode(acc, element)
        else:
            acc = _encoder(type(element))(acc, element, out)
        if fragment_end is not None:
            acc = acc << roots.width | fragment_end
        return bits.finish(acc, out)
    except (Refusal, TypeError, ValueError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        path, why = find_fault(element, name.local) or (name.local, str(error) or "cannot be encoded")
        raise ExiEncodeError(why, path=path) from error


def _decode(data: bytes, schema: Schema, roots: Roots, dialect: Dialect, *, is_fragment: bool) -> Element:
    data = bytes(data)
    reader = Reader(data, schema, loose=dialect is not Dialect.EXI)
    try:
        return _read(reader, data, roots, dialect, is_fragment=is_fragment)
    except ExiDecodeError:
        if not reader.full:
            raise
        # A list was filled up to its maximum. cbexigen writes the end of such a list in the code of the items.
        try:
            other = Reader(data, schema, loose=not reader.loose)
            return _read(other, data, roots, dialect, is_fragment=is_fragment)
        except ExiDecodeError:
            pass
        raise


def _read(reader: Reader, data: bytes, roots: Roots, dialect: Dialect, *, is_fragment: bool) -> Element:
    path = ""
    try:
        if data[:1] != bytes((HEADER,)):
            raise Refusal("not the EXI header of V2G (0x80)")
        reader.take(_HEADER_BITS)
        code = reader.take(roots.width)
        if code >= len(roots.names):
            raise Refusal("the stream begins with no declared element")
        name = roots.names[code]
        if dialect is not Dialect.EXI and not is_fragment:
            name = swapped(name)
        path = name.local
        element = _read_element(reader, roots, name)
        if is_fragment and reader.take(roots.width) != roots.end:
            raise Refusal("the fragment goes on after its element")
        if not 0 <= reader.left < _HEADER_BITS:
            raise Refusal("the stream ends too early" if reader.left < 0 else "octets after the end of the message")
        return element
    except Refusal as error:
        path += _path(error.__traceback__)
        position = min(reader.position, 8 * len(data))
        # Behind its end a stream reads as zeros, which may be refused for any reason.
        why = str(error) if reader.left >= 0 else "the stream ends too early"
        raise ExiDecodeError(why, bit_position=position, path=path) from None


def _read_element(reader: Reader, roots: Roots, name: QName) -> Element:
    if name in roots.relaxed:
        return roots.relaxed[name].decode(reader)
    declaration = roots.type_of(name)
    if declaration is None or isinstance(declaration, Simple):
        raise Refusal("the element is abstract, or not a structure")
    return _decoder(declaration)(reader)


def _path(traceback: TracebackType | None) -> str:
    """Build the element path from the labels of the generated lines that were being run."""
    path = ""
    while traceback is not None:
        labels = traceback.tb_frame.f_globals.get("_labels")
        if labels is not None and traceback.tb_frame.f_code.co_filename == _FILE:
            label = labels[traceback.tb_lineno - 1]
            path += f"/{label}" if label else ""
        traceback = traceback.tb_next
    return path


_FILE: Final = "<generated from the declarations>"


def _parts(model: Model) -> Iterable[tuple[type[Element], bool]]:
    """Return the complex types that a type uses directly, and whether none of its elements is without one."""
    for particle in model.particles:
        for event in particle.events:
            if isinstance(event.type, type):
                yield event.type, particle.least > 0 and len(particle.events) == 1
    if model.content is not None:
        yield from ((leaf, False) for leaf in leaves(model.content.model))


_Decoder = Callable[[Reader], Element]
_Encoder = Callable[[int, Any, Output], int]


class _Library:
    """Generated functions of one kind by type; types share the functions of the types that they use."""

    def __init__(self, prefix: str, write: Callable[[Model, Source], None], names: dict[str, object]) -> None:
        self._prefix = prefix
        self._write = write
        self._names = names
        self._functions: dict[type[Element], Any] = {}

    def function(self, declaration: type[Element]) -> Any:
        """Return the function of a type; generate it when it is first asked for."""
        if declaration not in self._functions:
            self._generate(declaration)
        return self._functions[declaration]

    def _generate(self, declaration: type[Element]) -> None:
        """Generate the function of a type, and those of the types that each of its elements has inside."""
        wanted: dict[type[Element], Model] = {}
        queue = [declaration]
        for each in queue:  # grows while it is walked
            if each not in wanted and each not in self._functions:
                wanted[each] = model_of(each)
                queue += [part for part, always in _parts(wanted[each]) if always]
        source = Source()
        for model in wanted.values():
            self._write(model, source)
        scope: dict[str, Any] = {**self._names, **source.names, "_labels": source.labels}
        parts = {part for model in wanted.values() for part, _ in _parts(model)}
        for part in parts:
            self._put(scope, source.name_of(part, self._prefix), part)
        exec(compile("\n".join(source.lines), _FILE, "exec", dont_inherit=True, optimize=0), scope)  # noqa: S102 - source of our own making
        for each in wanted:
            self._functions[each] = scope[source.name_of(each, self._prefix)]
        for plan in source.names.values():
            if isinstance(plan, FreePlan):
                functions: dict[Any, Any] = plan.decoders if self._prefix == "d" else plan.encoders
                for member in {member for state in plan.states for member, _ in state.elements}:
                    self._put(functions, member, member)

    def _put(self, where: dict[Any, Any], key: Any, declaration: type[Element]) -> None:
        """Put the function of a type somewhere, or one that puts it there when it is first called.

        Most of what a message may hold it never holds, and compiling is what start-up costs.
        """
        if declaration in self._functions:
            where[key] = self._functions[declaration]
            return

        def first_call(*arguments: Any) -> Any:
            where[key] = self.function(declaration)
            return where[key](*arguments)

        where[key] = first_call


@cache
def _decoders() -> _Library:
    return _Library("d", write_decoder, {"Refusal": Refusal})


@cache
def _encoders() -> _Library:
    names = ("Refusal", "MAX_INTEGER_BITS", "flush", "put_binary", "put_string", "put_varint")
    return _Library("e", write_encoder, {name: getattr(bits, name) for name in names})


def _decoder(declaration: type[Element]) -> _Decoder:
    function: _Decoder = _decoders().function(declaration)
    return function


def _encoder(declaration: type[Element]) -> _Encoder:
    function: _Encoder = _encoders().function(declaration)
    return function
