"""Generated forgeries: which alteration, with which keys, is noticed in which mode, and what the page says of it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.energy.settlement.attacks import (
    KEY_SETS,
    MODES,
    PAGE,
    POWERLESS,
    Outcome,
    Scene,
    alterations,
    copies_outcome,
    page_with,
    results,
    scenes,
    table,
)

pytestmark = [pytest.mark.requirement("R32", "R33"), pytest.mark.xdist_group("attacks")]  # which take a minute

INVENTED = "a session invented, with roots of its own"

Results = Mapping[str, Mapping[str, Mapping[str, Outcome]]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Scene, Results]]:
    """Every fourth alteration; in each mode those that are not refused without an option, and every 24th of those that
    are."""
    made = scenes(tmp_path_factory.mktemp("attacks"), every=24, share=4)
    return {title: (scene, results(scene, stranger)) for title, scene, stranger in made}


def test_the_honest_bundles_are_complete_for_those_who_know_who_signed_the_end(
    runs: dict[str, tuple[Scene, Results]],
) -> None:
    (signed, _), (plain, _) = runs.values()
    assert set(signed.judged(signed.files).values()) == {Outcome.UNNOTICED}
    found = plain.judged(plain.files)
    assert found["--operator"] is Outcome.UNNOTICED
    assert (found["alone"], found["--require signed"]) == (Outcome.INCOMPLETE, Outcome.REFUSED)


def test_every_alteration_is_tried_with_every_set_of_keys_in_every_mode(
    runs: dict[str, tuple[Scene, Results]],
) -> None:
    for scene, found in runs.values():
        assert set(found) >= set(alterations(scene)) - {"one checkpoint dropped"}
        assert all(tuple(each) and set(each) == set(KEY_SETS) for each in found.values())
        assert all(set(modes) == set(MODES) for each in found.values() for modes in each.values())


def test_no_forgery_passes_as_complete_but_one_with_roots_of_its_own(runs: dict[str, tuple[Scene, Results]]) -> None:
    for _, found in runs.values():
        for what, by_keys in found.items():
            for keys, modes in by_keys.items():
                if what == INVENTED:
                    assert modes["--root"] is Outcome.REFUSED
                    continue
                allowed = Outcome.INCOMPLETE if keys == "charger and meter" else Outcome.REFUSED
                assert max(modes.values()) <= allowed, (what, keys, modes)


def test_with_the_keys_of_charger_and_meter_what_the_vehicle_kept_still_refutes(
    runs: dict[str, tuple[Scene, Results]],
) -> None:
    (signed, found), _ = runs.values()
    assert signed.copies
    for what, by_keys in found.items():
        assert by_keys["charger and meter"]["--checkpoints"] is Outcome.REFUSED, what


def test_a_correction_by_who_writes_in_the_database_is_unsigned_and_refused_with_the_operators_key(
    runs: dict[str, tuple[Scene, Results]],
) -> None:
    assert POWERLESS[-1] == "operator's database"
    for scene, _ in runs.values():
        assert copies_outcome(scene, operator=False) is Outcome.INCOMPLETE
        assert copies_outcome(scene, operator=True) is Outcome.REFUSED


def test_the_page_says_exactly_what_holds(runs: dict[str, tuple[Scene, Results]]) -> None:
    """`python -m tests.energy.settlement.attacks` writes it."""
    for title, (_, found) in runs.items():
        _, _, below = PAGE.read_text().partition(f"**{title}**\n\n")
        assert set(table(found).splitlines()) <= set(below.partition("\n\n")[0].splitlines())


@pytest.mark.long
def test_no_option_lets_pass_what_is_refused_without(tmp_path: Path) -> None:
    found = {title: table(results(scene, stranger)) for title, scene, stranger in scenes(tmp_path)}
    assert PAGE.read_text() == page_with(found)
