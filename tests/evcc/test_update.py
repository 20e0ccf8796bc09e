"""A vehicle's controller that follows a repository of releases: the program, slots as folders, and their boot loader.
An image names the configuration to run with."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from tests.deploy.service import TRIAL
from tests.gateway.program import supervised
from tests.io.ota.maker import HARDWARE, Maker
from tests.station.device.file_server import FileServer, file_server

pytestmark = pytest.mark.requirement("R133", "R135", "R139")

CONFIG = """[sdp]
tries = 1
[hardware]
backend = "{backend}"
[tls]
chain = "{vehicle}/chain.pem"
key = "{vehicle}/leaf.key"
anchors = ["{anchor}"]
[local_events]
socket = "evcc.sock"
[update]
slots = "slots"
folder = "update"
window = "00:00-00:00"
{confirm_s}
[update.releases]
root = "{root}"
url = "{url}/releases"
hardware = "{hardware}"
"""
RUN = """import os, sys
os.chdir({folder!r})
_, image, _, config, *rest = sys.argv
name = open(image).read() + ".toml"
config = name if os.path.exists(name) else config
os.execv(sys.executable, [sys.executable, "-m", "evcc", "--config", config, *rest])
"""


class Vehicle:
    """A vehicle's folder, and the maker's web server. Its sessions fail: there is no charger."""

    def __init__(self, folder: Path, pki: PkiTree, server: FileServer) -> None:
        self.folder, self._server, self._pki = folder, server, pki
        (folder / "maker").mkdir()
        self._maker = Maker(folder / "maker")
        (folder / "slots" / "a").mkdir(parents=True)
        (folder / "slots" / "a" / "image").write_bytes(b"first")
        run = RUN.format(folder=str(folder))
        start = sys.executable, str(TRIAL), "start", str(folder / "slots")
        self.command = *start, sys.executable, "-c", run, "{image}"
        self.certificates = pki.path("vehicle/chain.pem").parent
        self.good = self.write("good")

    def write(
        self,
        name: str,
        *,
        backend: str = "bench",
        folder: Path | None = None,
        more: str = "",
        confirm_s: str = "confirm_s = 0.2",
    ) -> str:
        """Write and return a configuration; an image with its name runs with it."""
        places = {"vehicle": folder or self.certificates, "anchor": self._pki.path("v2g/root.pem")}
        places |= {"root": self._maker.root, "url": self._server.url}
        text = CONFIG.format(**places, backend=backend, confirm_s=confirm_s, hardware=HARDWARE)
        path = self.folder / f"{name}.toml"
        path.touch(mode=0o600)
        path.write_text(more + text)
        return text

    def release(self, number: int, image: bytes) -> None:
        self._maker.release(f"vehicle-{number}.img", number, image=image)
        for each in self._maker.repository.folder.rglob("*"):
            if each.is_file():
                name = each.relative_to(self._maker.repository.folder)
                self._server.files[f"/releases/{name}"] = each.read_bytes()

    @property
    def runs(self) -> bytes:
        """The image of the permanent slot, which runs, too."""
        slots = self.folder / "slots"
        assert (slots / "runs").read_text() == (slots / "active").read_text()
        return (slots / (slots / "active").read_text() / "image").read_bytes()


@pytest.fixture
def vehicle(tmp_path: Path, pki: PkiTree) -> Iterator[Vehicle]:
    with file_server() as server:
        yield Vehicle(tmp_path, pki, server)


BAD: dict[str, tuple[Any, str]] = {
    "crashing": ({"backend": "simulated"}, "it did not start"),
    "blind": ({"folder": Path("nowhere")}, "after 0.2 s: nowhere/chain.pem"),
    "unreadable": ({"more": "of_tomorrow = 1\n"}, "unreadable.toml:1: unknown key 'of_tomorrow'"),
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("crashing", "update_interrupted"),
        ("blind", "update_failed"),
        ("unreadable", "update_failed"),
        ("garbled", "update_interrupted"),
    ],
)
async def test_the_former_release_runs_again_within_60_s(vehicle: Vehicle, name: str, event: str) -> None:
    """From the start of a bad one, with the default time limit."""
    config = vehicle.write("good", confirm_s="")
    if name == "garbled":
        (vehicle.folder / "garbled.toml").write_bytes(b"\xff\x00[update")
    else:
        vehicle.write(name, **BAD[name][0], confirm_s="")
    vehicle.release(1, name.encode())
    async with supervised(vehicle.folder, *vehicle.command, config=config, most_s=180) as controller:
        await controller.until(event, 1)
        assert asyncio.get_running_loop().time() - controller.started_at[1] < 60
        assert len(controller.started_at) >= 3
        assert (vehicle.folder / "slots" / "runs").read_text() == "a"


async def installed(path: Path) -> dict[str, Any]:
    """Return what readers of the event socket get about what is installed, also those that connect later."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_unix_connection(path)
            async for line in reader:
                if (event := json.loads(line))["name"] == "installed":
                    writer.close()
                    data: dict[str, Any] = event["data"]
                    return data
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("names", [["blind"], pytest.param([*BAD], marks=pytest.mark.long)], ids=["one", "all"])
async def test_between_sessions_it_installs_releases_and_goes_back_from_bad_ones(
    vehicle: Vehicle, names: list[str]
) -> None:
    """`crashing` lacks the simulated wires, `blind` its certificate, `unreadable` has a key that is not known.

    One that crashes is tried three times: it cannot be told from a power cut.
    """
    vehicle.release(1, b"good")
    async with supervised(vehicle.folder, *vehicle.command, config=vehicle.good) as controller:
        await controller.until("update_confirmed", 1)
        assert vehicle.runs == b"good"
        data = {"hardware": HARDWARE, "version": "vehicle-1.img", "number": 1, "failed": None}
        assert await installed(vehicle.folder / "evcc.sock") == data
        for number, name in enumerate(names, 2):
            change, reason = BAD[name]
            vehicle.write(name, **change)
            vehicle.release(number, name.encode())
            await controller.until("update_failed", number - 1)
            (*_, failed) = controller.events("update_failed")
            assert failed["data"]["number"] == number
            assert reason in failed["data"]["reason"]
            assert vehicle.runs == b"good"
        await controller.until("failed", len(controller.events("failed")) + 2)  # it goes on with the old one
        tries = [number for number, name in enumerate(names, 2) for _ in range(3 if name == "crashing" else 1)]
        assert [each["data"]["number"] for each in controller.events("update_began")] == [1, *tries]
        interrupted = [2, 2] if "crashing" in names else []
        assert [each["data"]["number"] for each in controller.events("update_interrupted")] == interrupted
        assert controller.events("installed")[-1]["data"] == data | {"failed": number}
