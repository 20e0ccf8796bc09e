"""No live signed command, no watt."""

import hashlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.energy.conftest import LIMITS, NOW, SESSION_ID, TARIFF, Pair
from v2g.asn1.discharge import (
    CheckpointReceipt,
    DecisionReason,
    DischargeCheckpoint,
    DischargeCommand,
    DischargeDecision,
    DischargeResult,
    MeterRegisters,
    PriceSlot,
    ReceiptStatus,
    ResultStatus,
)
from v2g.energy.discharge_gate import (
    REMEMBERED_NONCES,
    UNANSWERED,
    Accepted,
    Decided,
    DischargeConfig,
    DischargeGate,
    JournalHead,
    Receipted,
    Rejected,
)
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import discharge_limits
from v2g.energy.signed import Party, open_signed, sign_content
from v2g.energy.vehicle import Answered, ResultReceived
from v2g.errors import RefusedError

pytestmark = pytest.mark.requirement("R25", "R26")

RELAXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def rejected(pair: Pair, payload: bytes, now: int = NOW) -> Rejected:
    """Send something that must move nothing."""
    before = pair.gate.allowed_w(now)
    outcome = pair.gate.on_message(payload, now)
    assert isinstance(outcome, Rejected)
    assert pair.gate.allowed_w(now) == before
    return outcome


def test_nothing_is_allowed_before_a_command(pair: Pair) -> None:
    """Neither limits nor an offer nor an acceptance move energy."""
    assert pair.gate.allowed_w(NOW) == 0
    pair.agree()
    assert pair.gate.accepted
    assert pair.gate.allowed_w(NOW) == 0


def test_a_command_allows_its_power_until_it_ends(agreed: Pair) -> None:
    """Live from acceptance to validUntil, exclusive."""
    outcome = agreed.run(9_000, NOW + 10)
    assert (outcome.status, outcome.effective_w) == (ResultStatus.ACCEPTED, 9_000)
    assert outcome.until_ms == NOW + 10_010
    assert [agreed.gate.allowed_w(t) for t in (NOW + 10, NOW + 10_009, NOW + 10_010)] == [9_000, 9_000, 0]
    assert agreed.vehicle.effective_w(NOW + 10_009) == 9_000
    assert agreed.vehicle.effective_w(NOW + 10_010) == 0


def test_a_clock_that_goes_back_allows_nothing(agreed: Pair) -> None:
    """Before its time a command is as dead as after it."""
    agreed.run(9_000, NOW + 5_000)
    assert agreed.gate.allowed_w(NOW + 4_999) == 0


@pytest.mark.requirement("R9")
@given(
    ev=st.integers(0, 70_000),
    evse=st.integers(0, 70_000),
    site=st.integers(0, 70_000),
    operator=st.integers(0, 70_000),
    vehicle=st.integers(0, 70_000),
    command=st.integers(0, 70_000),
)
@RELAXED
def test_power_is_the_smallest_of_all_limits_and_the_command(
    pki: PkiTree, ev: int, evse: int, site: int, operator: int, vehicle: int, command: int
) -> None:
    """Min(EV, EVSE, site, operator, command, what the decision said)."""
    limits = discharge_limits(ev_w=ev, evse_w=evse, site_w=site, operator_w=operator)
    pair = Pair(pki.credentials("secc"), pki.credentials("contract"), limits=limits)
    pair.verdict = msgspec.structs.replace(pair.verdict, max_discharge_w=vehicle)
    pair.agree()
    outcome = pair.gate.on_message(pair.command(0, NOW, power_w=command), NOW)
    assert isinstance(outcome, Accepted)
    smallest = min(ev, evse, site, operator, vehicle, command)
    assert pair.gate.allowed_w(NOW) == outcome.effective_w == smallest
    assert outcome.status is (ResultStatus.ACCEPTED if smallest == command else ResultStatus.CLAMPED)


@pytest.mark.requirement("R10")
def test_a_lower_limit_cuts_at_once_and_a_higher_one_gives_back_no_more_than_was_signed(agreed: Pair) -> None:
    """Between two charge loops."""
    agreed.run(9_000, NOW)
    agreed.gate.set_limits(discharge_limits(ev_w=11_000, evse_w=22_000, site_w=30_000, operator_w=2_000))
    assert agreed.gate.allowed_w(NOW + 1) == 2_000
    agreed.gate.set_limits(discharge_limits(ev_w=60_000, evse_w=60_000, site_w=60_000, operator_w=60_000))
    assert agreed.gate.allowed_w(NOW + 2) == 9_000


