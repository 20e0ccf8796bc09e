"""What decides about a token: in which order, at which place, until when, and how much is left."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from msgspec.structs import asdict

from csms.tokens.rules import (
    Allowance,
    ChainVerdict,
    Group,
    Known,
    Period,
    Place,
    Terms,
    Token,
    TokenAnswer,
    TokenEntry,
    TokenKind,
    Used,
    Where,
    answer_contract,
    answer_known,
    check_form,
    lasting,
    normalise,
    period_start,
)
from csms.tokens.rules import together as used_together
from tests.together import together
from v2g.errors import ConfigError

NOW = 1_767_225_600_000
ANY = Terms()
EVERYWHERE, EVSE_1, EVSE_2 = (Where("CS", evse_id, NOW) for evse_id in (None, 1, 2))
DAY_WH = Allowance(period="day", energy_wh=600)
PREPAID = Allowance(period="total", cost="12.50")
FAMILY = Group(group_id="family")
MASTER = Group(group_id="masters", master_pass=True)
BLOCKED = Group(group_id="masters", master_pass=True, blocked=True)
HERE, AT_2, ELSEWHERE = Place("CS"), Place("CS", (3, 2)), Place("CS-OTHER")


def known(
    status: str = "Accepted",
    terms: Terms = ANY,
    *,
    group: Group | None = None,
    used: Sequence[tuple[Allowance, Used]] = (),
    elsewhere: bool = False,
) -> Known:
    token = Token("ISO14443", "04AABBCC", status, ("DC",), terms)
    return Known(token=token, group=group, used=tuple(used), elsewhere=elsewhere)


def at(*places: Place) -> Known:
    return known(terms=Terms(places=places))


EXPIRED = Terms(expires_ms=NOW)
EMPTY = ((DAY_WH, Used(energy_wh=600)),)

ANSWERS: Sequence[tuple[Known, Where, bool, str]] = [
    (known("Blocked", EXPIRED, group=BLOCKED), EVSE_1, True, "Blocked"),
    (known("NoCredit", EXPIRED, group=BLOCKED), EVSE_1, True, "NoCredit"),
    (known("Accepted", EXPIRED, group=BLOCKED), EVSE_1, True, "Blocked"),
    (known("Accepted", EXPIRED, group=MASTER), EVSE_1, True, "Expired"),
    (known("Accepted", Terms(expires_ms=NOW + 1)), EVSE_1, True, "Accepted"),
    (known("Accepted", Terms(places=(ELSEWHERE,)), group=FAMILY), EVSE_1, True, "NotAtThisLocation"),
    (known(group=FAMILY), EVSE_1, True, "Accepted"),
    # C16: a master pass stops every transaction, wherever, and starts none
    (known(group=MASTER), EVSE_1, True, "Invalid"),
    (known(group=MASTER), EVERYWHERE, True, "Accepted"),
    (known("Accepted", Terms(places=(ELSEWHERE,)), group=MASTER), EVSE_1, False, "Accepted"),
    # what only keeps a transaction from starting does not keep it from being stopped
    (known(elsewhere=True, used=EMPTY), EVSE_1, True, "ConcurrentTx"),
    (known(used=EMPTY), EVSE_1, True, "NoCredit"),
    (known(elsewhere=True, used=EMPTY), EVSE_1, False, "Accepted"),
    (known(used=[(DAY_WH, Used(energy_wh=599))]), EVSE_1, True, "Accepted"),
    (known(used=[(PREPAID, Used(cost=12_499_999))]), EVSE_1, True, "Accepted"),
    (known(used=[(PREPAID, Used(cost=12_500_000))]), EVSE_1, True, "NoCredit"),
    (known(used=[(DAY_WH, Used(cost=12_500_000))]), EVSE_1, True, "Accepted"),
    (known(used=[(PREPAID, Used()), *EMPTY]), EVSE_1, True, "NoCredit"),
    # places
    (at(ELSEWHERE), EVERYWHERE, True, "NotAtThisLocation"),
    (at(ELSEWHERE, HERE), EVSE_1, True, "Accepted"),
    (at(AT_2), EVSE_2, True, "Accepted"),
    (at(AT_2), EVSE_1, True, "NotAtThisLocation"),
    (at(AT_2), EVSE_1, False, "NotAtThisLocation"),
    (at(AT_2, HERE), EVSE_1, True, "Accepted"),
    (at(AT_2), EVERYWHERE, True, "Accepted"),
]


@together(("token", "where", "starts", "status"), ANSWERS)
def test_the_first_reason_against_a_token_is_its_status(token: Known, where: Where, starts: bool, status: str) -> None:
    answer = answer_known(token, where, starts=starts)
    assert answer.status == status
    assert answer.terms == token.token.terms
    assert not starts or answer_known(token, where) == answer
    modes = ("DC",) if status == "Accepted" and token.group is not MASTER else ()
    assert answer.energy_transfer == modes


def test_only_places_that_name_evses_restrict_them() -> None:
    for token, evses in ((at(), ()), (at(HERE), ()), (at(AT_2, ELSEWHERE), (2, 3)), (at(AT_2, HERE), ())):
        for starts in (True, False):
            assert answer_known(token, EVERYWHERE, starts=starts).evses == evses


def test_the_tightest_allowance_says_what_is_left() -> None:
    week = Allowance(period="week", energy_wh=900, cost="1")
    answer = answer_known(known(used=[(DAY_WH, Used(100)), (week, Used(700, 1)), (PREPAID, Used(0, 1))]), EVSE_1)
    assert (answer.remaining_wh, answer.remaining_cost) == (200, 999_999)
    answer = answer_known(known(used=[(DAY_WH, Used()), (PREPAID, Used())]), EVSE_1)
    assert (answer.remaining_wh, answer.remaining_cost) == (600, 12_500_000)
    answer = answer_known(known(), EVSE_1)
    assert (answer.remaining_wh, answer.remaining_cost) == (None, None)


@together(
    ("terms", "used", "until_ms"),
    [
        (Terms(), (), None),
        (Terms(cache_s=60), (), NOW + 60_000),
        (Terms(cache_s=60, expires_ms=NOW + 59_999), (), NOW + 59_999),
        (Terms(cache_s=0), (), NOW),
        (Terms(expires_ms=NOW + 1), ((DAY_WH, Used()),), NOW + 1),
        (Terms(cache_s=60), ((PREPAID, Used()),), NOW),  # C17.FR.01, C17.FR.02
        (Terms(), ((DAY_WH, Used()), (PREPAID, Used())), NOW),
    ],
)
def test_an_answer_is_remembered_for_as_long_as_it_is_true(
    terms: Terms, used: tuple[tuple[Allowance, Used], ...], until_ms: int | None
) -> None:
    for status in ("Accepted", "Blocked"):
        answer = answer_known(known(status, terms, used=used), EVSE_1)
        assert answer.until_ms == until_ms
        assert lasting(answer).until_ms == terms.expires_ms, "in a local list"


def test_transactions_are_stored_with_a_token_whose_answer_depends_on_them() -> None:
    assert not known(group=FAMILY).is_tracked
    assert known(used=[(DAY_WH, Used())]).is_tracked
    assert known(terms=Terms(one_at_a_time=True)).is_tracked


def test_by_default_a_token_is_bound_by_nothing() -> None:
    assert not any(asdict(Terms()).values())
    assert [name for name, value in asdict(FAMILY).items() if value] == ["group_id"]
    entry = TokenEntry(id_token="DEV2GC00000001")
    assert (entry.type, entry.status, entry.terms) == ("eMAID", "Accepted", Terms())


def test_what_is_not_known_is_allowed_nothing() -> None:
    assert answer_known(None, EVSE_1) == TokenAnswer("Unknown")


@together(
    ("chain", "status", "expected"),
    [
        (ChainVerdict.VALID, "Accepted", ("Accepted", "Accepted")),
        (ChainVerdict.VALID, "ConcurrentTx", ("ConcurrentTx", "Accepted")),
        (ChainVerdict.VALID, "NotAtThisLocation", ("NotAtThisLocation", "Accepted")),
        (ChainVerdict.VALID, "Blocked", ("Blocked", "ContractCancelled")),
        (ChainVerdict.VALID, "Expired", ("Expired", "ContractCancelled")),
        (ChainVerdict.VALID, "Invalid", ("Invalid", "ContractCancelled")),
        (ChainVerdict.VALID, None, ("Unknown", "ContractCancelled")),
        (ChainVerdict.EXPIRED, "Accepted", ("Expired", "CertificateExpired")),
        (ChainVerdict.REVOKED, "Accepted", ("Invalid", "CertificateRevoked")),
        (ChainVerdict.BROKEN, "Accepted", ("Invalid", "CertChainError")),
        (ChainVerdict.ABSENT, "Accepted", ("Invalid", "NoCertificateAvailable")),
    ],
)
def test_both_statuses_follow_c07(chain: ChainVerdict, status: str | None, expected: tuple[str, str]) -> None:
    known = None if status is None else Known(token=Token("eMAID", "DEV2GC00000001", status, ("DC",)))
    answer = answer_contract(chain, known, EVERYWHERE)
    assert (answer.status, answer.certificate_status) == expected
    assert answer.energy_transfer == (("DC",) if expected == ("Accepted", "Accepted") else ())


@together(
    ("now", "day", "week", "month"),
    [
        ("2026-03-17", "2026-03-17", "2026-03-16", "2026-03-01"),
        ("2026-01-01", "2026-01-01", "2025-12-29", "2026-01-01"),
        ("2026-05-31", "2026-05-31", "2026-05-25", "2026-05-01"),
    ],
)
def test_a_period_begins_at_midnight_utc(now: str, day: str, week: str, month: str) -> None:
    now_ms, *starts = (
        int(datetime.fromisoformat(each).replace(tzinfo=UTC).timestamp() * 1000) for each in (now, day, week, month)
    )
    periods: Sequence[Period] = ("day", "week", "month")
    for passed_ms in (0, 1, 3_723_004, 86_399_999):
        assert [period_start(each, now_ms + passed_ms) for each in periods] == starts
    for period, midnight in zip(periods, starts, strict=True):
        assert period_start(period, midnight) == midnight
        assert period_start(period, midnight - 1) < midnight
    assert period_start("total", now_ms) == 0


@together(
    ("kind", "identifier"),
    [
        ("ISO14443", "04A1B2C3"),
        ("ISO14443", "04a1b2c3d4e5f6"),
        ("ISO14443", "04A1B2C3D4E5F6A7B8C9"),
        ("ISO15693", "E00401000000ABCD"),
        ("MacAddress", "0123456789AB"),
        ("eMAID", "DEV2GC00000001"),
        ("Local", "any text"),
    ],
)
def test_an_identifier_has_the_form_of_its_type(kind: TokenKind, identifier: str) -> None:
    check_form(kind, identifier)
    if kind != "Local":
        for wrong in ("", identifier[:-1], f"{identifier}{identifier[:2]}", f"{identifier[:-1]}-", f"{identifier}\n"):
            with pytest.raises(ConfigError):
                check_form(kind, wrong)


def test_a_type_of_tokens_in_another_case_is_refused_as_no_station_names_it() -> None:
    with pytest.raises(ConfigError) as refused:
        check_form("iso14443", "04A1B2C3")
    assert refused.value.hint == "did you mean 'ISO14443'?"
    check_form("Depot", "a type of one's own (OCPP 2.1)")


def test_an_emaid_is_found_however_it_is_written() -> None:
    for written in ("DEV2GC00000001", "de-v2g-c00000001", " DE-V2G-C00000001-X ", "DEV2GC00000001X"):
        assert normalise("eMAID", written) == "DEV2GC00000001"
    assert normalise("eMAID", "DEV2GC00000001XY") == "DEV2GC00000001XY", "no check digit"
    assert normalise("KeyCode", " a-b ") == "A-B"


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ((), Used()),
        ((Used(1_000, 4, "EUR"), Used(2_000, 3, "EUR")), Used(3_000, 7)),
        ((Used(1_000, 4, "EUR"), Used(2_000, 100, "CZK"), Used(1, 5, "EUR")), Used(3_001, 100)),
        ((Used(1_000, 4, "EUR"), Used(2_000, 3, ""), Used(3_000, 1, "CZK")), Used(6_000, 7)),
        ((Used(2_000, 3, ""),), Used(2_000, 3)),
    ],
)
def test_costs_in_several_currencies_are_not_added_up(uses: Sequence[Used], expected: Used) -> None:
    """100 CZK are not 100 EUR of an allowance; what is in an unknown currency may be in any."""
    assert used_together(uses) == expected
