"""Validation by toggles of the pilot: who asks whom, what counts, and what happens when a charger cannot."""

import itertools

import pytest

from tests.slac.benches import EVSE, STRANGER, EvBench, EvseBench
from tests.slac.conftest import Line
from v2g.iec61851.pilot import PilotState
from v2g.slac import mme
from v2g.slac.ev import EvSlacConfig, EvState
from v2g.slac.evse import EvseSlacConfig
from v2g.slac.layout import Mme
from v2g.slac.modem import AttenuationConfig
from v2g.slac.shared import MAX_VALIDATION_S, STANDARD, Matched, TogglePilot

OTHER = bytes.fromhex("020000000102")


def _asking(config: EvSlacConfig | None = None, *, other_db: int | None = None) -> EvBench:
    """Return a vehicle that has just asked the nearer charger (30 dB) to validate."""
    bench = EvBench(config)
    bench.parameters()
    bench.wait(0.5)
    bench.result(db=30)
    if other_db is not None:
        bench.result(OTHER, db=other_db)
    assert bench.wait(0.8)[0] == mme.CmValidateReq()
    return bench


def _answer(bench: EvBench, result: int, *, toggles: int = 0, source: bytes = EVSE) -> list[Mme]:
    return bench.tell(mme.CmValidateCnf(result=result, toggle_num=toggles), source=source)


def _toggled(bench: EvBench) -> TogglePilot:
    return next(other for other in reversed(bench.others) if isinstance(other, TogglePilot))


def test_the_right_count_is_the_charger() -> None:
    bench = _asking()
    (request,) = _answer(bench, mme.VALIDATE_READY)
    toggle = _toggled(bench)
    window_s = (request.timer + 1) / 10
    assert 3 * toggle.count * toggle.state_s <= window_s + 1e-9 <= MAX_VALIDATION_S
    assert 0.2 <= toggle.state_s <= 0.4
    (match,) = _answer(bench, mme.VALIDATE_SUCCESS, toggles=toggle.count)
    assert isinstance(match, mme.CmSlacMatchReq)


def test_numbers_of_toggles_vary_and_always_fit_the_longest_window() -> None:
    seen = set()
    for seed in range(60):
        bench = EvBench(draws=itertools.count(seed))
        bench.parameters()
        bench.wait(0.5)
        bench.result(db=30)
        bench.wait(0.8)
        (request,) = _answer(bench, mme.VALIDATE_READY)
        toggle = _toggled(bench)
        seen.add(toggle.count)
        assert 3 * toggle.count * toggle.state_s <= (request.timer + 1) / 10 + 1e-9
        assert (request.timer + 1) / 10 <= MAX_VALIDATION_S
    assert seen == {1, 2, 3}


def test_a_wrong_count_drops_the_charger_and_the_next_is_asked() -> None:
    bench = _asking(other_db=35)
    _answer(bench, mme.VALIDATE_READY)
    assert _answer(bench, mme.VALIDATE_SUCCESS, toggles=_toggled(bench).count + 1) == [mme.CmValidateReq()]
    assert _answer(bench, mme.VALIDATE_READY, source=EVSE) == [], "it is not asked any more"
    _answer(bench, mme.VALIDATE_READY, source=OTHER)
    (match,) = _answer(bench, mme.VALIDATE_SUCCESS, toggles=_toggled(bench).count, source=OTHER)
    assert isinstance(match, mme.CmSlacMatchReq)
    assert match.evse_mac == OTHER


@pytest.mark.parametrize("result", [mme.VALIDATE_FAILURE, mme.VALIDATE_NOT_REQUIRED])
@pytest.mark.parametrize(("validation", "taken"), [("optional", True), ("required", False)])
def test_a_charger_that_cannot_validate_is_taken_only_if_that_may_be(result, validation, taken) -> None:
    bench = _asking(EvSlacConfig(validation=validation))
    messages = _answer(bench, result)
    assert [type(m) for m in messages] == [mme.CmSlacMatchReq] * taken
    assert bench.core.state is (EvState.CHOOSING if taken else EvState.PAUSING)


def test_silence_is_asked_three_times_then_passed_over() -> None:
    bench = _asking(EvSlacConfig(validation="required"))
    assert bench.wait(3 * STANDARD.match_response_s) == [mme.CmValidateReq()] * STANDARD.match_retries
    assert bench.others[-1].data["reason"] == "not_validated"


