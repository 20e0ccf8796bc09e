"""A station of OCPP 1.6, of the independent package `ocpp`, against the whole CSMS (R198)."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import msgspec
import ocpp.v16
import pytest
import websockets
from ocpp.routing import on
from ocpp.v16 import call, call_result
from websockets.typing import Subprotocol

from csms.accounts.rules import Role
from csms.admission.work import StationAdmissions
from csms.config import StationEntry
from csms.tokens.rules import Allowance, Terms, TokenEntry
from tests.csms.conftest import Start
from tests.csms.support import EMAID, STATION, TOKENS, Running, grid_signal

pytestmark = pytest.mark.requirement("R198")

CARD = "04A2B3C4D5"


class Station16(ocpp.v16.ChargePoint):  # type: ignore[misc]  # published without types
    """A station that accepts what it is asked for, and keeps it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.websocket = args[1]
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.frames: list[Any] = []
        self.shows_prices = True

    async def route_message(self, raw_msg: str) -> None:
        self.frames.append(json.loads(raw_msg))
        await super().route_message(raw_msg)

    @on("SetChargingProfile")
    async def set_profile(self, **said: Any) -> Any:
        self.asked.append(("SetChargingProfile", said))
        return call_result.SetChargingProfile(status="Accepted")

    @on("DataTransfer")
    async def transfer(self, **said: Any) -> Any:
        self.asked.append(("DataTransfer", said))
        known = said["vendor_id"] == "org.openchargealliance.costmsg" and self.shows_prices
        return call_result.DataTransfer(status="Accepted" if known else "UnknownVendorId")

    @on("RemoteStartTransaction")
    async def remote_start(self, **said: Any) -> Any:
        self.asked.append(("RemoteStartTransaction", said))
        return call_result.RemoteStartTransaction(status="Accepted")

    @on("RemoteStopTransaction")
    async def remote_stop(self, **said: Any) -> Any:
        self.asked.append(("RemoteStopTransaction", said))
        return call_result.RemoteStopTransaction(status="Accepted")

    @on("ChangeConfiguration")
    async def change(self, **said: Any) -> Any:
        self.asked.append(("ChangeConfiguration", said))
        return call_result.ChangeConfiguration(status="Accepted")

    @on("Reset")
    async def reset(self, **said: Any) -> Any:
        self.asked.append(("Reset", said))
        return call_result.Reset(status="Accepted")

    @on("GetConfiguration")
    async def configuration(self, key: list[str] | None = None, **_: Any) -> Any:
        self.asked.append(("GetConfiguration", {"key": key}))
        known = {
            "CustomDisplayCostAndPrice": (str(self.shows_prices).lower(), True),
            "NumberOfConnectors": ("2", True),
            "HeartbeatInterval": ("300", False),
            "ChargingScheduleAllowedChargingRateUnit": ("Current, Power", True),
            "LightIntensity": ("70", False),
        }
        wanted = key or list(known)
        return call_result.GetConfiguration(
            configuration_key=[
                {"key": each, "value": known[each][0], "readonly": known[each][1]} for each in wanted if each in known
            ],
            unknown_key=[each for each in wanted if each not in known],
        )

    async def wait_for(self, action: str, count: int = 1) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while len(found := [said for name, said in self.asked if name == action]) < count:
                await asyncio.sleep(0.005)
        return found[count - 1]


@contextlib.asynccontextmanager
async def station(csms: Running) -> AsyncIterator[Station16]:
    """Connect a station, run it, and boot."""
    async with csms.connect(STATION, ("ocpp1.6",)) as websocket:
        assert websocket.subprotocol == "ocpp1.6"
        point = Station16(STATION, websocket)
        task = asyncio.create_task(point.start())
        try:
            booted = await point.call(
                call.BootNotification(charge_point_vendor="Independent", charge_point_model="Wall-16"), suppress=False
            )
            assert booted.status == "Accepted"
            yield point
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def api(csms: Running, method: str, path: str, body: Any = None) -> Any:
    """Use the API as an administrator; return the JSON of its answer."""
    url = f"https://127.0.0.1:{csms.csms.ports['api']}{path}"
    headers = {"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url, json=body, ssl=csms.context(None)) as response,
    ):
        assert response.status < 300, await response.text()
        return await response.json()


