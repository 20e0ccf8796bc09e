"""What stations of 1.6 do in the field, each a case of one table: tolerated, worked around, or remembered."""

from typing import Any

import pytest
import websockets
from websockets.typing import Subprotocol

from csms.config import StationEntry
from tests.csms.conftest import Start
from tests.csms.support import STATION
from tests.ocpp.v16.drawing import in_turn
from tests.ocpp.v16.known import AT, NOW_MS, Run
from v2g.errors import OcppError
from v2g.ocpp.messages.base import EVSE
from v2g.ocpp.messages.remote_control import TriggerMessageRequest, UnlockConnectorRequest
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16.bridge import Bridge
from v2g.ocpp.v16.tolerance import read_softly

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