def test_the_four_limits_count_and_not_what_is_claimed_of_them(agreed: Pair) -> None:
    """A wrong maximum in a limits record gives no watt away."""
    agreed.run(9_000, NOW)
    agreed.gate.set_limits(msgspec.structs.replace(LIMITS, operator_w=100, max_discharge_w=9_000))
    assert agreed.gate.allowed_w(NOW) == 100


def test_a_command_above_the_vehicle_s_own_decision_moves_no_more_than_it(pair: Pair) -> None:
    """A vehicle signs both: whatever it commands, what it has decided is its greatest power."""
    pair.verdict = msgspec.structs.replace(pair.verdict, max_discharge_w=5_000)
    pair.agree()
    outcome = pair.gate.on_message(pair.command(1_000, NOW, power_w=9_000), NOW)
    assert isinstance(outcome, Accepted)
    assert (outcome.status, outcome.effective_w) == (ResultStatus.CLAMPED, 5_000)
    assert pair.gate.allowed_w(NOW) == 5_000


@given(data=st.data())
@RELAXED
def test_no_bit_of_a_command_can_be_changed(pki: PkiTree, data: st.DataObject) -> None:
    """Flip any bit and 0 W are allowed, with a name for why."""
    pair = Pair(pki.credentials("secc"), pki.credentials("contract"))
    pair.agree()
    payload = bytearray(pair.vehicle.command(9_000, NOW))
    bit = data.draw(st.integers(0, 8 * len(payload) - 1))
    payload[bit // 8] ^= 1 << bit % 8
    outcome = rejected(pair, bytes(payload))
    assert outcome.reason in (ResultStatus.BAD_SIGNATURE, ResultStatus.UNKNOWN_SIGNER, ResultStatus.MALFORMED)
    assert pair.gate.allowed_w(NOW) == 0


@given(payload=st.binary(max_size=600))
@RELAXED
def test_garbage_is_rejected_as_malformed(pki: PkiTree, payload: bytes) -> None:
    """Whatever the bytes, an answer and 0 W."""
    pair = Pair(pki.credentials("secc"), pki.credentials("contract"))
    pair.agree()
    assert rejected(pair, payload).reason is ResultStatus.MALFORMED


def test_a_command_signed_by_a_foreign_key_is_rejected(agreed: Pair) -> None:
    """By another certificate, or by another key in the right one's name."""
    content = open_signed(agreed.vehicle.command(9_000, NOW), Party.of(agreed.contract.leaf))
    charger = Party.of(agreed.charger.leaf)
    foreign = sign_content(content, agreed.charger.key, charger.fingerprint)
    assert rejected(agreed, foreign).reason is ResultStatus.UNKNOWN_SIGNER
    forged = sign_content(content, agreed.charger.key, Party.of(agreed.contract.leaf).fingerprint)
    assert rejected(agreed, forged).reason is ResultStatus.BAD_SIGNATURE
    assert agreed.gate.allowed_w(NOW) == 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"session_id": b"another!"}, ResultStatus.WRONG_SESSION),
        ({"offer_id": b"another offer id"}, ResultStatus.UNKNOWN_OFFER),
        ({"terms_hash": b"T" * 64}, ResultStatus.TERMS_MISMATCH),
        ({"challenge": b"another challeng"}, ResultStatus.WRONG_CHALLENGE),
        ({"valid_until_ms": NOW}, ResultStatus.EXPIRED),
        ({"valid_until_ms": NOW - 1}, ResultStatus.EXPIRED),
        ({"issued_at_ms": NOW + 5_000, "valid_until_ms": NOW + 4_000}, ResultStatus.EXPIRED),
        ({"issued_at_ms": NOW + 2_001, "valid_until_ms": NOW + 9_000}, ResultStatus.NOT_YET_VALID),
        ({"valid_until_ms": NOW + 10_001}, ResultStatus.VALIDITY_TOO_LONG),
    ],
)
def test_a_genuine_command_for_something_else_is_rejected_by_name(
    agreed: Pair, changed: dict[str, object], reason: ResultStatus
) -> None:
    """The right key is not enough."""
    assert rejected(agreed, agreed.command(9_000, NOW, **changed)).reason is reason
    assert agreed.gate.allowed_w(NOW) == 0


