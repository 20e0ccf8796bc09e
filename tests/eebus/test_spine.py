"""SPINE at the charger: datagrams of a box that shares no code with it, and whatever else may arrive (R206)."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.eebus.guard import BOX, CHARGER, FACTS, PRESET, START, Guard, Joined, feature, plain, wire
from tests.together import together
from v2g.eebus.charger import ControllableSystem
from v2g.eebus.json_form import MOST_BYTES, Tag, decode, encode
from v2g.eebus.messages import Address, Cmd, Datagram, DatagramMessage, Header, Payload, ScaledNumber, command
from v2g.errors import CodecError


def controlled(joined: Joined) -> None:
    joined.connect()
    joined.beat()
    assert joined.say(joined.guard.limit({"limitId": 0, "isLimitActive": False}, ended=True)) == 0


@pytest.mark.requirement("R206")
def test_discovery_names_what_a_guard_looks_for() -> None:
    joined = Joined()
    joined.connect()
    joined.system.receive(
        joined.link, joined.guard.node("read", {"nodeManagementDetailedDiscoveryData": {}}), joined.at
    )  # type: ignore[arg-type]
    joined.pass_on()
    found = joined.guard.last("nodeManagementDetailedDiscoveryData")
    assert found["specificationVersionList"] == {"specificationVersion": ["1.3.0"]}
    assert found["deviceInformation"]["description"]["deviceType"] == "ChargingStation"
    features = [each["description"] for each in found["featureInformation"]]
    assert [(each["featureType"], each["role"], each["featureAddress"]["entity"]) for each in features] == [
        ("NodeManagement", "special", [0]),
        ("DeviceClassification", "server", [0]),
        ("LoadControl", "server", [1]),
        ("DeviceConfiguration", "server", [1]),
        ("DeviceDiagnosis", "server", [1]),
        ("ElectricalConnection", "server", [1]),
        ("Measurement", "server", [1]),
        ("DeviceDiagnosis", "client", [1]),
    ]
    limits = next(each for each in features if each["featureType"] == "LoadControl")["supportedFunction"]
    assert {
        "function": "loadControlLimitListData",
        "possibleOperations": {"read": {}, "write": {"partial": {}}},
    } in limits
    sent = [each["payload"]["cmd"][0] for each in joined.guard.heard]
    assert any("nodeManagementSubscriptionRequestCall" in each for each in sent), "it subscribes, too"
    assert any("deviceDiagnosisHeartbeatData" in each for each in sent), "and asks for a heartbeat"


def test_use_cases_and_values_of_a_guard_that_reads_everything() -> None:
    joined = Joined()
    joined.connect()
    joined.system.receive(joined.link, joined.guard.node("read", {"nodeManagementUseCaseData": {}}), joined.at)  # type: ignore[arg-type]
    joined.pass_on()
    cases = joined.guard.last("nodeManagementUseCaseData")["useCaseInformation"]
    assert [(each["actor"], [one["useCaseName"] for one in each["useCaseSupport"]]) for each in cases] == [
        ("ControllableSystem", ["limitationOfPowerConsumption", "limitationOfPowerProduction"]),
        ("MonitoredUnit", ["monitoringOfPowerConsumption"]),
    ]
    described = joined.read(1, "loadControlLimitDescriptionListData")["loadControlLimitDescriptionData"]
    assert [each["limitDirection"] for each in described] == ["consume", "produce"]
    keys = joined.read(2, "deviceConfigurationKeyValueDescriptionListData")
    assert [each["keyName"] for each in keys["deviceConfigurationKeyValueDescriptionData"]] == [
        "failsafeConsumptionActivePowerLimit",
        "failsafeProductionActivePowerLimit",
        "failsafeDurationMinimum",
    ]


def test_measurements_are_served_and_notified_when_they_change() -> None:
    joined = Joined()
    joined.connect()
    for power_w in (-3000, -3000, None):
        joined.system.measure((power_w, 12_000, 340), joined.at)
    joined.pass_on()
    told = [each for each in joined.guard.heard if "measurementListData" in each["payload"]["cmd"][0]]
    assert len(told) == 2, "the same values once"
    (power, consumed, produced) = told[0]["payload"]["cmd"][0]["measurementListData"]["measurementData"]
    assert [each["value"]["number"] for each in (power, consumed, produced)] == [-3000, 12_000, 340]
    lost = told[1]["payload"]["cmd"][0]["measurementListData"]["measurementData"][0]
    assert (lost["valueState"], "value" in lost) == ("error", False)


def test_a_write_needs_a_binding_and_one_guard_has_it() -> None:
    joined = Joined()
    joined.link = joined.system.connect("ab" * 20, joined.at)
    joined.pass_on()
    assert joined.say(joined.guard.limit({"limitId": 0, "isLimitActive": False})) == 9
    assert joined.say(joined.guard.relation("binding", 1, "LoadControl")) == 0
    first, joined.link = joined.link, joined.system.connect("cd" * 20, joined.at)
    joined.pass_on()
    assert joined.say(joined.guard.relation("binding", 1, "LoadControl")) == 7
    joined.system.disconnect(first)
    assert joined.say(joined.guard.relation("binding", 1, "LoadControl")) == 0
    joined.link = joined.system.connect("cd" * 20, joined.at)
    joined.pass_on()
    assert joined.say(joined.guard.relation("binding", 1, "LoadControl")) == 0, "its own older connection is no other"
    assert joined.system.guard is joined.link
    assert joined.say(joined.guard.relation("binding", 0, "NodeManagement")) != 0
    assert joined.say(joined.guard.relation("subscription", 9, "Measurement")) == 4


def test_only_the_guard_that_controls_sets_failsafe_values() -> None:
    joined = Joined()
    joined.connect()
    joined.beat()
    assert joined.say(joined.guard.limit({"limitId": 0, "isLimitActive": False})) == 0
    first, joined.link = joined.link, joined.system.connect("cd" * 20, joined.at)
    joined.pass_on()
    assert joined.say(joined.guard.relation("binding", 2, "DeviceConfiguration")) == 0
    for number, value in ((0, {"scaledNumber": {"number": 22_000}}), (2, {"duration": "PT24H"})):
        assert joined.say(joined.guard.key(number, value)) == 7
    assert joined.system.failsafe == PRESET
    joined.system.disconnect(first)
    assert joined.say(joined.guard.relation("binding", 1, "LoadControl")) == 0
    assert joined.say(joined.guard.key(2, {"duration": "PT24H"})) == 0, "it has taken over"


def test_a_refused_write_changes_nothing_and_no_deletion_of_limits_is_taken() -> None:
    joined = Joined()
    controlled(joined)
    before = joined.read(1, "loadControlLimitListData")
    filters: list[dict[str, Any]] = [
        {"cmdControl": {"delete": {}}, "loadControlLimitListDataSelectors": {"limitId": 0}}
    ]
    cmd = {"function": "loadControlLimitListData", "filter": filters, "loadControlLimitListData": {}}
    assert joined.say(joined.guard.datagram("write", feature([1], 1, CHARGER), cmd)) == 8
    both = {"loadControlLimitData": [
        {"limitId": 0, "isLimitActive": True, "value": {"number": 5000}},
        {"limitId": 1, "isLimitActive": True, "value": {"number": 5000}},
    ]}  # fmt: skip
    cmd = {"function": "loadControlLimitListData", "loadControlLimitListData": both}
    assert joined.say(joined.guard.datagram("write", feature([1], 1, CHARGER), cmd)) == 7, "a positive limit of LPP"
    assert joined.read(1, "loadControlLimitListData") == before
    assert joined.say(joined.guard.limit({"limitId": 5, "isLimitActive": True})) == 7
    assert joined.say(joined.guard.limit({"limitId": 0, "timePeriod": {"endTime": "soon"}})) == 7
    assert joined.say(joined.guard.datagram("write", feature([1], 4, CHARGER), {"measurementListData": {}})) == 6


def test_a_positive_limit_of_production_is_a_magnitude_where_the_operator_says_so() -> None:
    joined = Joined(replace(FACTS, production_as_magnitude=True))
    controlled(joined)
    assert (
        joined.say(joined.guard.limit({"limitId": 1, "isLimitActive": True, "value": {"number": 2, "scale": 3}})) == 0
    )
    assert joined.system.discharge_w == 2000


def test_an_end_by_the_clock_is_understood_and_a_charger_that_only_draws_has_no_limit_of_production() -> None:
    joined = Joined(replace(FACTS, nominal_discharge_w=None))
    controlled(joined)
    end = {"endTime": "2026-05-28T20:27:20Z"}
    assert joined.at.utc_ms == 1_780_000_000_000
    assert joined.say(joined.guard.limit({"limitId": 0, "isLimitActive": True, "timePeriod": end})) == 0
    assert joined.read(1, "loadControlLimitListData")["loadControlLimitData"] == [
        {
            "limitId": 0,
            "isLimitChangeable": True,
            "isLimitActive": True,
            "timePeriod": {"endTime": "PT40S"},
            "value": {"number": 4200, "scale": 0},
        }
    ]
    assert joined.say(joined.guard.limit({"limitId": 1, "isLimitActive": True})) == 7
    assert (joined.system.charge_w, joined.system.discharge_w) == (4200, None)


def test_unknown_features_functions_and_broken_datagrams_get_their_errors() -> None:
    joined = Joined()
    joined.connect()
    assert joined.say(joined.guard.datagram("read", feature([3], 1, CHARGER), {"measurementListData": {}})) == 4
    assert joined.say(joined.guard.datagram("read", feature([1], 1, "d:_n:other"), {"measurementListData": {}})) == 4
    assert joined.say(joined.guard.datagram("read", feature([1], 1, CHARGER), {"hvacOverrunListData": {}})) == 6
    assert joined.say(joined.guard.datagram("read", feature([1], 1, CHARGER), {"measurementListData": {}})) == 6
    assert joined.say(joined.guard.node("write", {"nodeManagementUseCaseData": {}})) == 6
    broken = {"loadControlLimitListData": {"loadControlLimitData": [{"limitId": "none"}]}}
    assert joined.say(joined.guard.datagram("write", feature([1], 1, CHARGER), broken)) == 1


def test_an_old_heartbeat_that_is_read_again_is_none() -> None:
    """A silent guard's device still answers questions."""
    joined = Joined()
    joined.connect()
    joined.beat()
    joined.wait(61)
    old = {"heartbeatCounter": joined.guard.beats, "heartbeatTimeout": "PT60S"}
    for data, number in ((old, 7), ({**old, "heartbeatCounter": 9}, 0)):
        reply = joined.guard.datagram("reply", feature([1], 6, CHARGER), {"deviceDiagnosisHeartbeatData": data})
        joined.system.receive(joined.link, reply, joined.at)  # type: ignore[arg-type]
        assert joined.say(joined.guard.limit({"limitId": 0, "isLimitActive": False})) == number


