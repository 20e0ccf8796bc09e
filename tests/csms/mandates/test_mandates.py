"""What a mandate lets debit: what the driver owes in its currency, in units that can be paid, up to its limit."""

import pytest

from csms.mandates.rules import DebitAnswer, Mandate, MandateAnswer, debt_of
from tests.together import together
from v2g.energy.settlement.bookkeeping import Entry, Posting, Use
from v2g.errors import RefusedError

NO_USE = Use(**dict.fromkeys(Use.__struct_fields__, 0))


def posting(owed: int, currency: str) -> Posting:
    """Return the posting of a session that costs so much, beside another currency."""
    entries = (
        Entry(account="driver", unit=currency, amount=owed),
        Entry(account="sales", unit=currency, amount=-owed),
        Entry(account="driver", unit="XTS", amount=10**9),
        Entry(account="vehicle", unit="mWh", amount=5),
    )
    return Posting(
        kind="settlement", station_id="CS", session_id="01", journal_head="h", vehicle="V", begin_ms=0, end_ms=1,
        entries=entries, use=NO_USE,
    )  # fmt: skip


def mandate(currency: str, most_micro: int = 10**12) -> Mandate:
    """Return an active mandate."""
    return Mandate(
        id=3, vehicle="V", payer="p", currency=currency, most_micro=most_micro, created_ms=7, expires_ms=10**14,
        state="active", reference="M", approval_url="", reason="",
    )  # fmt: skip


@pytest.mark.requirement("R42")
@together(
    ("currency", "owed", "debit"),
    [
        ("JPY", 495_980_000, 496_000_000),
        ("KWD", 675_900, 676_000),
        ("EUR", 4_935_000, 4_940_000),
        ("EUR", 4_934_999, 4_930_000),
        ("EUR", 4_999, 0),
        ("EUR", -3_000_000, 0),
        ("CLF", 12_345_650, 12_345_700),
        ("USD", 0, 0),
    ],
)
def test_a_debit_has_the_digits_of_its_currency(currency: str, owed: int, debit: int) -> None:
    assert debt_of(posting(owed, currency), mandate(currency)) == debit


def test_another_currency_is_not_debited() -> None:
    assert debt_of(posting(5_000_000, "EUR"), mandate("SEK")) == 0


def test_the_limit_holds_for_what_is_paid() -> None:
    assert debt_of(posting(5_004_999, "EUR"), mandate("EUR", 5_000_000)) == 5_000_000
    with pytest.raises(RefusedError, match="more than the mandate allows") as refused:
        debt_of(posting(5_005_000, "EUR"), mandate("EUR", 5_000_000))
    assert refused.value.reason == "above_limit"


def test_a_providers_answer_needs_no_more_than_reference_and_state() -> None:
    assert MandateAnswer(reference="M", state="active") == MandateAnswer(
        reference="M", state="active", approval_url="", reason=""
    )
    assert DebitAnswer(reference="D", state="done").reason == ""


def test_the_request_for_a_mandate_has_a_key_of_its_own() -> None:
    assert mandate("EUR").key == "mandate/7/3"
