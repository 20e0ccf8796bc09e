"""A gateway that follows a repository of releases by its own connection: gateway and back end as programs, slots as
folders; the supervisor that starts the gateway again stands for a boot loader."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pki_tools.tree import PkiTree
from tests.cli.csms import Cli
from tests.csms.conftest import start
from tests.csms.fixtures import Start
from tests.deploy.service import Service, running
from tests.driver_packages import install
from tests.gateway.program import Supervised, supervised
from tests.io.ota.maker import HARDWARE, Maker
from tests.station.device.file_server import FileServer, file_server
from v2g.io.ota.opening import GROUP

__all__ = ["start"]

pytestmark = pytest.mark.requirement("R133", "R135", "R139", "R140")

GATEWAY = (sys.executable, "-m", "v2g_gateway")
CONFIG = """ev = "EV-1"
outbox = "o.db"
[can]
interface = "virtual"
[http]
url = "https://localhost:{port}/telemetry"
ca = "{pki}/csms/root.pem"
chain = "{pki}/csms/gateway/chain.pem"
key = "{pki}/csms/gateway/leaf.key"
[update]
slots = "slots"
window = "00:00-00:00"
every_s = 1
{confirm}
[update.releases]
root = "1.root.json"
url = "{url}/releases"
hardware = "{hardware}"
"""


class Site:
    """A gateway's folder, and the maker's web server."""

    def __init__(self, folder: Path, pki: PkiTree, server: FileServer) -> None:
        self.folder, self._pki, self._server = folder, pki, server
        (folder / "maker").mkdir()
        self.maker = Maker(folder / "maker")
        (folder / "slots" / "a").mkdir(parents=True)
        (folder / "slots" / "a" / "image").write_bytes(b"first")

    def config(self, port: int, *, confirm_s: float | None = 30.0) -> str:
        """Return the gateway's configuration, for a back end at a port; `confirm_s` None: the default."""
        values = {"port": port, "pki": self._pki.directory, "url": self._server.url, "hardware": HARDWARE}
        return CONFIG.format(**values, confirm="" if confirm_s is None else f"confirm_s = {confirm_s}")

    def release(self, number: int, *hardware: str) -> None:
        """Release an image, and publish."""
        self.make(number, *hardware)
        self.mirror()

    def make(self, number: int, *hardware: str) -> None:
        """Release an image that the web server has not yet."""
        self.maker.release(f"gateway-{number}.img", number, *hardware, image=b"image %d" % number)

    def mirror(self, **forged: bytes) -> None:
        """Let the web server have what the maker has, but for what an attacker puts there by name."""
        (self.folder / "1.root.json").write_bytes(self.maker.root.read_bytes())
        for each in self.maker.repository.folder.rglob("*"):
            if each.is_file():
                name = each.relative_to(self.maker.repository.folder)
                self._server.files[f"/releases/{name}"] = forged.get(each.name, each.read_bytes())

    def serve(self, name: str, content: bytes) -> None:
        """Let the web server have something else."""
        self._server.files[f"/releases/{name}"] = content

    @property
    def active(self) -> bytes:
        """The image of the permanent slot."""
        path = self.folder / "slots" / "active"
        return (self.folder / "slots" / (path.read_text() if path.exists() else "a") / "image").read_bytes()

    @property
    def runs(self) -> bytes:
        """The image of the running slot."""
        return (self.folder / "slots" / (self.folder / "slots" / "runs").read_text() / "image").read_bytes()


@pytest_asyncio.fixture
async def site(tmp_path: Path, pki: PkiTree) -> AsyncIterator[Site]:
    (folder := tmp_path / "gateway").mkdir()
    with file_server() as server:
        yield Site(folder, pki, server)


def told(gateway: Supervised, name: str) -> list[dict[str, Any]]:
    return [each["data"] for each in gateway.events(name)]


async def inventory(cli: Cli, number: int) -> dict[str, Any]:
    """Return what `v2g csms inventory` says of the gateway, once it has a release."""
    while True:
        for each in await cli.records("inventory", "--each"):
            if each["part"] == "gateway" and each["number"] == number:
                found: dict[str, Any] = each
                return found
        await asyncio.sleep(0.2)