def bare(data: dict[str, Any]) -> None:
    """Each feature lists no functions."""
    for each in data["featureInformation"]:
        each["description"].pop("supportedFunction")


def alone(data: dict[str, Any]) -> None:
    """A list of one is written as its item."""
    data["specificationVersionList"]["specificationVersion"] = "1.3.0"


def null(data: dict[str, Any]) -> None:
    """What is absent is written as null."""
    data["entityInformation"] = None
    data["deviceInformation"]["description"]["networkFeatureSet"] = None


def unnamed(header: dict[str, Any]) -> None:
    """The first answer does not name its device."""
    header["addressSource"].pop("device")


@pytest.mark.parametrize("change", [bare, alone, null, unnamed])
def test_heartbeats_of_boxes_with_an_odd_discovery_are_asked_for(change: Callable[[dict[str, Any]], None]) -> None:
    """Without them no limit of the box would be accepted."""
    system = ControllableSystem(FACTS, PRESET, lambda _: None, START)
    link = system.connect("ab" * 20, START)
    (asked,) = (plain(json.loads(each))["datagram"] for each in link.take())
    answer = plain(json.loads(Guard().discovery(asked["header"]["msgCounter"])))
    whole, data = answer["datagram"], answer["datagram"]["payload"]["cmd"][0]["nodeManagementDetailedDiscoveryData"]
    change(whole["header"] if change is unnamed else data)
    system.receive(link, json.dumps({"datagram": wire(whole)}).encode(), START)
    sent = [plain(json.loads(each))["datagram"] for each in link.take()]
    calls = [each["payload"]["cmd"][0] for each in sent if each["header"]["cmdClassifier"] == "call"]
    kinds = [
        each["nodeManagementSubscriptionRequestCall"]["subscriptionRequest"]["serverFeatureType"] for each in calls
    ]
    assert (link.device, kinds) == (BOX, ["NodeManagement", "DeviceDiagnosis"])


