"""A charger that is killed with -9 at any moment of an update: charger, vehicle and back end as programs.

The image is the charger's program, which `deploy/trial.py` starts as a boot loader does.
`V2G_KILLS=200 .venv/bin/pytest -s -m long tests/e2e/test_update_kills.py` kills a quarter as often, as each takes 8 s,
and shows how it goes on.
"""

import random
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.update_site import UPDATE, Site
from tests.kills import MANY, Progress
from v2g.energy.settlement.bundle import verify_bundle
from v2g.energy.settlement.signed_meter import DIRECTIONS
from v2g.io.storage.journal_file import read_files
from v2g.iso15118.signed_requests import read_confirmation
from v2g_cli.demo.folder import STATION
from v2g_cli.demo.processes import free_port, program

pytestmark = pytest.mark.e2e

SCALE: Final = 10.0
LOADER: Final = Path(__file__).resolve().parents[2] / "deploy" / "trial.py"
OVER: Final = frozenset({"Installed", "InstallationFailed", "InstallVerificationFailed", "DownloadFailed"})
IMAGE: Final = """{number}.0
# {padding}
import os, sys
from pathlib import Path
os.symlink(__file__, "{folder}/running.new")
os.replace("{folder}/running.new", "{folder}/running")
from secc.app import main
sys.exit(main(Path("{folder}/secc.toml"), Path("{folder}/secc.events.jsonl")))
# whole
"""


