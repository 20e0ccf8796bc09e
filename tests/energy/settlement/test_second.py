"""A day of a fleet, and a bundle of signed offers, recomputed by a second implementation."""

import ast
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from tests.energy.settlement import second
from tests.energy.settlement.attacks import Scene
from tests.energy.settlement.day import VEHICLES, vehicles
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.settle import settle

pytestmark = pytest.mark.requirement("R32", "R33")


def agree(journal: bytes, document: dict[str, Any]) -> dict[str, Any]:
    """Compare the second bill with a settlement, line by line."""
    ours = second.bill(journal)
    priced = [
        (each["start_ms"], each["end_ms"], each["direction"], each["energy_mwh"], each["amount"])
        for each in document["lines"]
    ]
    assert ours["lines"] == priced
    assert sum(each["import_cost"] for each in document["totals"]) == ours["cost"]
    assert sum(each["export_credit"] for each in document["totals"]) == ours["credit"]
    assert sum(each["import_mwh"] for each in document["totals"]) == ours["import_mwh"]
    assert sum(each["export_mwh"] for each in document["totals"]) == ours["export_mwh"]
    assert document["journal_head"] == ours["head"]
    return ours


def settled(journal: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(canonical(settle(verify_lines(journal))))
    return found


def test_it_imports_nothing_of_the_project() -> None:
    tree = ast.parse(Path(second.__file__).read_text())
    names = [each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
    names += [name.name for each in ast.walk(tree) if isinstance(each, ast.Import) for name in each.names]
    assert not {name.partition(".")[0] for name in names} & {"v2g", "csms", "secc", "evcc", "v2g_cli", "tests"}


@pytest.mark.long
def test_a_day_of_a_fleet_has_the_same_bill_twice() -> None:
    visits = [visit for vehicle in vehicles() for visit in vehicle.visits]
    assert len(visits) >= VEHICLES
    bills = [agree(visit.data, settled(visit.data)) for visit in visits]
    assert sum(each["export_mwh"] for each in bills) > 0
    assert sum(each["cost"] for each in bills) > 0


def test_a_bundle_of_the_programs_with_signed_offers_has_the_same_bill_twice(pki: PkiTree, start_ms: int) -> None:
    with zipfile.ZipFile(Path(__file__).parents[2] / "vectors/settlement/bundle_1.zip") as old:
        stored = agree(old.read("journal.jsonl"), json.loads(old.read("settlement.json")))
    assert stored["credit"] > 0
    scene = Scene(pki, start_ms, signed=True)
    made = agree(scene.files["journal.jsonl"], json.loads(scene.files["settlement.json"]))
    assert made["export_mwh"] > 0
