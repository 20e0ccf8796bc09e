"""Updates by RAUC."""

import os

import pytest

from tests.station.device.rauc_device import Device, device
from v2g.errors import InstallError
from v2g.io.ota.installer import RaucConfig, RaucInstaller

__all__ = ["device"]


@pytest.mark.requirement("R133")
async def test_a_bundle_is_written_started_and_confirmed_or_rolled_back(device: Device) -> None:
    installer, image = device.installer(), os.urandom(300_000)
    good = device.bundle("good", image)
    with device.booted("A"):
        assert await installer.running() == "A"
        await installer.install(good)
        assert (device.folder / "b").read_bytes().startswith(image)
        assert device.boot("primary") == "A"  # until it is told to start the other
        await installer.activate()
        assert (device.boot("primary"), (device.folder / "restarted").exists()) == ("B", True)
    with device.booted("B"):
        assert await installer.running() == "B"
        await installer.confirm()
        assert device.boot("state.B") == "good"
        await installer.roll_back()
        assert (device.boot("primary"), device.boot("state.B")) == ("A", "bad")


@pytest.mark.long
@pytest.mark.requirement("R133", "R139")
async def test_a_bundle_that_is_not_the_makers_is_refused(device: Device) -> None:
    installer, good = device.installer(), device.bundle("good", b"image" * 100)
    damaged = device.folder / "damaged.raucb"
    damaged.write_bytes(good.read_bytes()[:-100])
    foreign = device.bundle("foreign", b"image", compatible="other")
    with device.booted("A"):
        with pytest.raises(InstallError) as refused:
            await installer.install(damaged)
        assert refused.value.verification
        with pytest.raises(InstallError, match="Compatible mismatch"):
            await installer.install(foreign)
    assert (device.folder / "b").read_bytes() == bytes(1 << 20)


async def test_without_its_service_it_says_so() -> None:
    with pytest.raises(InstallError, match="/nowhere/rauc"):
        await RaucInstaller(RaucConfig(program=("/nowhere/rauc",))).running()
    with pytest.raises(InstallError, match="running"):
        await RaucInstaller(RaucConfig(program=("echo",))).running()
