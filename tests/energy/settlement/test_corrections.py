"""A back end's copy with corrections continues the journal that the charger signed, and nothing else."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.energy.settlement.bundle import resealed
from tests.energy.settlement.conftest import Session
from v2g.energy.settlement.bundle import JOURNAL, SETTLEMENT, verify_bundle
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.corrections import Addendum, read_addendum, read_corrected, sign_corrections
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import AnyRecord, LineCorrected, SessionRepriced
from v2g.energy.settlement.settle import settle
from v2g.errors import VerificationError
from v2g.pki.keys import SoftwareKey


@pytest.mark.requirement("R32", "R33")
def test_a_correction_continues_the_signed_journal_and_names_who_when_and_why(finished: Session) -> None:
    files = finished.bundle()
    settlement = verify_bundle(files).settlement
    change = LineCorrected(line=settlement.lines[0].id, price=100_000, reason="free hour", by="alice")
    copy = files[JOURNAL] + Journal.resume(files[JOURNAL]).append(change, finished.now + 5)
    entries = read_corrected(copy, files[JOURNAL], name="copy.jsonl")
    assert (entries[-1].data, entries[-1].utc_ms) == (change, finished.now + 5)
    corrected = settle(entries)
    assert [each.kind for each in corrected.lines[-2:]] == ["reversal", "replacement"]
    assert corrected.end == settlement.end
    assert read_corrected(files[JOURNAL], files[JOURNAL], name="copy.jsonl")[-1].hash == settlement.journal_head


def test_a_copy_of_another_journal_or_an_edited_one_is_rejected(finished: Session) -> None:
    journal = finished.bundle()[JOURNAL]
    lines = journal.splitlines(keepends=True)
    with pytest.raises(VerificationError, match=rf"copy\.jsonl:{len(lines)}: the line differs"):
        read_corrected(b"".join(lines[:-1]), journal, name="copy.jsonl")
    with pytest.raises(VerificationError, match=r"copy\.jsonl:2"):
        read_corrected(journal.replace(b"DEV2GC00000001", b"DEV2GC00000002"), journal, name="copy.jsonl")


@pytest.fixture(scope="module")
def operator() -> SoftwareKey:
    return SoftwareKey(ec.generate_private_key(ec.SECP256R1()))


def continued(session: Session, *records: AnyRecord) -> bytes:
    """The charger's journal with entries after its end."""
    journal = session.bundle()[JOURNAL]
    writer = Journal.resume(journal)
    return journal + b"".join(writer.append(each, session.now + 5) for each in records)


def dearer(session: Session, price: int = 9_000_000) -> LineCorrected:
    line = settle(verify_lines(session.bundle()[JOURNAL])).lines[0].id
    return LineCorrected(line=line, price=price, reason="free hour", by="alice")


@pytest.mark.requirement("R32", "R33")
@pytest.mark.parametrize("kind", ["line_corrected", "session_repriced", "corrections_signed"])
def test_no_charger_corrects_what_it_has_signed(finished: Session, operator: SoftwareKey, kind: str) -> None:
    """Its key alone made any price of any other: entries appended before it sealed."""
    files = finished.bundle()
    record: AnyRecord = dearer(finished)
    if kind == "session_repriced":
        slots = tuple(msgspec.structs.replace(each, import_price=9_000_000) for each in finished.tariff.slots)
        tariff = msgspec.structs.replace(finished.tariff, slots=slots)
        record = SessionRepriced(tariff=tariff, reason="dearer", by="nobody")
    elif kind == "corrections_signed":
        record = sign_corrections("00" * 32, operator)
    journal = continued(finished, record)
    number = journal.count(b"\n")
    forged = resealed(
        finished, files, journal__jsonl=journal, settlement__json=canonical(settle(verify_lines(journal)))
    )
    assert SETTLEMENT in forged
    with pytest.raises(VerificationError, match=rf"journal\.jsonl:{number}: a correction in what the charger sealed"):
        verify_bundle(forged)


def addendum(session: Session, *records: AnyRecord, by: tuple[SoftwareKey, ...] | None = None) -> Addendum:
    entries = read_corrected(continued(session, *records), session.bundle()[JOURNAL], name="copy.jsonl")
    operators = None if by is None else [each.public_key for each in by]
    return read_addendum(entries, operators=operators, name="copy.jsonl")


