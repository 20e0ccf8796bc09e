"""AC_DER_IEC and AC_DER_SAE of Amendment 1, beside the vectors of a C codec (`tests/exi/test_vectors.py`)."""

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exi.strategies import Wishes, elements
from v2g.errors import ExiEncodeError
from v2g.exi import decode, decode_fragment, encode, encode_fragment, to_xml
from v2g.exi.declare import Element, Schema
from v2g.exi.grammar import document, fragment
from v2g.exi.json import from_json, to_json
from v2g.exi.model import QName, model_of, qname_of
from v2g.exi.xml import from_xml
from v2g.iso15118.d20.messages import ac, ac_der_iec, ac_der_sae
from v2g.iso15118.d20.schemas import AC, AC_DER_IEC, AC_DER_SAE
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.iso15118.select import NAMESPACES

MESSAGES = (
    *("AC_ChargeLoopReq", "AC_ChargeLoopRes"),
    *("AC_ChargeParameterDiscoveryReq", "AC_ChargeParameterDiscoveryRes"),
)
MODES = (
    *("DER_AC_CPDReqEnergyTransferMode", "DER_AC_CPDResEnergyTransferMode"),
    *("DER_Dynamic_AC_CLReqControlMode", "DER_Dynamic_AC_CLResControlMode"),
    *("DER_Scheduled_AC_CLReqControlMode", "DER_Scheduled_AC_CLResControlMode"),
)
MODULES = {AC_DER_IEC: ac_der_iec, AC_DER_SAE: ac_der_sae}

BOTH = pytest.mark.parametrize("schema", list(MODULES), ids=lambda schema: schema.prefix)
EACH = pytest.mark.parametrize("name", MESSAGES)
DRAWN = settings(max_examples=8, deadline=None)


def declared(schema: Schema, name: str) -> type[Element]:
    found = getattr(MODULES[schema], name)
    return cast(type[Element], found)


@pytest.mark.some(1)
@BOTH
@EACH
@DRAWN
@given(data=st.data())
def test_every_message_comes_back(schema: Schema, name: str, data: st.DataObject) -> None:
    value = data.draw(elements(declared(schema, name), Wishes()))
    assert decode(encode(value), schema) == value
    assert decode_fragment(encode_fragment(value, schema), schema) == value
    assert from_xml(to_xml(value), schema) == value
    assert from_json(to_json(value), schema) == value


@pytest.mark.some(1)
@BOTH
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_every_new_mode_comes_back_as_a_document_and_within_its_message(
    schema: Schema, mode: str, data: st.DataObject
) -> None:
    value: Any = data.draw(elements(declared(schema, mode), Wishes()))
    assert decode(encode(value), schema) == value
    message = next(
        declared(schema, name)
        for name in MESSAGES
        if any(
            event.type is type(value) for each in model_of(declared(schema, name)).particles for event in each.events
        )
    )
    drawn = data.draw(elements(message, Wishes()))
    whole = type(drawn)(
        **{field: getattr(drawn, field) for field in drawn.__struct_fields__[:-1]} | {_last(drawn): value}
    )
    assert decode(encode(whole), schema) == whole
    assert from_xml(to_xml(whole), schema) == whole


def _last(message: Element) -> str:
    return message.__struct_fields__[-1]


@BOTH
def test_documents_may_begin_with_what_ac_has_and_the_new_modes(schema: Schema) -> None:
    own = {QName(each, schema.uri) for each in MODES} | {
        QName(each, schema.uri) for each in MODULES[schema].ELEMENTS if each == "FrequencyDroop"
    }
    assert document(schema).names == sorted({*document(AC).names, *own})
    for name in MESSAGES:
        assert qname_of(declared(schema, name)) == QName(name, AC.uri)
        assert document(schema).type_of(QName(name, AC.uri)) is declared(schema, name)


@BOTH
def test_fragments_know_every_name_of_ac_too(schema: Schema) -> None:
    names = fragment(schema).names
    assert set(fragment(AC).names) < set(names)
    assert {each.uri for each in set(names) - set(fragment(AC).names)} == {schema.uri}


@BOTH
def test_new_modes_are_sorted_into_the_groups_of_ac(schema: Schema) -> None:
    events = model_of(declared(schema, "AC_ChargeLoopReq")).particles[-1].events
    assert [each.qname.local for each in events] == [
        *("BPT_Dynamic_AC_CLReqControlMode", "BPT_Scheduled_AC_CLReqControlMode", "CLReqControlMode"),
        *("DER_Dynamic_AC_CLReqControlMode", "DER_Scheduled_AC_CLReqControlMode"),
        *("Dynamic_AC_CLReqControlMode", "Scheduled_AC_CLReqControlMode"),
    ]
    assert [each.qname.uri for each in events if each.qname.local.startswith("DER")] == [schema.uri] * 2


@BOTH
@EACH
def test_a_message_differs_from_that_of_ac_in_its_group_alone(schema: Schema, name: str) -> None:
    plain, varied = model_of(getattr(ac, name)).particles, model_of(declared(schema, name)).particles
    assert plain[:-1] == varied[:-1]
    added = [each for each in varied[-1].events if each not in plain[-1].events]
    assert [each for each in varied[-1].events if each not in added] == list(plain[-1].events)
    assert {each.qname.uri for each in added} == {schema.uri}


def test_ac_knows_none_of_it() -> None:
    assert not [name for name in fragment(AC).names if name.local.startswith("DER")]
    with pytest.raises(ExiEncodeError):
        document(AC).choose(ac_der_iec.AC_ChargeLoopReq, None)


@pytest.mark.parametrize(
    ("schema", "payload"), [(AC_DER_IEC, PayloadType.AC_DER_IEC), (AC_DER_SAE, PayloadType.AC_DER_SAE)]
)
def test_the_namespace_is_known_and_has_its_payload_type(schema: Schema, payload: PayloadType) -> None:
    assert NAMESPACES[schema.uri] is schema
    assert schema.payload_type == payload
