"""Encodes and decodes messages: generates functions for a type when it is first used, and explains failures."""

import traceback
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final, Generic, TypeVar

from v2g.errors import ExiDecodeError, ExiEncodeError
from v2g.exi import bits
from v2g.exi.bits import FILE, BitOutput, BitReader, Deviation, ExiRefusal, TolerantReader, labelled_path
from v2g.exi.cbexigen import Dialect, swapped, unspeakable
from v2g.exi.declare import Element, Schema, schema_of
from v2g.exi.decoder import write_decoder
from v2g.exi.encoder import write_encoder
from v2g.exi.encoder_fault import find_fault
from v2g.exi.free import FreePlan
from v2g.exi.grammar import Roots, document, fragment
from v2g.exi.model import Model, QName, Simple, model_of
from v2g.exi.source import SourceText
from v2g.typed_json import Fields

HEADER: Final = 0x80
"""Distinguishing bits, no options, final version 1 (EXI 5): the only header of V2G streams."""

_HEADER_BITS: Final = 8


def encode(message: Element, *, dialect: Dialect = Dialect.EXI) -> bytes:
    """Return a message as an EXI document, in the grammar of its own namespace.

    Raises ExiEncodeError with the path of the field that violates its declaration, or that a peer of the dialect cannot
    decode.
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
    """Return an element as an EXI fragment in the grammar of `schema`: the octets hashed by a signature.

    `name` is needed if elements of several names have the type; in Clark notation, `{namespace}name`, it is never
    ambiguous. `SignedInfo` is hashed in the grammar of XMLDSIG, signed elements in that of their messages. Raises
    ExiEncodeError.
    """
    roots = fragment(schema)
    chosen = roots.choose(type(element), name)
    loose = dialect is not Dialect.EXI
    if loose:
        _check(element, chosen)
    return _encode(element, schema, roots, chosen, roots.code[chosen], fragment_end=roots.end, loose=loose)


def decode(
    data: bytes, schema: Schema, *, dialect: Dialect = Dialect.EXI, deviations: list[Deviation] | None = None
) -> Element:
    """Return the message in an EXI document. Raises only ExiDecodeError, for any octets.

    Full lists and empty values are decoded in every known form, whatever the dialect. With `deviations` values are read
    that the bits allow and the schema does not (`v2g.exi.bits.TolerantReader`), and added to it; a value without a name
    is `Unlisted_n`. Such a message cannot be encoded.
    """
    return _decode(data, schema, document(schema), dialect, is_fragment=False, deviations=deviations)


def decode_fragment(
    data: bytes, schema: Schema, *, dialect: Dialect = Dialect.EXI, deviations: list[Deviation] | None = None
) -> Element:
    """Return the element in an EXI fragment, see `decode`. Raises only ExiDecodeError, for any octets."""
    return _decode(data, schema, fragment(schema), dialect, is_fragment=True, deviations=deviations)


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
    out = BitOutput(schema, loose=loose)
    try:
        acc = (256 | HEADER) << roots.width | code
        if roots.relaxed and name in roots.relaxed:
            acc = roots.relaxed[name].encode(acc, element)
        else:
            acc = encoders().function((type(element), "e"))(acc, element, out)
        if fragment_end is not None:
            acc = acc << roots.width | fragment_end
        return bits.finish(acc, out)
    except (ExiRefusal, TypeError, ValueError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        path, why = find_fault(element, name.local) or (name.local, str(error) or "cannot be encoded")
        raise ExiEncodeError(why, path=path) from error


def _decode(
    data: bytes,
    schema: Schema,
    roots: Roots,
    dialect: Dialect,
    *,
    is_fragment: bool,
    deviations: list[Deviation] | None = None,
) -> Element:
    data = bytes(data)
    new_reader = BitReader if deviations is None else TolerantReader
    reader = new_reader(data, schema, loose=dialect is not Dialect.EXI)
    try:
        element = _read(reader, data, roots, dialect, is_fragment=is_fragment)
    except ExiDecodeError as error:
        if not reader.full:
            raise
        # The list has its maximum length. cbexigen writes the end of such a list in the code of the items.
        reader = new_reader(data, schema, loose=not reader.loose)
        try:
            element = _read(reader, data, roots, dialect, is_fragment=is_fragment)
        except ExiDecodeError:
            raise error from None
    if deviations is not None and isinstance(reader, TolerantReader):
        root = type(element).__name__
        deviations += [Deviation(root + each.path, each.kind, each.value, each.allowed) for each in reader.deviations]
    return element


def _read(reader: BitReader, data: bytes, roots: Roots, dialect: Dialect, *, is_fragment: bool) -> Element:
    path = ""
    try:
        if data[:1] != bytes((HEADER,)):
            raise ExiRefusal("not the EXI header of V2G (0x80)")
        reader.take(_HEADER_BITS)
        code = reader.take(roots.width)
        if code >= len(roots.names):
            raise ExiRefusal("the stream begins with no declared element")
        name = roots.names[code]
        if dialect is not Dialect.EXI and not is_fragment:
            name = swapped(name)
        path = name.local
        function = roots.readers.get(name)
        if function is None:
            function = roots.readers[name] = _reader_of(roots, name)
        element = function(reader)
        if is_fragment and reader.take(roots.width) != roots.end:
            raise ExiRefusal("data follows the element of the fragment")
        if not 0 <= reader.left < _HEADER_BITS:
            raise ExiRefusal("the stream ends too early" if reader.left < 0 else "octets after the end of the message")
        return element
    except ExiRefusal as error:
        path += labelled_path(traceback.walk_tb(error.__traceback__))
        position = min(reader.position, 8 * len(data))
        # Past its end a stream reads as zeros, which may be rejected for any reason.
        why = str(error) if reader.left >= 0 else "the stream ends too early"
        raise ExiDecodeError(why, bit_position=position, path=path) from None


def _reader_of(roots: Roots, name: QName) -> Callable[[BitReader], Element]:
    """Return the function that reads an element after its start. Raises ExiRefusal."""
    if name in roots.relaxed:
        return roots.relaxed[name].decode
    declaration = roots.type_of(name)
    if declaration is None or isinstance(declaration, Simple):
        raise ExiRefusal("the element is abstract, or not a structure")
    return decoders().function((declaration, "d"))


_Decoder = Callable[[BitReader], Element]
_Encoder = Callable[[int, Element, BitOutput], int]
_Key = tuple[type[Element], str]
"""Identifies a function: type and prefix."""


_Function = TypeVar("_Function")


class _Library(Generic[_Function]):
    """Generated functions by type and prefix; they share the functions of their types."""

    def __init__(self, writers: dict[str, Callable[[Model, SourceText], None]], names: dict[str, object]) -> None:
        self._writers = writers
        self._names = names
        self.functions: dict[_Key, _Function] = {}

    def function(self, key: _Key) -> _Function:
        """Return a function, generated at its first use."""
        if key not in self.functions:
            self.generate(key)
        return self.functions[key]

    def generate(self, key: _Key) -> None:
        """Generate a function, and those that it always calls."""
        source = SourceText()
        wanted = [key]
        for declaration, prefix in wanted:  # grows while it is walked
            self._writers[prefix](model_of(declaration), source)
            always = [(called, kind) for called, kind, each_time in source.calls.values() if each_time]
            wanted += [each for each in always if each not in wanted and each not in self.functions]
        scope: Fields = {**self._names, **source.names, "_labels": source.labels}
        for name, (declaration, prefix, _) in source.calls.items():
            self._put(scope, name, (declaration, prefix))
        exec(compile("\n".join(source.lines), FILE, "exec", dont_inherit=True, optimize=0), scope)  # noqa: S102 - source of our own making
        for each in wanted:
            self.functions[each] = scope[source.name_of(*each)]
        for plan in source.names.values():
            if isinstance(plan, FreePlan):
                functions: dict[Any, Any] = plan.encoders if "e" in self._writers else plan.decoders
                for member in {member for state in plan.states for member, _ in state.elements}:
                    self._put(functions, member, (member, "e" if "e" in self._writers else "d"))

    def _put(self, where: dict[Any, Any], name: object, key: _Key) -> None:
        """Register a function, or a stub that generates it at its first call.

        Most of the optional content never occurs in messages, and compiling dominates start-up.
        """
        if key in self.functions:
            where[name] = self.functions[key]
            return

        def first_call(*arguments: object) -> object:
            where[name] = self.function(key)
            return where[name](*arguments)

        where[name] = first_call


@cache
def decoders() -> _Library[_Decoder]:
    """Return the decoders that have been generated, and generate others."""
    with_start = partial(write_decoder, with_start=True)
    return _Library({"d": write_decoder, "z": with_start}, {"ExiRefusal": ExiRefusal})


@cache
def encoders() -> _Library[_Encoder]:
    """Return the encoders that have been generated, and generate others."""
    names = ("ExiRefusal", "MAX_INTEGER_BITS", "flush", "put_binary", "put_string", "put_varint")
    return _Library({"e": write_encoder}, {name: getattr(bits, name) for name in names})
