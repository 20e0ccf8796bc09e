"""No discharge without a valid prequalification: profiles, dispatch, operators' profiles, expiry and renewal."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from csms.accounts.rules import Role
from csms.config import StationEntry
from csms.dispatch.work import Dispatch
from csms.grid.source import GridSource
from csms.prequalifications.work import ExportPermits
from csms.smart_charging.rules import DISPATCH_PROFILE, SHARE_PROFILE
from csms.tokens.rules import TokenEntry
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend, running_backend
from tests.csms.charging import VALID, Charging
from tests.csms.grid.site import GridSite
from tests.csms.scripted_station import ScriptedStation
from tests.csms.support import grid_signal, make_config
from tests.waiting import until
from v2g.ocpp.times import parse_time

NOW_MS = 1_795_161_600_000
HOUR_MS = 3_600_000
STATION = "CS-V2G-0001"
PATH = f"/stations/{STATION}/prequalifications"


class Site(GridSite):
    """A back end with a bidirectional vehicle at a station."""

    def __init__(self, backend: Backend, ask: ApiClient, station: ScriptedStation) -> None:
        super().__init__(backend)
        self.ask, self.station = ask, station
        self.needs_answer: dict[str, Any] = {}

    async def plug(self) -> None:
        """Start a session of a vehicle that can give 8 kW."""
        charge = Charging(self.backend, self.station)
        await charge.authorized()
        await charge.plugged()
        v2x = {"maxChargePower": 11000.0, "maxDischargePower": -8000.0, "evTargetEnergyRequest": 20000.0}
        needs = {"requestedEnergyTransfer": "DC_BPT", "controlMode": "DynamicControl", "v2xChargingParameters": v2x}
        self.needs_answer = dict(
            await self.station.call("NotifyEVChargingNeeds", {"evseId": 1, "chargingNeeds": needs})
        )

    async def put(self, certificate: str, until_ms: int, most_w: int = 6000, **more: Any) -> None:
        """Store a record that is valid from now on."""
        record = {"operator": "DSO", "valid_from_ms": 0, "valid_until_ms": until_ms, "most_export_w": most_w}
        answer = await self.ask("PUT", f"{PATH}/{certificate}", record | more)
        assert answer.status == 200, answer.body

    async def discharge(self, wanted: float, *, until_ms: int | None = None) -> None:
        """Wait for a profile of the transaction that permits so much export, until a time."""
        await until(lambda: self.permission()[0] == wanted and until_ms in (None, self.permission()[1]))

    def permission(self) -> tuple[float | None, int | None]:
        """Return the limit of the newest profile of the transaction, and when only charging is allowed (UTC ms)."""
        sent = [each["chargingProfile"] for each in self.station.payloads("SetChargingProfile")]
        own = [each for each in sent if each["chargingProfilePurpose"] == "TxProfile" and each["id"] < SHARE_PROFILE]
        if not own:
            return None, None
        schedule = own[-1]["chargingSchedule"][0]
        first, last = schedule["chargingSchedulePeriod"]
        assert last["operationMode"] == "ChargingOnly" or last["dischargeLimit"] == 0
        return first.get("dischargeLimit"), parse_time(schedule["startSchedule"]) + last["startPeriod"] * 1000


Start = Callable[..., contextlib.AbstractAsyncContextManager[Site]]


@pytest.fixture
def site(tmp_path: Path, pki: PkiTree, empty_database: Path) -> Start:
    """Start a back end with a grid signal of 10 kW export; `signal` False: without."""

    @contextlib.asynccontextmanager
    async def begin(*, required: bool = True, signal: bool = True, version: Any = "2.1") -> AsyncIterator[Site]:
        config = make_config(
            tmp_path,
            pki,
            grid={"prequalified_only": required},
            stations=(StationEntry(id=STATION),),
            tokens=(TokenEntry(id_token=VALID["idToken"], type=VALID["type"], energy_transfer=("DC", "DC_BPT")),),
        )
        async with running_backend(config, empty_database, NOW_MS) as backend, serving(backend) as ask:
            backend.services[ExportPermits].on_change = backend.server.signal_changed
            if signal:
                one = grid_signal(1, issued_at_ms=NOW_MS, valid_until_ms=NOW_MS + 24 * HOUR_MS, export_limit_w=10_000)
                await backend.services[GridSource].offer(one, "test")
            station = await backend.join(STATION, version)
            for action in ("SetChargingProfile", "UpdateDynamicSchedule", "DataTransfer"):
                station.answers[action] = {"status": "Accepted"}
            site = Site(backend, ask, station)
            boot = {"reason": "PowerUp", "chargingStation": {"model": "Scripted", "vendorName": "Tests"}}
            await station.call("BootNotification", boot)
            at = "2026-01-01T00:00:00Z"
            status = {"evseId": 1, "connectorId": 1, "connectorStatus": "Available", "timestamp": at}
            await station.call("StatusNotification", status)
            yield site

    return begin


@pytest.mark.requirement("R45")
async def test_without_a_record_nothing_is_fed_back_and_everyone_learns_why(site: Start) -> None:
    """The station, the operator, and whoever dispatches."""
    async with site() as one:
        await one.plug()
        assert one.needs_answer["status"] == "Accepted", "it may charge"
        assert one.needs_answer["statusInfo"] == {
            "reasonCode": "NotPrequalified",
            "additionalInfo": "EVSE 1 has no prequalification record",
        }
        await one.discharge(0.0)
        assert one.named("export_refused")[0]["reason"] == "EVSE 1 has no prequalification record"
        (dispatched,) = await Dispatch(one.backend.services).set_point(-6000)
        assert (dispatched.setpoint_w, dispatched.refusal) == (0, "EVSE 1 has no prequalification record")
        (shown,) = (await one.ask("GET", f"/stations/{STATION}/export-permits")).json
        assert (shown["most_export_w"], shown["reason"]) == (0, "EVSE 1 has no prequalification record")


@pytest.mark.requirement("R45")
async def test_a_record_permits_its_power_and_ends_by_itself_at_the_station(site: Start) -> None:
    """The profile says when; no message of the back end is needed."""
    async with site() as one:
        await one.plug()
        await one.put("VDE-1", NOW_MS + HOUR_MS)
        await one.discharge(-6000.0, until_ms=NOW_MS + HOUR_MS)
        (dispatched,) = await Dispatch(one.backend.services).set_point(-9000)
        assert (dispatched.setpoint_w, dispatched.status, dispatched.refusal) == (-6000, "Accepted", "")
        assert one.named("export_permitted")[-1]["most_w"] == 6000


@pytest.mark.requirement("R45")
async def test_expiry_ends_export_and_a_renewal_restores_it(site: Start) -> None:
    """While a vehicle discharges; also set-points end with the record."""
    async with site() as one:
        await one.plug()
        end_ms = (one.backend.clock.utc_ms() // 1000 + 100) * 1000
        await one.put("VDE-1", end_ms)
        await one.discharge(-6000.0, until_ms=end_ms)
        await Dispatch(one.backend.services).set_point(-6000)
        sent = [each["chargingProfile"] for each in one.station.payloads("SetChargingProfile")]
        duration_s = next(p for p in reversed(sent) if p["id"] > DISPATCH_PROFILE)["chargingSchedule"][0]["duration"]
        assert duration_s == -(-(end_ms - one.backend.clock.utc_ms()) // 1000)
        one.backend.clock.now_ms = end_ms
        one.backend.services[ExportPermits].tick()
        await until(lambda: one.permission()[0] == 0.0)
        assert one.named("export_refused")[-1]["reason"].startswith("prequalification VDE-1 expired at ")
        (dispatched,) = await Dispatch(one.backend.services).set_point(-6000)
        assert dispatched.setpoint_w == 0
        await one.put("VDE-1", NOW_MS + HOUR_MS)
        await one.discharge(-6000.0, until_ms=NOW_MS + HOUR_MS)


async def test_a_deleted_record_ends_export_at_once(site: Start) -> None:
    """Also where the configuration requires none: then only its limit goes."""
    async with site(required=False) as one:
        await one.plug()
        await one.discharge(-10_000.0)
        await one.put("VDE-1", NOW_MS + HOUR_MS, most_w=2000)
        await one.discharge(-2000.0, until_ms=NOW_MS + HOUR_MS)
        assert (await one.ask("DELETE", f"{PATH}/VDE-1")).status == 204
        await one.discharge(-10_000.0, until_ms=NOW_MS + 24 * HOUR_MS)


async def test_a_station_without_a_grid_signal_is_bound_as_well(site: Start) -> None:
    """By the transaction's profile, and with a record by the default one, too; charging is not limited."""
    async with site(signal=False) as one:
        await one.plug()
        await one.discharge(0.0)
        (sent,) = (each["chargingProfile"] for each in one.station.payloads("SetChargingProfile"))
        assert sent["chargingProfilePurpose"] == "TxProfile", "nothing else where there is nothing to say"
        await one.put("VDE-1", NOW_MS + HOUR_MS)
        await one.discharge(-6000.0, until_ms=NOW_MS + HOUR_MS)
        for each in one.station.payloads("SetChargingProfile"):
            assert each["chargingProfile"]["chargingProfilePurpose"] in ("TxProfile", "TxDefaultProfile")
            for period in each["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"]:
                assert "limit" not in period
        assert one.station.payloads("DataTransfer") == []


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_without_signal_and_record_a_station_is_sent_nothing(site: Start, version: str) -> None:
    """Also not the profile without a limit that replaced those of others at every boot."""
    async with site(signal=False, version=version) as one:
        boot = {"reason": "PowerUp", "chargingStation": {"model": "Scripted", "vendorName": "Tests"}}
        await one.station.call("BootNotification", boot)
        one.backend.server.signal_changed()
        for _ in range(50):
            await asyncio.sleep(0)
        await one.station.call("Heartbeat")
        assert [name for name, _ in one.station.calls if name in ("SetChargingProfile", "DataTransfer")] == []