def now(seconds: float = 0) -> str:
    """Return a time as stations write it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds").replace("+00:00", "Z")


def values(begin: str, import_wh: int, export_kwh: str) -> list[dict[str, Any]]:
    """Return both registers, of which one is in the decimal writing of some stations."""
    return [
        {
            "timestamp": begin,
            "sampled_value": [
                {"value": str(import_wh)},
                {"value": export_kwh, "measurand": "Energy.Active.Export.Register", "unit": "kWh"},
                {"value": "31", "measurand": "Temperature", "unit": "Celcius"},
            ],
        }
    ]


async def test_a_session_ends_when_its_driver_has_used_up_the_allowance(start: Start) -> None:
    """By a remote start, after which the station has connected again; it knows no limits itself."""
    terms = Terms(allowances=(Allowance(period="total", energy_wh=4000),))
    card = {"idToken": CARD, "type": "ISO14443"}
    async with start(tokens=(TokenEntry(id_token=CARD, type="ISO14443", terms=terms),)) as csms:
        async with station(csms) as point:
            await api(csms, "POST", f"/stations/{STATION}/transactions", {"id_token": card, "evse_id": 1})
            await point.wait_for("RemoteStartTransaction")
        async with station(csms) as point:
            begun = call.StartTransaction(connector_id=1, id_tag=CARD, meter_start=1000, timestamp=now(-3600))
            number = (await point.call(begun)).transaction_id
            for seconds, wh in ((-1200, 4999), (0, 5000)):
                assert "RemoteStopTransaction" not in dict(point.asked)
                meter = [{"timestamp": now(seconds), "sampled_value": [{"value": str(wh)}]}]
                await point.call(call.MeterValues(connector_id=1, transaction_id=number, meter_value=meter))
            assert await point.wait_for("RemoteStopTransaction") == {"transaction_id": number}
            reached = await csms.event("transaction_limit_reached")
            assert (reached["transaction"], reached["limit"], reached["value"]) == (str(number), "max_energy", 4000)


async def test_a_session_is_a_transaction_with_both_registers(start: Start) -> None:
    async with start(tokens=(TokenEntry(id_token=CARD, type="ISO14443"),)) as csms, station(csms) as point:
        assert (await point.call(call.Authorize(id_tag=CARD.lower()))).id_tag_info["status"] == "Accepted"
        assert (await point.call(call.Authorize(id_tag="stranger"))).id_tag_info["status"] == "Invalid"
        await point.call(call.StatusNotification(connector_id=1, error_code="NoError", status="Preparing"))
        begun = now()
        first = call.StartTransaction(connector_id=1, id_tag=CARD, meter_start=1000, timestamp=begun)
        answer = await point.call(first)
        assert answer.id_tag_info["status"] == "Accepted"
        number = answer.transaction_id
        assert (await point.call(first)).transaction_id == number  # its answer was lost
        await point.call(call.StatusNotification(connector_id=1, error_code="NoError", status="Charging"))
        await point.call(
            call.MeterValues(connector_id=1, transaction_id=number, meter_value=values(now(), 5000, " 0,5 "))
        )
        running = await api(csms, "GET", f"/transactions/{number}")
        assert (running["active"], running["charging_state"]) == (True, "Charging")
        await point.call(
            call.StopTransaction(meter_stop=9000, timestamp=now(), transaction_id=number, reason="EVDisconnected")
        )
        again = await point.call(
            call.StopTransaction(meter_stop=9000, timestamp=now(), transaction_id=number, reason="EVDisconnected")
        )
        assert again.id_tag_info is None
        ended = await api(csms, "GET", f"/transactions/{number}")
        (known,) = await api(csms, "GET", "/stations")
    assert (ended["active"], ended["complete"], len(ended["events"])) == (False, True, 4)
    assert (ended["import_start_wh"], ended["import_wh"], ended["export_wh"]) == ("1000", "9000", "500")
    assert (ended["id_token"], ended["stopped_reason"]) == (CARD, "EVDisconnected")
    assert (known["protocol"], known["vendor"], known["connectors"][0]["status"]) == (
        "ocpp1.6",
        "Independent",
        "Occupied",
    )
    assert not [each for each in point.frames if each[0] == 4]


async def test_a_stop_without_a_number_ends_the_session_of_its_card_after_a_reconnection(start: Start) -> None:
    cards = ("04AA00000001", "04AA00000002")
    async with start(tokens=tuple(TokenEntry(id_token=each, type="ISO14443") for each in cards)) as csms:
        async with station(csms) as point:
            starts = (call.StartTransaction(at, card, 1000 * at, now(-60)) for at, card in enumerate(cards, 1))
            numbers = [(await point.call(each)).transaction_id for each in starts]
        async with station(csms) as point:
            await point.call(call.StopTransaction(2500, now(), -1, id_tag=cards[1].lower()))
            first, second = [await api(csms, "GET", f"/transactions/{each}") for each in numbers]
    assert (first["active"], second["active"], second["import_wh"]) == (True, False, "2500")


async def test_a_start_by_the_operator_is_found_again_and_stopped(start: Start) -> None:
    async with start() as csms, station(csms) as point:
        asked = {"id_token": {"idToken": EMAID, "type": "eMAID"}, "evse_id": 2}
        started = asyncio.create_task(api(csms, "POST", f"/stations/{STATION}/transactions", asked))
        assert await point.wait_for("RemoteStartTransaction") == {"connector_id": 2, "id_tag": EMAID}
        await started
        answer = await point.call(call.StartTransaction(connector_id=2, id_tag=EMAID, meter_start=0, timestamp=now()))
        assert answer.id_tag_info["status"] == "Accepted"
        found = await api(csms, "GET", f"/transactions/{answer.transaction_id}")
        assert found["events"][0]["trigger"] == "RemoteStart"
        await api(csms, "POST", f"/transactions/{answer.transaction_id}/stop")
        assert await point.wait_for("RemoteStopTransaction") == {"transaction_id": answer.transaction_id}


SENT: tuple[tuple[str, Any, Any], ...] = (
    ("GetConfiguration", {"key": ["LightIntensity"]}, {"key": ["LightIntensity"]}),
    ("ChangeConfiguration", {"key": "LightIntensity", "value": "9"}, {"key": "LightIntensity", "value": "9"}),
    ("RemoteStopTransaction", {"transactionId": 5}, {"transaction_id": 5}),
    ("Reset", {"type": "Soft"}, {"type": "Soft"}),
    ("Reset", {"type": "Immediate"}, {"type": "Hard"}),
)
"""Actions with payloads of 1.6 and of 2.0.1, and what the station gets."""


async def test_an_operator_sends_requests_of_1_6_by_name(start: Start) -> None:
    async with start() as csms, station(csms) as point:
        for action, payload, got in SENT:
            answer = await api(csms, "POST", f"/stations/{STATION}/commands/{action}", payload)
            assert point.asked[-1] == (action, got)
            assert answer.get("status", "Accepted") == "Accepted"
            assert ("configurationKey" in answer) == (action == "GetConfiguration")
        (known,) = await api(csms, "GET", f"/stations/{STATION}/variables?component=OCPP16Ctrlr")
        asked = len(point.asked)
        for action, payload, problem in (
            ("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": {}}, "payload"),
            ("ClearChargingProfile", {"id": 3}, "2.0.1"),
            ("Reset", {"type": "Cold"}, "payload"),
        ):
            with pytest.raises(AssertionError, match=problem):
                await api(csms, "POST", f"/stations/{STATION}/commands/{action}", payload)
        with pytest.raises(AssertionError, match="password"):
            await api(
                csms,
                "POST",
                f"/stations/{STATION}/commands/ChangeConfiguration",
                {"key": "AuthorizationKey", "value": "a"},
            )
    assert (known["variable"], known["value"]) == ("LightIntensity", "9")
    assert len(point.asked) == asked


async def test_costs_and_prices_are_shown_where_the_station_says_that_it_can(start: Start) -> None:
    told = TokenEntry(id_token=CARD, type="ISO14443", terms=Terms(message="0.30 EUR/kWh"))
    async with start(tokens=(told,)) as csms, station(csms) as point:
        await point.call(call.Authorize(id_tag=CARD))
        shown = await point.wait_for("DataTransfer")
        begun = call.StartTransaction(connector_id=1, id_tag=CARD, meter_start=1000, timestamp=now())
        number = (await point.call(begun)).transaction_id
        cost = {"totalCost": 1.25, "transactionId": str(number)}
        await api(csms, "POST", f"/stations/{STATION}/commands/CostUpdated", cost)
        running = await point.wait_for("DataTransfer", 2)
    assert (shown["message_id"], json.loads(shown["data"])) == (
        "SetUserPrice",
        {"idToken": CARD, "priceText": "0.30 EUR/kWh"},
    )
    data = json.loads(running["data"])
    assert running["message_id"] == "RunningCost"
    assert (data["transactionId"], data["meterValue"], data["cost"], data["state"]) == (number, 1000, 1.25, "Idle")


async def test_a_station_that_shows_no_prices_is_asked_once(start: Start) -> None:
    async with start() as csms, station(csms) as point:
        point.shows_prices = False
        begun = call.StartTransaction(connector_id=1, id_tag=EMAID, meter_start=1000, timestamp=now())
        cost = {"totalCost": 1.25, "transactionId": str((await point.call(begun)).transaction_id)}
        for _ in range(2):
            with pytest.raises(AssertionError, match="shows no prices: its CustomDisplayCostAndPrice is not true"):
                await api(csms, "POST", f"/stations/{STATION}/commands/CostUpdated", cost)
    assert [name for name, _ in point.asked] == ["GetConfiguration"]


async def test_a_grid_signal_is_a_profile_of_tenths_of_a_watt(start: Start) -> None:
    async with start() as csms, station(csms) as point:
        await api(csms, "PUT", "/grid/signal", msgspec.to_builtins(grid_signal(site_import_limit_w=11_000)))
        said = await point.wait_for("SetChargingProfile")
        await csms.event("grid_signal_pushed")
    profile = said["cs_charging_profiles"]
    assert (said["connector_id"], profile["charging_profile_purpose"]) == (0, "ChargePointMaxProfile")
    assert {each["limit"] for each in profile["charging_schedule"]["charging_schedule_period"]} == {11_000}


async def test_what_a_station_has_configured_is_in_the_device_model(start: Start) -> None:
    async with start(ocpp={"read_device_model": True}) as csms, station(csms):
        await csms.event("device_report")
        found = await api(csms, "GET", f"/stations/{STATION}/variables")
    known = {(each["component"], each["variable"]): each for each in found}
    assert known["SmartChargingCtrlr", "RateUnit"]["value"] == "A,W"
    assert known["OCPP16Ctrlr", "LightIntensity"]["value"] == "70"


async def test_the_api_shows_what_was_tolerated_and_what_a_station_cannot_do(start: Start) -> None:
    async with start() as csms, station(csms) as point:
        await point.websocket.send(
            json.dumps(
                [2, "soft", "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "available"}]
            )
        )
        began = await point.call(call.StartTransaction(1, CARD, 100_000, now()))
        kwh = [{"timestamp": now(), "sampled_value": [{"value": "100.2"}]}]
        await point.call(call.MeterValues(1, kwh, began.transaction_id))
        for _ in range(2):
            with contextlib.suppress(AssertionError):
                await api(
                    csms, "POST", f"/stations/{STATION}/commands/UnlockConnector", {"evseId": 1, "connectorId": 1}
                )
        found = await api(csms, "GET", f"/stations/{STATION}")
    lacks = {each["what"]: each["why"] for each in found["lacks"]}
    assert found["tolerated"] == {"enum_case": 1, "kwh_as_wh": 1}
    assert lacks["UnlockConnector"] == "refused as not supported since its boot"
    assert lacks["SetNetworkProfile"] == "OCPP 1.6: no network profiles"


async def test_a_station_of_any_make_gets_no_request_until_a_pause_after_its_boot(start: Start) -> None:
    async with start(ocpp={"pause_after_boot_s": 60}) as csms, station(csms) as point:
        unlocks = asyncio.create_task(api(csms, "POST", f"/stations/{STATION}/commands/Reset", {"type": "Immediate"}))
        assert (await point.call(call.Heartbeat())).current_time
        done, _ = await asyncio.wait([unlocks], timeout=0.2)
        assert (done, point.asked) == (set(), [])
        unlocks.cancel()


@pytest.mark.requirement("R193")
async def test_a_driver_in_the_pause_after_a_boot_waits_for_the_stations_limits(start: Start) -> None:
    async with start(ocpp={"pause_after_boot_s": 0.1}) as csms:
        await api(csms, "PUT", "/grid/signal", msgspec.to_builtins(grid_signal(site_import_limit_w=7_000)))
        async with station(csms) as point:
            await point.call(call.Authorize(id_tag=CARD))
            assert "SetChargingProfile" in [action for action, _ in point.asked]


BROKEN = {
    "a time of the wrong kind": {"transactionId": 1, "meterStop": 5, "timestamp": "yesterday"},
    "a reason that nobody knows": {
        "transactionId": 1,
        "meterStop": 5,
        "timestamp": "2026-01-01T00:00:00",
        "reason": "X",
    },
    "an unknown transaction": {"transactionId": 77, "meterStop": 5, "timestamp": "2026-01-01T00:00:00Z"},
    "none": {"transactionId": -1, "meterStop": 5.0, "timestamp": "2026-01-01T00:00:00+03", "idTag": "", "more": None},
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_message_of_a_transaction_is_never_answered_with_an_error(start: Start, what: str) -> None:
    async with start() as csms, station(csms) as point:
        await point.websocket.send(json.dumps([2, "broken", "StopTransaction", BROKEN[what]]))
        async with asyncio.timeout(60):
            while not (answers := [each for each in point.frames if each[1] == "broken"]):
                await asyncio.sleep(0.005)
    assert answers == [[3, "broken", {}]]


def plain(csms: Running, identity: str, password: bytes | None = None, version: str = "ocpp1.6") -> Any:
    """Open a websocket without TLS, with a password of any octets."""
    shown = b"" if password is None else base64.b64encode(identity.encode() + b":" + password)
    return websockets.connect(
        f"ws://127.0.0.1:{csms.csms.ports['ocpp']}/ocpp/{identity}",
        subprotocols=[Subprotocol(version)],
        additional_headers={} if password is None else {"Authorization": f"Basic {shown.decode()}"},
    )


async def test_a_station_shows_its_authorization_key_as_octets(start: Start) -> None:
    key = "9f" * 20
    async with start(ocpp={"security_profile": 1}, stations=(StationEntry(id=STATION, password=key),)) as csms:
        async with plain(csms, STATION, bytes.fromhex(key)) as websocket:
            assert websocket.subprotocol == "ocpp1.6"
        with pytest.raises(websockets.InvalidStatus):
            await plain(csms, STATION, bytes.fromhex("9e" * 20))


@pytest.mark.parametrize("digits", ["4f43415f" * 5, "aB" * 20], ids=["text", "octets"])
@pytest.mark.parametrize("case", [str, str.upper])
@pytest.mark.some(2)
async def test_an_authorization_key_is_one_in_each_form(start: Start, digits: str, case: Any) -> None:
    """Operators write its digits in any case; its octets may be text by chance, or by a vendor's choice."""
    forms = (bytes.fromhex(digits), digits.lower().encode(), digits.upper().encode())
    for first in forms:
        entry = StationEntry(id=STATION, password=case(digits))
        async with start(ocpp={"security_profile": 1}, stations=(entry, StationEntry(id="CS-SET"))) as csms:
            await csms.csms.services[StationAdmissions].set_password("CS-SET", case(digits))
            for identity in (STATION, "CS-SET"):
                for form in (first, *forms):
                    async with plain(csms, identity, form) as websocket:
                        assert websocket.subprotocol == "ocpp1.6"
                with pytest.raises(websockets.InvalidStatus):
                    await plain(csms, identity, bytes.fromhex("9e" * 20))


async def test_only_a_station_that_was_named_may_come_without_a_password(start: Start) -> None:
    entries = (StationEntry(id=STATION, without_password=True), StationEntry(id="CS-OTHER"))
    async with start(ocpp={"security_profile": 1}, stations=entries) as csms:
        async with plain(csms, STATION) as websocket:
            assert websocket.subprotocol == "ocpp1.6"
        for identity, version in (("CS-OTHER", "ocpp1.6"), (STATION, "ocpp2.0.1")):
            with pytest.raises(websockets.InvalidStatus):
                await plain(csms, identity, version=version)
