"""A charger that is updated, and its back end: both as programs, slots as folders."""

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from v2g.errors import V2GError
from v2g_cli.csms.client import Access, CsmsClient
from v2g_cli.demo.folder import STATION, RunFolder
from v2g_cli.demo.processes import Event, free_port, program
from v2g_cli.demo.scenario import find
from v2g_cli.demo.update import Maker, WebServer

UPDATE = """
[station.update]
slots = "slots"
window = "00:00-00:00"
manufacturer_roots = ["maker/manufacturer.pem"]
"""


class Site:
    """A charger that is updated, and its back end."""

    def __init__(self, path: Path, scale: float = 1.0) -> None:
        scenario = find("discharge")
        assert scenario is not None
        self.folder = RunFolder(path, scenario, scale)
        self.folder.prepare()
        (path / "maker").mkdir()
        self.maker, self.events = Maker(path / "maker"), list[Event]()
        self.web = WebServer(path / "maker")
        self.ports = (free_port(), free_port())
        ca = self.folder.pki.path("csms/root.pem")
        url = f"https://127.0.0.1:{self.ports[1]}"
        self.client = CsmsClient(Access(url=url, token=self.folder.token, ca=ca))
        self.csms = program("csms", path, self.folder.csms_config(ocpp_port=self.ports[0], api_port=self.ports[1]))
        self.sdp_port = free_port(socket.SOCK_DGRAM)
        config = self.folder.secc_config(ocpp_port=self.ports[0], sdp_ports=[self.sdp_port])
        self.secc = program("secc", path, config)
        self.config = config
        self.programs = [self.csms, self.secc]

    def named(self, process: str, name: str) -> list[dict[str, Any]]:
        """Return what a program has reported under a name so far."""
        for each in self.programs:
            self.events += each.events.read()
        return [each.data for each in self.events if (each.process, each.name) == (process, name)]

    def until(self, holds: Callable[[], Any], seconds: float = 300.0) -> None:
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

    def install(self, *, killed: bool = False) -> None:
        """Start both programs, and update the charger; it has restarted into the new slot, which is on trial. `killed`:
        with -9 while the image is written, and started again."""
        self.csms.start()
        self.until(lambda: self.named("csms", "ready"))
        self.secc.start()
        self.until(lambda: self.named("secc", "csms_online"))
        image = b"2.0\n" + bytes(16_000_000 if killed else 0)
        (self.folder.path / "maker" / "new.img").write_bytes(image)
        body = {"image": self.maker.offer(f"{self.web.url}/new.img", image), "retries": 0}
        self.until(lambda: self.asked(body))
        if killed:
            self.until(lambda: self.named("secc", "phase"))
            self.secc.stop(signal.SIGKILL)
            assert not self.slot("once")
            self.secc.start()
        self.until(lambda: self.secc.poll() is not None)
        assert (self.slot("runs"), self.slot("once")) == ("a", "b")
        assert (self.folder.path / "slots" / "b" / "image").read_bytes() == image

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
