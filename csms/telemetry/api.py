"""Telemetry of vehicles, delivered by gateways."""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from csms.accounts.rules import Permission, may_handle
from csms.http.call import Call
from csms.http.operations import ArrayOf, Page, get, post
from csms.http.parameters import Paged, page_of, pages
from csms.http.problems import ApiError
from csms.telemetry import seal as seal_keys
from csms.telemetry import store as rows
from csms.telemetry.rules import HighWater, read_delivery
from csms.telemetry.seal import TelemetrySeal
from v2g.telemetry.delivery import DeliveryNotice
from v2g.telemetry.signals import Record

Ev = Annotated[str, msgspec.Meta(description="The vehicle's pseudonym.", examples=["EV-1"])]


class RecordKey(msgspec.Struct, frozen=True, kw_only=True):
    """What identifies a record."""

    ev: str
    boot: int
    seq: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why the element of the delivery at `index`, from 0, is not a valid record."""

    index: int
    reason: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a delivery: up to `contiguous` of its `high_water` a gateway may delete what it sent under `boot_id`.

    `quarantined` records are stored until they can be decoded; `conflict` keys have other content stored; `deferred`
    were not accepted, since too many gaps precede them.
    """

    stored: int
    duplicates: int
    quarantined: tuple[RecordKey, ...]
    conflicts: tuple[RecordKey, ...]
    deferred: tuple[RecordKey, ...]
    refused: tuple[Refusal, ...]
    high_water: tuple[HighWater, ...]


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of the records of one boot.

    `highest` number, and `contiguous`: the highest without gaps before it; numbers `missing` for good or in quarantine
    are not gaps. `boot_id` is the random id that the gateway gave the boot, empty for older gateways.
    """

    boot: int
    boot_id: str
    highest: int
    contiguous: int
    stored: int
    duplicates: int
    conflicts: int
    quarantined: int
    missing: int


class VehicleTelemetry(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a vehicle's records, in all its boots. `log_name` stands for it in the log of events."""

    ev: str
    log_name: str
    boots: int
    last_boot: int
    stored: int
    duplicates: int
    conflicts: int
    quarantined: int
    missing: int


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A record that cannot be decoded or stored: `document` is the original text, empty if its store key was lost."""

    ev: str
    boot: int
    seq: int
    received_ms: int
    schema_version: str
    reason: str
    document: str


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Number of records `released` from quarantine, because they can be decoded now."""

    released: int


class SealKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that seals stored telemetry, by its `number`; the highest seals what is new. `made_ms`: when (UTC)."""

    number: int
    made_ms: int


class OneVehicle(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a vehicle."""

    ev: Ev


EXAMPLE = [
    {
        "ev": "EV-1",
        "boot": 1,
        "seq": 1,
        "utc_ms": 1_900_000_000_000,
        "context": "parked",
        "keyframe": True,
        "signals": {"battery.soc": 50.0},
    },
    {"ev": "EV-1", "boot": 1, "missing": [[2, 5]]},
]


@post("/telemetry", Permission.WRITE_TELEMETRY, audited=False, takes=ArrayOf((Record, DeliveryNotice)), example=EXAMPLE)
async def post_telemetry(call: Call, body: bytes) -> Receipt:
    """Store records, each once.

    An array of at most 1000 records and notices. Rejected and conflicting records do not prevent the others from
    being stored.
    """
    delivery = read_delivery(body)
    caller = call.caller
    if foreign := sorted({ev for ev, _ in delivery.boots if not may_handle(caller, ev)}):
        call.backend.ingest.refuse_foreign(caller.name, foreign[0], len(delivery.elements))
        raise _not_theirs(call, foreign[0])
    outcome = await call.backend.ingest.store(delivery)
    if delivery.refused:
        call.backend.ingest.refuse(caller.name, delivery.refused[0][1], len(delivery.refused))
    places = delivery.places if outcome.refused else {}
    refused = sorted((*delivery.refused, *((places[key], reason) for key, reason in outcome.refused)))
    return Receipt(
        stored=len(outcome.fresh),
        duplicates=outcome.duplicates,
        quarantined=_keys(each.key for each in outcome.quarantine),
        conflicts=_keys(outcome.conflicts),
        deferred=_keys(outcome.deferred),
        refused=tuple(Refusal(index=index, reason=reason) for index, reason in refused),
        high_water=outcome.marks,
    )


