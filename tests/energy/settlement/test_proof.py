"""No export without a live signed command, shown from the journal alone: every lie has its line."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.energy.settlement.conftest import Session, run_whole_session
from v2g.asn1.discharge import (
    DecisionReason,
    DischargeCommand,
    DischargeContent,
    DischargeDecision,
    DischargeOffer,
    DischargeResult,
    ResultStatus,
    signed_content,
)
from v2g.energy.discharge_gate import Accepted
from v2g.energy.limits import discharge_limits
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.proof import AllowedPower, PowerIntegral, prove_discharge, signed_messages
from v2g.energy.settlement.records import (
    AnyRecord,
    CheckpointAnswered,
    CheckpointIssued,
    CommandAccepted,
    CommandRejected,
    LimitChanged,
    MeterReading,
    ServiceChanged,
    SessionStarted,
    TermsDecided,
    TermsOffered,
    limit_record,
    record_of,
)
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.signed import Party, sign_content
from v2g.errors import VerificationError

pytestmark = pytest.mark.requirement("R25")


@pytest.fixture(scope="module")
def finished(pki: PkiTree, start_ms: int) -> Session:
    """A short session, since every message of it is verified again and again."""
    return run_whole_session(Session(pki, start_ms), minutes=2)


def prove(session: Session, journal: bytes | None = None) -> Any:
    return prove_discharge(
        verify_lines(session.journal if journal is None else journal),
        charger=Party.of(session.charger.leaf),
        vehicle=Party.of(session.contract.leaf),
    )


def rewritten(session: Session, change: Callable[[int, AnyRecord], AnyRecord | None]) -> bytes:
    """The same journal by a charger that lies and gets every hash right; None leaves an entry out."""
    journal, lines = Journal(), []
    for entry in verify_lines(session.journal):
        record = change(entry.sequence, entry.data)
        if record is not None:
            lines.append(journal.append(record, entry.utc_ms))
    return b"".join(lines)


def lies(session: Session, type_: type[Any], change: Callable[[Any], AnyRecord | None], *, every: bool = False) -> str:
    """What the verifier says when the first entry of a kind (or every one) is changed."""
    done = []

    def alter(_: int, record: AnyRecord) -> AnyRecord | None:
        if isinstance(record, type_) and (every or not done):
            done.append(record)
            return change(record)
        return record

    with pytest.raises(VerificationError) as error:
        prove(session, rewritten(session, alter))
    assert error.value.where.startswith("journal.jsonl:")
    return str(error.value)


def test_an_honest_session_is_proved(finished: Session) -> None:
    """Every mWh fed back lies under a command."""
    proof = prove(finished)
    assert proof.covered
    assert (proof.offers, proof.acceptances, proof.rejections) == (1, 1, 3)
    commands = [e for e in verify_lines(finished.journal) if isinstance(e.data, CommandAccepted)]
    assert proof.commands == len(commands) > 10
    assert proof.export_mwh == finished.export_mwh - finished.begin[1]


def test_energy_without_any_command_is_found(session: Session) -> None:
    """The meter moved, the vehicle had signed nothing."""
    session.start()
    session.offer()
    session.export_mwh += 1_000
    session.now += 60_000
    session.read()
    with pytest.raises(VerificationError, match="signed commands allowed 0 mWh") as error:
        prove(session)
    assert error.value.where == f"journal.jsonl:{len(session.lines)}"


def test_energy_after_a_command_ended_is_found(session: Session) -> None:
    """The command covers ten seconds and the reaction time, not the minute after it."""
    session.start()
    session.offer()
    session.flow(-9_000, 10_000)
    prove(session)
    session.now += 60_000
    session.export_mwh += 9_000 * 60_000 // 3600
    session.read()
    with pytest.raises(VerificationError, match="were fed back"):
        prove(session)


def test_more_power_than_was_commanded_is_found(finished: Session) -> None:
    """Five per cent more is too much; two are the tolerance."""
    first = finished.begin[1]

    def inflate(share: int) -> Callable[[int, AnyRecord], AnyRecord | None]:
        def change(_: int, record: AnyRecord) -> AnyRecord | None:
            if type(record).__name__ in ("MeterReading", "SessionEnded"):
                more = (record.export_mwh - first) * (1000 + share) // 1000  # type: ignore[union-attr]
                return msgspec.structs.replace(record, export_mwh=first + more)  # type: ignore[type-var]
            return record

        return change

    assert prove(finished, rewritten(finished, inflate(20))).covered
    with pytest.raises(VerificationError, match="were fed back"):
        prove(finished, rewritten(finished, inflate(50)))


def test_energy_above_a_lowered_limit_is_found(session: Session) -> None:
    """The operator's limit counts, whatever the command says."""
    session.start()
    session.offer()
    session.flow(-9_000, 5_000)
    session.set_limit(1_000)
    session.now += 2_500
    session.export_mwh += 9_000 * 2_500 // 3600
    session.read()
    with pytest.raises(VerificationError, match="were fed back"):
        prove(session)


