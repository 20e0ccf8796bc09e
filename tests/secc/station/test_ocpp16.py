"""A charger's station at a central system of OCPP 1.6 that we did not write, the package `ocpp`, which checks every
message against the official schemas (R199)."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.secc.backend import Backend, backend
from tests.secc.station.station import IDENTITY, Fixture, sample
from v2g.iso15118.d2.provisioning import SCHEMA_VERSION as OF_2
from v2g.iso15118.d20.installation import SCHEMA_VERSION as OF_20
from v2g_station.blocks.security.certificates import ContractAnswer, ContractRequest
from v2g_station.blocks.transaction_records import SignedRegister

pytestmark = pytest.mark.requirement("R199")

OCMF = 'OCMF|{"FV":"1.0","RD":[]}|{"SD":"00"}'


@pytest.fixture
async def csms() -> AsyncIterator[Backend]:
    async with backend() as found:
        await found.stop()
        found.versions = ["ocpp1.6"]
        await found.start()
        yield found


def fixture(folder: Path, port: int, **changes: Any) -> Fixture:
    """Return a charger that speaks 1.6 where nothing better is spoken."""
    return Fixture(folder, port, versions=("2.1", "2.0.1", "1.6"), **changes)


def signed(import_mwh: int) -> Any:
    return sample(import_mwh, signed=(SignedRegister(register="import", data=OCMF),))


async def test_a_session_with_registers_and_signed_values(csms: Backend, tmp_path: Path) -> None:
    found = fixture(tmp_path, csms.port)
    async with found.online() as station:
        station.status(1, "Occupied")
        await csms.wait("StatusNotification", where=lambda each: each["status"] == "Preparing")
        station.started("a", "DEV2GC00000001", sample=signed(1_000_400))
        station.updated("a", trigger="ChargingStateChanged", charging_state="Charging", sample=sample(1_200_000))
        await csms.wait("StatusNotification", where=lambda each: each["status"] == "Charging")
        station.updated("a", trigger="ChargingRateChanged", sample=sample(1_300_000, 50_000, power_w=-9_000))
        station.ended(
            "a", trigger="EVDeparted", reason="EVDisconnected", begin=signed(1_000_400), sample=signed(1_500_000)
        )
        await csms.wait("StatusNotification", where=lambda each: each["status"] == "Finishing")
        station.status(1, "Available")
        await csms.wait("StatusNotification", where=lambda each: each["status"] == "Available")
        assert await station.drain(10)
    (boot,) = csms.all("BootNotification")
    assert (boot["charge_point_serial_number"], boot["charge_point_vendor"]) == (IDENTITY, "v2g-engine")
    (start,), (stop,) = csms.all("StartTransaction"), csms.all("StopTransaction")
    assert (start["id_tag"], start["meter_start"], start["connector_id"]) == ("DEV2GC00000001", 1000, 1)
    assert (stop["transaction_id"], stop["meter_stop"], stop["reason"]) == (71, 1500, "EVDisconnected")
    exported = [
        value["value"]
        for each in csms.all("MeterValues")
        for value in each["meter_value"][0]["sampled_value"]
        if value["measurand"] == "Power.Active.Export"
    ]
    assert exported[-1] == "9000"
    values = [v for data in stop["transaction_data"] for v in data["sampled_value"] if v.get("format") == "SignedData"]
    assert {(v["context"], v["value"]) for v in values} == {("Transaction.Begin", OCMF), ("Transaction.End", OCMF)}


async def test_what_waited_is_replayed_after_a_kill(csms: Backend, tmp_path: Path) -> None:
    first = fixture(tmp_path, 1)
    first.station.started("a", "DEV2GC00000001", sample=sample(1_000_000))
    first.station.updated("a", trigger="MeterValuePeriodic", sample=sample(2_000_000))
    await first.abandon()
    second = fixture(tmp_path, csms.port)
    assert second.station.recover() == ["a"]
    async with second.running() as station:
        assert await station.drain(10)
        station.started("b", "DEV2GC00000001", sample=sample(2_000_000))
        await csms.wait("StartTransaction", 2)
        assert await station.drain(10)
    third = fixture(tmp_path, csms.port)
    assert third.station.recover() == ["b"]
    async with third.running() as station:
        assert await station.drain(10)
    assert {each["transaction_id"] for each in csms.all("MeterValues") if "transaction_id" in each} == {71, 72}
    ends = [(each["transaction_id"], each["meter_stop"], each["reason"]) for each in csms.all("StopTransaction")]
    assert ends == [(71, 2000, "Reboot"), (72, 2000, "Reboot")]
    actions = [name for name, _ in csms.seen if name in ("StartTransaction", "StopTransaction")]
    assert actions == ["StartTransaction", "StopTransaction"] * 2


@pytest.mark.parametrize(("schema", "octets"), [(OF_2, 2000), (OF_20, 6000)])
async def test_contracts_of_both_editions_travel_in_data_transfers(
    csms: Backend, tmp_path: Path, schema: str, octets: int
) -> None:
    """A request of ISO 15118-20 is longer than 2.0.1 allows."""
    response = bytes(range(256)) * 30
    csms.transfers["Get15118EVCertificate"] = {
        "status": "Accepted", "exiResponse": base64.b64encode(response).decode()
    }  # fmt: skip
    csms.transfers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}, "certificateStatus": "Accepted"}
    found = fixture(tmp_path, csms.port)
    async with found.online() as station:
        answer = await station.requests.fetch_contract(ContractRequest(schema=schema, exi=bytes(octets)))
        assert answer == ContractAnswer(status="answered", exi=response)
    (asked,) = csms.all("DataTransfer")
    assert (asked["vendor_id"], asked["message_id"]) == (
        "org.openchargealliance.iso15118pnc", "Get15118EVCertificate"
    )  # fmt: skip
    inner = json.loads(asked["data"])
    assert (inner["iso15118SchemaVersion"], base64.b64decode(inner["exiRequest"])) == (schema, bytes(octets))


async def test_a_limit_is_obeyed_and_the_operator_starts_and_stops(csms: Backend, tmp_path: Path) -> None:
    found = fixture(tmp_path, csms.port)
    async with found.online() as station:
        schedule = {
            "charging_rate_unit": "W", "charging_schedule_period": [{"start_period": 0, "limit": 30_000}],
        }  # fmt: skip
        profile = {
            "charging_profile_id": 1, "stack_level": 0, "charging_profile_purpose": "ChargePointMaxProfile",
            "charging_profile_kind": "Absolute", "charging_schedule": schedule,
        }  # fmt: skip
        asked = await csms.ask("SetChargingProfile", connector_id=0, cs_charging_profiles=profile)
        assert asked.status == "Accepted"
        await found.until(lambda: bool(found.limits))
        assert found.limits[0].charge_w == 30_000
        station.started("a", "DEV2GC00000001", sample=sample(1))
        await csms.wait("StartTransaction")
        assert await station.drain(10), "it has its number"
        assert (await csms.ask("RemoteStopTransaction", transaction_id=71)).status == "Accepted"
        assert (await csms.ask("RemoteStartTransaction", id_tag="CARD-1")).status in ("Accepted", "Rejected")
        keys = await csms.ask("GetConfiguration")
        assert {"NumberOfConnectors", "SecurityProfile"} <= {each["key"] for each in keys.configuration_key}
        assert (await csms.ask("ChangeConfiguration", key="HeartbeatInterval", value="77")).status == "Accepted"


async def test_the_station_returns_to_2_x_where_it_is_spoken(csms: Backend, tmp_path: Path) -> None:
    found = fixture(tmp_path, csms.port)
    async with found.running() as station:
        await csms.wait("StatusNotification")
        await csms.stop()
        csms.versions = ["ocpp2.1"]
        await csms.start()
        await csms.wait("StatusNotification", len(csms.all("StatusNotification")) + 1)
        await station.online.wait()
    versions = [event.data["version"] for event in found.events if event.name == "csms_connected"]
    assert versions == ["1.6", "2.1"]
