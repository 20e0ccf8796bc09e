"""A bundle with checkpoints cannot be rewritten by one side alone, though it has all its own keys."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.energy.settlement.conftest import SESSION_ID, Session
from v2g.asn1.discharge import CheckpointReceipt, DischargeCheckpoint, ReceiptStatus, signed_content
from v2g.asn1.published import check_signed
from v2g.energy.discharge_gate import JournalHead, Rejected
from v2g.energy.settlement.bundle import MANIFEST, SIGNATURE, Seal, verify_bundle
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.checkpoints import MAX_COPY_BYTES, Copy, check_copies, copies_of, encode_copy, read_copies
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.proof import prove_discharge, signed_messages
from v2g.energy.settlement.records import (
    AnyRecord,
    CheckpointAnswered,
    CheckpointIssued,
    CommandAccepted,
    IntervalClosed,
    MeterReading,
    ServiceChanged,
    SessionEnded,
    TermsDecided,
    TermsOffered,
    record_of,
)
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.signed import Party, sign_content, terms_hash
from v2g.errors import StoreError, VerificationError

pytestmark = pytest.mark.requirement("R25", "R32")

Change = Callable[[int, AnyRecord], AnyRecord | None]


@pytest.fixture(scope="module")
def finished(pki: PkiTree, start_ms: int) -> Session:
    """Charged, discharged, countersigned twice on the way and once at the end."""
    session = Session(pki, start_ms, checkpoints=True)
    session.start()
    session.flow(11_000, 60_000)
    session.checkpoint()
    session.offer()
    session.flow(-9_000, 30_000)
    session.checkpoint()
    session.flow(-9_000, 30_000)
    session.checkpoint(final=True)
    session.end()
    return session


def places(copies: list[Copy]) -> Iterator[tuple[str, Copy]]:
    return ((f"copies:{number}", copy) for number, copy in enumerate(copies, 1))


def rewritten(session: Session, change: Change) -> Session:
    """The session as reported by a charger that has its own keys and its meter's: written, sealed and signed anew."""
    altered = Session(session.pki, session.start_ms)
    altered.copies = session.copies
    journal = SessionJournal()
    for entry in verify_lines(session.journal):
        record = None if isinstance(entry.data, IntervalClosed) else change(entry.sequence, entry.data)
        if isinstance(record, SessionEnded):
            altered.lines += journal.end(
                record.reason, entry.utc_ms, import_mwh=record.import_mwh, export_mwh=record.export_mwh
            )
        elif record is not None and not (isinstance(record, MeterReading) and record.reason == "end"):
            altered.lines += journal.record(record, entry.utc_ms)
    altered.now = journal.state.utc_ms
    altered.import_mwh, altered.export_mwh = journal.state.import_mwh, journal.state.export_mwh
    return altered


def refusal(session: Session, *, copies: bool = False) -> str:
    """Why a bundle is refused whose energy has to be countersigned."""
    with pytest.raises(VerificationError) as error:
        verify_bundle(
            session.bundle(),
            require={"signed"} if copies else {"signed", "checkpoints"},
            copies=places(session.copies) if copies else None,
        )
    return str(error.value)


def test_an_honest_bundle_is_verified_with_the_copies_of_both(finished: Session) -> None:
    report = verify_bundle(finished.bundle(), require={"checkpoints"}, copies=places(finished.copies))
    proved = report.discharge.checkpoints
    assert (proved.issued, proved.countersigned, proved.final, report.copies) == (3, 3, True, 3)
    assert (proved.import_mwh, proved.export_mwh) == (
        finished.import_mwh - finished.begin[0],
        finished.export_mwh - finished.begin[1],
    )
    assert list(copies_of(verify_lines(finished.journal), SESSION_ID.hex())) == finished.copies
    assert rewritten(finished, lambda _, record: record).journal == finished.journal


@pytest.mark.requirement("R27")
def test_an_independent_compiler_reads_the_messages_alike(finished: Session) -> None:
    kinds = set()
    for _, payload in signed_messages(verify_lines(finished.journal)):
        check_signed(payload)
        kinds.add(type(signed_content(payload)).__name__)
    assert {"DischargeCheckpoint", "CheckpointReceipt"} < kinds


