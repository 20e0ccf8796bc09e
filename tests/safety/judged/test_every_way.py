"""A charger before an independent judge (`rule`): every state with every request, fact and timer, and
random walks. `make long` tries all of them, `make test` a part that is always the same.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from docs.hazards import ROOT
from pki_tools.tree import PkiTree
from secc.hardware import ac, dc
from secc.hardware.config import Kind
from secc.session import power
from secc.session.d20 import delivery, session
from tests.safety.judged.play import ALL_WAYS, KINDS, SAID, TOLD, command, play, wander
from tests.safety.judged.steps import PART as EIGHTH
from tests.safety.judged.steps import Step, judged, smaller
from v2g.safety import excess, flow

TIMERS_S = 200.0
"""Longer than every timer of a session."""

WALK_STEPS = 100
PART = 40
"""Every 40th combination is tried with every change of the program."""

Combination = tuple[Kind, bool, Sequence[Step]]


def combinations() -> list[Combination]:
    """Return every state with everything that can be sent and reported there, what follows by the book, and silence."""
    found: list[Combination] = []
    for kind, scheduled in itertools.product(KINDS, (False, True)):
        for state in ALL_WAYS[kind]:
            there: Step = ("to", state.value)
            found.append((kind, scheduled, (there, ("wait", TIMERS_S))))
            for step in (*SAID, *TOLD):
                after: tuple[Step, ...] = (("onward",), ("loop", 1.5), ("wait", 8.0 if kind == "ac" else 3.0))
                found.append((kind, scheduled, (there, step, *after)))
    random.Random(13).shuffle(found)
    return found


COMBINATIONS = combinations()
WALKS = [(kind, scheduled) for kind in KINDS for scheduled in (False, True)]


def tried(pki: PkiTree, folder: Path, kind: Kind, steps: Sequence[Step], scheduled: bool) -> None:
    """Play steps to a charger that is to do nothing wrong."""
    judged(
        lambda some: play(pki, folder, kind, some, scheduled=scheduled),
        steps,
        lambda few: command(kind, few, scheduled=scheduled),
    )


@pytest.mark.some(1)
@pytest.mark.parametrize("part", range(3))
def test_some_states_with_some_of_what_can_happen(pki: PkiTree, tmp_path: Path, part: int) -> None:
    for kind, scheduled, steps in COMBINATIONS[part :: PART * 48]:
        tried(pki, tmp_path, kind, steps, scheduled)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PART))
def test_every_state_with_everything_that_can_happen(pki: PkiTree, tmp_path: Path, part: int) -> None:
    for kind, scheduled, steps in COMBINATIONS[part::PART]:
        tried(pki, tmp_path, kind, steps, scheduled)


def keeps_power(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(delivery, "_off", lambda context: ())


def forgets_limits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session.SeccSession, "_take_demand", lambda self, fact: None)


def flow_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dc.DcEvse, "_watch_current", lambda self: None)


def needs_no_signature(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        power,
        "permitted",
        lambda _selected, vehicle, context: replace(context.station, discharge_w=vehicle.max_discharge_w),
    )


HARMS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Sequence[Step], str]] = {
    "power stays on": (keeps_power, (("say", "SessionStopReq", "ServiceRenegotiation"), ("wait", 2.0)), "allowed"),
    "a limit is not obeyed": (forgets_limits, (("limit", "operator", 0, 0), ("loop", 2.0)), "20000 W into it"),
    "a stage strays in turns": (flow_is_not_compared, (("in_turns", -60_000, 0.5, 0.5, 9),), "back in turns"),
    "a stage stays where it is while its limit goes up and down": (
        flow_is_not_compared,
        (("swing", 0, 0.1, 0.6, 30, 20_000),),
        "charged: ",
    ),
    "discharge is not signed": (needs_no_signature, (("setpoint", -9_000), ("loop", 2.0)), "W back, 0 allowed"),
}


@pytest.mark.some(2)
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("guarded", [True, False])
def test_the_judge_sees_what_the_monitor_would_have_caught(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str, guarded: bool
) -> None:
    undo, steps, word = HARMS[harm]
    undo(monkeypatch)
    wrong = play(pki, tmp_path, "dc", (("to", "dc_charge_loop"), ("loop", 1.0), *steps), guarded=guarded)
    assert bool(wrong) is not guarded
    assert guarded or word in wrong[0]


def renews_half(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(excess, "RENEWS", 2)


def has_no_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(excess.Lag, "used_up", lambda self, follow_us: False)


def follows_for_long(patch: pytest.MonkeyPatch) -> None:
    known = flow.Flow.then
    patch.setattr(
        flow.Flow, "then", lambda self, *flows, follow_us, **how: known(self, *flows, follow_us=8 * follow_us, **how)
    )


@pytest.mark.parametrize("harm", [None, renews_half, has_no_budget, follows_for_long])
def test_the_judge_sees_a_monitor_that_lets_too_much_flow_in_a_window(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[pytest.MonkeyPatch], None] | None
) -> None:
    flow_is_not_compared(monkeypatch)
    if harm is not None:
        harm(monkeypatch)
    steps: Sequence[Step] = (("to", "dc_charge_loop"), ("loop", 1.0), ("swing", 0, 0.7, 0.3, 60, 20_000))
    wrong = play(pki, tmp_path, "dc", steps)
    assert bool(wrong) is (harm is not None), wrong
    assert harm is None or "promised" in wrong[0]


def test_the_judge_keeps_to_the_page() -> None:
    page = (ROOT / "docs" / "explanation" / "safety.md").read_text()
    assert f"T / {EIGHTH}" in page


def vehicles_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ac.AcEvse, "_watch_output", lambda self: None)


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("lines", [1, 2, 3])
def test_the_judge_sees_what_one_conductor_carries(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int, guarded: bool
) -> None:
    vehicles_are_not_compared(monkeypatch)
    way: Sequence[Step] = (("phases", lines, lines), ("to", "ac_charge_loop"), ("loop", 1.0))
    steps: Sequence[Step] = (*way, ("line", "site", 10_000, 0), ("in_turns", 3_300 * lines, 9.0, 0.1, 1))
    wrong = play(pki, tmp_path, "ac", steps, guarded=guarded)
    assert bool(wrong) is not guarded
    assert guarded or wrong[0] == "line in: 14.3 A, 10.0 allowed"


def test_a_stage_that_strays_when_its_limit_has_just_fallen_has_its_time_to_follow(
    pki: PkiTree, tmp_path: Path
) -> None:
    steps: Sequence[Step] = (("limit", "operator", 0, 0), ("in_turns", 22_000, 4.5, 0.3, 2))
    assert play(pki, tmp_path, "dc", (("to", "dc_charge_loop"), ("loop", 1.0), *steps)) == []


def test_a_walk_that_fails_is_made_as_short_as_can_be() -> None:
    steps: list[Step] = [("wait", n) for n in range(60)]
    assert smaller(lambda rest: ("wait", 7) in rest and ("wait", 41) in rest, steps) == [("wait", 7), ("wait", 41)]
    assert (
        command("ac", steps[:1], scheduled=True)
        == """python -m tests.safety.judged.play ac scheduled '[["wait", 0]]'"""
    )


def walks(pki: PkiTree, folder: Path, kind: Kind, scheduled: bool, seeds: Sequence[int]) -> None:
    """Walk about."""
    for seed in seeds:
        tried(pki, folder, kind, wander(kind, seed, WALK_STEPS), scheduled)


@pytest.mark.some(1)
@pytest.mark.parametrize(("kind", "scheduled"), WALKS)
def test_no_walk_of_three_thousand_steps_breaks_the_rule(
    pki: PkiTree, tmp_path: Path, kind: Kind, scheduled: bool
) -> None:
    walks(pki, tmp_path, kind, scheduled, range(2))


@pytest.mark.long
@pytest.mark.parametrize("part", range(50))
@pytest.mark.parametrize(("kind", "scheduled"), WALKS)
def test_no_walk_of_a_million_steps_breaks_the_rule(
    pki: PkiTree, tmp_path: Path, kind: Kind, scheduled: bool, part: int
) -> None:
    walks(pki, tmp_path, kind, scheduled, range(1000 + part * 25, 1025 + part * 25))
