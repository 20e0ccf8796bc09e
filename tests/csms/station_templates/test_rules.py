"""What a configuration template wants, read from lines of text, and where a station differs from it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.device_model.rules import VariableKey
from csms.station_templates.rules import TemplateBody, VariableDrift, WantedValue, drift, place_of, read_values, same
from tests.together import together
from v2g.errors import RefusedError
from v2g.ocpp.messages.base import EVSE, Component, Variable
from v2g.ocpp.messages.provisioning import GetVariableData, SetVariableData

PLAIN = WantedValue(component="C", variable="V", value="1")
WHOLE = WantedValue(
    component="C", component_instance="i", evse_id=2, connector_id=3, variable="V", variable_instance="j",
    attribute="MaxSet", value="x",
)  # fmt: skip


def test_a_value_is_set_and_read_under_its_names() -> None:
    assert PLAIN.key == VariableKey("C", "", 0, 0, "V", "", "Actual")
    assert WHOLE.key == VariableKey("C", "i", 2, 3, "V", "j", "MaxSet")
    component, variable = Component(name="C"), Variable(name="V")
    assert PLAIN.to_set == SetVariableData(
        attribute_value="1", component=component, variable=variable, attribute_type="Actual"
    )
    assert PLAIN.to_get == GetVariableData(component=component, variable=variable, attribute_type="Actual")
    component = Component(name="C", instance="i", evse=EVSE(id=2, connector_id=3))
    variable = Variable(name="V", instance="j")
    assert WHOLE.to_set == SetVariableData(
        attribute_value="x", component=component, variable=variable, attribute_type="MaxSet"
    )
    assert WHOLE.to_get == GetVariableData(component=component, variable=variable, attribute_type="MaxSet")
    at_evse = WantedValue(component="C", evse_id=2, variable="V", value="1")
    assert at_evse.to_get.component == Component(name="C", evse=EVSE(id=2))


@together(
    ("wanted", "fits"),
    [
        ({}, True),
        ({"sites": ("depot", "north")}, True),
        ({"sites": ("north",)}, False),
        ({"models": ("ACME Fast",)}, True),
        ({"models": ("ACME",)}, False),
        ({"stations": ("CS-1", "CS-2")}, True),
        ({"stations": ("CS-2",)}, False),
        ({"sites": ("depot",), "models": ("X",)}, False),
        ({"sites": ("depot",), "models": ("ACME Fast",), "stations": ("CS-1",)}, True),
    ],
)
def test_a_template_is_for_stations_that_fit_all_that_it_names(wanted: dict[str, tuple[str, ...]], fits: bool) -> None:
    assert TemplateBody(values=(PLAIN,), **wanted).fits("CS-1", "depot", "ACME Fast") is fits


def test_secrets_and_doubles_are_refused() -> None:
    TemplateBody(values=(PLAIN, WHOLE)).check()
    secret = WantedValue(component="SecurityCtrlr", variable="BasicAuthPassword", value="x")
    for values, reason, said in (
        ((PLAIN, WHOLE, PLAIN), "duplicate", "C.V is named twice"),
        ((WantedValue(component="c", variable="v", value="2"), PLAIN), "duplicate", "c.v is named twice"),
        ((PLAIN, secret), "secret", "SecurityCtrlr.BasicAuthPassword is a secret, which is compared with nothing"),
    ):
        with pytest.raises(RefusedError) as refused:
            TemplateBody(values=values).check()
        assert (refused.value.reason, str(refused.value)) == (reason, said)


@together(
    ("actual", "coming", "state"),
    [
        ("300", None, None),
        ("300.0", None, None),
        ("60", None, "differs"),
        ("60", "300", "after its next boot"),
        ("60", "90", "differs"),
        ("300", "60", "differs"),
        ("300", "300", "after its next boot"),
        (None, None, "not reported"),
        (None, "300", "after its next boot"),
        (None, "60", "not reported"),
    ],
)
def test_a_station_differs_until_it_reports_what_is_wanted(
    actual: str | None, coming: str | None, state: str | None
) -> None:
    wanted = WantedValue(component="C", variable="V", value="300")
    found = list(drift([WHOLE, wanted], {wanted.key.lowered: (actual, coming), WHOLE.key.lowered: ("x", None)}))
    assert [(each.key, each.wanted, each.actual, each.state) for each in found] == (
        [] if state is None else [(wanted.key, "300", actual, state)]
    )


def test_what_a_station_has_never_reported_differs() -> None:
    assert list(drift([PLAIN], {})) == [VariableDrift(key=PLAIN.key, wanted="1", actual=None, state="not reported")]


NAMES = st.from_regex(r"\A[A-Za-z0-9_]{1,20}\Z")
PARTS = st.just("") | st.from_regex(r"\A[A-Za-z0-9.,= -]{1,10}\Z").map(str.strip)
VALUES = st.builds(
    WantedValue,
    component=NAMES,
    component_instance=PARTS,
    evse_id=st.integers(0, 9999),
    variable=NAMES,
    variable_instance=PARTS,
    attribute=st.sampled_from(["Actual", "Target", "MinSet"]),
    value=st.from_regex(r"\A[!-~]{0,20}\Z"),
)


@given(st.lists(VALUES, max_size=5))
def test_lines_are_read_as_they_are_named(values: list[WantedValue]) -> None:
    text = "\n".join(f"{place_of(each)} = {each.value}" for each in values)
    assert list(read_values(text)) == values


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(RefusedError):
        assert all(each.component for each in read_values(text))


@together(
    ("line", "wanted"),
    [
        ("C.V=1", PLAIN),
        ("  C.V  =  1  ", PLAIN),
        ("C[i][EVSE 2.3].V[j] MaxSet = x", WHOLE),
        ("C.V =", WantedValue(component="C", variable="V", value="")),
        ("C.V Target = a = b", WantedValue(component="C", variable="V", attribute="Target", value="a = b")),
        ("C[EVSE 2].V = 1", WantedValue(component="C", evse_id=2, variable="V", value="1")),
    ],
)
def test_a_line_names_a_value_as_people_write_it(line: str, wanted: WantedValue) -> None:
    assert read_values(line) == (wanted,)
    assert read_values(f"\n{line}\n \n{line}\n") == (wanted, wanted)


@together(
    "line",
    ["nonsense", "C = 1", "C.V", "C.V Actual = 1", "C[EVSE 2][i].V = 1", "C.V\u00e9 = 1", "C[EVSE x].V[ = 1", ".V = 1"],
)
def test_a_line_that_is_none_is_named_by_its_number(line: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read_values(f"C.V = 1\n\n{line}")
    assert (refused.value.reason, str(refused.value)) == ("line", "line 3 is not Component.Variable = value")


@pytest.mark.parametrize("line", ["C[EVSE 10001].V = 1", f"{'C' * 51}.V = 1", f"C.V = {'x' * 2501}"])
def test_a_line_beyond_what_ocpp_has_room_for_says_so(line: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read_values(line)
    assert refused.value.reason == "line"
    assert str(refused.value).startswith("line 1: Expected ")


@together(
    ("key", "name"),
    [
        (PLAIN, "C.V"),
        (WHOLE, "C[i][EVSE 2.3].V[j] MaxSet"),
        (WHOLE.key, "C[i][EVSE 2.3].V[j] MaxSet"),
        (WantedValue(component="C", evse_id=2, variable="V", value=""), "C[EVSE 2].V"),
    ],
)
def test_an_attribute_has_one_name_for_people(key: VariableKey | WantedValue, name: str) -> None:
    assert place_of(key) == name


@together(
    ("wanted", "actual", "are"),
    [
        ("300", "300.0", True),
        ("3e2", "300", True),
        ("true", "True", True),
        ("TRUE", "false", False),
        ("false", "FALSE", True),
        ("a", "A", False),
        ("a", "a", True),
        ("1", "true", False),
        ("true", "1", False),
        ("", "0", False),
        ("0", "-0", True),
        ("NaN", "nan", False),
        ("1", "2", False),
    ],
)
def test_values_are_the_same_as_text_number_or_truth(wanted: str, actual: str, are: bool) -> None:
    assert same(wanted, actual) is are