def test_a_heartbeat_without_a_counter_counts() -> None:
    joined = Joined()
    joined.connect()
    beat = {"deviceDiagnosisHeartbeatData": {"heartbeatTimeout": "PT60S"}}
    joined.say(joined.guard.datagram("notify", feature([1], 6, CHARGER), beat, number=4, ackRequest=True))
    assert joined.say(joined.guard.limit({"limitId": 0, "isLimitActive": True, "value": {"number": 4200}})) == 0


LIMIT: dict[str, Any] = {"limitId": 0, "isLimitActive": True, "value": {"number": 3000}}


@together(
    ("item", "charge_w", "lasts_s"),
    [
        ({**LIMIT, "value": {"number": 3000.0, "scale": 0.0}}, 3000, None),
        ({**LIMIT, "timePeriod": {"endTime": "P0Y0M0DT2H0M0.000S"}}, 3000, 7200),
        ({**LIMIT, "timePeriod": {"endTime": "P0Y0M1D"}}, 3000, 86_400),
        ({**LIMIT, "timePeriod": {"endTime": "P0Y1M0DT0H"}}, None, None),
        ({**LIMIT, "timePeriod": {"endTime": "PT0S"}}, None, None),
        ({**LIMIT, "value": {"scale": 0}}, None, None),
        ({**LIMIT, "value": {}}, None, None),
    ],
)
def test_a_limit_is_read_as_boxes_write_it_and_never_taken_for_0(
    item: dict[str, Any], charge_w: float | None, lasts_s: float | None
) -> None:
    joined = Joined()
    joined.connect()
    joined.beat()
    assert joined.say(joined.guard.limit(item)) == (7 if charge_w is None else 0)
    assert joined.system.charge_w == (PRESET.charge_w if charge_w is None else charge_w)
    if charge_w is not None:
        assert joined.system.held[0] == (charge_w, None if lasts_s is None else joined.at.s + lasts_s)
        assert joined.say(joined.guard.key(0, {"scaledNumber": {}})) == 7


