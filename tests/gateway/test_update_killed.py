"""A gateway whose power fails, and RAUC's with it, in the middle of each of RAUC's steps."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.gateway.powered import Gateway, one_release
from tests.io.ota.maker import Maker
from tests.power_cuts import Disk
from tests.station.device.file_server import FileServer
from tests.station.device.rauc_device import Device, device
from v2g.io.ota.installer import RaucConfig

__all__ = ["device"]

STEP: Final = """#!/bin/sh
cd {notes}
began=$(date +%s%N)
echo "$*" >> steps
if [ "$(wc -l < steps)" = "$(cat cut_at)" ]; then
    (sleep "$(cat cut_after)"; kill -9 -"$(cat service)"; echo cut > cut) &
    rauc --conf={folder}/system.conf "$@"
    exec sleep 600  # what comes after the cut is nobody's
fi
rauc --conf={folder}/system.conf "$@" || exit
echo $(($(date +%s%N) - began)) >> lasted
"""
BEFORE: Final = """#!/bin/sh
cd {notes}
echo "$1" >> writes
[ "$(wc -l < writes)" != "$(cat cut_before)" ] || setsid sh -c 'kill -9 -"$(cat service)"; echo cut > cut'
"""
OLD: Final = b"old" * 1000
NEW: Final = os.urandom(1_000_000)
PLACES: Final = 10


class Site:
    """A device with a gateway, as it was before its update, again and again. With a `disk`, a power cut loses what was
    not synced there: slots, RAUC's status and the gateway's files."""

    def __init__(self, device: Device, maker: Maker, server: FileServer, notes: Path, disk: Disk | None = None) -> None:
        self.device, self._maker, self._server, self._notes, self._disk = device, maker, server, notes, disk
        (device.folder / "a").write_bytes(OLD)
        (notes / "step.sh").write_text(STEP.format(folder=device.folder, notes=notes))
        (device.folder / "before").write_text(BEFORE.format(notes=notes))
        (device.folder / "before").chmod(0o755)
        os.mkfifo(notes / "cut")
        shutil.copytree(device.folder / "boot", notes / "first")
        self.run = device.folder / "run"
        self.losses = 0
        """How many power cuts have lost a write."""

    async def update(self, answers: bool, cut_at: int = 0, after_s: float = 0.0, cut_before: int = 0) -> Gateway:
        """Run until there is nothing to do; the power fails in one step, counted from 1, `after_s` after its start, or
        before a write of the boot loader's variables."""
        folder = self.device.folder
        shutil.rmtree(self.run, ignore_errors=True)
        for each in (folder / "status", self._notes / "steps", self._notes / "lasted", *(folder / "boot").iterdir()):
            each.unlink(missing_ok=True)
        shutil.copytree(self._notes / "first", folder / "boot", dirs_exist_ok=True)
        self.run.mkdir()
        (folder / "b").write_bytes(bytes(1 << 20))
        (self._notes / "cut_at").write_text(str(cut_at))
        (self._notes / "cut_before").write_text(str(cut_before))
        (self._notes / "writes").write_text("")
        (self._notes / "cut_after").write_text(f"{after_s:.4f}")
        if self._disk is not None:
            self._disk.write(b"kept")
            self._disk.sync()
        step = RaucConfig(
            program=("sh", str(self._notes / "step.sh")), restart=("sh", "-c", f"echo > {self._notes}/cut")
        )
        slot = ""
        gateway = Gateway(
            self.run, self._maker, self._server, {"rauc": step}, lambda: self.device.image(slot), answers=answers
        )
        pipe, read = os.open(self._notes / "cut", os.O_RDWR | os.O_NONBLOCK), bytearray()

        def end() -> None:
            read.extend(os.read(pipe, 9))
            gateway.ends.set()

        asyncio.get_running_loop().add_reader(pipe, end)
        try:
            restarts = True
            while restarts:
                assert len(gateway.started) < 9, "it restarts for ever"
                slot = self.device.start()
                read.clear()
                if self._disk is not None:
                    self._disk.write(b"lost")
                with self.device.booted(slot) as service:
                    (self._notes / "service").write_text(str(service))
                    restarts = await gateway.power_on()
                if self._disk is not None and b"cut" in read:
                    self._disk.cut()
                self._unmount()
                if self._disk is not None and b"cut" in read:
                    self._disk.mount()
                    self.losses += self._disk.read() == b"kept"
        finally:
            asyncio.get_running_loop().remove_reader(pipe)
            os.close(pipe)
        return gateway

    def stays(self, image: bytes) -> None:
        """Assert that the boot loader, which counts starts, goes on with an image."""
        for _ in range(3):
            assert self.device.image(self.device.start()).startswith(image)

    def lines(self, name: str) -> list[str]:
        return (self._notes / name).read_text().splitlines()

    def _unmount(self) -> None:
        """Forget what a killed service had mounted, as a restart does."""
        for line in Path("/proc/mounts").read_text().splitlines():
            if (place := line.split()[1]).startswith(f"{self.device.folder}/"):
                subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk | None]:
    """A disk below the device, for a test that says so."""
    found = None
    if getattr(request, "param", False):
        (folder := tmp_path / "device").mkdir()
        found = Disk(tmp_path / "disk", folder)
    yield found
    if found is not None:
        found.leave()


