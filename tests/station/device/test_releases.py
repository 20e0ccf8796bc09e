"""A charger that installs what a repository of releases lists and nothing else, over real sockets (L01)."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.io.ota.maker import HARDWARE, Maker
from tests.secc.backend import Backend, backend
from tests.secc.station.station import Fixture
from tests.station.device.file_server import FileServer, file_server
from tests.station.device.manufacturer import certificate, reported
from v2g.ota.release import RepositoryConfig
from v2g_station.device.firmware import UpdateConfig

STEPS = ("Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting")
IMAGES = {"one.img": b"firmware 1", "two.img": b"firmware 2", "other.img": b"firmware 3", "four.img": b"firmware 4"}


class Fleet:
    """The maker of a charger, and the operator who wants updates of it."""

    def __init__(self, folder: Path, server: FileServer) -> None:
        self.server, self.maker = server, Maker(folder)
        self.keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        self.ca = folder / "manufacturer.pem"
        self.ca.write_text(certificate("Manufacturer", self.keys[0], "Manufacturer", self.keys[0]))
        for number, (name, image) in enumerate(IMAGES.items(), 1):
            self.maker.release(name, number, "ac22" if name == "other.img" else HARDWARE, image=image)
        self.mirror()

    def mirror(self) -> None:
        for each in self.maker.path("").glob("*.json"):
            self.server.files[f"/releases/metadata/{each.name}"] = each.read_bytes()
        for name, image in IMAGES.items():
            self.server.files[f"/releases/targets/{name}"] = image

    def config(self, folder: Path) -> UpdateConfig:
        releases = RepositoryConfig(root=self.maker.root, url=f"{self.server.url}/releases", hardware=HARDWARE)
        return UpdateConfig(
            slots=folder / "slots", manufacturer_roots=(self.ca,), releases=releases, window="00:00-00:00"
        )

    async def wish(self, csms: Backend, number: int, name: str, image: bytes = b"") -> None:
        """Ask for an image, which the manufacturer's key has signed in any case."""
        firmware: dict[str, Any] = {
            "location": f"{self.server.url}/releases/targets/{name}",
            "retrieve_date_time": "2026-01-01T00:00:00Z",
            "signing_certificate": certificate("Signer", self.keys[1], "Manufacturer", self.keys[0]),
            "signature": base64.b64encode(
                self.keys[1].sign(image or IMAGES.get(name, b""), ec.ECDSA(hashes.SHA256()))
            ).decode(),
        }
        assert (await csms.ask("UpdateFirmware", request_id=number, firmware=firmware)).status == "Accepted"


@pytest.mark.requirement("R139", "R140", "R141")
async def test_only_what_the_repository_lists_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the manufacturer's signing key and the back end, but not three holders, installs nothing."""
    restarts: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: restarts.append(number))
    with file_server() as server:
        fleet = Fleet(tmp_path, server)
        update, bad = fleet.config(tmp_path), ("Downloading", "InvalidSignature")
        async with backend() as csms:
            fixture = Fixture(tmp_path, csms.port, update=update)
            async with fixture.running() as station:
                await fixture.until(station.online.is_set)
                await fleet.wish(csms, 1, "unknown.img")
                await reported(csms, *bad)
                await fleet.wish(csms, 2, "other.img")
                await reported(csms, *bad * 2)
                server.files["/releases/targets/two.img"] = b"firmware X"
                await fleet.wish(csms, 3, "two.img", b"firmware X")
                await reported(csms, *bad * 3)
                server.files["/releases/targets/two.img"] = bytes(1 << 20)
                await fleet.wish(csms, 4, "two.img")
                await reported(csms, *bad * 4)
                assert not (tmp_path / "slots" / "b" / "image").exists()
                fleet.mirror()
                await fleet.wish(csms, 5, "two.img")
                await reported(csms, *bad * 4, *STEPS)
                await fixture.until(lambda: bool(restarts))
                assert await station.drain(60)
            said = [each["tech_info"] for each in csms.all("SecurityEventNotification")]
            for number, reason in enumerate(("not list", "is for ac22", "not the file", "larger than released"), 1):
                assert any(each.startswith(f"request {number}: ") and reason in each for each in said if each), said
            again = Fixture(tmp_path, csms.port, update=update, firmware="2.0")
            async with again.running() as station:
                await reported(csms, *bad * 4, *STEPS, "Installed")
                await fleet.wish(csms, 6, "one.img")
                await reported(csms, *bad * 4, *STEPS, "Installed", *bad)
                assert await station.drain(60)
            older = [each["tech_info"] for each in csms.all("SecurityEventNotification") if each["tech_info"]]
            assert any("release 1 is older than 2" in each for each in older)
    assert (tmp_path / "slots" / "active").read_text() == "b"
    assert (tmp_path / "slots" / "b" / "image").read_bytes() == IMAGES["two.img"]


@pytest.mark.requirement("R140")
async def test_a_repository_that_is_away_is_asked_again(tmp_path: Path) -> None:
    with file_server() as server:
        fleet = Fleet(tmp_path, server)
        server.judge = lambda _method, path: 503 if "metadata" in path else None
        async with backend() as csms:
            fixture = Fixture(tmp_path, csms.port, update=fleet.config(tmp_path))
            async with fixture.running() as station:
                await fixture.until(station.online.is_set)
                await fleet.wish(csms, 1, "two.img")
                await csms.wait("FirmwareStatusNotification", 1)
                assert [each["status"] for each in csms.all("FirmwareStatusNotification")] == ["Downloading"]
                await fixture.until(lambda: server.asked >= 1)
                assert not (tmp_path / "slots" / "b" / "image").exists()
