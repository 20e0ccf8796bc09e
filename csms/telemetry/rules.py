"""Telemetry records: new, known or missing for good, and conflicts with stored ones (R98, R99)."""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import structs

from v2g import typed_json
from v2g.errors import CodecError
from v2g.telemetry.columns import decode_compact, is_compact
from v2g.telemetry.delivery import MAX_BATCH, DeliveryNotice, Mark, decode_notice
from v2g.telemetry.privacy import VIN
from v2g.telemetry.signals import Key, Record, decode_key, decode_record, encode_record
from v2g.text import printable

MAX_RANGES: Final = 256
"""Limit of gaps in the numbers of one boot. A record that would add one waits until earlier gaps are filled.

Of numbers missing for good, as many ranges are kept: a late record of an older range counts as a duplicate."""

Boot = tuple[str, int]
"""(ev, boot)."""

RecordKey = tuple[str, int, int]
"""(ev, boot, seq): a record's permanent key."""


class Prepared(msgspec.Struct, frozen=True):
    """A record, its canonical bytes and their SHA-256, and the original text."""

    record: Record
    body: bytes
    digest: bytes
    sent: bytes

    @property
    def key(self) -> RecordKey:
        return self.record.ev, self.record.boot, self.record.seq


class Unreadable(msgspec.Struct, frozen=True):
    """An undecodable record with a readable key: the original text, its SHA-256, and the reason."""

    name: Key
    sent: bytes
    digest: bytes
    reason: str

    @property
    def key(self) -> RecordKey:
        return self.name.ev, self.name.boot, self.name.seq


Element = Prepared | Unreadable | DeliveryNotice


class Delivery(msgspec.Struct, frozen=True):
    """A gateway's delivery: its elements in order, and `refused`, (index, reason) of those without a key.

    `boot_ids`: the random ids of its boots; those of older gateways have none.
    """

    elements: tuple[Element, ...]
    refused: tuple[tuple[int, str], ...] = ()
    boot_ids: dict[Boot, str] = {}

    @property
    def boots(self) -> frozenset[Boot]:
        """Vehicles of the records."""
        return frozenset(map(boot_of, self.elements))

    @property
    def places(self) -> dict[RecordKey, int]:
        """The index of each element in what was sent, by its key; of several with the same key, of the first."""
        without = {index for index, _ in self.refused}
        indexes = (each for each in range(len(self.elements) + len(without)) if each not in without)
        found: dict[RecordKey, int] = {}
        for index, each in zip(indexes, self.elements, strict=True):
            found.setdefault(key_of(each), index)
        return found

    @property
    def asks(self) -> bool:
        """Whether the gateway expects an answer at once."""
        notices = [each for each in self.elements if isinstance(each, DeliveryNotice)]
        return len(notices) == len(self.elements) or any(each.missing for each in notices)


def boot_of(element: Element) -> Boot:
    """Return vehicle and boot of an element."""
    if isinstance(element, Prepared):
        return element.record.ev, element.record.boot
    return (element.ev, element.boot) if isinstance(element, DeliveryNotice) else element.key[:2]


def key_of(element: Element) -> RecordKey:
    """Return the key of an element; that of a notice has seq 0."""
    return (element.ev, element.boot, 0) if isinstance(element, DeliveryNotice) else element.key


def digest_of(document: bytes) -> bytes:
    """Return the SHA-256 by which a record differs from another one of the same key."""
    return hashlib.sha256(document).digest()


def prepare(record: Record, sent: bytes | None = None) -> Prepared:
    """Return the record with its canonical bytes, so that equal contents have equal digests."""
    body = encode_record(record)
    return Prepared(record, body, digest_of(body), body if sent is None else sent)


def set_aside(item: Prepared, reason: str) -> Unreadable:
    """Return a record for the quarantine, as it was sent."""
    return Unreadable(decode_key(item.sent), item.sent, digest_of(item.sent), reason)


LATEST_MS: Final = 86_400_000
EARLIEST_MS: Final = 3653 * 86_400_000
"""A record's time is at most so long after it is received, and before: also recordings are replayed."""