def more(record: AnyRecord, mwh: int) -> AnyRecord:
    """The same record with more energy taken."""
    if isinstance(record, MeterReading | SessionEnded):
        return msgspec.structs.replace(record, import_mwh=record.import_mwh + mwh)
    return record


def drop(*kinds: type[Any], number: int | None = None) -> Change:
    """Leave out records of these kinds, or only those of one checkpoint."""

    def change(_: int, record: AnyRecord) -> AnyRecord | None:
        hit = isinstance(record, kinds) and (number is None or getattr(record, "number", None) == number)
        return None if hit else record

    return change


def test_the_charger_edits_readings(finished: Session) -> None:
    assert "not the one that was signed" in refusal(rewritten(finished, lambda _, record: more(record, 50_000)))


def test_the_charger_drops_all_checkpoints(finished: Session) -> None:
    """The vehicle's decisions and commands show that there were some."""
    altered = rewritten(finished, drop(CheckpointIssued, CheckpointAnswered))
    assert "the vehicle had countersigned checkpoint 1, the journal has 0 before this" in refusal(altered)


def test_the_charger_drops_a_receipt(finished: Session) -> None:
    altered = rewritten(finished, drop(CheckpointAnswered, number=2))
    assert "the vehicle had countersigned checkpoint 2, the journal has 1 before this" in refusal(altered)


def test_the_charger_drops_the_last_checkpoint_and_adds_energy_after_the_last_command(finished: Session) -> None:
    last = max(e.sequence for e in verify_lines(finished.journal) if isinstance(e.data, CheckpointIssued))

    def change(position: int, record: AnyRecord) -> AnyRecord | None:
        if position >= last:
            record = more(record, 70_000)
        return drop(CheckpointIssued, CheckpointAnswered, number=3)(position, record)

    altered = rewritten(finished, change)
    assert "after the last checkpoint that the vehicle countersigned" in refusal(altered)
    assert refusal(altered, copies=True) == "copies:3: the journal lacks checkpoint 3"


def test_the_charger_drops_checkpoints_with_the_commands_that_name_them(finished: Session) -> None:
    """The energy that they covered is still on the meter."""

    def change(position: int, record: AnyRecord) -> AnyRecord | None:
        if isinstance(record, CommandAccepted):
            content = signed_content(record.payload)
            return record if content.checkpoint == 1 else None  # type: ignore[union-attr]
        if isinstance(record, CheckpointIssued | CheckpointAnswered) and record.number > 1:
            return None
        return record

    said = refusal(rewritten(finished, change))
    assert "were fed back where signed commands allowed" in said


def test_the_charger_signs_its_rewritten_journal_anew(finished: Session) -> None:
    """It has its own key, but not that of the receipts."""
    fingerprint = Party.of(finished.charger.leaf).fingerprint
    signed: list[AnyRecord] = []

    def again(position: int, record: AnyRecord) -> AnyRecord:
        record = more(record, 50_000)
        if isinstance(record, CheckpointIssued):
            altered = rewritten(finished, lambda n, each: signed[n] if n < len(signed) else None)
            entries = verify_lines(altered.journal)
            was = signed_content(record.payload)
            assert isinstance(was, DischargeCheckpoint)
            now = msgspec.structs.replace(was.now, import_mwh=was.now.import_mwh + 50_000)
            content = msgspec.structs.replace(was, head=bytes.fromhex(entries[-1].hash), entries=len(entries), now=now)
            record = CheckpointIssued(
                number=record.number, payload=sign_content(content, finished.charger.key, fingerprint)
            )
        assert len(signed) == position
        signed.append(record)
        return record

    assert "the receipt refers to another checkpoint" in refusal(_reissued(finished, again, signed))


def _reissued(session: Session, change: Callable[[int, AnyRecord], AnyRecord], signed: list[AnyRecord]) -> Session:
    for entry in verify_lines(session.journal):
        if isinstance(entry.data, IntervalClosed):
            signed.append(entry.data)
        else:
            change(entry.sequence, entry.data)
    return rewritten(session, lambda position, _: signed[position])