@pytest.mark.parametrize("also", [{}, {"isLimitActive": False}, {"value": {"number": 5000}}])
def test_a_duration_of_0_ends_a_limit(also: dict[str, Any]) -> None:
    """LPC-007 and the implementation guideline 1.0.0, 2.2. Activated at the same time it is refused."""
    joined = Joined()
    joined.connect()
    joined.beat()
    assert joined.say(joined.guard.limit(LIMIT)) == 0
    end = {"limitId": 0, "timePeriod": {"endTime": "PT0S"}}
    assert joined.say(joined.guard.limit({**end, "isLimitActive": True})) == 7
    assert joined.system.charge_w == 3000
    assert joined.say(joined.guard.limit({**end, **also})) == 0
    assert (joined.system.charge_w, joined.system.held[0]) == (None, None)


def test_a_write_names_its_limit_or_key_by_a_selector_alone() -> None:
    """SPINE: what a partial filter selects needs no identifier in the data."""
    joined = Joined()
    joined.connect()
    joined.beat()
    assert joined.say(joined.guard.limit(LIMIT)) == 0
    write = {"isLimitActive": True, "value": {"number": 5000, "scale": 0}}
    assert joined.say(joined.guard.limit(write)) == 7, "of no limit"
    assert joined.say(joined.guard.limit(write, selected=5)) == 7, "there is no such limit"
    assert joined.say(joined.guard.limit(write, selected=0)) == 0
    assert joined.system.charge_w == 5000
    filters = [{"cmdControl": {"partial": {}}, "deviceConfigurationKeyValueListDataSelectors": {"keyId": 2}}]
    data = {"deviceConfigurationKeyValueData": [{"value": {"duration": "PT3H"}}]}
    name = "deviceConfigurationKeyValueListData"
    cmd = {"function": name, "filter": filters, name: data}
    assert joined.say(joined.guard.datagram("write", feature([1], 2, CHARGER), cmd)) == 0


