"""What the audit of the books finds, exactly: of an honest session nothing, of each change what was changed."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import UNSET

from csms.books.audit import audit_periods, audit_session, same_document
from csms.books.store import ClosedPeriod, PostingRow, SessionRows
from csms.settlements.store import JournalRow
from csms.settlements.work import correct_journal, receipt_of, settle_journal
from tests.csms.settlement.journals import SESSION, T0, journal
from tests.csms.support import STATION
from tests.together import together
from v2g.energy.settlement.bookkeeping import Posting, Use, period_of, reversal_of
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.corrections import sign_corrections
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.operator import JournalReceipt, PeriodClosed, seal
from v2g.energy.settlement.records import LineCorrected
from v2g.energy.settlement.taxes import UNTAXED, Taxation, VatRate
from v2g.pki.keys import SoftwareKey

pytestmark = pytest.mark.requirement("R32", "R33")

OPERATOR = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
STRANGER = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
MONTH = period_of(T0)
BOOKED_MS = T0 + 2_000_000
AFTER = "2030-04"


VAT = Taxation(rates=(VatRate(percent="19"),))
NOW_VAT = Taxation(rates=(VatRate(percent="21"),))


def received(of: list[bytes], key: SoftwareKey = OPERATOR, taxation: Taxation = UNTAXED, **changed: Any) -> bytes:
    row = JournalRow(
        station_id=STATION,
        session_id=SESSION,
        lines=len(of),
        head=verify_lines(b"".join(of))[-1].hash,
        ended=True,
    )
    return receipt_of(msgspec.structs.replace(row, **changed), BOOKED_MS, key, taxation)


def stored(number: int, posting: Posting, *, reverses: int | None = None, undone: int = 0) -> PostingRow:
    return PostingRow(
        number,
        MONTH,
        BOOKED_MS,
        posting.vehicle,
        reverses,
        undone,
        tuple(getattr(posting.use, name) for name in Use.__struct_fields__),
        posting,
        {(each.account, each.unit, each.amount) for each in posting.entries},
    )


def settled(lines: list[bytes], taxation: Taxation = UNTAXED) -> tuple[str, Posting]:
    made = settle_journal(b"".join(lines), SESSION, taxation)
    return made.document.decode(), msgspec.structs.replace(made.posting, station_id=STATION, session_id=SESSION)


def once(taxation: Taxation = UNTAXED, signed: Taxation | None = None) -> SessionRows:
    """A session that was settled once, with VAT as the operator `signed` it: default, the same."""
    lines = journal()
    document, posting = settled(lines, taxation)
    receipt = received(lines, taxation=taxation if signed is None else signed)
    return SessionRows(STATION, SESSION, lines, receipt, document, [stored(1, posting)])


def twice(key: SoftwareKey = OPERATOR) -> SessionRows:
    """A session that was corrected after it was settled."""
    lines = journal()
    change = LineCorrected(line=f"{T0}/import", price=250_000, reason="wrong tariff", by="alice")
    whole = [*lines, *correct_journal(STATION, SESSION, lines, change, BOOKED_MS, key).lines]
    (_, first), (document, last) = settled(lines), settled(whole)
    rows = [stored(1, first, undone=1), stored(2, reversal_of(first), reverses=1), stored(3, last)]
    return SessionRows(STATION, SESSION, whole, received(lines), document, rows)


def findings(rows: SessionRows, closed: dict[str, int] | None = None, present: Taxation = UNTAXED) -> list[str]:
    return audit_session(rows, [OPERATOR.public_key], present, closed or {})


@pytest.mark.parametrize("present", [UNTAXED, VAT, NOW_VAT])
def test_a_session_keeps_the_vat_that_the_operator_signed_whatever_rates_there_are_now(present: Taxation) -> None:
    assert findings(once(VAT), present=present) == []
    assert findings(once(UNTAXED), present=present) == []


def test_vat_that_the_operator_has_not_signed_is_found() -> None:
    assert len(findings(once(NOW_VAT, signed=VAT))) == 2
    rows = once(NOW_VAT)
    forged = received(rows.lines, STRANGER, NOW_VAT)
    (finding,) = findings(rows._replace(receipt=forged))
    assert "signed by another key" in finding


def test_without_signed_vat_the_present_rates_count() -> None:
    """As in receipts of earlier versions."""
    rows = once(VAT)
    receipt = msgspec.json.decode(received(rows.lines), type=JournalReceipt)
    older = msgspec.structs.replace(receipt.received, taxation=UNSET)
    data = canonical(JournalReceipt(received=older, seal=seal(older, OPERATOR)))
    assert b"taxation" not in data
    assert findings(rows._replace(receipt=data), present=VAT) == []
    assert len(findings(rows._replace(receipt=data), present=NOW_VAT)) == 2


def of_row(number: int, **changed: Any) -> Callable[[SessionRows], SessionRows]:
    """Change a posting's row."""

    def change(rows: SessionRows) -> SessionRows:
        made = [each._replace(**changed) if each.number == number else each for each in rows.postings]
        return rows._replace(postings=made)

    return change