@pytest.fixture
def site(disk: Disk | None, device: Device, tmp_path: Path) -> Iterator[Site]:
    (notes := tmp_path / "notes").mkdir()
    if disk is not None:  # boot loaders keep their variables elsewhere
        shutil.move(device.folder / "boot", tmp_path / "boot")
        (device.folder / "boot").symlink_to(tmp_path / "boot")
    with one_release(tmp_path, device.bundle("good", NEW).read_bytes()) as found:
        yield Site(device, *found, notes, disk)


async def every_cut(site: Site, places: int, *, answers: bool) -> None:
    """Update without a power cut, then with one in each step, at as many places."""
    gateway = await site.update(answers)
    assert gateway.events == ["update_began", "update_confirmed" if answers else "update_failed"]
    site.stays(NEW if answers else OLD)
    steps, lasted = site.lines("steps"), [int(each) / 1e9 for each in site.lines("lasted")]
    assert len(steps) == len(lasted) == (8 if answers else 12)
    for number, (step, whole_s) in enumerate(zip(steps, lasted, strict=True), 1):
        for place in range(places):
            gateway = await site.update(answers, number, whole_s * place / places)
            _check(site, gateway, answers, f"{step}, {place}")


def _check(site: Site, gateway: Gateway, answers: bool, cut: str) -> None:
    """Assert that what was started was whole, and stays."""
    case = cut, gateway.events, [each[:3] for each in gateway.started]
    assert all(each == OLD or each.startswith(NEW) for each in gateway.started), case
    end = NEW if gateway.started[-1].startswith(NEW) else OLD
    assert gateway.events[-1] == ("update_failed" if end == OLD else "update_confirmed"), case
    assert answers or end == OLD, case
    assert sum(each.startswith("install") for each in site.lines("steps")) <= 2, case
    site.stays(end)


@pytest.mark.some(1)
@pytest.mark.requirement("R133", "R135")
@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize(
    "places", [pytest.param(0, id="not killed"), pytest.param(PLACES, id="ten times", marks=pytest.mark.long)]
)
async def test_a_kill_in_any_step_leaves_a_whole_slot(site: Site, places: int, answers: bool) -> None:
    """It ends with the new firmware confirmed, or with the old one, for as many starts as there are."""
    await every_cut(site, places, answers=answers)


@pytest.mark.long
@pytest.mark.requirement("R133", "R135")
@pytest.mark.parametrize("answers", [True, False])
async def test_a_kill_before_any_write_of_the_boot_loader_leaves_a_whole_slot(site: Site, answers: bool) -> None:
    """At each state that RAUC leaves its variables in; nothing of it writes afterwards."""
    await site.update(answers)
    writes = site.lines("writes")
    assert len(writes) == (6 if answers else 10)
    for number, write in enumerate(writes, 1):
        gateway = await site.update(answers, cut_before=number)
        _check(site, gateway, answers, write)
        assert site.lines("writes")[number] in ("state.A=good", "state.B=bad"), "a handler outlived the power"


@pytest.mark.long
@pytest.mark.requirement("R133", "R135")
@pytest.mark.parametrize("disk", [True], indirect=True)
@pytest.mark.parametrize("answers", [True, False])
async def test_a_power_cut_that_loses_writes_leaves_a_whole_slot(site: Site, answers: bool) -> None:
    """As a kill, but what neither RAUC nor the gateway has synced is lost."""
    await every_cut(site, PLACES, answers=answers)
    assert site.losses > 7 * PLACES // 2  # another program may have synced all