def test_a_replayed_command_is_rejected_even_after_a_newer_one(agreed: Pair) -> None:
    """Byte for byte, with a new nonce under an old sequence, and with an old nonce under a new sequence."""
    first = agreed.vehicle.command(9_000, NOW)
    assert isinstance(agreed.gate.on_message(first, NOW), Accepted)
    assert rejected(agreed, first).reason is ResultStatus.REPLAYED
    second = agreed.run(8_000, NOW).command
    assert second.sequence == 2
    assert rejected(agreed, agreed.command(9_000, NOW, sequence=2)).reason is ResultStatus.REPLAYED
    assert rejected(agreed, agreed.command(9_000, NOW, sequence=1)).reason is ResultStatus.OUT_OF_ORDER
    assert rejected(agreed, agreed.command(9_000, NOW, nonce=second.nonce)).reason is ResultStatus.REPLAYED
    assert agreed.gate.allowed_w(NOW) == 8_000


def test_commands_out_of_order_are_rejected(agreed: Pair) -> None:
    """A command held back by somebody is worth nothing once a later one was seen."""
    held_back, later = agreed.vehicle.command(11_000, NOW), agreed.vehicle.command(1_000, NOW)
    assert isinstance(agreed.gate.on_message(later, NOW), Accepted)
    assert rejected(agreed, held_back).reason is ResultStatus.OUT_OF_ORDER
    assert agreed.gate.allowed_w(NOW) == 1_000


def test_a_rejected_command_uses_up_its_sequence(agreed: Pair) -> None:
    """What was early cannot be sent again when its time has come."""
    early = agreed.command(9_000, NOW, issued_at_ms=NOW + 5_000, valid_until_ms=NOW + 9_000)
    assert rejected(agreed, early).reason is ResultStatus.NOT_YET_VALID
    assert rejected(agreed, early, NOW + 5_000).reason is ResultStatus.REPLAYED


def test_memory_is_bounded_and_old_nonces_stay_useless(agreed: Pair) -> None:
    """The sequence rules out what the nonce memory has forgotten."""
    first = agreed.vehicle.command(1_000, NOW)
    agreed.gate.on_message(first, NOW)
    assert REMEMBERED_NONCES == 256
    for _ in range(256):
        agreed.gate.on_message(agreed.vehicle.command(1_000, NOW), NOW)
    assert rejected(agreed, first).reason is ResultStatus.OUT_OF_ORDER


def test_an_offer_that_was_not_accepted_carries_no_command(pair: Pair) -> None:
    """Neither undecided nor declined."""
    pair.agree()
    command = open_signed(pair.vehicle.command(9_000, NOW), Party.of(pair.contract.leaf))
    assert isinstance(command, DischargeCommand)
    payload = pair.gate.offer(TARIFF, NOW)
    offer = pair.gate.current_offer
    assert offer is not None
    terms = hashlib.sha512(payload).digest()
    fresh = msgspec.structs.replace(
        command, offer_id=offer.offer_id, terms_hash=terms, challenge=offer.challenge, sequence=7
    )
    assert rejected(pair, pair.signed(fresh)).reason is ResultStatus.NOT_ACCEPTED
    pair.verdict = msgspec.structs.replace(pair.verdict, accepted=False)
    answered = pair.vehicle.on_message(payload, NOW)
    assert isinstance(answered, Answered)
    assert isinstance(pair.gate.on_message(answered.reply, NOW), Decided)
    declined = msgspec.structs.replace(fresh, sequence=8, nonce=b"8" * 16)
    assert rejected(pair, pair.signed(declined)).reason is ResultStatus.NOT_ACCEPTED
    with pytest.raises(RefusedError):
        pair.vehicle.command(9_000, NOW)


