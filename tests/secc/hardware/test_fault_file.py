"""Faults that wait for service stand over restarts, and end when somebody has said that the hardware was checked."""

import asyncio
import stat
from pathlib import Path

import msgspec
import pytest

from pki_tools.tree import PkiTree
from secc.hardware.fault_file import FILE, FaultFile, FaultKeeper, LatchedFault
from secc.session import ports
from tests.cli.conftest import Run, v2g  # noqa: F401 - a fixture
from tests.later import later
from tests.secc.bench_program import BENCH, made
from tests.secc_toml import identity
from tests.waiting import until
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread
from v2g.observe import Observe

WELDED = BENCH + '[[hardware.simulated.faults]]\nfault = "stuck_closed"\n'


@pytest.mark.requirement("R127", "R133")
def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    file = FaultFile(tmp_path)
    assert file.load() == ()
    faults = (LatchedFault("contactor_welded", 1_000), LatchedFault("meter_jump", 2_000))
    file.save(faults)
    assert file.load() == faults
    stored = tmp_path / "faults.json"  # chargers have it
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert msgspec.json.decode(stored.read_bytes())["version"] == 1
    stored.write_bytes(later(stored.read_bytes()))
    assert file.load() == faults, "of a later program"
    file.remove()
    assert file.load() == ()
    file.remove()


@pytest.mark.parametrize("text", ["", "{", '{"version": 2, "faults": []}', '{"version": 1}', "\udcff"])
def test_a_file_that_cannot_be_read_stops_the_charger_and_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StoreError) as caught:
        FaultFile(tmp_path).load()
    assert "v2g hardware serviced" in str(caught.value.hint)


def test_a_word_that_this_version_does_not_know_is_left_out(tmp_path: Path) -> None:
    FaultFile(tmp_path).save((LatchedFault("flux_lost", 1), LatchedFault("meter_jump", 2)))
    assert FaultFile(tmp_path).load() == (LatchedFault("meter_jump", 2),)


async def test_each_fault_is_kept_once_off_the_event_loop(tmp_path: Path) -> None:
    disk, events = DiskThread(), list[Observe]()
    keeper = FaultKeeper(FaultFile(tmp_path), disk, utc_ms=lambda: 7, observe=events.append)
    keeper.keep("contactor_welded")
    keeper.keep("contactor_welded")
    keeper.keep("meter_jump")
    await disk.close()
    assert FaultFile(tmp_path).load() == (LatchedFault("contactor_welded", 7), LatchedFault("meter_jump", 7))
    assert keeper.words == ("contactor_welded", "meter_jump")
    assert events == []


async def test_a_disk_that_refuses_is_reported(tmp_path: Path) -> None:
    disk, events = DiskThread(), list[Observe]()
    keeper = FaultKeeper(FaultFile(tmp_path / "data"), disk, utc_ms=lambda: 7, observe=events.append)
    (tmp_path / "data").write_text("no folder")
    keeper.keep("contactor_welded")
    await disk.close()
    await asyncio.sleep(0)
    (event,) = events
    assert (event.stage, event.name, event.data["fault"]) == ("hardware", "fault_not_kept", "contactor_welded")
    assert str(tmp_path / "data") in str(event.data["error"])


@pytest.mark.requirement("R127")
async def test_a_contactor_that_is_welded_when_the_charger_starts_is_a_fault_for_good(
    pki: PkiTree, tmp_path: Path
) -> None:
    """From the first status on, over a restart after which it would look well, until somebody has checked it."""
    async with made(tmp_path, pki, WELDED) as charger:
        evse = charger.controllers[0].hardware
        await until(lambda: evse.faults == ("contactor_welded",))
    async with made(tmp_path, pki, BENCH) as charger:
        evse = charger.controllers[0].hardware
        assert evse.faults == ("contactor_welded",)
        assert not evse.contactors_closed
        evse.execute(ports.TransactionStarted("0011223344556677", ""))
        closing = evse.execute(ports.CloseContactors())
        assert closing is not None
        assert await closing == ports.ContactorState(closed=False)
    FaultFile(tmp_path / "data").remove()
    async with made(tmp_path, pki, BENCH) as charger:
        assert charger.controllers[0].hardware.faults == ()


async def test_the_command_line_shows_and_clears_them(pki: PkiTree, tmp_path: Path, v2g: Run) -> None:  # noqa: F811
    async with made(tmp_path, pki, BENCH):
        pass
    config = tmp_path / "secc.toml"
    text = f"""data_dir = "data"
{identity(pki, "v2g", "mo")}
{BENCH}"""
    config.write_text(text)
    config.chmod(0o600)
    file = FaultFile(tmp_path / "data")
    assert v2g("hardware", "faults", "--config", str(config)).output == "no latched faults\n"
    file.save((LatchedFault("contactor_welded", 1_790_000_000_000),))
    shown = v2g("hardware", "faults", "--config", str(config)).output
    assert shown == "DEV2GE00001\tcontactor_welded\tthe contactor does not open\t2026-09-21 14:13:20\n"
    record = msgspec.json.decode(v2g("hardware", "faults", "--config", str(config), "--json").output)
    assert record == {"evse_id": "DEV2GE00001", "fault": "contactor_welded", "utc_ms": 1_790_000_000_000}
    assert v2g("hardware", "serviced", "--config", str(config)).output == shown
    assert file.load() == ()
    (tmp_path / "data" / FILE).write_text("garbage")
    cleared = v2g("hardware", "serviced", "--config", str(config))
    assert (cleared.code, "removed" in cleared.errors) == (0, True)
    assert file.load() == ()
