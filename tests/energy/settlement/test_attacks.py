"""Generated forgeries: which alteration, with which keys, is noticed in which mode, and what the page says of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.energy.settlement.attacks import (
    HANDS,
    INVENTED,
    KEY_SETS,
    MODES,
    PAGE,
    Keys,
    Outcome,
    Scene,
    alterations,
    copies_outcome,
    page_with,
    results,
    scenes,
    table,
)

# attacks take a minute, and are made once
pytestmark = [pytest.mark.requirement("R32", "R33"), pytest.mark.long, pytest.mark.one_worker("attacks")]

Results = Mapping[str, Mapping[Keys, Mapping[str, Outcome]]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Scene, Results]]:
    """Every sixth alteration; in each mode those that are not refused without an option, and every 96th of those that
    are."""
    made = scenes(tmp_path_factory.mktemp("attacks"), every=96, share=6)
    return {title: (scene, results(scene, stranger)) for title, scene, stranger in made}


def test_the_honest_bundles_are_complete_for_those_who_know_who_signed_the_end(
    runs: dict[str, tuple[Scene, Results]],
) -> None:
    (signed, _), (plain, _) = runs.values()
    assert set(signed.judged(signed.files).values()) == {Outcome.UNNOTICED}
    found = plain.judged(plain.files)
    assert found["--operator"] is found["--require operator"] is Outcome.UNNOTICED
    assert (found["alone"], found["--require signed"]) == (Outcome.INCOMPLETE, Outcome.REFUSED)
    assert found["--checkpoints"] is Outcome.INCOMPLETE  # there is no copy of this session


def test_every_alteration_is_tried_with_every_set_of_keys_in_every_mode(
    runs: dict[str, tuple[Scene, Results]],
) -> None:
    for scene, found in runs.values():
        assert set(found) >= set(alterations(scene)) - {"one checkpoint dropped"}
        assert all(tuple(each) and set(each) == set(KEY_SETS) for each in found.values())
        assert all(set(modes) == set(MODES) for each in found.values() for modes in each.values())


def test_without_the_keys_of_charger_and_meter_nothing_passes_but_a_session_with_roots_of_its_own(
    runs: dict[str, tuple[Scene, Results]],
) -> None:
    for _, found in runs.values():
        assert {modes["--root"] for modes in found[INVENTED].values()} == {Outcome.REFUSED}
        for what, keys, modes in tried(found):
            if not {"charger", "meter"} <= keys:
                assert max(modes.values()) is Outcome.REFUSED, (what, keys, modes)


def tried(found: Results) -> Iterator[tuple[str, Keys, Mapping[str, Outcome]]]:
    """Yield what was made of the honest session."""
    for what, by_keys in found.items():
        yield from ((what, keys, modes) for keys, modes in by_keys.items() if what != INVENTED)


def test_only_the_operators_key_prices_a_session_for_who_requires_its_signature(
    runs: dict[str, tuple[Scene, Results]],
) -> None:
    """Charger, meter and contract together sign 30 EUR a kWh, and the back end gives a receipt of that journal."""
    (_, signed), (_, plain) = runs.values()
    three = frozenset({"charger", "meter", "contract"})
    assert signed["a price"][three]["--require checkpoints"] is Outcome.UNNOTICED
    for found in (signed, plain):
        assert found["a price"][three]["--operator"] is Outcome.UNNOTICED
        for keys, modes in found["a price"].items():
            assert modes["--require operator"] is Outcome.REFUSED or "operator" in keys, keys


def test_the_operators_key_adds_only_what_the_operator_signs(runs: dict[str, tuple[Scene, Results]]) -> None:
    for _, found in runs.values():
        for what, keys, modes in tried(found):
            without = found[what][keys - {"operator"}]
            differ = {mode for mode, outcome in modes.items() if outcome is not without[mode]}
            assert differ <= {"--require operator"}, (what, keys)


def test_what_the_vehicle_kept_refutes_each_set_of_keys(runs: dict[str, tuple[Scene, Results]]) -> None:
    (signed, found), _ = runs.values()
    assert signed.copies
    for what, keys, modes in tried(found):
        assert modes["--checkpoints"] is modes["all of these"] is Outcome.REFUSED, (what, keys)


def test_a_correction_by_who_writes_in_the_database_is_unsigned_and_refused_with_the_operators_key(
    runs: dict[str, tuple[Scene, Results]],
) -> None:
    for scene, _ in runs.values():
        assert copies_outcome(scene, operator=False) is Outcome.INCOMPLETE
        assert copies_outcome(scene, operator=True) is Outcome.REFUSED


def test_the_page_hides_nothing(runs: dict[str, tuple[Scene, Results]]) -> None:
    """`python -m tests.energy.settlement.attacks` writes it."""
    for title, (_, found) in runs.items():
        _, _, below = PAGE.read_text().partition(f"**{title}**\n\n")
        rows = below.partition("\n\n")[0].splitlines()[2:]
        for mode, row in zip([*MODES][1:], rows, strict=True):
            for keys, said in zip(HANDS.values(), row.split(" | ")[2:], strict=True):
                most = max(each[keys][mode] for what, each in found.items() if what != INVENTED)
                assert most is Outcome.REFUSED or "refused" not in said, (mode, keys)
                assert most is not Outcome.UNNOTICED or "**not noticed**" in said, (mode, keys)


def test_no_option_lets_pass_what_is_refused_without(tmp_path: Path) -> None:
    found = {title: table(results(scene, stranger)) for title, scene, stranger in scenes(tmp_path)}
    assert PAGE.read_text() == page_with(found)