def test_the_reaction_time_of_the_hardware_is_allowed_and_no_more(session: Session) -> None:
    """Two seconds by what the first entry declares."""
    session.start()
    session.offer()
    session.flow(-9_000, 5_000)
    session.set_limit(0)
    session.now += 2_000
    session.export_mwh += 9_000 * 2_000 // 3600
    session.read()
    prove(session)
    session.now += 1_000
    session.export_mwh += 9_000 * 100 // 3600
    session.read()
    with pytest.raises(VerificationError, match="were fed back"):
        prove(session)


def test_plain_standard_discharge_is_reported_as_not_covered_and_none_as_none(session: Session) -> None:
    """The first entry says by which rule energy was fed back."""
    session.start(discharge="standard")
    session.export_mwh += 1_000
    session.now += 1_000
    session.read()
    assert not prove(session).covered

    def forbidden(_: int, record: AnyRecord) -> AnyRecord:
        return msgspec.structs.replace(record, discharge="none") if isinstance(record, SessionStarted) else record

    with pytest.raises(VerificationError, match="nothing was allowed"):
        prove(session, rewritten(session, forbidden))


def test_leaving_out_what_a_command_rests_on_is_found(finished: Session) -> None:
    """Offer, decision, or the first command itself."""
    assert "no offer was accepted" in lies(finished, TermsDecided, lambda _: None)
    assert "were fed back" in lies(finished, CommandAccepted, lambda _: None)
    assert "other terms" in lies(finished, TermsOffered, lambda _: None)


def test_entries_that_say_something_else_than_the_signed_message_are_found(finished: Session) -> None:
    """The payload is the evidence, the entry is a label."""
    replace = msgspec.structs.replace
    assert "the entry differs" in lies(finished, CommandAccepted, lambda r: replace(r, effective_w=r.effective_w + 1))
    assert "differs from the journal" in lies(
        finished, CommandAccepted, lambda r: replace(r, effective_w=r.effective_w - 1)
    )
    assert "the entry differs" in lies(finished, CommandAccepted, lambda r: replace(r, until_ms=r.until_ms + 1))
    assert "the entry differs" in lies(finished, CommandAccepted, lambda r: replace(r, sequence=r.sequence + 1))
    assert "the entry differs" in lies(finished, TermsDecided, lambda r: replace(r, reason="other"))
    assert "the entry differs" in lies(finished, TermsDecided, lambda r: replace(r, accepted=False))
    assert "is not a valid reason" in lies(finished, CommandRejected, lambda r: replace(r, reason="dislike"))
    assert "differs from the journal" in lies(finished, CommandRejected, lambda r: replace(r, reason="stopped"))
    assert "another message" in lies(finished, CommandRejected, lambda r: replace(r, sha256="00" * 32))
    assert "smallest" in lies(finished, LimitChanged, lambda r: replace(r, max_discharge_w=r.max_discharge_w + 9_000))


