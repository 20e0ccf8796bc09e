"""The codec holds what it promises for every declared type, for wrong values and for any octets."""

import string
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exi.codec import ANY_FRAGMENT, FRAGMENTS, SCHEMAS, clark
from tests.exi.strategies import Wishes, elements
from tests.exi.vectors import Vector, load
from tests.together import together
from v2g.errors import ExiDecodeError, ExiEncodeError
from v2g.exi import decode, decode_fragment, encode, encode_fragment, to_xml
from v2g.exi.declare import Element, Schema, schema_of
from v2g.exi.grammar import document, fragment
from v2g.exi.json import from_json, to_json
from v2g.exi.model import Kind, QName, Simple, model_of
from v2g.exi.xml import from_xml
from v2g.iso15118.d2.messages import body, common, data_types, header, message
from v2g.iso15118.d2.messages.data_types import EMAID, PhysicalValue, UnitSymbol
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.messages.common_messages import Parameter
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.messages.schedules import PowerSchedule, PowerScheduleEntry, PowerScheduleEntryList
from v2g.iso15118.d20.schemas import COMMON_MESSAGES, DC
from v2g.iso15118.din.messages import common as din_common
from v2g.iso15118.din.messages import data_types as din_types
from v2g.iso15118.din.messages import header as din_header
from v2g.iso15118.din.messages import message as din_message
from v2g.iso15118.engine.schemas import APP_PROTOCOL, XMLDSIG
from v2g.iso15118.engine.xmldsig import MgmtData

ANY_CHARACTER = st.characters(exclude_categories=["Cs"])


MESSAGES = [
    declaration
    for schema in SCHEMAS
    for name in document(schema).names
    if name.uri == schema.uri and isinstance(declaration := document(schema).type_of(name), type)
]


@pytest.mark.some(1)
@together("message", MESSAGES, ids=lambda message: message.__name__, by=lambda message: message.__module__)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_every_message_comes_back_from_its_octets(message: type[Element], data: st.DataObject) -> None:
    value = data.draw(elements(message, Wishes(alphabet=ANY_CHARACTER)))
    schema = next(each for each in SCHEMAS if message in each.types())
    assert decode(encode(value), schema) == value


@pytest.mark.long
@given(which=ANY_FRAGMENT, data=st.data())
def test_every_structure_comes_back_from_a_fragment(
    which: tuple[Schema, QName, type[Element]], data: st.DataObject
) -> None:
    schema, name, declaration = which
    value = data.draw(elements(declaration, Wishes(alphabet=ANY_CHARACTER)))
    octets = encode_fragment(value, schema, name=clark(name))
    assert decode_fragment(octets, schema) == value
    assert encode_fragment(decode_fragment(octets, schema), schema, name=clark(name)) == octets


@pytest.mark.long
@given(which=ANY_FRAGMENT, data=st.data())
def test_every_structure_comes_back_from_xml_and_json(
    which: tuple[Schema, QName, type[Element]], data: st.DataObject
) -> None:
    schema, name, declaration = which
    value = data.draw(elements(declaration, Wishes()))
    assert from_xml(to_xml(value, schema=schema, name=clark(name)), schema) == value
    assert from_json(to_json(value, schema=schema, name=clark(name)), schema) == value


def test_long_lists_and_long_values_come_back() -> None:
    """More than the encoder's accumulator and the decoder's window hold."""
    power = RationalNumber(exponent=3, value=-11)
    entries = tuple(PowerScheduleEntry(duration=at * 900, power=power, power_l3=power) for at in range(1024))
    schedule = PowerSchedule(
        time_anchor=2**64 - 1, power_schedule_entries=PowerScheduleEntryList(power_schedule_entry=entries)
    )
    assert decode_fragment(encode_fragment(schedule, COMMON_MESSAGES), COMMON_MESSAGES) == schedule
    data = MgmtData(value="\u00e9\U0001f50c" * 2000 + "x" * 5000)
    assert decode_fragment(encode_fragment(data, XMLDSIG), XMLDSIG) == data


# Wrong values


def fields() -> list[Any]:
    """Return (declaration, field, wrong value) for every field of every type and every way to get it wrong."""
    found = []
    for declaration in {declaration: None for _, _, declaration in FRAGMENTS}:
        model = model_of(declaration)
        for particle in model.particles:
            for event in particle.events:
                for wrong in wrong_values(event.type, optional=particle.least == 0 or len(particle.events) > 1):
                    value = (wrong,) if particle.repeated and wrong is not None else wrong
                    found.append((declaration, event.field, value))
            if particle.repeated and particle.least:
                found.append((declaration, particle.events[0].field, ()))
            if particle.repeated:
                found.append((declaration, particle.events[0].field, []))
        if model.content is not None:
            found += [(declaration, model.content_field, wrong) for wrong in (None, (3,), (object(),), "text")]
    return found