def of_posting(number: int, **changed: Any) -> Callable[[SessionRows], SessionRows]:
    """Change a posting, and all columns that are made of it."""

    def change(rows: SessionRows) -> SessionRows:
        made = [
            stored(
                each.number,
                msgspec.structs.replace(each.posting, **changed),
                reverses=each.reverses,
                undone=each.reversed,
            )
            if each.number == number
            else each
            for each in rows.postings
        ]
        return rows._replace(postings=made)

    return change


def without(*numbers: int) -> Callable[[SessionRows], SessionRows]:
    return lambda rows: rows._replace(postings=[each for each in rows.postings if each.number not in numbers])


def again(number: int, as_: int) -> Callable[[SessionRows], SessionRows]:
    """Add a posting a second time."""
    return lambda rows: rows._replace(
        postings=[*rows.postings, *(each._replace(number=as_) for each in rows.postings if each.number == number)]
    )


def test_an_honest_session_has_no_findings() -> None:
    assert (findings(once()), findings(twice())) == ([], [])


POSTED = "the session is not posted, once, by its settlement"

CHANGES: dict[str, tuple[Callable[[SessionRows], SessionRows], list[str]]] = {
    "no settlement": (lambda r: r._replace(settlement=None), ["there is no settlement"]),
    "another settlement": (
        lambda r: r._replace(settlement="{}"),
        ["the settlement does not follow from the journal"],
    ),
    "no journal": (lambda r: r._replace(lines=[]), ["there is no journal"]),
    "no receipt": (lambda r: r._replace(receipt=None), ["the operator has signed no receipt of the journal"]),
    "a receipt that is none": (
        lambda r: r._replace(receipt=b"{}"),
        ["the receipt of the journal: Object missing required field `received`"],
    ),
    "another station's receipt": (
        lambda r: r._replace(receipt=received(journal(), station_id="CS-2")),
        ["the receipt is of another session"],
    ),
    "another session's receipt": (
        lambda r: r._replace(receipt=received(journal(), session_id="00" * 8)),
        ["the receipt is of another session"],
    ),
    "a receipt of fewer entries": (
        lambda r: r._replace(receipt=received(journal(), lines=3)),
        ["the journal is not the one that was received"],
    ),
    "a receipt of another end": (
        lambda r: r._replace(receipt=received(journal(), head="00" * 32)),
        ["the journal is not the one that was received"],
    ),
    "no postings": (without(1, 2, 3), [POSTED]),
    "no posting of the correction": (without(3), [POSTED]),
    "no reversal": (without(2), ["posting 1: it is not reversed as it is marked", POSTED]),
    "no reversal, and no mark of it": (lambda r: of_row(1, reversed=0)(without(2)(r)), [POSTED]),
    "no mark of reversal": (of_row(1, reversed=0), ["posting 1: it is not reversed as it is marked"]),
    "a mark of reversal": (of_row(3, reversed=1), ["posting 3: it is not reversed as it is marked"]),
    "a reversal of nothing": (
        of_row(2, reverses=9),
        ["posting 1: it is not reversed as it is marked", "posting 2: it is not the reversal of posting 9", POSTED],
    ),
    "another reversal": (of_posting(2, end_ms=T0), ["posting 2: it is not the reversal of posting 1"]),
    "a second reversal": (again(2, 4), ["posting 1: it is not reversed as it is marked"]),
    "a second posting": (again(3, 4), [POSTED]),
    "a posting of another journal": (
        of_posting(3, journal_head="00" * 32),
        ["posting 3: it is not of this journal", POSTED],
    ),
    "another vehicle's posting": (
        of_posting(3, vehicle="DEV2GC00000009"),
        ["posting 3: it does not follow from the journal", POSTED],
    ),
    "an earlier posting": (
        of_posting(1, vehicle="DEV2GC00000009"),
        ["posting 1: it does not follow from the journal", "posting 2: it is not the reversal of posting 1"],
    ),
    "entries": (of_row(3, entries=set()), ["posting 3: its entries differ from it"]),
    "sums": (of_row(3, use=(0,)), ["posting 3: its sums differ from it"]),
    "a vehicle": (of_row(3, vehicle="DEV2GC00000009"), ["posting 3: its sums differ from it"]),
    "an earlier month": (of_row(3, period="2030-02"), [f"posting 3: it is in 2030-02, not in {MONTH}"]),
    "a later month": (of_row(3, period=AFTER), [f"posting 3: it is in {AFTER}, not in {MONTH}"]),
}


