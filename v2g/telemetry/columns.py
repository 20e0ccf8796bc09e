"""The compact form of a delivery: records by column, in MessagePack (docs/reference/telemetry-delivery.md).

Numbers are multiples of their signal's step, as differences from the row before; tags are runs. The records that
come out are, octet for octet, those that went in: what does not fit a column is carried as it is. A delivery is packed
by itself, with a dictionary of what all have in common: none needs another one, and their order does not matter.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta

from v2g.errors import CodecError
from v2g.telemetry.delivery import MAX_BATCH, MAX_DELIVERY_BYTES, DeliveryNotice, decode_notice, encode_notice
from v2g.telemetry.signals import (
    MAX_RECORD_BYTES,
    SCHEMA_4,
    SCHEMA_5,
    SCHEMAS,
    SIGNALS,
    TAGGED_SCHEMA,
    Record,
    decode_record,
    encode_record,
)

FORM: Final = 4
"""Its records are of version 5. Those of earlier gateways: of form 3 version 4, of form 2 version 3; form 1 is the same
without the random id of the boot."""

_FORMS: Final = {1: TAGGED_SCHEMA, 2: TAGGED_SCHEMA, 3: SCHEMA_4, FORM: SCHEMA_5}

COMPACT_TYPE: Final = "application/vnd.v2g-telemetry+msgpack"
"""Content type of the compact form over HTTP."""

NAMES: Final = tuple(SCHEMAS[SCHEMA_5].signals)
"""The signals of version 5, which stand by their place here; the first 49 are those of version 4, the first 22 those of
version 3. Later ones need a later version of the schema, and form."""

_PLACES: Final = {name: place for place, name in enumerate(NAMES)}

T = TypeVar("T")

_TEMPERATURE, _POWER = 10, 1
"""Steps of a unit: of the outside temperature, and of the charging power."""

_MOST: Final = 2**53

Whole = Annotated[int, Meta(ge=-_MOST, le=_MOST)]
Row = Annotated[int, Meta(ge=0, lt=MAX_BATCH)]
Rows = Annotated[tuple[Row, ...], Meta(max_length=MAX_BATCH)]
Wholes = Annotated[tuple[Whole, ...], Meta(max_length=MAX_BATCH)]
Index = Annotated[int, Meta(ge=0, lt=len(NAMES))]
Count = Annotated[int, Meta(ge=1, le=MAX_BATCH)]
Text = Annotated[str, Meta(max_length=64)]
Figure = Whole | float
"""A number of steps, or a number that is no multiple of the step."""

TextRuns = Annotated[tuple[tuple[Count, Text], ...], Meta(max_length=MAX_BATCH)]
FigureRuns = Annotated[tuple[tuple[Count, Figure | None], ...], Meta(max_length=MAX_BATCH)]


class _Columns(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All records are of one version, vehicle and boot. A signal has rows and values. Rows of signals and
    keyframes are differences, less one; `others` are elements by their place in the delivery, without a notice of
    `boot_id` before them."""

    form: Literal[1, 2, 3, 4]
    ev: Text
    boot: Whole
    seqs: Wholes
    times: Wholes
    contexts: TextRuns
    trips: TextRuns
    ambient: FigureRuns
    power: FigureRuns
    keyframes: Rows
    signals: dict[Index, tuple[Rows, Annotated[tuple[Figure, ...], Meta(max_length=MAX_BATCH)]]]
    others: Annotated[
        tuple[tuple[Row, Annotated[bytes, Meta(max_length=MAX_RECORD_BYTES)]], ...], Meta(max_length=MAX_BATCH)
    ]
    boot_id: Annotated[bytes, Meta(min_length=8, max_length=8)] | None = None


_encoder = msgspec.msgpack.Encoder()

_PACKED: Final = b"\xc1\x01"
"""How a packed delivery begins: an octet that MessagePack does not use, and the version of the dictionary."""

_DICTIONARY: Final = b"".join(
    (
        *(_encoder.encode(_PLACES[name]) + b"\x92\x91\x00\x91" for name in sorted(NAMES[:54])),
        *(b"\x91\x92\x01" + _encoder.encode(context) for context in ("parked", "city", "highway", "discharging")),
        b"\x9d\x04\xa7\x91\x01\x91\xcf\x00\x00\x01\x91\x92\x01\xa8charging\x91\x92\x01\xac1900000000-1",
        b"\x91\x92\x01\xcc\xb9\x91\x92\x01\x00\x91\x00\x8e\x90\xc4\x08",
    )
)
"""What deliveries have in common (RFC 1951 refers to it as if it came before). Another one is another version."""