def test_a_new_offer_leaves_the_live_command_to_its_end_but_no_later_one_under_the_old_terms(agreed: Pair) -> None:
    """No gap in power when terms change, and no command under terms that are gone."""
    agreed.run(9_000, NOW)
    old = agreed.vehicle.command(9_000, NOW + 1)
    payload = agreed.gate.offer(TARIFF, NOW + 2)
    assert agreed.gate.allowed_w(NOW + 3) == 9_000
    assert rejected(agreed, old, NOW + 3).reason is ResultStatus.UNKNOWN_OFFER
    assert agreed.gate.allowed_w(NOW + 10_000) == 0
    answered = agreed.vehicle.on_message(payload, NOW + 4)
    assert isinstance(answered, Answered)
    agreed.gate.on_message(answered.reply, NOW + 4)
    assert agreed.run(7_000, NOW + 5).effective_w == 7_000


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ResultStatus.UNKNOWN_OFFER),
        ({"valid_until_ms": NOW + 5_000}, ResultStatus.UNKNOWN_OFFER),
        ({"session_id": b"another!"}, ResultStatus.WRONG_SESSION),
        ({"sequence": 1}, ResultStatus.REPLAYED),
    ],
)
def test_a_newer_command_under_old_terms_can_only_lower(
    agreed: Pair, changed: dict[str, object], reason: ResultStatus
) -> None:
    """It crosses a new offer on the wire: who asks for less gets no more, and no longer; an old one moves nothing."""
    agreed.run(9_000, NOW)
    fewer, more = agreed.command(4_000, NOW, **changed), agreed.command(11_000, NOW)
    agreed.gate.offer(TARIFF, NOW + 1)
    outcome = agreed.gate.on_message(fewer, NOW + 2)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is reason
    newest = reason is ResultStatus.UNKNOWN_OFFER
    until_ms = NOW + (5_000 if "valid_until_ms" in changed else 10_000)
    assert agreed.gate.allowed_w(NOW + 2) == (4_000 if newest else 9_000)
    assert agreed.gate.expires_ms() == until_ms
    assert rejected(agreed, more, NOW + 3).reason is ResultStatus.UNKNOWN_OFFER
    assert agreed.gate.expires_ms() == until_ms


def test_a_command_under_terms_that_are_gone_begins_nothing(agreed: Pair) -> None:
    """There is nothing that it could lower."""
    command = agreed.vehicle.command(4_000, NOW)
    agreed.gate.offer(TARIFF, NOW)
    assert rejected(agreed, command).reason is ResultStatus.UNKNOWN_OFFER
    assert agreed.gate.allowed_w(NOW) == 0


def test_declining_a_new_offer_ends_the_power_at_once(agreed: Pair) -> None:
    """A no is a no, whatever was signed before."""
    agreed.run(9_000, NOW)
    agreed.verdict = msgspec.structs.replace(agreed.verdict, accepted=False)
    answered = agreed.vehicle.on_message(agreed.gate.offer(TARIFF, NOW + 1), NOW + 1)
    assert isinstance(answered, Answered)
    agreed.gate.on_message(answered.reply, NOW + 1)
    assert agreed.gate.allowed_w(NOW + 1) == 0


def test_an_acceptance_can_be_withdrawn_once_and_not_taken_again(agreed: Pair) -> None:
    """The first acceptance cannot be replayed after the withdrawal."""
    agreed.run(9_000, NOW)
    acceptance = agreed.acceptance
    assert rejected(agreed, acceptance).reason is ResultStatus.REPLAYED
    withdrawal = agreed.vehicle.withdraw(DecisionReason.OWNER_REFUSED, NOW + 1)
    assert withdrawal is not None
    assert isinstance(agreed.gate.on_message(withdrawal, NOW + 1), Decided)
    assert agreed.gate.allowed_w(NOW + 1) == 0
    assert not agreed.gate.accepted
    assert rejected(agreed, acceptance, NOW + 2).reason is ResultStatus.REPLAYED
    assert rejected(agreed, withdrawal, NOW + 2).reason is ResultStatus.REPLAYED
    assert agreed.vehicle.withdraw(DecisionReason.OWNER_REFUSED, NOW + 2) is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"session_id": b"another!"}, ResultStatus.WRONG_SESSION),
        ({"offer_id": b"another offer id"}, ResultStatus.UNKNOWN_OFFER),
        ({"terms_hash": b"T" * 64}, ResultStatus.TERMS_MISMATCH),
    ],
)
def test_a_decision_about_something_else_decides_nothing(
    pair: Pair, changed: dict[str, object], reason: ResultStatus
) -> None:
    """The decision names the terms by the hash of their signed bytes."""
    answered = pair.vehicle.on_message(pair.gate.offer(TARIFF, NOW), NOW)
    assert isinstance(answered, Answered)
    outcome = rejected(pair, pair.signed(msgspec.structs.replace(answered.decision, **changed)))
    assert outcome.reason is reason
    assert outcome.reply is None
    assert not pair.gate.accepted