def wrong_values(declared: Any, *, optional: bool) -> list[Any]:
    wrong: list[Any] = [] if optional else [None]
    wrong += [object()]
    if isinstance(declared, Simple):
        match declared.kind:
            case "bits" | "unsigned" | "integer":
                wrong += ["1", 1.5, b"1"]
                wrong += [declared.low - 1] if declared.low is not None else []
                wrong += [declared.high + 1] if declared.high is not None else [1 << 5000]
            case "string":
                wrong += [5, b"text", "\ud800"]
                wrong += ["x" * (declared.longest + 1)] if declared.longest is not None else []
                wrong += ["x" * (declared.shortest - 1)] if declared.shortest else []
            case "binary":
                wrong += [5, "text"]
                wrong += [bytes(declared.longest + 1)] if declared.longest is not None else []
                wrong += [bytes(declared.shortest - 1)] if declared.shortest else []
            case "boolean":
                wrong += [1, "true"]
            case "enumeration":
                wrong += ["OK", 0]
    return wrong


WRONG = fields()


@pytest.mark.long
@given(which=st.sampled_from(range(len(WRONG))), data=st.data())
def test_a_wrong_value_is_refused_and_named(which: int, data: st.DataObject) -> None:
    declaration, field, wrong = WRONG[which]
    value = data.draw(elements(declaration, Wishes(most=1)))
    others = branches(declaration, field)
    broken = msgspec.structs.replace(value, **dict.fromkeys(others), **{field: wrong})
    schema, name, _ = next(each for each in FRAGMENTS if each[2] is declaration)
    with pytest.raises(ExiEncodeError) as caught:
        encode_fragment(broken, schema, name=clark(name))
    assert caught.value.path.startswith(name.local)


def branches(declaration: type[Element], field: str) -> list[str]:
    """Return the other branches of the choice that a field is in."""
    for particle in model_of(declaration).particles:
        names = {event.field for event in particle.events}
        if field in names:
            return sorted(names - {field})
    return []


def test_an_error_names_the_path_of_the_field() -> None:
    message: Any = decode(bytes.fromhex(next(v for v in load("iso20_dc") if v.name == "DC_PreChargeReq").exi_hex), DC)
    voltage = msgspec.structs.replace(message.ev_target_voltage, value=40_000)
    with pytest.raises(ExiEncodeError, match="40000 is outside the range from -32768 to 32767") as caught:
        encode(msgspec.structs.replace(message, ev_target_voltage=voltage))
    assert caught.value.path == "DC_PreChargeReq/EVTargetVoltage/Value"


def _setup_2() -> Element:
    response = common.SessionSetupRes(response_code=data_types.ResponseCode.OK, evse_id="D" * 38)
    return message.V2G_Message(header=header.MessageHeader(session_id=bytes(8)), body=body.Body(body_element=response))


def _setup_din() -> Element:
    response = din_common.SessionSetupRes(response_code=din_types.ResponseCode.OK, evse_id=bytes(33))
    return din_message.V2G_Message(
        header=din_header.MessageHeader(session_id=bytes(8)), body=din_message.Body(body_element=response)
    )


@pytest.mark.parametrize("make", [_setup_2, _setup_din])
def test_an_error_in_a_body_names_its_message(make: Callable[[], Element]) -> None:
    """In these editions every message is an element of the same group."""
    with pytest.raises(ExiEncodeError, match="are allowed") as caught:
        encode(make())
    assert caught.value.path == "V2G_Message/Body/SessionSetupRes/EVSEID"


def test_two_branches_of_a_choice_are_refused() -> None:
    with pytest.raises(ExiEncodeError, match="only one of"):
        encode_fragment(Parameter(name="a", bool_value=True, int_value=3), COMMON_MESSAGES)
    with pytest.raises(ExiEncodeError, match=r"one of .* must be set"):
        encode_fragment(Parameter(name="a"), COMMON_MESSAGES)


def test_a_structure_with_several_names_needs_one() -> None:
    number = RationalNumber(exponent=0, value=1)
    with pytest.raises(ExiEncodeError, match="stands for"):
        encode_fragment(number, COMMON_MESSAGES)
    octets = encode_fragment(number, COMMON_MESSAGES, name="EnergyFee")
    assert decode_fragment(octets, COMMON_MESSAGES) == number


def test_a_name_of_two_namespaces_is_told_apart_by_its_namespace() -> None:
    voltage = PhysicalValue(multiplier=0, unit=UnitSymbol.V, value=400)
    with pytest.raises(ExiEncodeError, match=r"\{urn:iso:15118:2:2013:MsgBody\}EVMaximumVoltageLimit or"):
        encode_fragment(voltage, ISO2, name="EVMaximumVoltageLimit")
    streams = {
        encode_fragment(voltage, ISO2, name=f"{{urn:iso:15118:2:2013:{namespace}}}EVMaximumVoltageLimit")
        for namespace in ("MsgBody", "MsgDataTypes")
    }
    assert len(streams) == 2
    assert {decode_fragment(octets, ISO2) for octets in streams} == {voltage}