def mistimed(item: Prepared, received_ms: int) -> str:
    """Return why a record cannot be of the time that it says, by when it was received (UTC, ms); empty if it can."""
    ahead_ms = item.record.utc_ms - received_ms
    if -EARLIEST_MS <= ahead_ms <= LATEST_MS:
        return ""
    return f"utc_ms is {abs(ahead_ms) // 1000} s {'after' if ahead_ms > 0 else 'before'} its receipt"


def timely(delivery: Delivery, received_ms: int) -> Delivery:
    """Return a delivery whose mistimed records are for the quarantine."""
    return structs.replace(
        delivery,
        elements=tuple(
            set_aside(each, reason) if isinstance(each, Prepared) and (reason := mistimed(each, received_ms)) else each
            for each in delivery.elements
        ),
    )


_elements = typed_json.decoder(list[msgspec.Raw])


def read_delivery(body: bytes) -> Delivery:
    """Return the records and notices of a JSON array, or of the compact form, which its first octet tells apart.

    A bad element does not prevent the delivery of the others. Raises CodecError when `body` is not an array
    of at most 1000 elements.
    """
    try:
        found: Sequence[bytes | msgspec.Raw] = decode_compact(body) if is_compact(body) else _elements.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"telemetry delivery: {error}", hint="send a JSON array of records") from None
    if len(found) > MAX_BATCH:
        raise CodecError(f"{len(found)} records at once", hint=f"send at most {MAX_BATCH} per delivery")
    elements: list[Element] = []
    refused: list[tuple[int, str]] = []
    boot_ids: dict[Boot, str] = {}
    for index, raw in enumerate(found):
        try:
            element = _read_element(bytes(raw))
            if VIN.search(boot_of(element)[0]):
                raise CodecError("ev is a VIN, not a pseudonym: use `v2g telemetry pseudonym`")
            named = element.boot_id if isinstance(element, DeliveryNotice) else ""
            if named and boot_ids.setdefault(boot_of(element), named) != named:
                raise CodecError("notice: two ids of one boot in a delivery")
            elements.append(element)
        except CodecError as error:
            refused.append((index, _reason(error)))
    return Delivery(tuple(elements), tuple(refused), boot_ids)


def _reason(error: CodecError) -> str:
    """Return why an element cannot be decoded: it may quote names of the sender, which no text column takes as is."""
    return printable(str(error))[:200]


def _read_element(sent: bytes) -> Element:
    """Return the decoded element. Raises CodecError for one without a key."""
    try:
        return prepare(decode_record(sent), sent)
    except CodecError as error:
        try:
            return Unreadable(decode_key(sent), sent, hashlib.sha256(sent).digest(), _reason(error))
        except CodecError:
            pass
        try:
            return decode_notice(sent)
        except CodecError as other:
            raise (other if b'"missing"' in sent else error) from None


