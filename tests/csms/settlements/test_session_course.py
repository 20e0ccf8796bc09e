"""What happened in a session, by its journal: steps without readings and repetitions, and prices of its time."""

from csms.console.present import STEPS
from csms.settlements import rules as session_course
from csms.settlements.rules import course_of, decision_of
from tests.csms.settlement.course import HOUR_MS, running
from tests.csms.settlement.journals import SESSION, T0, journal
from v2g.energy.settlement.journal import verify_lines


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


def test_every_step_has_a_name_on_pages() -> None:
    assert set(STEPS) == {kind.__struct_config__.tag for kind in session_course.SHOWN}
