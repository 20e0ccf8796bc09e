"""Stations of the independent `ocpp` package, on both versions, against the whole CSMS."""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import aiohttp
import ocpp.v21
import ocpp.v201
import pytest
from ocpp.exceptions import OCPPError
from ocpp.routing import on
from ocpp.v21 import call as call21
from ocpp.v21 import call_result as result21
from ocpp.v201 import call as call201

from csms.accounts.rules import Role
from csms.config import StationEntry
from csms.grid.config import Grid
from csms.smart_charging.rules import SITE_PROFILE
from csms.tokens.rules import TokenEntry
from tests.csms.conftest import Start
from tests.csms.station import Station21, Station201, boot, messages, station
from tests.csms.support import EMAID, STATION, TOKENS, Running, grid_signal
from v2g.energy.grid_signal import PriceSignal
from v2g.ocpp.messages.base import ENERGY_TRANSFER, EnergyTransferMode


class BareStation201(ocpp.v201.ChargePoint):  # type: ignore[misc]
    """A station of 2.0.1 that answers the price signal, and has no smart charging (CALLERROR NotImplemented)."""

    @on("DataTransfer")
    async def data_transfer(self, **_: Any) -> Any:
        return ocpp.v201.call_result.DataTransfer(status="Accepted")


def event(kind: str, seq_no: int, *, version: str = "ocpp2.1", transaction: str = "tx-1", **more: Any) -> Any:
    """Return a TransactionEvent request of the package."""
    trigger = {"Started": "CablePluggedIn", "Updated": "MeterValuePeriodic", "Ended": "EVDeparted"}[kind]
    return messages(version).TransactionEvent(
        event_type=kind,
        timestamp=datetime.fromtimestamp(1_900_000_000 + seq_no, UTC).isoformat(),
        trigger_reason=trigger,
        seq_no=seq_no,
        transaction_info={"transaction_id": transaction},
        **more,
    )


def reading(import_wh: float, export_wh: float, signed: bool = False) -> dict[str, Any]:
    """Return a MeterValue with both registers."""
    values: list[dict[str, Any]] = [
        {"value": import_wh, "measurand": "Energy.Active.Import.Register", "unit_of_measure": {"unit": "Wh"}},
        {"value": export_wh / 1000, "measurand": "Energy.Active.Export.Register", "unit_of_measure": {"unit": "kWh"}},
    ]
    if signed:
        values[0]["signed_meter_value"] = {
            "signed_meter_data": "T0NNRnx7fXx7fQ==",
            "signing_method": "ECDSA-secp256r1-SHA256",
            "encoding_method": "OCMF",
            "public_key": "AAAA",
        }
    return {"timestamp": "2030-03-17T17:46:40Z", "sampled_value": values}