async def test_a_record_that_went_while_the_station_was_away_is_withdrawn_when_it_returns(site: Start) -> None:
    async with site(signal=False, version="2.0.1") as one:
        await one.put("VDE-1", NOW_MS + HOUR_MS)
        await until(lambda: one.station.payloads("DataTransfer"))
        assert one.station.payloads("DataTransfer")[-1]["data"]["export_limit_w"] == 6000
        await until(lambda: one.named("grid_signal_pushed"))
        await one.station.disconnect()
        await until(lambda: STATION not in one.backend.services.connections.connected())
        assert (await one.ask("DELETE", f"{PATH}/VDE-1")).status == 204
        again = await one.backend.join(STATION, "2.0.1")
        again.answers["DataTransfer"] = {"status": "Accepted"}
        boot = {"reason": "PowerUp", "chargingStation": {"model": "Scripted", "vendorName": "Tests"}}
        await again.call("BootNotification", boot)
        await until(lambda: again.payloads("DataTransfer"))
        assert again.payloads("DataTransfer")[-1]["data"]["export_limit_w"] == 0


async def test_a_station_of_2_0_1_receives_it_in_the_signal(site: Start) -> None:
    """Limit and end."""
    async with site(version="2.0.1") as one:
        await until(lambda: one.station.payloads("DataTransfer"))
        assert one.station.payloads("DataTransfer")[-1]["data"]["export_limit_w"] == 0
        await one.put("VDE-1", NOW_MS + HOUR_MS)
        await until(lambda: one.station.payloads("DataTransfer")[-1]["data"]["export_limit_w"] == 6000)
        assert one.station.payloads("DataTransfer")[-1]["data"]["valid_until_ms"] == NOW_MS + HOUR_MS


