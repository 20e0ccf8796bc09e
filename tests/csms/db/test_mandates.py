"""Mandates and debits in the database, the same on either kind."""

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from csms.db.store import Store
from csms.mandates import store as mandates
from csms.mandates.rules import Debit, DebitAnswer, Mandate, MandateAnswer
from tests.csms.db.books import LATER, book, posting
from v2g.errors import RefusedError

DONE = DebitAnswer(reference="D1", state="done")


def agree(connection: Connection, vehicle: str = "DEV2GC1") -> int:
    number = mandates.add(
        connection, vehicle=vehicle, payer="p", currency="EUR", most_micro=10**6, now_ms=LATER, expires_ms=2 * LATER
    )
    mandates.save_answer(connection, number, MandateAnswer(reference="M1", state="active"))
    return number


def state(debits: list[Debit]) -> list[tuple[str, int, str]]:
    return [(each.key, each.amount_micro, each.state) for each in debits]


@pytest.mark.requirement("R42")
def test_a_debit_is_planned_once_and_reversed_after_it_is_decided(store: Store) -> None:
    def work(connection: Connection) -> None:
        number = agree(connection)
        book(connection, posting(money=300_004))
        for _ in range(2):
            assert mandates.plan(connection, LATER) == []
            ((debit, reference),) = mandates.due(connection)
            assert (debit.key, debit.amount_micro, reference) == ("CS/01/1", 300_000, "M1")
        book(connection, posting(mwh=700, money=2_000_000))
        (failed,) = mandates.plan(connection, LATER)
        assert (failed.key, failed.state) == ("CS/01/3", "failed")
        assert [each.key for each, _ in mandates.due(connection)] == ["CS/01/1"]
        assert mandates.save_debit(connection, debit.posting, DONE, LATER)
        assert not mandates.save_debit(connection, debit.posting, DONE, LATER)
        mandates.plan(connection, LATER)
        ((reversal, reference),) = mandates.due(connection)
        assert (reversal.amount_micro, reference) == (-300_000, "D1")
        assert state(mandates.list_debits(connection, number)) == [
            ("CS/01/1", 300_000, "done"), ("CS/01/2", -300_000, "due"), ("CS/01/3", 0, "failed"),
        ]  # fmt: skip

    store.do(work)


def test_the_correction_of_what_was_booked_before_the_mandate_is_not_debited(store: Store) -> None:
    """That session was paid otherwise; one that an earlier mandate was debited for is not, once that is given back."""

    def work(connection: Connection) -> None:
        book(connection, posting(money=300_000), now_ms=LATER - 1)
        first = agree(connection)
        book(connection, posting(money=400_000), posting("02", money=50_000))
        book(connection, posting(mwh=600, money=500_000))
        assert mandates.plan(connection, LATER) == []
        ((debit, _),) = mandates.due(connection)
        assert (debit.key, debit.amount_micro) == ("CS/02/1", 50_000)
        mandates.save_debit(connection, debit.posting, DONE, LATER)
        mandates.end(connection, first, "x")
        second = mandates.add(
            connection, vehicle="DEV2GC1", payer="p", currency="EUR", most_micro=10**6, now_ms=LATER + 1,
            expires_ms=2 * LATER,
        )  # fmt: skip
        mandates.save_answer(connection, second, MandateAnswer(reference="M2", state="active"))
        book(connection, posting("02", money=60_000), now_ms=LATER + 2)
        mandates.plan(connection, LATER + 2)
        assert [(each.key, each.amount_micro, reference) for each, reference in mandates.due(connection)] == [
            ("CS/02/2", -50_000, "D1"), ("CS/02/3", 60_000, "M2"),
        ]  # fmt: skip

    store.do(work)


