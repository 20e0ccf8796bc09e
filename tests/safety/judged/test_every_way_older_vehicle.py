"""A vehicle of ISO 15118-2 and DIN 70121 before an independent judge (`older_vehicle_rule`): every state with every
answer, right and wrong, every fact and every silence, and random walks. `make long` tries all of them, `make test` a
part that is always the same.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

import pytest

from evcc.session import watch
from evcc.session.d2 import loop as loop_2
from evcc.session.v2g_message import loop
from evcc.session.v2g_message.session import MessageVehicle
from tests.safety.judged.older_play import WAYS, EditionWord
from tests.safety.judged.older_vehicle_play import DONE, FOR_EVER, STATES, WRONGS, command, play, wander
from tests.safety.judged.steps import Step, judged
from tests.safety.vehicle_places import Kind
from tests.together import together

pytestmark = pytest.mark.requirement("R15")

TIMERS_S = 200.0
"""Longer than every timer of a session."""
AFTER_S, LATER_S = 8.0, 21.0
"""Until all has come of what was done; of a stop that nobody follows, the contactor after 15 s."""
WALK_STEPS = 100
PART = 40
SHORT = 8

Combination = tuple[EditionWord, Kind, Sequence[Step]]


def combinations() -> list[Combination]:
    """Return every state with everything that can be answered and done there, and silence."""
    found: list[Combination] = []
    for word, kind in WAYS:
        for state in STATES[word, kind]:
            there: Step = ("to", state)
            short, long = ("wait", AFTER_S), ("wait", LATER_S)
            ways: list[Sequence[Step]] = [(("answer", state, "none"), there, ("wait", TIMERS_S))]
            ways += [(("answer", state, how), there, long if "St" in how else short) for how in WRONGS]
            ways += [(("answer", state, how, -1), there, long) for how in FOR_EVER]
            ways += [(there, step, long if step[0] in ("driver", "notice", "fault") else short) for step in DONE]
            found += [(word, kind, steps) for steps in ways]
    random.Random(13).shuffle(found)
    return found


COMBINATIONS = combinations()


def tried(word: EditionWord, kind: Kind, steps: Sequence[Step]) -> None:
    """Play steps to a vehicle that is to do nothing wrong."""
    judged(lambda some: play(word, kind, some), steps, lambda few: command(word, kind, few))


def test_some_states_with_some_of_what_can_happen() -> None:
    for word, kind, steps in COMBINATIONS[:: PART * SHORT]:
        tried(word, kind, steps)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PART))
def test_every_state_with_everything_that_can_happen(part: int) -> None:
    for word, kind, steps in COMBINATIONS[part::PART]:
        tried(word, kind, steps)


@pytest.mark.some(1)
@pytest.mark.parametrize(("word", "kind"), WAYS)
def test_no_walk_breaks_the_rule(word: EditionWord, kind: Kind) -> None:
    tried(word, kind, wander(word, kind, 0, WALK_STEPS))


@pytest.mark.long
@pytest.mark.parametrize("part", range(50))
@pytest.mark.parametrize(("word", "kind"), WAYS)
def test_no_walk_of_a_million_steps_breaks_the_rule(word: EditionWord, kind: Kind, part: int) -> None:
    for seed in range(1000 + part * 60, 1060 + part * 60):
        tried(word, kind, wander(word, kind, seed, WALK_STEPS))


@together(
    ("word", "kind", "state"), [(word, kind, state) for word, kind in WAYS for state in STATES[word, kind]], ids=str
)
def test_every_state_is_one_that_the_vehicle_comes_to(word: EditionWord, kind: Kind, state: str) -> None:
    """What is tried there would else be tried nowhere: an answer that is out of order ends the session there."""
    reached: list[str] = []
    assert play(word, kind, (("to", state),), reached=reached.append) == []
    assert reached == [state]


# -- the judge, and the monitor ---------------------------------------------------------------------------------------


def waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    known = MessageVehicle._arm
    patch.setattr(
        MessageVehicle, "_arm", lambda self, name, seconds: None if name == "message" else known(self, name, seconds)
    )


def is_deaf_to_the_end(patch: pytest.MonkeyPatch) -> None:
    for module in (loop, loop_2):
        patch.setattr(module, "wanted_end", lambda status: None)


def looks_at_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(watch.Watch, "look", lambda self, now, **_: "")


def draws_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loop, "followed", lambda plan, response, context: plan)


Harm = tuple[Callable[[pytest.MonkeyPatch], None], tuple[tuple[EditionWord, Kind], ...], Sequence[Step], str]
_DC: Final[tuple[tuple[EditionWord, Kind], ...]] = (("2", "dc"), ("din", "dc"))
_AC: Final[tuple[tuple[EditionWord, Kind], ...]] = (("2", "ac"),)
HARMS: Final[dict[str, Harm]] = {
    "silence": (waits_for_ever, _DC, (("answer", "CurrentDemandReq", "none"), ("wait", 8.0)), "silence"),
    "silence of mains": (waits_for_ever, _AC, (("answer", "ChargingStatusReq", "none"), ("wait", 5.0)), "silence"),
    "the end": (is_deaf_to_the_end, WAYS, (("notice", "StopCharging"), ("wait", 20.0)), "somebody wants the end"),
    "current": (looks_at_nothing, _DC, (("force", 0, 110), ("wait", 4.0)), "mA, it bears"),
    "a silent battery": (looks_at_nothing, WAYS, (("fault", "battery_silent"), ("wait", 3.0)), "battery is silent"),
    "the charger's limit": (
        draws_on,
        _AC,
        (("answer", "ChargingStatusReq", "less", -1), ("wait", 14.0)),
        "the charger's target is 1104",
    ),
}


@pytest.mark.long
@together(
    ("harm", "word", "kind", "guarded"),
    [
        (name, word, kind, guarded)
        for name, harm in HARMS.items()
        for word, kind in harm[1]
        for guarded in (True, False)
    ],
)
def test_the_judge_sees_what_the_monitor_would_have_caught(
    harm: str, word: EditionWord, kind: Kind, guarded: bool
) -> None:
    undo, _, steps, word_of_it = HARMS[harm]
    with pytest.MonkeyPatch.context() as patch:
        undo(patch)
        wrong = play(word, kind, (("charge",), ("wait", 0.3), *steps), guarded=guarded)
    assert bool(wrong) is not guarded, wrong
    assert guarded or any(word_of_it in each for each in wrong), wrong
