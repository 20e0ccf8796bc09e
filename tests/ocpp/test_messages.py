"""Every declared message against the official JSON schemas of OCPP 1.6, 2.0.1 and 2.1, in both directions."""

import copy
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ocpp.official import (
    WITH_16,
    actions,
    enumerations,
    instances,
    maximal,
    message_names,
    message_type,
    minimal,
    schema,
    validator,
)
from tests.together import together
from v2g.errors import OcppError
from v2g.ocpp import routes
from v2g.ocpp.messages.monitoring import SetVariableMonitoringRequest
from v2g.ocpp.routes import Version
from v2g.ocpp.versions import read_payload, without_21, write_payload

pytestmark = pytest.mark.requirement("R16")

EVERY = together(
    ("name", "version"),
    [(name, version) for version in WITH_16 for name in message_names(version)],
    by=lambda each: f"{each[1]}-{each[0][0]}",
)


def place(value: Any, path: tuple[str, ...], new: Any) -> Any:
    """Return `value` with what stands at `path` replaced."""
    changed = copy.deepcopy(value)
    spot = changed
    for step in path[:-1]:
        spot = spot[int(step)] if step.isdigit() else spot[step]
    last = path[-1]
    spot[int(last) if last.isdigit() else last] = new
    return changed


@pytest.mark.parametrize(("version", "count"), [("1.6", 39), ("2.0.1", 64), ("2.1", 91)])
def test_every_action_of_the_standard_is_known(version: Version, count: int) -> None:
    assert routes.known(version) == actions(version)
    assert len(routes.known(version)) == count


@pytest.mark.parametrize("action", sorted(routes.UNCONFIRMED))
def test_what_is_sent_without_an_answer_has_no_response(action: str) -> None:
    assert f"{action}Response" not in message_names("2.1")
    with pytest.raises(KeyError):
        routes.response_type(action)


@pytest.mark.some(2)
@EVERY
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_we_declare_is_valid_by_the_schema(name: str, version: Version, data: st.DataObject) -> None:
    type_ = message_type(name, version)
    values = data.draw(instances(type_, version))
    message = read_payload(msgspec.json.encode(values), type_, version)
    written = write_payload(message, version)
    validator(name, version).validate(msgspec.json.decode(written))
    assert read_payload(written, type_, version) == message


@EVERY
def test_what_the_schema_allows_is_read(name: str, version: Version) -> None:
    root = schema(name, version)
    for value in (minimal(root, root), maximal(root, root)):
        validator(name, version).validate(value)
        message = read_payload(msgspec.json.encode(value), message_type(name, version), version)
        validator(name, version).validate(msgspec.json.decode(write_payload(message, version)))


@EVERY
def test_an_integer_may_be_written_as_a_decimal_and_goes_out_as_an_integer(name: str, version: Version) -> None:
    """Draft-06, of which the official schemas are: a number without a fraction is an integer."""
    root = schema(name, version)
    value = maximal(root, root)
    plain = msgspec.json.encode(value)
    decimal = msgspec.json.encode(as_decimals(value))
    validator(name, version).validate(json.loads(decimal))
    message = read_payload(decimal, message_type(name, version), version)
    assert message == read_payload(plain, message_type(name, version), version)
    assert as_decimals(msgspec.json.decode(write_payload(message, version))) == as_decimals(
        msgspec.json.decode(write_payload(read_payload(plain, message_type(name, version), version), version))
    )
    assert not fractions_of_nothing(msgspec.json.decode(write_payload(message, version)))
    if decimal != plain:
        with pytest.raises(OcppError) as caught:
            read_payload(decimal.replace(b".0", b".5"), message_type(name, version), version)
        assert caught.value.answer in ("TypeConstraintViolation", "PropertyConstraintViolation")


def as_decimals(value: Any) -> Any:
    """Return a document whose integers are floats."""
    match value:
        case bool() | str():
            return value
        case int():
            return float(value)
        case list():
            return [as_decimals(each) for each in value]
        case dict():
            return {key: as_decimals(each) for key, each in value.items()}
    return value