class KilledSite(Site):
    """Its charger runs the image of a slot."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        super().__init__(path, SCALE)
        self._chance = chance
        with self.config.open("a") as file:
            file.write(UPDATE)
        self.config.write_text(self.config.read_text().replace("[station]\n", '[station]\nfirmware_file = "running"\n'))
        self.images: dict[str, bytes] = {}
        self.version = "1"
        first = path / "slots" / "a" / "image"
        first.parent.mkdir(parents=True)
        first.write_bytes(self.image("1"))
        loader = [sys.executable, str(LOADER), "start", str(path / "slots")]
        self.secc.command = [*loader, sys.executable, "{image}"]
        self.folder.can_port = free_port(socket.SOCK_DGRAM)
        self.evcc = program("evcc", path, self.folder.evcc_config(sdp_port=self.sdp_port))
        self.programs.append(self.evcc)
        self.online = 0
        self.csms.start()
        self.until(lambda: self.named("csms", "ready"))
        self.boot()
        self.until(lambda: self.named("secc", "csms_online"))

    def image(self, number: str) -> bytes:
        padding = self._chance.randbytes(100_000).hex()
        self.images[number] = IMAGE.format(number=number, padding=padding, folder=self.folder.path).encode()
        return self.images[number]

    def boot(self) -> None:
        """Start what the boot loader chooses, which must be whole."""
        named = next(each for each in (self.slot("once"), self.slot("active"), "a") if each)
        assert (self.folder.path / "slots" / named / "image").read_bytes() in self.images.values()
        self.online = len(self.named("secc", "csms_online"))
        self.secc.start()

    def update(self, number: str, kills_s: list[float], *, charging: bool) -> tuple[str, float]:
        """Order an update, kill the charger so long after, start it whenever it has ended; return how the update ended,
        and how long it took, s."""
        (self.folder.path / "maker" / f"{number}.img").write_bytes(image := self.image(number))
        order = {"image": self.maker.offer(f"{self.web.url}/{number}.img", image), "retries": 2}
        if charging:
            began = len(self.named("evcc", "flow"))
            self.evcc.start()
            self.until(lambda: len(self.named("evcc", "flow")) > began)
        request_id = self.client.ask("POST", f"/stations/{STATION}/firmware", order).body["request_id"]
        ordered, looked = time.monotonic(), 0.0
        while True:
            now = time.monotonic()
            assert now - ordered < 600, self.logs()
            if kills_s and now > ordered + kills_s[0]:
                self.secc.stop(signal.SIGKILL)
                kills_s.pop(0)
            if self.secc.poll() is not None:
                self.boot()
            if charging and now > ordered + 1.0:
                self.evcc.stop(patience=10)
                charging = False
            if now > looked + 0.1:
                looked = now
                found = self.client.ask("GET", f"/requests/{request_id}").body
                online = len(self.named("secc", "csms_online")) > self.online
                if found["progress"] in OVER and not kills_s and online:
                    return found["progress"], now - ordered
            time.sleep(0.01)

    def judge(self, number: str, ended: str) -> None:
        """Assert that the charger runs one of both images, whole and for good, and has said which."""
        running = self.slot("runs")
        content = (self.folder.path / "slots" / running / "image").read_bytes()
        assert content == self.images[number if ended == "Installed" else self.version]
        self.version = number if ended == "Installed" else self.version
        assert self.slot("active") == running
        assert self.slot("once") == ""
        self.until(lambda: self.client.ask("GET", f"/stations/{STATION}").body["firmware"] == f"{self.version}.0")

    def settled(self) -> int:
        """Assert that each session has its settlement, at the charger and the back end, and power only with it; return
        how many there were."""
        journals = self.folder.path.glob("secc/**/journals/*.jsonl")
        self.until(lambda: not list(journals))
        begun = {each["session_id"] for each in self.named("secc", "authorized") if each.get("session_id")}
        bundles = {each.name: each for each in self.folder.path.glob("secc/**/settlements/*")}
        assert bundles.keys() >= begun
        self.until(lambda: len(self.named("csms", "settled")) >= len(bundles))
        for session, bundle in bundles.items():
            report = verify_bundle(read_files(bundle), confirmations=read_confirmation, most_reaction_ms=3_600_000)
            begin, end = report.settlement.begin, report.settlement.end
            by_lines = {
                way: sum(line.energy_mwh for line in report.settlement.lines if line.direction == way)
                for way in DIRECTIONS
            }
            registers = {"import": end.import_mwh - begin.import_mwh, "export": end.export_mwh - begin.export_mwh}
            assert by_lines == registers, session
            assert len(self.client.ask("GET", f"/settlements/{session}/postings").body) == 1
        return len(bundles)

    def power_only_in_sessions(self) -> None:
        """Assert that no current flows without an authorised session, and no slot is started during one.

        A vehicle that comes while an image is written begins a session, and is not authorised.
        """
        authorised, seen = False, list[tuple[str, str]]()
        for event in self.events:
            if event.process != "secc":
                continue
            seen.append((event.stage, event.name))
            match event.name:
                case "session_started" | "session_ended":
                    authorised = False
                case "checked" if event.data["check"] == "self_test":  # a new life
                    authorised = False
                case "authorized" if event.stage == "authorization":
                    authorised = True
                case "response" if event.data.get("current_ma"):
                    assert authorised, seen[-99:]
                case "phase" if event.data["phase"] in ("activating", "rolling_back"):
                    assert not authorised, seen[-99:]

    def stop(self) -> None:
        self.evcc.stop(patience=5)
        super().stop()


@pytest.fixture
def chance() -> random.Random:
    return random.Random(60)


@pytest.mark.long
@pytest.mark.requirement("R133", "R135", "R141")
@pytest.mark.parametrize("kills", [1, min(MANY // 4, 100)])
def test_a_charger_killed_in_an_update_runs_one_image_and_says_which(
    tmp_path: Path, chance: random.Random, kills: int
) -> None:
    progress, ends = Progress(kills), Counter[str]()
    site = KilledSite(tmp_path / "run", chance)
    try:
        whole_s = 5.0
        if kills > 1:
            ended, whole_s = site.update("2", [], charging=True)
            assert ended == "Installed"
            site.judge("2", ended)
        for number in range(3, 3 + kills):
            first = chance.uniform(0.0, whole_s)
            moments = [first, first + chance.uniform(0.0, whole_s)] if number % 4 == 3 else [first]
            ended, _ = site.update(str(number), moments, charging=number % 3 == 0)
            site.judge(str(number), ended)
            ends[ended] += 1
            progress(**ends)
        assert site.settled() >= (kills + 2) // 3
        site.power_only_in_sessions()
    finally:
        site.stop()
    assert ends["Installed"] or kills == 1, ends
