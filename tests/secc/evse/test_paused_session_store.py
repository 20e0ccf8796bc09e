"""A session that pauses outlives its connection and the charger's process, and is closed when nobody can join it.

Vehicle and charger are whole, hardware and journal and all; only TLS and the powerline are left out.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from evcc.hardware.vehicle import BenchLine, BenchPilot, SimulatedVehicle
from evcc.policy.battery import BatteryConfig
from evcc.session.contracts import Contract
from evcc.session.d20.session import VehicleSession
from evcc.session.edition import Connection as Brought
from evcc.session.paused import Resume
from evcc.session.settings import DischargeConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import DEFAULTS, PkiTree
from secc.evse.controller import EvseController
from secc.evse.paused_session_store import FILE, PausedSessionFile
from secc.session.config import ControlMode, EnergyService
from secc.session.ports import Paused
from tests.later import later
from tests.sealing import new_keys
from tests.secc.bench_program import BENCH, made
from tests.waiting import until
from v2g.energy.settlement.bundle import verify_bundle
from v2g.energy.settlement.report import Report
from v2g.errors import StoreError
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.runner import Runner
from v2g.io.simulation.lines import VehicleDcLine
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.io.storage.journal_file import read_files
from v2g.io.storage.record_keys import RecordKeys
from v2g.iso15118.signed_requests import read_confirmation
from v2g.observe import Observe
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.transactions.managed import RemoteStopRequested
from v2g_testkit.memory_stream import MemoryStream

SCALE = 600.0
SITE = f'[site]\ncontracts = ["{DEFAULTS.emaid}"]\n[clock]\nscale = {SCALE}\n'
PROGRAM = (
    ProgramStep(do="charge", energy_wh=300),
    ProgramStep(do="wait", for_s=600, pause=True),
    ProgramStep(do="charge", energy_wh=200),
)


class Connection:
    """The charger's end of a pipe, with what TLS would know of the vehicle."""

    version, cipher, group, address = "TLSv1.3", "TLS_AES_256_GCM_SHA384", "secp521r1", ""
    peer_name = DEFAULTS.evcc_id

    def __init__(self, pipe: MemoryStream, leaf: bytes, controller: EvseController) -> None:
        self.read, self.write, self.close = pipe.read, pipe.write, pipe.close
        self.peer_leaf = leaf
        self.own = controller.transport.credentials[0]


async def talk(
    controller: EvseController,
    pki: PkiTree,
    *,
    resume: Resume | None = None,
    leaf: bytes = b"vehicle",
    wires: tuple[Any, Any] | None = None,
) -> tuple[str, Resume | None]:
    """Let a vehicle charge by its program; return how that ended, and what it takes to go on."""
    charger_end, vehicle_end = MemoryStream.pair()
    connection = Connection(charger_end, leaf, controller)
    clock = Clock(ClockConfig(scale=SCALE))
    line, pilot = wires or (BenchLine(), BenchPilot())
    hardware = SimulatedVehicle(BatteryConfig(soc=30), line=line, pilot=pilot, clock=clock)
    session = VehicleSession(
        SessionConfig(
            program=PROGRAM,
            services=ServiceConfig(energy=("DC_BPT",)),
            discharge=DischargeConfig(enabled=False),
        ),
        Brought(
            battery=hardware.battery,
            secc_certificate=controller.transport.credentials[0].leaf,
            contracts=(Contract(pki.chain("contract"), pki.key("contract")),),
            entropy=os.urandom,
            resume=resume,
            time_scale=SCALE,
        ),
    )
    runner = Runner(session, vehicle_end, execute=hardware.execute, clock=clock, observe=lambda _: None)
    hardware.subscribe(runner.fact)
    serving = asyncio.create_task(controller.vehicle(connection, lambda stream: stream))  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(60):
            reason = await runner.run()
            await serving
    finally:
        await hardware.close()
    return reason, session.paused


@asynccontextmanager
async def outlet_of(
    folder: Path, pki: PkiTree, extra: str = BENCH, site: str = SITE, keys: Path | None = None
) -> AsyncIterator[tuple[EvseController, list[Observe]]]:
    """Return the EVSE of a charger that has just been started, and what it tells from then on."""
    async with made(folder, pki, extra + site, keys=keys) as charger:
        (controller,) = charger.controllers
        seen: list[Observe] = []
        controller.observe = seen.append
        yield controller, seen
        await controller.leave()


def bill(folder: Path, pki: PkiTree, keys: RecordKeys | None = None) -> Report:
    """Return the one settlement there is, after it was verified."""
    (bundle,) = (folder / "data" / "settlements").iterdir()
    anchors = [*pki.anchors("v2g"), *pki.anchors("mo")]
    return verify_bundle(read_files(bundle, keys), anchors=anchors, confirmations=read_confirmation)