@pytest.mark.long
async def test_it_installs_newer_releases_confirms_them_and_says_so(start: Start, site: Site, tmp_path: Path) -> None:
    async with start() as csms:
        site.release(1)
        cli = Cli(csms, tmp_path)
        async with supervised(site.folder, *GATEWAY, config=site.config(csms.csms.ports["api"])) as gateway:
            await gateway.until("update_confirmed", 1)
            assert (site.active, site.runs) == (b"image 1", b"image 1")
            row = await inventory(cli, 1)
            assert (row["where"], row["model"], row["firmware"]) == ("EV-1", HARDWARE, "gateway-1.img")
            site.release(2)
            await gateway.until("update_confirmed", 2)
            assert (site.active, site.runs) == (b"image 2", b"image 2")
            assert told(gateway, "update_confirmed") == [{"number": 1}, {"number": 2}]
            assert len(gateway.ended_at) == 2, "one restart each"
            assert told(gateway, "update_refused") == []
            row = await inventory(cli, 2)
            assert (row["firmware"], row["failed"]) == ("gateway-2.img", None)


@pytest.mark.long
async def test_without_a_back_end_it_goes_back_and_does_not_try_that_release_again(start: Start, site: Site) -> None:
    site.release(1)
    async with supervised(site.folder, *GATEWAY, config=site.config(9, confirm_s=2)) as gateway:
        await gateway.until("update_failed", 1)
        assert told(gateway, "update_failed") == [{"number": 1, "reason": "after 2 s: the back end does not answer"}]
        await gateway.until("installed", 2)
        assert told(gateway, "installed")[1] == {"hardware": HARDWARE, "version": "", "number": 0, "failed": 1}
        assert (site.active, site.runs) == (b"first", b"first")
        starts = len(gateway.pids)
        site.release(2)
        await gateway.until("update_failed", 2)
        assert told(gateway, "update_failed")[1]["number"] == 2
        assert len(gateway.pids) == starts + 2, "2 was tried and taken back, 1 was not tried again"
        assert site.active == b"first"


@pytest.mark.long
async def test_the_former_release_runs_again_within_60_s(site: Site) -> None:
    """From the start of one that finds no back end, with the default time limit."""
    site.release(1)
    async with supervised(site.folder, *GATEWAY, config=site.config(9, confirm_s=None), most_s=180) as gateway:
        await gateway.until("update_failed", 1)
        assert asyncio.get_running_loop().time() - gateway.started_at[1] < 60
        assert len(gateway.started_at) == 3
        assert (site.active, site.runs) == (b"first", b"first")


SLOTS = """#!/bin/sh -e
cd {folder}
here=$(cat current)
other=$([ $here = a ] && echo b || echo a)
case $1 in
running) echo $here;;
write) cp "$2" slots/$other/image;;
try | back) echo $other > current; kill $(cat pid) || true;;  # the device restarts
keep) echo $here > kept;;
esac
"""
RUN = """import os
os.chdir({folder!r})
print(os.getpid(), file=open("pid", "w"))
slot = open("current").read().strip()
exec(open(f"slots/{{slot}}/image").read())
"""
GOOD = """import pathlib, sys
from v2g_gateway.app import main
sys.exit(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
"""
BROKEN = {
    "a missing module": "import of_tomorrow",
    "a garbled configuration": f"import sys; open('g.toml', 'wb').write(b'\\xff['); sys.argv[1] = 'g.toml'; {GOOD}",
}


@pytest.mark.some(1)
@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.long
async def test_by_commands_the_unit_goes_back_from_what_cannot_begin(site: Site, broken: str) -> None:
    """A device that restarts only by its own commands: nothing of the new firmware that could start them runs."""
    steps = {"running": "running", "activate": "try", "confirm": "keep", "roll_back": "back"}
    commands = [f'{step} = ["{{device}}", "{word}"]\n' for step, word in steps.items()]
    commands += 'install = ["{device}", "write", "{image}"]\n'
    await goes_back(site, "[update.commands]\n" + "".join(commands), BROKEN[broken])