@given(data=st.data())
def test_no_bit_of_a_signed_message_can_be_changed(finished: Session, data: st.DataObject) -> None:
    """In the journal as on the wire."""

    def flip(payload: bytes) -> bytes:
        bit = data.draw(st.integers(0, 8 * len(payload) - 1))
        edited = bytearray(payload)
        edited[bit // 8] ^= 1 << bit % 8
        return bytes(edited)

    type_, field = data.draw(
        st.sampled_from(
            [
                (TermsOffered, "payload"),
                (TermsDecided, "payload"),
                (CommandAccepted, "payload"),
                (CommandAccepted, "result"),
                (CommandRejected, "payload"),
                (CommandRejected, "result"),
            ]
        )
    )
    lies(finished, type_, lambda r: msgspec.structs.replace(r, **{field: flip(getattr(r, field))}))


@pytest.mark.requirement("R27")
def test_the_same_command_accepted_twice_is_found(session: Session) -> None:
    """A replay that the charger pretends to have believed."""
    session.start()
    session.offer()
    session.flow(-9_000, 5_000)
    accepted = next(e.data for e in verify_lines(session.journal) if isinstance(e.data, CommandAccepted))
    session.record(accepted)
    with pytest.raises(VerificationError, match="used before") as error:
        prove(session)
    assert error.value.where == f"journal.jsonl:{len(session.lines)}"


def test_an_expired_command_accepted_late_is_found(session: Session) -> None:
    """Judged by the time of the entry."""
    session.start()
    session.offer()
    outcome = session.gate.on_message(session.vehicle.command(5_000, session.now), session.now)
    assert isinstance(outcome, Accepted)
    session.now += 10_000
    session.record(record_of(outcome))
    with pytest.raises(VerificationError, match="had expired"):
        prove(session)


def test_messages_in_the_wrong_entry_or_by_the_wrong_hand_are_found(session: Session) -> None:
    """A result is no offer, and an offer by somebody else is none either."""
    session.start()
    session.offer()
    session.flow(-9_000, 5_000)
    entries = verify_lines(session.journal)
    accepted = next(e.data for e in entries if isinstance(e.data, CommandAccepted))
    offered = next(e.data for e in entries if isinstance(e.data, TermsOffered))
    decided = next(e.data for e in entries if isinstance(e.data, TermsDecided))
    for record, said in (
        (TermsOffered(payload=accepted.result), "no offer"),
        (TermsDecided(accepted=True, reason="accepted", payload=accepted.payload), "no decision"),
        (msgspec.structs.replace(accepted, payload=decided.payload), "no command"),
        (msgspec.structs.replace(accepted, payload=offered.payload), "unknown_signer"),
        (decided, "already decided"),
    ):
        journal = Journal.resume(session.journal)
        with pytest.raises(VerificationError, match=said):
            prove(session, session.journal + journal.append(record, session.now))
    with pytest.raises(VerificationError, match="without a contract"):
        prove_discharge(entries, charger=Party.of(session.charger.leaf), vehicle=None)


def test_a_message_of_another_session_is_found(session: Session) -> None:
    """Everything signed names its session."""
    session.start()
    session.offer()
    offer = session.gate.current_offer
    assert offer is not None
    elsewhere = sign_content(
        msgspec.structs.replace(offer, session_id=b"another!"),
        session.charger.key,
        Party.of(session.charger.leaf).fingerprint,
    )
    session.record(TermsOffered(payload=elsewhere))
    with pytest.raises(VerificationError, match="another session"):
        prove(session)


@pytest.mark.requirement("R27")
def test_a_rejected_message_too_long_to_keep_is_counted_by_its_hash(session: Session) -> None:
    """It appears once, whatever its size."""
    session.start()
    session.offer()
    session.record(record_of(session.gate.on_message(b"\x00" * 5_000, session.now)))
    last = verify_lines(session.journal)[-1].data
    assert isinstance(last, CommandRejected)
    assert (last.size, last.payload) == (5_000, b"")
    assert prove(session).rejections == 1


@given(
    spans=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30), st.integers(0, 9)), max_size=8),
    window=st.tuples(st.integers(0, 90), st.integers(0, 90)),
)
def test_the_integral_of_allowances_is_the_sum_of_the_largest_at_each_ms(
    spans: list[tuple[int, int, int]], window: tuple[int, int]
) -> None:
    """Against counting one by one."""
    allowed = [AllowedPower(start, start + length, watts) for start, length, watts in spans]
    low, high = sorted(window)
    slow = sum(max((a.watts for a in allowed if a.start_ms <= ms < a.end_ms), default=0) for ms in range(low, high))
    assert PowerIntegral(allowed).between(low, high) == slow


