"""Explanations: every bit is accounted for, and says what the codec reads there."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exi.codec import ANY_FRAGMENT, clark
from tests.exi.strategies import Wishes, elements
from tests.exi.vectors import Vector
from tests.exi.vectors_support import VECTORS, ids, prefix
from tests.together import together
from v2g.errors import ExiDecodeError
from v2g.exi import Dialect, decode, decode_fragment, encode, encode_fragment
from v2g.exi.declare import AnyElement, Element, Schema
from v2g.exi.explain import Explanation, explain
from v2g.exi.model import QName, model_of
from v2g.iso15118.d2.messages.data_types import EMAID
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.messages.acdp import ACDP_DisconnectReq, ElectricalChargingDeviceStatus
from v2g.iso15118.d20.messages.common_messages import ServiceDiscoveryReq, ServiceIDList
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.schemas import ACDP, COMMON_MESSAGES


def bits_of(octets: bytes) -> str:
    return "".join(f"{octet:08b}" for octet in octets)


def joined(explanation: Explanation) -> str:
    """The bits of all steps, which must follow each other without a gap."""
    at = 0
    for step in explanation.steps:
        assert step.start == at
        at += len(step.bits)
    return "".join(step.bits for step in explanation.steps)


def values(element: Any) -> list[Any]:
    """Every value of a message in the order of the stream, without those of undeclared elements."""
    if not isinstance(element, Element):
        return [element]
    if isinstance(element, AnyElement):
        return []
    model = model_of(type(element))
    found: list[Any] = []
    for particle in model.particles:
        for field in dict.fromkeys(event.field for event in particle.events):
            value = getattr(element, field)
            for item in value if particle.repeated else () if value is None else (value,):
                found += values(item)
    for item in getattr(element, model.content_field) if model.content is not None else ():
        found += values(item)
    return found


def reported(explanation: Explanation) -> list[Any]:
    return [step.raw for step in explanation.steps if step.raw is not None]


@pytest.mark.some(1)
@together("vector", VECTORS, ids=ids, by=prefix)
def test_steps_add_up_to_the_stream_and_tell_every_value(vector: Vector) -> None:
    explanation = explain(vector.octets, vector.schema, is_fragment=vector.fragment)
    assert joined(explanation) == bits_of(vector.octets)
    assert explanation.error is None
    assert explanation.element is not None
    assert explanation.name in (vector.name, "V2G_Message")
    assert reported(explanation) == values(explanation.element)


@pytest.mark.long
@given(which=ANY_FRAGMENT, data=st.data())
def test_every_structure_is_explained(which: tuple[Schema, QName, type[Element]], data: st.DataObject) -> None:
    schema, name, declaration = which
    octets = encode_fragment(data.draw(elements(declaration, Wishes())), schema, name=clark(name))
    explanation = explain(octets, schema, is_fragment=True)
    assert explanation.error is None
    assert joined(explanation) == bits_of(octets)
    assert reported(explanation) == values(explanation.element)


@given(
    vector=st.sampled_from(VECTORS),
    flips=st.lists(st.integers(0, 2**16), max_size=3),
    cut=st.integers(0, 2**16),
    tail=st.binary(max_size=2),
)
def test_broken_streams_are_explained_up_to_where_they_break(
    vector: Vector, flips: list[int], cut: int, tail: bytes
) -> None:
    """The codec and its explanation agree on what is valid, and where it ends."""
    octets = bytearray(vector.octets)
    for flip in flips:
        octets[flip // 8 % len(octets)] ^= 1 << flip % 8
    stream = bytes(octets[: cut % len(octets)] if cut % 3 == 0 else octets) + tail
    explanation = explain(stream, vector.schema, is_fragment=vector.fragment)
    assert joined(explanation) == bits_of(stream)
    element, error = attempt(stream, vector)
    if error is not None:
        assert explanation.element is None
        assert str(explanation.error) == str(error)
        assert all(step.start < error.bit_position for step in explanation.steps if step.kind != "unread")
    else:
        assert explanation.error is None
        assert explanation.element == element
        assert reported(explanation) == values(element)


def attempt(stream: bytes, vector: Vector) -> tuple[Any, ExiDecodeError | None]:
    """Return what the codec makes of a stream, also beyond the schema: an element, or an error."""
    try:
        return (decode_fragment if vector.fragment else decode)(stream, vector.schema, deviations=[]), None
    except ExiDecodeError as error:
        return None, error


def test_fragments_of_a_name_with_several_types_are_explained() -> None:
    """Their grammar allows every name of the schema (EXI 8.5.3)."""
    octets = encode_fragment(EMAID(value="DE8AA1A2B3C4D5", id="id1"), ISO2, name="eMAID")
    explanation = explain(octets, ISO2, is_fragment=True)
    assert explanation.error is None
    assert joined(explanation) == bits_of(octets)
    assert reported(explanation) == ["id1", "DE8AA1A2B3C4D5"]
    assert [step.event for step in explanation.steps if step.event] == ["SE(eMAID)", "AT(Id)", "CH", "EE", "ED"]


HEADER = MessageHeader(session_id=bytes(8), time_stamp=1)


@pytest.mark.parametrize(
    ("dialect", "state", "bits"), [("exi", "ServiceIDList.1", "0"), ("cbexigen", "ServiceIDList.0+", "01")]
)
def test_full_lists_of_cbexigen_are_explained(dialect: str, state: str, bits: str) -> None:
    """Its last item is followed by the end in the state of one more item."""
    message = ServiceDiscoveryReq(header=HEADER, supported_service_ids=ServiceIDList(service_id=tuple(range(1, 17))))
    octets = encode(message, dialect=Dialect(dialect))
    explanation = explain(octets, COMMON_MESSAGES)
    assert explanation.element == message
    assert joined(explanation) == bits_of(octets)
    assert reported(explanation) == values(message)
    last = next(step for step in reversed(explanation.steps) if step.path.endswith("SupportedServiceIDs"))
    assert (last.state, last.bits) == (state, bits)


def test_swapped_codes_of_cbexigen_are_explained() -> None:
    message = ACDP_DisconnectReq(
        header=HEADER, ev_electrical_charging_device_status=ElectricalChargingDeviceStatus.State_B
    )
    octets = encode(message, dialect=Dialect.CBEXIGEN)
    explanation = explain(octets, ACDP, dialect=Dialect.CBEXIGEN)
    assert explanation.name == "ACDP_DisconnectReq"
    assert explanation.element == message
    assert reported(explanation) == values(message)
