"""Wrong frames get the CALLERROR of OCPP-J 4.3 and the connection lives on; wrong handshakes get no connection."""

import json
from typing import Any

import pytest
import websockets

from tests.csms.conftest import Start
from tests.csms.support import STATION, Running

BOOT = '[2,"boot","BootNotification",{"reason":"PowerUp","chargingStation":{"model":"M","vendorName":"V"}}]'
HEARTBEAT = '[2,"alive","Heartbeat",{}]'
EVENT: dict[str, Any] = {
    "eventType": "Started",
    "timestamp": "2030-01-01T00:00:00Z",
    "triggerReason": "CablePluggedIn",
    "seqNo": 0,
    "transactionInfo": {"transactionId": "t"},
}


def call(action: str, payload: Any) -> str:
    """Return a CALL frame with the id `x`."""
    return json.dumps([2, "x", action, payload])


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("frame", "identifier", "code"),
    [
        ("{", "-1", "RpcFrameworkError"),
        ("[]", "-1", "RpcFrameworkError"),
        ('{"a":1}', "-1", "RpcFrameworkError"),
        ('[2,"x"]', "x", "RpcFrameworkError"),
        ('[2,17,"Heartbeat",{}]', "-1", "RpcFrameworkError"),
        (b"\x00\x01", "-1", "RpcFrameworkError"),
        (call("Levitate", {}), "x", "NotImplemented"),
        (call("Reset", {"type": "Immediate"}), "x", "NotSupported"),
        (call("Heartbeat", {"unasked": 1}), "x", "FormatViolation"),
        (call("Heartbeat", []), "x", "FormatViolation"),
        (call("StatusNotification", {}), "x", "OccurrenceConstraintViolation"),
        (call("TransactionEvent", EVENT | {"seqNo": "0"}), "x", "TypeConstraintViolation"),
        (call("TransactionEvent", EVENT | {"eventType": "Paused"}), "x", "PropertyConstraintViolation"),
        (call("TransactionEvent", EVENT | {"seqNo": 2**40}), "x", "PropertyConstraintViolation"),
        (call("TransactionEvent", EVENT | {"timestamp": "2030-13-01T00:00:00Z"}), "x", "PropertyConstraintViolation"),
        (
            call(
                "TransactionEvent",
                EVENT
                | {
                    "meterValue": [
                        {
                            "timestamp": "2030-01-01T00:00:00Z",
                            "sampledValue": [{"value": 1, "unitOfMeasure": {"multiplier": 900}}],
                        }
                    ]
                },
            ),
            "x",
            "PropertyConstraintViolation",
        ),
    ],
)
async def test_every_kind_of_wrong_frame_gets_its_error_and_the_connection_lives_on(
    csms: Running, frame: str | bytes, identifier: str, code: str
) -> None:
    async with csms.connect() as websocket:
        await websocket.send(BOOT)
        assert json.loads(await websocket.recv())[2]["status"] == "Accepted"
        await websocket.send(frame)
        kind, answered, error, *_ = json.loads(await websocket.recv())
        assert (kind, answered, error) == (4, identifier, code)
        await websocket.send(HEARTBEAT)
        assert json.loads(await websocket.recv())[:2] == [3, "alive"]


async def test_an_answer_that_nobody_asked_for_is_ignored(csms: Running) -> None:
    async with csms.connect() as websocket:
        await websocket.send('[3,"never",{}]')
        await websocket.send(BOOT)
        assert json.loads(await websocket.recv())[1] == "boot"


async def test_the_url_must_name_the_station_of_the_certificate(start: Start) -> None:
    async with start(unknown_stations="accept") as csms:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await csms.connect("CS-OTHER")
        assert caught.value.response.status_code == 403


async def test_a_station_that_nobody_configured_is_not_found(start: Start) -> None:
    async with start(stations=()) as csms:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await csms.connect()
        assert caught.value.response.status_code == 404


async def test_a_station_that_nobody_configured_is_welcome_where_the_operator_says_so(start: Start) -> None:
    async with start(stations=(), unknown_stations="accept") as csms, csms.connect() as websocket:
        await websocket.send(BOOT)
        assert json.loads(await websocket.recv())[2]["status"] == "Accepted"


async def test_without_a_client_certificate_there_is_no_connection(csms: Running) -> None:
    with pytest.raises((OSError, websockets.WebSocketException, EOFError)):
        async with csms.connect(leaf=None) as websocket:
            await websocket.recv()
    assert csms.events("station_connected") == []


async def test_a_certificate_of_another_root_gives_no_connection(csms: Running) -> None:
    with pytest.raises((OSError, websockets.WebSocketException, EOFError)):
        async with csms.connect(leaf="secc") as websocket:
            await websocket.recv()
    assert csms.events("station_connected") == []


@pytest.mark.parametrize("version", ["ocpp2.1", "ocpp2.0.1"])
async def test_either_version_can_be_forced(start: Start, version: str) -> None:
    async with start(ocpp={"subprotocols": (version,)}) as csms, csms.connect() as websocket:
        assert websocket.subprotocol == version


async def test_a_version_that_nobody_speaks_ends_the_connection_after_the_handshake(csms: Running) -> None:
    async with csms.connect(versions=("ocpp1.5",)) as websocket:
        assert websocket.subprotocol is None
        await websocket.wait_closed()


async def test_a_station_that_connects_again_replaces_its_dead_connection(csms: Running) -> None:
    async with csms.connect() as first, csms.connect() as second:
        await first.wait_closed()
        await second.send(BOOT)
        assert json.loads(await second.recv())[2]["status"] == "Accepted"
        assert csms.csms.connected() == frozenset({STATION})
