"""Updates of a device by this project's Debian packages: dpkg of a clean system, killed in the middle of each step."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.deploy.clean_system import SYSTEMCTL, small, system
from tests.deploy.package import run
from tests.gateway.powered import Gateway, one_release
from tests.io.ota.maker import HARDWARE, Maker
from tests.packages import need
from tests.power_cuts import Disk
from tests.station.device.file_server import FileServer
from v2g.io.ota.installer import CommandsConfig

__all__ = ["system"]

pytestmark = [pytest.mark.long, pytest.mark.hours]

SCRIPT: Final = "/usr/lib/v2g-engine/packages.py"
BOOT: Final = "/var/lib/v2g-engine/packages/packages.py"
STATE: Final = "var/lib/v2g-engine/packages"
PLACES: Final = 10
RESTART_S: Final = 0.3
"""Of a step that the restart ends."""
STEP: Final = """#!/bin/sh
# a step in the system {root}, whose power fails in one of them, so long after its begin
cd {notes} && echo "$1" >> steps && step=$(wc -l < steps)
if [ "$step" = "$(cat cut_at)" ]; then (sleep "$(cat cut_after)"; echo cut > {root}/run/cut) & fi
began=$(date +%s%N)
script={script}; if [ "$1" = boot ]; then script={boot}; fi
chroot {root} /usr/bin/python3 -I $script "$1" ${{2:+"${{2#{root}}}"}} || exit
echo "$step $(($(date +%s%N) - began))" >> lasted
"""
SYSTEMD_RUN: Final = """#!/bin/sh
case "$*" in *--on-active=*) ;; *) echo > /run/cut ;; esac
"""
UNSYNCED: Final = """#!/bin/sh
LD_PRELOAD=/usr/lib/libeatmydata.so exec /usr/bin/dpkg "$@"
"""
PROGRAM: Final = """#!/bin/sh
# {version}
if [ "$1 $2" = "ota verify" ]; then cat /srv/released; fi
"""


class Site:
    """A device with a gateway, whose package is 1, again and again. With a `disk` below it, a power cut loses what was
    not synced."""

    def __init__(self, root: Path, folder: Path, disk: Disk | None = None) -> None:
        self.root, self.run, self._notes, self._disk = root, root / "var/lib/v2g-engine/telemetry", folder, disk
        self.dpkg_syncs = True
        self.released = b""
        """What the repository says of the release."""
        self.losses = 0
        """How many power cuts have lost a write."""
        self._first: Path | None = None
        """What the disk has at the begin."""
        self.packages = {
            name: small(folder, "v2g-engine", version, PROGRAM.format(version=version) + more)
            for name, version, more in (("old", "1", ""), ("new", "2", ""))
        }
        self.packages["other"] = small(folder, "v2g-engine-full", "2")
        (folder / "broken").mkdir()
        self.packages["broken"] = small(folder / "broken", "v2g-engine", "2", postinst="#!/bin/sh\nexit 1\n")
        for name, text in (("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN)):
            (root / "usr/sbin" / name).write_text(text)
            (root / "usr/sbin" / name).chmod(0o755)
        unsafe = root / "etc/dpkg/dpkg.cfg.d/unsafe-io"
        if disk is None:
            unsafe.write_text("force-unsafe-io\n")  # what is killed loses no writes
        else:
            unsafe.unlink(missing_ok=True)
            (folder / "run").mkdir()
            self._mount()
        (root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        (root / "run/active").mkdir(exist_ok=True)
        os.mkfifo(root / "run/cut")
        (folder / "step.sh").write_text(STEP.format(root=root, notes=folder, script=SCRIPT, boot=BOOT))
        self._step = ("sh", str(folder / "step.sh"))
        self._running: set[subprocess.Popen[bytes]] = set()

    def begin(self, maker: Maker) -> None:
        """Install package 1 by hand, and make it a slot."""
        for name in ("steps", "lasted"):
            (self._notes / name).unlink(missing_ok=True)
        if self._disk is None:
            self._install(maker)
        elif self._first is None:
            self._install(maker)
            self._disk.sync()
            self._first = self._disk.copy().rename(self._notes / "first")
        else:
            self._go_on(self._first)
        (self.root / "srv/released").write_bytes(self.released)
        if not self.dpkg_syncs:
            (library,) = Path("/usr/lib").glob("*/libeatmydata.so")
            shutil.copyfile(library, self.root / "usr/lib" / library.name)
            (wrapper := self.root / "usr/local/sbin/dpkg").write_text(UNSYNCED)
            wrapper.chmod(0o755)
        if self._disk is not None:
            self._disk.write(b"kept")
            self._disk.sync()

    def _go_on(self, image: Path | None = None) -> None:
        """Start with what a power cut has left, or with another image."""
        assert self._disk is not None
        self._disk.cut(image)
        self._disk.mount()
        self._mount()

    def _mount(self) -> None:
        run("mount", "-t", "proc", "proc", self.root / "proc")
        run("mount", "-t", "sysfs", "sysfs", self.root / "sys")
        run("mount", "--bind", self._notes / "run", self.root / "run")

    def _install(self, maker: Maker) -> None:
        for each in (self.root / STATE, self.run):
            shutil.rmtree(each, ignore_errors=True)
        self.run.mkdir(parents=True)
        shutil.copyfile(self.packages["old"], self.root / "srv/old.deb")
        shutil.copyfile(maker.root, self.root / "srv/1.root.json")
        run("chroot", self.root, "dpkg", "--install", "/srv/old.deb")
        words = (
            "--root",
            "/srv/1.root.json",
            "--url",
            "http://maker",
            "--hardware",
            HARDWARE,
            "--user",
            "v2g-telemetry",
        )
        run("chroot", self.root, "python3", "-I", SCRIPT, "init", "/srv/old.deb", *words)

    async def update(
        self, maker: Maker, server: FileServer, *, answers: bool, cut_at: int = 0, after_s: float = 0.0
    ) -> Gateway:
        """Run until there is nothing to do; the power fails in one step, counted from 1, `after_s` after its start."""
        self.begin(maker)
        (self._notes / "cut_at").write_text(str(cut_at))
        (self._notes / "cut_after").write_text(f"{after_s:.4f}")
        steps = {each: (*self._step, each) for each in ("running", "activate", "confirm", "roll_back")}
        commands = CommandsConfig(install=(*self._step, "install", "{image}"), **steps)
        gateway = Gateway(self.run, maker, server, {"commands": commands}, self.program, answers=answers)
        pipe, read = os.open(self.root / "run/cut", os.O_RDWR | os.O_NONBLOCK), bytearray()

        def cut() -> None:
            read.extend(os.read(pipe, 99))
            gateway.ends.set()

        asyncio.get_running_loop().add_reader(pipe, cut)
        try:
            async with self._serving():
                restarts = True
                while restarts:
                    assert len(self.lines("steps")) < 60, "it restarts for ever"
                    read.clear()
                    if self._disk is not None:
                        self._disk.write(b"lost")
                    restarts = not await self._boot(gateway) or await gateway.power_on()
                    self._kill()
                    if self._disk is not None and b"cut" in read:
                        self._go_on()
                        self.losses += self._disk.read() == b"kept"
        finally:
            asyncio.get_running_loop().remove_reader(pipe)
            os.close(pipe)
        return gateway

    async def _boot(self, gateway: Gateway) -> bool:
        """Return whether the system booted without a power cut."""
        gateway.ends.clear()
        booting = await asyncio.create_subprocess_exec(
            *self._step, "boot", start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ends = asyncio.ensure_future(gateway.ends.wait())
        done = asyncio.ensure_future(booting.wait())
        await asyncio.wait((ends, done), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            os.killpg(booting.pid, signal.SIGKILL)
        ends.cancel()
        code = await done
        await asyncio.gather(ends, return_exceptions=True)
        return code == 0 and not gateway.ends.is_set()

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        """Start a process for each request, as systemd does for a socket."""
        path = self.root / "run/v2g_packages.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            listening.settimeout(0)

            def accept() -> None:
                peer, _ = listening.accept()
                with peer:
                    peer.settimeout(None)
                    words = ["chroot", str(self.root), BOOT, "serve"]
                    null = subprocess.DEVNULL
                    self._running.add(
                        subprocess.Popen(words, stdin=peer, stdout=null, stderr=null, start_new_session=True)
                    )

            asyncio.get_running_loop().add_reader(listening, accept)
            try:
                yield
            finally:
                asyncio.get_running_loop().remove_reader(listening)
                self._kill()

    def _kill(self) -> None:
        """End what a power cut ends."""
        for each in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()
        self._running.clear()

    def program(self) -> bytes:
        """Return the program that is installed."""
        return (self.root / "usr/bin/v2g").read_bytes()

    def stays(self, version: str) -> None:
        """Assert that a version is wholly installed, and stays over further boots, also without what was not synced."""
        if self._disk is not None:
            self._go_on()
        for _ in range(2):
            run("chroot", self.root, BOOT, "boot")
            assert self.program() == PROGRAM.format(version=version).encode()
        query = ("--show", "--showformat=${Status} ${Version}", "v2g-engine")
        assert run("chroot", self.root, "dpkg-query", *query) == f"install ok installed {version}"
        assert run("chroot", self.root, "dpkg", "--audit") == ""

    def lines(self, name: str) -> list[str]:
        return (self._notes / name).read_text().splitlines() if (self._notes / name).exists() else []


@pytest.fixture(scope="module")
def site(system: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(system, tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def lossy(system: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A device that loses writes: also those that ext4 would save from programs that do not sync."""
    (folder := tmp_path_factory.mktemp("lossy") / "root").mkdir()
    disk = Disk(folder.with_name("disk"), folder, mib=1024, options=",noauto_da_alloc")
    try:
        run("cp", "-ax", f"{system}/.", folder)
        yield Site(folder, tmp_path_factory.mktemp("packages"), disk)
    finally:
        disk.leave()


