"""A charger whose files are not those of its signed manifest opens, serves nobody, and reports it, until serviced."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.attestation import FILE, SelfAttestation, SelfAttestationConfig
from secc.charger import Charger
from secc.hardware.fault_file import FaultFile
from secc.session import ports
from tests.io.runtime.attestation import KEY, flip, make_program, sign
from tests.secc.backend import backend
from tests.secc.bench_program import BENCH, made
from tests.secc.station.commands import STATION
from tests.waiting import until
from v2g.errors import StoreError
from v2g.observe import Observe
from v2g.pki.keys import SoftwareKey


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program's folder."""
    return make_program(tmp_path)


@pytest.fixture
def config(program: Path) -> SelfAttestationConfig:
    """Its attestation, at full speed."""
    key = program.parent / "signer.pem"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key.write_bytes(KEY.public_key.public_bytes(serialization.Encoding.PEM, form))
    return SelfAttestationConfig(manifest=sign(program), public_key=key, kib_per_s=1_048_576)


@contextlib.asynccontextmanager
async def serving(folder: Path, pki: PkiTree, config: SelfAttestationConfig, more: str = "") -> AsyncIterator[Charger]:
    """Run a charger that serves vehicles."""
    table = f'[attestation]\nmanifest = "{config.manifest}"\npublic_key = "{config.public_key}"\nkib_per_s = 1048576\n'
    async with made(folder, pki, "[sdp]\nport = 0\n" + BENCH + more + table) as charger:
        task = asyncio.create_task(charger.serve(lambda stream: stream))
        try:
            yield charger
        finally:
            charger.restarting.due.set()  # once it listens: what is cancelled while it opens a socket leaves it open
            await task


async def until_locked(charger: Charger) -> None:
    """Wait for the fault."""
    await until(lambda: "program_changed" in charger.controllers[0].hardware.faults)


@pytest.mark.long
@pytest.mark.requirement("R148")
async def test_a_flipped_bit_is_reported_to_the_operator(
    pki: PkiTree,
    tmp_path: Path,
    program: Path,
    config: SelfAttestationConfig,
) -> None:
    async with backend() as csms, serving(tmp_path, pki, config, STATION.format(port=csms.port)) as charger:
        assert charger.station is not None
        async with asyncio.timeout(60):
            await charger.station.online.wait()
        flip(program / "package/fast.so")
        await until_locked(charger)
        event = await csms.wait("SecurityEventNotification", where=lambda p: "fast.so" in p.get("tech_info", ""))
        assert event["type"] == "InvalidFirmwareSignature"
        assert event["tech_info"] == f"changed: {program}/package/fast.so"
        await csms.wait("StatusNotification", where=lambda p: p["connector_status"] == "Faulted")
        await csms.wait("NotifyEvent", where=lambda p: p["event_data"][0]["tech_code"] == "program_changed")


@pytest.mark.long
@pytest.mark.requirement("R148")
async def test_it_stays_locked_until_it_is_serviced(
    pki: PkiTree,
    tmp_path: Path,
    program: Path,
    config: SelfAttestationConfig,
) -> None:
    async with serving(tmp_path, pki, config) as charger:
        (program / "package/more.py").touch()
        await until_locked(charger)
    (program / "package/more.py").unlink()
    async with serving(tmp_path, pki, config) as charger:
        await until_locked(charger)
        controller = charger.controllers[0]
        controller.hardware.execute(ports.TransactionStarted("0011223344556677", ""))
        closing = controller.hardware.execute(ports.CloseContactors())
        assert closing is not None
        assert await closing == ports.ContactorState(closed=False)
    FaultFile(tmp_path / "data").remove()  # v2g hardware serviced
    async with serving(tmp_path, pki, config) as charger:
        assert charger.attestation is not None
        await charger.attestation.begin()
        assert "program_changed" not in charger.controllers[0].hardware.faults


@pytest.mark.requirement("R148")
async def test_what_differs_at_the_start_is_found_before_any_vehicle_is_served(
    pki: PkiTree,
    tmp_path: Path,
    program: Path,
    config: SelfAttestationConfig,
) -> None:
    sign(program, key=SoftwareKey(ec.generate_private_key(ec.SECP256R1())))
    async with made(tmp_path, pki, BENCH) as charger:
        seen: list[str] = []
        found = SelfAttestation(config, tmp_path, observe=lambda _: None, lock=seen.append)
        await found.begin()
        await found.run()  # there is nothing more to find
        await found.close()
        assert seen == [f"unsigned: {config.manifest}"]
        charger.lock_down(seen[0])
        assert charger.controllers[0].status == "Faulted"


@pytest.mark.requirement("R148")
async def test_an_older_release_is_refused_across_restarts(
    tmp_path: Path,
    program: Path,
    config: SelfAttestationConfig,
) -> None:
    async def compared(version: int) -> list[str]:
        sign(program, version=version)
        seen: list[str] = []
        found = SelfAttestation(config, tmp_path / "data", observe=lambda _: None, lock=seen.append)
        await found.begin()
        await found.close()
        return seen

    assert await compared(3) == []
    assert await compared(3) == []
    assert await compared(2) == [f"older: {config.manifest}"]
    assert await compared(4) == []
    (tmp_path / "data" / FILE).write_text("{}")
    with pytest.raises(StoreError):
        await compared(4)


@pytest.mark.long
async def test_it_reads_no_more_than_it_may_and_ends_at_once(
    tmp_path: Path,
    program: Path,
    config: SelfAttestationConfig,
) -> None:
    (program / "package/large").write_bytes(bytes(20_000_000))  # five minutes
    sign(program)
    events: list[Observe] = []
    slow = replace(config, kib_per_s=64)
    found = SelfAttestation(slow, tmp_path, observe=events.append, lock=lambda why: pytest.fail(why))
    running = asyncio.create_task(found.run())
    await asyncio.sleep(0)
    await found.close()
    async with asyncio.timeout(60):
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert events == []