def test_a_decision_without_any_offer_is_rejected(pair: Pair) -> None:
    """There is nothing to decide."""
    decision = DischargeDecision(
        offer_id=b"O" * 16,
        session_id=SESSION_ID,
        terms_hash=b"T" * 64,
        accepted=True,
        reason=pair.verdict.reason,
        decided_at_ms=NOW,
        minimum_soc=0,
        max_discharge_w=1,
    )
    assert rejected(pair, pair.signed(decision)).reason is ResultStatus.UNKNOWN_OFFER


def test_a_command_cannot_outlive_its_offer(pair: Pair) -> None:
    """Power ends with the terms; a later command is answered that the offer ended."""
    short = Tariff(currency="EUR", slots=(msgspec.structs.replace(TARIFF.slots[0], duration_ms=5_000),))
    answered = pair.vehicle.on_message(pair.gate.offer(short, NOW), NOW)
    assert isinstance(answered, Answered)
    pair.gate.on_message(answered.reply, NOW)
    late = pair.command(9_000, NOW, valid_until_ms=NOW + 9_000)
    outcome = pair.gate.on_message(late, NOW)
    assert isinstance(outcome, Accepted)
    assert outcome.until_ms == NOW + 5_000
    assert pair.gate.allowed_w(NOW + 5_000) == 0
    after = pair.command(9_000, NOW, issued_at_ms=NOW + 5_000, valid_until_ms=NOW + 9_000)
    assert rejected(pair, after, NOW + 5_000).reason is ResultStatus.OFFER_EXPIRED


def test_a_session_that_stopped_lets_nothing_through(agreed: Pair) -> None:
    """Stop means stop, for a live command, a new one and a new offer."""
    agreed.run(9_000, NOW)
    agreed.gate.stop()
    assert agreed.gate.allowed_w(NOW) == 0
    assert agreed.gate.expires_ms() is None
    assert rejected(agreed, agreed.vehicle.command(9_000, NOW)).reason is ResultStatus.STOPPED
    with pytest.raises(RefusedError) as refused:
        agreed.gate.offer(TARIFF, NOW)
    assert refused.value.reason == "stopped"


def test_no_offer_without_a_price(pair: Pair) -> None:
    """Terms without a price for now are no terms."""
    with pytest.raises(RefusedError) as refused:
        pair.gate.offer(TARIFF, NOW - 1)
    assert refused.value.reason == "no_price"


def test_every_command_is_answered_by_a_signed_result_of_its_sequence(agreed: Pair) -> None:
    """So that the vehicle can show what it received."""
    charger = Party.of(agreed.charger.leaf)
    accepted = agreed.run(9_000, NOW)
    good = open_signed(accepted.reply, charger)
    refusal = agreed.gate.on_message(agreed.command(9_000, NOW, valid_until_ms=NOW), NOW)
    assert isinstance(refusal, Rejected)
    assert refusal.reply is not None
    bad = open_signed(refusal.reply, charger)
    assert isinstance(good, DischargeResult)
    assert isinstance(bad, DischargeResult)
    assert (good.sequence, good.status, good.effective_w) == (1, ResultStatus.ACCEPTED, 9_000)
    assert (bad.sequence, bad.status, bad.effective_w) == (2, ResultStatus.EXPIRED, 0)
    received = agreed.vehicle.on_message(refusal.reply, NOW)
    assert isinstance(received, ResultReceived)


@pytest.mark.parametrize("make", [lambda p: p.gate.offer(TARIFF, NOW), lambda p: p.run(9_000, NOW).reply])
def test_the_chargers_own_messages_do_nothing_when_they_come_back(agreed: Pair, make: Callable[[Pair], bytes]) -> None:
    """Reflection."""
    payload = make(agreed)
    assert rejected(agreed, payload).reason is ResultStatus.UNKNOWN_SIGNER


def test_a_vehicle_that_signs_a_chargers_message_is_rejected(agreed: Pair) -> None:
    """Only decisions and commands come from a vehicle."""
    offer = agreed.gate.current_offer
    assert offer is not None
    assert rejected(agreed, agreed.signed(offer)).reason is ResultStatus.MALFORMED


