"""Simulated stations against a CSMS that we did not write: they boot, charge, lose the link, and lose nothing."""

import asyncio
import hashlib
import itertools
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.secc.backend import backend
from tests.secc.served import Served
from tests.station.bench import FIXED, Bench
from tests.station.simulator.fleets import EAGER, run
from v2g.errors import StoreError
from v2g.io.runtime.supervision import cancel_tasks
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.evse import AllowPower, Bay, Plug, Power, Restart, TokenPresented
from v2g_station.blocks.smart_charging.local_control import GridFrequency
from v2g_station.blocks.transactions.resumption import Restarted
from v2g_station.kernel.kernel import Action, Moment
from v2g_station.simulator.behaviour import QUIET, Behaviour, SimulatedSite
from v2g_station.simulator.fleet import Simulator, StationFleet
from v2g_station.simulator.grid import GridPlan, SimulatedGrid
from v2g_station.simulator.terminal import TERMINAL, TerminalFaults

LEGAL = {"ISO14443": r"([0-9A-F]{2}){4}|([0-9A-F]{2}){7}", "ISO15693": r"([0-9A-F]{2}){8}"}


@pytest.mark.parametrize(
    ("behaviour", "known"),
    [
        (Behaviour(), "CA4D0999"),
        (Behaviour(tokens=10_001), "CA4D0000000999"),
        (Behaviour(token_prefix="04a1b2"), "04a1b200000999"),
        (Behaviour(token_type="ISO15693", token_prefix="E004"), "E004000000000999"),
        (Behaviour(token_type="Central", token_prefix="FLEET-"), "FLEET-000999"),
    ],
)
def test_cards_have_identifiers_of_their_type(behaviour: Behaviour, known: str) -> None:
    assert behaviour.card(999) == known
    assert re.fullmatch(LEGAL.get(behaviour.token_type, ".+"), known.upper())
    assert len({behaviour.card(number) for number in range(behaviour.tokens)}) == behaviour.tokens


@pytest.mark.parametrize(
    "wrong",
    [
        {"token_prefix": "CARD"},
        {"token_prefix": "0123456789ABCDE"},
        {"token_type": "Central", "token_prefix": "x" * 32},
    ],
)
def test_identifiers_that_no_card_has_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match="token_prefix"):
        msgspec.convert(wrong, Behaviour)


async def test_what_drivers_identify_themselves_by_is_legal() -> None:
    """A strict CSMS answers PropertyConstraintViolation to anything else, and nobody charges."""
    async with backend() as csms:
        await run(csms, 6, seed=1)
    tokens = [each["id_token"] for each in csms.all("Authorize")]
    tokens += [each["id_token"] for each in csms.all("TransactionEvent") if each.get("id_token")]
    assert {each["type"] for each in tokens} >= {"ISO14443"}
    for each in tokens:
        pattern = LEGAL["ISO14443"] if each["type"] == "ISO14443" else r"DEV2GC[0-9]{8}"
        assert re.fullmatch(pattern, each["id_token"]), each


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_a_fleet_charges_and_reports_everything_in_order(version: Any) -> None:
    async with backend() as csms:
        simulator = await run(csms, 6, versions=(version,))
    report = simulator.report()
    assert len(csms.all("BootNotification")) == 5
    assert report["sessions"] >= 6
    assert report["energy_kwh"] > 0
    assert report["call_errors"] == 0
    events: dict[str, list[dict[str, Any]]] = {}
    for event in csms.all("TransactionEvent"):
        events.setdefault(event["transaction_info"]["transaction_id"], []).append(event)
    assert len(events) >= 6
    for mine in events.values():
        numbers = [key for key, _ in itertools.groupby(event["seq_no"] for event in mine)]
        assert numbers == list(range(len(numbers))), "in order, without a gap"
        assert mine[0]["event_type"] == "Started"
    kinds = Counter(event["event_type"] for mine in events.values() for event in mine)
    assert kinds["Ended"] > 0


async def test_a_csms_changes_how_often_it_is_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []
    monkeypatch.setattr("v2g.io.websocket.client.OcppSocket.ping_every", lambda _, interval: asked.append(interval))
    variable = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "WebSocketPingInterval"}}
    async with backend() as csms:
        fleet = StationFleet(url=f"ws://127.0.0.1:{csms.port}/ocpp", behaviour=QUIET)
        running = asyncio.create_task(Simulator(fleet).run(None))
        await csms.wait("BootNotification")
        for value in ("45", "0"):
            answer = await csms.ask("SetVariables", set_variable_data=[{**variable, "attribute_value": value}])
            assert answer.set_variable_result[0]["attribute_status"] == "Accepted"
        await cancel_tasks(running)
    assert asked == [45.0, None]