def fractions_of_nothing(value: Any) -> bool:
    """Return whether a document has a float that is a whole number."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) < 2**53
    if isinstance(value, dict | list):
        return any(fractions_of_nothing(each) for each in (value.values() if isinstance(value, dict) else value))
    return False


@pytest.mark.some(9)
@EVERY
def test_every_enumeration_value_is_read_and_no_other(name: str, version: Version) -> None:
    root = schema(name, version)
    value = maximal(root, root)
    for path, allowed in enumerations(root, root):
        for word in allowed:
            read_payload(msgspec.json.encode(place(value, path, word)), message_type(name, version), version)
        with pytest.raises(OcppError) as caught:
            read_payload(msgspec.json.encode(place(value, path, "Nonsense")), message_type(name, version), version)
        assert caught.value.answer == "PropertyConstraintViolation"


def longer(part: dict[str, Any], root: dict[str, Any], value: Any, path: tuple[str, ...] = ()) -> Any:
    """Yield paths of strings and lists that are as long as they may be."""
    if "$ref" in part:
        part = root["definitions"][part["$ref"].rsplit("/", 1)[1]]
    if part.get("type") == "string" and "maxLength" in part and len(value) == part["maxLength"]:
        yield path, value + "x", "PropertyConstraintViolation"
    if part.get("type") == "array":
        if part.get("minItems"):
            yield path, [], "OccurrenceConstraintViolation"
        if len(value) == part.get("maxItems"):
            yield path, [*value, value[0]], "OccurrenceConstraintViolation"
        yield from longer(part["items"], root, value[0], (*path, "0"))
    for name, inner in part.get("properties", {}).items():
        yield from longer(inner, root, value[name], (*path, name))


@EVERY
def test_what_is_one_too_long_or_empty_is_refused(name: str, version: Version) -> None:
    root = schema(name, version)
    value = maximal(root, root)
    for path, wrong, code in longer(root, root, value):
        with pytest.raises(OcppError) as caught:
            read_payload(msgspec.json.encode(place(value, path, wrong)), message_type(name, version), version)
        assert caught.value.answer == code, path


def beyond(part: dict[str, Any], root: dict[str, Any], path: tuple[str, ...] = ()) -> Any:
    """Yield paths of numbers that are bounded, and a value outside."""
    if "$ref" in part:
        part = root["definitions"][part["$ref"].rsplit("/", 1)[1]]
    if "minimum" in part:
        yield path, part["minimum"] - 1
    if "maximum" in part:
        yield path, part["maximum"] + 1
    for name, inner in part.get("properties", {}).items():
        yield from beyond(inner, root, (*path, name))
    if "items" in part:
        yield from beyond(part["items"], root, (*path, "0"))


@together("name", message_names("2.1"))
def test_a_number_out_of_its_range_is_refused(name: str) -> None:
    root = schema(name, "2.1")
    value = maximal(root, root)
    for path, wrong in beyond(root, root):
        whole = place(value, path, int(wrong))
        assert not validator(name, "2.1").is_valid(whole)
        with pytest.raises(OcppError) as caught:
            read_payload(msgspec.json.encode(whole), message_type(name), "2.1")
        assert caught.value.answer == "PropertyConstraintViolation", path


def numbers(hint: Any, path: str, low: bool = False, high: bool = False) -> Iterator[str]:
    """Yield the numbers in a declared type that lack a lower or an upper limit."""
    if get_origin(hint) is Annotated:
        inner, *metas = get_args(hint)
        low = low or any(getattr(meta, "ge", None) is not None for meta in metas)
        high = high or any(getattr(meta, "le", None) is not None for meta in metas)
        yield from numbers(inner, path, low, high)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        for name, inner in get_type_hints(hint, include_extras=True).items():
            yield from numbers(inner, f"{path}.{name}")
    elif hint in (int, float):
        if not (low and high):
            yield path
    elif get_origin(hint) is not Literal:
        for inner in get_args(hint):
            yield from numbers(inner, path, low, high)


@EVERY
def test_every_number_has_a_range(name: str, version: Version) -> None:
    """What is computed from a peer's number stays finite, and fits everywhere it is stored."""
    assert not [*numbers(message_type(name, version), name)]


