"""States of a payment for one session, and what its requests are known by."""

from typing import get_args

from csms.direct_payments.rules import ACCEPTED, BEGINNING, OVER, DirectPayment, PaymentState


def test_each_state_is_of_the_beginning_the_session_or_the_end() -> None:
    states = get_args(PaymentState)
    session = states[states.index("running") : states.index("settled")]
    assert (*BEGINNING, *session, *sorted(OVER, key=states.index)) == states
    assert set(ACCEPTED) == {BEGINNING[-1], session[0]}, "the station is asked, or has begun"


def test_a_request_is_known_by_its_payment_and_what_it_does() -> None:
    def keys(number: int, created_ms: int) -> set[str]:
        payment = DirectPayment(
            id=number,
            station_id="CS",
            evse_id=1,
            token="T",
            amount_micro=1,
            captured_micro=0,
            currency="EUR",
            state="requested",
            reference="",
            approval_url="",
            return_url="",
            transaction_id="",
            reason="",
            created_ms=created_ms,
            changed_ms=created_ms,
        )
        return {payment.key(act) for act in ("authorize", "capture")}

    assert keys(1, 1) == keys(1, 1)
    assert len(keys(1, 1) | keys(2, 1) | keys(1, 2)) == 6, "also where numbers of a database that was lost come again"
