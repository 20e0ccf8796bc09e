"""A charger of ISO 15118-2 and DIN 70121 before an independent judge (`older_rule`): every state with every request,
fact and timer, and random walks. `make long` tries all of them, `make test` a part that is always the same.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from pki_tools.tree import PkiTree
from secc.hardware import ac, dc
from secc.hardware.config import Kind
from secc.session.d2 import ac as d2_ac
from secc.session.d2 import charging
from secc.session.stages import Charging
from secc.session.v2g_message import delivery
from secc.session.v2g_message.request_context import RequestContext
from secc.session.v2g_message.request_context import Step as Answered
from secc.session.v2g_message.session import V2gMessageSession
from tests.safety.judged.older_play import DONE, ERRORS, PLAYS, SAYS, WAYS, EditionWord, command, play, wander
from tests.safety.judged.steps import Step, judged
from tests.together import together
from v2g.iso15118.engine.dc_status import Phase

pytestmark = pytest.mark.requirement("R15")

TIMERS_S = 200.0
"""Longer than every timer of a session."""

WALK_STEPS = 100
PART = 40
SHORT = 8
"""Of every 40th combination, this share is tried with every change of the program."""

Combination = tuple[EditionWord, Kind, Sequence[Step]]


def combinations(pki: PkiTree) -> list[Combination]:
    """Return every state with everything that can be sent and reported there, what follows by the book, and silence."""
    found: list[Combination] = []
    for word, kind in WAYS:
        for state in PLAYS[word].bench(pki, kind).ways:
            there: Step = ("to", state.value)
            found.append((word, kind, (there, ("wait", TIMERS_S))))
            for step in (*SAYS[word], *DONE):
                after: tuple[Step, ...] = (("onward",), ("loop", 1.5), ("wait", 8.0 if kind == "ac" else 3.0))
                found.append((word, kind, (there, step, *after)))
    random.Random(13).shuffle(found)
    return found


def tried(pki: PkiTree, folder: Path, word: EditionWord, kind: Kind, steps: Sequence[Step]) -> None:
    """Play steps to a charger that is to do nothing wrong."""
    judged(lambda some: play(pki, folder, word, kind, some), steps, lambda few: command(word, kind, few))


@pytest.mark.long
def test_some_states_with_some_of_what_can_happen(pki: PkiTree, tmp_path: Path) -> None:
    for word, kind, steps in combinations(pki)[:: PART * SHORT]:
        tried(pki, tmp_path, word, kind, steps)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PART))
def test_every_state_with_everything_that_can_happen(pki: PkiTree, tmp_path: Path, part: int) -> None:
    for word, kind, steps in combinations(pki)[part::PART]:
        tried(pki, tmp_path, word, kind, steps)


@pytest.mark.some(1)
@pytest.mark.parametrize(("word", "kind"), WAYS)
def test_no_walk_breaks_the_rule(pki: PkiTree, tmp_path: Path, word: EditionWord, kind: Kind) -> None:
    tried(pki, tmp_path, word, kind, wander(word, kind, 0, WALK_STEPS))


@pytest.mark.long
@pytest.mark.parametrize("part", range(50))
@pytest.mark.parametrize(("word", "kind"), WAYS)
def test_no_walk_of_a_million_steps_breaks_the_rule(
    pki: PkiTree, tmp_path: Path, word: EditionWord, kind: Kind, part: int
) -> None:
    for seed in range(1000 + part * 60, 1060 + part * 60):
        tried(pki, tmp_path, word, kind, wander(word, kind, seed, WALK_STEPS))


# -- the judge, and the monitor ---------------------------------------------------------------------------------------


def keeps_power(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(delivery, "stop", lambda stage, context, error, respond: Answered(respond(), stage))


def forgets_limits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(V2gMessageSession, "_take_demand", lambda self, fact: None)


def ignores_errors(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(delivery, "NO_ERROR", ERRORS[0])


def drives_what_it_can(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(delivery, "milliamperes", lambda number: 60_000)


def flow_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dc.DcEvse, "_watch_current", lambda self: None)
    patch.setattr(ac.AcEvse, "_watch_output", lambda self: None)
    patch.setattr(d2_ac, "overdraw", lambda stage, context: (stage, 0, ""))


def goes_on_while_it_negotiates(patch: pytest.MonkeyPatch) -> None:
    def goes_on(stage: Charging, context: RequestContext) -> Answered:
        return Answered(delivery.power_response(Phase.ENERGY, context), stage)

    patch.setattr(charging, "_renegotiate", goes_on)


Harm = tuple[Callable[[pytest.MonkeyPatch], None], tuple[tuple[EditionWord, Kind], ...], Sequence[Step], str]
_DC: Final[tuple[tuple[EditionWord, Kind], ...]] = (("2", "dc"), ("din", "dc"))
HARMS: Final[dict[str, Harm]] = {
    "power stays on": (keeps_power, _DC, (("say", "PowerDeliveryReq", "Stop"), ("wait", 1.5)), "0 allowed"),
    "a limit is not obeyed": (forgets_limits, WAYS, (("limit", "operator", 0, 0), ("loop", 7.0)), "0 allowed"),
    "an error does not count": (ignores_errors, _DC, (("errs", ERRORS[0]), ("loop", 2.0)), "0 allowed"),
    "more than the vehicle asks for": (drives_what_it_can, _DC, (("loop", 2.0),), "8000 allowed"),
    "power back in turns": (flow_is_not_compared, WAYS, (("in_turns", -60_000, 0.5, 0.5, 9),), "back in turns"),
    "power while parameters are exchanged": (
        goes_on_while_it_negotiates,
        (("2", "dc"),),
        (("say", "PowerDeliveryReq", "Renegotiate"), ("wait", 1.5)),
        "0 allowed",
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
    pki: PkiTree, tmp_path: Path, harm: str, word: EditionWord, kind: Kind, guarded: bool
) -> None:
    undo, _, steps, reason = HARMS[harm]
    with pytest.MonkeyPatch.context() as patch:
        undo(patch)
        wrong = play(pki, tmp_path, word, kind, (("charge",), ("loop", 1.0), *steps), guarded=guarded)
    assert bool(wrong) is not guarded, wrong
    assert guarded or any(reason in each for each in wrong), wrong