def test_the_charger_reports_a_session_of_version_1(finished: Session) -> None:
    """Whatever it leaves out, the vehicle's messages of version 2 stay what they are."""
    altered = rewritten(finished, drop(CheckpointIssued, CheckpointAnswered, CommandAccepted, TermsDecided))
    assert "were fed back where signed commands allowed 0 mWh" in refusal(altered)


def test_the_vehicle_with_its_keys_cannot_seal_a_bundle(finished: Session) -> None:
    altered = rewritten(finished, drop(CheckpointIssued, CheckpointAnswered, number=3))
    files = altered.bundle()
    key = finished.contract.key
    seal = Seal(
        algorithm=key.algorithm,
        signer=hashlib.sha256(finished.charger.leaf).hexdigest(),
        signature=key.sign(files[MANIFEST]).hex(),
    )
    with pytest.raises(VerificationError, match=SIGNATURE):
        verify_bundle({**files, SIGNATURE: canonical(seal)})


@pytest.mark.parametrize("side", ["vehicle", "charger"])
def test_neither_side_can_make_up_a_copy(finished: Session, side: str) -> None:
    """A copy needs both signatures, and a receipt needs its own checkpoint."""
    first, second, _ = finished.copies
    content = signed_content(first.checkpoint)
    assert isinstance(content, DischargeCheckpoint)
    wrong = msgspec.structs.replace(content, head=bytes(32))
    own = finished.contract if side == "vehicle" else finished.charger
    forged = sign_content(wrong, own.key, Party.of(own.leaf).fingerprint)
    altered = msgspec.structs.replace(first, checkpoint=forged)
    said = {"vehicle": "copies:2: unknown_signer", "charger": "copies:2: the receipt does not countersign"}[side]
    with pytest.raises(VerificationError, match=said):
        verify_bundle(finished.bundle(), copies=places([second, altered]))


def test_a_copy_of_another_number_or_session_is_not_confused(finished: Session) -> None:
    first = finished.copies[0]
    with pytest.raises(VerificationError, match="the line differs from its checkpoint"):
        verify_bundle(finished.bundle(), copies=places([msgspec.structs.replace(first, number=2)]))
    other = msgspec.structs.replace(first, session_id="ff" * 8)
    report = verify_bundle(finished.bundle(), copies=places([other]))
    assert (report.copies, report.verdict) == (0, "no copy of this session")
    assert "Another party's copies: no copy of this session" in report.lines()
    assert verify_bundle(finished.bundle(), copies=[]).verdict == "no copy of this session"
    complete = verify_bundle(finished.bundle(), copies=places(finished.copies))
    assert complete.verdict == ("verified" if complete.complete else "verified, but incomplete")


def elsewhere(session: Session, **changed: Any) -> Copy:
    """Return a copy of a checkpoint that the same charger issued in another session."""
    content = msgspec.structs.replace(contents(session, CheckpointIssued)[0], session_id=b"\xff" * 8, **changed)
    checkpoint = sign_content(content, session.charger.key, Party.of(session.charger.leaf).fingerprint)
    return msgspec.structs.replace(session.copies[0], session_id="ff" * 8, checkpoint=checkpoint)


def test_a_session_that_is_told_again_under_another_id_is_noticed_by_a_copy(finished: Session) -> None:
    """Charger, meter and contract may sign it anew: the copy has the same registers."""
    with pytest.raises(VerificationError, match="copies:1: session ffffffffffffffff had these registers already"):
        verify_bundle(finished.bundle(), copies=places([elsewhere(finished), *finished.copies]))