def test_a_gate_of_which_nothing_was_said_is_as_strict_as_its_defaults(pair: Pair) -> None:
    """An hour for an offer, a minute for a command, two seconds for the clocks; and no limit lets anything flow."""
    defaults = DischargeConfig(offer_validity_ms=3_600_000, max_command_validity_ms=60_000, max_skew_ms=2_000)
    assert DischargeConfig() == defaults
    gate = DischargeGate(
        session_id=SESSION_ID,
        evse_id="DE*V2G*E0001",
        key=pair.charger.key,
        certificate=pair.charger.leaf,
        signer_certificate=pair.contract.leaf,
        entropy=bytes,
    )
    assert gate.limits == discharge_limits(ev_w=0, evse_w=0, site_w=0, operator_w=0)
    assert not gate.accepted
    assert gate.current_offer is None
    assert (gate.countersigned, HEAD.checkpoint, HEAD.countersigned) == (0, 0, 0)
    answered = pair.vehicle.on_message(gate.offer(TARIFF, NOW), NOW)
    assert isinstance(answered, Answered)
    assert isinstance(gate.on_message(answered.reply, NOW), Decided)  # of version 1
    assert gate.current_offer is not None
    assert gate.current_offer.valid_until_ms == NOW + 3_600_000
    assert gate.current_offer.limits == gate.limits


def test_an_offer_holds_as_long_as_its_prices(pair: Pair) -> None:
    """The end of the last one counts."""
    slots = tuple(PriceSlot(NOW + n * 600_000, 600_000, 300_000, 200_000) for n in range(3))
    pair.gate.offer(Tariff(currency="EUR", slots=slots, version=1), NOW)
    assert pair.gate.current_offer is not None
    assert pair.gate.current_offer.valid_until_ms == NOW + 1_800_000


def test_what_no_vehicle_has_signed_is_answered_with_sequence_0(agreed: Pair) -> None:
    """There is none to repeat."""
    offer = agreed.gate.offer(TARIFF, NOW)
    for payload in (b"garbage", offer, agreed.signed(open_signed(offer, Party.of(agreed.charger.leaf)))):
        outcome = rejected(agreed, payload)
        assert outcome.sequence == 0
        assert outcome.reply is not None
        result = open_signed(outcome.reply, Party.of(agreed.charger.leaf))
        assert isinstance(result, DischargeResult)
        assert result.sequence == 0


def test_a_decision_is_taken_once_with_its_time(pair: Pair) -> None:
    """Whoever has declined cannot decline again."""
    pair.verdict = msgspec.structs.replace(pair.verdict, accepted=False)
    answered = pair.vehicle.on_message(pair.gate.offer(TARIFF, NOW), NOW)
    assert isinstance(answered, Answered)
    decided = pair.gate.on_message(answered.reply, NOW + 40)
    assert isinstance(decided, Decided)
    assert decided.latency_ms == 40
    outcome = rejected(pair, answered.reply, NOW + 50)
    assert (outcome.reason, outcome.sequence) == (ResultStatus.REPLAYED, 0)


def test_a_command_before_any_offer_is_rejected(agreed: Pair, pair: Pair) -> None:
    """There are no terms that it could be about."""
    command = agreed.command(9_000, NOW)
    fresh = Pair(agreed.charger, agreed.contract)
    assert rejected(fresh, command).reason is ResultStatus.UNKNOWN_OFFER


def test_a_command_out_of_order_does_not_open_the_gate_for_older_ones(agreed: Pair) -> None:
    """The highest sequence counts, whatever came after it."""
    for sequence, nonce in ((5, b"5" * 16), (3, b"3" * 16), (4, b"4" * 16)):
        outcome = agreed.gate.on_message(agreed.command(9_000, NOW, sequence=sequence, nonce=nonce), NOW)
        assert isinstance(outcome, Accepted) is (sequence == 5)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is ResultStatus.OUT_OF_ORDER


def test_a_command_holds_from_when_it_was_signed_and_from_when_it_came(agreed: Pair) -> None:
    """Clocks may differ by two seconds either way."""
    ahead = agreed.gate.on_message(agreed.command(9_000, NOW, issued_at_ms=NOW + 2_000), NOW)
    assert isinstance(ahead, Accepted)
    assert ahead.effective_w == 9_000
    assert agreed.gate.expires_ms() == ahead.until_ms
    too_far = agreed.command(9_000, NOW, issued_at_ms=NOW + 2_001)
    assert rejected(agreed, too_far).reason is ResultStatus.NOT_YET_VALID
    behind = agreed.command(8_000, NOW, issued_at_ms=NOW - 500, valid_until_ms=NOW + 5_000)
    agreed.gate.on_message(behind, NOW)
    assert [agreed.gate.allowed_w(NOW - at) for at in (501, 500, 100)] == [0, 8_000, 8_000]


