"""Telemetry of vehicles, delivered by gateways."""

from typing import Annotated

import msgspec

from csms.api.call import Call
from csms.api.operations import get, post
from csms.api.problems import ApiError
from csms.core.access import Permission, may_handle
from csms.core.telemetry import HighWater, read_batch
from v2g.telemetry.signals import Record


class RecordKey(msgspec.Struct, frozen=True, kw_only=True):
    """What identifies a record."""

    ev: str
    boot: int
    seq: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why the element of the batch at `index`, from 0, is no record."""

    index: int
    reason: str


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch: up to `high_water` a gateway may forget what it sent."""

    stored: int
    duplicates: int
    conflicts: tuple[RecordKey, ...]
    refused: tuple[Refusal, ...]
    high_water: tuple[HighWater, ...]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How far the records of one boot have arrived: the highest number, and the highest without gaps before it."""

    boot: int
    highest: int
    contiguous: int


class OneVehicle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which vehicle."""

    ev: Annotated[str, msgspec.Meta(description="The vehicle's pseudonym.", examples=["EV-1"])]


EXAMPLE = [
    {
        "ev": "EV-1",
        "boot": 1,
        "seq": 1,
        "utc_ms": 1_900_000_000_000,
        "context": "parked",
        "keyframe": True,
        "signals": {"battery.soc": 50.0},
    }
]


@post("/telemetry", Permission.WRITE_TELEMETRY, audited=False, takes=tuple[Record, ...], example=EXAMPLE)
async def post_telemetry(call: Call, body: bytes) -> Delivery:
    """Store records, each once.

    An array of at most 1000. A record that is refused or conflicts does not keep the others from being stored.
    """
    batch, refused = read_batch(body)
    for record in batch:
        _require_business(call, record.ev)
    result = await call.backend.ingest.store(batch)
    for index, reason in refused:
        call.observe("telemetry", "telemetry_refused", index=index, reason=reason)
    return Delivery(
        stored=result.stored,
        duplicates=result.duplicates,
        conflicts=tuple(RecordKey(ev=ev, boot=boot, seq=seq) for ev, boot, seq in result.conflicts),
        refused=tuple(Refusal(index=index, reason=reason) for index, reason in refused),
        high_water=result.marks,
    )


@get("/telemetry/{ev}/hwm", Permission.READ_TELEMETRY)
async def read_telemetry_marks(call: Call, parameters: OneVehicle) -> tuple[Mark, ...]:
    """Tell how far the records of a vehicle have arrived, by boot."""
    _require_business(call, parameters.ev)
    marks = await call.backend.ingest.marks(parameters.ev)
    return tuple(Mark(boot=mark.boot, highest=mark.highest, contiguous=mark.contiguous) for mark in marks)


def _require_business(call: Call, ev: str) -> None:
    if not may_handle(call.caller, ev):
        raise ApiError(403, f"{call.caller.name} does not report for {ev!r}", "see api.clients.evs")


OPERATIONS = (post_telemetry, read_telemetry_marks)