@pytest.fixture
def released(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Maker, FileServer]]:
    """A maker that has released a package."""
    with release(site, tmp_path, request.param) as found:
        yield found


@contextlib.contextmanager
def release(site: Site, folder: Path, package: str) -> Iterator[tuple[Maker, FileServer]]:
    with one_release(folder, site.packages[package].read_bytes()) as (maker, server):
        site.released = msgspec.json.encode(maker.device().find("gateway-1.img"))
        yield maker, server


@pytest.mark.requirement("R133", "R135")
@pytest.mark.parametrize("released", ["new"], indirect=True)
@pytest.mark.parametrize("answers", [True, False])
async def test_a_kill_in_any_step_leaves_a_whole_package(
    site: Site, released: tuple[Maker, FileServer], answers: bool
) -> None:
    """It ends with the new package confirmed, or with the old one, and dpkg finds nothing to repair."""
    await every_cut(site, released, answers=answers)


@pytest.mark.requirement("R133", "R135")
@pytest.mark.parametrize("answers", [True, False])
async def test_a_power_cut_that_loses_writes_leaves_a_whole_package(lossy: Site, tmp_path: Path, answers: bool) -> None:
    """As a kill, but what nobody has synced is lost."""
    lossy.losses = 0
    with release(lossy, tmp_path, "new") as found:
        await every_cut(lossy, found, answers=answers)
    assert lossy.losses > 6 * PLACES // 2  # another program may have synced all


