"""The back end keeps what station and vehicle deliver of checkpoints, and reports where they contradict each other."""

import asyncio

import pytest

from csms.accounts.rules import Role
from csms.settlements.journals import JournalStore
from csms.telemetry import store as telemetry
from csms.telemetry.rules import read_delivery
from tests.csms.api.support import ApiClient
from tests.csms.settlement.journals import SESSION, T0, delivery, started
from tests.csms.support import STATION
from v2g.energy.settlement.checkpoints import Copy, encode_copy, read_copies
from v2g.energy.settlement.records import CheckpointAnswered, CheckpointIssued
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.telemetry.batch import Batcher
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.signals import encode_record

pytestmark = pytest.mark.requirement("R25", "R32")

EV = "ev-0001"


def countersigned(number: int, checkpoint: bytes = b"checkpoint") -> Copy:
    """A copy; the back end does not verify signatures."""
    return Copy(session_id=SESSION, number=number, checkpoint=checkpoint, receipt=b"receipt")


def journal(*copies: Copy) -> list[bytes]:
    """Return the lines of a session with these checkpoints."""
    book = SessionJournal()
    lines = book.record(started(), T0)
    for each in copies:
        lines += book.record(CheckpointIssued(number=each.number, payload=each.checkpoint), T0)
        answered = CheckpointAnswered(number=each.number, status="countersigned", payload=each.receipt)
        lines += book.record(answered, T0)
    return lines + book.end("vehicle", T0 + 1_000, import_mwh=1_000, export_mwh=0)


async def report(ask: ApiClient, *copies: Copy) -> None:
    """Deliver checkpoints as a vehicle's gateway does, twice."""
    batcher, ask.backend.clock.now_ms = Batcher(EV, 1), T0
    records = [encode_record(batcher.checkpoint(each, T0)) for each in copies]
    for _ in range(2):
        answer = await ask("POST", "/telemetry", encode_delivery(records), content_type="application/json")
        assert answer.status == 200, answer.body
        assert answer.json["high_water"][0]["contiguous"] == len(copies)


def contradicted(ask: ApiClient) -> list[tuple[object, object]]:
    reported = ask.backend.events.named("checkpoint_contradicted")
    assert {each.data["ev"] for each in reported} <= {ask.backend.services.log_name(EV)}
    return [(each.data["number"], each.data["reason"]) for each in reported]


async def test_the_operators_copies_are_a_file_like_the_vehicles(ask: ApiClient) -> None:
    copies = [countersigned(1), countersigned(2, b"other")]
    await ask.backend.services[JournalStore].deliver(STATION, delivery(journal(*copies)))
    answer = await ask("GET", f"/settlements/{SESSION}/checkpoints", role=Role.BILLING)
    assert answer.status == 200
    assert [copy for _, copy in read_copies(answer.body, name="copies")] == copies
    assert answer.body == b"".join(map(encode_copy, copies))
    reported = ask.backend.events.named("checkpoint_answered")
    assert [(each.data["number"], each.data["status"]) for each in reported] == [
        (1, "countersigned"),
        (2, "countersigned"),
    ]
    assert (await ask("GET", "/settlements/0000/checkpoints")).status == 404


async def test_what_the_vehicle_delivers_agrees(ask: ApiClient) -> None:
    await report(ask, countersigned(1))
    await ask.backend.services[JournalStore].deliver(STATION, delivery(journal(countersigned(1))))
    await report(ask, countersigned(1))
    assert contradicted(ask) == []


async def test_a_checkpoint_that_was_stored_without_a_result_is_compared_when_it_comes_again(ask: ApiClient) -> None:
    await ask.backend.services[JournalStore].deliver(STATION, delivery(journal(countersigned(1, b"rewritten"))))
    sent = read_delivery(encode_delivery([encode_record(Batcher(EV, 1).checkpoint(countersigned(1), T0))]))
    await ask.backend.services.store.run(telemetry.store, [telemetry.Arrival(sent, T0)])
    assert contradicted(ask) == []
    await report(ask, countersigned(1))
    assert contradicted(ask) == [(1, "differs")]


@pytest.mark.parametrize("vehicle_first", [True, False])
async def test_a_journal_that_contradicts_the_vehicle_is_reported(ask: ApiClient, *, vehicle_first: bool) -> None:
    """Whichever comes first, once."""

    async def vehicle() -> None:
        await report(ask, countersigned(1), countersigned(2))

    async def station() -> None:
        await ask.backend.services[JournalStore].deliver(STATION, delivery(journal(countersigned(1, b"rewritten"))))

    for each in (vehicle, station) if vehicle_first else (station, vehicle):
        await each()
    await asyncio.sleep(0)
    assert contradicted(ask) == [(1, "differs"), (2, "lacking")]