def test_the_contract_identifier_of_2_is_signed_in_the_element_fragment_grammar() -> None:
    """eMAID is a string in one message and a string with an Id in another; only the latter is a structure."""
    emaid = EMAID(id="id1", value="DE12345678901X")
    octets = encode_fragment(emaid, ISO2)
    assert octets.hex() == "80ec0202b4b218c00411114c4c8ccd0d4d8dce0e4c0c563d3d00"  # as EXIficient writes it
    assert decode_fragment(octets, ISO2) == emaid
    with pytest.raises(ExiDecodeError, match="not EMAID"):
        decode_fragment(bytes.fromhex("80ec800822229899199a1a9b1b9c1c9818ac7a7a00"), ISO2)
    with pytest.raises(ExiEncodeError, match="14 to 15"):
        encode_fragment(EMAID(id="id1", value="DE"), ISO2)


# Any octets


@given(schema=st.sampled_from(SCHEMAS), octets=st.binary(max_size=120), header=st.booleans())
def test_garbage_gives_a_message_or_the_documented_error(schema: Schema, octets: bytes, header: bool) -> None:
    survive(b"\x80" + octets if header else octets, schema, is_fragment=False)
    survive(b"\x80" + octets if header else octets, schema, is_fragment=True)


VECTORS = load()


@pytest.mark.long
@given(vector=st.sampled_from(VECTORS), flips=st.lists(st.integers(0, 2**20), min_size=1, max_size=4))
def test_flipped_bits_give_a_message_or_the_documented_error(vector: Vector, flips: list[int]) -> None:
    octets = bytearray(vector.octets)
    for flip in flips:
        at = flip % (8 * len(octets))
        octets[at // 8] ^= 128 >> at % 8
    survive(bytes(octets), vector.schema, is_fragment=vector.fragment)


@together("vector", VECTORS[::9], ids=lambda vector: f"{vector.name}-{vector.variant}")
def test_a_truncated_stream_is_refused(vector: Vector) -> None:
    function = decode_fragment if vector.fragment else decode
    for size in range(0, len(vector.octets) - 1, 1 + len(vector.octets) // 60):
        with pytest.raises(ExiDecodeError) as caught:
            function(vector.octets[:size], vector.schema)
        assert 0 <= caught.value.bit_position <= 8 * size


def survive(octets: bytes, schema: Schema, *, is_fragment: bool) -> None:
    """Decode; what comes out can be shown, and written again, and is then the same."""
    element, position = attempt(octets, schema, is_fragment=is_fragment)
    assert 0 <= position <= 8 * len(octets)
    if element is None:
        return
    if not is_fragment:
        to_xml(element)
        assert decode(encode(element), schema_of(type(element))) == element
    else:
        name = clark(fragment(schema).names[int.from_bytes(octets[1:3]) >> 16 - fragment(schema).width])
        to_xml(element, schema=schema, name=name)
        assert decode_fragment(encode_fragment(element, schema, name=name), schema) == element


def attempt(octets: bytes, schema: Schema, *, is_fragment: bool) -> tuple[Element | None, int]:
    """Return the element, or none and the bit position of the error."""
    try:
        return (decode_fragment(octets, schema) if is_fragment else decode(octets, schema)), 0
    except ExiDecodeError as error:
        return None, error.bit_position


def test_a_length_without_octets_costs_nothing() -> None:
    """A string of 4 GiB is announced, and refused before anything is set aside for it."""
    octets = bytes.fromhex("808c0408080808080808080c") + b"\xff" * 4
    with pytest.raises(ExiDecodeError):
        decode(octets, COMMON_MESSAGES)


def test_errors_say_where() -> None:
    vector = next(v for v in load("iso20_common") if v.name == "SessionSetupReq")
    with pytest.raises(ExiDecodeError, match="octets") as caught:
        decode(vector.octets[:4], COMMON_MESSAGES)
    assert caught.value.path == "SessionSetupReq/Header/SessionID"


def test_only_the_header_of_v2g_is_taken() -> None:
    vector = next(v for v in load("app_protocol") if v.variant == "min")
    for other in (b"", b"\x00", b"$EXI" + vector.octets, b"\xa0" + vector.octets[1:]):
        with pytest.raises(ExiDecodeError, match="header"):
            decode(other, APP_PROTOCOL)


def test_octets_after_the_message_are_refused() -> None:
    vector = next(v for v in load("app_protocol") if v.variant == "min")
    with pytest.raises(ExiDecodeError, match="after the end"):
        decode(vector.octets + b"\x00", APP_PROTOCOL)


# Members of every struct are kept simple enough for people


def test_wire_names_are_unique_and_python_names_are_snake_case() -> None:
    allowed = set(string.ascii_lowercase + string.digits + "_")
    for schema in SCHEMAS:
        for declaration in schema.types():
            names = declaration.__struct_encode_fields__
            assert len(set(names)) == len(names)
            assert all(set(name) <= allowed for name in declaration.__struct_fields__), declaration


def test_every_field_has_a_kind() -> None:
    for _, _, declaration in FRAGMENTS:
        model = model_of(declaration)
        covered = {event.field for particle in model.particles for event in particle.events}
        covered |= {model.content_field} - {""}
        assert covered == set(declaration.__struct_fields__)
        kinds = [particle.events[0].kind for particle in model.particles]
        assert kinds == sorted(kinds, key=lambda kind: kind is not Kind.ATTRIBUTE)