def test_another_session_of_the_charger_is_not_the_same_one(finished: Session) -> None:
    """One without energy, one that began or went elsewhere, and one of another charger say nothing of this one."""
    first = contents(finished, CheckpointIssued)[0]
    more = msgspec.structs.replace(first.now, import_mwh=first.now.import_mwh + 1)
    foreign = sign_content(first, finished.contract.key, Party.of(finished.contract.leaf).fingerprint)
    offer = msgspec.structs.replace(contents(finished, TermsOffered)[0], session_id=b"\xff" * 8)
    offered = sign_content(offer, finished.charger.key, Party.of(finished.charger.leaf).fingerprint)
    others = (
        elsewhere(finished, now=first.begin),
        elsewhere(finished, begin=msgspec.structs.replace(first.begin, import_mwh=1)),
        elsewhere(finished, now=more),
        msgspec.structs.replace(elsewhere(finished), checkpoint=foreign),
        msgspec.structs.replace(elsewhere(finished), checkpoint=finished.copies[0].receipt),
        msgspec.structs.replace(elsewhere(finished), checkpoint=offered),
    )
    assert verify_bundle(finished.bundle(), copies=places(others)).copies == 0


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_edit_before_the_last_checkpoint_stands(finished: Session, data: st.DataObject) -> None:
    """Entries are left out, doubled or changed at random, everything else is made to fit."""
    entries = verify_lines(finished.journal)
    last = max(e.sequence for e in entries if isinstance(e.data, CheckpointIssued))
    position = data.draw(st.integers(1, last - 1))
    how = data.draw(st.sampled_from(("drop", "energy", "other")))
    mwh = data.draw(st.integers(1, 10**6))
    donor = data.draw(st.sampled_from(entries[1:last])).data

    def change(number: int, record: AnyRecord) -> AnyRecord | None:
        if how == "energy" and number >= position:
            return more(record, mwh)
        if number != position:
            return record
        return None if how == "drop" else donor if how == "other" else record

    try:
        altered = rewritten(finished, change)
        files = altered.bundle()
    except (StoreError, VerificationError):
        return  # not even a journal
    assume(altered.journal != finished.journal)
    with pytest.raises(VerificationError):
        verify_bundle(files, require={"checkpoints"}, copies=places(finished.copies))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{}", "copies:2: no copy of a checkpoint"),
        (b"\xff", "copies:2: no copy of a checkpoint"),
        (b"[" * 5_000, "copies:2: no copy of a checkpoint"),
        (b" " * 20_000, "copies:2: a line of 20000 bytes"),
    ],
)
def test_a_bad_line_of_copies_is_named(finished: Session, line: bytes, said: str) -> None:
    good = encode_copy(finished.copies[0])
    assert [copy for _, copy in read_copies(good, name="copies")] == finished.copies[:1]
    with pytest.raises(VerificationError, match=said):
        list(read_copies(good + line + b"\n", name="copies"))


# -- both sides while they talk


@pytest.fixture
def talking(pki: PkiTree, start_ms: int) -> Session:
    session = Session(pki, start_ms, checkpoints=True)
    session.start()
    session.flow(11_000, 10_000)
    return session


def head(session: Session, **changed: Any) -> JournalHead:
    return msgspec.structs.replace(session.ledger.head, **changed)


def test_the_vehicle_says_why_it_does_not_sign(talking: Session) -> None:
    def answer(journal: JournalHead, begin: tuple[int, int] | None = None) -> ReceiptStatus:
        _, payload = talking.gate.checkpoint(journal, begin or talking.begin, talking.now, final=False)
        outcome = talking.vehicle.on_message(payload, talking.now)
        talking.vehicle.stored(outcome)  # type: ignore[arg-type]
        return outcome.status  # type: ignore[union-attr,return-value]

    now = head(talking)
    assert answer(now) is ReceiptStatus.COUNTERSIGNED
    assert answer(now) is ReceiptStatus.OUT_OF_ORDER
    after = msgspec.structs.replace(now, entries=now.entries + 1)
    assert answer(msgspec.structs.replace(after, import_mwh=now.import_mwh - 1)) is ReceiptStatus.REGISTER_DECREASED
    assert answer(msgspec.structs.replace(after, export_mwh=now.export_mwh - 1)) is ReceiptStatus.REGISTER_DECREASED
    assert answer(after, (talking.begin[0] - 1, talking.begin[1])) is ReceiptStatus.REGISTER_DECREASED
    most = 250_000 + (now.import_mwh - talking.begin[0] + 250_000) * 15 // 85
    assert answer(msgspec.structs.replace(after, import_mwh=now.import_mwh + most + 2)) is ReceiptStatus.ENERGY_DIFFERS
    assert answer(msgspec.structs.replace(after, export_mwh=now.export_mwh + 300_000)) is ReceiptStatus.ENERGY_DIFFERS
    assert answer(msgspec.structs.replace(after, export_mwh=now.export_mwh + 250_000)) is ReceiptStatus.COUNTERSIGNED
    assert talking.vehicle.countersigned is not None
    assert talking.vehicle.countersigned.entries == after.entries