OWN = """import subprocess
from pathlib import Path
import msgspec
from v2g.io.ota.opening import OwnInstaller

class Config(msgspec.Struct):
    device: Path

class Slots:
    def __init__(self, config):
        self._device = str(config.device)

    def _run(self, *words):
        return subprocess.run([self._device, *words], check=True, capture_output=True, text=True).stdout.strip()

    async def running(self):
        return self._run("running")

    async def install(self, image):
        self._run("write", image)

    async def activate(self):
        self._run("try")

    async def confirm(self):
        self._run("keep")

    async def roll_back(self):
        self._run("back")

    def image(self):
        return None

    def back(self):
        return (self._device, "running"), (self._device, "back")

INSTALLER = OwnInstaller(Config, Slots)
"""
UPDATE = 'installer = "acme"\nsettings.device = "{device}"\n'


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs find the distribution of an installer."""
    install(tmp_path / "acme", monkeypatch, {"acme": "acme_slots:INSTALLER"}, {"acme_slots": OWN}, group=GROUP)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "acme"))


@pytest.mark.usefixtures("acme")
async def test_by_an_installer_of_its_maker_it_installs_what_works(start: Start, site: Site) -> None:
    async with start() as csms, by_device(site, csms.csms.ports["api"], UPDATE, GOOD) as (events, gateway):
        await events.until("update_confirmed", 1)
        assert len(gateway.started_at) == 2
        assert (site.folder / "kept").read_text() == "b\n"


@pytest.mark.long
@pytest.mark.usefixtures("acme")
async def test_by_an_installer_of_its_maker_the_unit_goes_back_from_firmware_without_it(site: Site) -> None:
    await goes_back(site, UPDATE, f"import sys; sys.path = [each for each in sys.path if 'acme' not in each]; {GOOD}")


@contextlib.asynccontextmanager
async def by_device(site: Site, port: int, update: str, image: str) -> AsyncIterator[tuple[Supervised, Service]]:
    """Run a gateway as a unit on a device, whose maker releases an image; `update` names how it is installed."""
    folder = site.folder
    (folder / "slots" / "b").mkdir()
    (folder / "slots" / "a" / "image").write_text(GOOD)
    (folder / "current").write_text("a")
    (device := folder / "device").write_text(SLOTS.format(folder=folder))
    device.chmod(0o700)
    (config := folder / "gateway.toml").touch(mode=0o600)
    text = site.config(port).replace('slots = "slots"\n', "").replace("[update.releases]", f"{update}[update.releases]")
    config.write_text(text.replace("{device}", str(device)))
    site.maker.release("gateway-1.img", 1, image=image.encode())
    site.mirror()
    run = sys.executable, "-c", RUN.format(folder=str(folder)), str(config), str(folder / "gateway.events.jsonl")
    async with running(Service("v2g-telemetry", folder, lambda _: run), within_s=120) as gateway:
        yield Supervised(folder), gateway


async def goes_back(site: Site, update: str, image: str) -> None:
    async with by_device(site, 9, update, image) as (events, gateway):
        await events.until("update_failed", 1)
        assert told(events, "update_failed") == [{"number": 1, "reason": "it ended 3 times before it could begin"}]
        assert len(gateway.started_at) == 5, "the old one, three times the new one, the old one"
        assert gateway.ready_at[1] - gateway.started_at[1] < 60
        assert (site.folder / "current").read_text() == "a\n"


REFUSED = {
    "a forged list": "files of the repository's metadata do not belong together",
    "other content": "this is not the file that is released as gateway-3.img",
    "older": "the repository's metadata are older than what was seen before",
}


@pytest.mark.some(1)
@pytest.mark.parametrize("attack", REFUSED)
async def test_what_is_not_released_for_it_is_refused_before_it_is_installed(
    start: Start, site: Site, attack: str
) -> None:
    async with start() as csms:
        site.release(2)
        older = {each.name: each.read_bytes() for each in site.maker.path("").glob("*.json")}
        async with supervised(site.folder, *GATEWAY, config=site.config(csms.csms.ports["api"])) as gateway:
            await gateway.until("update_confirmed", 1)
            match attack:
                case "a forged list":
                    site.make(3)
                    site.maker.forge("2.targets.json", "ab", version=2)
                    site.mirror()
                case "other content":
                    site.make(3)
                    site.mirror(**{"gateway-3.img": b"image X"})
                case _:
                    site.release(3)
                    await gateway.until("update_confirmed", 2)
                    for name, content in older.items():
                        site.serve(f"metadata/{name}", content)
            before = site.runs
            await gateway.until("update_refused", 2)  # it is looked at again and again
            assert site.runs == before
            assert not (site.folder / "slots" / "once").exists()
            errors = [each["error"] for each in told(gateway, "update_refused")]
            assert all(REFUSED[attack] in each for each in errors), errors


@pytest.mark.long
async def test_it_takes_the_newest_for_its_hardware(start: Start, site: Site) -> None:
    async with start() as csms:
        site.release(3)
        site.release(4, "ac22")
        async with supervised(site.folder, *GATEWAY, config=site.config(csms.csms.ports["api"])) as gateway:
            await gateway.until("update_confirmed", 1)
            assert told(gateway, "update_confirmed") == [{"number": 3}]