def test_not_ready_is_asked_again_after_half_a_second_but_not_for_ever() -> None:
    bench = _asking()
    for _ in range(STANDARD.not_ready_retries):
        assert _answer(bench, mme.VALIDATE_NOT_READY) == []
        assert bench.wait(STANDARD.not_ready_pause_s) == [mme.CmValidateReq()]
    (match,) = _answer(bench, mme.VALIDATE_NOT_READY)
    assert isinstance(match, mme.CmSlacMatchReq), "optional: the nearest that could not be asked"


def test_a_count_that_never_comes_is_no_ground_to_believe() -> None:
    bench = _asking()
    (announced,) = _answer(bench, mme.VALIDATE_READY)
    messages = bench.wait(MAX_VALIDATION_S + 2)
    assert messages[:2] == [announced] * STANDARD.match_retries
    assert bench.core.state is not EvState.CHOOSING
    assert not [m for m in messages if isinstance(m, mme.CmSlacMatchReq)]


def test_step_2_that_was_lost_is_said_again() -> None:
    bench = _asking()
    (announced,) = _answer(bench, mme.VALIDATE_READY)
    assert _answer(bench, mme.VALIDATE_READY) == [announced]
    assert len([o for o in bench.others if isinstance(o, TogglePilot)]) == 1, "and not toggled again"


def test_answers_of_others_and_other_signals_do_not_count() -> None:
    bench = _asking()
    assert _answer(bench, mme.VALIDATE_READY, source=STRANGER) == []
    assert bench.tell(mme.CmValidateCnf(signal_type=1, result=mme.VALIDATE_READY)) == []
    assert _answer(bench, 9) == []
    assert bench.core.state is EvState.VALIDATING


def test_other_vehicles_in_hearing_make_it_count_more_often() -> None:
    bench = EvBench()
    bench.tell(mme.CmSlacParmReq(run_id=b"stranger"), source=STRANGER, destination=mme.BROADCAST)
    bench.parameters()
    bench.wait(0.5)
    bench.result(db=30)
    bench.wait(0.8)
    for _ in range(STANDARD.validation_rounds - 1):
        _answer(bench, mme.VALIDATE_READY)
        assert _answer(bench, mme.VALIDATE_SUCCESS, toggles=_toggled(bench).count) == [mme.CmValidateReq()]
    _answer(bench, mme.VALIDATE_READY)
    (match,) = _answer(bench, mme.VALIDATE_SUCCESS, toggles=_toggled(bench).count)
    assert isinstance(match, mme.CmSlacMatchReq)


def test_without_validation_the_nearest_is_taken() -> None:
    bench = EvBench(EvSlacConfig(validation="off"))
    bench.parameters()
    bench.wait(0.5)
    bench.result(db=30)
    bench.result(OTHER, db=29)
    messages = bench.wait(0.8)
    assert isinstance(messages[0], mme.CmSlacMatchReq)
    assert messages[0].evse_mac == OTHER


def test_leaving_ends_a_validation() -> None:
    bench = _asking()
    bench.core.leave(bench.now)
    assert _answer(bench, mme.VALIDATE_READY) == []
    assert bench.core.deadline() is None


# -- charger ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "result"), [("not_required", mme.VALIDATE_NOT_REQUIRED), ("failure", mme.VALIDATE_FAILURE)]
)
def test_a_charger_without_a_pilot_to_watch_says_so(policy, result) -> None:
    bench = EvseBench(EvseSlacConfig(validation=policy))
    bench.characterize()
    assert bench.tell(mme.CmValidateReq()) == [mme.CmValidateCnf(result=result)]
    assert bench.match(), "the vehicle may choose it all the same"


def test_a_pilot_that_is_toggled_already_is_not_ready() -> None:
    bench = EvseBench()
    bench.characterize()
    bench.toggle(1)
    assert bench.tell(mme.CmValidateReq()) == [mme.CmValidateCnf(result=mme.VALIDATE_NOT_READY)]
    bench.now += 0.6
    assert bench.tell(mme.CmValidateReq()) == [mme.CmValidateCnf(result=mme.VALIDATE_READY)]