@together("number", ["1e308", "-1e308", "1e400", "NaN", "Infinity", "1" + "0" * 400])
def test_no_number_is_infinite(number: str) -> None:
    monitor = (
        f'{{"value":{number},"type":"Periodic","severity":5,"component":{{"name":"C"}},"variable":{{"name":"V"}}}}'
    )
    with pytest.raises(OcppError):
        read_payload(f'{{"setMonitoringData":[{monitor}]}}'.encode(), SetVariableMonitoringRequest, "2.1")


def required(part: dict[str, Any], root: dict[str, Any], path: tuple[str, ...] = ()) -> Any:
    """Yield the path of every object and the properties that it must have."""
    if "$ref" in part:
        part = root["definitions"][part["$ref"].rsplit("/", 1)[1]]
    if part.get("type") == "object":
        yield path, part.get("required", [])
    for name, inner in part.get("properties", {}).items():
        yield from required(inner, root, (*path, name))
    if "items" in part:
        yield from required(part["items"], root, (*path, "0"))


@pytest.mark.some(9)
@EVERY
def test_what_lacks_a_required_property_or_has_an_unknown_one_is_refused(name: str, version: Version) -> None:
    root = schema(name, version)
    value = maximal(root, root)
    for path, names in required(root, root):
        spot = value
        for step in path:
            spot = spot[int(step)] if step.isdigit() else spot[step]
        for missing in names:
            less = {k: v for k, v in spot.items() if k != missing}
            wrong = place(value, path, less) if path else less
            with pytest.raises(OcppError) as caught:
                read_payload(msgspec.json.encode(wrong), message_type(name, version), version)
            assert caught.value.answer == "OccurrenceConstraintViolation"
        if path and path[-1] == "customData":
            continue
        more = {**spot, "unheardOf": 1}
        with pytest.raises(OcppError) as caught:
            read_payload(
                msgspec.json.encode(place(value, path, more) if path else more), message_type(name, version), version
            )
        assert caught.value.answer == "FormatViolation"


@together("name", message_names("2.0.1"))
def test_a_message_of_21_loses_only_what_201_has_not(name: str) -> None:
    root = schema(name, "2.1")
    message = read_payload(msgspec.json.encode(maximal(root, root)), message_type(name), "2.1")
    old = schema(name, "2.0.1")
    known = set(old["properties"])
    left = msgspec.json.decode(msgspec.json.encode(without_21(message)))
    assert set(left) == {key for key in msgspec.json.decode(msgspec.json.encode(message)) if key in known}


def test_null_is_no_way_to_leave_a_field_out() -> None:
    type_ = message_type("GetTransactionStatusRequest")
    with pytest.raises(OcppError) as caught:
        read_payload(b'{"transactionId": null}', type_, "2.0.1")
    assert caught.value.answer == "TypeConstraintViolation"


def test_null_is_content_where_content_is_free() -> None:
    type_ = message_type("DataTransferRequest")
    read_payload(b'{"vendorId": "a", "data": {"x": null}}', type_, "2.0.1")
    read_payload(b'{"vendorId": "a", "customData": {"vendorId": "b", "x": null}}', type_, "2.0.1")


def test_a_message_that_breaks_its_declaration_is_not_written() -> None:
    from v2g.ocpp.messages.authorization import AuthorizeRequest, IdToken

    request = AuthorizeRequest(id_token=IdToken(id_token="x" * 40, type="eMAID"))
    assert write_payload(request, "2.1")
    with pytest.raises(OcppError):
        write_payload(request, "2.0.1")
