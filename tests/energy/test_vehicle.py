"""The vehicle believes its charger only, and signs nothing that it did not agree to."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.energy.conftest import NOW, TARIFF, Pair
from v2g.asn1.discharge import DecisionReason, DischargeCommand, DischargeOffer, PriceSlot, ResultStatus
from v2g.energy.signed import Party, open_signed, sign_content, terms_hash
from v2g.energy.vehicle import Answered, ResultReceived
from v2g.errors import RefusedError


def offered(pair: Pair, **changed: object) -> bytes:
    """An offer signed by the charger, changed before it was signed."""
    offer = open_signed(pair.gate.offer(TARIFF, NOW), Party.of(pair.charger.leaf))
    assert isinstance(offer, DischargeOffer)
    changed_offer = msgspec.structs.replace(offer, **changed)
    return sign_content(changed_offer, pair.charger.key, Party.of(pair.charger.leaf).fingerprint)


def answer(pair: Pair, payload: bytes, now: int = NOW) -> Answered:
    answered = pair.vehicle.on_message(payload, now)
    assert isinstance(answered, Answered)
    return answered


def commanded(pair: Pair, power_w: int, now: int) -> DischargeCommand:
    command = open_signed(pair.vehicle.command(power_w, now), Party.of(pair.contract.leaf))
    assert isinstance(command, DischargeCommand)
    return command


@pytest.mark.requirement("R11")
def test_the_decision_names_the_signed_terms_and_what_the_policy_said(pair: Pair) -> None:
    """Reason, lowest state of charge and highest power reach the charger."""
    pair.verdict = msgspec.structs.replace(pair.verdict, max_discharge_w=7_000)
    payload = offered(pair)
    decision = answer(pair, payload).decision
    assert decision.terms_hash == terms_hash(payload)
    assert (decision.accepted, decision.reason) == (True, DecisionReason.ACCEPTED)
    assert (decision.minimum_soc, decision.max_discharge_w) == (30, 7_000)
    assert pair.vehicle.accepted


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"valid_until_ms": NOW - 2_000}, id="ended"),
        pytest.param({"issued_at_ms": NOW + 2_001}, id="from the future"),
        pytest.param({"prices": (PriceSlot(NOW + 1, 7_200_000, 1, 1),)}, id="no price at its start"),
        pytest.param({"prices": (PriceSlot(NOW, 60_000, 1, 1),)}, id="no price at its end"),
        pytest.param(
            {"prices": (PriceSlot(NOW, 60_000, 1, 1), PriceSlot(NOW + 60_001, 7_200_000, 1, 1))}, id="gap in prices"
        ),
        pytest.param(
            {"prices": (PriceSlot(NOW, 60_000, 1, 1), PriceSlot(NOW + 59_999, 7_200_000, 1, 1))}, id="overlap"
        ),
    ],
)
def test_terms_that_make_no_sense_are_declined_without_asking_the_owner(pair: Pair, changed: dict[str, object]) -> None:
    """The policy only ever sees whole offers."""
    answered = answer(pair, offered(pair, **changed))
    assert (answered.decision.accepted, answered.decision.reason) == (False, DecisionReason.TERMS_INVALID)
    assert answered.decision.max_discharge_w == 0
    assert not pair.vehicle.accepted


def test_an_offer_above_its_own_limits_is_declined(pair: Pair) -> None:
    """The maximum is the smallest of the four, or somebody is lying."""
    limits = msgspec.structs.replace(pair.gate.limits, max_discharge_w=11_001)
    assert answer(pair, offered(pair, limits=limits)).decision.reason is DecisionReason.TERMS_INVALID


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bit_of_an_offer_can_be_changed(pki: PkiTree, data: st.DataObject) -> None:
    """A changed offer is no offer of this charger, and changes nothing."""
    pair = Pair(pki.credentials("secc"), pki.credentials("contract"))
    payload = bytearray(offered(pair))
    bit = data.draw(st.integers(0, 8 * len(payload) - 1))
    payload[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RefusedError) as refused:
        pair.vehicle.on_message(bytes(payload), NOW)
    assert refused.value.reason in ("bad_signature", "unknown_signer", "malformed")
    assert pair.vehicle.offer is None


def test_messages_of_another_session_or_of_a_vehicle_are_refused(agreed: Pair) -> None:
    """Named, and nothing changes."""
    with pytest.raises(RefusedError) as refused:
        agreed.vehicle.on_message(offered(agreed, session_id=b"another!"), NOW)
    assert refused.value.reason == "wrong_session"
    content = open_signed(agreed.vehicle.command(1, NOW), Party.of(agreed.contract.leaf))
    reflected = sign_content(content, agreed.charger.key, Party.of(agreed.charger.leaf).fingerprint)
    with pytest.raises(RefusedError) as refused:
        agreed.vehicle.on_message(reflected, NOW)
    assert refused.value.reason == "malformed"


def test_a_command_never_asks_for_more_than_was_agreed(pair: Pair) -> None:
    """Neither than the offer nor than its own decision."""
    pair.agree()
    assert commanded(pair, 50_000, NOW).power_w == 11_000
    pair.verdict = msgspec.structs.replace(pair.verdict, max_discharge_w=4_000)
    pair.agree()
    assert commanded(pair, 50_000, NOW).power_w == 4_000
    assert commanded(pair, -5, NOW).power_w == 0


def test_commands_count_up_across_offers(agreed: Pair) -> None:
    """One sequence for the session."""
    assert commanded(agreed, 1_000, NOW).sequence == 1
    agreed.agree(NOW + 1)
    assert commanded(agreed, 1_000, NOW + 1).sequence == 2


def test_a_command_is_due_when_power_changes_or_its_end_is_near(agreed: Pair) -> None:
    """And not otherwise, so that the charge loop stays quiet."""
    vehicle = agreed.vehicle
    assert not vehicle.command_due(0, NOW)
    assert vehicle.command_due(9_000, NOW)
    agreed.run(9_000, NOW)
    assert not vehicle.command_due(9_000, NOW + 5_999)
    assert vehicle.command_due(9_000, NOW + 6_000)
    assert vehicle.command_due(8_000, NOW + 1)
    assert vehicle.command_due(0, NOW + 1)
    agreed.run(0, NOW + 1)
    assert not vehicle.command_due(0, NOW + 60_000)
    agreed.run(50_000, NOW + 2)
    assert not vehicle.command_due(60_000, NOW + 3)  # cut down to the same 11 kW


def test_no_command_is_due_without_terms_or_beyond_their_end(pair: Pair) -> None:
    """What cannot be renewed is not tried."""
    assert not pair.vehicle.command_due(9_000, NOW)
    pair.agree()
    end = NOW + 3_600_000
    pair.run(9_000, end - 5_000)
    assert not pair.vehicle.command_due(9_000, end - 1)
    with pytest.raises(RefusedError) as refused:
        pair.vehicle.command(9_000, end)
    assert refused.value.reason == "offer_expired"


def test_a_new_offer_makes_a_command_due(agreed: Pair) -> None:
    """Power under new terms needs a signature under new terms."""
    agreed.run(9_000, NOW)
    agreed.agree(NOW + 1)
    assert agreed.vehicle.command_due(9_000, NOW + 1)
    assert agreed.vehicle.command_due(0, NOW + 1)  # what was signed before may live on
    assert not agreed.vehicle.command_due(0, NOW + 10_000)


def test_results_are_matched_to_the_newest_command(agreed: Pair) -> None:
    """A rejection, an unknown sequence and a late answer give no power."""
    agreed.vehicle.command(9_000, NOW)
    assert agreed.vehicle.effective_w(NOW) == 0
    outcome = agreed.gate.on_message(agreed.command(9_000, NOW, valid_until_ms=NOW), NOW)
    assert outcome.reply is not None  # type: ignore[union-attr]
    received = agreed.vehicle.on_message(outcome.reply, NOW)  # type: ignore[union-attr]
    assert isinstance(received, ResultReceived)
    assert received.result.status is ResultStatus.EXPIRED
    assert received.command is not None
    assert agreed.vehicle.effective_w(NOW) == 0
    first = agreed.gate.on_message(agreed.vehicle.command(5_000, NOW), NOW)
    agreed.vehicle.command(6_000, NOW)
    late = agreed.vehicle.on_message(first.reply, NOW)  # type: ignore[union-attr,arg-type]
    assert isinstance(late, ResultReceived)
    assert late.command is None
    assert agreed.vehicle.effective_w(NOW) == 0