def test_a_vehicle_that_asks_again_too_soon_after_a_count_may_wait() -> None:
    """Among other vehicles it asks several times, and pauses 0.5 s for a charger that is not ready."""
    bench = EvseBench()
    bench.characterize()
    bench.tell(mme.CmValidateReq())
    bench.tell(mme.CmValidateReq(timer=8))
    bench.wait(0.1)
    bench.toggle(1)
    assert bench.wait(0.4) == [mme.CmValidateCnf(toggle_num=1, result=mme.VALIDATE_SUCCESS)]
    assert bench.tell(mme.CmValidateReq()) == [mme.CmValidateCnf(result=mme.VALIDATE_NOT_READY)]
    bench.wait(STANDARD.not_ready_pause_s)
    assert bench.tell(mme.CmValidateReq()) == [mme.CmValidateCnf(result=mme.VALIDATE_READY)]


def test_a_pilot_that_is_still_toggled_at_the_end_is_another_vehicle_s() -> None:
    bench = EvseBench()
    bench.characterize()
    bench.tell(mme.CmValidateReq())
    bench.tell(mme.CmValidateReq(timer=8))
    bench.toggle(1)
    bench.now += 0.3
    bench.core.pilot(PilotState.C, bench.now)
    (answer,) = bench.wait(0.5)
    assert answer == mme.CmValidateCnf(result=mme.VALIDATE_FAILURE, toggle_num=1)


def test_a_result_that_was_lost_is_reported_again() -> None:
    bench = EvseBench()
    bench.characterize()
    bench.tell(mme.CmValidateReq())
    bench.tell(mme.CmValidateReq(timer=8))
    bench.toggle(1)
    (answer,) = bench.wait(0.6)
    assert answer == mme.CmValidateCnf(result=mme.VALIDATE_SUCCESS, toggle_num=1)
    assert bench.tell(mme.CmValidateReq(timer=8)) == [answer]
    assert bench.match()


def test_toggles_before_step_2_arrives_count() -> None:
    """The pilot wire is faster than the powerline."""
    bench = EvseBench()
    bench.characterize()
    bench.tell(mme.CmValidateReq())
    bench.toggle(1)
    bench.tell(mme.CmValidateReq(timer=8))
    (answer,) = bench.wait(1.2)
    assert answer == mme.CmValidateCnf(result=mme.VALIDATE_SUCCESS, toggle_num=1)


def test_no_window_is_longer_than_the_standard_s() -> None:
    bench = EvseBench()
    bench.characterize()
    bench.tell(mme.CmValidateReq())
    bench.tell(mme.CmValidateReq(timer=255))
    assert len(bench.wait(MAX_VALIDATION_S + STANDARD.validation_extra_s)) == 1


# -- several of each ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_everybody_finds_the_own_charger_where_attenuation_does_not_tell(line: Line, count: int) -> None:
    """All receive all the same way: only the pilot decides."""
    vehicles = [line.ev(number, EvSlacConfig(validation="required"))[0] for number in range(count)]
    chargers = [line.evse(number, measures=AttenuationConfig(low_db=15, high_db=15))[0] for number in range(count)]
    for number, (ev, evse) in enumerate(zip(vehicles, chargers, strict=True)):
        line.after(6.0 * number, lambda ev=ev, evse=evse: line.plug(ev, evse))
    line.run(60.0)
    for ev, evse in zip(vehicles, chargers, strict=True):
        (matched,) = ev.of(Matched)
        assert isinstance(matched, Matched)
        assert matched.evse_mac == evse.core.mac
        assert evse.of(Matched) == [matched]


def test_the_nearest_that_is_not_ours_is_found_out(line: Line) -> None:
    wrong, _ = line.evse(1, measures=AttenuationConfig(low_db=14, high_db=14))
    right, _ = line.evse(2, measures=AttenuationConfig(low_db=16, high_db=16))
    vehicle, _ = line.ev()
    line.plug(vehicle, right)
    wrong.core.pilot(PilotState.B, 0.0)
    wrong.core.connect(0.0)
    line.run(20.0)
    (matched,) = vehicle.of(Matched)
    assert isinstance(matched, Matched)
    assert matched.evse_mac == right.core.mac
    assert wrong.of(Matched) == []
