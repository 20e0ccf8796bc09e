"""The mirror of device models: portions that a station can take, values that are never kept."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.device_model.rules import Limit, batches, check_distinct, noticed, read_values, reported, written_values
from v2g.errors import RefusedError
from v2g.ocpp.messages.base import Component, Variable
from v2g.ocpp.messages.provisioning import (
    GetVariableData,
    GetVariableResult,
    ReportData,
    SetVariableData,
    SetVariableResult,
    VariableAttribute,
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
    assert list(noticed([], 0)) == []


def test_an_answer_about_what_nobody_asked_for_changes_nothing() -> None:
    other = SetVariableResult(component=SECURITY, variable=Variable(name="Other"), attribute_status="Accepted")
    data = SetVariableData(component=SECURITY, variable=Variable(name="Identity"), attribute_value="x")
    assert list(written_values([data], [other], 0)) == []