def test_receipts_count_once_by_the_right_signer_for_the_right_checkpoint(talking: Session) -> None:
    _, payload = talking.gate.checkpoint(head(talking), talking.begin, talking.now, final=False)
    outcome = talking.vehicle.on_message(payload, talking.now)
    receipt = signed_content(outcome.reply)  # type: ignore[union-attr]

    def rejected(content: Any, key: Any = None) -> str:
        own = key or talking.contract
        said = talking.gate.on_message(sign_content(content, own.key, Party.of(own.leaf).fingerprint), talking.now)
        assert isinstance(said, Rejected)
        assert talking.gate.countersigned == 0
        return said.reason.value

    assert rejected(receipt, talking.charger) == "unknown_signer"
    assert rejected(msgspec.structs.replace(receipt, number=2)) == "unknown_checkpoint"
    assert rejected(msgspec.structs.replace(receipt, session_id=bytes(8))) == "wrong_session"
    assert rejected(msgspec.structs.replace(receipt, checkpoint_hash=bytes(64))) == "terms_mismatch"
    talking.gate.on_message(outcome.reply, talking.now)  # type: ignore[union-attr]
    assert talking.gate.countersigned == 1
    again = talking.gate.on_message(outcome.reply, talking.now)  # type: ignore[union-attr]
    assert isinstance(again, Rejected)
    assert again.reason.value == "replayed"


def test_a_command_that_names_what_the_charger_does_not_have_is_not_followed(talking: Session) -> None:
    """And so is one of version 1, and an acceptance."""
    talking.offer()
    for named in (1, None):
        content = msgspec.structs.replace(
            signed_content(talking.vehicle.command(5_000, talking.now)),
            checkpoint=named,  # type: ignore[type-var]
        )
        key = talking.contract
        said = talking.gate.on_message(
            sign_content(content, key.key, Party.of(key.leaf).fingerprint),
            talking.now,  # type: ignore[arg-type]
        )
        assert isinstance(said, Rejected)
        assert said.reason.value == "unknown_checkpoint"
    assert talking.gate.allowed_w(talking.now) == 0
    talking.record(record_of(talking.gate.on_message(talking.vehicle.command(5_000, talking.now), talking.now)))
    assert talking.gate.allowed_w(talking.now) == 5_000


def test_a_restarted_journal_goes_on_with_the_numbers(talking: Session) -> None:
    """Killed after a checkpoint: the number is not used twice."""
    talking.checkpoint()
    resumed = SessionJournal.resume(talking.journal)
    assert (resumed.head.checkpoint, resumed.head.countersigned) == (1, 1)
    number, _ = talking.gate.checkpoint(resumed.head, talking.begin, talking.now, final=False)
    assert number == 2
    with pytest.raises(StoreError, match="checkpoint 1 follows 1"):
        resumed.record(CheckpointIssued(number=1, payload=b""), talking.now)
    with pytest.raises(StoreError, match="an answer to checkpoint 1"):
        resumed.record(CheckpointAnswered(number=1, status="countersigned", payload=b""), talking.now)


# -- each rule of the proof


def proved(session: Session, change: Change, *, vehicle: bool = True) -> Any:
    return prove_discharge(
        verify_lines(rewritten(session, change).journal),
        charger=Party.of(session.charger.leaf),
        vehicle=Party.of(session.contract.leaf) if vehicle else None,
    ).checkpoints


def resigned(session: Session, kind: type[Any], which: int, **changed: Any) -> Change:
    """The message in an entry is another one, by its own signer."""
    own = session.charger if kind is CheckpointIssued else session.contract

    def change(_: int, record: AnyRecord) -> AnyRecord:
        if not isinstance(record, kind) or getattr(record, "number", which) != which:
            return record
        content = msgspec.structs.replace(signed_content(record.payload), **changed)
        payload = sign_content(content, own.key, Party.of(own.leaf).fingerprint)
        return msgspec.structs.replace(record, payload=payload)

    return change


