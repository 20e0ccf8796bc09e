"""What stations of 1.6 do in the field, each a case of one table: tolerated, worked around, or remembered."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import websockets
from sqlalchemy import delete
from websockets.typing import Subprotocol

from csms.booking import held
from csms.config import StationEntry
from csms.tariffs import store as tariffs
from csms.tariffs.tables import transaction_costs
from tests.csms.conftest import Start
from tests.csms.support import STATION, Running
from tests.ocpp.v16.drawing import Run as Translation
from tests.ocpp.v16.drawing import in_turn
from tests.ocpp.v16.known import AT, NOW_MS, Run, facts
from tests.together import together
from v2g.energy.price_plan import Charge, PricePlan, Rate
from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.availability import StatusNotificationResponse
from v2g.ocpp.messages.base import EVSE
from v2g.ocpp.messages.remote_control import (
    RequestStartTransactionRequest,
    TriggerMessageRequest,
    UnlockConnectorRequest,
)
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse
from v2g.ocpp.times import format_time, parse_time
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16.bridge import Bridge, OngoingAt, TokenOf
from v2g.ocpp.v16.readings import meter_values
from v2g.ocpp.v16.tolerance import NEVER_SET, read_softly

pytestmark = pytest.mark.requirement("R198")

UNLOCK = UnlockConnectorRequest(evse_id=1, connector_id=1)


@pytest.mark.parametrize(
    "refusal", [v16.UnlockConnectorConf(status="NotSupported"), OcppError("no", answer="NotImplemented")], ids=str
)
def test_a_refused_feature_is_asked_for_no_more_until_the_next_boot(refusal: Any) -> None:
    bridge = Bridge(NOW_MS)
    try:
        assert Run(bridge.downward(UNLOCK, NOW_MS), in_turn(refusal)).result.status == "UnlockFailed"
    except OcppError:
        assert isinstance(refusal, OcppError)
    with pytest.raises(OcppError, match="UnlockConnector: the station said") as said:
        Run(bridge.downward(UNLOCK, NOW_MS), in_turn())
    assert said.value.answer == "NotSupported"
    boot = v16.BootNotificationReq(charge_point_model="M", charge_point_vendor="V")
    next(bridge.upward(boot, NOW_MS))
    assert Run(bridge.downward(UNLOCK, NOW_MS), in_turn(v16.UnlockConnectorConf(status="Unlocked"))).asked


def test_one_refused_trigger_is_not_all_and_a_sign_of_life_is_always_asked_for() -> None:
    bridge = Bridge(NOW_MS)
    for _ in range(2):
        for message in ("Heartbeat", "StatusNotification"):
            asked = TriggerMessageRequest(requested_message=message, evse=EVSE(id=1))
            if message in " ".join(bridge.lacks):
                with pytest.raises(OcppError):
                    Run(bridge.downward(asked, NOW_MS), in_turn())
            else:
                answer = in_turn(v16.TriggerMessageConf(status="NotImplemented"))
                assert Run(bridge.downward(asked, NOW_MS), answer).asked
    assert bridge.lacks == {"TriggerMessage StatusNotification"}


SOFT = {
    "extra field": (b'{"connectorId":1,"errorCode":"NoError","status":"Available","x":1}', "unknown_field"),
    "other case": (b'{"connectorId":1,"errorCode":"NoError","status":"available"}', "enum_case"),
    "local time": (
        b'{"connectorId":1,"errorCode":"NoError","status":"Available","timestamp":"2027-01-15T08:00:00"}',
        "time_without_zone",
    ),
    "hours alone": (
        b'{"connectorId":1,"errorCode":"NoError","status":"Available","timestamp":"2027-01-15T08:00:00+03"}',
        "time_without_zone",
    ),
}


@pytest.mark.parametrize("name", SOFT)
def test_soft_violations_are_named(name: str) -> None:
    payload, quirk = SOFT[name]
    assert read_softly(payload, v16.StatusNotificationReq)[1] == {quirk}


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_a_clock_that_was_never_set_counts_by_receipt(at: str) -> None:
    assert (Bridge(NOW_MS).time(at), Bridge(NOW_MS).time(AT)) == (None, AT)


@pytest.mark.parametrize("offered", [None, ["OCPP1.6"], ["Ocpp1.6", "other"]], ids=["none", "case", "two"])
async def test_a_station_without_its_subprotocol_is_taken_only_if_it_was_named(start: Start, offered: Any) -> None:
    entries = (
        StationEntry(id=STATION, without_password=True, without_subprotocol=True),
        StationEntry(id="CS-OTHER", password="0123456789abcdef"),
    )
    wanted = None if offered is None else [Subprotocol(each) for each in offered]
    async with start(ocpp={"security_profile": 1}, stations=entries) as csms:
        url = f"ws://127.0.0.1:{csms.csms.ports['ocpp']}/ocpp/"
        async with websockets.connect(url + STATION, subprotocols=wanted) as websocket:
            assert websocket.subprotocol == (None if offered is None else offered[0])
            await websocket.send('[2,"1","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]')
            assert '"status":"Accepted"' in str(await websocket.recv())
        shown = {"Authorization": "Basic Q1MtT1RIRVI6MDEyMzQ1Njc4OWFiY2RlZg=="}
        async with websockets.connect(url + "CS-OTHER", subprotocols=wanted, additional_headers=shown) as websocket:
            with pytest.raises(websockets.ConnectionClosed):
                await websocket.recv()
            assert websocket.close_code == 1002


def begun(connector_id: int = 1, **more: Any) -> v16.StartTransactionReq:
    return v16.StartTransactionReq(connector_id=connector_id, meter_start=10, timestamp=AT, **more)


@pytest.mark.parametrize(("stop", "wanted"), [(9, 10), (10, 10), (8, 8), (12, 12)], ids=str)
def test_one_watt_hour_backwards_is_rounding(stop: int, wanted: int) -> None:
    bridge = Bridge(NOW_MS)
    accepted = in_turn(TransactionEventResponse(), TransactionEventResponse())
    Run(bridge.upward(begun(id_tag="CARD"), NOW_MS), accepted)
    ends = v16.StopTransactionReq(transaction_id=7, meter_stop=stop, timestamp=AT)
    (event,) = Run(bridge.upward(ends, NOW_MS), accepted).asked
    assert isinstance(event, TransactionEventRequest)
    assert event.meter_value[-1].sampled_value[0].value == wanted


def test_an_identifier_in_other_case_or_too_long_is_that_of_the_station() -> None:
    bridge = Bridge(NOW_MS)
    token = IdToken(id_token="04a1b2c3", type="ISO14443")
    remote = RequestStartTransactionRequest(id_token=token, remote_start_id=9, evse_id=1)
    Run(bridge.downward(remote, NOW_MS), in_turn(v16.RemoteStartTransactionConf(status="Accepted")))
    (event,) = Run(bridge.upward(begun(id_tag="04A1B2C3"), NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert (event.transaction_info.remote_start_id, event.id_token) == (9, token)
    long = read_softly(b'{"connectorId":1,"idTag":"%s","meterStart":1,"timestamp":"%s"}' % (b"x" * 25, AT.encode()),
                       v16.StartTransactionReq)  # fmt: skip
    assert (long[0].id_tag, long[1]) == ("x" * 25, {"long_id_tag"})
    with pytest.raises(OcppError):
        read_softly(b'{"idTag":"%s"}' % (b"x" * 37), v16.AuthorizeReq)


@pytest.mark.parametrize(
    ("status", "age_s", "wanted"),
    [("Charging", 0, "Charging"), ("SuspendedEV", 0, "SuspendedEV"), ("Available", 0, "EVConnected"),
     ("Charging", 60, "EVConnected")],  # the start was kept while the station was offline
)  # fmt: skip
def test_a_state_that_precedes_the_start_is_that_of_the_transaction(status: Any, age_s: int, wanted: str) -> None:
    """Else all of it counts as idle time, until the state changes."""
    bridge = Bridge(NOW_MS)
    reported = v16.StatusNotificationReq(connector_id=1, error_code="NoError", status=status)
    answered = in_turn(StatusNotificationResponse(), StatusNotificationResponse())
    Translation(
        bridge.upward(reported, NOW_MS), answered, lambda question: () if isinstance(question, OngoingAt) else 0
    )
    start = msgspec.structs.replace(begun(id_tag="CARD"), timestamp=format_time(NOW_MS - age_s * 1000))
    (event,) = Run(bridge.upward(start, NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert event.transaction_info.charging_state == wanted


def test_a_token_longer_than_an_idtag_starts_by_a_short_one() -> None:
    """Apps of roaming partners name drivers by UUIDs."""
    bridge = Bridge(NOW_MS)
    token = IdToken(id_token="9b2e7a44-5a0b-4c57-b8e5-1c0a2f6d8e11", type="Central")
    remote = RequestStartTransactionRequest(id_token=token, remote_start_id=9, evse_id=1)
    accepted = in_turn(v16.RemoteStartTransactionConf(status="Accepted"))
    (asked,) = Run(bridge.downward(remote, NOW_MS), accepted).asked
    assert isinstance(asked, v16.RemoteStartTransactionReq)
    tag = asked.id_tag
    assert (len(tag), tag.isalnum()) == (20, True)
    (event,) = Run(bridge.upward(begun(id_tag=tag.lower()), NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert (event.transaction_info.remote_start_id, event.id_token) == (9, token)
    unknown = Translation(Bridge(NOW_MS).upward(begun(id_tag=tag), NOW_MS), in_turn(TransactionEventResponse()), known)
    (event,) = unknown.asked
    assert isinstance(event, TransactionEventRequest)
    assert event.id_token == token, "after a reconnection the store knows it"


def known(question: Any) -> Any:
    """Answer as a back end that has given the station one long token."""
    token = IdToken(id_token="9b2e7a44-5a0b-4c57-b8e5-1c0a2f6d8e11", type="Central")
    return token if isinstance(question, TokenOf) else facts(question)


START: Mapping[str, object] = {"connectorId": 1, "idTag": "1234", "meterStart": 12345, "timestamp": AT}
SECOND = {"connectorid": 1, "IdTag": "1234", "MeterStart": 12345, "TimeStamp": AT}
STARTS: Mapping[str, tuple[Mapping[str, object], int | None, str]] = {
    "texts for numbers": (START | {"connectorId": "1", "meterStart": "12345"}, 12345, AT),
    "a number for a text": (START | {"idTag": 1234}, 12345, AT),
    "a part of a Wh": (START | {"meterStart": "12345,4"}, 12345, AT),
    "a comma before three digits": (START | {"meterStart": "12,345"}, None, AT),
    "a unit": (START | {"meterStart": "12345 Wh"}, None, AT),
    "names in other case": (SECOND, 12345, AT),
    "s since 1970": (START | {"timestamp": parse_time(AT) // 1000}, 12345, AT),
    "ms since 1970": (START | {"timestamp": str(parse_time(AT))}, 12345, AT),
    "a number that is no time": (START | {"timestamp": 7}, 12345, NEVER_SET),
    "no time": ({name: value for name, value in START.items() if name != "timestamp"}, 12345, NEVER_SET),
    "a comma in a time": (START | {"timestamp": AT.replace("Z", ",000Z")}, 12345, AT.replace("Z", ".000Z")),
    "UTC": (START | {"timestamp": AT.replace("T", " ").replace("Z", " UTC")}, 12345, AT),
}


@together("name", STARTS)
def test_a_start_is_read_as_it_is_meant(name: str) -> None:
    sent, meter, at = STARTS[name]
    if meter is None:
        with pytest.raises(OcppError):
            read_softly(msgspec.json.encode(sent), v16.StartTransactionReq)
        return
    found, _ = read_softly(msgspec.json.encode(sent), v16.StartTransactionReq)
    assert (found.connector_id, found.id_tag, found.meter_start, found.timestamp) == (1, "1234", meter, at)


def test_words_are_read_as_they_are_meant() -> None:
    status = {"connectorId": 1, "status": "Occupied"}  # without an error, and as in OCPP 1.5
    found, _ = read_softly(msgspec.json.encode(status), v16.StatusNotificationReq)
    assert (found.status, found.error_code) == ("Preparing", "NoError")
    stop = START | {"transactionId": "7", "meterStop": "12345", "reason": "EV disconnected"}
    ended, _ = read_softly(msgspec.json.encode(stop), v16.StopTransactionReq)
    assert (ended.transaction_id, ended.meter_stop, ended.reason) == (7, 12345, "EVDisconnected")
    boot = {"chargePointVendor": "V", "chargePointModel": "M" * 30}
    assert read_softly(msgspec.json.encode(boot), v16.BootNotificationReq)[0].charge_point_model == "M" * 20
    keys = {"configurationKey": [
        {"key": "A", "readonly": "False", "value": 300}, {"key": "B", "readonly": 1, "value": True},
        {"key": "C", "readonly": "perhaps"}]}  # fmt: skip
    shown = read_softly(msgspec.json.encode(keys), v16.GetConfigurationConf)[0].configuration_key
    assert [(each.key, each.readonly, each.value) for each in shown] == [("A", False, "300"), ("B", True, "true")]
    sent = {"vendorId": "V", "data": {"a": [1]}}
    assert read_softly(msgspec.json.encode(sent), v16.DataTransferReq)[0].data == '{"a":[1]}'


NUMBERS = {
    "blanks": ({"value": " 12.5 "}, [12.5]),
    "a number": ({"value": 12.5}, [12.5]),
    "grouped": ({"value": "1.234,5"}, [1234.5]),
    "grouped with commas": ({"value": "1,234.5"}, [1234.5]),
    "as programs group": ({"value": "1_234"}, []),
    "a word for a unit": ({"value": "7", "measurand": "Voltage", "unit": "Volt", "phase": "L1N"}, [7.0]),
    "a sign for a unit": ({"value": "7", "measurand": "SoC", "unit": "%"}, [7.0]),
    "decimal comma": ({"value": "12,5"}, [12.5]),
    "no number": ({"value": "n/a"}, []),
    "an empty list": (None, []),
    "another quantity": ({"value": "7", "measurand": "Nonsense"}, []),
    "another unit": ({"value": "7", "unit": "horses"}, []),
    "another phase": ({"value": "7", "phase": "L9"}, []),
    "another format": ({"value": "7", "format": "Cooked"}, []),
    "another context": ({"value": "7", "context": "Nonsense"}, [7.0]),
    "all in other case": ({"value": "7", "measurand": "energy.active.import.register", "location": "x"}, [7.0]),
}


@together("name", NUMBERS)
def test_a_value_is_read_or_left_out_and_never_taken_for_another(name: str) -> None:
    sample, wanted = NUMBERS[name]
    value = {"timestamp": AT, "sampledValue": [] if sample is None else [sample]}
    plain = {"timestamp": AT, "sampledValue": [{"value": "1"}]}
    sent = msgspec.json.encode({"connectorId": 1, "meterValue": [value, plain]})
    message, _ = read_softly(sent, v16.MeterValuesReq)
    found = [each.value for read in meter_values(message.meter_value) for each in read.sampled_value]
    assert found == [*wanted, 1.0]


REGISTERS = {
    "kWh labelled Wh": (100_000, {"value": "100.2"}, 0), "whole kWh": (100_900, {"value": "100"}, 0),
    "kWh": (100_000, {"value": "100.2", "unit": "kWh"}, 1), "Wh": (100_000, {"value": "100200"}, 1),
    "too little to tell": (9_000, {"value": "9.2"}, 1), "an unlikely jump": (100_000, {"value": "1200"}, 1),
    "power": (100_000, {"value": "100.2", "measurand": "Power.Active.Import", "unit": "W"}, 1),
}  # fmt: skip


POWERS = {
    "kW": ([(600, 7.2, None), (1200, 7.4, None)], [None, "kW"]),
    "W": ([(600, 7200, None), (1200, 7400, None)], [None] * 2),
    "once": ([(600, 7.2, None), (1200, 7200, None), (1800, 7.2, None)], [None] * 3),
    "stopped": ([(600, 7, None), (600, 7, None), (600, 7, None)], [None] * 3),
    "kW by its label": ([(600, 7.2, "kW"), (1200, 7.4, "kW")], ["kW"] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", POWERS)
def test_powers_without_a_unit_are_in_kw_where_the_register_says_so_twice(name: str) -> None:
    sent, wanted = POWERS[name]
    bridge, units = Bridge(NOW_MS), []
    Run(bridge.upward(begun(id_tag="CARD"), NOW_MS), in_turn(TransactionEventResponse()))
    for number, (wh, power, unit) in enumerate(sent, 1):
        samples = [{"value": str(10 + wh)}, {"value": str(power), "measurand": "Power.Active.Import", "unit": unit}]
        at = format_time(NOW_MS + number * 300_000)
        value = {"timestamp": at, "sampledValue": [{k: v for k, v in each.items() if v} for each in samples]}
        values = msgspec.convert({"connectorId": 1, "transactionId": 7, "meterValue": [value]}, v16.MeterValuesReq)
        (event,) = Run(bridge.upward(values, NOW_MS), in_turn(TransactionEventResponse())).asked
        assert isinstance(event, TransactionEventRequest)
        read = event.meter_value[0].sampled_value[1].unit_of_measure
        units.append(read and read.unit)
    assert units == wanted
    assert bridge.tolerated["power_in_kw"] == (name == "kW")


@together("name", REGISTERS)
def test_registers_in_kwh_that_are_labelled_wh_are_left_out_and_counted(name: str) -> None:
    start, sample, told = REGISTERS[name]
    bridge = Bridge(NOW_MS)
    begin = v16.StartTransactionReq(connector_id=1, id_tag="CARD", meter_start=start, timestamp=AT)
    Run(bridge.upward(begin, NOW_MS), in_turn(TransactionEventResponse()))
    sent = {"connectorId": 1, "transactionId": 7, "meterValue": [{"timestamp": AT, "sampledValue": [sample]}]}
    values = msgspec.convert(sent, v16.MeterValuesReq)
    run = Run(bridge.upward(values, NOW_MS), in_turn(TransactionEventResponse()))
    assert (len(run.asked), dict(bridge.tolerated)) == (told, {} if told else {"kwh_as_wh": 1})
    if name == "kWh labelled Wh":  # what else is there stays
        power = {"value": "11000", "measurand": "Power.Active.Import", "unit": "W"}
        sent["meterValue"] = [{"timestamp": AT, "sampledValue": [sample, power]}]
        values = msgspec.convert(sent, v16.MeterValuesReq)
        (event,) = Run(bridge.upward(values, NOW_MS), in_turn(TransactionEventResponse())).asked
        assert isinstance(event, TransactionEventRequest)
        assert [each.value for each in event.meter_value[0].sampled_value] == [11000.0]


def test_an_error_that_is_no_word_of_1_6_is_another_error() -> None:
    sent = b'{"connectorId":1,"errorCode":"%s","status":"Faulted","info":"null","vendorErrorCode":4711}'
    assert read_softly(sent % b"Error", v16.StatusNotificationReq)[0].error_code == "OtherError"
    for word in (b"noerror", b"None", b""):
        assert read_softly(sent % word, v16.StatusNotificationReq)[0].error_code == "NoError"
    for status in (b"Error", b"fault"):
        failed = b'{"connectorId":1,"errorCode":null,"status":"%s"}' % status
        found = read_softly(failed, v16.StatusNotificationReq)[0]
        assert (found.error_code, found.status) == ("NoError", "Faulted")
    stop = b'{"transactionId":7,"meterStop":9,"timestamp":"%s","reason":"Bored"}' % AT.encode()
    assert read_softly(stop, v16.StopTransactionReq)[0].reason == "Other"


@contextlib.asynccontextmanager
async def connected(start: Start, **more: Any) -> AsyncIterator[tuple[Running, str]]:
    """Run a back end; yield it, and the URL of a station without a password."""
    entries = (StationEntry(id=STATION, without_password=True),)
    async with start(ocpp={"security_profile": 1, **more}, stations=entries) as csms:
        yield csms, f"ws://127.0.0.1:{csms.csms.ports['ocpp']}/ocpp/{STATION}"


PROTOCOL = [Subprotocol("ocpp1.6")]
BOOT = '[2,"boot","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]'


async def test_what_cannot_be_read_of_a_transaction_is_answered_all_the_same(start: Start) -> None:
    async with connected(start) as (csms, url), websockets.connect(url, subprotocols=PROTOCOL) as websocket:
        await websocket.send(BOOT)
        await websocket.recv()
        for action in ("StopTransaction", "StartTransaction", "MeterValues", "Authorize"):
            await websocket.send(json.dumps([2, action, action, {"connectorId": "x"}]))
        answers = [json.loads(await websocket.recv())[:3] for _ in range(4)]
        invalid = {"transactionId": 2**31 - 1, "idTagInfo": {"status": "Invalid"}}
        assert answers[:3] == [[3, "StopTransaction", {}], [3, "StartTransaction", invalid], [3, "MeterValues", {}]]
        assert answers[3][0] == 4
        assert (await csms.event("transaction_message_refused"))["action"] == "StopTransaction"


async def asked(websocket: Any, action: str, **payload: Any) -> Any:
    """Send a request; return the answer to it."""
    await websocket.send(json.dumps([2, action, action, payload]))
    while (found := json.loads(await websocket.recv()))[:2] != [3, action]:
        pass
    return found[2]


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "no time at all"])
async def test_equal_starts_without_a_clock_are_one_until_it_has_ended(start: Start, at: str) -> None:
    """Meters that count each transaction from 0 begin alike."""
    begin: dict[str, Any] = {"connectorId": 1, "idTag": "CARD", "meterStart": 0, "timestamp": at}
    async with connected(start) as (csms, url):
        numbers = []
        for stop in (5, 7, 9):
            for _ in range(2):  # the first answer is lost with its connection
                async with websockets.connect(url, subprotocols=PROTOCOL) as websocket:
                    await asked(websocket, "BootNotification", chargePointVendor="V", chargePointModel="M")
                    numbers.append((await asked(websocket, "StartTransaction", **begin))["transactionId"])
            async with websockets.connect(url, subprotocols=PROTOCOL) as websocket:
                await asked(websocket, "BootNotification", chargePointVendor="V", chargePointModel="M")
                await asked(websocket, "StopTransaction", transactionId=numbers[-1], meterStop=stop, timestamp=at)
        found = [await csms.event("transaction_ended", count) for count in (1, 2, 3)]
    assert numbers[::2] == numbers[1::2]
    assert [(each["transaction"], each["import_wh"]) for each in found] == [
        (str(number), wh) for number, wh in zip(numbers[::2], ("5", "7", "9"), strict=True)
    ]


async def test_a_stop_counts_though_its_transaction_was_closed_meanwhile(start: Start) -> None:
    """The next one has begun before: the station was away, or repeats its stop later."""
    async with connected(start) as (csms, url), csms.watching():
        numbers = []
        async with websockets.connect(url, subprotocols=PROTOCOL) as websocket:
            await asked(websocket, "BootNotification", chargePointVendor="V", chargePointModel="M")
            for wh, at in ((100, AT), (200, AT.replace("08", "09"))):
                begin = {"connectorId": 1, "idTag": "CARD", "meterStart": wh, "timestamp": at}
                numbers.append((await asked(websocket, "StartTransaction", **begin))["transactionId"])
            await csms.event("transaction_closed")
        async with websockets.connect(url, subprotocols=PROTOCOL) as websocket:
            await asked(websocket, "BootNotification", chargePointVendor="V", chargePointModel="M")
            for _ in range(2):
                await asked(websocket, "StopTransaction", transactionId=numbers[0], meterStop=200, timestamp=AT)
            await asked(websocket, "Heartbeat")
        ended = csms.events("transaction_ended")
    assert [(each["transaction"], each["import_wh"]) for each in ended] == [(str(numbers[0]), "200")]


@pytest.mark.parametrize("stop", [{}, {"meterStop": None}, {"meterStop": "12,345"}, {"meterStop": 2**31}], ids=str)
@pytest.mark.parametrize("last", [None, 90], ids=str)
@pytest.mark.parametrize("status", ["Charging", "Preparing"])
@pytest.mark.some(3)
async def test_a_stop_without_its_register_ends_the_transaction_and_its_amount_is_held(
    start: Start, stop: dict[str, Any], last: int | None, status: str
) -> None:
    """Also of a station that never says that it charges."""
    plan = PricePlan(id="one", currency="EUR", energy=Charge(rates=(Rate(price="1"),)))
    async with connected(start) as (csms, url), websockets.connect(url, subprotocols=PROTOCOL) as websocket:
        services = csms.csms.services
        await services.store.run(tariffs.add_plan, plan, 0)
        await services.store.run(tariffs.assign, tariffs.Scope(), plan.id, 0)
        await asked(websocket, "BootNotification", chargePointVendor="V", chargePointModel="M")
        now_ms = services.clock.utc_ms()
        begun, read, end = (format_time(now_ms + after_s * 1000) for after_s in (0, 10, 50))
        begin = {"connectorId": 1, "idTag": "CARD", "meterStart": 20, "timestamp": begun}
        number = (await asked(websocket, "StartTransaction", **begin))["transactionId"]
        said = {"connectorId": 1, "errorCode": "NoError", "status": status, "timestamp": begun}
        await asked(websocket, "StatusNotification", **said)
        if last is not None:
            values = [{"timestamp": read, "sampledValue": [{"value": str(last)}]}]
            await asked(websocket, "MeterValues", connectorId=1, transactionId=number, meterValue=values)
        assert await asked(websocket, "StopTransaction", transactionId=number, timestamp=end, **stop) == {}
        ended = await csms.event("transaction_ended")
        why = await services.store.read(held.find, STATION, str(number))
    assert (ended["transaction"], ended["import_wh"]) == (str(number), str(last or 20))
    assert why is not None
    assert (why["state"], why["reason"]) == ("quarantined", "unpriced" if last is None else "end")
    assert why["import_mwh"] == (0 if last is None else 70_000)


async def test_a_stop_that_is_repeated_makes_up_for_what_its_connection_cut_off(start: Start) -> None:
    """Its event was stored, and nothing that follows from it: the socket, or the program, ended in between."""
    plan = PricePlan(id="one", currency="EUR", energy=Charge(rates=(Rate(price="1"),)))
    async with connected(start) as (csms, url):
        store = csms.csms.services.store
        await store.run(tariffs.add_plan, plan, 0)
        await store.run(tariffs.assign, tariffs.Scope(), plan.id, 0)
        async with websockets.connect(url, subprotocols=PROTOCOL) as websocket:
            await asked(websocket, "BootNotification", chargePointVendor="V", chargePointModel="M")
            ended_ms = csms.csms.services.clock.utc_ms()
            at, end = format_time(ended_ms - 30_000), format_time(ended_ms)
            begin = {"connectorId": 1, "idTag": "CARD", "meterStart": 0, "timestamp": at}
            number = (await asked(websocket, "StartTransaction", **begin))["transactionId"]
            key = STATION, str(number)
            costs = []
            for _ in range(2):
                stopped = await asked(websocket, "StopTransaction", transactionId=number, meterStop=20, timestamp=end)
                assert stopped == {}
                costs.append(await store.read(tariffs.cost, *key))
                await store.run(lambda connection: connection.execute(delete(transaction_costs)))
    assert costs[0] is not None
    assert costs[0]["final"]
    assert {**costs[0], "updated_ms": 0} == {**(costs[1] or {}), "updated_ms": 0}
    assert len(csms.events("transaction_ended")) == 1


async def test_many_states_at_once_are_all_stored_and_nothing_is_changed_unasked(start: Start) -> None:
    async with connected(start) as (_, url), websockets.connect(url, subprotocols=PROTOCOL) as websocket:
        await websocket.send(BOOT)
        for number in range(20):
            state = {"connectorId": number % 5, "errorCode": "NoError", "status": "Available"}
            await websocket.send(json.dumps([2, f"{number}", "StatusNotification", state]))
        found: list[Any] = []
        while sum(each[0] == 3 for each in found) < 21:
            found.append(json.loads(await websocket.recv()))
        assert not [each for each in found if each[0] == 4 or "ChangeAvailability" in each]


async def test_the_newest_of_two_sockets_stays(start: Start) -> None:
    async with (
        connected(start) as (_, url),
        websockets.connect(url, subprotocols=PROTOCOL) as older,
        websockets.connect(url, subprotocols=PROTOCOL) as newer,
    ):
        await newer.send(BOOT)
        assert '"status":"Accepted"' in str(await newer.recv())
        await older.wait_closed()
        await newer.send('[2,"beat","Heartbeat",{}]')
        assert "currentTime" in str(await newer.recv())


async def test_a_handshake_without_its_upgrade_is_refused_by_name(start: Start) -> None:
    async with connected(start) as (_, url):
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
        )
        said = (await reader.read()).decode()
        writer.close()
    assert said.startswith("HTTP/1.1 426")
    assert "missing Connection header" in said


BRIDGE = "tests/ocpp/v16/test_bridge.py"
SERVER = "tests/csms/test_station_16.py"
MAKES = "tests/ocpp/v16/test_makes.py"
HERE = "tests/csms/ocpp16/test_field.py"
ROWS: dict[str, tuple[str, str]] = {
    "no subprotocol, or wrong case": (HERE, "test_a_station_without_its_subprotocol_is_taken_only_if_it_was_named"),
    "no Connection: Upgrade": (HERE, "test_a_handshake_without_its_upgrade_is_refused_by_name"),
    "boots again if it is asked early": (SERVER, "test_a_station_of_any_make_gets_no_request_until_a_pause"),
    "leaves after a quick answer": (
        "tests/io/websocket/test_bridged.py",
        "test_the_answer_to_a_start_waits_for_a_make",
    ),
    "reboots on a key": (MAKES, "test_a_key_that_makes_a_station_boot_is_never_read"),
    "all keys are not answered": (BRIDGE, "test_a_station_that_does_not_answer_for_all_keys_is_asked_for_each"),
    "refuses a list of measurands": (BRIDGE, "test_a_refused_list_of_measurands_is_stripped"),
    "rate units": (SERVER, "test_what_a_station_has_configured_is_in_the_device_model"),
    "profiles": (MAKES, "test_a_profile_is_as_its_make_takes_it_and_never_higher"),
    "steps": (MAKES, "test_a_profile_is_as_its_make_takes_it_and_never_higher"),
    "availability at connect": (HERE, "test_many_states_at_once_are_all_stored_and_nothing_is_changed_unasked"),
    "number 0 or -1": (BRIDGE, "test_a_stop_without_a_number_ends_the_only_transaction_that_ran_then"),
    "an error answer to a stop": (HERE, "test_what_cannot_be_read_of_a_transaction_is_answered_all_the_same"),
    "1 Wh backwards": (HERE, "test_one_watt_hour_backwards_is_rounding"),
    "values after the stop": (BRIDGE, "test_values_after_the_end_do_not_revive_a_transaction"),
    "times": (HERE, "test_a_clock_that_was_never_set_counts_by_receipt"),
    "other words and fields": (HERE, "test_an_error_that_is_no_word_of_1_6_is_another_error"),
    "identifiers": (HERE, "test_an_identifier_in_other_case_or_too_long_is_that_of_the_station"),
    "blanks, comma": (HERE, "test_a_value_is_read_or_left_out_and_never_taken_for_another"),
    "kWh labelled Wh": (HERE, "test_registers_in_kwh_that_are_labelled_wh_are_left_out_and_counted"),
    "two sockets": (HERE, "test_the_newest_of_two_sockets_stays"),
    "no pong": ("tests/io/websocket/test_client_and_server.py", "test_a_peer_that_answers_no_ping_may_stay"),
    "claimed and refused": (HERE, "test_a_refused_feature_is_asked_for_no_more_until_the_next_boot"),
    "states at once": (HERE, "test_many_states_at_once_are_all_stored_and_nothing_is_changed_unasked"),
}
"""What stations do in the field -> the test of what is done about it."""


@together("row", ROWS)
def test_every_row_of_the_field_has_its_case(row: str) -> None:
    path, name = ROWS[row]
    assert re.search(rf"^(async )?def {name}", Path(path).read_text(), re.MULTILINE)
