"""The charging station against a CSMS that we did not write, over real sockets."""

import asyncio
import contextlib
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from ocpp.exceptions import NotSupportedError

from secc.energy_manager.grid_frequency import FrequencyConfig
from secc.station.device import Premises
from secc.station.station import StationConfig
from tests.secc.backend import Backend, backend
from tests.secc.station.station import IDENTITY, Fixture, csms, sample
from tests.station.device.file_server import file_server
from tests.station.device.logs import unpacked
from tests.station.no_charger import NoCharger
from v2g.energy.needs import EvNeeds
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.cost.local_cost import ShowCost
from v2g_station.blocks.data_transfer import GridSignalReceived
from v2g_station.blocks.evse import Restart, SecurityEventFound
from v2g_station.blocks.smart_charging.ev_needs import plan_schedule
from v2g_station.blocks.smart_charging.high_level import PlanReported
from v2g_station.blocks.smart_charging.local_control import GridFrequency, SetPower
from v2g_station.blocks.smart_charging.smart_charging import AllowEnergyTransfer
from v2g_station.blocks.transactions.managed import RemoteStartRequested, RemoteStopRequested
from v2g_station.device.logs import LogSources
from v2g_station.kernel.kernel import Keep
from v2g_station.store import StationStore

__all__ = ["csms"]


SIGNAL = {
    "version": 3,
    "issued_at_ms": 1_700_000_000_000,
    "source": "dso",
    "currency": "EUR",
    "slots": [{"start_ms": 0, "duration_s": 3600, "import_price": 300_000, "export_compensation": 200_000}],
}


async def test_a_station_boots_and_reports_its_connectors(csms: Backend, tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, csms.port, evses=2)
    async with fixture.running() as station:
        boot = await csms.wait("BootNotification")
        assert boot["reason"] == "PowerUp"
        assert boot["charging_station"]["serial_number"] == IDENTITY
        await csms.wait("StatusNotification", 2)
        assert station.online.is_set()
        states = {(s["evse_id"], s["connector_status"]) for s in csms.all("StatusNotification")}
        assert states == {(1, "Available"), (2, "Available")}
        station.status(2, "Occupied")
        assert (await csms.wait("StatusNotification", 3))["connector_status"] == "Occupied"
        station.status(2, "Occupied")
        station.status(1, "Faulted")
        assert (await csms.wait("StatusNotification", 4))["evse_id"] == 1, "what is no news is not told"


async def test_nothing_is_sent_before_the_csms_accepts(csms: Backend, tmp_path: Path) -> None:
    csms.boot_answers = [("Pending", 1), ("Rejected", 1), ("Accepted", 60)]
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.running() as station:
        station.started("s1", "EMAID1", sample=sample(0))
        await csms.wait("BootNotification")
        assert (await csms.ask("RequestStopTransaction", transaction_id="x")).status == "Rejected"  # B02.FR.05
        await csms.wait("BootNotification", 2)
        with pytest.raises(Exception, match=r"SecurityError|security"):
            await csms.ask(
                "GetVariables", get_variable_data=[variable("OCPPCommCtrlr", "OfflineThreshold")]
            )  # B03.FR.08
        await csms.wait("TransactionEvent")
        assert [name for name, _ in csms.seen[:3]] == ["BootNotification"] * 3


async def test_a_triggered_boot_notification_does_not_wait(csms: Backend, tmp_path: Path) -> None:
    csms.boot_answers = [("Pending", 3600), ("Accepted", 60)]
    async with Fixture(tmp_path, csms.port).running() as station:
        await csms.wait("BootNotification")
        assert (await csms.ask("TriggerMessage", requested_message="BootNotification")).status == "Accepted"
        await station.online.wait()


async def test_heartbeats_come_when_nothing_else_is_said(csms: Backend, tmp_path: Path) -> None:
    csms.boot_answers = [("Accepted", 1)]
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.running():
        await csms.wait("Heartbeat")
        await fixture.until(lambda: fixture.names().count("clock_compared") == 2)