def contents(session: Session, kind: type[Any]) -> list[Any]:
    return [signed_content(e.data.payload) for e in verify_lines(session.journal) if isinstance(e.data, kind)]


@pytest.mark.parametrize(
    ("kind", "which", "changed", "said"),
    [
        (CheckpointIssued, 1, {"session_id": bytes(8)}, "it belongs to another session"),
        (CheckpointIssued, 1, {"number": 9}, "the entry differs from it"),
        (CheckpointIssued, 1, {"entries": 10_000}, "it names entries that follow it"),
        (CheckpointIssued, 1, {"head": bytes(32)}, "is not the one that was signed"),
        (CheckpointIssued, 1, {"begin": "other"}, "the session began with other registers"),
        (CheckpointIssued, 1, {"now": "other"}, "the registers differ from the journal"),
        (CheckpointAnswered, 1, {"session_id": bytes(8)}, "the receipt refers to another checkpoint"),
        (CheckpointAnswered, 1, {"checkpoint_hash": bytes(64)}, "the receipt refers to another checkpoint"),
        (CheckpointAnswered, 1, {"number": 2}, "the entry differs from the receipt"),
        (CheckpointAnswered, 1, {"status": ReceiptStatus.ENERGY_DIFFERS}, "the entry differs from the receipt"),
        (TermsDecided, 0, {"checkpoint": None}, "a message of version 1, not 2"),
        (TermsDecided, 0, {"checkpoint": 2}, "countersigned checkpoint 2, the journal has 1"),
    ],
)
def test_each_statement_is_checked(
    finished: Session, kind: type[Any], which: int, changed: dict[str, Any], said: str
) -> None:
    first = contents(finished, CheckpointIssued)[0]
    other = msgspec.structs.replace(first.begin, import_mwh=first.begin.import_mwh + 7)
    changed = {name: other if value == "other" else value for name, value in changed.items()}
    with pytest.raises(VerificationError, match=said) as error:
        proved(finished, resigned(finished, kind, which, **changed))
    assert error.value.where.startswith("journal.jsonl:")


def test_a_checkpoint_covers_more_than_the_one_before(finished: Session) -> None:
    first = contents(finished, CheckpointIssued)[0]
    same = {name: getattr(first, name) for name in ("entries", "head", "now")}
    with pytest.raises(VerificationError, match="checkpoint 2: it covers no more than the last one"):
        proved(finished, resigned(finished, CheckpointIssued, 2, **same))


@pytest.mark.parametrize(("kind", "said"), [(CheckpointIssued, "unknown_signer"), (CheckpointAnswered, "no receipt")])
def test_another_message_is_neither_checkpoint_nor_receipt(finished: Session, kind: type[Any], said: str) -> None:
    command = next(e.data.payload for e in verify_lines(finished.journal) if isinstance(e.data, CommandAccepted))

    def change(_: int, record: AnyRecord) -> AnyRecord:
        return msgspec.structs.replace(record, payload=command) if isinstance(record, kind) else record

    with pytest.raises(VerificationError, match=said):
        proved(finished, change)


def test_an_offer_is_no_checkpoint_and_a_charger_signs_no_receipt(finished: Session) -> None:
    offer = next(e.data.payload for e in verify_lines(finished.journal) if isinstance(e.data, TermsOffered))
    for kind, said in ((CheckpointIssued, "no checkpoint"), (CheckpointAnswered, "unknown_signer")):

        def change(_: int, record: AnyRecord, kind: Any = kind) -> AnyRecord:
            return msgspec.structs.replace(record, payload=offer) if isinstance(record, kind) else record

        with pytest.raises(VerificationError, match=said):
            proved(finished, change)


def test_a_vehicle_without_a_contract_signs_nothing(finished: Session) -> None:
    with pytest.raises(VerificationError, match="a vehicle without a contract"):
        proved(finished, lambda _, record: record, vehicle=False)


