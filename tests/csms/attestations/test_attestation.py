"""When a station is asked for evidence, and what its state becomes (R148). What evidence proves is in `csms/ocpp`."""

import pytest

from csms.attestations.rules import Attested, Rhythm, answered, asked, judge, next_step, silent

pytestmark = pytest.mark.requirement("R148")

NEW = Attested(station_id="CS-1", tpm_key="")
OFTEN = Rhythm(every_ms=10_000, answer_ms=60_000)
T = 1_000_000


def test_a_new_station_has_proved_nothing_and_is_asked_at_once() -> None:
    assert (NEW.state, NEW.nonce, NEW.asked_ms, NEW.verified_ms, NEW.changed_ms) == ("Pending", "", 0, 0, 0)
    assert next_step(NEW, OFTEN, T, connected=True) == "ask"
    assert next_step(NEW, OFTEN, T, connected=False) == "wait"


def test_a_station_is_asked_once_at_a_time() -> None:
    pending = asked(answered(NEW, (), T), "ab", T)
    assert next_step(pending, OFTEN, T + 59_999, connected=True) == "wait", "it would be due since it is whole"
    assert next_step(pending, OFTEN, T + 60_000, connected=True) == "silence"


def test_a_station_that_is_not_whole_is_asked_again_after_the_time_to_answer() -> None:
    failed = answered(asked(NEW, "ab", T), ("changed",), T + 1)
    assert next_step(failed, OFTEN, T + 59_999, connected=True) == "wait"
    assert next_step(failed, OFTEN, T + 60_000, connected=True) == "ask"


def test_what_is_known_against_a_station_stays_known_while_it_is_silent() -> None:
    failed = answered(asked(NEW, "ab", T), ("changed: /a",), T + 1)
    later = silent(asked(failed, "cd", T + 60_000), OFTEN, T + 120_000)
    assert (later.state, later.reasons, later.nonce, later.changed_ms) == ("Failed", ("changed: /a",), "", T + 1)


def test_a_state_is_since_it_began() -> None:
    one = answered(asked(NEW, "ab", T), ("x",), T + 1)
    assert one.changed_ms == T + 1
    again = answered(asked(one, "cd", T + 2), ("y",), T + 3)
    assert (again.changed_ms, again.reasons) == (T + 1, ("y",))
    whole = answered(asked(again, "ef", T + 4), (), T + 5)
    assert (whole.state, whole.changed_ms, whole.verified_ms, whole.reasons) == ("Whole", T + 5, T + 5, ())


def test_reasons_are_bounded() -> None:
    (short,) = judge({"error": "x" * 1000}, NEW, {})
    assert len(short) == 300