@get("/telemetry", Permission.READ_TELEMETRY)
async def list_telemetry(call: Call, parameters: Paged) -> Page[VehicleTelemetry]:
    """List vehicles that have delivered telemetry, with their progress."""
    evs = call.caller.only_evs
    return await pages(
        call,
        parameters,
        VehicleTelemetry,
        tuple[str],
        ("ev",),
        lambda connection, after, limit: [
            {**each, "log_name": call.services.log_name(each["ev"])}
            for each in rows.vehicles(connection, evs, limit, after)
        ],
    )


@get("/telemetry/{ev}/hwm", Permission.READ_TELEMETRY)
async def read_telemetry_marks(call: Call, parameters: OneVehicle) -> Page[Arrived]:
    """Return the progress of a vehicle's records, by boot, the latest first."""
    if not may_handle(call.caller, parameters.ev):
        raise _not_theirs(call, parameters.ev)
    return await pages(
        call,
        parameters,
        Arrived,
        tuple[int],
        ("boot",),
        lambda connection, after, limit: rows.marks(connection, parameters.ev, limit, after),
    )


@get("/telemetry-quarantine", Permission.READ_TELEMETRY)
async def list_telemetry_quarantine(call: Call, parameters: Paged) -> Page[Quarantined]:
    """List records that cannot be decoded or stored, newest first.

    Of another schema version, with values out of range, or rejected by the database.
    """
    evs = call.caller.only_evs
    return await pages(
        call,
        parameters,
        Quarantined,
        tuple[int, str, int, int],
        ("received_ms", "ev", "boot", "seq"),
        lambda connection, after, limit: rows.quarantined(connection, evs, limit, after),
    )


@post("/telemetry-quarantine/release", Permission.WRITE_TELEMETRY)
async def release_telemetry_quarantine(call: Call) -> Release:
    """Store records in quarantine that can be decoded now, as after an update; this also happens periodically."""
    if call.caller.only_evs is not None:
        raise ApiError(403, f"{call.caller.name} does not report for all vehicles", "see api.clients.evs")
    return Release(released=await call.backend.ingest.release())


@get("/telemetry-keys", Permission.MANAGE_ACCESS)
async def list_telemetry_keys(call: Call, parameters: Paged) -> Page[SealKey]:
    """List the keys that seal stored telemetry, oldest first."""
    return page_of(call, await _keys_of(call), parameters, lambda each: each.number)


@post("/telemetry-keys", Permission.MANAGE_ACCESS, problems=(409,))
async def make_telemetry_key(call: Call) -> SealKey:
    """Begin a new key: this process seals what is new with it from now on, further ones within 30 s.

    What is stored stays under the key that sealed it.
    """
    services = call.services
    if not services[TelemetrySeal].sealing:
        raise ApiError(409, "telemetry is not sealed", "see telemetry.sealed")
    await services[TelemetrySeal].rotate(services.store, services.clock.utc_ms())
    return (await _keys_of(call))[-1]


async def _keys_of(call: Call) -> list[SealKey]:
    found = await call.services.store.read(seal_keys.list_all)
    return [SealKey(number=each.number, made_ms=each.made_ms) for each in found]


def _not_theirs(call: Call, ev: str) -> ApiError:
    return ApiError(403, f"{call.caller.name} does not report for {ev!r}", "see api.clients.evs")


def _keys(keys: Iterable[tuple[str, int, int]]) -> tuple[RecordKey, ...]:
    return tuple(RecordKey(ev=ev, boot=boot, seq=seq) for ev, boot, seq in keys)
