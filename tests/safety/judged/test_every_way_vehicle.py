"""A vehicle before an independent judge (`vehicle_rule`): every state with every answer, right and wrong,
every fact and every silence, and random walks. `make long` tries all of them, `make test` a part that is always the
same.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Final

import pytest

from evcc.session import ports, watch
from evcc.session.basic_charging import BasicVehicle
from evcc.session.d20 import positioning, session
from evcc.session.d20 import requests as ask
from tests.safety.judged.steps import Step, judged
from tests.safety.judged.vehicle_play import (
    DONE,
    FOR_EVER,
    KINDS,
    STATES,
    WAYS,
    WRONGS,
    Mode,
    Play,
    command,
    perform,
    play,
    wander,
)
from tests.safety.vehicle_places import Kind
from tests.virtual_time import in_simulated_time

TIMERS_S = 200.0
"""Longer than every timer of a session."""

AFTER_S, LATER_S = 8.0, 21.0
"""Until all has come of what was done; of a stop that nobody follows, the contactor after 15 s."""

WALK_STEPS = 100
PART = 300
"""Every 300th combination is tried with every change of the program."""

Combination = tuple[Kind, Mode, Sequence[Step]]


def combinations() -> list[Combination]:
    """Return every state with everything that can be answered and done there, and silence."""
    found: list[Combination] = []
    for kind, mode in WAYS:
        for state in STATES[kind]:
            there: Step = ("to", state)
            short, long = ("wait", AFTER_S), ("wait", LATER_S)
            ways: list[Sequence[Step]] = [(("answer", state, "none"), there, ("wait", TIMERS_S))]
            ways += [(("answer", state, how), there, long if "notice" in how else short) for how in WRONGS]
            ways += [(("answer", state, how, -1), there, long) for how in FOR_EVER]
            ways += [(there, step, long if step[0] in ("driver", "notice", "fault") else short) for step in DONE]
            found += [(kind, mode, steps) for steps in ways]
    random.Random(13).shuffle(found)
    return found


COMBINATIONS = combinations()


def tried(kind: Kind, mode: Mode, steps: Sequence[Step]) -> None:
    """Play steps to a vehicle that is to do nothing wrong."""
    judged(lambda some: play(kind, mode, some), steps, lambda few: command(kind, mode, few))


@pytest.mark.some(1)
@pytest.mark.parametrize("part", range(3))
def test_some_states_with_some_of_what_can_happen(part: int) -> None:
    for kind, mode, steps in COMBINATIONS[part :: PART * 12]:
        tried(kind, mode, steps)


@pytest.mark.long
@pytest.mark.parametrize("part", range(40))
def test_every_state_with_everything_that_can_happen(part: int) -> None:
    for kind, mode, steps in COMBINATIONS[part::40]:
        tried(kind, mode, steps)


WALKS: Final = (*WAYS, ("basic", "dynamic"))


@pytest.mark.some(1)
@pytest.mark.parametrize(("kind", "mode"), WALKS)
def test_no_walk_of_three_thousand_steps_breaks_the_rule(kind: Kind, mode: Mode) -> None:
    for seed in range(2 if kind in ("dc", "ac") else 1):
        tried(kind, mode, wander(kind, mode, seed, WALK_STEPS))


@pytest.mark.long
@pytest.mark.parametrize("part", range(50))
@pytest.mark.parametrize(("kind", "mode"), WALKS)
def test_no_walk_of_a_million_steps_breaks_the_rule(kind: Kind, mode: Mode, part: int) -> None:
    for seed in range(1000 + part * 34, 1034 + part * 34):
        tried(kind, mode, wander(kind, mode, seed, WALK_STEPS))


@pytest.mark.some(1)
@pytest.mark.parametrize("kind", KINDS)
def test_every_state_is_one_that_the_vehicle_comes_to(kind: Kind) -> None:
    """Each by the steps that lead there, and nothing else; what is tried there would else be tried nowhere."""
    reached: list[str] = []

    class Noted(Play):
        async def do_note(self) -> None:
            reached.append(self.station.label)

    modes = [mode for each, mode in WAYS if each == kind]
    for state, mode in zip(STATES[kind], itertools.cycle(modes)):
        assert in_simulated_time(perform(kind, mode, (("to", state), ("note",)), made=Noted)) == []
    assert reached == list(STATES[kind])


_TO_THE_PILOT: Final = ("fault", "driver", "unplug", "abort", "duty", "wires", "outlet", "line")


@pytest.mark.parametrize("done", [each for each in DONE if each[0] in _TO_THE_PILOT])
def test_a_vehicle_that_obeys_the_pilot_alone(done: Step) -> None:
    tried("basic", "dynamic", (("wait", 2.0), done, ("wait", LATER_S)))


@pytest.mark.requirement("R192")
@pytest.mark.some(2)
@pytest.mark.parametrize("wires", ["", "crowded", "strays", "stuck", "leaks"])
@pytest.mark.parametrize("phases", [1, 2, 3])
@pytest.mark.parametrize(("kind", "mode"), [("ac", "dynamic"), ("ac", "scheduled"), ("basic", "dynamic")])
def test_no_conductor_carries_more_than_it_may_for_longer_than_is_promised(
    kind: Kind, mode: Mode, phases: int, wires: str
) -> None:
    """On each number of phases, with less permitted meanwhile, at every outlet."""
    for lines in (3, 1):
        here = (("phases", phases), ("outlet", lines), ("charge",), ("wait", 1.5))
        tried(kind, mode, (*here, ("wires", wires), ("wait", 1.0), ("line", 6), ("wait", 8.0)))


# -- the judge, and the monitor ---------------------------------------------------------------------------------------


def looks_at_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(watch.Watch, "look", lambda self, now, **_: "")
    patch.setattr(watch.Watch, "fresh", lambda self, now: True)


def waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    known = session.VehicleSession._arm
    patch.setattr(
        session.VehicleSession,
        "_arm",
        lambda self, name, seconds: None if name == "message" else known(self, name, seconds),
    )


def is_deaf_to_the_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session, "wanted_end", lambda status, choice, context: None)


def draws_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session.VehicleSession, "_check_overdraw", lambda self: None)
    looks_at_nothing(patch)


def duty_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BasicVehicle, "_take_duty", lambda self, reading: None)


def is_deaf_to_the_contacts(patch: pytest.MonkeyPatch) -> None:
    known = session.VehicleSession._on_fact
    patch.setattr(
        session.VehicleSession,
        "_on_fact",
        lambda self, fact: None if isinstance(fact, ports.PlugState) else known(self, fact),
    )


def leaves_the_check_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(positioning, "_start", lambda stage, context: ask.power_start(stage.plan, context))


Undo = Callable[[pytest.MonkeyPatch], None]
HARMS: dict[str, tuple[Undo, Kind, Sequence[Step], str]] = {
    "silence": (waits_for_ever, "dc", (("answer", "DC_ChargeLoopReq", "none"), ("wait", 4.0)), "silence"),
    "silence of mains": (waits_for_ever, "ac", (("answer", "AC_ChargeLoopReq", "none"), ("wait", 4.0)), "silence"),
    "silence above a coil": (
        waits_for_ever,
        "wpt",
        (("wait", 7.0), ("answer", "WPT_ChargeLoopReq", "none"), ("wait", 4.0)),
        "silence",
    ),
    "more through the air": (leaves_the_check_open, "wpt", (("force", 0, 70), ("wait", 4.5)), "W into it, asked for 0"),
    "lost contacts": (is_deaf_to_the_contacts, "acdp", (("unplug",), ("wait", 3.0)), "contacts have opened"),
    "silence below a pantograph": (
        waits_for_ever,
        "acdp",
        (("answer", "DC_ChargeLoopReq", "none"), ("wait", 4.0)),
        "silence",
    ),
    "current": (looks_at_nothing, "dc", (("force", 0, 110), ("wait", 4.0)), "mA, it bears"),
    "voltage": (looks_at_nothing, "dc", (("force", 0, 100), ("wait", 3.0)), "mV at a battery for"),
    "what flows back": (draws_on, "dc", (("force", 0, -45), ("wait", 5.0)), "W out of it"),
    "a silent battery": (looks_at_nothing, "ac", (("fault", "battery_silent"), ("wait", 3.0)), "battery is silent"),
    "a silent inlet": (looks_at_nothing, "dc", (("fault", "inlet_silent"), ("wait", 3.0)), "inlet is silent"),
    "a contactor that drops": (looks_at_nothing, "dc", (("fault", "drop"), ("wait", 2.0)), "opens by itself"),
    "less by the pilot": (
        duty_is_ignored,
        "basic",
        (("wait", 2.0), ("duty", 10), ("wait", 2.0)),
        "the pilot allows 4140",
    ),
    "nothing by the pilot": (
        duty_is_ignored,
        "basic",
        (("wait", 2.0), ("duty", None), ("wait", 9.0)),
        "pilot allows 0",
    ),
    **{
        f"{what} of {kind}": (looks_at_nothing, kind, (("wait", 1.0), *steps), word)
        for kind in ("ac", "basic")
        for what, steps, word in (
            ("a crowded conductor", (("wires", "crowded"), ("wait", 8.0)), "line in"),
            ("an oscillating bound", (("swing", 0, 0.2, 0.8, 25, "stuck"),), "in turns"),
        )
    },
    "the charger's wish": (
        is_deaf_to_the_end,
        "dc",
        (
            ("answer", "PowerDeliveryReq Start anew", "notice Terminate"),
            ("notice", "ScheduleRenegotiation"),
            ("wait", 8.0),
        ),
        "somebody wants the end",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("guarded", [True, False])
def test_the_judge_sees_what_the_monitor_would_have_caught(
    monkeypatch: pytest.MonkeyPatch, harm: str, guarded: bool
) -> None:
    undo, kind, steps, word = HARMS[harm]
    undo(monkeypatch)
    wrong = play(kind, "dynamic", (("charge",), ("wait", 0.3), *steps), guarded=guarded)
    assert bool(wrong) is not guarded
    assert guarded or any(word in each for each in wrong), wrong