def readable(folder: Path) -> bool:
    """Return whether a file shows the contract, the energy, or a certificate."""
    data = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    found = [secret in data for secret in (DEFAULTS.emaid.encode(), b"import_mwh", b"BEGIN CERTIFICATE", b"evse_id")]
    assert any(found) is all(found)
    return any(found)


def charged_mwh(report: Report) -> int:
    return report.settlement.end.import_mwh - report.settlement.begin.import_mwh


def session_of(resume: Resume | None) -> str:
    assert resume is not None
    return resume.session_id.hex()


def reasons(seen: list[Observe]) -> list[Any]:
    return [event.data["reason"] for event in seen if event.name == "session_ended"]


@pytest.mark.requirement("R145")
@pytest.mark.some(1)
@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "plain"])
async def test_a_restart_in_the_pause_changes_nothing_on_the_bill(tmp_path: Path, pki: PkiTree, sealed: bool) -> None:
    """Sealed, no file of the charger ever shows the contract or what was charged."""
    file = tmp_path / "journal.keys" if sealed else None
    keys = None if file is None else new_keys(file)
    async with outlet_of(tmp_path, pki, keys=file) as (controller, _):
        reason, resume = await talk(controller, pki)
        assert reason == "paused"
        assert controller.paused is not None
        assert not controller.hardware.interlock._permitted  # type: ignore[attr-defined]
        first_mwh = controller.meter.read(0).import_mwh
    kept = tmp_path / "data" / FILE
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert not list((tmp_path / "data" / "settlements").iterdir())
    assert readable(tmp_path / "data") is not sealed
    async with outlet_of(tmp_path, pki, keys=file) as (controller, seen):
        assert controller.paused is not None
        reason, _ = await talk(controller, pki, resume=resume)
        assert reason == "finished"
        assert "session_joined" in [event.name for event in seen]
    assert not kept.exists()
    assert not list((tmp_path / "data" / "journals").iterdir())
    assert readable(tmp_path / "data") is not sealed
    report = bill(tmp_path, pki, keys)
    assert report.settlement.reason == "vehicle"
    assert 0 < first_mwh < charged_mwh(report)  # one bill for both parts


async def test_another_vehicle_ends_the_pause_of_the_one_before(tmp_path: Path, pki: PkiTree) -> None:
    async with outlet_of(tmp_path, pki) as (controller, seen):
        _, resume = await talk(controller, pki)
        first_mwh = controller.meter.read(0).import_mwh
        reason, again = await talk(controller, pki, resume=resume, leaf=b"another vehicle")
        assert reason == "paused"  # it has the same program, from its beginning
        assert session_of(again) != session_of(resume)
        assert reasons(seen) == ["not_resumed"]
    report = bill(tmp_path, pki)
    assert (report.settlement.session_id, report.settlement.reason) == (session_of(resume), "not_resumed")
    assert charged_mwh(report) == first_mwh > 0


async def test_the_back_end_ends_a_session_that_pauses(tmp_path: Path, pki: PkiTree) -> None:
    async with outlet_of(tmp_path, pki) as (controller, seen):
        _, resume = await talk(controller, pki)
        controller.fact(RemoteStopRequested(reference="another session", cause="remote"))
        assert reasons(seen) == []
        controller.fact(RemoteStopRequested(reference=session_of(resume), cause="remote"))
        await controller.settled()
        assert reasons(seen) == ["remote"]
    assert bill(tmp_path, pki).settlement.reason == "remote"
    async with outlet_of(tmp_path, pki) as (controller, _):
        assert controller.paused is None


async def test_a_session_whose_pause_cannot_be_stored_ends_and_is_settled(tmp_path: Path, pki: PkiTree) -> None:
    async with outlet_of(tmp_path, pki) as (controller, seen):
        (tmp_path / "data" / FILE).mkdir()
        await talk(controller, pki)
        await controller.settled()
        assert reasons(seen) == ["command_failed"]
        assert controller.paused is None
    assert bill(tmp_path, pki).settlement.reason == "command_failed"


async def test_a_vehicle_that_is_unplugged_in_the_pause_gets_its_bill_at_once(tmp_path: Path, pki: PkiTree) -> None:
    async with outlet_of(tmp_path, pki, '[link]\nmedium = "copper"\n') as (controller, seen):
        controller.connect_wires()
        medium = await FolderMedium.attach(tmp_path / "copper", "evcc")
        pilot = SimulatedVehiclePilot(medium)
        pilot.plug()
        assert controller.wires is not None
        controller.wires.pilot.set_duty(5.0)
        await until(lambda: controller.wires is not None and controller.wires.pilot.state.connected)
        reason, _ = await talk(controller, pki, wires=(VehicleDcLine(medium), pilot))
        assert reason == "paused"
        assert controller.paused is not None
        pilot.unplug()
        await until(lambda: controller.paused is None)
        medium.close()
        await controller.settled()
        assert reasons(seen) == ["unplugged"]
    assert bill(tmp_path, pki).settlement.reason == "unplugged"


