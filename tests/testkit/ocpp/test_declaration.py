"""What a maker declares: read, made from a base report, and written so that it reads the same."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import ConfigError
from v2g_testkit.ocpp.declaration import (
    Declaration,
    Token,
    evses_of,
    from_report,
    read_declaration,
    variables_of,
    written,
)


def entry(name: str, value: str, evse: int | None = None) -> dict[str, Any]:
    component, variable = name.split(".")
    place = {"name": component} | ({} if evse is None else {"evse": {"id": evse}})
    return {"component": place, "variable": {"name": variable}, "variableAttribute": [{"value": value}]}


def test_a_base_report_declares_profiles_and_evses() -> None:
    report = [
        entry("SmartChargingCtrlr.Available", "true"),
        entry("ReservationCtrlr.Available", "false"),
        entry("DisplayMessageCtrlr.Enabled", "true"),
        entry("SecurityCtrlr.SecurityProfile", "3"),
        entry("EVSE.Available", "true", 1),
        entry("EVSE.Available", "true", 2),
    ]
    found = from_report(report)
    assert found.profiles == ("Core", "Advanced Security", "Smart Charging", "Advanced User Interface")
    assert (found.evses, evses_of([])) == (2, 1)


def test_features_of_smart_charging_are_known_by_either_name() -> None:
    """Part 2 of OCPP 2.1 has instances of SupportsFeature, its appendices a variable for each."""
    feature = entry("SmartChargingCtrlr.SupportsFeature", "true")
    for variable in ({"name": "SupportsFeature", "instance": "EvseSleep"}, {"name": "SupportsEvseSleep"}):
        assert variables_of([feature | {"variable": variable}]) == {"SmartChargingCtrlr.SupportsEvseSleep": "true"}


PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)


@given(
    st.builds(
        Declaration,
        profiles=st.sampled_from([(), ("Core", "Smart Charging")]),
        supports=st.dictionaries(st.text(PRINTABLE, min_size=1), st.booleans()),
        evses=st.integers(0, 64),
        token=st.builds(Token, st.text(PRINTABLE, min_size=1, max_size=36)),
        seconds=st.sampled_from([0.5, 30.0, 600.0]),
    )
)
def test_what_is_written_reads_the_same(tmp_path_factory: pytest.TempPathFactory, declaration: Declaration) -> None:
    file = tmp_path_factory.mktemp("declared") / "d.toml"
    file.write_text(written(declaration))
    assert read_declaration(file) == declaration


@pytest.mark.parametrize("text", ["evses = 0.5", "evses = 99", "unknown = 1", 'profiles = ["Nonsense"]', "\x00", "a ="])
def test_what_is_wrong_in_a_declaration_is_said(text: str, tmp_path: Path) -> None:
    file = tmp_path / "d.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"d\.toml"):
        read_declaration(file)


def test_a_declaration_that_is_no_text_is_said(tmp_path: Path) -> None:
    file = tmp_path / "d.toml"
    file.write_bytes(b"\xe1\x93")
    with pytest.raises(ConfigError, match=r"d\.toml"):
        read_declaration(file)
