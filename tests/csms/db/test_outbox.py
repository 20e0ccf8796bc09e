"""The outbox of partners in either database: claimed by one, in order within a chain, repeated for ever."""

import asyncio

import pytest

from csms.db.outbox import Couriers
from csms.db.store import Store
from csms.roaming import store as rows
from csms.roaming.rules import Partner
from csms.roaming.store import BACK_OFF_S, DueDelivery

pytestmark = pytest.mark.requirement("R202")


def queued(store: Store, *subjects: str, chain: str = "", partner: str = "p") -> None:
    for each in subjects:
        store.do(lambda connection, name=each: rows.enqueue(connection, [partner], "cdrs", name, 0, chain=chain))


def claimed(store: Store, now_ms: int, limit: int = 8) -> list[DueDelivery]:
    return store.do(rows.claim, "p", now_ms, limit)


def test_a_delivery_of_a_chain_waits_for_those_before_it(store: Store) -> None:
    """A credit CDR never comes before the CDR that it takes back, though that one failed first."""
    queued(store, "a", "aC", "a-1", chain="CS/1")
    queued(store, "b")
    queued(store, "a", chain="CS/1", partner="other")
    queued(store, "a", partner="gone")
    store.do(lambda connection: rows.put_partner(connection, Partner(partner_id="other"), token="sealed"))
    first = claimed(store, 0)
    assert [each.subject for each in first] == ["a", "b"]
    assert claimed(store, 119_999) == []
    store.do(rows.failed, first[0], "HTTP 500", 1000)
    store.do(rows.delivered, first[1], 1000)
    assert claimed(store, 1000 + 1000 * BACK_OFF_S[0] - 1) == []
    again = claimed(store, 1000 + 1000 * BACK_OFF_S[0])
    assert [(each.subject, each.attempts) for each in again] == [("a", 1)]
    store.do(rows.delivered, again[0], 4000)
    for wanted in ("aC", "a-1"):
        (due,) = claimed(store, 4000)
        assert due.subject == wanted
        store.do(rows.delivered, due, 4000)
    assert store.do(rows.with_due, 10**12) == {"other"}, "only who is registered is delivered to"


def test_a_long_list_of_tokens_keeps_nothing_else_waiting(store: Store) -> None:
    """A new partner that took a second for each of 50,000 got results of its commands hours late."""
    for module, subject in (*(("tokens", str(number)) for number in range(4)), ("results", "r"), ("locations", "l/e")):
        store.do(lambda connection, of=module, name=subject: rows.enqueue(connection, ["p"], of, name, 0))
    assert [each.subject for each in claimed(store, 0, 3)] == ["r", "l/e", "0"]
    assert [each.subject for each in claimed(store, 0)] == ["1", "2", "3"]


def test_a_partner_that_was_away_gets_at_once_what_was_to_wait(store: Store) -> None:
    """After hours it waited up to an hour more; what a partner asked to wait with, and what is under way, waits on."""
    store.do(lambda connection: rows.put_partner(connection, Partner(partner_id="p"), token="sealed"))
    queued(store, "late", "asked", "soon", "under way")
    first, now_ms = claimed(store, 0), 3_600_000
    for each, pause_s in zip(first[:3], (1800, 7200, 60), strict=True):
        store.do(lambda connection, due=each, s=pause_s: rows.failed(connection, due, "no answer", now_ms, s))
    store.do(lambda connection: rows.failed(connection, first[3], "no answer", now_ms, 0))
    assert [each.subject for each in claimed(store, now_ms)] == ["under way"]
    store.do(rows.note_use, "p", [], now_ms)
    assert [each.subject for each in claimed(store, now_ms)] == ["late"]
    store.do(lambda connection: rows.failed(connection, first[0], "2001 no", now_ms, 1800))
    store.do(rows.note_use, "p", [], now_ms + 299_999)
    store.do(rows.note_use, "p", [], now_ms + 300_000)
    assert [each.subject for each in claimed(store, now_ms + 300_000)] == ["soon", "under way"], "it was not away"


def test_what_a_partner_does_not_take_is_repeated_for_ever_or_when_it_asks(store: Store) -> None:
    queued(store, "a")
    now_ms = 0
    for pause_s in (*BACK_OFF_S, BACK_OFF_S[-1]):
        (due,) = claimed(store, now_ms)
        store.do(rows.failed, due, "x" * 1000, now_ms)
        now_ms += 1000 * pause_s
    (due,) = claimed(store, now_ms)
    store.do(lambda connection: rows.failed(connection, due, "HTTP 429", now_ms, 7.5))
    assert claimed(store, now_ms + 7499) == []
    assert len(claimed(store, now_ms + 7500)) == 1
    (shown,) = store.do(rows.outbox, "p")
    assert (shown["attempts"], shown["error"]) == (len(BACK_OFF_S) + 2, "HTTP 429")


def test_whatever_a_receiver_answers_its_error_is_stored(store: Store) -> None:
    """PostgreSQL takes no NUL: a receiver whose status line had one was called every few seconds, for ever."""
    queued(store, "a")
    (due,) = claimed(store, 0)
    store.do(rows.failed, due, "\0\x01 hello\r\n", 0)
    (shown,) = store.do(rows.outbox, "p")
    assert (shown["attempts"], shown["error"]) == (1, r"\u0000\u0001 hello\u000d\u000a")


async def test_a_courier_that_a_defect_has_ended_delivers_again() -> None:
    """Until the program was started again, this partner got nothing, and nothing was pulled from it."""
    went = asyncio.Queue[str]()
    reported = asyncio.Queue[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.put_nowait(context["exception"]))

    async def deliver(destination: str) -> None:
        went.put_nowait(destination)
        if reported.empty():
            raise KeyError("a defect")

    couriers = Couriers(deliver)
    async with asyncio.timeout(30):
        couriers.wake({"p"})
        assert (await went.get(), type(await reported.get())) == ("p", KeyError)
        reported.put_nowait(None)
        couriers.wake({"p"})
        assert await went.get() == "p"
        await couriers.dismiss({"p"})


def test_a_clock_that_is_set_back_keeps_no_delivery_back(store: Store) -> None:
    """What waits, or is claimed by a node that died, was sent when the clock had come there again."""
    hour, day = 3_600_000, 86_400_000
    queued(store, "a")
    assert len(claimed(store, -hour)) == 1
    assert len(claimed(store, -2 * hour)) == 1
    assert claimed(store, -2 * hour) == []
    store.do(lambda connection: rows.put_partner(connection, Partner(partner_id="p"), token="sealed"))
    assert store.do(rows.with_due, -3 * hour) == {"p"}
    (due,) = claimed(store, -3 * hour)
    store.do(lambda connection: rows.failed(connection, due, "HTTP 429", 0, 20 * 3600))
    assert claimed(store, -hour) == [], "it may ask for a day"
    assert len(claimed(store, -day)) == 1
