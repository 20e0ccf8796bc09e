"""What who writes in the database changes in the books is found: each row of a session and of months, and no other."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from csms.accounts.rules import Role
from csms.books.tables import periods, posting_entries, postings
from csms.settlements.tables import journal_lines, journals, settlements
from csms.settlements.work import settle_journal
from tests.csms.api.support import ApiClient
from tests.csms.settlement.journals import SESSION, T0, journal
from tests.csms.settlement.witness import delivered_whole
from tests.csms.support import STATION
from v2g import typed_json
from v2g.energy.settlement.bookkeeping import Digest, Posting, period_of
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import Journal
from v2g.energy.settlement.records import LineCorrected

pytestmark = pytest.mark.requirement("R32", "R33")

MONTH = period_of(T0)
OTHER = "0102030405060709"
Change = Callable[[Connection], Any]


@pytest.fixture
async def kept(ask: ApiClient) -> ApiClient:
    """A back end with two sessions, of which the first was corrected."""
    await delivered_whole(ask, journal())
    await delivered_whole(ask, journal(OTHER, nth=1), OTHER)
    price = {"line": f"{T0}/import", "price_per_kwh": "0.25", "reason": "wrong tariff"}
    assert (await ask("POST", f"/settlements/{SESSION}/corrections", price, role=Role.BILLING)).status == 200
    return ask


async def close(ask: ApiClient) -> None:
    ask.backend.clock.now_ms = T0 + 40 * 86_400_000
    assert (await ask("POST", f"/books/periods/{MONTH}/close", role=Role.BILLING)).status == 200


async def findings(ask: ApiClient) -> list[str]:
    """What is found, in months and sessions."""
    months = [each["finding"] for each in (await ask("GET", "/books/audit/periods")).json]
    first = await ask("GET", "/books/audit/sessions?limit=1")
    link = first.headers["link"]
    rest = (await ask("GET", link[1 : link.index(">")])).json
    return months + [text for each in (*first.json, *rest) for text in each["findings"]]


async def test_honest_books_hold_open_and_closed(kept: ApiClient) -> None:
    assert await findings(kept) == []
    assert (await kept("GET", f"/settlements/{SESSION}")).json["intact"] is True
    await close(kept)
    assert await findings(kept) == []
    assert (await kept("GET", f"/books/periods/{MONTH}")).json["intact"] is True
    (month,) = [each for each in (await kept("GET", "/books/periods")).json if each["digest"]]
    assert len(month["signer"]) == 64


def _document(session: str = SESSION) -> Any:
    return (postings.c.session_id == session) & (postings.c.reversed == 0) & postings.c.reverses.is_(None)


def cheaper_posting(connection: Connection) -> None:
    """In the document and in its entries, so that they agree."""
    row = connection.execute(select(postings).where(_document())).one()
    made = json.loads(row.document)
    for each in made["entries"]:
        if each["unit"] == "EUR":
            each["amount"] = each["amount"] // 2
            connection.execute(
                update(posting_entries)
                .where((posting_entries.c.posting_id == row.id) & (posting_entries.c.account == each["account"]))
                .where(posting_entries.c.unit == "EUR")
                .values(amount=each["amount"])
            )
    connection.execute(update(postings).where(postings.c.id == row.id).values(document=canonical(made).decode()))


def rewritten(lines: list[bytes]) -> Change:
    """The journal, its settlement and its posting, all as of these lines."""

    def change(connection: Connection) -> None:
        made = settle_journal(b"".join(lines), OTHER)
        of = (journal_lines.c.station_id == STATION) & (journal_lines.c.session_id == OTHER)
        connection.execute(delete(journal_lines).where(of))
        rows = [{"station_id": STATION, "session_id": OTHER, "sequence": n, "line": x} for n, x in enumerate(lines)]
        connection.execute(insert(journal_lines), rows)
        head = json.loads(lines[-1])["hash"]
        connection.execute(update(journals).where(journals.c.session_id == OTHER).values(head=head, lines=len(lines)))
        connection.execute(
            update(settlements)
            .where(settlements.c.session_id == OTHER)
            .values(document=made.document.decode(), journal_head=head)
        )
        number = connection.execute(select(postings.c.id).where(postings.c.session_id == OTHER)).scalar()
        connection.execute(
            update(postings).where(postings.c.id == number).values(document=canonical(made.posting).decode())
        )
        connection.execute(delete(posting_entries).where(posting_entries.c.posting_id == number))
        entries = [
            {"posting_id": number, "account": each.account, "unit": each.unit, "amount": each.amount}
            for each in made.posting.entries
        ]
        connection.execute(insert(posting_entries), entries)

    return change


def corrected() -> list[bytes]:
    lines = journal(OTHER, nth=1)
    change = LineCorrected(line=f"{T0 + 3_600_000}/import", price=1, reason="cheaper", by="nobody")
    return [*lines, Journal.resume(b"".join(lines)).append(change, T0 + 6_000_000)]


CHANGES: dict[str, tuple[Change, str]] = {
    "a posting, with its entries": (cheaper_posting, "does not follow from the journal"),
    "an entry": (
        lambda c: c.execute(update(posting_entries).where(posting_entries.c.account == "driver").values(amount=1)),
        "its entries differ from it",
    ),
    "a sum": (lambda c: c.execute(update(postings).values(import_mwh=1)), "its sums differ from it"),
    "its month": (lambda c: c.execute(update(postings).values(period="2031-01")), "it is in 2031-01, not in"),
    "a mark of reversal": (
        lambda c: c.execute(update(postings).where(_document()).values(reversed=1)),
        "it is not reversed as it is marked",
    ),
    "a reversal": (
        lambda c: c.execute(update(postings).where(postings.c.reverses.is_not(None)).values(reverses=2)),
        "it is not the reversal of posting 2",
    ),
    "a settlement": (
        lambda c: c.execute(update(settlements).values(document=settlements.c.document + " ")),
        "the settlement does not follow from the journal",
    ),
    "no settlement": (lambda c: c.execute(delete(settlements)), "there is no settlement"),
    "no journal": (lambda c: c.execute(delete(journal_lines)), "there is no journal"),
    "a broken journal": (
        lambda c: c.execute(delete(journal_lines).where(journal_lines.c.sequence == 2)),
        "the journal: journal:3: entry 3 found, 2 expected",
    ),
    "a journal, with all that follows from it": (
        rewritten(journal(OTHER, price=1_000, nth=1)),
        "the journal is not the one that was received",
    ),
    "a journal without its receipt": (
        lambda c: (rewritten(journal(OTHER, price=1_000, nth=1))(c), c.execute(update(journals).values(receipt=None))),
        "the operator has signed no receipt of the journal",
    ),
    "another session's receipt": (
        lambda c: c.execute(
            update(journals).values(
                receipt=select(journals.c.receipt).where(journals.c.session_id == OTHER).scalar_subquery()
            )
        ),
        "the receipt is of another session",
    ),
    "a receipt that is none": (lambda c: c.execute(update(journals).values(receipt="{}")), "the receipt of the"),
    "a correction, with all that follows from it": (
        rewritten(corrected()),
        "the correction is signed by no key, not by the operator's",
    ),
}


@pytest.mark.some(2)
@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_in_an_open_month_is_found(kept: ApiClient, what: str) -> None:
    change, why = CHANGES[what]
    await kept.backend.services.store.run(change)
    assert any(why in each for each in await findings(kept)), await findings(kept)
    (month,) = {each["period"] for each in (await kept("GET", "/books/periods")).json}
    assert (await kept("GET", f"/books/periods/{month}")).json["intact"] is False


async def test_a_settlement_that_was_changed_is_reported_when_it_is_read(kept: ApiClient) -> None:
    def change(connection: Connection) -> None:
        document = json.loads(connection.execute(select(settlements.c.document)).scalars().first() or "")
        document["totals"][0]["balance"] = 1
        connection.execute(update(settlements).values(document=canonical(document).decode()))

    await kept.backend.services.store.run(change)
    assert (await kept("GET", f"/settlements/{SESSION}")).json["intact"] is False


def stale(connection: Connection) -> None:
    cheaper_posting(connection)


def refreshed(connection: Connection) -> None:
    """A posting is changed and the month's digest made anew, by who knows how but lacks the operator's key."""
    cheaper_posting(connection)
    digest = Digest()
    for document in connection.execute(select(postings.c.document).order_by(postings.c.id)).scalars():
        digest.add(typed_json.decode(document, Posting))
    assert connection.execute(update(periods).values(digest=digest.hex)).rowcount == 1


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (stale, "postings were changed after closing"),
        (refreshed, "its digest is not the one that the operator signed"),
        (lambda c: c.execute(update(periods).values(seal=None)), "the operator has not signed its digest"),
        (lambda c: c.execute(update(periods).values(seal="{}")), "its digest is not the one that the operator signed"),
        (
            lambda c: c.execute(update(periods).values(closed_ms=1)),
            "its digest is not the one that the operator signed",
        ),
    ],
)
async def test_a_change_in_a_closed_month_is_found(kept: ApiClient, change: Change, why: str) -> None:
    await close(kept)
    await kept.backend.services.store.run(change)
    assert why in await findings(kept)
    assert (await kept("GET", f"/books/periods/{MONTH}")).json["intact"] is False


async def test_a_month_that_takes_too_long_to_recompute_is_not_said_to_be_intact(
    kept: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each posting counts the lines of its session: the corrected one has three."""
    lines = len((await kept("GET", f"/settlements/{SESSION}/journal")).body.splitlines()) * 3 + len(
        journal(OTHER, nth=1)
    )
    for most, intact in ((lines, True), (lines - 1, None)):
        monkeypatch.setattr("csms.books.api.RECOMPUTED_LINES", most)
        assert (await kept("GET", f"/books/periods/{MONTH}")).json["intact"] is intact


async def test_what_earlier_versions_stored_holds_once_the_operator_has_signed_it(kept: ApiClient) -> None:
    await close(kept)
    await kept.backend.services.store.run(lambda c: c.execute(update(journals).values(receipt=None)))
    await kept.backend.services.store.run(lambda c: c.execute(update(periods).values(seal=None)))
    assert len(await findings(kept)) == 3
    assert (await kept("GET", f"/books/periods/{MONTH}")).json["intact"] is False
    for session in (SESSION, OTHER):
        assert (await kept("POST", f"/settlements/{session}/corrections/sign", role=Role.BILLING)).status == 200
    assert (await kept("POST", f"/books/periods/{MONTH}/close", role=Role.BILLING)).status == 200
    assert await findings(kept) == []