async def test_a_transaction_is_reported_from_begin_to_end(csms: Backend, tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        transaction = station.started("session-1", "DEV2GC00000001", sample=sample(1_000_500))
        station.updated(
            "session-1",
            trigger="ChargingStateChanged",
            charging_state="Charging",
            sample=sample(1_500_000, power_w=11_000, soc=40),
        )
        station.updated("session-1", trigger="ChargingRateChanged", sample=sample(1_600_000, 50_001, power_w=-9_000))
        station.ended("session-1", trigger="StopAuthorized", reason="Local", sample=sample(1_600_000, 2_000_000))
        await csms.wait("TransactionEvent", 4)
        assert await station.drain(5)
    events = csms.all("TransactionEvent")
    assert [e["event_type"] for e in events] == ["Started", "Updated", "Updated", "Ended"]
    assert [e["seq_no"] for e in events] == [0, 1, 2, 3]
    assert {e["transaction_info"]["transaction_id"] for e in events} == {transaction}
    assert not any(e.get("offline") for e in events)
    assert events[0]["id_token"] == {"id_token": "DEV2GC00000001", "type": "eMAID"}
    assert readings(events[0]) == {
        "Energy.Active.Import.Register": 1000.5, "Energy.Active.Export.Register": 0,
    }  # fmt: skip
    assert readings(events[1])["Power.Active.Import"] == 11_000
    assert readings(events[1])["SoC"] == 40
    assert readings(events[2])["Power.Active.Export"] == 9_000
    assert readings(events[2])["Power.Active.Import"] == 0
    assert readings(events[3])["Energy.Active.Export.Register"] == 2000
    assert events[3]["transaction_info"]["stopped_reason"] == "Local"
    contexts = [e["meter_value"][0]["sampled_value"][0]["context"] for e in events]
    assert contexts == ["Transaction.Begin", "Other", "Other", "Transaction.End"]


def readings(event: dict[str, Any]) -> dict[str, float]:
    """The values of an event by measurand."""
    return {v["measurand"]: v["value"] for m in event["meter_value"] for v in m["sampled_value"]}


async def test_what_happens_offline_arrives_later_once_and_in_order(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.running() as station:
        await csms.wait("StatusNotification")
        station.started("a", "EMAID1", sample=sample(1))
        assert await station.drain(10)
        await csms.stop()
        await fixture.until(lambda: not station.online.is_set())
        for number in range(5):
            station.updated("a", trigger="MeterValuePeriodic", sample=sample(number + 2))
            station.journal("a", f'{{"n":{number}}}')
        station.ended("a", trigger="EVDeparted", reason="EVDisconnected")
        station.status(1, "Occupied")
        assert not await station.drain(0.05)
        await csms.start()
        assert await station.drain(10)
        assert csms.connections == 2
        assert len(csms.all("BootNotification")) == 1, "the CSMS knows this boot (OCPP-J 5.3)"
        events = csms.all("TransactionEvent")
        assert [e["seq_no"] for e in events] == list(range(7))
        assert [bool(e.get("offline")) for e in events] == [False] + [True] * 6
        assert [line for d in csms.all("DataTransfer") for line in d["data"]["lines"]] == [
            f'{{"n":{number}}}' for number in range(5)
        ]
        assert csms.all("DataTransfer")[0]["data"]["station_id"] == IDENTITY
        after = csms.seen[len(csms.seen) - 1 - [n for n, _ in reversed(csms.seen)].index("StatusNotification")]
        assert after[1]["connector_status"] == "Occupied"


async def test_a_restart_delivers_what_waited_and_ends_what_was_open(tmp_path: Path, csms: Backend) -> None:
    first = Fixture(tmp_path, 1)
    first.station.started("a", "EMAID1", sample=sample(1))
    first.station.updated("a", trigger="ChargingStateChanged", charging_state="Charging", sample=sample(7, soc=50))
    await first.abandon()
    second = Fixture(tmp_path, csms.port)
    assert second.station.recover() == ["a"]
    assert second.station.recover() == []
    async with second.running() as station:
        assert await station.drain(10)
    events = csms.all("TransactionEvent")
    assert [(e["event_type"], e["seq_no"]) for e in events] == [("Started", 0), ("Updated", 1), ("Ended", 2)]
    assert events[2]["trigger_reason"] == "AbnormalCondition"
    assert events[2]["transaction_info"]["stopped_reason"] == "Reboot"
    assert readings(events[2])["Energy.Active.Import.Register"] == 0.007
    assert all(e["offline"] for e in events)
    assert csms.all("BootNotification")[0]["reason"] == "ApplicationReset"


async def test_a_charger_goes_on_with_a_transaction_when_its_vehicle_is_back(tmp_path: Path, csms: Backend) -> None:
    """E17: killed while a vehicle charges; the same contract comes back with another session."""
    store = StationStore(tmp_path / "station.db")
    store.keep([Keep("variables", "TxCtrlr.ResumptionTimeout", b"300")])
    store.close()
    first = Fixture(tmp_path, 1)
    name = first.station.started("a", "EMAID1", sample=sample(1))
    first.station.updated("a", trigger="ChargingStateChanged", charging_state="Charging", sample=sample(7, soc=50))
    await first.abandon()
    second = Fixture(tmp_path, csms.port)
    assert second.station.recover(lambda _: sample(9)) == []
    assert second.station.started("b", "EMAID1", sample=sample(9)) == name
    second.station.ended("b", trigger="StopAuthorized", reason="Local", sample=sample(20))
    async with second.running() as station:
        assert await station.drain(10)
    events = csms.all("TransactionEvent")
    assert [(e["event_type"], e["seq_no"]) for e in events] == [
        ("Started", 0), ("Updated", 1), ("Updated", 2), ("Updated", 3), ("Ended", 4),
    ]  # fmt: skip
    assert {e["transaction_info"]["transaction_id"] for e in events} == {name}
    resumed = "TxResumed" if csms.versions == ["ocpp2.1"] else "ChargingStateChanged"
    assert events[2]["trigger_reason"] == resumed
    assert readings(events[4])["Energy.Active.Import.Register"] == 0.02


async def test_a_message_the_csms_cannot_process_is_tried_again_and_then_set_aside(
    tmp_path: Path, csms: Backend
) -> None:
    csms.refuse = {"TransactionEvent": 3}
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        await set_variables(csms, ("MessageAttempts", "TransactionEvent", "2"),
                            ("MessageAttemptInterval", "TransactionEvent", "0"))  # fmt: skip
        station.started("a", "EMAID1")
        station.updated("a", trigger="MeterValuePeriodic", sample=sample(1))
        station.ended("a", trigger="EVDeparted", reason="EVDisconnected")
        assert await station.drain(10)
    assert [e["seq_no"] for e in csms.all("TransactionEvent")] == [0, 0, 1, 1, 2]
    assert fixture.names().count("event_given_up") == 1
    rows = station_rows(tmp_path, "SELECT key FROM kept WHERE drawer = 'refused'")
    assert len(rows) == 1, "what is given up stays on disk"


async def test_a_csms_that_does_not_answer_is_left_and_found_again(tmp_path: Path, csms: Backend) -> None:
    csms.silent = {"TransactionEvent"}
    fixture = Fixture(tmp_path, csms.port, message_timeout=0.2)
    async with fixture.online() as station:
        await set_variables(csms, ("MessageAttemptInterval", "TransactionEvent", "0"))
        station.started("a", "EMAID1")
        await csms.wait("TransactionEvent", 2)
        csms.silent = set()
        assert await station.drain(10)
    assert {e["seq_no"] for e in csms.all("TransactionEvent")} == {0}
    assert csms.connections >= 2


async def test_a_csms_that_has_forgotten_the_station_is_notified_again(tmp_path: Path, csms: Backend) -> None:
    from ocpp.exceptions import SecurityError

    fixture = Fixture(tmp_path, csms.port)
    forgotten = True
    note = csms.note

    async def forgetful(action: str, payload: dict[str, Any]) -> None:
        nonlocal forgotten
        await note(action, payload)
        forgotten = forgotten and len(csms.all("BootNotification")) < 2
        if forgotten and action == "TransactionEvent":
            raise SecurityError(description="who are you?")

    csms.note = forgetful  # type: ignore[method-assign]
    async with fixture.online() as station:
        station.started("a", "EMAID1")
        assert await station.drain(10)
    assert len(csms.all("BootNotification")) == 2
    assert [e["seq_no"] for e in csms.all("TransactionEvent")] == [0, 0]


async def test_the_journal_goes_in_parcels_of_one_session(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port)
    for number in range(120):
        fixture.station.journal("a", f"line {number}")
    fixture.station.journal("b", "x" * 60_000)
    fixture.station.journal("b", "last")
    async with fixture.running() as station:
        assert await station.drain(10)
    parcels = [(d["data"]["session_id"], len(d["data"]["lines"])) for d in csms.all("DataTransfer")]
    assert parcels == [("a", 50), ("a", 50), ("a", 20), ("b", 1), ("b", 1)]


@pytest.mark.parametrize("status", ["UnknownVendorId", "UnknownMessageId", "Rejected"])
async def test_a_csms_that_takes_no_journal_is_asked_once(tmp_path: Path, csms: Backend, status: str) -> None:
    csms.answers["DataTransfer"] = {"status": status}
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        station.journal("a", "line")
        await csms.wait("DataTransfer")
        station.started("a", "EMAID1")
        await csms.wait("TransactionEvent")
        station.journal("a", "line")
        assert await station.drain(10)
    again = Fixture(tmp_path, csms.port)
    async with again.running() as station:  # after a restart
        await csms.wait("BootNotification", 2)
        station.journal("b", "line")
        assert await station.drain(10)
    assert len(csms.all("DataTransfer")) == 1
    assert fixture.names().count("journal_not_wanted") == 1
    csms.answers["DataTransfer"] = {"status": "Accepted"}
    async with Fixture(tmp_path, csms.port, journal_copies="always").running() as station:
        station.journal("c", "line")
        assert await station.drain(10)
    assert [each["data"]["session_id"] for each in csms.all("DataTransfer")] == ["a", "c"]


async def test_a_csms_is_not_asked_to_take_journals_when_nobody_wants_it(tmp_path: Path, csms: Backend) -> None:
    async with Fixture(tmp_path, csms.port, journal_copies="never").running() as station:
        station.journal("a", "line")
        station.restate_journal("b", ["line"])
        station.started("a", "EMAID1")
        assert await station.drain(10)
    assert csms.all("TransactionEvent")
    assert not csms.all("DataTransfer")


async def test_a_driver_that_is_no_longer_welcome_is_stopped(tmp_path: Path, csms: Backend) -> None:
    csms.answers["TransactionEvent"] = {"id_token_info": {"status": "Blocked"}}
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.running() as station:
        station.started("a", "EMAID1")
        await fixture.until(lambda: bool(fixture.charger.all(RemoteStopRequested)))
        await set_variables(csms, ("StopTxOnInvalidId", None, "false"), component="TxCtrlr")
        station.updated("a", trigger="MeterValuePeriodic", sample=sample(3))
        assert await station.drain(10)
        assert fixture.charger.all(RemoteStopRequested) == [RemoteStopRequested(reference="a", cause="deauthorized")]


def variable(component: str, name: str, instance: str | None = None, **place: Any) -> dict[str, Any]:
    """A component and variable as the package takes them."""
    found: dict[str, Any] = {"component": {"name": component, **place}, "variable": {"name": name}}
    if instance:
        found["variable"]["instance"] = instance
    return found


async def set_variables(csms: Backend, *values: tuple[str, str | None, str], component: str = "OCPPCommCtrlr") -> None:
    """Write variables and see that they were taken."""
    data = [{**variable(component, name, instance), "attribute_value": value} for name, instance, value in values]
    answer = await csms.ask("SetVariables", set_variable_data=data)
    assert [r["attribute_status"] for r in answer.set_variable_result] == ["Accepted"] * len(values)


def station_rows(path: Path, statement: str) -> list[Any]:
    """Read the store from outside."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(path / "station.db")) as db:
        return db.execute(statement).fetchall()


NEEDS = EvNeeds(
    service="DC_BPT", control_mode="dynamic", max_charge_w=100_000, max_discharge_w=10_000, max_current_ma=250_000,
    max_voltage_mv=900_000, departure_ms=1_750_000_000_000, soc=30, target_soc=80, target_energy_wh=40_000,
    max_energy_wh=60_000, min_energy_wh=10_000,
)  # fmt: skip


async def test_what_the_vehicle_needs_is_reported(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port)
    assert await fixture.station.requests.charging_needs(NEEDS) == "", "nobody can be asked"
    async with fixture.online() as station:
        assert await station.requests.charging_needs(NEEDS) == "Accepted"
        needs = csms.all("NotifyEVChargingNeeds")[0]["charging_needs"]
        if csms.versions == ["ocpp2.1"]:
            assert needs["requested_energy_transfer"] == "DC_BPT"
        else:
            assert needs["requested_energy_transfer"] == "DC"
            assert needs["dc_charging_parameters"]["ev_max_power"] == 100_000
        csms.refuse = {"NotifyEVChargingNeeds": 1}
        assert await station.requests.charging_needs(NEEDS) == ""


async def test_who_the_vehicle_is_and_what_it_plans_is_reported(tmp_path: Path, csms: Backend) -> None:
    """Q01.FR.02, K18.FR.10: the charging schedule is that of the profile in force, where there is one."""
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        station.started("s-1", "DEV2GC00000001", evcc_id="WMIV1234567890ABCDEX")
        station.fact(PlanReported(evse_id=1, schedule=plan_schedule([(0, 9000), (1800, -4000)], 3600)))
        station.fact(PlanReported(evse_id=1, schedule=plan_schedule([(0, 9000)], 3600), dynamic=True))
        station.started("s-2", "")
        await csms.wait("TransactionEvent", 2)
        await csms.wait("NotifyEVChargingSchedule")
    first = csms.all("TransactionEvent")[0]["id_token"]
    (plan,) = csms.all("NotifyEVChargingSchedule")  # nothing leads, which a dynamic vehicle could be made to follow
    periods = plan["charging_schedule"]["charging_schedule_period"]
    assert [each["limit"] for each in periods] == [9000, 0]
    if csms.versions == ["ocpp2.1"]:
        assert first["additional_info"] == [{"additional_id_token": "WMIV1234567890ABCDEX", "type": "EVCCID"}]
        assert periods[1]["discharge_limit"] == -4000
    else:
        assert "additional_info" not in first


def profile(purpose: str, **changes: Any) -> dict[str, Any]:
    """A charging profile that holds from now on."""
    period = {"start_period": 0, "limit": changes.pop("limit", 20_000.0), **changes.pop("period", {})}
    return {
        "id": 1, "stack_level": 0, "charging_profile_purpose": purpose, "charging_profile_kind": "Absolute",
        "charging_schedule": [{
            "id": 1, "charging_rate_unit": "W", "start_schedule": "2020-01-01T00:00:00Z",
            "charging_schedule_period": [period],
        }],
        **changes,
    }  # fmt: skip


async def test_a_limit_that_cannot_be_kept_is_obeyed_all_the_same(
    tmp_path: Path, csms: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = Fixture(tmp_path, csms.port)

    def full(*_: Any) -> None:
        raise StoreError("database or disk is full")

    async with fixture.online():
        monkeypatch.setattr(StationStore, "keep", full)
        answer = await csms.ask(
            "SetChargingProfile", evse_id=0, charging_profile=profile("ChargingStationMaxProfile", limit=5_000.0)
        )
        assert answer.status == "Accepted"
        await fixture.until(lambda: bool(fixture.limits))
        assert fixture.limits[0].charge_w == 5_000
        assert "not_kept" in [each.name for each in fixture.events]


def _do_at_once(disk: DiskThread, work: Callable[[], object], then: Callable[[], object]) -> asyncio.Future[object]:
    """A disk that is done before the loop's next turn."""
    done = asyncio.get_running_loop().create_future()

    def do() -> None:
        try:
            work()
            done.set_result(then())
        except StoreError as error:
            done.set_exception(error)

    asyncio.get_running_loop().call_soon(do)
    return done


@pytest.mark.parametrize("do", [DiskThread.do, _do_at_once], ids=["thread", "at_once"])
async def test_a_station_goes_on_after_a_full_disk(
    tmp_path: Path, csms: Backend, monkeypatch: pytest.MonkeyPatch, do: Callable[..., asyncio.Future[object]]
) -> None:
    """What cannot be saved is not sent, and nothing waits for an answer to it."""
    monkeypatch.setattr(DiskThread, "do", do)
    fixture, known = Fixture(tmp_path, csms.port, message_timeout=3600.0), StationStore.keep

    def full(*_: Any) -> None:
        raise StoreError("database or disk is full")

    async with fixture.online() as station:
        station.started("a", "EMAID1", sample=sample(1))
        assert await station.drain(60)
        monkeypatch.setattr(StationStore, "keep", full)
        station.ended("a", trigger="StopAuthorized", reason="Local")
        assert station.saving is not None
        with pytest.raises(StoreError):
            await station.saving
        station.fact(SecurityEventFound(type="SettingSystemTime", info=""))  # nothing waits for this one
        async with asyncio.timeout(60):
            await fixture.charger.store_has_failed.wait()
        assert (await station.requests.authorize("EMAID2", ())).decision == "accepted"
        assert len(csms.all("TransactionEvent")) == 1
        monkeypatch.setattr(StationStore, "keep", known)


async def test_a_slow_disk_delays_what_is_sent_and_neither_limits_nor_the_loop(
    tmp_path: Path, csms: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture, released = Fixture(tmp_path, csms.port), threading.Event()
    async with fixture.online() as station:
        known = StationStore.keep

        def slow(store: StationStore, changes: Any) -> None:
            assert released.wait(20)
            known(store, changes)

        monkeypatch.setattr(StationStore, "keep", slow)
        asked = asyncio.create_task(
            csms.ask("SetChargingProfile", evse_id=0, charging_profile=profile("ChargingStationMaxProfile"))
        )
        await fixture.until(lambda: bool(fixture.limits))  # a loop that waits for the disk does not come as far
        await asyncio.wait((asked,), timeout=0.2)
        assert not asked.done()
        station.started("a", "EMAID1", sample=sample(1))
        assert station.saving is not None
        assert not station.saving.done()
        released.set()
        assert (await asked).status == "Accepted"
        await station.saving


async def test_what_waits_behind_another_request_is_sent_once_it_is_saved(
    tmp_path: Path, csms: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent with the end of that request, in which nothing is saved."""
    fixture, released = Fixture(tmp_path, csms.port, message_timeout=3600.0), threading.Event()
    async with fixture.online() as station:
        known = StationStore.keep

        def slow(store: StationStore, changes: Any) -> None:
            assert released.wait(20)
            known(store, changes)

        assert await station.drain(60)
        csms.silent.add("Authorize")
        csms.refuse["Authorize"] = 1
        asked = asyncio.create_task(station.requests.authorize("EMAID2", ()))
        await csms.wait("Authorize")
        monkeypatch.setattr(StationStore, "keep", slow)
        station.started("a", "EMAID1", sample=sample(1))
        csms.speak.set()
        await asked
        come = asyncio.create_task(csms.wait("TransactionEvent"))
        await asyncio.wait((come,), timeout=0.1)
        assert not come.done()
        released.set()
        await come


async def test_charging_profiles_become_limits_and_survive_a_restart(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        answer = await csms.ask(
            "SetChargingProfile", evse_id=0, charging_profile=profile("ChargingStationMaxProfile", limit=50_000.0)
        )
        assert answer.status == "Accepted"
        await fixture.until(lambda: bool(fixture.limits))
        assert fixture.limits[0].charge_w == 50_000
        transaction = station.started("a", "EMAID1")
        mode = {"operation_mode": "ExternalSetpoint", "discharge_limit": -7000.0}
        two_way = mode if csms.versions == ["ocpp2.1"] else {}
        answer = await csms.ask(
            "SetChargingProfile", evse_id=1,
            charging_profile=profile("TxProfile", id=2, limit=30_000.0, transaction_id=transaction, period=two_way),
        )  # fmt: skip
        assert answer.status == "Accepted"
        await fixture.until(lambda: len(fixture.limits) == 2)
        assert fixture.limits[1].charge_w == 30_000
        assert fixture.limits[1].discharge_w == (7000 if two_way else None)
        answer = await csms.ask("GetChargingProfiles", request_id=5, charging_profile={"stack_level": 0})
        assert answer.status == "Accepted"
        reports = [await csms.wait("ReportChargingProfiles", n) for n in (1, 2)]
        assert [(r["evse_id"], bool(r.get("tbc"))) for r in reports] == [(0, True), (1, False)]
        answer = await csms.ask("GetCompositeSchedule", duration=600, evse_id=1)
        assert answer.schedule["charging_schedule_period"][0]["limit"] == 30_000
        station.ended("a", trigger="EVDeparted", reason="EVDisconnected")
        assert fixture.limits[2].charge_w == 50_000, "the TxProfile went with its transaction"
    again = Fixture(tmp_path, csms.port)
    async with again.online() as station:
        assert again.limits[0].charge_w == 50_000
        assert (await csms.ask("ClearChargingProfile", charging_profile_id=1)).status == "Accepted"
        await again.until(lambda: len(again.limits) == 2)
        assert again.limits[1].charge_w is None
        assert (await csms.ask("ClearChargingProfile", charging_profile_id=1)).status == "Unknown"


async def test_limits_of_single_conductors_are_for_vehicles_that_have_sent_powers_of_them(tmp_path: Path) -> None:
    """K01.FR.144; the lowest of them applies to each (K01.FR.147)."""
    lines, period = (
        (3_700, 3_700, 3_700),
        {"startPeriod": 0, "limit": 3_000.0, "limit_L2": 2_000.0, "limit_L3": 1_000.0},
    )
    async with backend() as csms:
        fixture = Fixture(tmp_path, csms.port)
        async with fixture.online() as station:
            wanted = {
                "id": 1,
                "stackLevel": 0,
                "chargingProfilePurpose": "TxProfile",
                "chargingProfileKind": "Relative",
                "transactionId": station.started("a", "EMAID1"),
                "chargingSchedule": [{"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [period]}],
            }
            for needs, status in ((NEEDS, "Rejected"), (replace(NEEDS, line_charge_w=lines), "Accepted")):
                await station.requests.charging_needs(needs)
                answer = await csms.request("SetChargingProfile", {"evseId": 1, "chargingProfile": wanted})
                assert answer["status"] == status
            await fixture.until(lambda: bool(fixture.limits))
            assert fixture.limits[0].charge_w == 6_000


async def test_a_schedule_changes_limits_in_simulated_time(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port, scale=1000.0)
    async with fixture.online() as station:
        start = fixture.clock.utc_ms()
        schedule = profile("TxDefaultProfile", charging_profile_kind="Relative")
        del schedule["charging_schedule"][0]["start_schedule"]
        schedule["charging_schedule"][0]["charging_schedule_period"] = [
            {"start_period": 0, "limit": 9000.0}, {"start_period": 300, "limit": 4000.0},
        ]  # fmt: skip
        assert (await csms.ask("SetChargingProfile", evse_id=1, charging_profile=schedule)).status == "Accepted"
        station.started("a", "EMAID1")
        await fixture.until(lambda: len(fixture.limits) >= 2)
        assert [each.charge_w for each in fixture.limits] == [9000, 4000]
        assert fixture.clock.utc_ms() - start >= 300_000


async def test_the_grid_signal_arrives_once_it_is_whole(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online():
        export = {"export_limit_w": 10_000, "valid_until_ms": 2_000_000_000_000}
        signal = SIGNAL if csms.versions == ["ocpp2.1"] else SIGNAL | export
        answer = await csms.ask(
            "DataTransfer", vendor_id="org.v2g-engine", message_id="GridSignal", data=json.dumps(signal)
        )
        assert answer.status == "Accepted"
        await fixture.until(lambda: len(fixture.charger.all(GridSignalReceived)) == 1)
        (received,) = fixture.charger.all(GridSignalReceived)
        assert msgspec.to_builtins(received.signal) == signal | {"slots": tuple(SIGNAL["slots"])}
        bad = json.dumps(signal | {"currency": "euro"})
        answer = await csms.ask("DataTransfer", vendor_id="org.v2g-engine", message_id="GridSignal", data=bad)
        assert answer.status == "Rejected"
        assert (await csms.ask("DataTransfer", vendor_id="com.other")).status == "UnknownVendorId"
        answer = await csms.ask("DataTransfer", vendor_id="org.v2g-engine", message_id="Other")
        assert answer.status == "UnknownMessageId"
        assert len(fixture.charger.all(GridSignalReceived)) == 1


async def test_the_operator_can_start_stop_reset_and_unlock(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        token = {"id_token": "APP-1", "type": "Central"}
        answer = await csms.ask("RequestStartTransaction", id_token=token, remote_start_id=9, evse_id=1)
        assert answer.status == "Accepted"
        for status in ("UnlockFailed", "Unlocked"):
            assert (await csms.ask("UnlockConnector", evse_id=1, connector_id=1)).status == status
        transaction = station.started("a", "EMAID1")
        assert (await csms.ask("CostUpdated", transaction_id=transaction, total_cost=1.25)) is not None
        answer = await csms.ask("RequestStartTransaction", id_token=token, remote_start_id=10)
        assert answer.status == "Rejected"
        answer = await csms.ask("UnlockConnector", evse_id=1, connector_id=1)
        assert answer.status == "OngoingAuthorizedTransaction"
        assert (await csms.ask("UnlockConnector", evse_id=7, connector_id=1)).status == "UnknownConnector"
        assert (await csms.ask("Reset", type="OnIdle")).status == "Scheduled"
        assert (await csms.ask("Reset", type="Immediate")).status == "Accepted"
        assert (await csms.ask("RequestStopTransaction", transaction_id=transaction)).status == "Accepted"
        assert (await csms.ask("RequestStopTransaction", transaction_id="other")).status == "Rejected"
        await fixture.until(lambda: bool(fixture.charger.all(RemoteStopRequested)))
    charger = fixture.charger
    (start,) = charger.all(RemoteStartRequested)
    assert (start.evse_id, start.remote_start_id, start.id_token.id_token) == (1, 9, "APP-1")
    assert charger.unlockings == [1, 1]
    assert [(each.transaction_id, each.total) for each in charger.all(ShowCost)] == [(transaction, 1.25)]
    assert charger.all(Serve) == [Serve(evse_id=1, operative=False)]
    assert charger.all(Restart) == [Restart(evse_id=None, at_once=False), Restart(evse_id=None, at_once=True)]
    assert charger.all(RemoteStopRequested) == [RemoteStopRequested(reference="a", cause="remote")]


async def test_a_transaction_is_allowed_other_ways_to_transfer_energy(tmp_path: Path) -> None:
    """Q02.FR.06: what leaves no service of the EVSE, or means no transaction, is refused."""
    async with backend() as csms:
        fixture = Fixture(tmp_path, csms.port)
        async with fixture.online() as station:
            transaction = station.started("a", "EMAID1")
            for reference, modes, status in (
                (transaction, ["DC", "DC_BPT"], "Accepted"),
                (transaction, ["AC_BPT"], "Rejected"),
                ("other", ["DC_BPT"], "Rejected"),
            ):
                answer = await csms.ask(
                    "NotifyAllowedEnergyTransfer", transaction_id=reference, allowed_energy_transfer=modes
                )
                assert answer.status == status
            await fixture.until(lambda: bool(fixture.charger.all(AllowEnergyTransfer)))
        allowed = AllowEnergyTransfer(evse_id=1, transaction_id=transaction, reference="a", modes=("DC", "DC_BPT"))
        assert fixture.charger.all(AllowEnergyTransfer) == [allowed]


async def test_without_a_charger_such_commands_are_rejected(tmp_path: Path, csms: Backend) -> None:
    async with Fixture(tmp_path, csms.port, charger=NoCharger()).running() as station:
        await station.online.wait()
        token = {"id_token": "APP-1", "type": "Central"}
        assert (await csms.ask("RequestStartTransaction", id_token=token, remote_start_id=9)).status == "Rejected"
        assert (await csms.ask("Reset", type="Immediate")).status == "Rejected"
        assert (await csms.ask("UnlockConnector", evse_id=1, connector_id=1)).status == "UnlockFailed"
        assert (await csms.ask("ClearCache")).status == "Accepted"


async def test_an_evse_out_of_service_stays_so(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port, evses=2)
    async with fixture.running() as station:
        await csms.wait("StatusNotification", 2)
        station.started("a", "EMAID1", evse_id=1)
        station.status(1, "Occupied")
        answer = await csms.ask("ChangeAvailability", operational_status="Inoperative")
        assert answer.status == "Scheduled"
        await csms.wait(
            "StatusNotification", where=lambda s: (s["evse_id"], s["connector_status"]) == (2, "Unavailable")
        )
        station.ended("a", trigger="EVDeparted", reason="EVDisconnected")
        await csms.wait(
            "StatusNotification", where=lambda s: (s["evse_id"], s["connector_status"]) == (1, "Unavailable")
        )
    assert fixture.charger.all(Serve) == [Serve(evse_id=each, operative=False) for each in (1, 2)]
    again = Fixture(tmp_path, csms.port, evses=2)
    csms.seen.clear()
    async with again.running():
        await csms.wait("StatusNotification", 2)
        assert {s["connector_status"] for s in csms.all("StatusNotification")} == {"Unavailable"}
        answer = await csms.ask("ChangeAvailability", operational_status="Operative")
        assert answer.status == "Accepted"
        await csms.wait("StatusNotification", where=lambda s: s["connector_status"] == "Available")


async def test_variables_are_read_written_kept_and_reported(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        wanted = [
            variable("SecurityCtrlr", "Identity"), variable("OCPPCommCtrlr", "HeartbeatInterval"),
            variable("evse", "availabilitystate", evse={"id": 1}), variable("Nothing", "X"),
            variable("OCPPCommCtrlr", "X"),
        ]  # fmt: skip
        answer = await csms.ask("GetVariables", get_variable_data=wanted)
        results = [(r["attribute_status"], r.get("attribute_value")) for r in answer.get_variable_result]
        assert results == [("Accepted", IDENTITY), ("Accepted", "300"), ("Accepted", "Available"),
                           ("UnknownComponent", None), ("UnknownVariable", None)]  # fmt: skip
        await set_variables(csms, ("OfflineThreshold", None, "17"))
        data = [{**variable(c, n), "attribute_value": v} for c, n, v in (
            ("OCPPCommCtrlr", "OfflineThreshold", "-1"), ("OCPPCommCtrlr", "OfflineThreshold", "soon"),
            ("SecurityCtrlr", "Identity", "o:t"), ("TxCtrlr", "StopTxOnInvalidId", "maybe"))]  # fmt: skip
        answer = await csms.ask("SetVariables", set_variable_data=data)
        assert {r["attribute_status"] for r in answer.set_variable_result} == {"Rejected"}
        assert (await csms.ask("GetBaseReport", request_id=1, report_base="FullInventory")).status == "Accepted"
        await csms.wait("NotifyReport", where=lambda r: not r.get("tbc"))
        assert [r["seq_no"] for r in csms.all("NotifyReport")] == list(range(len(csms.all("NotifyReport"))))
        reported = [d for r in csms.all("NotifyReport") for d in r["report_data"]]
        assert len(reported) > 60
        answer = await csms.ask(
            "GetReport", request_id=2, component_variable=[variable("OCPPCommCtrlr", "OfflineThreshold")]
        )
        assert answer.status == "Accepted"
        report = await csms.wait("NotifyReport", where=lambda r: r["request_id"] == 2)
        assert report["report_data"][0]["variable_attribute"][0]["value"] == "17"
    async with Fixture(tmp_path, csms.port).running() as station:
        await station.online.wait()
        answer = await csms.ask("GetVariables", get_variable_data=[variable("OCPPCommCtrlr", "OfflineThreshold")])
        assert answer.get_variable_result[0]["attribute_value"] == "17"


async def test_messages_can_be_triggered(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port)
    fixture.charger.sample = sample(5_000)
    async with fixture.running() as station:
        await csms.wait("StatusNotification")
        assert (await csms.ask("TriggerMessage", requested_message="TransactionEvent")).status == "Rejected"
        transaction = station.started("a", "EMAID1")
        for message in ("Heartbeat", "StatusNotification", "MeterValues", "TransactionEvent"):
            answer = await csms.ask("TriggerMessage", requested_message=message, evse={"id": 1})
            assert answer.status == "Accepted"
        await csms.wait("Heartbeat")
        await csms.wait("StatusNotification", 2)
        await csms.wait("MeterValues")
        event = await csms.wait("TransactionEvent", where=lambda e: e["trigger_reason"] == "Trigger")
        assert event["transaction_info"]["transaction_id"] == transaction
        answer = await csms.ask("TriggerMessage", requested_message="PublishFirmwareStatusNotification")
        assert answer.status == "NotImplemented"
        status = await csms.ask("GetTransactionStatus", transaction_id=transaction)
        assert status.ongoing_indicator is True


async def test_the_meter_is_sampled_while_a_transaction_runs(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port)
    fixture.charger.sample = sample(5_000)
    async with fixture.online() as station:
        await set_variables(csms, ("TxUpdatedInterval", None, "1"), component="SampledDataCtrlr")
        station.started("a", "EMAID1")
        event = await csms.wait("TransactionEvent", where=lambda e: e["trigger_reason"] == "MeterValuePeriodic")
        assert event["meter_value"][0]["sampled_value"][0]["context"] == "Sample.Periodic"


async def test_what_a_station_does_not_do_is_not_supported(tmp_path: Path, csms: Backend) -> None:
    async with Fixture(tmp_path, csms.port).running() as station:
        await station.online.wait()
        with pytest.raises(Exception, match=r"NotSupported|not supported"):
            await csms.ask("UnpublishFirmware", checksum="0" * 32)


async def test_an_authorization_needs_somebody_to_ask(tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, 1)
    assert (await fixture.station.requests.authorize("EMAID1", ())).decision == "unreachable"
    trusting = Fixture(tmp_path / "other", 1, accept_offline=True)
    assert (await trusting.station.requests.authorize("EMAID1", ())).decision == "accepted"


async def test_one_store_belongs_to_one_process(tmp_path: Path) -> None:
    from v2g.errors import StoreError

    fixture = Fixture(tmp_path, 1)
    with pytest.raises(StoreError, match="locked"):
        Fixture(tmp_path, 1)
    await fixture.station.close()
    assert (tmp_path / "station.db").stat().st_mode & 0o077 == 0
    with pytest.raises(KeyError):
        fixture.station.updated("nobody", trigger="Trigger")
    assert msgspec.structs.fields(StationConfig)


async def test_a_boot_that_fails_is_tried_again(tmp_path: Path, csms: Backend) -> None:
    csms.refuse = {"BootNotification": 1}
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.running() as station:
        await fixture.until(lambda: "boot_refused" in fixture.names())
        assert (await csms.ask("TriggerMessage", requested_message="BootNotification")).status == "Accepted"
        await station.online.wait()


async def test_refused_states_and_heartbeats_hold_nothing_up(tmp_path: Path, csms: Backend) -> None:
    csms.boot_answers = [("Accepted", 1)]
    csms.refuse = {"StatusNotification": 1, "Heartbeat": 1}
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.running() as station:
        await fixture.until(lambda: "status_refused" in fixture.names())
        station.started("a", "EMAID1")
        await csms.wait("TransactionEvent")
        await csms.wait("Heartbeat", 2)


async def test_journal_lines_that_are_rejected_come_again(tmp_path: Path, csms: Backend) -> None:
    csms.answers["DataTransfer"] = {"status": "Rejected", "status_info": {"reason_code": "JournalRefused"}}
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        await set_variables(csms, ("MessageAttemptInterval", "TransactionEvent", "0"))
        station.journal("a", "line")
        await csms.wait("DataTransfer", 2)
        csms.answers["DataTransfer"] = {"status": "Accepted"}
        assert await station.drain(10)


async def test_a_journal_that_is_refused_for_good_does_not_hold_up_the_next(tmp_path: Path, csms: Backend) -> None:
    csms.answers["DataTransfer"] = {"status": "Rejected", "status_info": {"reason_code": "JournalRefused"}}
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        await set_variables(csms, ("MessageAttemptInterval", "TransactionEvent", "0"))
        station.journal("forked", "line")
        station.journal("good", "line")
        await fixture.until(lambda: "journal_given_up" in fixture.names())
        csms.answers["DataTransfer"] = {"status": "Accepted"}
        await csms.wait("DataTransfer", where=lambda data: data["data"]["session_id"] == "good")
        assert await station.drain(10)


def journal_lines(*sequences: int) -> list[str]:
    return [f'{{"sequence":{sequence}}}' for sequence in sequences]


async def test_it_is_known_which_journals_the_csms_has_from_their_first_line_on(tmp_path: Path, csms: Backend) -> None:
    """After a restart as well; what comes twice counts once, and what was given up is missing for good."""
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        await set_variables(csms, ("MessageAttemptInterval", "TransactionEvent", "0"))
        for line in journal_lines(*range(120)):
            station.journal("whole", line)
        assert await station.drain(10)
        csms.answers["DataTransfer"] = {"status": "Rejected", "status_info": {"reason_code": "JournalRefused"}}
        station.journal("refused", *journal_lines(0))
        await fixture.until(lambda: "journal_given_up" in fixture.names())
        csms.answers["DataTransfer"] = {"status": "Accepted"}
        for line in journal_lines(1, 2):
            station.journal("refused", line)
        assert await station.drain(10)
        assert await station.journals_taken() == {"whole": 120, "refused": 0}
    async with Fixture(tmp_path, csms.port).running() as station:
        await csms.wait("BootNotification", 2)
        station.restate_journal("whole", journal_lines(*range(121)))
        assert await station.drain(10)
        assert await station.journals_taken() == {"whole": 121, "refused": 0}
        await station.forget_taken(["whole"])
        assert await station.journals_taken() == {"refused": 0}


async def test_a_journal_is_queued_before_its_own_file_may_go(tmp_path: Path) -> None:
    """A kill right after a start must not lose what the start before has left: nothing else runs in between."""
    async with Fixture(tmp_path, 1).running() as station:
        station.restate_journal("whole", journal_lines(0, 1, 2), wait=True)
        copied = [shutil.copy(each, tmp_path / f"killed{each.suffix}") for each in tmp_path.glob("station.db*")]
    assert copied
    store = StationStore(tmp_path / "killed.db")
    queued = store.next_lines(50, 48_000)
    store.close()
    assert queued is not None
    assert (queued.session_id, list(queued.lines)) == ("whole", journal_lines(0, 1, 2))


async def test_a_csms_that_knows_no_journals_has_none(tmp_path: Path, csms: Backend) -> None:
    csms.answers["DataTransfer"] = {"status": "UnknownVendorId"}
    async with Fixture(tmp_path, csms.port).running() as station:
        await station.online.wait()
        for line in journal_lines(0, 1):
            station.journal("a", line)
        assert await station.drain(10)
        assert await station.journals_taken() == {}


async def test_after_a_long_time_offline_every_connector_is_reported(tmp_path: Path, csms: Backend) -> None:
    fixture = Fixture(tmp_path, csms.port, evses=2)
    async with fixture.running() as station:
        await csms.wait("StatusNotification", 2)
        await set_variables(csms, ("OfflineThreshold", None, "0"))
        await csms.stop()
        await fixture.until(lambda: not station.online.is_set())
        await csms.start()
        await csms.wait("StatusNotification", 4)
    assert {s["evse_id"] for s in csms.all("StatusNotification")[2:]} == {1, 2}


async def test_the_csms_gets_the_chargers_own_logs(csms: Backend, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text('{"utc_ms":1,"name":"plugged_in"}\n')
    with file_server() as server:
        fixture = Fixture(tmp_path, csms.port, premises=Premises(sources=LogSources(events=events)))
        async with fixture.running():
            await fixture.until(fixture.station.online.is_set)
            log = {"remoteLocation": f"{server.url}/"}
            answer = await csms.ask("GetLog", log=log, log_type="DiagnosticsLog", request_id=5)
            assert answer.status == "Accepted"
            await csms.wait("LogStatusNotification", where=lambda each: each["status"] == "Uploaded")
    ((_, path, _, body),) = server.taken
    assert path == f"/{answer.filename}"
    assert "plugged_in" in unpacked(body)["events.jsonl"]


async def test_the_frequency_leads_while_the_csms_is_away(tmp_path: Path) -> None:
    async with backend() as csms:
        fixture = Fixture(tmp_path, csms.port, frequency=FrequencyConfig())
        async with fixture.running() as station:
            await fixture.until(station.online.is_set)
            transaction = station.started("session-1", "DE1")
            period = {
                "start_period": 0,
                "operation_mode": "LocalFrequency",
                "v2x_baseline": 0.0,
                "v2x_freq_watt_curve": [{"frequency": 49.5, "power": -8000.0}, {"frequency": 50.5, "power": 8000.0}],
            }
            schedule = {"id": 1, "charging_rate_unit": "W", "charging_schedule_period": [period]}
            profile = {
                "id": 1,
                "stack_level": 0,
                "charging_profile_purpose": "TxProfile",
                "charging_profile_kind": "Relative",
                "charging_schedule": [schedule],
                "transaction_id": transaction,
            }
            answer = await csms.ask("SetChargingProfile", evse_id=1, charging_profile=profile)
            assert answer.status == "Accepted"
            await csms.stop()
            await fixture.until(lambda: not station.online.is_set())
            station.fact(GridFrequency(hz=49.75))
            station.fact(GridFrequency(hz=50.25))
    assert [(each.evse_id, each.power_w) for each in fixture.charger.all(SetPower)] == [(1, -4000.0), (1, 4000.0)]


async def test_a_charger_without_a_source_of_the_frequency_says_so(csms: Backend, tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.running() as station:
        await fixture.until(station.online.is_set)
        if csms.versions == ["ocpp2.1"]:
            with pytest.raises(NotSupportedError):
                await csms.ask("AFRRSignal", timestamp="2026-01-01T00:00:00Z", signal=1)
