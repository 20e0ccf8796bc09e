"""Objects of the OpenADR 3.1.1 API that a VEN reads and writes (its OpenAPI document, `components/schemas`).

Members of these Structs have the names of the API in snake case. Unknown members are ignored: a VTN of a later
version may have more of them. Lengths of texts are those of the document; those of lists limit the input.
"""

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import CodecError

MAX_BYTES: Final = 4_000_000
"""Maximum length of a VTN's response."""

ObjectId = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]+\Z", max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=8000)]
Time = Annotated[str, Meta(max_length=64)]

T = TypeVar("T")


class Point(msgspec.Struct, frozen=True):
    """A point of a curve."""

    x: float
    y: float


class ValuesMap(msgspec.Struct, frozen=True):
    """Values of one type: a payload of an interval, or an attribute."""

    type: Name
    values: Annotated[tuple[float | str | bool | Point, ...], Meta(max_length=10_000)]


class IntervalPeriod(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Start (RFC 3339) and length (ISO 8601) of an interval, or the default of an event's intervals."""

    start: Time | None = None
    duration: Time | None = None
    randomize_start: Time | None = None


class Interval(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A time window and the values for it."""

    id: int
    interval_period: IntervalPeriod | None = None
    payloads: Annotated[tuple[ValuesMap, ...], Meta(max_length=100)]


class EventPayloadDescriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Unit and currency of the values of one type, in a program or an event."""

    object_type: str = "EVENT_PAYLOAD_DESCRIPTOR"
    payload_type: Name
    units: Name | None = None
    currency: Name | None = None


class ReportDescriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A report requested by an event; -1 means the last interval, or all of them."""

    payload_type: Name
    reading_type: Name | None = None
    units: Name | None = None
    aggregate: bool = False
    start_interval: int = -1
    num_intervals: int = -1
    historical: bool = True
    frequency: int = -1
    repeat: int = 1
    report_intervals: str = "INTERVALS"


class Program(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A demand response program, or a tariff."""

    id: ObjectId
    program_name: Name
    payload_descriptors: Annotated[tuple[EventPayloadDescriptor, ...], Meta(max_length=200)] | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Demands or offers of a program, by intervals. A lower `priority` is more important, None the least."""

    id: ObjectId
    program_id: Annotated[ObjectId, Meta()] = msgspec.field(name="programID")
    created_date_time: Time
    modification_date_time: Time
    event_name: Text | None = None
    duration: Time | None = None
    priority: Annotated[int, Meta(ge=0)] | None = None
    report_descriptors: Annotated[tuple[ReportDescriptor, ...], Meta(max_length=50)] | None = None
    payload_descriptors: Annotated[tuple[EventPayloadDescriptor, ...], Meta(max_length=200)] | None = None
    interval_period: IntervalPeriod | None = None
    intervals: Annotated[tuple[Interval, ...], Meta(max_length=10_000)] = ()


class ReportPayloadDescriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Unit and kind of the values of one type in a report."""

    object_type: str = msgspec.field(name="objectType")
    payload_type: Name
    reading_type: Name | None = None
    units: Name | None = None


class ReportResource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The values of one resource, by interval of the event."""

    resource_name: Name
    interval_period: IntervalPeriod | None = None
    intervals: tuple[Interval, ...]


class ReportRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A report sent by a VEN."""

    event_id: ObjectId = msgspec.field(name="eventID")
    client_name: Name
    report_name: Text | None = None
    payload_descriptors: tuple[ReportPayloadDescriptor, ...] | None = None
    resources: tuple[ReportResource, ...]


def read_programs(data: bytes) -> tuple[tuple[Program, ...], dict[str, str]]:
    """Return the readable programs in a response, and the errors of the others by id, as `read_events`."""
    return _readable(data, Program)


def read_events(data: bytes) -> tuple[tuple[Event, ...], dict[str, str]]:
    """Return the readable events in a response, and the errors of the others by id: one must not hide the rest.

    Raises CodecError if the response is not a list.
    """
    return _readable(data, Event)


def _readable(data: bytes, kind: type[T]) -> tuple[tuple[T, ...], dict[str, str]]:
    found, problems = [], dict[str, str]()
    for raw in _read(data, list[msgspec.Raw]):
        try:
            found.append(typed_json.decode_sent(bytes(raw), kind))
        except msgspec.DecodeError as error:
            object_id = _id_of(bytes(raw))
            problems[object_id] = f"{kind.__name__.lower()} {object_id}: {error}"
    return tuple(found), problems


def read_reports(data: bytes) -> tuple[ReportRequest, ...]:
    """Return the readable reports in a response: some VTNs show those of others, too. Raises CodecError."""
    return _readable(data, ReportRequest)[0]


def _read(data: bytes, kind: type[T]) -> T:
    if len(data) > MAX_BYTES:
        raise CodecError(f"the VTN's response has more than {MAX_BYTES} bytes")
    try:
        return typed_json.decode_sent(data, kind)
    except msgspec.DecodeError as error:
        raise CodecError(f"the VTN's response: {error}", hint="is the URL that of an OpenADR 3 VTN?") from None


class _Identified(msgspec.Struct):
    id: ObjectId


def _id_of(raw: bytes) -> str:
    try:
        return typed_json.decode(raw, _Identified).id
    except msgspec.DecodeError:
        return "without id"