def test_a_vehicle_has_one_mandate_at_a_time_and_an_ended_one_stays_ended(store: Store) -> None:
    def work(connection: Connection) -> None:
        number = agree(connection)
        with pytest.raises(RefusedError, match=f"mandate {number}") as refused:
            agree(connection)
        assert refused.value.reason == "has_mandate"
        mandates.end(connection, number, "x")
        assert not mandates.save_answer(connection, number, MandateAnswer(reference="M1", state="active"))
        mandates.end(connection, number, "again")
        assert (found := mandates.find(connection, number)) is not None
        assert found.reason == "x"
        assert agree(connection) != number
        assert [each["state"] for each in mandates.list_page(connection)] == ["ended", "active"]

    store.do(work)


def test_what_was_debited_before_there_were_notices_is_not_given_up_but_reversed(store: Store) -> None:
    def work(connection: Connection) -> None:
        number = agree(connection)
        book(connection, posting(money=300_000), posting("02", money=50_000))
        mandates.plan(connection, LATER)
        (first, _), (second, _) = mandates.due(connection)
        assert [each.posting for each, _ in mandates.due(connection, first.posting)] == [second.posting]
        assert mandates.list_debits(connection, number, first.posting) == [second]
        mandates.save_debit(connection, first.posting, DONE, LATER)
        book(connection, posting(mwh=600, money=400_000), posting("02", mwh=600, money=60_000))
        mandates.drop_corrected(connection, LATER, LATER)
        assert state(mandates.list_debits(connection, number)) == [
            ("CS/01/1", 300_000, "done"),
            ("CS/02/1", 0, "nothing"),
        ]

    store.do(work)


def test_a_debit_has_one_notice(store: Store) -> None:
    def work(connection: Connection) -> None:
        number = agree(connection)
        book(connection, posting(money=300_000))
        mandates.plan(connection, LATER)
        ((debit, _),) = mandates.due(connection)
        for reference, fresh in (("N1", True), ("N2", False)):
            assert mandates.save_notice(connection, debit.posting, reference, LATER) is fresh
        assert [each.notice for each in mandates.list_debits(connection, number)] == ["N1"]

    store.do(work)


def test_a_mandate_is_stored_as_agreed_and_waits_until_it_is_decided(store: Store) -> None:
    def work(connection: Connection) -> None:
        number = mandates.add(
            connection, vehicle="de-v2g-c1", payer="p", currency="EUR", most_micro=7, now_ms=LATER, expires_ms=LATER + 9
        )
        asked = Mandate(
            id=number, vehicle="DEV2GC1", payer="p", currency="EUR", most_micro=7, created_ms=LATER,
            expires_ms=LATER + 9, state="requested", reference="", approval_url="", reason="",
        )  # fmt: skip
        assert mandates.find(connection, number) == asked
        assert mandates.find(connection, number + 1) is None
        assert mandates.undecided(connection) == [asked]
        assert mandates.undecided(connection, number) == []
        answer = MandateAnswer(reference="M1", state="pending", approval_url="https://a", reason="r")
        assert mandates.save_answer(connection, number, answer)
        assert not mandates.save_answer(connection, number, answer)
        waiting = replace(asked, state="pending", reference="M1", approval_url="https://a", reason="r")
        assert mandates.undecided(connection) == [waiting]
        assert mandates.save_answer(connection, number, replace(answer, state="active"))
        assert mandates.undecided(connection) == []

    store.do(work)


def test_a_mandate_ends_when_it_expires(store: Store) -> None:
    def work(connection: Connection) -> None:
        ended, other = agree(connection), agree(connection, "DEV2GC2")
        mandates.end(connection, ended, "x")
        for now_ms, state in ((2 * LATER - 1, "active"), (2 * LATER, "ended")):
            mandates.end_expired(connection, now_ms)
            found = mandates.list_page(connection)
            assert [(each["id"], each["state"]) for each in found] == [(ended, "ended"), (other, state)]
        assert [each["reason"] for each in mandates.list_page(connection)] == ["x", "expired"]
        assert [each["id"] for each in mandates.list_page(connection, (ended,), 1)] == [other]

    store.do(work)