def signed(session: Session, key: SoftwareKey, *records: AnyRecord) -> tuple[AnyRecord, ...]:
    """The records, and the operator's signature of them."""
    writer = Journal.resume(continued(session, *records))
    return (*records, sign_corrections(writer.state.head, key))


@pytest.mark.long
@pytest.mark.requirement("R32", "R33")
def test_an_operators_addendum_says_who_changed_what_and_with_whose_key(
    finished: Session, operator: SoftwareKey
) -> None:
    report = verify_bundle(finished.bundle())
    made = addendum(finished, *signed(finished, operator, dearer(finished)), by=(operator,))
    (change,) = made.changes
    assert (change.by, change.price, change.known) == ("alice", 9_000_000, True)
    before, after = report.settlement.totals[0].balance, made.totals[0].balance
    assert after > before
    said = msgspec.structs.replace(report, addendum=made).lines()
    assert sum("balance to pay" in each for each in said) == 2
    assert any("at 9.00 per kWh, by alice: free hour" in each for each in said)
    assert any(f"operator's key {change.key}" in each and "compare" not in each for each in said)


def test_a_correction_counts_for_the_reader_s_operator_only_with_its_signature(
    finished: Session, operator: SoftwareKey
) -> None:
    other = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
    first = dearer(finished)
    mine = signed(finished, operator, first)
    unsigned = addendum(finished, first)
    assert (unsigned.changes[0].key, unsigned.changes[0].known) == (None, False)
    with pytest.raises(VerificationError, match="signed by no key"):
        addendum(finished, first, by=(operator,))
    with pytest.raises(VerificationError, match=f"signed by key {addendum(finished, *mine).changes[0].key}"):
        addendum(finished, *mine, by=(other,))
    second = LineCorrected(line=f"{first.line}/replacement-{count(finished)}", price=1, reason="again", by="bob")
    with pytest.raises(VerificationError, match="signed by no key"):
        addendum(finished, *mine, second, by=(operator,))  # appended by who writes in the database
    both = signed(finished, other, *mine, second)
    assert [each.known for each in addendum(finished, *both, by=(operator, other)).changes] == [True, True]
    assert [each.known for each in addendum(finished, *both, by=(other,)).changes] == [True, True]
    assert [each.key is not None for each in addendum(finished, *both).changes] == [True, True]


def count(session: Session) -> int:
    return len(verify_lines(session.bundle()[JOURNAL]))


def test_a_forged_signature_of_corrections_is_rejected(finished: Session, operator: SoftwareKey) -> None:
    *_, genuine = signed(finished, operator, dearer(finished))
    with pytest.raises(VerificationError, match=r"copy\.jsonl:\d+: the operator's signature"):
        addendum(finished, dearer(finished, 1), genuine)
    for public_key in (b"", b"\x30\x00", finished.charger.leaf[:99]):
        broken = msgspec.structs.replace(genuine, public_key=public_key)  # type: ignore[type-var]
        with pytest.raises(VerificationError, match="the operator's signature") as error:
            addendum(finished, dearer(finished), broken)
        assert error.value.where == f"copy.jsonl:{count(finished) + 2}"


def test_of_several_signatures_the_reader_s_operator_s_counts(finished: Session, operator: SoftwareKey) -> None:
    other = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
    mine = signed(finished, operator, dearer(finished))
    twice = signed(finished, other, *mine)
    (alone,) = addendum(finished, *mine, by=(operator,)).changes
    (found,) = addendum(finished, *twice, by=(operator,)).changes
    (unknown,) = addendum(finished, *twice).changes
    assert (found.key, found.known) == (alone.key, True)
    assert (unknown.key == alone.key, unknown.known) == (False, False)


def test_a_session_that_was_repriced_is_shown_with_its_tariff(finished: Session, operator: SoftwareKey) -> None:
    slots = tuple(msgspec.structs.replace(each, import_price=9_000_000) for each in finished.tariff.slots)
    tariff = msgspec.structs.replace(finished.tariff, slots=slots, version=8)
    made = addendum(finished, *signed(finished, operator, SessionRepriced(tariff=tariff, reason="dearer", by="bob")))
    (change,) = made.changes
    assert (change.version, change.line, change.price, change.by) == (8, None, None, "bob")
    report = msgspec.structs.replace(verify_bundle(finished.bundle()), addendum=made)
    assert any("all lines at tariff 8, by bob: dearer" in each for each in report.lines())
