"""Updates by RAUC: its own service, bundles on loop devices, and a boot loader that a script plays."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages import need
from v2g.errors import InstallError
from v2g_station.device.installer import RaucConfig, RaucInstaller

SYSTEM = """
[system]
compatible=v2g-dc30
bootloader=custom
mountprefix={folder}/mnt
statusfile={folder}/status
activate-installed=false
bundle-formats=plain

[handlers]
bootloader-custom-backend={folder}/boot.sh

[keyring]
path={folder}/cert.pem

[slot.rootfs.0]
device={folder}/a
type=raw
bootname=A

[slot.rootfs.1]
device={folder}/b
type=raw
bootname=B
"""

BOOT = """#!/bin/sh
cd {folder}/boot
case "$1" in
get-primary) cat primary ;;
set-primary) echo "$2" > primary ;;
get-state) cat "state.$2" ;;
set-state) echo "$3" > "state.$2" ;;
esac
"""

MANIFEST = (
    "[update]\ncompatible={compatible}\nversion=2\n\n[bundle]\nformat=plain\n\n[image.rootfs]\nfilename=rootfs.img\n"
)


class Device:
    """A device with two slots."""

    def __init__(self, folder: Path, bus: str) -> None:
        self.folder = folder
        self.environment = {**os.environ, "DBUS_STARTER_BUS_TYPE": "session", "DBUS_SESSION_BUS_ADDRESS": bus}
        for name, text in (("system.conf", SYSTEM), ("boot.sh", BOOT)):
            (folder / name).write_text(text.format(folder=folder))
        (folder / "boot.sh").chmod(0o755)
        for name in ("a", "b"):
            (folder / name).write_bytes(bytes(1 << 20))
        (folder / "mnt").mkdir()
        (folder / "boot").mkdir()
        for name, word in (("primary", "A"), ("state.A", "good"), ("state.B", "good")):
            (folder / "boot" / name).write_text(f"{word}\n")
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=maker", "-days", "9"]
        subprocess.run(
            [*request, "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
        )

    def bundle(self, name: str, image: bytes, compatible: str = "v2g-dc30") -> Path:
        content = self.folder / f"content-{name}"
        content.mkdir()
        (content / "rootfs.img").write_bytes(image)
        (content / "manifest.raucm").write_text(MANIFEST.format(compatible=compatible))
        made = self.folder / f"{name}.raucb"
        command = ["rauc", "bundle", "--cert=cert.pem", "--key=key.pem", str(content), str(made)]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
        return made

    @contextlib.contextmanager
    def booted(self, slot: str) -> Iterator[None]:
        """Run RAUC's service as after a start from a slot."""
        command = ["rauc", f"--conf={self.folder}/system.conf", f"--override-boot-slot={slot}", "service"]
        service = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait = ["gdbus", "wait", "--session", "--timeout=20", "de.pengutronix.rauc"]
        subprocess.run(wait, env=self.environment, check=True)
        try:
            yield
        finally:
            service.terminate()
            service.wait()

    def installer(self) -> RaucInstaller:
        return RaucInstaller(
            RaucConfig(
                program=("rauc", f"--conf={self.folder}/system.conf"), restart=("touch", str(self.folder / "restarted"))
            )
        )

    def boot(self, name: str) -> str:
        return (self.folder / "boot" / name).read_text().strip()


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    need("rauc", "rauc-service", "squashfs-tools", "dbus", "libglib2.0-bin")
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("RAUC mounts bundles: needs root and loop devices")
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert daemon.stdout is not None
    try:
        found = Device(tmp_path, daemon.stdout.readline().decode().strip())
        for name in ("DBUS_STARTER_BUS_TYPE", "DBUS_SESSION_BUS_ADDRESS"):
            monkeypatch.setenv(name, found.environment[name])
        yield found
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        daemon.stdout.close()


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