def feed_back(session: Session, mwh: int = 1_000) -> None:
    session.export_mwh += mwh
    session.now += 60_000
    session.read()


@pytest.mark.parametrize("reason", ["renegotiated", "resumed"])
def test_commands_of_before_are_void_after_services_changed(session: Session, reason: Any) -> None:
    """A charger cannot go on with what the vehicle signed for the service that it has left."""
    session.start()
    session.offer()
    session.flow(-9_000, 55_000)
    assert session.gate.allowed_w(session.now)
    session.record(ServiceChanged(service="DC_BPT", discharge="signed", reason=reason))
    session.now += 3_000  # longer than the power electronics may take to follow
    session.read()
    assert prove(session).covered
    session.now += 10_000
    session.export_mwh += 25_000
    session.read()
    with pytest.raises(VerificationError, match="signed commands allowed 0 mWh"):
        prove(session)


def test_numbers_of_commands_begin_again_with_new_offers_after_a_pause(session: Session) -> None:
    """The vehicle's end of signed discharge is a new one, as after a restart."""
    session.start()
    session.offer()
    session.flow(-9_000, 60_000)
    again = Session(session.pki, session.now, seed=8)
    again.ledger, again.lines = session.ledger, session.lines
    again.import_mwh, again.export_mwh, again.tariff = session.import_mwh, session.export_mwh, session.tariff
    again.record(ServiceChanged(service="DC_BPT", discharge="signed", reason="resumed"))
    again.set_limit(11_000)
    again.offer()
    again.flow(-9_000, 60_000)
    assert prove(again).covered


@pytest.mark.parametrize(
    ("first", "then", "found"),
    [
        ("none", "none", r"\b1000 mWh were fed back where nothing was allowed"),
        ("signed", "none", "nothing was allowed"),
        ("none", "signed", "signed commands allowed 0 mWh"),
        ("none", "standard", ""),
        ("signed", "standard", ""),
    ],
)
def test_each_stretch_is_judged_by_what_held_in_it(session: Session, first: str, then: Any, found: str) -> None:
    session.start(first)
    session.read()
    session.record(ServiceChanged(service="DC_BPT", discharge=then, reason="renegotiated"))
    session.read()
    feed_back(session)
    if found:
        with pytest.raises(VerificationError, match=found):
            prove(session)
    else:
        assert not prove(session).covered


@pytest.mark.parametrize(
    ("first", "then", "found"),
    [
        ("none", "standard", "nothing was allowed"),
        ("standard", "none", "nothing was allowed"),
        ("standard", "signed", "signed commands allowed 0 mWh"),
        ("signed", "standard", "signed commands allowed 0 mWh"),
    ],
)
def test_export_on_both_sides_of_a_change_without_a_reading_is_judged_by_the_stricter_rule(
    session: Session, first: str, then: Any, found: str
) -> None:
    """Otherwise a charger could move a change of services over energy that nothing allowed."""
    session.start(first)
    session.read()
    session.record(ServiceChanged(service="DC_BPT", discharge=then, reason="renegotiated"))
    feed_back(session)
    with pytest.raises(VerificationError, match=found):
        prove(session)


def test_a_session_without_any_discharge_is_covered_by_no_command(session: Session) -> None:
    """There is nothing that signed commands would account for."""
    session.start("none")
    session.read()
    assert not prove(session).covered


def test_energy_is_allowed_to_the_mwh(session: Session) -> None:
    """9 kW for ten seconds and the two of reaction, 2 % above it, and 1 mWh for each of both readings."""
    session.start()
    session.offer()
    session.send(session.vehicle.command(9_000, session.now))
    session.now += 60_000
    session.export_mwh += 9_000 * 12_000 * 1_020 // 1_000 // 3_600 + 2
    before = list(session.lines)
    session.read()
    assert prove(session).covered
    session.ledger, session.lines = SessionJournal.resume(b"".join(before)), before
    session.export_mwh += 1
    session.read()
    with pytest.raises(VerificationError, match="30603 mWh were fed back where signed commands allowed 30600 mWh"):
        prove(session)