@together("what", CHANGES)
def test_a_change_of_a_session_is_found(what: str) -> None:
    change, expected = CHANGES[what]
    assert findings(change(twice())) == expected


def test_a_journal_that_is_broken_is_the_only_finding() -> None:
    rows = once()
    (found,) = findings(rows._replace(lines=rows.lines[1:]))
    assert found.startswith("the journal: journal:1: ")


def test_a_receipt_that_was_changed_after_it_was_signed_is_refused() -> None:
    rows = once()
    assert rows.receipt is not None
    (found,) = findings(rows._replace(receipt=rows.receipt.replace(str(BOOKED_MS).encode(), str(T0).encode())))
    assert found.startswith("the journal: receipt: the operator's signature")


def test_signatures_of_other_keys_are_named() -> None:
    (found,) = findings(once()._replace(receipt=received(journal(), STRANGER)))
    key = seal(PeriodClosed(period="", closed_ms=0, postings=0, digest="", previous=""), STRANGER).key_id
    assert found == f"the receipt of the journal is signed by another key, {key}"
    (found,) = findings(twice(STRANGER))
    assert found == f"journal:{len(journal()) + 1}: the correction is signed by key {key}, not by the operator's"


def test_a_signature_of_corrections_that_does_not_hold_is_found() -> None:
    lines = journal()
    made = Journal.resume(b"".join(lines))
    change = LineCorrected(line=f"{T0}/import", price=250_000, reason="wrong tariff", by="alice")
    lines.append(made.append(change, BOOKED_MS))
    lines.append(made.append(sign_corrections("00" * 32, OPERATOR), BOOKED_MS))
    (found,) = findings(once()._replace(lines=lines))
    assert found.startswith(f"the journal: journal:{len(lines)}: the operator's signature")


