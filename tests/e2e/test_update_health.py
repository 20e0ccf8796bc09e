"""A charger confirms new firmware once its back end accepts it, or is back on the old one: charger and back end as
programs, slots as folders; what a boot loader does is a start of the program."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from v2g.errors import V2GError
from v2g_cli.csms.client import Access, CsmsClient
from v2g_cli.demo.folder import STATION, RunFolder
from v2g_cli.demo.processes import Event, free_port, program
from v2g_cli.demo.scenarios import find
from v2g_cli.demo.update import Maker, WebServer

pytestmark = pytest.mark.e2e

LIMIT_S = 60.0
"""R135: from the start of new firmware to the old one."""
UPDATE = """
[station.update]
slots = "slots"
window = "00:00-00:00"
manufacturer_roots = ["maker/manufacturer.pem"]
"""


class Site:
    """A charger that is updated, and its back end."""

    def __init__(self, path: Path) -> None:
        scenario = find("discharge")
        assert scenario is not None
        self.folder = RunFolder(path, scenario, 1.0)
        self.folder.prepare()
        (path / "maker").mkdir()
        self.maker, self.events = Maker(path / "maker"), list[Event]()
        self.web = WebServer(path / "maker")
        self.ports = (free_port(), free_port())
        ca = self.folder.pki.path("csms/root.pem")
        url = f"https://127.0.0.1:{self.ports[1]}"
        self.client = CsmsClient(Access(url=url, token=self.folder.token, ca=ca), 20.0)
        self.csms = program("csms", path, self.folder.csms_config(ocpp_port=self.ports[0], api_port=self.ports[1]))
        config = self.folder.secc_config(ocpp_port=self.ports[0], sdp_ports=[free_port(socket.SOCK_DGRAM)])
        self.secc = program("secc", path, config)
        self.config = config

    def named(self, process: str, name: str) -> list[dict[str, Any]]:
        """Return what a program has reported under a name so far."""
        for each in (self.csms, self.secc):
            self.events += each.events.read()
        return [each.data for each in self.events if (each.process, each.name) == (process, name)]

    def until(self, holds: Callable[[], Any], seconds: float = 60.0) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.01)

    def logs(self) -> str:
        """Return the ends of both logs."""
        found = [each for each in (self.csms.log, self.secc.log) if each.exists()]
        return "\n".join(f"{each}:\n{each.read_text()[-2000:]}" for each in found)

    def slot(self, name: str) -> str:
        """Return what a file of the slots says."""
        path = self.folder.path / "slots" / name
        return path.read_text() if path.exists() else ""

    def install(self) -> None:
        """Start both programs, and update the charger; it has restarted into the new slot, which is on trial."""
        self.csms.start()
        self.until(lambda: self.named("csms", "ready"))
        self.secc.start()
        self.until(lambda: self.named("secc", "csms_online"))
        image = self.folder.path / "maker" / "new.img"
        image.write_bytes(b"2.0\n")
        body = {"image": self.maker.offer(f"{self.web.url}/new.img", b"2.0\n"), "retries": 0}
        self.until(lambda: self.asked(body))
        self.until(lambda: self.secc.poll() is not None)
        assert (self.slot("runs"), self.slot("once")) == ("a", "b")

    def asked(self, body: object) -> bool:
        """Ask for the update, once the station can be asked."""
        try:
            return bool(self.client.ask("POST", f"/stations/{STATION}/firmware", body).body)
        except V2GError:
            return False

    def statuses(self) -> list[str]:
        """Return the station's reports."""
        return [each["status"] for each in self.named("csms", "firmware_status")]

    def stop(self) -> None:
        """End everything."""
        self.secc.stop(patience=5)
        self.csms.stop(patience=5)
        self.web.stop()
        self.client.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "run")
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.long
@pytest.mark.requirement("R133", "R135", "R141")
def test_firmware_that_the_back_end_accepts_is_confirmed_in_time(site: Site) -> None:
    with site.config.open("a") as file:
        file.write(UPDATE)
    site.install()
    site.secc.start()
    began = time.monotonic()
    site.until(lambda: site.slot("active") == "b")
    assert time.monotonic() - began < LIMIT_S
    site.until(lambda: "Installed" in site.statuses())
    assert (site.slot("runs"), site.slot("once")) == ("b", "")


@pytest.mark.requirement("R133", "R135")
@pytest.mark.parametrize(
    "confirm_s", ["confirm_s = 3\n", pytest.param("", marks=pytest.mark.long)], ids=["short", "default"]
)
def test_firmware_that_no_back_end_accepts_is_gone_in_time(site: Site, confirm_s: str) -> None:
    """From the start of the new firmware to that of the old one; the back end learns of it when it is back."""
    with site.config.open("a") as file:
        file.write(UPDATE + confirm_s)
    site.install()
    site.csms.stop(patience=5)
    site.secc.start()
    began = time.monotonic()
    site.until(lambda: site.slot("runs") == "b")
    site.until(lambda: site.secc.poll() is not None, 2 * LIMIT_S)
    assert site.slot("active") in ("", "a")
    site.secc.start()
    site.until(lambda: site.slot("runs") == "a")
    assert time.monotonic() - began < LIMIT_S
    site.csms.start()
    site.until(lambda: "InstallationFailed" in site.statuses())
    assert "Installed" not in site.statuses()
