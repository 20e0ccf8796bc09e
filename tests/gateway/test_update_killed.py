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
from tests.station.device.file_server import FileServer
from tests.station.device.rauc_device import Device, device
from v2g.io.ota.installer import RaucConfig

__all__ = ["device"]

STEP: Final = """#!/bin/sh
cd {folder}/run
began=$(date +%s%N)
echo "$*" >> steps
if [ "$(wc -l < steps)" = "$(cat cut_at)" ]; then
    (sleep "$(cat cut_after)"; kill -9 "$(cat service)"; echo > ../cut) &
    rauc --conf={folder}/system.conf "$@"
    exec sleep 600  # what comes after the cut is nobody's
fi
rauc --conf={folder}/system.conf "$@" || exit
echo $(($(date +%s%N) - began)) >> lasted
"""
KEPT: Final = ("boot", "a", "b")
OLD: Final = b"old" * 1000
NEW: Final = os.urandom(1_000_000)
PLACES: Final = 10


class Site:
    """A device with a gateway, as it was before its update, again and again."""

    def __init__(self, device: Device, maker: Maker, server: FileServer) -> None:
        self.device, self._maker, self._server = device, maker, server
        (device.folder / "a").write_bytes(OLD)
        (device.folder / "step.sh").write_text(STEP.format(folder=device.folder))
        os.mkfifo(device.folder / "cut")
        shutil.copytree(device.folder / "boot", device.folder / "first")
        self.run = device.folder / "run"

    async def update(self, answers: bool, cut_at: int = 0, after_s: float = 0.0) -> Gateway:
        """Run until there is nothing to do; the power fails in one step, counted from 1, so long after its begin."""
        folder = self.device.folder
        for each in (self.run, folder / "boot"):
            shutil.rmtree(each, ignore_errors=True)
        (folder / "status").unlink(missing_ok=True)
        shutil.copytree(folder / "first", folder / "boot")
        self.run.mkdir()
        (folder / "b").write_bytes(bytes(1 << 20))
        (self.run / "cut_at").write_text(str(cut_at))
        (self.run / "cut_after").write_text(f"{after_s:.4f}")
        step = RaucConfig(program=("sh", str(folder / "step.sh")), restart=("sh", "-c", f"echo > {folder}/cut"))
        slot = ""
        gateway = Gateway(
            self.run, self._maker, self._server, {"rauc": step}, lambda: self.device.image(slot), answers=answers
        )
        pipe = os.open(folder / "cut", os.O_RDWR | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(pipe, lambda: os.read(pipe, 9) and gateway.ends.set())
        try:
            restarts = True
            while restarts:
                assert len(gateway.started) < 9, "it restarts for ever"
                slot = self.device.start()
                with self.device.booted(slot) as service:
                    (self.run / "service").write_text(str(service))
                    restarts = await gateway.power_on()
                self._unmount()
        finally:
            asyncio.get_running_loop().remove_reader(pipe)
            os.close(pipe)
        return gateway

    def stays(self, image: bytes) -> None:
        """Assert that the boot loader, which counts starts, goes on with an image."""
        for _ in range(3):
            assert self.device.image(self.device.start()).startswith(image)

    def lines(self, name: str) -> list[str]:
        return (self.run / name).read_text().splitlines()

    def _unmount(self) -> None:
        """Forget what a killed service had mounted, as a restart does."""
        for line in Path("/proc/mounts").read_text().splitlines():
            if (place := line.split()[1]).startswith(str(self.device.folder)):
                subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def site(device: Device) -> Iterator[Site]:
    with one_release(device.folder, device.bundle("good", NEW).read_bytes()) as found:
        yield Site(device, *found)


@pytest.mark.some(1)
@pytest.mark.requirement("R133", "R135")
@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize(
    "places", [pytest.param(0, id="not killed"), pytest.param(PLACES, id="ten times", marks=pytest.mark.long)]
)
async def test_a_kill_in_any_step_leaves_a_whole_slot(site: Site, places: int, answers: bool) -> None:
    """It ends with the new firmware confirmed, or with the old one, for as many starts as there are."""
    gateway = await site.update(answers)
    assert gateway.events == ["update_began", "update_confirmed" if answers else "update_failed"]
    site.stays(NEW if answers else OLD)
    steps, lasted = site.lines("steps"), [int(each) / 1e9 for each in site.lines("lasted")]
    assert len(steps) == len(lasted) == (8 if answers else 12)
    for number, (step, whole_s) in enumerate(zip(steps, lasted, strict=True), 1):
        for place in range(places):
            gateway = await site.update(answers, number, whole_s * place / places)
            case = step, place, gateway.events, [each[:3] for each in gateway.started]
            assert all(each == OLD or each.startswith(NEW) for each in gateway.started), case
            end = NEW if gateway.started[-1].startswith(NEW) else OLD
            assert gateway.events[-1] == ("update_failed" if end == OLD else "update_confirmed"), case
            assert answers or end == OLD, case
            assert sum(each.startswith("install") for each in site.lines("steps")) <= 2, case
            site.stays(end)