class Numbers:
    """A set of numbers from 1 on, kept as ranges in rising order."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """`ranges`: (first, last) in rising order, not adjacent."""
        pairs = list(ranges)
        self._firsts = [first for first, _ in pairs]
        self._lasts = [last for _, last in pairs]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges (first, last)."""
        return tuple(zip(self._firsts, self._lasts, strict=True))

    @property
    def contiguous(self) -> int:
        """The highest number without a gap from 1; 0 when 1 is missing."""
        return self._lasts[0] if self._firsts and self._firsts[0] == 1 else 0

    @property
    def highest(self) -> int:
        """The highest number; 0 when there is none."""
        return self._lasts[-1] if self._lasts else 0

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._firsts, number) - 1
        return place >= 0 and number <= self._lasts[place]

    def __len__(self) -> int:
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def add(self, first: int, last: int) -> None:
        """Add a range."""
        begin = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        if begin < end:
            first, last = min(first, self._firsts[begin]), max(last, self._lasts[end - 1])
        self._firsts[begin:end] = [first]
        self._lasts[begin:end] = [last]

    def remove(self, number: int) -> None:
        """Remove a contained number."""
        place = bisect_right(self._firsts, number) - 1
        first, last = self._firsts[place], self._lasts[place]
        left = [(begin, end) for begin, end in ((first, number - 1), (number + 1, last)) if begin <= end]
        self._firsts[place : place + 1] = [begin for begin, _ in left]
        self._lasts[place : place + 1] = [end for _, end in left]

    def forget_lowest(self) -> None:
        """Remove the lowest range."""
        del self._firsts[0], self._lasts[0]

    def without(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the missing ranges from `first` to `last`."""
        found = []
        for place in range(bisect_left(self._lasts, first), bisect_right(self._firsts, last)):
            if first < self._firsts[place]:
                found.append((first, self._firsts[place] - 1))
            first = self._lasts[place] + 1
        if first <= last:
            found.append((first, last))
        return found

    def is_full_for(self, first: int, last: int) -> bool:
        """Return whether adding this range would make too many."""
        return len(self._firsts) >= MAX_RANGES and first - 1 not in self and last + 1 not in self

    def is_full_without(self, number: int) -> bool:
        """Return whether removing this number would make too many ranges."""
        return len(self._firsts) >= MAX_RANGES and number - 1 in self and number + 1 in self


class BootProgress:
    """Progress of the records of one boot, which belongs to the gateway's start with this `boot_id`.

    `arrived` holds numbers that are stored, in quarantine, or missing for good: `lost` counts the latter, `missing`
    holds the highest ranges of them.
    """

    __slots__ = ("arrived", "boot_id", "changed", "conflicts", "duplicates", "lost", "missing", "quarantined", "stored")

    def __init__(
        self,
        arrived: Numbers | None = None,
        missing: Numbers | None = None,
        *,
        stored: int = 0,
        duplicates: int = 0,
        conflicts: int = 0,
        quarantined: int = 0,
        lost: int | None = None,
        boot_id: str = "",
    ) -> None:
        """`lost`: by default as many as are `missing`."""
        self.boot_id = boot_id
        self.arrived = Numbers() if arrived is None else arrived
        self.missing = Numbers() if missing is None else missing
        self.stored, self.duplicates, self.conflicts = stored, duplicates, conflicts
        self.quarantined = quarantined
        self.lost = len(self.missing) if lost is None else lost
        self.changed = False

    def has(self, seq: int) -> bool:
        """Return whether the record of this number was stored or put into quarantine."""
        return seq in self.arrived and seq not in self.missing

    def take(self, seq: int) -> bool:
        """Count a number as arrived; False when there are too many gaps before it."""
        if seq in self.missing:
            if self.missing.is_full_without(seq):
                return False
            self.missing.remove(seq)
            self.lost -= 1
        elif self.arrived.is_full_for(seq, seq):
            return False
        self.arrived.add(seq, seq)
        self.changed = True
        return True

    def give_up(self, first: int, last: int) -> list[tuple[int, int]]:
        """Count numbers that have not arrived as missing; return them. None beyond too many gaps, like records."""
        found = []
        for begin, end in self.arrived.without(first, last):
            if self.arrived.is_full_for(begin, end):
                continue
            if self.missing.is_full_for(begin, end):  # the mark must not wait for what will never come
                self.missing.forget_lowest()
            self.missing.add(begin, end)
            self.arrived.add(begin, end)
            self.lost += end - begin + 1
            self.changed = True
            found.append((begin, end))
        return found


class StoredContent(msgspec.Struct, frozen=True):
    """Stored content of a key: its SHA-256, and whether it is in quarantine."""

    digest: bytes
    quarantined: bool


class HighWater(msgspec.Struct, frozen=True):
    """Acknowledgement of one boot: the `highest` seq, `contiguous` without gaps from 1, and ranges `beyond`.

    It is for the gateway that has this `boot_id`. With `next_boot` nothing is stored: another one has the boot, or
    there are later ones; this or a higher number is free.
    """

    ev: str
    boot: int
    highest: int
    contiguous: int
    beyond: tuple[tuple[int, int], ...] = ()
    boot_id: str = ""
    next_boot: int = 0

    @property
    def mark(self) -> Mark:
        """The acknowledgement for the gateway."""
        return Mark(self.boot, self.contiguous, self.highest, self.beyond, self.boot_id, self.next_boot)


class DeliveryOutcome(msgspec.Struct):
    """Result of a delivery: records that are `fresh`, for `quarantine`, and `duplicates`.

    `conflicts` are keys with different stored content, `missing` (ev, boot, first, last) newly reported as lost by the
    gateway, `deferred` keys not accepted because of too many gaps. `refused` are keys (a notice has seq 0) of what the
    database rejects in any form, with the reason; their numbers count as missing for good. `repeated` are those
    duplicates that are stored as records: what follows from them may not have been done. `strangers` are boots that
    belong to another start of a gateway, or that came too late to begin, each with the number of elements that were not
    stored. `marks` is the progress of each boot.
    """

    fresh: list[Prepared] = []
    quarantine: list[Unreadable] = []
    duplicates: int = 0
    conflicts: list[RecordKey] = []
    missing: list[tuple[str, int, int, int]] = []
    deferred: list[RecordKey] = []
    refused: list[tuple[RecordKey, str]] = []
    repeated: list[Prepared] = []
    strangers: list[tuple[Boot, int]] = []
    marks: tuple[HighWater, ...] = ()

    def add(self, later: "DeliveryOutcome") -> None:
        """Add the outcome of another part of the delivery, stored after this one."""
        self.duplicates += later.duplicates
        for name in ("fresh", "quarantine", "conflicts", "missing", "deferred", "refused", "repeated", "strangers"):
            getattr(self, name).extend(getattr(later, name))
        marks = {(each.ev, each.boot): each for each in (*self.marks, *later.marks)}
        self.marks = tuple(marks[boot] for boot in sorted(marks))


def suspects(delivery: Delivery, progress: Mapping[Boot, BootProgress]) -> list[RecordKey]:
    """Return the keys of a delivery that may be stored already."""
    return [
        each.key
        for each in delivery.elements
        if not isinstance(each, DeliveryNotice) and progress[boot_of(each)].has(each.key[2])
    ]


def admit(delivery: Delivery, progress: dict[Boot, BootProgress], highest: dict[str, int]) -> list[Boot]:
    """Begin the new boots of a delivery that have an id, in `progress` and `highest`; return them.

    A boot belongs to whom it was first. A new one has to be higher than all of the vehicle, so that its records follow
    the others whatever the clocks of gateways say. If one of a delivery may not begin, no new one of that vehicle does:
    they keep their order. `progress` has the known boots, `highest` the highest boot of each vehicle with others.
    """
    begun: list[Boot] = []
    for ev in sorted({ev for ev, _ in delivery.boot_ids}):
        boots = {boot: boot_id for boot, boot_id in sorted(delivery.boot_ids.items()) if boot[0] == ev}
        new = [boot for boot in boots if boot not in progress]
        taken = any(progress[boot].boot_id != boot_id for boot, boot_id in boots.items() if boot in progress)
        if new and not taken and new[0][1] > highest.get(ev, 0):
            begun += new
            progress |= {boot: BootProgress(boot_id=boots[boot]) for boot in new}
            highest[ev] = new[-1][1]
    return begun


def judge(
    delivery: Delivery,
    progress: Mapping[Boot, BootProgress],
    stored: dict[RecordKey, StoredContent],
    highest: Mapping[str, int] | None = None,
) -> DeliveryOutcome:
    """Classify a delivery, and update `progress` and `stored`. The first content of a key counts.

    `stored`: stored contents of the keys from `suspects`; a missing one has been deleted for
    its age. `highest`: the highest boot of each vehicle that sends a boot of another.
    """
    outcome, boots = DeliveryOutcome(), sorted(delivery.boots)
    foreign = {
        boot: HighWater(*boot, 0, 0, boot_id=boot_id, next_boot=(highest or {}).get(boot[0], boot[1]) + 1)
        for boot in boots
        if progress[boot].boot_id != (boot_id := delivery.boot_ids.get(boot, ""))
    }
    elements = [boot_of(each) for each in delivery.elements] if foreign else []
    outcome.strangers = [(whose, elements.count(whose)) for whose in foreign]
    for each in delivery.elements:
        whose = boot_of(each)
        if whose in foreign:
            continue
        here = progress[whose]
        if isinstance(each, DeliveryNotice):
            gone = [lost for first, last in each.missing for lost in here.give_up(first, last)]
            outcome.missing += [(*whose, first, last) for first, last in gone]
        elif here.has(each.key[2]):
            known = stored.get(each.key)
            if known is None or _is_same(each, known):
                outcome.duplicates += 1
                here.duplicates += 1
                if isinstance(each, Prepared) and known is not None and not known.quarantined:
                    outcome.repeated.append(each)
            else:
                outcome.conflicts.append(each.key)
                here.conflicts += 1
            here.changed = True
        elif not here.take(each.key[2]):
            outcome.deferred.append(each.key)
        elif isinstance(each, Prepared):
            outcome.fresh.append(each)
            here.stored += 1
            stored[each.key] = StoredContent(each.digest, quarantined=False)
        else:
            outcome.quarantine.append(each)
            here.quarantined += 1
            stored[each.key] = StoredContent(each.digest, quarantined=True)
    outcome.marks = tuple(foreign.get(boot) or high_water(*boot, progress[boot]) for boot in boots)
    return outcome


def _is_same(element: Prepared | Unreadable, known: StoredContent) -> bool:
    """Compare with the stored content; quarantine holds the original text, since it could not be decoded."""
    if isinstance(element, Prepared) and known.quarantined:
        return hashlib.sha256(element.sent).digest() == known.digest
    return element.digest == known.digest and isinstance(element, Unreadable) == known.quarantined


def high_water(ev: str, boot: int, progress: BootProgress) -> HighWater:
    """Return the acknowledgement of a boot."""
    arrived = progress.arrived
    beyond = arrived.ranges[1:] if arrived.contiguous else arrived.ranges
    return HighWater(ev, boot, arrived.highest, arrived.contiguous, beyond, progress.boot_id)


UNCLASSIFIED = "vehicle"
"""Class of vehicles that no pattern matches."""


class StoredRecord(msgspec.Struct, frozen=True):
    """A stored record: its key, time (UTC), driving mode and numbers, and its canonical JSON.

    `late`: the sink has got one of the vehicle with a higher (boot, seq) before.
    """

    ev: str
    boot: int
    seq: int
    at_ms: int
    context: str
    values: Mapping[str, float]
    document: bytes
    late: bool = False

    @property
    def key(self) -> tuple[str, int, int]:
        """(ev, boot, seq)."""
        return self.ev, self.boot, self.seq


def class_of(ev: str, classes: Mapping[str, Sequence[str]]) -> str:
    """Return the first class with a pattern (`T-*`) that matches the vehicle."""
    return next(
        (name for name, patterns in classes.items() if any(fnmatchcase(ev, each) for each in patterns)), UNCLASSIFIED
    )


def line_of(record: StoredRecord) -> str | None:
    """Return a record in line protocol, time in ns; None for one without values.

    The vehicle is a tag: each has a series of its own. Points of one series and time overwrite each other, so boot and
    number tell records of one millisecond apart, as ns.
    """
    if not record.values:
        return None
    fields = [f"{_escape(name)}={float(value)!r}" for name, value in sorted(record.values.items())]
    fields += [f'context="{record.context}"', f"boot={record.boot}i", f"seq={record.seq}i"]
    return f"telemetry,ev={_escape(record.ev)} {','.join(fields)} {record.at_ms}{_within_ms(record):06}"


def _within_ms(record: StoredRecord) -> int:
    """Return ns within the millisecond; fewer than a million, since times end in the middle of the last one."""
    return record.boot % 700 * 1000 + record.seq % 1000


def _escape(name: str) -> str:
    """Return a tag or the name of a field; vehicles and signals have no character but those of their patterns."""
    return name.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def owner(ev: str, workers: Collection[str]) -> str:
    """Return the worker that handles a vehicle. `workers` are names, at least one."""
    return max(workers, key=lambda worker: blake2b(ev.encode(), digest_size=8, key=worker.encode()[:64]).digest())