def test_what_was_not_countersigned_is_said(pki: PkiTree, start_ms: int) -> None:
    old = Session(pki, start_ms)
    old.start()
    old.offer()
    old.flow(-9_000, 10_000)
    old.end()
    nothing = proved(old, lambda _, record: record)
    assert (nothing.version, nothing.issued, nothing.entries, nothing.final) == (1, 0, 0, False)
    assert nothing.after_export_mwh == old.export_mwh - old.begin[1]
    refusing = Session(pki, start_ms, checkpoints=True)
    refusing.start()
    refusing.now += 600_000
    refusing.import_mwh += 10**6
    refusing.read()
    number, payload = refusing.gate.checkpoint(refusing.ledger.head, refusing.begin, refusing.now, final=False)
    refusing.record(CheckpointIssued(number=number, payload=payload))
    refusing.import_mwh -= 10**6
    outcome = refusing.vehicle.on_message(payload, refusing.now)
    refusing.import_mwh += 10**6
    refusing.record(record_of(refusing.gate.on_message(outcome.reply, refusing.now)))  # type: ignore[union-attr]
    refusing.end()
    altered = proved(refusing, lambda _, record: record)
    assert (altered.version, altered.issued, altered.countersigned, altered.refused, altered.final) == (
        2,
        1,
        0,
        1,
        False,
    )


def test_a_copy_that_the_journal_contradicts_is_named(finished: Session) -> None:
    """The charger sent the vehicle another checkpoint than it wrote down."""
    first = finished.copies[0]
    content = msgspec.structs.replace(contents(finished, CheckpointIssued)[0], issued_at_ms=1)
    sent = sign_content(content, finished.charger.key, Party.of(finished.charger.leaf).fingerprint)
    receipt = msgspec.structs.replace(contents(finished, CheckpointAnswered)[0], checkpoint_hash=terms_hash(sent))

    def signed(**changed: Any) -> bytes:
        own = finished.contract
        said = msgspec.structs.replace(receipt, **changed)
        return sign_content(said, own.key, Party.of(own.leaf).fingerprint)

    copy = msgspec.structs.replace(first, checkpoint=sent, receipt=signed())
    with pytest.raises(VerificationError, match="copies:1: the journal has another checkpoint 1"):
        verify_bundle(finished.bundle(), copies=places([copy]))
    refused = msgspec.structs.replace(copy, receipt=signed(status=ReceiptStatus.ENERGY_DIFFERS))
    with pytest.raises(VerificationError, match="copies:1: the receipt does not countersign the checkpoint"):
        verify_bundle(finished.bundle(), copies=places([refused]))


def test_a_copy_of_another_session_does_not_become_one_of_this(finished: Session) -> None:
    """Both sides have signed it, but the line names this session."""
    own = finished.charger
    content = msgspec.structs.replace(contents(finished, CheckpointIssued)[0], session_id=bytes(8))
    checkpoint = sign_content(content, own.key, Party.of(own.leaf).fingerprint)
    answer = contents(finished, CheckpointAnswered)[0]
    answer = msgspec.structs.replace(answer, session_id=bytes(8), checkpoint_hash=terms_hash(checkpoint))
    own = finished.contract
    receipt = sign_content(answer, own.key, Party.of(own.leaf).fingerprint)
    copy = msgspec.structs.replace(finished.copies[0], checkpoint=checkpoint, receipt=receipt)
    with pytest.raises(VerificationError, match="copies:1: the line differs from its checkpoint"):
        verify_bundle(finished.bundle(), copies=places([copy]))


def test_a_session_that_ended_by_itself_has_no_final_checkpoint(talking: Session) -> None:
    talking.checkpoint()
    talking.end()
    altered = proved(talking, lambda _, record: record)
    assert (altered.countersigned, altered.final, altered.entries) == (1, False, talking.vehicle.countersigned.entries)  # type: ignore[union-attr]


@pytest.mark.parametrize("first", [True, False])
def test_services_that_are_selected_again_may_have_another_version(pki: PkiTree, start_ms: int, first: bool) -> None:
    """The highest counts; without a new selection the vehicle's messages have one version."""
    session = Session(pki, start_ms, checkpoints=first)
    session.start()
    for checkpoints in (first, not first):
        if checkpoints is not first:
            session.reselect(checkpoints=checkpoints)
        session.offer()
        session.flow(-9_000, 10_000)
        if checkpoints:
            session.checkpoint()
    session.end()
    altered = proved(session, lambda _, record: record)
    assert (altered.version, altered.issued, altered.countersigned) == (2, 1, 1)
    with pytest.raises(VerificationError, match="a message of version 1, not 2" if first else "version 2, not 1"):
        proved(session, drop(ServiceChanged))