async def get(csms: Running, path: str, role: Role = Role.ADMIN) -> Any:
    """GET from the API, as JSON."""
    url = f"https://127.0.0.1:{csms.csms.ports['api']}{path}"
    headers = {"Authorization": f"Bearer {TOKENS[role]}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url, ssl=csms.context(None)) as response:
        assert response.status == 200, await response.text()
        return await response.json()


QUICK: dict[str, Any] = {"heartbeat_interval_s": 1, "call_timeout_s": 0.2}


@pytest.mark.long
async def test_a_station_that_falls_silent_is_reported_and_disconnected(start: Start) -> None:
    """Its websocket may still answer pings."""
    async with start(ocpp=QUICK) as csms, csms.connect() as websocket:
        point = Station21(STATION, websocket)
        reading = asyncio.create_task(point.start())
        await boot(point)
        reading.cancel()
        said = await csms.event("station_silent")
        assert said["silent_s"] >= 3
        await csms.event("station_disconnected")


async def test_a_quiet_station_that_answers_is_left_alone(start: Start) -> None:
    """It may have another interval of heartbeats."""

    class Quiet(Station21):
        @on("TriggerMessage")
        async def trigger(self, requested_message: str, **_: Any) -> Any:
            self.transfers.append({"asked": requested_message})
            self.gate.set()
            return result21.TriggerMessage(status="Accepted")

    async with start(ocpp=QUICK) as csms, csms.connect() as websocket:
        point = Quiet(STATION, websocket)
        reading = asyncio.create_task(point.start())
        point.gate.clear()
        await boot(point)
        async with asyncio.timeout(60):
            await point.gate.wait()
        assert (await point.call(call21.Heartbeat(), suppress=False)).current_time
        assert point.transfers == [{"asked": "Heartbeat"}]
        assert csms.events("station_silent") == []
        reading.cancel()


@pytest.mark.parametrize("version", ["ocpp2.1", "ocpp2.0.1"])
async def test_a_transaction_of_an_independent_station_is_kept_with_registers_and_signature(
    csms: Running, version: str
) -> None:
    async with station(csms, version) as point:
        answer = await boot(point, version)
        assert (answer.status, answer.interval) == ("Accepted", 300)
        m = messages(version)
        await point.call(
            m.StatusNotification(
                timestamp="2030-03-17T17:46:40Z", connector_status="Occupied", evse_id=1, connector_id=1
            ),
            suppress=False,
        )
        token = {"id_token": EMAID, "type": "eMAID"}
        evse = {"id": 1, "connector_id": 1}
        started = await point.call(
            event(
                "Started", 0, version=version, evse=evse, id_token=token, meter_value=[reading(1000, 500, signed=True)]
            ),
            suppress=False,
        )
        assert started.id_token_info["status"] == "Accepted"
        for n in (1, 2):
            await point.call(
                event("Updated", n, version=version, meter_value=[reading(1000 + n * 100, 500 + n * 50)]),
                suppress=False,
            )
        await point.call(
            event("Ended", 3, version=version, meter_value=[reading(1300, 750, signed=True)]), suppress=False
        )
        assert (await point.call(m.Heartbeat(), suppress=False)).current_time
        found = await get(csms, "/transactions/tx-1")
        stations = await get(csms, "/stations")
    assert found["complete"] is True
    assert found["active"] is False
    assert (found["import_start_wh"], found["import_wh"]) == ("1000", "1300")
    assert (found["export_start_wh"], found["export_wh"]) == ("500", "750")
    assert found["id_token"] == EMAID
    signed = [value for value in found["meter_values"] if "signed" in value]
    assert len(signed) == 2
    assert signed[0]["signed"]["signedMeterData"] == "T0NNRnx7fXx7fQ=="
    assert stations[0]["protocol"] == version
    assert stations[0]["connected"] is True
    assert stations[0]["connectors"][0]["status"] == "Occupied"


async def test_events_delivered_twice_and_out_of_order_make_one_transaction_whose_gap_shows(csms: Running) -> None:
    async with station(csms) as point:
        await boot(point)
        for seq_no, kind in ((5, "Started"), (8, "Ended"), (6, "Updated"), (6, "Updated"), (8, "Ended")):
            await point.call(event(kind, seq_no), suppress=False)
        with_gap = await get(csms, "/transactions/tx-1")
        await point.call(event("Updated", 7), suppress=False)
        whole = await get(csms, "/transactions/tx-1")
    assert [each["seq_no"] for each in with_gap["events"]] == [5, 6, 8]
    assert (with_gap["complete"], with_gap["missing"]) == (False, [[7, 7]])
    assert (whole["complete"], whole["missing"]) == (True, [])
    assert len(csms.events("transaction_event_duplicate")) == 2


async def test_another_content_under_a_taken_number_is_answered_but_changes_nothing(csms: Running) -> None:
    async with station(csms) as point:
        await boot(point)
        await point.call(event("Started", 0, meter_value=[reading(10, 0)]), suppress=False)
        await point.call(event("Started", 0, meter_value=[reading(99, 0)]), suppress=False)
        found = await get(csms, "/transactions/tx-1")
    assert found["import_wh"] == "10"
    assert len(csms.events("transaction_event_conflict")) == 1


async def test_an_unknown_token_is_named_as_such(csms: Running) -> None:
    async with station(csms) as point:
        await boot(point)
        token = {"id_token": "04AABBCC", "type": "ISO14443"}
        answer = await point.call(call21.Authorize(id_token=token), suppress=False)
        started = await point.call(event("Started", 0, id_token=token), suppress=False)
    assert answer.id_token_info["status"] == "Unknown"
    assert answer.certificate_status is None
    assert started.id_token_info["status"] == "Unknown"


async def test_a_contract_chain_is_authorised_and_2_1_receives_what_it_covers(csms: Running) -> None:
    chain = csms.pki.path("contract/chain.pem").read_text()
    token = {"id_token": "DE-V2G-C00000001", "type": "eMAID"}
    async with station(csms) as point:
        await boot(point)
        answer = await point.call(call21.Authorize(id_token=token, certificate=chain), suppress=False)
        bare = await point.call(call21.Authorize(id_token=token), suppress=False)
    assert (answer.id_token_info["status"], answer.certificate_status) == ("Accepted", "Accepted")
    assert answer.allowed_energy_transfer == ["DC", "DC_BPT"]
    assert (bare.id_token_info["status"], bare.certificate_status) == ("Invalid", "NoCertificateAvailable")
    assert [each["result"] for each in csms.events("authorize")] == ["Accepted", "Invalid"]


@pytest.mark.parametrize(
    ("version", "modes", "received"),
    [
        ("ocpp2.1", ("DC",), ["DC"]),
        ("ocpp2.1", (), list(ENERGY_TRANSFER)),
        ("ocpp2.0.1", ("DC",), None),
    ],
)
async def test_what_energy_a_card_may_transfer_is_answered_too(
    start: Start, version: str, modes: tuple[EnergyTransferMode, ...], received: list[str] | None
) -> None:
    """Q01.FR.01: always a list, without one the station charges only; 2.0.1 has no such list."""
    card = TokenEntry(id_token="04AABBCC", type="ISO14443", energy_transfer=modes)
    async with start(tokens=(card,)) as csms, station(csms, version) as point:
        await boot(point, version)
        request = messages(version).Authorize(id_token={"id_token": "04AABBCC", "type": "ISO14443"})
        answer = await point.call(request, suppress=False)
    assert answer.id_token_info["status"] == "Accepted"
    assert getattr(answer, "allowed_energy_transfer", None) == received


async def test_a_valid_certificate_of_a_blocked_contract_is_a_cancelled_contract(start: Start) -> None:
    async with start(tokens=(TokenEntry(id_token=EMAID, status="Blocked"),)) as csms:
        chain = csms.pki.path("contract/chain.pem").read_text()
        async with station(csms, "ocpp2.0.1") as point:
            await boot(point, "ocpp2.0.1")
            request = call201.Authorize(id_token={"id_token": EMAID, "type": "eMAID"}, certificate=chain)
            answer = await point.call(request, suppress=False)
    assert (answer.id_token_info["status"], answer.certificate_status) == ("Blocked", "ContractCancelled")


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
async def test_before_acceptance_nothing_but_a_boot_is_handled(start: Start, status: Any) -> None:
    async with start(stations=(StationEntry(id=STATION, boot=status),)) as csms, station(csms) as point:
        assert (await boot(point)).status == status
        with pytest.raises(OCPPError) as caught:
            await point.call(call21.Heartbeat(), suppress=False)
        assert caught.value.code == "SecurityError"


async def test_a_boot_with_another_serial_number_than_the_certificate_ends_the_connection(csms: Running) -> None:
    async with csms.connect() as websocket:
        point = Station21(STATION, websocket)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await asyncio.gather(point.start(), boot(point, serial_number="STOLEN"))
        await websocket.wait_closed()
    assert csms.events("boot_refused")[0]["serial_number"] == "STOLEN"


async def test_a_reconnected_station_goes_on_without_a_new_boot(csms: Running) -> None:
    async with station(csms) as point:
        await boot(point)
    async with station(csms) as point:
        assert (await point.call(call21.Heartbeat(), suppress=False)).current_time


async def test_2_1_gets_limits_both_ways_and_the_prices(csms: Running) -> None:
    async with station(csms) as point:
        await boot(point)
        await put_signal(csms, grid_signal(7))
        assert (await csms.event("grid_signal_pushed"))["all_taken"] is True
    site, default = point.profiles
    assert site["charging_profile_purpose"] == "ChargingStationMaxProfile"
    assert site["charging_schedule"][0]["charging_schedule_period"] == [{"start_period": 0, "limit": 11000.0}]
    assert default["charging_profile_purpose"] == "TxDefaultProfile"
    now, later = default["charging_schedule"][0]["charging_schedule_period"]
    assert (now["limit"], now["discharge_limit"], now["operation_mode"]) == (11000.0, -5000.0, "ExternalSetpoint")
    assert (later["limit"], later["operation_mode"]) == (11000.0, "ChargingOnly")
    transfer = point.transfers[0]
    assert (transfer["vendor_id"], transfer["message_id"]) == ("org.v2g-engine", "GridSignal")
    assert set(transfer["data"]) == set(PriceSignal.__struct_fields__), "its limits are in profiles"
    assert transfer["data"]["version"] == 7


class Station201WithProfiles(Station201):
    """A station of 2.0.1 that holds profiles of others, and reports them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held: list[dict[str, Any]] = []

    @on("GetChargingProfiles")
    async def get_profiles(self, request_id: int, **_: Any) -> Any:
        asyncio.get_running_loop().create_task(self._report(request_id))
        return ocpp.v201.call_result.GetChargingProfiles(status="Accepted")

    async def _report(self, request_id: int) -> None:
        report = call201.ReportChargingProfiles(
            request_id=request_id, charging_limit_source="CSO", evse_id=0, charging_profile=self.held
        )
        await self.call(report)


def max_profile(profile_id: int, stack_level: int, limit: float, schedule_id: int = 5) -> dict[str, Any]:
    schedule = {
        "id": schedule_id,
        "chargingRateUnit": "W",
        "startSchedule": "2026-01-01T00:00:00Z",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
    }
    return {
        "id": profile_id,
        "stackLevel": stack_level,
        "chargingProfilePurpose": "ChargingStationMaxProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [schedule],
    }


async def test_with_the_default_configuration_and_no_signal_a_station_is_sent_nothing(start: Start) -> None:
    """It was sent profile 1 of level 0 with 10,000,000 W, in the place of an 8 kW limit of others."""
    async with start(grid=Grid()) as csms:
        for _ in range(2):
            async with station(csms, "ocpp2.0.1") as point:
                await boot(point, "ocpp2.0.1")
                await csms.event("boot_accepted")
                await point.call(call201.Heartbeat())
                await asyncio.sleep(0.2)
            assert (point.profiles, point.transfers) == ([], [])


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("held", "gets"),
    [
        (max_profile(1, 0, 8000.0), False),  # of another back end, where the grid signal's is to be
        (max_profile(1, 3, 8000.0), True),  # above it
        (max_profile(1, 0, 10_000_000.0), True),  # what this back end put there once
    ],
)
async def test_profiles_of_others_are_read_before_something_is_put_there(
    start: Start, held: dict[str, Any], gets: bool
) -> None:
    async with start(grid=Grid()) as csms, station(csms, "ocpp2.0.1", kind=Station201WithProfiles) as point:
        cleared: list[int] = []

        @on("ClearChargingProfile")
        async def clear(charging_profile_id: int, **_: Any) -> Any:
            cleared.append(charging_profile_id)
            return ocpp.v201.call_result.ClearChargingProfile(status="Accepted")

        point.route_map["ClearChargingProfile"] = {"_on_action": clear}
        point.held = [held]
        await boot(point, "ocpp2.0.1")
        await put_signal(csms, grid_signal(7))
        assert (await csms.event("grid_signal_pushed"))["all_taken"] is gets
        assert [each["id"] for each in point.profiles] == ([SITE_PROFILE] if gets else [])
        ours = held["chargingSchedule"][0]["chargingSchedulePeriod"][0]["limit"] > 8000
        assert cleared == ([1] if ours else [])
        assert [each["which"] for each in csms.events("charging_profiles_of_others")] == (
            [] if ours else [f"1 (ChargingStationMaxProfile, level {held['stackLevel']})"]
        )
        if not gets:
            (blocked,) = csms.events("charging_profile_blocked")
            assert (blocked["profile"], blocked["by"], blocked["stack_level"]) == (SITE_PROFILE, 1, 0)


async def test_a_station_without_smart_charging_is_asked_once_until_it_has_other_firmware(start: Start) -> None:
    async with start(grid=Grid()) as csms:
        version = 0
        for firmware, refused in (("1.0", 1), ("1.0", 1), ("1.1", 2)):
            async with station(csms, "ocpp2.0.1", kind=BareStation201) as point:
                await boot(point, "ocpp2.0.1", firmware_version=firmware)
                version += 1
                await put_signal(csms, grid_signal(version))
                await csms.event("grid_signal_pushed", version)
                assert len(csms.events("grid_signal_push_refused")) == refused


async def test_2_0_1_gets_the_limit_it_can_express_and_the_prices(csms: Running) -> None:
    async with station(csms, "ocpp2.0.1") as point:
        await boot(point, "ocpp2.0.1")
        await put_signal(csms, grid_signal(7))
        await csms.event("grid_signal_pushed")
    assert [each["charging_profile_purpose"] for each in point.profiles] == ["ChargingStationMaxProfile"]
    (site,) = point.profiles
    assert site["charging_schedule"][0]["charging_schedule_period"] == [{"start_period": 0, "limit": 11000.0}]
    (transfer,) = point.transfers
    assert transfer["data"]["export_limit_w"] == 5000
    assert "site_import_limit_w" not in transfer["data"], "it is in the profile"


async def test_a_signal_waits_for_the_boot_to_be_accepted(csms: Running) -> None:
    await put_signal(csms, grid_signal(1))
    async with station(csms) as point:
        assert point.profiles == []
        await boot(point)
        await csms.event("grid_signal_pushed")
        assert point.transfers


async def test_only_the_newest_of_several_pending_signals_arrives(csms: Running) -> None:
    async with station(csms) as point:
        await boot(point)
        point.gate.clear()
        for version in (1, 2, 3, 4):
            await put_signal(csms, grid_signal(version))
        point.gate.set()
        assert (await csms.event("grid_signal_pushed"))["version"] == 4
    assert [each["data"]["version"] for each in point.transfers] == [4]


async def test_needs_are_accepted_and_answered_by_a_profile_of_the_transaction(csms: Running) -> None:
    await put_signal(csms, grid_signal(1))
    async with station(csms) as point:
        await boot(point)
        await csms.event("grid_signal_pushed")
        token = {"id_token": EMAID, "type": "eMAID"}
        await point.call(event("Started", 0, evse={"id": 1}, id_token=token), suppress=False)
        answer = await needs(point, "DC_BPT")
        assert answer.status == "Accepted"
        await csms.event("charging_profile_set", 3)
        await put_signal(csms, grid_signal(2, export_limit_w=1_500))
        await csms.event("grid_signal_pushed", 2)
    first, second = (each for each in point.profiles if each["charging_profile_purpose"] == "TxProfile")
    assert (first["transaction_id"], first["evse_id"], first["id"]) == ("tx-1", 1, second["id"])
    limits = [
        each["charging_schedule"][0]["charging_schedule_period"][0]["discharge_limit"] for each in (first, second)
    ]
    assert limits == [-5000.0, -1500.0]


async def test_vehicles_at_one_station_share_what_may_flow_back(csms: Running) -> None:
    """A default holds for each EVSE by itself, and a ChargingStationMaxProfile has no word for it (K01.FR.114)."""
    await put_signal(csms, grid_signal(1))
    async with station(csms) as point:
        await boot(point)
        status = {"connector_id": 1, "connector_status": "Available", "timestamp": "2030-01-01T00:00:00Z"}
        for evse_id in (1, 2):
            await point.call(call21.StatusNotification(evse_id=evse_id, **status), suppress=False)
        await csms.event("grid_signal_pushed")
        await put_signal(csms, grid_signal(2))
        await csms.event("grid_signal_pushed", 2)
        pushed = len(csms.events("charging_profile_set"))
        await point.call(event("Started", 0, evse={"id": 1}), suppress=False)
        await needs(point, "DC_BPT")
        await csms.event("charging_profile_set", pushed + 1)
        await point.call(event("Started", 0, evse={"id": 2}, transaction="tx-2"), suppress=False)
        await csms.event("charging_profile_set", pushed + 2)
        await point.call(event("Ended", 1, transaction="tx-2"), suppress=False)
        await csms.event("charging_profile_set", pushed + 3)
    assert [_discharge(each) for each in point.profiles if each["charging_profile_purpose"] == "TxProfile"] == [
        -5000.0,
        -2500.0,
        -5000.0,
    ]
    assert [_discharge(e) for e in point.profiles if e["charging_profile_purpose"] == "TxDefaultProfile"][-1] == -2500.0
    assert len(point.transfers) == 2, "prices are sent once for each signal"


def _discharge(profile: Any) -> Any:
    return profile["charging_schedule"][0]["charging_schedule_period"][0]["discharge_limit"]


async def test_needs_that_overtake_their_transaction_are_served_once_it_starts(csms: Running) -> None:
    await put_signal(csms, grid_signal(1))
    async with station(csms) as point:
        await boot(point)
        await csms.event("grid_signal_pushed")
        assert (await needs(point, "DC_BPT")).status == "Processing"
        await point.call(event("Started", 0, evse={"id": 1}), suppress=False)
        await csms.event("charging_profile_set", 3)
    assert point.profiles[-1]["charging_profile_purpose"] == "TxProfile"


async def test_a_transfer_that_the_contract_does_not_cover_is_rejected(start: Start) -> None:
    async with start(tokens=(TokenEntry(id_token=EMAID, energy_transfer=("DC",)),)) as csms, station(csms) as point:
        await put_signal(csms, grid_signal(1))
        await boot(point)
        token = {"id_token": EMAID, "type": "eMAID"}
        await point.call(event("Started", 0, evse={"id": 1}, id_token=token), suppress=False)
        assert (await needs(point, "DC_BPT")).status == "Rejected"
        assert (await needs(point, "DC")).status == "Accepted"


async def test_without_a_signal_there_is_no_profile_to_give(csms: Running) -> None:
    async with station(csms) as point:
        await boot(point)
        await point.call(event("Started", 0, evse={"id": 1}), suppress=False)
        assert (await needs(point, "DC_BPT")).status == "NoChargingProfile"


@pytest.mark.parametrize("version", ["ocpp2.1", "ocpp2.0.1"])
async def test_reports_are_acknowledged_and_kept(csms: Running, version: str) -> None:
    m = messages(version)
    data = {
        "event_id": 1,
        "timestamp": "2030-03-17T17:46:40Z",
        "trigger": "Alerting",
        "actual_value": "true",
        "component": {"name": "EVSE"},
        "event_notification_type": "HardWiredNotification",
        "variable": {"name": "Problem"},
    }
    async with station(csms, version) as point:
        await boot(point, version)
        for request in (
            m.NotifyEvent(generated_at="2030-03-17T17:46:40Z", seq_no=0, event_data=[data]),
            m.SecurityEventNotification(type="TamperDetectionActivated", timestamp="2030-03-17T17:46:40Z"),
            m.LogStatusNotification(status="Idle"),
            m.MeterValues(evse_id=1, meter_value=[reading(1, 2)]),
        ):
            await point.call(request, suppress=False)
    assert [each["component"] for each in csms.events("device_event")] == ["EVSE"]
    assert [each["status"] for each in csms.events("log_status")] == ["Idle"]
    assert [each["type"] for each in csms.events("security_event")] == ["TamperDetectionActivated"]
    assert csms.events("meter_values")[0]["samples"] == 2


async def test_foreign_vendors_and_messages_are_refused_in_the_protocols_words(csms: Running) -> None:
    async with station(csms) as point:
        await boot(point)
        vendor = await point.call(call21.DataTransfer(vendor_id="com.example"), suppress=False)
        message = await point.call(call21.DataTransfer(vendor_id="org.v2g-engine", message_id="X"), suppress=False)
    assert (vendor.status, message.status) == ("UnknownVendorId", "UnknownMessageId")


async def needs(point: Any, transfer: str) -> Any:
    """Send NotifyEVChargingNeeds."""
    v2x = {"max_charge_power": 11000, "max_discharge_power": 11000}
    about = {"requested_energy_transfer": transfer, "control_mode": "DynamicControl", "v2x_charging_parameters": v2x}
    return await point.call(call21.NotifyEVChargingNeeds(evse_id=1, charging_needs=about), suppress=False)


async def put_signal(csms: Running, signal: Any) -> None:
    """PUT a grid signal as the operator."""
    url = f"https://127.0.0.1:{csms.csms.ports['api']}/grid/signal"
    headers = {"Authorization": f"Bearer {TOKENS[Role.GRID_OPERATOR]}"}
    body, context = signal.to_json(), csms.context(None)
    async with aiohttp.ClientSession(headers=headers) as session, session.put(url, data=body, ssl=context) as response:
        assert response.status == 200, await response.text()