async def test_operators_cannot_set_profiles_that_feed_back(site: Start) -> None:
    """Nor change the values of a dynamic one so."""
    async with site() as one:
        await one.plug()
        period = {"startPeriod": 0, "limit": 11000.0, "dischargeLimit": -5000.0, "operationMode": "ExternalSetpoint"}
        schedule = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [period]}
        profile = {
            "id": 7,
            "stackLevel": 5,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": [schedule],
        }
        url = f"/stations/{STATION}/charging-profiles"
        answer = await one.ask("POST", url, {"evse_id": 1, "profile": profile})
        assert (answer.status, answer.json["code"]) == (409, "not_prequalified"), answer.body
        assert answer.json["detail"] == "EVSE 1 has no prequalification record"
        await one.put("VDE-1", NOW_MS + HOUR_MS)
        answer = await one.ask("POST", url, {"evse_id": 1, "profile": profile})
        assert answer.status == 200, answer.body


async def test_records_are_managed_by_operators_and_grid_operators_and_audited(site: Start) -> None:
    """Others may read at most."""
    async with site() as one:
        record = {"operator": "DSO", "valid_from_ms": 0, "valid_until_ms": NOW_MS, "most_export_w": 1, "evse_id": 1}
        for role, status in ((Role.OPERATOR, 200), (Role.GRID_OPERATOR, 200), (Role.VIEWER, 403), (Role.BILLING, 403)):
            assert (await one.ask("PUT", f"{PATH}/C-1", record, role=role)).status == status
        known = (await one.ask("GET", f"{PATH}/C-1", role=Role.VIEWER)).json
        assert known == record | {"station_id": STATION, "certificate": "C-1", "state": "expired"}
        assert [each["certificate"] for each in (await one.ask("GET", "/prequalifications")).json] == ["C-1"]
        wrong = await one.ask("PUT", f"{PATH}/C-2", record | {"valid_from_ms": NOW_MS})
        assert (wrong.status, "after valid_from_ms" in wrong.json["detail"]) == (400, True)
        assert (await one.ask("PUT", f"{PATH}/C-2", record | {"valid_until_ms": 253_402_300_800_000})).status == 400
        assert (await one.ask("GET", f"{PATH}/C-2")).status == 404
        assert (await one.ask("DELETE", f"{PATH}/C-2")).status == 404
        entries = (await one.ask("GET", "/audit")).json
        written = [each for each in entries if each["path"] == f"{PATH}/C-1" and each["status"] == 200]
        assert {each["role"] for each in written} == {"operator", "grid_operator"}