@together(
    ("closed", "closed_ms", "period", "found"),
    [
        (MONTH, BOOKED_MS - 1, AFTER, []),
        (MONTH, BOOKED_MS + 60_000, AFTER, []),
        (MONTH, BOOKED_MS + 60_001, AFTER, [f"posting 1: it is in {AFTER}, not in {MONTH}"]),
        (MONTH, BOOKED_MS - 1, "2030-02", [f"posting 1: it is in 2030-02, not in {MONTH}"]),
        (MONTH, BOOKED_MS - 1, MONTH, []),
        (AFTER, BOOKED_MS - 1, "2030-05", []),
        ("2030-02", BOOKED_MS - 1, AFTER, [f"posting 1: it is in {AFTER}, not in {MONTH}"]),
    ],
)
def test_only_what_was_booked_after_its_month_or_a_later_one_was_closed_is_not_in_it(
    closed: str, closed_ms: int, period: str, found: list[str]
) -> None:
    """By the clocks of two nodes, which may differ by a minute."""
    assert findings(of_row(1, period=period)(once()), {closed: closed_ms}) == found


def closed(period: str, its: str, previous: str, key: SoftwareKey | None = OPERATOR, **changed: Any) -> ClosedPeriod:
    statement = PeriodClosed(period=period, closed_ms=1, postings=2, digest=its, previous=previous)
    made = None if key is None else canonical(seal(statement, key)).decode()
    return ClosedPeriod(period, 1, 2, its, made)._replace(**changed)


UNSIGNED = "its digest is not the one that the operator signed"


@together(
    ("periods", "changed", "opened", "found"),
    [
        ([], (), ("2030-01",), []),
        ([closed("2030-01", "a", ""), closed("2030-02", "b", "a")], (), ("2030-03",), []),
        ([closed("2030-01", "a", "")], ("2030-01",), (), [("2030-01", "postings were changed after closing")]),
        ([closed("2030-01", "a", "")], ("2030-02",), (), []),
        ([closed("2030-01", "a", "0")], (), (), [("2030-01", UNSIGNED)]),
        ([closed("2030-01", "a", ""), closed("2030-02", "b", "")], (), (), [("2030-02", UNSIGNED)]),
        ([closed("2030-01", "a", "", seal="{}"), closed("2030-02", "b", "a")], (), (), [("2030-01", UNSIGNED)]),
        ([closed("2030-01", "a", "", digest="c")], (), (), [("2030-01", UNSIGNED)]),
        ([closed("2030-01", "a", "", closed_ms=2)], (), (), [("2030-01", UNSIGNED)]),
        ([closed("2030-01", "a", "", postings=1)], (), (), [("2030-01", UNSIGNED)]),
        (
            [closed("2030-01", "a", "", None), closed("2030-02", "b", "a", None)],
            (),
            (),
            [(each, "the operator has not signed its digest") for each in ("2030-01", "2030-02")],
        ),
        (
            [closed("2030-02", "a", "")],
            (),
            ("2030-01", "2030-02", "2030-03"),
            [("2030-01", "it is open, and a later period is closed")],
        ),
        (
            [closed("2030-02", "a", ""), closed("2030-05", "b", "a")],
            (),
            ("2030-03",),
            [("2030-03", "it is open, and a later period is closed")],
        ),
    ],
)
def test_findings_of_closed_months(
    periods: list[ClosedPeriod], changed: tuple[str, ...], opened: tuple[str, ...], found: list[tuple[str, str]]
) -> None:
    assert list(audit_periods(periods, changed, opened, [OPERATOR.public_key])) == found


def test_a_month_that_another_key_has_signed_is_named_with_it() -> None:
    months = [closed("2030-01", "a", "", STRANGER), closed("2030-02", "b", "a")]
    ((period, finding),) = audit_periods(months, (), (), [OPERATOR.public_key])
    key = seal(PeriodClosed(period="", closed_ms=0, postings=0, digest="", previous=""), STRANGER).key_id
    assert (period, finding) == ("2030-01", f"its digest is signed by another key, {key}")


def test_a_settlement_is_the_same_only_if_it_follows_from_the_journal() -> None:
    data = b"".join(journal())
    document = msgspec.json.decode(settle_journal(data, "journal").document)
    assert same_document(document, data)
    assert not same_document({**document, "emaid": "DEV2GC00000009"}, data)
    assert same_document(document, data[10:]) is False