def test_subscriptions_end_when_asked() -> None:
    joined = Joined()
    joined.connect()
    deleted = {"clientAddress": feature([1], 1, BOX), "serverAddress": feature([1], 3, CHARGER)}
    call = {"nodeManagementSubscriptionDeleteCall": {"subscriptionDelete": deleted}}
    assert joined.say(joined.guard.node("call", call)) == 0
    assert joined.say(joined.guard.node("call", call)) == 1, "there is none"
    joined.guard.heard.clear()
    joined.wait(130)
    beats = [each for each in joined.guard.heard if "deviceDiagnosisHeartbeatData" in each["payload"]["cmd"][0]]
    assert {each["header"]["cmdClassifier"] for each in beats} == {"read"}, "it misses those of the box, and asks again"


# -- the JSON form


def test_objects_are_arrays_of_single_members_in_schema_order() -> None:
    header = Header(
        specification_version="1.3.0",
        address_source=Address(device="d", entity=(1, 1), feature=2),
        address_destination=Address(entity=(0,), feature=0),
        msg_counter=7,
        cmd_classifier="read",
    )
    text = encode(
        DatagramMessage(datagram=Datagram(header=header, payload=Payload(cmd=(command("measurementListData"),))))
    )
    assert text == (
        b'{"datagram":[{"header":[{"specificationVersion":"1.3.0"},{"addressSource":[{"device":"d"},{"entity":[1,1]},'
        b'{"feature":2}]},{"addressDestination":[{"entity":[0]},{"feature":0}]},{"msgCounter":7},'
        b'{"cmdClassifier":"read"}]},{"payload":[{"cmd":[[{"measurementListData":[]}]]}]}]}'
    )


_texts = st.text(max_size=20)


@settings(max_examples=40)
@given(
    st.builds(ScaledNumber, number=st.none() | st.integers(-(2**63), 2**63 - 1), scale=st.none() | st.integers(-9, 9))
)
def test_numbers_survive_the_wire(number: ScaledNumber) -> None:
    class Holder(Tag, frozen=True):
        value: ScaledNumber | None = None

    assert decode(encode(Holder(value=number)), Holder).value == number
    assert abs(number.value) <= 1e15


@settings(max_examples=40)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_datagram_or_a_codec_error(data: bytes) -> None:
    joined = Joined()
    link = joined.system.connect("ab" * 20, joined.at)
    try:
        joined.system.receive(link, data, joined.at)
    except CodecError:
        return


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(
        each.encode_name for kind in (Cmd, Header, Address) for each in msgspec.structs.fields(kind)
    )), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=40)
@given(st.sampled_from(["read", "write", "call", "notify", "reply", "result"]), _JSON)
def test_any_command_gets_an_answer_or_none_but_never_a_traceback(classifier: str, cmd: object) -> None:
    joined = Joined()
    link = joined.system.connect("ab" * 20, joined.at)
    header = {
        "addressSource": {"device": BOX, "entity": [1], "feature": 1},
        "addressDestination": {"entity": [1], "feature": 1},
        "msgCounter": 1,
        "cmdClassifier": classifier,
        "ackRequest": True,
    }
    text = json.dumps({"datagram": [{"header": wire(header)}, {"payload": [{"cmd": [cmd]}]}]}).encode()
    joined.system.receive(link, text, joined.at)


def test_long_and_deep_texts_are_refused() -> None:
    for data in (b"[" * 100_000, b'"' + b"x" * MOST_BYTES + b'"', b"\xff"):
        with pytest.raises(CodecError):
            decode(data, DatagramMessage)
