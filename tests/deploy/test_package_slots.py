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
cd {run} && echo "$1" >> steps && step=$(wc -l < steps)
if [ "$step" = "$(cat cut_at)" ]; then (sleep "$(cat cut_after)"; echo > {root}/run/cut) & fi
began=$(date +%s%N)
script={script}; if [ "$1" = boot ]; then script={boot}; fi
chroot {root} /usr/bin/python3 -I $script "$1" ${{2:+"${{2#{root}}}"}} || exit
echo "$step $(($(date +%s%N) - began))" >> lasted
"""
SYSTEMD_RUN: Final = """#!/bin/sh
case "$*" in *--on-active=*) ;; *) echo > /run/cut ;; esac
"""
PROGRAM: Final = """#!/bin/sh
# {version}
if [ "$1 $2" = "ota verify" ]; then cat /srv/released; fi
"""


class Site:
    """A device with a gateway, whose package is 1, again and again."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.run = root, root / "var/lib/v2g-engine/telemetry"
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
        (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")  # what is killed loses no writes
        (root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        (root / "run/active").mkdir(exist_ok=True)
        os.mkfifo(root / "run/cut")
        (folder / "step.sh").write_text(STEP.format(root=root, run=self.run, script=SCRIPT, boot=BOOT))
        self._step = ("sh", str(folder / "step.sh"))
        self._running: set[subprocess.Popen[bytes]] = set()

    def begin(self, maker: Maker) -> None:
        """Install package 1 by hand, and make it a slot."""
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
        """Run until there is nothing to do; the power fails in one step, counted from 1, so long after it has begun."""
        self.begin(maker)
        (self.run / "cut_at").write_text(str(cut_at))
        (self.run / "cut_after").write_text(f"{after_s:.4f}")
        steps = {each: (*self._step, each) for each in ("running", "activate", "confirm", "roll_back")}
        commands = CommandsConfig(install=(*self._step, "install", "{image}"), **steps)
        gateway = Gateway(self.run, maker, server, {"commands": commands}, self.program, answers=answers)
        pipe = os.open(self.root / "run/cut", os.O_RDWR | os.O_NONBLOCK)

        def cut() -> None:
            os.read(pipe, 99)
            gateway.ends.set()

        asyncio.get_running_loop().add_reader(pipe, cut)
        try:
            async with self._serving():
                restarts = True
                while restarts:
                    assert len(self.lines("steps")) < 60, "it restarts for ever"
                    restarts = not await self._boot(gateway) or await gateway.power_on()
                    self._kill()
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
        """Assert that a version is wholly installed, and stays over further boots."""
        for _ in range(2):
            run("chroot", self.root, BOOT, "boot")
            assert self.program() == PROGRAM.format(version=version).encode()
        query = ("--show", "--showformat=${Status} ${Version}", "v2g-engine")
        assert run("chroot", self.root, "dpkg-query", *query) == f"install ok installed {version}"
        assert run("chroot", self.root, "dpkg", "--audit") == ""

    def lines(self, name: str) -> list[str]:
        return (self.run / name).read_text().splitlines() if (self.run / name).exists() else []


@pytest.fixture(scope="module")
def site(system: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(system, tmp_path_factory.mktemp("packages"))


@pytest.fixture
def released(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Maker, FileServer]]:
    """A maker that has released a package."""
    with one_release(tmp_path, site.packages[request.param].read_bytes()) as (maker, server):
        release = maker.device().find("gateway-1.img")
        (site.root / "srv/released").write_bytes(msgspec.json.encode(release))
        yield maker, server


@pytest.mark.requirement("R133", "R135")
@pytest.mark.parametrize("released", ["new"], indirect=True)
@pytest.mark.parametrize("answers", [True, False])
async def test_a_kill_in_any_step_leaves_a_whole_package(
    site: Site, released: tuple[Maker, FileServer], answers: bool
) -> None:
    """It ends with the new package confirmed, or with the old one, and dpkg finds nothing to repair."""
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
        said = json.loads((site.root / "srv/released").read_bytes())
        (site.root / "srv/released").write_text(json.dumps(said | {"length": said["length"] - 1}))
    gateway = await site.update(*released, answers=True)
    assert gateway.events == ["update_began", "update_refused"] * 2  # it has looked twice
    assert not (site.root / STATE / "b.deb").exists()
    site.stays("1")
