"""Every field of every record is written by a program: one that nobody writes is unknown for ever, or worse, 0."""

import ast
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from v2g.energy.settlement.records import AnyRecord

ROOT = Path(__file__).parents[3]
PROGRAMS = ("csms", "evcc", "secc", "v2g")


def written(sources: list[str]) -> set[tuple[str, str]]:
    """Return (class or "replace", field) of every keyword with which something is made, None itself left out."""
    found = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                for each in node.keywords:
                    if not (isinstance(each.value, ast.Constant) and each.value.value is None):
                        found.add((name, each.arg or ""))
    return found


def unwritten(found: set[tuple[str, str]]) -> set[str]:
    """Return the fields that no program writes, as Record.field; one with a default that says something may stay so."""
    return {
        f"{record.__name__}.{field.name}"
        for record in get_args(AnyRecord)
        for field in msgspec.structs.fields(record)
        if field.default in (None, msgspec.UNSET, msgspec.NODEFAULT)
        and not {(record.__name__, field.name), ("replace", field.name)} & found
    }


@pytest.mark.long
def test_no_field_is_declared_and_never_written() -> None:
    sources = [path.read_text() for name in PROGRAMS for path in sorted((ROOT / name).rglob("*.py"))]
    assert unwritten(written(sources)) == set()


def test_a_field_that_is_always_none_is_noticed() -> None:
    """As the capacity once was, though it came in 97 messages."""
    source = "records.append(VehicleDescribed(evcc_id=evcc_id, battery_capacity_wh=None))"
    assert "VehicleDescribed.battery_capacity_wh" in unwritten(written([source]))
    assert "VehicleDescribed.evcc_id" not in unwritten(written([source]))
