"""Several whole EVSEs behind one connection, with their charging station and an energy manager, before a judge over the
sum of what flows: random walks over two and three EVSEs, at all of which vehicles go on while something happens.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.energy_manager import facts
from secc.energy_manager.grid import SiteGrid
from secc.energy_manager.sharing import FeederShares
from secc.hardware.config import Kind
from secc.hardware.dc import DcEvse
from tests.safety.judged.site_play import TIMEOUT_S, SiteJudge, command, play, wander
from tests.safety.judged.steps import Step, judged
from v2g.energy.discharge_gate import DischargeGate
from v2g.safety import ChargerMonitor

SITES: list[tuple[Kind, ...]] = [("dc", "dc"), ("ac", "dc"), ("dc", "dc", "ac"), ("ac", "ac")]
WALK_STEPS = 80


def tried(pki: PkiTree, folder: Path, kinds: Sequence[Kind], steps: Sequence[Step]) -> None:
    """Play steps; where something is wrong, fail with the fewest that do the same."""
    judged(lambda some: play(pki, folder, kinds, some), steps, lambda few: command(kinds, few))


@pytest.mark.long
def test_no_walk_over_two_evses_breaks_the_rule(pki: PkiTree, tmp_path: Path) -> None:
    tried(pki, tmp_path, ("dc", "dc"), wander(("dc", "dc"), 2, WALK_STEPS))


@pytest.mark.long
@pytest.mark.parametrize("part", range(25))
@pytest.mark.parametrize("kinds", SITES, ids="-".join)
def test_no_walk_over_a_site_breaks_the_rule(pki: PkiTree, tmp_path: Path, kinds: Sequence[Kind], part: int) -> None:
    for seed in range(part * 10, part * 10 + 10):
        tried(pki, tmp_path, kinds, wander(kinds, seed, WALK_STEPS))


BOTH: Sequence[Step] = ((0, "manager", 0, 60_000, 30_000), (1, "charge"), (2, "charge"), ("all", "loop", 1.5))
BACK: Sequence[Step] = ((0, "manager", 0, 60_000, 30_000, -8_000, 600), ("all", "sign", 9_000), ("all", "loop", 2.0))


def test_what_is_judged_charges_and_feeds_back(pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sequence[int]] = []
    known = SiteJudge.measured
    monkeypatch.setattr(
        SiteJudge,
        "measured",
        lambda self, now, watts, *lines, **how: (seen.append(watts), known(self, now, watts, *lines, **how)),
    )
    assert play(pki, tmp_path, ("dc", "dc"), (*BOTH, *BACK)) == []
    assert [20_000, 20_000] in seen
    assert [-4_000, -4_000] in seen


# -- what the judge has found -----------------------------------------------------------------------------------------


def test_who_signs_for_less_while_offers_change_feeds_back_no_more(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two signals at once, the second one's offer crosses the command under the first one's."""
    signal: Step = (0, "signal", 40_000, 10_000)
    steps = (BOTH[0], (2, "charge"), (2, "sign", 9_000), signal, signal, (2, "sign", 4_000), ("all", "loop", 3.0))
    assert play(pki, tmp_path, ("dc", "dc"), steps) == []
    monkeypatch.setattr(DischargeGate, "_lower", lambda self, command: None)
    assert play(pki, tmp_path, ("dc", "dc"), steps) == []  # the monitor holds
    monkeypatch.setattr(ChargerMonitor, "signed_less", lambda self, power_w, until_s, now: None)
    assert "4000 allowed" in play(pki, tmp_path, ("dc", "dc"), steps)[0]


# -- the judge sees what is wrong -------------------------------------------------------------------------------------


def shares_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FeederShares, "settle", lambda self, feeder, evses, now, *, raises=True: {})


def gives_each_the_whole(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SiteGrid, "together", lambda self, feeder, wholes, lines: feeder)


def forgets_to_fall_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(facts.EnergyManagerWatch, "tick", lambda self, now: ())


def flow_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DcEvse, "_watch_current", lambda self: None)
    patch.setattr(ChargerMonitor, "measured", lambda self, voltage_mv, current_ma, now: None)


def vouches_for_ever(patch: pytest.MonkeyPatch) -> None:
    known = SiteGrid._operator
    patch.setattr(SiteGrid, "_operator", lambda self: replace(known(self), valid_until_ms=None))


UNSURE = "what is no longer vouched for is fed back"
"""On a very busy machine its vehicles may have gone before: not in every run."""

HARMS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Sequence[Step], str]] = {
    "each draws what the site may": (
        shares_nothing,
        ((0, "signal", 20_000, 9_000), ("all", "loop", 3.0)),
        "20000 allowed",
    ),
    UNSURE: (
        vouches_for_ever,
        (
            *((0, "signal", 40_000, 10_000, 40), *BACK, ("all", "loop", 40.0)),
            *(("all", "sign", 9_000), ("all", "loop", 3.0)) * 4,
        ),
        "0 allowed",
    ),
    "the word for all is each one's": (
        gives_each_the_whole,
        ((0, "manager", 0, 15_000, 0), ("all", "loop", 3.0)),
        "15000 allowed",
    ),
    "a stage strays in turns": (
        flow_is_not_compared,
        ((1, "in_turns", -60_000, 0.5, 0.5, 9),),
        "back in turns",
    ),
    "a silent energy manager is obeyed on": (
        forgets_to_fall_back,
        (("all", "loop", TIMEOUT_S + 3.0),),
        "6000 allowed",
    ),
    "a word is obeyed beyond its time": (
        forgets_to_fall_back,
        ((0, "manager", 0, 50_000, 0, None, 2), ("all", "loop", 5.0)),
        "6000 allowed",
    ),
}


@pytest.mark.some(1)
@pytest.mark.parametrize(
    "harm", [pytest.param(each, marks=pytest.mark.long if each == UNSURE else ()) for each in HARMS]
)
def test_the_judge_sees_what_is_wrong(pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    """Monitors cannot, but for a stage that strays: each of them knows one EVSE, and what that is allowed."""
    undo, steps, word = HARMS[harm]
    assert play(pki, tmp_path, ("dc", "dc"), (*BOTH, *steps)) == []
    undo(monkeypatch)
    wrong = play(pki, tmp_path, ("dc", "dc"), (*BOTH, *steps))
    assert wrong
    assert word in wrong[0]