def polled(session: Session, power_w: int, seconds: int, *, step_mwh: int, poll_ms: int) -> None:
    """Feed back by commands of 9 kW, read in odd pauses from a meter that is polled, and shows whole steps."""
    session.start()
    session.offer()
    began, pauses, base = session.now, random.Random(step_mwh), session.export_mwh
    while session.now < began + seconds * 1000:
        if session.vehicle.command_due(9_000, session.now):
            session.send(session.vehicle.command(9_000, session.now))
        session.now += pauses.choice((50, 300, 950, 1_000, 4_000))
        known_ms = (session.now - began) // poll_ms * poll_ms
        session.export_mwh = (base + power_w * known_ms // 3600) // step_mwh * step_mwh
        session.read(-power_w)


@pytest.mark.parametrize("poll_ms", [1, 200, 2_000])
@pytest.mark.parametrize("step_mwh", [1, 1_000, 10_000, 100_000])
def test_meters_are_polled_and_have_a_resolution(session: Session, step_mwh: int, poll_ms: int) -> None:
    """As those in the field: 1 Wh to 0.1 kWh, some of which send a reading each second or two."""
    polled(session, 9_000, 120, step_mwh=step_mwh, poll_ms=poll_ms)
    assert prove(session).covered


@pytest.mark.parametrize(
    ("step_mwh", "power_w", "honest"),
    [
        (10, 3, True), (10, 2, False), (100, 30, True), (100, 29, False),
        (1_000, 294, True), (1_000, 293, False), (10_000, 2_941, True), (10_000, 2_940, False),
    ],
)  # fmt: skip
def test_a_reading_is_beyond_by_the_resolution_and_a_mwh_at_most(
    session: Session, step_mwh: int, power_w: int, honest: bool
) -> None:
    """Two steps, where twelve seconds and 2 % allow one but for a mWh, or less than that."""
    session.start()
    session.offer()
    session.send(session.vehicle.command(power_w, session.now))
    session.now += 60_000
    session.export_mwh += 2 * step_mwh
    session.read()
    if honest:
        assert prove(session).covered
        return
    with pytest.raises(VerificationError, match=f"{2 * step_mwh} mWh were fed back"):
        prove(session)


def test_where_nothing_is_allowed_two_mwh_are_the_most(session: Session) -> None:
    session.start()
    session.read()
    session.export_mwh += 2
    session.read()
    assert prove(session).covered
    session.now += 1_000
    session.export_mwh += 1
    session.read()
    with pytest.raises(VerificationError, match="3 mWh were fed back where signed commands allowed 0 mWh"):
        prove(session)


def test_what_is_selected_holds_from_the_first_reading_on(session: Session) -> None:
    """From version 3 on nothing may be fed back before services are selected."""
    session.start("none")
    session.record(ServiceChanged(service="DC_BPT", discharge="signed", reason="selected"))
    session.offer()
    session.flow(-9_000, 10_000)
    assert prove(session).covered


def test_what_the_plain_standard_fed_back_is_not_held_against_commands_after_it(session: Session) -> None:
    session.start()
    session.offer()
    session.flow(-9_000, 20_000)
    session.record(ServiceChanged(service="DC_BPT", discharge="standard", reason="renegotiated"))
    session.read()
    feed_back(session, 1_000_000)
    session.record(ServiceChanged(service="DC_BPT", discharge="signed", reason="renegotiated"))
    session.read()
    session.now += 1_000
    session.read()
    prove(session)
    feed_back(session)
    with pytest.raises(VerificationError, match="signed commands allowed 0 mWh"):
        prove(session)


@pytest.mark.parametrize("step_mwh", [1, 1_000, 10_000])
def test_what_one_reading_may_be_beyond_does_not_add_up(session: Session, step_mwh: int) -> None:
    """4 % more than was commanded: little enough between two readings, and found over ten minutes."""
    polled(session, 9_360, 1_200, step_mwh=step_mwh, poll_ms=1_000)
    with pytest.raises(VerificationError, match="were fed back"):
        prove(session)


@pytest.mark.parametrize("withdraw", [lambda session: session.offer(), lambda session: session.set_limit(0)])
def test_what_is_withdrawn_in_the_same_ms_has_allowed_nothing(
    session: Session, withdraw: Callable[[Session], None]
) -> None:
    """The time that power electronics take to follow belongs to power that was allowed for a while."""
    session.start()
    session.offer()
    session.send(session.vehicle.command(9_000, session.now))
    session.accepts = False
    withdraw(session)
    session.now += 1_000
    session.export_mwh += 100
    session.read()
    with pytest.raises(VerificationError, match="signed commands allowed 0 mWh"):
        prove(session)


def test_a_vehicle_that_declines_takes_its_command_back(session: Session) -> None:
    """Half a minute later the command would have ended anyway; until then energy would flow against its will."""
    session.start()
    session.offer()
    session.send(session.vehicle.command(9_000, session.now))
    session.now += 1_000
    session.accepts = False
    session.offer()
    session.now += 9_000
    session.export_mwh += 9_000 * 3_000 // 3_600  # a second, and two of reaction
    session.read()
    assert prove(session).acceptances == 1
    session.now += 1
    feed_back(session, 1_000)
    with pytest.raises(VerificationError, match="signed commands allowed 0 mWh"):
        prove(session)


LIMITS = ("ev_w", "evse_w", "site_w", "operator_w")


@pytest.mark.parametrize("binding", LIMITS)
def test_a_limit_is_the_smallest_of_four_wherever_it_is_said(session: Session, binding: str) -> None:
    """Vehicle, charger, site and operator each bind: in an entry and in an offer."""
    session.start()
    session.offer()
    high, low = dict.fromkeys(LIMITS, 9_000), {binding: 4_999}
    limits = discharge_limits(**high, source="operator")
    offer = session.gate.current_offer
    assert offer is not None
    for lied in (False, True):
        said = msgspec.structs.replace(limits, **low, max_discharge_w=5_000 if lied else 4_999)
        for record in (limit_record(said), TermsOffered(payload=signed(session, offer, limits=said))):
            journal = session.journal + Journal.resume(session.journal).append(record, session.now)
            if lied:
                with pytest.raises(VerificationError, match="smallest"):
                    prove(session, journal)
            else:
                prove(session, journal)


def signed(session: Session, content: DischargeContent, **changes: Any) -> bytes:
    """What the charger, or the vehicle for its kinds of message, would have signed."""
    hand = session.contract if isinstance(content, DischargeCommand | DischargeDecision) else session.charger
    return sign_content(msgspec.structs.replace(content, **changes), hand.key, Party.of(hand.leaf).fingerprint)


@pytest.fixture(scope="module")
def commanded(pki: PkiTree, start_ms: int) -> Session:
    """A session in which the vehicle has accepted two offers, and sent two commands under the newer one."""
    session = Session(pki, start_ms)
    session.start()
    session.offer()
    session.offer()
    for _ in range(2):
        session.send(session.vehicle.command(9_000, session.now))
        session.now += 1_000
    return session


@pytest.mark.parametrize(
    ("changes", "result", "said"),
    [
        ({}, {}, ""),
        ({"nonce": b"n" * 16, "power_w": 0}, {"effective_w": 0}, ""),
        ({"offer_id": b"o" * 16}, {}, "other terms"),
        ({"terms_hash": b"h" * 64}, {}, "other terms"),
        ({"challenge": b"c" * 16}, {}, "does not repeat the challenge"),
        ({"sequence": 2}, {}, "used before"),
        ({"sequence": 1}, {}, "used before"),
        ({"nonce": None}, {}, "used before"),
        ({"valid_until_ms": 0}, {}, "had expired"),
        ({"valid_until_ms": 1}, {}, ""),
        ({"power_w": 10_001}, {"effective_w": 10_001}, "differs from the command"),
        ({"power_w": 10_001}, {"effective_w": 10_000, "status": ResultStatus.CLAMPED}, ""),
        ({"power_w": 10_001}, {"effective_w": 10_000}, "differs from the journal"),
        ({}, {"status": ResultStatus.CLAMPED}, "differs from the journal"),
        ({"valid_until_ms": 10**9}, {}, "differs from the command"),
        ({}, {"sequence": 2}, "not the result of this command"),
    ],
)
def test_a_charger_cannot_accept_what_the_rules_reject(
    commanded: Session, changes: dict[str, Any], result: dict[str, Any], said: str
) -> None:
    """A third command that only the charger believes, with a result to match. Times count from the entry's."""
    *_, last = (e.data for e in verify_lines(commanded.journal) if isinstance(e.data, CommandAccepted))
    command, answer = signed_content(last.payload), signed_content(last.result)
    assert isinstance(command, DischargeCommand)
    assert isinstance(answer, DischargeResult)
    now = commanded.now
    changes = {"sequence": 3, "nonce": b"N" * 16, "valid_until_ms": 5_000} | changes
    changes["valid_until_ms"] += now
    changes["nonce"] = changes["nonce"] or command.nonce
    answer = msgspec.structs.replace(answer, **{"sequence": changes["sequence"]} | result)
    record = CommandAccepted(
        sequence=changes["sequence"],
        effective_w=answer.effective_w,
        until_ms=changes["valid_until_ms"],
        payload=signed(commanded, command, **changes),
        result=signed(commanded, answer),
    )
    journal = commanded.journal + Journal.resume(commanded.journal).append(record, now)
    if said:
        with pytest.raises(VerificationError, match=said):
            prove(commanded, journal)
    else:
        assert prove(commanded, journal).commands == 3


def test_a_command_is_over_with_its_offer(commanded: Session) -> None:
    """However long the command itself would be valid."""
    *_, last = (e.data for e in verify_lines(commanded.journal) if isinstance(e.data, CommandAccepted))
    command, offer = signed_content(last.payload), commanded.gate.current_offer
    assert isinstance(command, DischargeCommand)
    assert offer is not None
    late = signed(commanded, command, sequence=3, nonce=b"N" * 16, valid_until_ms=offer.valid_until_ms + 1)
    record = msgspec.structs.replace(last, sequence=3, until_ms=offer.valid_until_ms, payload=late)
    journal = commanded.journal + Journal.resume(commanded.journal).append(record, offer.valid_until_ms)
    with pytest.raises(VerificationError, match="had expired"):
        prove(commanded, journal)


@pytest.mark.parametrize("kind", ["command without an offer", "command after a refusal", "older decision", "no result"])
def test_messages_out_of_their_order_are_found(commanded: Session, session: Session, kind: str) -> None:
    """Each is genuine, and none is where the rules allow it."""
    entries = verify_lines(commanded.journal)
    offered = [e.data for e in entries if isinstance(e.data, TermsOffered)]
    decided = [e.data for e in entries if isinstance(e.data, TermsDecided)]
    accepted = [e.data for e in entries if isinstance(e.data, CommandAccepted)]
    content = signed_content(decided[1].payload)
    assert isinstance(content, DischargeDecision)
    refused = TermsDecided(
        accepted=False,
        reason="owner_refused",
        payload=signed(commanded, content, accepted=False, reason=DecisionReason.OWNER_REFUSED),
    )
    records, said = {
        "command without an offer": ([accepted[0]], "no offer was accepted"),
        "command after a refusal": ([offered[1], decided[1], refused, accepted[0]], "no offer was accepted"),
        "older decision": ([offered[0], offered[1], decided[0]], "other terms"),
        "no result": (
            [offered[1], decided[1], msgspec.structs.replace(accepted[0], result=offered[1].payload)],
            "not the result of this command",
        ),
    }[kind]
    session.start()
    for record in records[:-1]:
        session.record(record)
    prove(session)
    session.record(records[-1])
    with pytest.raises(VerificationError, match=said) as error:
        prove(session)
    assert error.value.where == f"journal.jsonl:{len(session.lines)}"


def test_every_signed_message_that_counts_has_its_place(session: Session) -> None:
    """Of a rejected message the charger's result only, where it gave one."""
    session.start()
    session.offer()
    session.send(session.vehicle.command(9_000, session.now))
    rejected = session.vehicle.command(9_000, session.now)
    session.send(rejected[:-1] + bytes([rejected[-1] ^ 1]))
    session.send(session.vehicle.command(9_000, session.now - 60_000))
    unanswered = record_of(session.gate.on_message(b"garbage", session.now))
    session.record(msgspec.structs.replace(unanswered, result=None))  # type: ignore[call-arg]
    said = []
    for number, entry in enumerate(verify_lines(session.journal), 1):
        record = entry.data
        if isinstance(record, TermsOffered | TermsDecided | CommandAccepted):
            said.append((f"journal.jsonl:{number}", record.payload))
        if isinstance(record, CommandAccepted | CommandRejected) and record.result is not None:
            said.append((f"journal.jsonl:{number}", record.result))
    assert list(signed_messages(verify_lines(session.journal))) == said
    kinds = [type(signed_content(payload)) for _, payload in said]
    assert kinds == [DischargeOffer, DischargeDecision, DischargeCommand, *[DischargeResult] * 3]


def test_a_reading_that_is_missing_divides_no_energy(session: Session) -> None:
    """What was fed back before it shows in the next one, and was allowed before it."""
    session.start()
    session.offer()
    session.send(session.vehicle.command(9_000, session.now))
    session.now += 9_000
    session.record(MeterReading(import_mwh=0, export_mwh=0, reason="interval", status=("missing",)))
    session.now += 1_000
    session.export_mwh += 9_000 * 10_000 // 3600
    session.read()
    assert prove(session).covered


# -- checkpoints


@pytest.fixture(scope="module")
def countersigned(pki: PkiTree, start_ms: int) -> Session:
    """A session with a checkpoint, then one command, and then another checkpoint."""
    session = Session(pki, start_ms, checkpoints=True)
    session.start()
    session.checkpoint()
    session.offer()
    session.flow(-9_000, 5_000)
    session.checkpoint()
    return session


@pytest.mark.requirement("R32")
def test_checkpoints_and_receipts_are_messages_that_count(countersigned: Session) -> None:
    entries = verify_lines(countersigned.journal)
    proved = prove(countersigned).checkpoints
    assert (proved.issued, proved.countersigned) == (2, 2)
    said = [
        (f"journal.jsonl:{number}", entry.data.payload)
        for number, entry in enumerate(entries, 1)
        if isinstance(entry.data, CheckpointIssued | CheckpointAnswered)
    ]
    assert [each for each in signed_messages(entries) if each in said] == said
    assert len(said) == 4


@pytest.mark.requirement("R32")
def test_a_decision_or_command_that_names_a_later_checkpoint_is_found(countersigned: Session) -> None:
    def decided(record: TermsDecided) -> AnyRecord:
        payload = signed(countersigned, signed_content(record.payload), checkpoint=2)
        return msgspec.structs.replace(record, payload=payload)

    def commanded(record: CommandAccepted) -> AnyRecord:
        payload = signed(countersigned, signed_content(record.payload), checkpoint=2)
        return msgspec.structs.replace(record, payload=payload)

    late = "the vehicle had countersigned checkpoint 2, the journal has 1 before this"
    assert late in lies(countersigned, TermsDecided, decided)
    assert late in lies(countersigned, CommandAccepted, commanded)


@pytest.mark.requirement("R32")
def test_a_checkpoint_may_name_no_entry_after_those_before_it(countersigned: Session) -> None:
    """Not even itself."""
    position = [isinstance(each.data, CheckpointIssued) for each in verify_lines(countersigned.journal)].index(True)

    def ahead(record: CheckpointIssued) -> AnyRecord:
        payload = signed(countersigned, signed_content(record.payload), entries=position + 1)
        return msgspec.structs.replace(record, payload=payload)

    assert "it names entries that follow it" in lies(countersigned, CheckpointIssued, ahead)


@pytest.mark.requirement("R32")
def test_services_that_are_selected_again_may_be_of_another_version(pki: PkiTree, start_ms: int) -> None:
    session = Session(pki, start_ms, checkpoints=True)
    session.start()
    session.offer()
    session.reselect(checkpoints=False)
    session.offer()
    assert prove(session).acceptances == 2