def test_only_settlements_of_the_vehicle_of_an_active_mandate_are_debited(store: Store) -> None:
    """One that was corrected before anybody looked is debited by its correction alone, as it was booked by then."""

    def work(connection: Connection) -> None:
        number = agree(connection)
        mandates.add(
            connection, vehicle="DEV2GC2", payer="p", currency="EUR", most_micro=10**6, now_ms=LATER, expires_ms=LATER
        )
        book(connection, posting("02", money=50_000, vehicle="DEV2GC2"), posting("03", money=50_000, vehicle="DEV2GC3"))
        book(connection, posting(money=300_000))
        book(connection, posting(mwh=600, money=400_000))
        mandates.plan(connection, LATER + 1)
        ((debit, reference),) = mandates.due(connection)
        assert (debit.key, debit.amount_micro, debit.mandate, debit.at_ms, reference) == (
            "CS/01/3", 400_000, number, LATER + 1, "M1",
        )  # fmt: skip
        assert (debit.station_id, debit.session_id, debit.currency) == ("CS", "01", "EUR")
        assert (debit.reference, debit.reason, debit.notice, debit.noticed_ms) == ("", "", "", None)

    store.do(work)


def test_what_was_not_debited_is_not_reversed(store: Store) -> None:
    def work(connection: Connection) -> None:
        number = agree(connection)
        book(connection, posting(money=2_000_000), posting("02", money=0), posting("03", money=50_000))
        ((failed),) = mandates.plan(connection, LATER)
        assert (failed.reason, failed.amount_micro) == ("more than the mandate allows", 0)
        refused = DebitAnswer(reference="D3", state="failed", reason="no money")
        ((debit, _),) = mandates.due(connection)
        assert mandates.save_debit(connection, debit.posting, refused, LATER + 1)
        for session in ("01", "02", "03"):
            book(connection, posting(session, mwh=600, money=100_000))
        mandates.plan(connection, LATER + 2)
        found = mandates.list_debits(connection, number)
        assert state(found) == [
            ("CS/01/1", 0, "failed"), ("CS/02/1", 0, "nothing"), ("CS/03/1", 50_000, "failed"),
            *(each for n in (1, 2, 3) for each in ((f"CS/0{n}/2", 0, "nothing"), (f"CS/0{n}/3", 100_000, "due"))),
        ]  # fmt: skip
        assert (found[2].reference, found[2].reason, found[2].at_ms) == ("D3", "no money", LATER + 1)
        assert {each.at_ms for each in found[3:]} == {LATER + 2}

    store.do(work)


@pytest.mark.parametrize(("since_ms", "given_up"), [(LATER + 4, True), (LATER + 5, False)])
def test_a_corrected_debit_is_given_up_while_its_notice_runs(store: Store, since_ms: int, given_up: bool) -> None:
    """That of another settlement stays; once the notice has run, the provider may have been asked."""

    def work(connection: Connection) -> None:
        number = agree(connection)
        book(connection, posting(money=300_000), posting("02", money=50_000))
        mandates.plan(connection, LATER)
        first, second = (debit.posting for debit, _ in mandates.due(connection))
        for each in (first, second):
            mandates.save_notice(connection, each, "N", LATER + 5)
        book(connection, posting(mwh=600, money=400_000))
        mandates.drop_corrected(connection, since_ms, LATER + 7)
        dropped, kept = mandates.list_debits(connection, number)
        wanted = (0, "nothing", "corrected before the debit", LATER + 7) if given_up else (300_000, "due", "", LATER)
        assert (dropped.amount_micro, dropped.state, dropped.reason, dropped.at_ms) == wanted
        assert (kept.amount_micro, kept.state, kept.at_ms, kept.noticed_ms) == (50_000, "due", LATER, LATER + 5)

    store.do(work)
