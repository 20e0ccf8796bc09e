"""What happened in a session, by its journal: steps without readings and repetitions, and prices of its time."""

from csms.console.present import STEPS
from csms.settlements import rules as session_course
from csms.settlements.rules import course_of, decision_of
from tests.csms.settlement.course import HOUR_MS, commanded, running
from tests.csms.settlement.journals import SESSION, T0, journal, started
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import CommandRejected, TariffSet
from v2g.energy.settlement.session_journal import SessionJournal

MIN = 60_000


def test_steps_are_told_in_order_and_a_repeated_command_once() -> None:
    found = course_of({SESSION: running(T0, ended=True)}, T0 + HOUR_MS)
    assert [(each.kind, (each.at_ms - T0) // 60_000) for each in found.moments] == [
        ("session_started", 0),
        ("limit_changed", 2),
        ("terms_offered", 3),
        ("terms_decided", 4),
        ("terms_decided", 5),
        ("command_rejected", 6),
        ("command_accepted", 7),
        ("limit_changed", 10),
        ("command_accepted", 11),
        ("grid_support", 12),
        ("session_ended", 15),
    ]
    limits = [each.facts for each in found.moments if each.kind == "limit_changed"]
    assert [(each["max_discharge_w"], each["source"]) for each in limits] == [(6_000, "site"), (9_000, "operator")]
    assert found.moments[-2].facts == {"functions": "over_frequency_watt volt_var"}


def test_prices_are_those_from_the_tariff_on_until_a_time() -> None:
    for until_ms, prices in ((T0 + HOUR_MS - 1, [300_000]), (T0 + HOUR_MS, [300_000, 350_000])):
        found = course_of({SESSION: running(T0)}, until_ms).prices
        assert [each.import_price for each in found] == prices
        assert found[0].at_ms == T0 + 60_000, "when the charger got the tariff"


def test_a_new_tariff_replaces_what_was_to_come() -> None:
    ledger = SessionJournal()
    lines = ledger.record(started(), T0)
    for minute, prices in ((10, (1, 2, 3)), (75, (4, 5)), (120, (6,)), (120, (7,))):
        slots = tuple(
            PriceSlot(start_ms=T0 + hour * HOUR_MS, duration_ms=HOUR_MS, import_price=price, export_compensation=-price)
            for hour, price in enumerate(prices, start=minute // 60)
        )
        lines += ledger.record(TariffSet(tariff=Tariff(currency="EUR", slots=slots, version=minute)), T0 + minute * MIN)
    found = course_of({SESSION: lines}, T0 + 9 * HOUR_MS).prices
    assert [(each.at_ms - T0, each.import_price, each.export_price) for each in found] == [
        (10 * MIN, 1, -1),
        (60 * MIN, 2, -2),
        (75 * MIN, 4, -4),
        (120 * MIN, 7, -7),
    ]
    assert {each.currency for each in found} == {"EUR"}


def test_a_slot_that_has_ended_says_no_price() -> None:
    ledger = SessionJournal()
    slots = tuple(
        PriceSlot(start_ms=T0 + at, duration_ms=MIN, import_price=at, export_compensation=0) for at in (0, MIN, 2 * MIN)
    )
    lines = ledger.record(started(), T0)
    lines += ledger.record(TariffSet(tariff=Tariff(currency="EUR", slots=slots, version=1)), T0 + MIN)
    found = course_of({SESSION: lines}, T0 + HOUR_MS).prices
    assert [each.import_price for each in found] == [MIN, 2 * MIN]


def test_each_session_begins_at_no_permitted_power() -> None:
    for watts, shown in (((0, 1, 1, 2, 0, 0), [1, 2, 0]), ((1,), [1])):
        ledgers = {"aa01": SessionJournal(), "aa02": SessionJournal()}
        journals = {session: ledger.record(started(session=session), T0) for session, ledger in ledgers.items()}
        for session, ledger in ledgers.items():
            for number, each in enumerate(watts):
                journals[session] += ledger.record(commanded(each, number), T0 + number)
        found = [each for each in course_of(journals, T0).moments if each.kind == "command_accepted"]
        for session in ledgers:
            assert [each.facts["effective_w"] for each in found if each.session_id == session] == shown


def test_what_is_shown_of_a_record_is_a_field_of_it() -> None:
    for kind, names in session_course.SHOWN.items():
        assert set(names) <= set(kind.__struct_fields__)


def test_no_step_names_a_person() -> None:
    (authorized,) = (each for each in course_of({SESSION: journal()}, T0).moments if each.kind == "contract_authorized")
    assert authorized.facts == {"authorized_by": "csms"}


def test_two_sessions_of_a_transaction_follow_each_other() -> None:
    later = "0807060504030201"
    found = course_of({later: running(T0 + HOUR_MS, later), SESSION: running(T0, ended=True)}, T0 + 2 * HOUR_MS)
    sessions = [each.session_id for each in found.moments]
    assert sessions == sorted(sessions, key=[SESSION, later].index)


def test_decisions_are_those_about_offers_and_refused_commands() -> None:
    decided = [found for entry in verify_lines(b"".join(running(T0, ended=True))) if (found := decision_of(entry))]
    assert [(each.kind, each.accepted, each.reason) for each in decided] == [
        ("terms", False, "state_of_charge_too_low"),
        ("terms", True, "accepted"),
        ("command", False, "expired"),
    ]
    assert [(each.detail, (each.at_ms - T0) // MIN) for each in decided] == [("", 4), ("", 5), ("too <late>", 6)]


def test_of_a_long_reason_the_beginning_is_kept() -> None:
    ledger = SessionJournal()
    ledger.record(started(), T0)
    refused = CommandRejected(
        reason="expired", detail="12345" * 61, sequence=1, size=0, sha256="", payload=b"", result=None
    )
    (entry,) = session_course.entries_of(SESSION, ledger.record(refused, T0), CommandRejected)
    decided = decision_of(entry)
    assert decided is not None
    assert decided.detail == "12345" * 60


def test_every_step_has_a_name_on_pages() -> None:
    assert set(STEPS) == {kind.__struct_config__.tag for kind in session_course.SHOWN}