_decoder = msgspec.msgpack.Decoder(_Columns)


def is_compact(delivery: bytes) -> bool:
    """Return whether a delivery has the compact form: its first octet is that of a MessagePack array, or says that it
    is packed; JSON has neither."""
    return delivery[:1] in (b"\x9c", b"\x9d", _PACKED[:1])


def encode_compact(elements: Iterable[bytes]) -> bytes:
    """Return encoded records and notices, at most 1000, as one delivery."""
    records: list[Record] = []
    others: list[tuple[int, bytes]] = []
    sent = list(elements)
    boot_id = _boot_id(sent)
    for place, element in enumerate(sent if boot_id is None else sent[1:]):
        record = _fitting(element, records[0] if records else None)
        if record is None:
            others.append((place, element))
        else:
            records.append(record)
    signals: dict[str, tuple[list[int], list[float]]] = {}
    for row, record in enumerate(records):
        for name, value in record.signals.items():
            rows, values = signals.setdefault(name, ([], []))
            rows.append(row)
            assert not isinstance(value, str)
            values.append(value)
    first = records[0] if records else None
    columns = _Columns(
        FORM,
        "" if first is None else first.ev,
        0 if first is None else first.boot,
        tuple(_differences(each.seq for each in records)),
        tuple(_differences(each.utc_ms for each in records)),
        _runs(each.context for each in records),
        _runs(str(each.trip) for each in records),
        _runs(_tag(each.ambient_c, _TEMPERATURE) for each in records),
        _runs(_tag(each.charging_w, _POWER) for each in records),
        _gaps(row for row, each in enumerate(records) if each.keyframe),
        {_PLACES[name]: (_gaps(rows), _figures(values, _steps(name))) for name, (rows, values) in signals.items()},
        tuple(others),
        boot_id,
    )
    plain = _encoder.encode(columns)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
    packed = _PACKED + packer.compress(plain) + packer.flush()
    return packed if len(packed) < len(plain) <= MAX_DELIVERY_BYTES else plain


def _unpack(delivery: bytes) -> bytes:
    """Return a packed delivery as MessagePack. Raises CodecError."""
    unpacker = zlib.decompressobj(-15, _DICTIONARY)
    try:
        plain = unpacker.decompress(delivery[len(_PACKED) :], MAX_DELIVERY_BYTES + 1)
    except zlib.error as error:
        raise CodecError(f"telemetry delivery: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise CodecError(f"telemetry delivery: not whole, or more than {MAX_DELIVERY_BYTES} bytes")
    return plain


def decode_compact(delivery: bytes) -> list[bytes]:
    """Return the elements of a delivery as JSON. Raises CodecError."""
    if len(delivery) > MAX_DELIVERY_BYTES:
        raise CodecError(f"telemetry delivery of {len(delivery)} bytes, {MAX_DELIVERY_BYTES} are allowed")
    try:
        columns = _decoder.decode(_unpack(delivery) if delivery.startswith(_PACKED) else delivery)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"telemetry delivery: {error}", hint="send JSON, or the compact form") from None
    count = len(columns.seqs)
    found = count + len(columns.others) + (columns.boot_id is not None)
    if found > MAX_BATCH:
        raise CodecError(f"{found} records at once", hint=f"send at most {MAX_BATCH} per delivery")
    if len(columns.times) != count:
        raise CodecError("telemetry delivery: columns of different lengths")
    contexts, trips = _spread(columns.contexts, count), _spread(columns.trips, count)
    ambient, power = _spread(columns.ambient, count), _spread(columns.power, count)
    keyframes = set(_places(columns.keyframes, count))
    schema = _FORMS[columns.form]
    if any(index >= len(SCHEMAS[schema].signals) for index in columns.signals):
        raise CodecError("telemetry delivery: a signal that its form does not have")
    signals: list[dict[str, float | int | str]] = [{} for _ in range(count)]
    for name in sorted(NAMES[index] for index in columns.signals):
        rows, figures = columns.signals[_PLACES[name]]
        if len(rows) != len(figures):
            raise CodecError("telemetry delivery: columns of different lengths")
        for row, value in zip(_places(rows, count), _values(figures, _steps(name)), strict=True):
            signals[row][name] = value
    elements = [
        encode_record(
            Record(
                columns.ev, columns.boot, seq, utc_ms, contexts[row], row in keyframes, signals[row], schema,
                trip=trips[row], ambient_c=_number(ambient[row], _TEMPERATURE), charging_w=_number(power[row], _POWER),
            )
        )
        for row, (seq, utc_ms) in enumerate(zip(_sums(columns.seqs), _sums(columns.times), strict=True))
    ]  # fmt: skip
    for place, element in columns.others:
        elements.insert(place, element)
    if columns.boot_id is not None:
        elements.insert(0, _naming(columns.ev, columns.boot, columns.boot_id))
    return elements