def test_a_command_that_has_ended_when_it_comes_or_before_it_begins_is_rejected(agreed: Pair) -> None:
    """To the millisecond."""
    late = agreed.command(9_000, NOW, valid_until_ms=NOW + 5_000)
    assert rejected(agreed, late, NOW + 5_000).reason is ResultStatus.EXPIRED
    empty = agreed.command(9_000, NOW, issued_at_ms=NOW + 1_000, valid_until_ms=NOW + 1_000)
    assert rejected(agreed, empty).reason is ResultStatus.EXPIRED
    short = agreed.command(9_000, NOW, valid_until_ms=NOW + 1)
    assert isinstance(agreed.gate.on_message(short, NOW), Accepted)


def test_a_limit_below_nothing_is_nothing(agreed: Pair) -> None:
    """No discharge turns into a charge that nobody has allowed."""
    agreed.run(9_000, NOW)
    agreed.gate.set_limits(msgspec.structs.replace(LIMITS, ev_w=-5))
    assert agreed.gate.allowed_w(NOW) == 0


# -- checkpoints

HEAD = JournalHead(entries=7, head="ab" * 32, import_mwh=1_500, export_mwh=600)


@pytest.fixture
def second(pki: PkiTree) -> Pair:
    """A pair of version 2, which has not spoken yet."""
    return Pair(pki.credentials("secc"), pki.credentials("contract"), checkpoints=True)


def issue(pair: Pair, head: JournalHead = HEAD) -> tuple[int, bytes]:
    return pair.gate.checkpoint(head, (1_000, 500), NOW, final=False)


def receipt(
    pair: Pair, issued: tuple[int, bytes], status: ReceiptStatus = ReceiptStatus.COUNTERSIGNED, **changed: object
) -> bytes:
    """The vehicle's answer to a checkpoint, but for what is changed."""
    number, payload = issued
    content = CheckpointReceipt(
        session_id=SESSION_ID,
        number=number,
        checkpoint_hash=hashlib.sha512(payload).digest(),
        signed_at_ms=NOW,
        status=status,
    )
    return pair.signed(msgspec.structs.replace(content, **changed))


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("final", [False, True])
def test_a_checkpoint_states_the_journal_and_both_registers(second: Pair, final: bool) -> None:
    number, payload = second.gate.checkpoint(HEAD, (1_000, 500), NOW, final=final)
    assert number == 1
    assert open_signed(payload, Party.of(second.charger.leaf)) == DischargeCheckpoint(
        session_id=SESSION_ID,
        number=1,
        issued_at_ms=NOW,
        entries=7,
        head=b"\xab" * 32,
        begin=MeterRegisters(import_mwh=1_000, export_mwh=500),
        now=MeterRegisters(import_mwh=1_500, export_mwh=600),
        final=final,
    )


@pytest.mark.requirement("R32")
def test_numbers_of_checkpoints_continue_those_of_the_journal_and_of_earlier_parts(second: Pair) -> None:
    """Whichever is higher."""
    assert [issue(second)[0], issue(second)[0]] == [1, 2]
    assert issue(second, msgspec.structs.replace(HEAD, checkpoint=5))[0] == 6
    assert issue(second, msgspec.structs.replace(HEAD, checkpoint=3))[0] == 7
    later = Pair(second.charger, second.contract, checkpoints=True, countersigned=4)
    assert later.gate.countersigned == 4
    assert issue(later)[0] == 5


