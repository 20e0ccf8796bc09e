"""JSON of messages: the schema's names, and octets as the schema writes them."""

import json
from typing import Any

import pytest

from tests.exi.vectors import Vector
from tests.exi.vectors_support import VECTORS, ids, prefix, read
from tests.together import together
from v2g.errors import ExiEncodeError
from v2g.exi.json import from_json, from_object, to_object
from v2g.exi.model import model_of
from v2g.iso15118.d20.schemas import COMMON_MESSAGES, DC
from v2g.iso15118.select import NAMESPACES

WITH_JSON = [each for each in VECTORS if each.json]

LOOP = {
    "DC_ChargeLoopReq": {
        "Header": {"SessionID": "ABCDEF0123456789", "TimeStamp": 1700000000},
        "MeterInfoRequested": False,
        "EVPresentVoltage": {"Exponent": 0, "Value": 400},
        "Scheduled_DC_CLReqControlMode": {
            "EVTargetCurrent": {"Exponent": 0, "Value": 16},
            "EVTargetVoltage": {"Exponent": 0, "Value": 410},
        },
    }
}


@pytest.mark.some(2)
@together("vector", WITH_JSON, ids=ids, by=prefix)
def test_json_of_another_implementation_is_read(vector: Vector) -> None:
    assert from_object(vector.json, vector.schema) == read(vector)


def test_json_is_that_of_another_implementation() -> None:
    """Key by key; it writes a few signatures with an Id that is not there."""
    different = [each for each in WITH_JSON if to_object(read(each), schema=each.schema, name=each.root) != each.json]
    assert len(different) < len(WITH_JSON) / 100


def test_octets_are_hexadecimal_or_base64_as_the_schema_says() -> None:
    setup = {"Header": {"SessionID": "00FF00FF00FF00FF", "TimeStamp": 1}, "ResponseCode": "OK"}
    setup |= {"AuthorizationServices": ["PnC"], "CertificateInstallationService": True}
    message = {
        "AuthorizationSetupRes": setup | {"PnC_ASResAuthorizationMode": {"GenChallenge": "AAAAAAAAAAAAAAAAAAAA/w=="}}
    }
    element = from_object(message, COMMON_MESSAGES)
    assert element.header.session_id == bytes.fromhex("00ff00ff00ff00ff")  # type: ignore[attr-defined]
    assert to_object(element) == message


def test_members_of_a_substitution_group_have_their_own_keys() -> None:
    assert to_object(from_object(LOOP, DC)) == LOOP


def test_no_two_things_in_a_type_have_one_key() -> None:
    for schema in NAMESPACES.values():
        for each in schema.closure():
            for kind in each.types():
                model = model_of(kind)
                keys = [event.qname.local or "value" for particle in model.particles for event in particle.events]
                keys += ["content"] if model.content is not None else []
                assert len(set(keys)) == len(keys), kind


def changed(path: str, value: Any) -> str:
    """LOOP with one value replaced, or removed if None."""
    message = json.loads(json.dumps(LOOP))
    *parents, last = path.split("/")
    place = message
    for each in parents:
        place = place[each]
    place[last] = value
    if value is None:
        del place[last]
    return json.dumps(message)


@together(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[1", "not JSON"),
        ("[1]", "only key is the element's name"),
        ("[" * 100_000, "not JSON"),
        ('{"DC_ChargeLoopReq": {}, "x": 1}', "only key is the element's name"),
        ('{"Nothing": {}}', "Nothing does not name exactly one structure"),
        ('{"DC_ChargeLoopReq": 7}', "a number where an object is expected"),
        (changed("DC_ChargeLoopReq/Header/SessionID", "xyz"), "Header/SessionID: 'xyz' is not hexadecimal"),
        (changed("DC_ChargeLoopReq/Header/TimeStamp", "1"), "Header/TimeStamp: a string where an integer"),
        (changed("DC_ChargeLoopReq/Header/TimeStamp", value=True), "Header/TimeStamp: a boolean where an integer"),
        (changed("DC_ChargeLoopReq/Header/TimeStamp", 1.5), "Header/TimeStamp: a number where an integer"),
        (changed("DC_ChargeLoopReq/Header/TimeStamp", None), "DC_ChargeLoopReq/Header: TimeStamp is missing"),
        (changed("DC_ChargeLoopReq/Header/More", 1), "Header/More: is not declared here"),
        (changed("DC_ChargeLoopReq/EVPresentVoltage", []), "EVPresentVoltage: an array where an object"),
        (changed("DC_ChargeLoopReq/CLReqControlMode", {}), "another member of its substitution group"),
        (changed("DC_ChargeLoopReq/MeterInfo", {}), "MeterInfo: is not declared here"),
    ],
)
def test_what_is_not_declared_is_refused_with_its_path(text: str, words: str) -> None:
    with pytest.raises(ExiEncodeError) as caught:
        from_json(text, DC)
    assert words in str(caught.value)


def test_lists_and_words_are_refused_with_their_paths() -> None:
    services = {"Header": {"SessionID": "ABCDEF0123456789", "TimeStamp": 1}, "SupportedServiceIDs": {"ServiceID": 3}}
    with pytest.raises(ExiEncodeError, match="SupportedServiceIDs/ServiceID: a number where an array is expected"):
        from_object({"ServiceDiscoveryReq": services}, COMMON_MESSAGES)
    services["SupportedServiceIDs"] = {"ServiceID": [3, "4"]}
    with pytest.raises(ExiEncodeError, match=r"ServiceID\[1\]: a string where an integer is expected"):
        from_object({"ServiceDiscoveryReq": services}, COMMON_MESSAGES)
    stop = {"Header": services["Header"], "ChargingSession": "Never"}
    with pytest.raises(ExiEncodeError, match="'Never' is not a value of ChargingSession"):
        from_object({"SessionStopReq": stop}, COMMON_MESSAGES)
