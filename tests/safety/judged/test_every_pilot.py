"""A charge point without messages before an independent judge (`pilot_rule`): every state with every
change of the pilot, fact and timer, and random walks. `make long` tries all of them, `make test` a part that is always
the same.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.energy_manager.sharing import FeederShares
from secc.evse import core as evse
from secc.evse.ports import Present, VehicleServed
from secc.hardware import ac
from secc.hardware.safety import SafetyChannel
from secc.session import basic_charging as basic
from secc.session import ports
from tests.safety.judged.pilot_play import KINDS, STATES, TOLD, Kind, command, perform, play, wander
from tests.safety.judged.steps import Step, judged
from tests.virtual_time import in_simulated_time
from v2g.hardware import interlock

pytestmark = pytest.mark.requirement("R24")

TIMERS_S = 200.0
"""Longer than every timer of a session."""

PART = 150
"""Every 150th combination is tried with every change of the program."""

WALK_STEPS = 100

Combination = tuple[Kind, Sequence[Step]]


def combinations() -> list[Combination]:
    """Return every state with everything that can happen there, who goes on as if nothing had, and silence."""
    found: list[Combination] = []
    for kind in KINDS:
        for way in STATES.values():
            found.append((kind, (*way, ("wait", TIMERS_S))))
            after: Sequence[Step] = (("wait", 0.5), ("identify",), ("pilot", "C"), ("wait", 12.0))
            found += [(kind, (*way, step, *after)) for step in TOLD]
    random.Random(13).shuffle(found)
    return found


COMBINATIONS = combinations()


def tried(pki: PkiTree, folder: Path, kind: Kind, steps: Sequence[Step]) -> None:
    """Play steps; where something is wrong, fail with the fewest that do the same."""
    judged(lambda some: play(pki, folder, kind, some), steps, lambda few: command(kind, few))


@pytest.mark.some(1)
@pytest.mark.parametrize("part", range(2))
def test_some_states_with_some_of_what_can_happen(pki: PkiTree, tmp_path: Path, part: int) -> None:
    for kind, steps in COMBINATIONS[part :: PART * 4]:
        tried(pki, tmp_path, kind, steps)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PART))
def test_every_state_with_everything_that_can_happen(pki: PkiTree, tmp_path: Path, part: int) -> None:
    for kind, steps in COMBINATIONS[part::PART]:
        tried(pki, tmp_path, kind, steps)


@pytest.mark.some(1)
@pytest.mark.parametrize("kind", KINDS)
def test_no_walk_breaks_the_rule(pki: PkiTree, tmp_path: Path, kind: Kind) -> None:
    tried(pki, tmp_path, kind, wander(kind, 1, WALK_STEPS))


@pytest.mark.long
@pytest.mark.parametrize("part", range(50))
@pytest.mark.parametrize("kind", KINDS)
def test_no_walk_of_a_hundred_thousand_steps_breaks_the_rule(
    pki: PkiTree, tmp_path: Path, kind: Kind, part: int
) -> None:
    for seed in range(1000 + part * 7, 1007 + part * 7):
        tried(pki, tmp_path, kind, wander(kind, seed, WALK_STEPS))


def performed(pki: PkiTree, folder: Path, kind: Kind, steps: Sequence[Step]) -> float:
    """Play steps of which none is wrong; return the Wh that have flowed."""
    wrong, energy_ws = in_simulated_time(perform(pki, folder, kind, steps))
    assert not wrong
    return energy_ws / 3600


@pytest.mark.some(1)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_judged_charges_vehicles(pki: PkiTree, tmp_path: Path, kind: Kind) -> None:
    assert performed(pki, tmp_path, kind, (*STATES["charging"], ("wait", 60.0))) == pytest.approx(402, abs=5)


def test_another_vehicle_at_the_feeder_takes_its_half(pki: PkiTree, tmp_path: Path) -> None:
    alone, shared = (
        performed(pki, tmp_path, "bare", (*STATES["charging"], ("share", sharers), ("wait", 120.0)))
        for sharers in (1, 2)
    )
    assert shared == pytest.approx(alone / 2, rel=0.1)


# -- the judge sees what is wrong -------------------------------------------------------------------------------------


def is_deaf(patch: pytest.MonkeyPatch, *facts: type) -> None:
    """Let a session not take these facts."""

    def take(self: basic.BasicSession, fact: object) -> None:
        if not isinstance(fact, facts):
            known(self, fact)  # type: ignore[arg-type]

    known = basic.BasicSession._on_fact
    patch.setattr(basic.BasicSession, "_on_fact", take)


def ignores_limits(patch: pytest.MonkeyPatch) -> None:
    is_deaf(patch, ports.GridChanged)


def ignores_stops(patch: pytest.MonkeyPatch) -> None:
    is_deaf(patch, ports.StopRequested)


def lets_vehicles_draw(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ac.AcEvse, "_watch_output", lambda self: None)


def overlooks_the_pilot(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(interlock.Interlock, "blocked", property(lambda self: self.serious))
    patch.setattr(basic.BasicSession, "_ready", property(lambda self: self._pilot.connected))


def shares_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FeederShares, "settle", lambda self, feeder, evses, now, *, raises=True: {})


HARMS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Sequence[Step], str]] = {
    "a stop is not heard": (ignores_stops, (("stop", "deauthorized"), ("wait", 8.0)), "nothing is allowed"),
    "a limit is not followed": (ignores_limits, (("profile", 7_000), ("wait", 8.0)), "7000 allowed"),
    "a vehicle draws too much": (
        lets_vehicles_draw,
        (("profile", 7_000), ("draw", 22_000, False), ("wait", 14.0)),
        "W flow",
    ),
    "a vehicle draws too much in turns": (
        lets_vehicles_draw,
        (("profile", 7_000), ("wait", 6.0), ("in_turns", 22_000, 4.5, 0.3, 4)),
        "in turns: 21999 W flow",
    ),
    "each draws what the feeder bears": (
        shares_nothing,
        (("share", 2), ("wait", 25.0)),
        "W flow at the feeder, 22000 allowed",
    ),
    "B does not open": (overlooks_the_pilot, (("pilot", "B"), ("wait", 1.0)), "the wire shows PilotState.B"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_the_judge_sees_what_is_wrong(pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    undo, steps, word = HARMS[harm]
    undo(monkeypatch)
    wrong = play(pki, tmp_path, "bare", (*STATES["charging"], *steps), guarded=False)
    assert any(word in each for each in wrong), wrong


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_the_judge_sees_what_one_conductor_carries(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    lets_vehicles_draw(monkeypatch)
    steps: Sequence[Step] = (("phases", lines), *STATES["charging"], ("line", 13), ("wait", 6.0))
    assert play(pki, tmp_path, "bare", steps, guarded=False) == []
    wrong = play(pki, tmp_path, "bare", (*steps, ("draw", 20 * 230 * lines, False), ("wait", 9.0)), guarded=False)
    assert any("A flow in a conductor, 13.0 A are shown" in each for each in wrong), wrong


# -- what the judge has found -----------------------------------------------------------------------------------------


def waits_for_the_disk(patch: pytest.MonkeyPatch) -> None:
    for each in (ports.SetPilot, ports.OpenContactors):
        patch.setattr(each, "overtakes", None)


def waits_for_the_interval(patch: pytest.MonkeyPatch) -> None:
    known = SafetyChannel.signal
    patch.setattr(
        SafetyChannel,
        "signal",
        lambda self, pilot, *, most_w, interval_s: known(self, pilot, most_w=most_w, interval_s=0),
    )


def tells_the_hardware_late(patch: pytest.MonkeyPatch) -> None:
    def command(self: basic.BasicSession, *commands: object) -> None:
        late = self.phase is basic.Phase.HELD and self._wanted
        known(self, *(each for each in commands if not (late and isinstance(each, ports.SetAcOutput))))  # type: ignore[arg-type]

    known = basic.BasicSession._command
    patch.setattr(basic.BasicSession, "_command", command)


def forgets_who_waits(patch: pytest.MonkeyPatch) -> None:
    known = evse.EvseCore.fact

    def fact(self: evse.EvseCore, fact: Any, now: float, present: Present) -> None:
        ended = isinstance(fact, VehicleServed)
        known(self, fact, now, replace(present, seated=False) if ended else present)

    patch.setattr(evse.EvseCore, "fact", fact)


FOUND: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Sequence[Step]]] = {
    "a smaller current waits for the disk": (
        waits_for_the_disk,
        (
            *STATES["charging"],
            ("disk", 8.0),
            ("pilot", "B"),
            ("wait", 0.2),
            ("pilot", "C"),
            ("profile", 0),
            ("wait", 3.0),
        ),
    ),
    "a sound vehicle that is told twice within 5 s is cut off": (
        waits_for_the_interval,
        (*STATES["charging"], ("profile", 15_000), ("wait", 0.5), ("profile", 7_000), ("wait", 12.0)),
    ),
    "the monitor speaks of a stop that is followed": (
        tells_the_hardware_late,
        (*STATES["charging"], ("stop", "remote"), ("wait", 2.0)),
    ),
}


@pytest.mark.parametrize("finding", FOUND)
def test_what_the_judge_has_found_is_corrected(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finding: str
) -> None:
    undo, steps = FOUND[finding]
    assert play(pki, tmp_path, "bare", steps) == []
    undo(monkeypatch)
    assert play(pki, tmp_path, "bare", steps) != []


NEXT: Sequence[Step] = (
    *STATES["the next one, on a slow disk"],
    *(("wait", 20.0), ("disk", 0.0), ("identify",), ("wait", 6.0), ("pilot", "C"), ("wait", 9.0)),
)


def test_a_vehicle_that_comes_while_the_journal_is_closed_is_charged(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert performed(pki, tmp_path, "bare", NEXT) > 60
    forgets_who_waits(monkeypatch)
    assert performed(pki, tmp_path, "bare", NEXT) < 40


def test_a_contactor_that_can_open_again_has_its_time_anew(pki: PkiTree, tmp_path: Path) -> None:
    """The judge once counted the time before it was stuck, and gave a sound vehicle none to follow."""
    steps: Sequence[Step] = (
        *STATES["offered"],
        *(("draw", 22_000, True, 4.9), ("pilot", "C"), ("wait", 6.0), ("profile", 5_000), ("wait", 0.5)),
        *(("fault", "stuck_closed"), ("wait", 4.5), ("fault", "stuck_closed", False), ("profile", 3_000)),
        ("wait", 6.0),
    )
    assert play(pki, tmp_path, "bare", steps) == []