async def test_a_vehicle_that_left_while_the_charger_was_down_is_not_waited_for(
    tmp_path: Path, pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with outlet_of(tmp_path, pki) as (controller, _):
        await talk(controller, pki)
    monkeypatch.setattr("secc.evse.core.SEEN_S", 0.05)
    async with outlet_of(tmp_path, pki, '[link]\nmedium = "copper"\n') as (controller, _):
        assert controller.paused is not None
        controller.connect_wires()
        await until(lambda: controller.paused is None)
    assert bill(tmp_path, pki).settlement.reason == "unplugged"


async def test_what_was_kept_and_cannot_be_read_is_closed_like_a_session_that_was_cut_off(
    tmp_path: Path, pki: PkiTree
) -> None:
    async with outlet_of(tmp_path, pki) as (controller, _):
        await talk(controller, pki)
    (tmp_path / "data" / FILE).write_bytes(b'{"version":')
    async with outlet_of(tmp_path, pki) as (controller, _):
        assert controller.paused is None
    assert bill(tmp_path, pki).settlement.reason == "aborted"


async def test_a_journal_that_was_touched_in_the_pause_is_put_aside(tmp_path: Path, pki: PkiTree) -> None:
    async with outlet_of(tmp_path, pki) as (controller, _):
        await talk(controller, pki)
    (journal,) = (tmp_path / "data" / "journals").glob("*.jsonl")
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    journal.write_bytes(data)
    async with outlet_of(tmp_path, pki) as (controller, _):
        assert controller.paused is None
    assert journal.with_suffix(".damaged").exists()
    assert not (tmp_path / "data" / FILE).exists()


@pytest.mark.parametrize("text", [b"", b"[]", b'{"version":2,"paused":null}', b"\xff"])
def test_a_file_that_nobody_here_has_written_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / FILE).write_bytes(text)
    with pytest.raises(StoreError, match=FILE):
        PausedSessionFile(tmp_path).load()


@pytest.mark.requirement("R133")
def test_what_a_later_program_adds_is_left_out(tmp_path: Path) -> None:
    paused = Paused(
        session_id=b"12345678", vehicle=b"binding", evcc_id="WMIV1", contract=None, service=EnergyService.DC,
        control_mode=ControlMode.SCHEDULED, signed_discharge=False, meter_begin=(1, 2),
    )  # fmt: skip
    file = PausedSessionFile(tmp_path)
    file.save(paused)
    (tmp_path / FILE).write_bytes(later((tmp_path / FILE).read_bytes()))
    assert file.load() == paused


def test_nothing_kept_is_no_error(tmp_path: Path) -> None:
    file = PausedSessionFile(tmp_path)
    file.remove()
    assert file.load() is None


def site(key: str) -> str:
    """Return a bench whose site has one more setting."""
    return f"{BENCH}{SITE.replace('[clock]', key + chr(10) + '[clock]')}"


async def test_a_site_that_allows_nothing_for_long_asks_for_a_pause(tmp_path: Path, pki: PkiTree) -> None:
    async with outlet_of(tmp_path, pki, site("pause_after_s = 1"), "") as (controller, seen):
        talking = asyncio.create_task(talk(controller, pki))
        await until(lambda: "direction" in [event.name for event in seen])
        controller.grid_changed(controller.grid.profiles(ProfileLimits(charge_w=0, discharge_w=0)))
        reason, resume = await talking
        assert reason == "paused"
        notices = [event.data["notification"] for event in seen if event.name == "notice"]
        assert "Pause" in notices
        controller.grid_changed(controller.grid.profiles(ProfileLimits()))
        reason, _ = await talk(controller, pki, resume=resume)
        assert reason in ("paused", "finished")


async def test_a_profile_that_allows_nothing_for_long_asks_for_a_pause_at_once(tmp_path: Path, pki: PkiTree) -> None:
    """A profile of 0 W that ends soon is waited for in the charge loop."""
    async with outlet_of(tmp_path, pki, site("pause_for_s = 600"), "") as (controller, seen):
        talking = asyncio.create_task(talk(controller, pki))
        await until(lambda: "direction" in [event.name for event in seen])

        def foretell(minutes: int) -> None:
            later = (
                ProfileLimits(from_ms=controller.clock.utc_ms() + minutes * 60_000, charge_w=None, discharge_w=None),
            )
            controller.grid_changed(controller.grid.profiles(ProfileLimits(charge_w=0, discharge_w=0, later=later)))

        def asked() -> bool:
            return "Pause" in [event.data["notification"] for event in seen if event.name == "notice"]

        foretell(9)
        await asyncio.sleep(0.02)
        assert not asked()
        foretell(30)
        await until(asked)
        reason, _ = await talking
        assert reason == "paused"
