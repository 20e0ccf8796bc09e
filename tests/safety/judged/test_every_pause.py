"""A whole EVSE whose vehicle pauses and comes back, before the judge of `rule`: every way to leave, with
everything that can happen while it is away, when it is back, and when it has joined, and random walks with many pauses.
`make long` tries all of them, `make test` a part that is always the same.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from secc.evse import core as evse
from secc.evse.core import Pause
from secc.hardware.config import Kind
from secc.session.d20 import delivery
from tests.safety.judged.pause_play import AFTER, AWAY, ENDINGS, PausePlay, command, play, wander
from tests.safety.judged.play import KINDS
from tests.safety.judged.steps import Step, judged
from v2g_station.blocks.transactions.managed import RemoteStopRequested

LOOPS: dict[Kind, str] = {
    "dc": "dc_charge_loop",
    "ac": "ac_charge_loop",
    "wpt": "wpt_charge_loop",
    "acdp": "dc_charge_loop",
}
PART = 240
"""Every 240th combination is tried with every change of the program."""

Combination = tuple[Kind, bool, Sequence[Step]]


def combinations() -> list[Combination]:
    """Return every way to leave, with everything at each time of coming back."""
    found: list[Combination] = []
    for kind, scheduled, (name, ending) in itertools.product(KINDS, (False, True), ENDINGS.items()):
        before = name == "pauses before the loop"
        left: tuple[Step, ...] = (("to", "schedule_exchange" if before else LOOPS[kind]),)
        left = (*left, *(() if before else (("loop", 1.0),)), *ending)
        for step in AWAY:
            found.append((kind, scheduled, (*left, step, ("return",), *AFTER)))
            found.append((kind, scheduled, (*left, ("come",), step, ("join",), *AFTER)))
            found.append((kind, scheduled, (*left, ("return",), step, *AFTER)))
    random.Random(13).shuffle(found)
    return found


COMBINATIONS = combinations()


def tried(pki: PkiTree, folder: Path, kind: Kind, steps: Sequence[Step], scheduled: bool) -> None:
    """Play steps; where something is wrong, fail with the fewest that do the same."""
    judged(
        lambda some: play(pki, folder, kind, some, scheduled=scheduled),
        steps,
        lambda few: command(kind, few, scheduled=scheduled),
    )


@pytest.mark.some(1)
@pytest.mark.parametrize("part", range(2))
def test_some_of_what_can_happen_to_a_session_that_is_paused(pki: PkiTree, tmp_path: Path, part: int) -> None:
    for kind, scheduled, steps in COMBINATIONS[part :: PART * 4]:
        tried(pki, tmp_path, kind, steps, scheduled)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PART))
def test_everything_that_can_happen_to_a_session_that_is_paused(pki: PkiTree, tmp_path: Path, part: int) -> None:
    for kind, scheduled, steps in COMBINATIONS[part::PART]:
        tried(pki, tmp_path, kind, steps, scheduled)


@pytest.mark.long
@pytest.mark.parametrize("part", range(25))
@pytest.mark.parametrize(("kind", "scheduled"), list(itertools.product(KINDS, (False, True))))
def test_no_walk_with_pauses_breaks_the_rule(
    pki: PkiTree, tmp_path: Path, kind: Kind, scheduled: bool, part: int
) -> None:
    for seed in range(part * 5, part * 5 + 5):
        tried(pki, tmp_path, kind, wander(kind, seed, 100), scheduled)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_judged_joins_and_gets_power(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    seen: list[tuple[str, int]] = []
    known = PausePlay._seen

    def look(self: PausePlay) -> None:
        known(self)
        seen.append((self.desk.reference, self.car.power_w))

    monkeypatch.setattr(PausePlay, "_seen", look)
    steps: Sequence[Step] = (("to", LOOPS[kind]), ("loop", 1.5), ("pause",), ("wait", 1.0), ("return",))
    steps = (*steps, ("charge",), ("loop", 1.5))
    assert play(pki, tmp_path, kind, steps) == []
    assert len({reference for reference, _ in seen if reference}) == 1
    times = [moment for moment, (_, power_w) in enumerate(seen) if power_w > 5_000]
    assert any(second - first > 15 for first, second in itertools.pairwise(times))  # power, a second without, power


# -- what the judge has found -----------------------------------------------------------------------------------------


def keeps_who_is_to_stop(patch: pytest.MonkeyPatch) -> None:
    def fact(self: evse.EvseCore, fact: object, *when: object) -> None:
        if not (isinstance(fact, RemoteStopRequested) and self.pause is Pause.SAVING):
            known(self, fact, *when)  # type: ignore[arg-type]

    known = evse.EvseCore.fact
    patch.setattr(evse.EvseCore, "fact", fact)


def leaves_the_field_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(delivery, "CheckAlignment", lambda _ma, _w: delivery.Observe("power", "aligned", {}))


FOUND: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Kind, Sequence[Step]]] = {
    "a stop while the pause is on its way to the disk is lost": (
        keeps_who_is_to_stop,
        "dc",
        (
            *(("to", "dc_charge_loop"), ("loop", 1.0), ("say", "PowerDeliveryReq", "Stop"), ("switch", False)),
            *(("pilot", "B"), ("say", "DC_WeldingDetectionReq"), ("wait", 0.5), ("disk", 4.0)),
            *(("say", "SessionStopReq", "Pause"), ("stop", "deauthorized"), ("wait", 8.0), ("leave",)),
            *(("disk", 0.0), ("return",), ("charge",), ("loop", 3.0)),
        ),
    ),
    "the field of the alignment stays while the journal is written": (
        leaves_the_field_on,
        "wpt",
        (("disk", 4.0), ("charge",)),
    ),
}


@pytest.mark.some(1)
@pytest.mark.parametrize("finding", FOUND)
def test_what_the_judge_has_found_is_corrected(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finding: str
) -> None:
    """Without the safety monitor, which has caught the first and the last of them."""
    undo, kind, steps = FOUND[finding]
    assert play(pki, tmp_path, kind, steps, guarded=False) == []
    undo(monkeypatch)
    assert play(pki, tmp_path, kind, steps, guarded=False) != []