def test_drivers_come_and_go_by_the_same_chance_each_time() -> None:
    def story(seed: int) -> list[str]:
        chance = random.Random(seed).random
        site = SimulatedSite(EAGER, (50_000,), 0, chance)
        reported: list[str] = []
        for _ in range(30):
            now = site.due()
            for fact in list(site.advance(now)):
                reported.append(type(fact).__name__)
                if isinstance(fact, TokenPresented | Plug):
                    reported += [type(each).__name__ for each in site.command(AllowPower(evse_id=1, allowed=True), now)]
        return reported

    assert story(1) == story(1)
    assert story(1) != story(2)
    assert {"Plug", "Power"} <= set(story(1))


def test_a_limit_slows_a_vehicle_down() -> None:
    from v2g_station.blocks.smart_charging.profiles import ProfileLimits

    site = SimulatedSite(EAGER, (50_000,), 0, random.Random(3).random)
    now = site.due()
    while not any(isinstance(fact, Plug) for fact in list(site.advance(now))):
        now = site.due()
    list(site.command(AllowPower(evse_id=1, allowed=True), now))
    before = site.read(1, now)
    (fact,) = site.command(ProfileLimits(evse_id=1, charge_w=3600), now)
    assert isinstance(fact, Power)
    after = site.read(1, now + 10_000)
    assert before is not None
    assert after is not None
    assert after.power_w == 3600
    assert after.import_mwh - before.import_mwh == 10_000
    (fact,) = site.command(ProfileLimits(evse_id=1, charge_w=0), now)
    assert fact == Power(evse_id=1, state="SuspendedEVSE")


def test_a_station_that_lies_reports_many_times_what_flows() -> None:
    said = []
    for overstates in (1.0, 40.0):
        behaviour = msgspec.structs.replace(EAGER, overstates=overstates)
        site = SimulatedSite(behaviour, (50_000,), 0, random.Random(3).random)
        now = site.due()
        while not any(isinstance(fact, Plug) for fact in list(site.advance(now))):
            now = site.due()
        list(site.command(AllowPower(evse_id=1, allowed=True), now))
        sample = site.read(1, now + 60_000)
        assert sample is not None
        said.append((sample.power_w, sample.import_mwh))
    assert said[0][0] > 0
    assert said[1] == (40 * said[0][0], 40 * said[0][1])


def test_a_vehicle_that_is_still_there_charges_on_after_a_restart() -> None:
    site = SimulatedSite(EAGER, (50_000, 50_000), 0, random.Random(3).random)
    now = site.due()
    while not any(isinstance(fact, Plug) and fact.evse_id == 1 for fact in list(site.advance(now))):
        now = site.due()
    list(site.command(AllowPower(evse_id=1, allowed=True), now))
    assert list(site.command(AllowPower(evse_id=1, allowed=False), now)) == [Power(evse_id=1, state="EVConnected")]
    assert list(site.command(Restart(evse_id=1), now)) == [Restarted(evse_id=1)]
    assert Plug(evse_id=1, vehicle=True) in list(site.plugs())
    assert list(site.command(AllowPower(evse_id=1, allowed=True), now)) == [Power(evse_id=1, state="Charging")]


def test_drivers_pay_at_the_terminal() -> None:
    found = Bench("2.1", evses=(FIXED,), terminal=TERMINAL)
    found.answers["TransactionEvent"] = lambda event: {"totalCost": 3.0} if event["eventType"] == "Ended" else {}
    behaviour = msgspec.structs.replace(EAGER, card_payments=1.0, plug_and_charge=0.0, terminal=TerminalFaults())
    site = SimulatedSite(behaviour, (50_000,), found.utc_ms, random.Random(4).random)
    done = 0
    for _ in range(40):
        found.wait(max(0.0, (site.due() - found.utc_ms) / 1000))
        facts = list(site.advance(found.utc_ms))
        while facts:
            found.fact(facts.pop(0))
            orders, done = found.commands[done:], len(found.commands)
            facts += [fact for order in orders for fact in site.command(order, found.utc_ms)]
    paid = {each["pspRef"]: each["status"] for each in found.all("NotifySettlement")}
    assert len(paid) > 3
    assert {site.terminal.reserved[ref].state for ref, status in paid.items() if status == "Settled"} == {"taken"}
    assert all(event.get("idToken", {}).get("type") != "ISO14443" for event in found.all("TransactionEvent"))


async def test_a_simulated_station_restarts_and_reports_itself() -> None:
    async with backend() as csms:
        fleet = StationFleet(
            url=f"ws://127.0.0.1:{csms.port}/ocpp", behaviour=Behaviour(arrivals_per_hour=0, offline_per_day=0)
        )
        simulator = Simulator(fleet)
        running = asyncio.create_task(simulator.run(None))
        await csms.wait("BootNotification")
        assert (await csms.ask("GetBaseReport", request_id=1, report_base="FullInventory")).status == "Accepted"
        await csms.wait("NotifyReport", where=lambda r: not r.get("tbc"))
        assert (await csms.ask("Reset", type="OnIdle")).status == "Accepted"
        boot = await csms.wait("BootNotification", 2)
        assert boot["reason"] == "RemoteReset"
        await asyncio.wait_for(simulator.stations[0].runner.online.wait(), 60)
        await cancel_tasks(running)
        assert simulator.report()["online"] == 1, "as it was when it ended"