def test_a_session_in_which_nothing_was_signed_has_no_version(pki: PkiTree, start_ms: int) -> None:
    session = Session(pki, start_ms)
    session.start()
    session.flow(11_000, 10_000)
    session.end()
    assert proved(session, lambda _, record: record).version == 0


def test_energy_counts_from_the_first_entry_to_the_last(talking: Session, pki: PkiTree, start_ms: int) -> None:
    """A reading may follow the start at once, and no entry has to follow a reading."""
    session = Session(pki, start_ms, checkpoints=True)
    session.record(verify_lines(talking.journal)[0].data)
    session.flow(11_000, 5_000)
    session.checkpoint()
    signed_mwh = session.import_mwh - session.begin[0]
    session.flow(11_000, 5_000)
    altered = prove_discharge(
        verify_lines(session.journal), charger=Party.of(session.charger.leaf), vehicle=Party.of(session.contract.leaf)
    ).checkpoints
    assert (altered.import_mwh, altered.after_import_mwh) == (signed_mwh, signed_mwh)
    assert signed_mwh > 0
    parties = {"charger": Party.of(session.charger.leaf), "vehicle": Party.of(session.contract.leaf)}
    with pytest.raises(VerificationError, match="had these registers already"):
        check_copies(verify_lines(session.journal), places([elsewhere(session)]), **parties)


def test_a_longest_line_of_copies_is_read(finished: Session) -> None:
    line = encode_copy(finished.copies[0]).rstrip(b"\n")
    assert len(list(read_copies(line.ljust(MAX_COPY_BYTES), name="copies"))) == 1
    with pytest.raises(VerificationError, match="a line of 16385 bytes"):
        list(read_copies(line.ljust(16_385), name="copies"))


def receipt(session: Session, *, ended: bool | None, final: bool) -> None:
    """A checkpoint, and whatever receipt the holder of the contract's key signs."""
    number, payload = session.gate.checkpoint(session.ledger.head, session.begin, session.now, final=final)
    session.record(CheckpointIssued(number=number, payload=payload))
    made = CheckpointReceipt(
        session_id=SESSION_ID,
        number=number,
        checkpoint_hash=terms_hash(payload),
        signed_at_ms=session.now,
        status=ReceiptStatus.COUNTERSIGNED,
        ended=ended,
    )
    signed = sign_content(made, session.contract.key, Party.of(session.contract.leaf).fingerprint)
    session.record(record_of(session.gate.on_message(signed, session.now)))


@pytest.mark.requirement("R33")
@pytest.mark.parametrize(
    ("ended", "final", "wanted"),
    [(True, True, True), (False, True, False), (None, True, False), (True, False, False), (None, False, False)],
)
def test_the_vehicle_ends_a_session_with_its_receipt_of_a_final_checkpoint(
    pki: PkiTree, start_ms: int, ended: bool | None, final: bool, wanted: bool
) -> None:
    session = Session(pki, start_ms, checkpoints=True)
    session.start()
    session.flow(11_000, 60_000, 60_000)
    receipt(session, ended=ended, final=final)
    session.end()
    assert verify_bundle(session.bundle()).discharge.checkpoints.ended is wanted


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("after", ["import", "export", "services", "checkpoint", "nothing answered"])
def test_what_follows_an_end_undoes_it(pki: PkiTree, start_ms: int, after: str) -> None:
    session = Session(pki, start_ms, checkpoints=True)
    session.start("standard" if after == "export" else "signed")
    session.read()
    if after != "nothing answered":
        receipt(session, ended=True, final=True)
    if after == "services":
        session.reselect(checkpoints=True)
    elif after == "checkpoint":
        number, payload = session.gate.checkpoint(session.ledger.head, session.begin, session.now, final=True)
        session.record(CheckpointIssued(number=number, payload=payload))
    elif after in ("import", "export"):
        session.now += 60_000
        session.import_mwh += after == "import"
        session.export_mwh += after == "export"
        session.read()
    session.end()
    assert not verify_bundle(session.bundle()).discharge.checkpoints.ended
