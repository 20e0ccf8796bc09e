"""A device with RAUC: its own service, bundles on loop devices, and a boot loader that a script plays."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages import need
from v2g.io.ota.installer import RaucConfig, RaucInstaller

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
put() {{ # wholly or not at all, as boot loaders do
    [ ! -x {folder}/before ] || {folder}/before "$1=$2"
    echo "$2" > "$1.new" && mv "$1.new" "$1"
}}
case "$1" in
get-primary) cat primary ;;
set-primary) put "state.$2" good; put "left.$2" 1; put primary "$2" ;;
get-state) cat "state.$2" ;;
set-state) put "state.$2" "$3"; rm -f "left.$2" ;;
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
    def booted(self, slot: str) -> Iterator[int]:
        """Run RAUC's service as after a start from a slot; yield the process group of it and its handlers."""
        command = ["rauc", f"--conf={self.folder}/system.conf", f"--override-boot-slot={slot}", "service"]
        service = subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait = ["gdbus", "wait", "--session", "--timeout=20", "de.pengutronix.rauc"]
        subprocess.run(wait, env=self.environment, check=True)
        try:
            yield service.pid
        finally:
            service.terminate()
            service.wait()
            while any(_works_in(service.pid, each) for each in Path("/proc").glob("[0-9]*/stat")):
                time.sleep(0.001)  # a handler that was killed has not ended yet

    def installer(self) -> RaucInstaller:
        return RaucInstaller(
            RaucConfig(
                program=("rauc", f"--conf={self.folder}/system.conf"), restart=("touch", str(self.folder / "restarted"))
            )
        )

    def boot(self, name: str) -> str:
        return (self.folder / "boot" / name).read_text().strip()

    def start(self) -> str:
        """Return the slot that the boot loader starts: what was never marked good, once."""
        slot = self.boot("primary")
        left = self.folder / "boot" / f"left.{slot}"
        if self.boot(f"state.{slot}") == "bad" or (left.exists() and left.read_text() == "0"):
            return "B" if slot == "A" else "A"
        if left.exists():
            left.write_text("0")
        return slot

    def image(self, slot: str) -> bytes:
        return (self.folder / slot.lower()).read_bytes()


def _works_in(group: int, stat: Path) -> bool:
    """Return whether a process is of a group, and has not ended."""
    try:
        state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return False
    return of == str(group) and state != "Z"


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
        (folder := tmp_path / "device").mkdir(exist_ok=True)
        found = Device(folder, daemon.stdout.readline().decode().strip())
        for name in ("DBUS_STARTER_BUS_TYPE", "DBUS_SESSION_BUS_ADDRESS"):
            monkeypatch.setenv(name, found.environment[name])
        yield found
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        daemon.stdout.close()