async def test_if_dpkg_did_not_sync_a_power_cut_would_leave_empty_files(lossy: Site, tmp_path: Path) -> None:
    """So the test above would see it."""
    need("libeatmydata1")
    lossy.dpkg_syncs = False
    try:
        with release(lossy, tmp_path, "new") as found:
            await lossy.update(*found, answers=True)
        with pytest.raises(AssertionError):
            lossy.stays("2")
        assert lossy.program() == b""
    finally:
        lossy.dpkg_syncs = True


async def every_cut(site: Site, released: tuple[Maker, FileServer], *, answers: bool) -> None:
    """Update without a power cut, then with one in each step, at as many places."""
    gateway = await site.update(*released, answers=answers)
    assert gateway.events == ["update_began", "update_confirmed" if answers else "update_failed"]
    site.stays("2" if answers else "1")
    lasted = {int(number): int(ns) / 1e9 for number, ns in map(str.split, site.lines("lasted"))}
    for number, step in enumerate(site.lines("steps"), 1):
        for place in range(PLACES):
            after_s = lasted.get(number, RESTART_S) * place / PLACES
            gateway = await site.update(*released, answers=answers, cut_at=number, after_s=after_s)
            case = step, place, gateway.events, site.lines("steps")
            end = json.loads((site.run / "update/update.json").read_bytes()) if gateway.events else {}
            assert end.get("phase", "idle") == "idle", case
            version = "2" if gateway.started[-1].find(b"# 2\n") > 0 else "1"
            assert gateway.events[-1] == ("update_failed" if version == "1" else "update_confirmed"), case
            assert answers or version == "1", case
            site.stays(version)


@pytest.mark.requirement("R135")
@pytest.mark.parametrize("released", ["broken"], indirect=True)
async def test_a_package_that_cannot_be_installed_goes_back(site: Site, released: tuple[Maker, FileServer]) -> None:
    """dpkg fails in the middle of it, three times; then it is left alone."""
    gateway = await site.update(*released, answers=True)
    assert gateway.events[-1] == "update_failed"
    assert gateway.events.count("update_began") == 3
    site.stays("1")


@pytest.mark.requirement("R139")
@pytest.mark.parametrize("released", ["other", "new"], indirect=True)
async def test_root_refuses_what_is_not_this_package_or_not_released(
    site: Site, released: tuple[Maker, FileServer], request: pytest.FixtureRequest
) -> None:
    """Whatever the program that asks for it says."""
    if request.node.callspec.params["released"] == "new":
        said = json.loads(site.released)
        site.released = json.dumps(said | {"length": said["length"] - 1}).encode()
    gateway = await site.update(*released, answers=True)
    assert gateway.events == ["update_began", "update_refused"] * 2  # it has looked twice
    assert not (site.root / STATE / "b.deb").exists()
    site.stays("1")