@pytest.mark.requirement("R32")
def test_a_receipt_counts_once_and_only_for_its_checkpoint(second: Pair) -> None:
    issued = [issue(second) for _ in range(3)]
    for changed, reason in (
        ({"session_id": b"another!"}, ResultStatus.WRONG_SESSION),
        ({"number": 4}, ResultStatus.UNKNOWN_CHECKPOINT),
        ({"number": 1}, ResultStatus.TERMS_MISMATCH),
        ({"checkpoint_hash": b"T" * 64}, ResultStatus.TERMS_MISMATCH),
    ):
        outcome = rejected(second, receipt(second, issued[1], **changed))
        assert (outcome.reason, outcome.sequence, outcome.reply) == (reason, 0, None)
    assert second.gate.countersigned == 0
    assert isinstance(second.gate.on_message(receipt(second, issued[1]), NOW), Receipted)
    assert second.gate.countersigned == 2
    for late in issued[:2]:
        assert rejected(second, receipt(second, late)).reason is ResultStatus.REPLAYED
    refusal = receipt(second, issued[2], ReceiptStatus.ENERGY_DIFFERS)
    outcome = second.gate.on_message(refusal, NOW)
    assert isinstance(outcome, Receipted)
    assert (outcome.receipt.status, outcome.payload) == (ReceiptStatus.ENERGY_DIFFERS, refusal)
    assert second.gate.countersigned == 2
    assert rejected(second, receipt(second, issued[2])).reason is ResultStatus.REPLAYED


@pytest.mark.requirement("R32")
def test_a_receipt_of_an_earlier_part_is_a_replay(second: Pair) -> None:
    later = Pair(second.charger, second.contract, checkpoints=True, countersigned=1)
    assert rejected(later, receipt(second, issue(second))).reason is ResultStatus.REPLAYED


@pytest.mark.requirement("R32")
def test_only_the_last_checkpoints_wait_for_a_receipt(second: Pair) -> None:
    """The oldest of seventeen is forgotten."""
    assert UNANSWERED == 16
    issued = [issue(second) for _ in range(16 + 1)]
    assert rejected(second, receipt(second, issued[0])).reason is ResultStatus.UNKNOWN_CHECKPOINT
    assert isinstance(second.gate.on_message(receipt(second, issued[1]), NOW), Receipted)


@pytest.mark.requirement("R32")
@pytest.mark.parametrize(("named", "follows"), [(None, False), (0, True), (1, True), (2, False)])
def test_a_command_and_an_acceptance_name_a_checkpoint_that_was_countersigned(
    second: Pair, named: int | None, follows: bool
) -> None:
    """The vehicle may not have stored the last one yet; one that the charger has no receipt of is not followed."""
    issued = [issue(second) for _ in range(2)]
    second.gate.on_message(receipt(second, issued[0]), NOW)
    answered = second.vehicle.on_message(second.gate.offer(TARIFF, NOW), NOW)
    assert isinstance(answered, Answered)
    acceptance = open_signed(answered.reply, Party.of(second.contract.leaf))
    outcome = second.gate.on_message(second.signed(msgspec.structs.replace(acceptance, checkpoint=named)), NOW)
    assert isinstance(outcome, Decided) is follows
    if not follows:
        assert isinstance(outcome, Rejected)
        assert outcome.reason is ResultStatus.UNKNOWN_CHECKPOINT
        second.gate.on_message(answered.reply, NOW)
    outcome = second.gate.on_message(second.command(9_000, NOW, checkpoint=named), NOW)
    assert isinstance(outcome, Accepted) is follows
    assert second.gate.allowed_w(NOW) == (9_000 if follows else 0)
    if not follows:
        assert isinstance(outcome, Rejected)
        assert outcome.reason is ResultStatus.UNKNOWN_CHECKPOINT


@pytest.mark.requirement("R32")
def test_no_checkpoint_is_named_in_version_1(agreed: Pair) -> None:
    outcome = rejected(agreed, agreed.command(9_000, NOW, checkpoint=0))
    assert outcome.reason is ResultStatus.UNKNOWN_CHECKPOINT


@pytest.mark.requirement("R32")
def test_a_vehicle_may_decline_whatever_it_names(second: Pair) -> None:
    """A no is a no, even of a vehicle that counts otherwise."""
    second.agree()
    second.run(9_000, NOW)
    withdrawal = second.vehicle.withdraw(DecisionReason.OWNER_REFUSED, NOW)
    assert withdrawal is not None
    content = open_signed(withdrawal, Party.of(second.contract.leaf))
    assert isinstance(content, DischargeDecision)
    wrong = second.signed(msgspec.structs.replace(content, checkpoint=9))
    assert isinstance(second.gate.on_message(wrong, NOW), Decided)
    assert second.gate.allowed_w(NOW) == 0