def _naming(ev: str, boot: int, boot_id: bytes) -> bytes:
    return encode_notice(DeliveryNotice(ev, boot, boot_id=boot_id.hex()))


def _boot_id(elements: Sequence[bytes]) -> bytes | None:
    """Return the id in the notice before the first record, if it is of that record's boot and says nothing else."""
    record = _fitting(elements[1], None) if len(elements) > 1 else None
    if record is None:
        return None
    try:
        boot_id = bytes.fromhex(decode_notice(elements[0]).boot_id)
    except CodecError:
        return None
    return boot_id if boot_id and _naming(record.ev, record.boot, boot_id) == elements[0] else None


def _fitting(element: bytes, first: Record | None) -> Record | None:
    """Return a record that columns reproduce, None for other elements."""
    try:
        record = decode_record(element)
    except CodecError:
        return None
    if record.schema != SCHEMA_5 or not (record.checkpoint is record.event is record.cells is UNSET):
        return None
    if first is not None and (record.ev, record.boot) != (first.ev, first.boot):
        return None
    if list(record.signals) != sorted(record.signals):
        return None
    if any(
        name not in _PLACES or (isinstance(value, str | int) and _steps(name) != 1)
        for name, value in record.signals.items()
    ):
        return None
    return record if encode_record(record) == element else None


def _differences(numbers: Iterable[int]) -> Iterator[int]:
    before = 0
    for each in numbers:
        yield each - before
        before = each


def _sums(differences: Iterable[int]) -> Iterator[int]:
    total = 0
    for each in differences:
        total += each
        yield total


def _gaps(rows: Iterable[int]) -> tuple[int, ...]:
    before, found = -1, []
    for each in rows:
        found.append(each - before - 1)
        before = each
    return tuple(found)


def _places(gaps: Sequence[int], count: int) -> list[int]:
    row, found = -1, []
    for each in gaps:
        row += each + 1
        found.append(row)
    if row >= count:
        raise CodecError("telemetry delivery: a value beyond the last record")
    return found


def _runs(values: Iterable[T]) -> tuple[tuple[int, T], ...]:
    found: list[tuple[int, T]] = []
    for each in values:
        if found and found[-1][1] == each and type(found[-1][1]) is type(each):
            found[-1] = found[-1][0] + 1, each
        else:
            found.append((1, each))
    return tuple(found)


def _spread(runs: Sequence[tuple[int, T]], count: int) -> list[T]:
    if sum(length for length, _ in runs) != count:
        raise CodecError("telemetry delivery: columns of different lengths")
    return list(chain.from_iterable([value] * length for length, value in runs))


def _counted(value: float, steps: int) -> Figure:
    """Return a number as a count of steps, if that gives exactly this number again."""
    count = round(value * steps)
    exact = abs(count) < _MOST and repr(count / steps) == repr(value)  # -0.0 differs from 0.0
    return count if exact else value


def _tag(value: object, steps: int) -> Figure | None:
    return _counted(value, steps) if isinstance(value, float) else None


def _number(figure: Figure | None, steps: int) -> float | None:
    return figure / steps if isinstance(figure, int) else figure


def _steps(name: str) -> int:
    return round(1 / SIGNALS[name].resolution)


def _figures(values: Sequence[float], steps: int) -> tuple[Figure, ...]:
    """Return values as differences of counts; numbers that are no multiple of the step stand for themselves."""
    before, found = 0, list[Figure]()
    for each in values:
        # a signal's value. Where the step is 1, only integers are counts: JSON distinguishes them from 1.0
        figure = each if isinstance(each, int) or steps == 1 else _counted(each, steps)
        if isinstance(figure, int):
            found.append(figure - before)
            before = figure
        else:
            found.append(figure)
    return tuple(found)


def _values(figures: Sequence[Figure], steps: int) -> Iterator[float]:
    total = 0
    for each in figures:
        if isinstance(each, int):
            total += each
            yield total if steps == 1 else total / steps
        else:
            yield each
