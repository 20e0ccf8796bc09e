"""The mirror of device models: portions that a station can take, values that are never kept."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.device_model.rules import (
    Limit,
    batches,
    check_distinct,
    is_secret,
    key_of,
    noticed,
    read_values,
    reported,
    without_secrets,
    written_values,
)
from tests.together import together
from v2g.errors import RefusedError
from v2g.ocpp.messages.base import EVSE, Component, Variable
from v2g.ocpp.messages.diagnostics import EventData
from v2g.ocpp.messages.provisioning import (
    GetVariableData,
    GetVariableResult,
    ReportData,
    SetVariableData,
    SetVariableResult,
    VariableAttribute,
    VariableCharacteristics,
)

SECURITY = Component(name="SecurityCtrlr")
PASSWORD = Variable(name="BasicAuthPassword")


def wanted(number: int) -> GetVariableData:
    return GetVariableData(component=Component(name="C"), variable=Variable(name=f"v{number}" * (1 + number % 5)))


@given(st.integers(0, 60), st.none() | st.integers(0, 12), st.none() | st.integers(0, 2000))
def test_portions_hold_everything_once_and_no_more_than_allowed(
    count: int, items: int | None, octets: int | None
) -> None:
    data = [wanted(number) for number in range(count)]
    portions = list(batches(data, Limit(items, octets)))
    assert [each for portion in portions for each in portion] == data
    for portion in portions:
        assert len(portion) <= max(1, 10 if items is None else items)
        assert octets is None or len(portion) == 1 or len(msgspec.json.encode(portion)) <= octets


def test_the_same_variable_is_not_set_twice_whether_its_attribute_is_named_or_not() -> None:
    data = SetVariableData(component=SECURITY, variable=PASSWORD, attribute_value="1")
    with pytest.raises(RefusedError):
        check_distinct([data, msgspec.structs.replace(data, attribute_type="Actual")])
    check_distinct([data, msgspec.structs.replace(data, attribute_type="Target")])


def test_secrets_are_never_kept() -> None:
    attribute = VariableAttribute(value="the secret")
    (row,) = reported([ReportData(component=SECURITY, variable=PASSWORD, variable_attribute=(attribute,))], 0)
    assert row["value"] is None
    result = GetVariableResult(
        component=SECURITY, variable=PASSWORD, attribute_status="Accepted", attribute_value="the secret"
    )
    assert list(read_values([result], 0)) == []
    data = SetVariableData(component=SECURITY, variable=PASSWORD, attribute_value="the secret")
    taken = SetVariableResult(component=SECURITY, variable=PASSWORD, attribute_status="Accepted")
    assert list(written_values([data], [taken], 0)) == []
    event = EventData(
        event_id=1, timestamp="2026-01-01T00:00:00Z", trigger="Delta", actual_value="the secret",
        event_notification_type="CustomMonitor", component=SECURITY, variable=PASSWORD,
    )  # fmt: skip
    assert list(noticed([event, msgspec.structs.replace(event, variable=Variable(name="Identity"))], 9)) == [
        COLUMNS | {"value": "the secret", "value_ms": 9}
    ]


def test_an_answer_about_what_nobody_asked_for_changes_nothing() -> None:
    other = SetVariableResult(component=SECURITY, variable=Variable(name="Other"), attribute_status="Accepted")
    data = SetVariableData(component=SECURITY, variable=Variable(name="Identity"), attribute_value="x")
    assert list(written_values([data], [other], 0)) == []


COLUMNS = {
    "component": "SecurityCtrlr", "component_instance": "", "evse_id": 0, "connector_id": 0, "variable": "Identity",
    "variable_instance": "", "attribute": "Actual",
}  # fmt: skip
IDENTITY = Variable(name="Identity")


@together(
    ("name", "secret"),
    [
        ("BasicAuthPassword", True), ("password", True), ("key", True), ("Key", True), ("simPin", True),
        ("SharedSecret", True), ("SharedSecre", False), ("keyboard", False), ("MyKey", False),
        ("key ", False), ("Identity", False),
    ],
)  # fmt: skip
def test_a_secret_is_known_by_its_name(name: str, secret: bool) -> None:
    assert is_secret(name) is secret
    kept = {} if secret else {name: 1}
    assert without_secrets({name: 1, "more": {name: 1}}) == {**kept, "more": kept}
    assert without_secrets(name) == name


@together(
    ("component", "variable", "attribute", "key"),
    [
        (Component(name="C"), Variable(name="V"), None, ("C", "", 0, 0, "V", "", "Actual")),
        (
            Component(name="C", instance="i", evse=EVSE(id=2)),
            Variable(name="V", instance="j"),
            "MaxSet",
            ("C", "i", 2, 0, "V", "j", "MaxSet"),
        ),
        (
            Component(name="C", evse=EVSE(id=2, connector_id=3)),
            Variable(name="V"),
            "Target",
            ("C", "", 2, 3, "V", "", "Target"),
        ),
    ],
)
def test_an_attribute_is_named_whole(
    component: Component, variable: Variable, attribute: str | None, key: tuple[str, str, int, int, str, str, str]
) -> None:
    assert msgspec.structs.astuple(key_of(component, variable, attribute)) == key


def test_a_report_is_kept_with_its_characteristics() -> None:
    kind = VariableCharacteristics(
        unit="s", data_type="integer", min_limit=1, max_limit=9, values_list="a,b", supports_monitoring=True
    )
    attributes = (
        VariableAttribute(value="5", mutability="ReadOnly", persistent=True, constant=True),
        VariableAttribute(type="MaxSet"),
    )
    data = ReportData(component=SECURITY, variable=IDENTITY, variable_attribute=attributes)
    first, second = reported([msgspec.structs.replace(data, variable_characteristics=kind)], 7)
    described = {"data_type": "integer", "unit": "s", "min_limit": 1, "max_limit": 9, "values_list": "a,b",
                 "supports_monitoring": True, "value_ms": 7}  # fmt: skip
    assert first == COLUMNS | described | {
        "value": "5", "mutability": "ReadOnly", "constant": True, "persistent": True
    }  # fmt: skip
    other = {"attribute": "MaxSet", "value": None, "mutability": "ReadWrite", "constant": False, "persistent": False}
    assert second == COLUMNS | described | other
    bare = {"data_type": "", "unit": "", "min_limit": None, "max_limit": None, "values_list": "",
            "supports_monitoring": False}  # fmt: skip
    first, second = reported([data], 7)
    assert second == COLUMNS | described | other | bare
    plain = msgspec.structs.replace(kind, unit=None, values_list=None)
    first, second = reported([msgspec.structs.replace(data, variable_characteristics=plain)], 7)
    assert (first["unit"], first["values_list"]) == ("", "")


def test_what_was_read_and_written_is_kept_if_it_was_accepted() -> None:
    read = GetVariableResult(
        component=SECURITY, variable=IDENTITY, attribute_status="Accepted", attribute_value="x", attribute_type="Target"
    )
    bad = msgspec.structs.replace(read, attribute_status="Rejected", attribute_value="y")
    assert list(read_values([bad, read], 7)) == [COLUMNS | {"attribute": "Target", "value": "x", "value_ms": 7}]
    data = [SetVariableData(component=SECURITY, variable=IDENTITY, attribute_value="x")]
    result = SetVariableResult(
        component=SECURITY, variable=IDENTITY, attribute_status="Accepted", attribute_type="Actual"
    )
    other = SetVariableResult(component=SECURITY, variable=Variable(name="Other"), attribute_status="Accepted")
    results = [msgspec.structs.replace(result, attribute_status="Rejected"), other, result]
    done = {"value": "x", "value_ms": 7, "after_reboot": None}
    assert list(written_values(data, results, 7)) == [COLUMNS | done]
    later = msgspec.structs.replace(result, attribute_status="RebootRequired")
    assert list(written_values(data, [later], 7)) == [COLUMNS | {"after_reboot": "x"}]


def test_a_portion_is_as_large_as_a_station_takes() -> None:
    """Octets: with what stands around the list; nobody who reported no limit gets more than ten."""
    data = [wanted(number) for number in range(1, 24)]
    assert [len(each) for each in batches(data, Limit())] == [10, 10, 3]
    assert [len(each) for each in batches(data, Limit(0))] == [1] * 23
    assert [len(each) for each in batches(data, Limit(5, 10_000))] == [5, 5, 5, 5, 3]
    same = [wanted(5)] * 6
    size = len(msgspec.json.encode(same[0])) + 1
    for octets, portions in (
        (2 * size + 100, [2, 2, 2]),
        (2 * size + 99, [1] * 6),
        (3 * size + 99, [2, 2, 2]),
        (5, [1] * 6),
    ):
        assert [len(each) for each in batches(same, Limit(60, octets))] == portions
    assert list(batches([], Limit())) == []


def test_a_variable_that_is_set_twice_is_named() -> None:
    data = SetVariableData(component=SECURITY, variable=IDENTITY, attribute_value="1")
    with pytest.raises(RefusedError) as refused:
        check_distinct([data, data])
    assert (str(refused.value), refused.value.reason) == ("SecurityCtrlr.Identity is set twice", "duplicate")