async def test_a_fact_whose_step_raises_does_not_hold_up_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    station = Simulator(StationFleet(url="ws://127.0.0.1:9/ocpp", behaviour=EAGER)).stations[0]
    core = station.runner.core
    handle, handled = core.handle, []

    def failing_once(fact: Fact, moment: Moment) -> list[Action]:
        handled.append(fact)
        if len(handled) == 1:
            raise StoreError("the disk is full")
        return handle(fact, moment)

    monkeypatch.setattr(core, "handle", failing_once)
    with pytest.raises(StoreError):
        station.do("arrive 1")
    station.do("depart 1")
    assert handled == [Bay(evse_id=1, occupied=True), Bay(evse_id=1, occupied=False)]
    await station.close()


def test_a_frequency_by_hand_is_a_number() -> None:
    site = SimulatedSite(QUIET, (50_000,), 0, random.Random(1).random, grid=SimulatedGrid(GridPlan()))
    assert list(site.do("frequency 1 49.8", 0)) == [GridFrequency(hz=49.8, volt=230.0)]
    for wrong in ("nan", "inf", "fast"):
        with pytest.raises(ValueError, match=wrong):
            list(site.do(f"frequency 1 {wrong}", 0))


async def test_a_simulated_station_shows_codes_for_payment() -> None:
    values = {"URLTemplate": "https://pay.example/{chargingstationid}/{evse}/{totp}/{version}", "Enabled": "true"}
    async with backend() as csms:
        fleet = StationFleet(
            url=f"ws://127.0.0.1:{csms.port}/ocpp", behaviour=Behaviour(arrivals_per_hour=0, offline_per_day=0)
        )
        simulator = Simulator(fleet)
        running = asyncio.create_task(simulator.run(None))
        await csms.wait("BootNotification")
        for name, value in values.items():
            data = {"component": {"name": "WebPaymentsCtrlr"}, "variable": {"name": name}, "attribute_value": value}
            answer = await csms.ask("SetVariables", set_variable_data=[data])
            assert answer.set_variable_result[0]["attribute_status"] == "Accepted"
        await cancel_tasks(running)
    codes = simulator.report()["qr_codes"]["SIM1"]
    assert set(codes) == {"1", "2"}
    assert codes["1"].startswith("https://pay.example/SIM1/1/")


def test_a_vehicle_gives_energy_back_as_the_csms_wishes() -> None:
    """Needs with what it can give, a set point below zero, and the export register that comes of it (Q03, K19)."""
    behaviour = msgspec.structs.replace(EAGER, bidirectional=1.0, plug_and_charge=0.0, vehicle_kw=(20.0, 20.0))
    found = Served(behaviour)
    assert found.charge(setpoint=-15_000.0, operationMode="CentralSetpoint") == "Accepted"
    needs = found.all("NotifyEVChargingNeeds")[-1]["chargingNeeds"]
    assert needs["requestedEnergyTransfer"] == "DC_BPT"
    assert needs["v2xChargingParameters"]["maxDischargePower"] == 20_000
    before = found.shown()
    found.go_on(600)
    after = found.shown()
    assert (after.power_w, after.import_mwh) == (-15_000, before.import_mwh)
    assert after.export_mwh - before.export_mwh == pytest.approx(2_500_000, rel=0.001)
    assert after.soc is not None
    assert before.soc is not None
    assert after.soc < before.soc
    found.go_on(7200)
    assert found.site is not None
    battery = found.site.bays[1].battery
    assert battery is None or battery.energy_mwh >= battery.least_mwh


async def test_a_simulated_station_reports_the_version_of_the_firmware_that_runs(tmp_path: Path) -> None:
    station = Simulator(StationFleet(url="ws://127.0.0.1:9/ocpp", behaviour=EAGER)).stations[0]
    installer = station._machine.installer

    def reported() -> str:
        station.start_again("FirmwareUpdate")
        return station.runner.core.settings.layout.firmware

    before = reported()
    for content, version in ((b"2.7.1\nrest", "2.7.1"), (bytes(99), hashlib.sha256(bytes(99)).hexdigest()[:16])):
        (tmp_path / "image").write_bytes(content)
        await installer.install(tmp_path / "image")
        assert reported() != version, "not before it starts"
        await installer.activate()
        assert reported() == version
        assert reported() == before, "nobody confirmed it"
        await installer.activate()
        assert reported() == version
        await installer.confirm()
        assert reported() == version
        before = version
    await station.close()
