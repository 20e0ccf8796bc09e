"""The machine's part of an update: what it does, keeps, reports and observes at each step, in this order (L01)."""

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio

from tests.io.ota.maker import HARDWARE, Maker
from tests.station.device.file_server import FileServer, file_server
from v2g.errors import InstallError
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g.ota.release import RepositoryConfig
from v2g_station.blocks.firmware import (
    Activate,
    CancelFirmware,
    ConfirmInstall,
    DownloadFirmware,
    FirmwareProgress,
    Install,
)
from v2g_station.device.firmware import FirmwareDevice, UpdateConfig

pytestmark = pytest.mark.requirement("R133", "R135")

IMAGE: Final = b"firmware 2"
DIGEST: Final = hashlib.sha256(IMAGE).digest()
LONG: Final = "x" * 300
CUT: Final = "x" * 200
MIB: Final = 1024 * 1024
STEPS: Final = ("running", "install", "activate", "confirm", "roll_back")


class Charger:
    """Two slots, of which `runs` runs, and what the rest of the charger has to do with an update.

    `log` has each step of the installer with the phase that is stored meanwhile, each report with whether the state is
    still stored, and each pause. A step raises what `fails` has for it, and waits for what `waits` has.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.file = folder, folder / "update.json", folder / "image"
        self.runs = "a"
        self.fails: dict[str, Exception] = {}
        self.waits: dict[str, Callable[[], Awaitable[None]]] = {}
        self.accepted, self.asked = asyncio.Event(), asyncio.Event()
        self.log: list[str] = []
        self.digest = b""
        self.reason = ""
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.written = ""
        self.contexts = 0

    def start(
        self, *, state: dict[str, Any] | None = None, boot_id: str | None = None, **changes: Any
    ) -> FirmwareDevice:
        """Start the program, with the state that the one before has left."""
        if state is not None:
            self.state.write_text(msgspec.json.encode(state).decode())
        more = {} if boot_id is None else {"boot_id": boot_id}
        return FirmwareDevice(
            UpdateConfig(**{"slots": self.folder} | changes),
            lambda: self.folder,
            self,
            notify=self._notify,
            accepted=self._accepted,
            context=self._context,
            observe=self._observe,
            pause=self._pause,
            **more,
        )

    async def do(self, firmware: FirmwareDevice, command: Any) -> list[str]:
        """Carry out a command; return what it did."""
        self.log.clear()
        firmware.command(command)
        await firmware.finished()
        return list(self.log)

    @property
    def kept(self) -> dict[str, Any]:
        found = msgspec.json.decode(self.state.read_bytes()) if self.state.exists() else {}
        return found if isinstance(found, dict) else {}

    # -- the installer

    async def running(self) -> str:
        return self.runs

    async def _step(self, name: str) -> None:
        self.log.append(f"{name} in {self.kept.get('phase', 'no phase')}")
        if name in self.waits:
            await self.waits[name]()
        if name in self.fails:
            raise self.fails[name]

    async def install(self, image: Path) -> None:
        assert image.read_bytes() == IMAGE
        await self._step("install")

    async def activate(self) -> None:
        await self._step("activate")

    async def confirm(self) -> None:
        await self._step("confirm")

    async def roll_back(self) -> None:
        await self._step("roll_back")

    def image(self) -> Path | None:
        return None

    def back(self) -> tuple[tuple[str, ...], ...]:
        if "back" in self.fails:
            raise self.fails["back"]
        return (("running",), ("back", "now"))

    # -- the station

    def _notify(self, fact: Fact) -> None:
        assert isinstance(fact, FirmwareProgress)
        assert fact.status in (self.written, "InvalidSignature"), "the log has what the back end gets"
        self.log.append(fact.status + (f" in {self.kept['phase']}" if "phase" in self.kept else ""))
        self.digest, self.reason = fact.digest, fact.reason

    def _accepted(self) -> asyncio.Event:
        self.asked.set()
        return self.accepted

    def _context(self) -> ssl.SSLContext:
        self.contexts += 1
        return ssl.create_default_context()

    def _observe(self, event: Observe) -> None:
        assert event.stage == "firmware"
        if event.name == "reported":
            self.written = event.data["status"]
        else:
            self.events.append((event.name, dict(event.data)))

    async def _pause(self, seconds: float) -> None:
        self.log.append(f"{seconds} s")


@pytest_asyncio.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """What waits for a step that does not come fails."""
    loop = asyncio.get_running_loop()
    late = loop.call_later(5, lambda: [each.cancel() for each in asyncio.all_tasks(loop)])
    yield
    late.cancel()


@pytest.fixture
def charger(tmp_path: Path) -> Charger:
    return Charger(tmp_path)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as found:
        found.files["/fw.bin"] = IMAGE
        yield found


def stored(phase: str, **more: Any) -> dict[str, Any]:
    """A state of request 7, which slot a has begun."""
    return {"request_id": 7, "phase": phase, "old": "a"} | more


def download(url: str, retries: int | None = 0) -> DownloadFirmware:
    return DownloadFirmware(request_id=7, url=url, retries=retries, retry_interval_s=9)


INSTALL: Final = Install(request_id=7, digest=DIGEST)
WRITTEN: Final = ["confirm in installing", "install in installing"]
ACTIVATE: Final = Activate(request_id=7)
SETTLE: Final = ConfirmInstall(request_id=7)


# -- configuration


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({}, "needs one of"),
        ({"commands": {step: ["true"] for step in STEPS}, "rauc": {}}, "needs one of"),
        ({"rauc": {}, "window": "25:00-06:00"}, "25:00"),
    ],
)
def test_an_update_is_installed_in_one_way_in_a_window(config: dict[str, Any], wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=wrong):
        msgspec.convert(config, UpdateConfig)


def test_by_default_it_is_installed_at_night_and_has_less_than_a_minute_for_its_trial(tmp_path: Path) -> None:
    found = UpdateConfig(slots=tmp_path)
    assert (found.most_mib, found.download_s, found.window, found.confirm_s) == (1024, 3600, "22:00-06:00", 50)


# -- what runs


async def test_what_runs_is_confirmed_once_at_the_start(charger: Charger) -> None:
    firmware = charger.start()
    firmware.start()
    await firmware.finished()
    firmware.start()
    await firmware.finished()
    assert (charger.log, charger.events) == (["confirm in no phase"], [])


async def test_what_is_on_trial_is_not_confirmed_at_the_start(charger: Charger) -> None:
    firmware = charger.start(state=stored("trial"))
    firmware.start()
    await firmware.finished()
    assert charger.log == []


@pytest.mark.parametrize("error", [InstallError(LONG), OSError(LONG)])
async def test_what_cannot_be_confirmed_runs_on(charger: Charger, error: Exception) -> None:
    charger.fails["confirm"] = error
    firmware = charger.start()
    firmware.start()
    await firmware.finished()
    assert charger.log == ["confirm in no phase"]
    assert charger.events == [("step_failed", {"error": CUT})]


# -- download


async def test_a_download_is_whole_and_durable_before_it_is_reported(
    charger: Charger, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = [], os.fsync

    def noted(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name[:7], charger.file.exists()) if path.is_dir() else path.read_bytes())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    assert await charger.do(charger.start(), download(f"{server.url}/fw.bin")) == ["Downloaded"]
    assert synced == [IMAGE, (charger.folder.name[:7], True)]
    assert (charger.digest, charger.file.read_bytes()) == (DIGEST, IMAGE)
    assert list(charger.folder.iterdir()) == [charger.file]
    assert (charger.events, charger.contexts) == ([], 0)


async def test_what_a_kill_has_left_is_removed_once(charger: Charger, server: FileServer) -> None:
    """Later ones may be those of a download that was cancelled and still writes."""
    (left := charger.folder / ".image.left").touch()
    (other := charger.folder / "other").touch()
    firmware = charger.start()
    await charger.do(firmware, download(f"{server.url}/fw.bin"))
    assert (left.exists(), other.exists()) == (False, True)
    left.touch()
    await charger.do(firmware, download(f"{server.url}/fw.bin"))
    assert left.exists()


@pytest.mark.parametrize(("retries", "attempts"), [(None, 3), (0, 1), (1, 2)])
async def test_a_server_that_is_away_is_asked_again(
    charger: Charger, server: FileServer, retries: int | None, attempts: int
) -> None:
    server.judge = lambda *_: 503
    reported = await charger.do(charger.start(), download(f"{server.url}/fw.bin", retries))
    assert reported == ["9 s"] * (attempts - 1) + ["DownloadFailed"]
    assert server.asked == attempts
    assert [name for name, _ in charger.events] == ["download_failed"] * attempts
    assert [data["attempt"] for _, data in charger.events] == [*range(1, attempts + 1)]
    assert list(charger.folder.iterdir()) == []


async def test_a_server_that_is_back_is_believed(charger: Charger, server: FileServer) -> None:
    server.judge = lambda *_: 503 if server.asked == 1 else None
    assert await charger.do(charger.start(), download(f"{server.url}/fw.bin", 5)) == ["9 s", "Downloaded"]


async def test_a_server_that_refuses_is_not_asked_again(charger: Charger, server: FileServer) -> None:
    server.judge = lambda *_: 302
    assert await charger.do(charger.start(), download(f"{server.url}/fw.bin", 5)) == ["DownloadFailed"]
    assert server.asked == 1


async def test_a_download_that_fails_is_noted_in_short(charger: Charger) -> None:
    assert await charger.do(charger.start(), download(f"http://{'x.' * 150}/")) == ["DownloadFailed"]
    ((name, data),) = charger.events
    assert (name, len(data["error"]), data["attempt"]) == ("download_failed", 200, 1)


async def test_a_disk_that_does_not_take_it_is_not_tried_again(tmp_path: Path, server: FileServer) -> None:
    (folder := tmp_path / ("y" * 220)).mkdir()
    charger = Charger(folder)
    charger.file.mkdir()
    assert await charger.do(charger.start(), download(f"{server.url}/fw.bin", 5)) == ["DownloadFailed"]
    ((name, data),) = charger.events
    assert (name, len(data["error"]), data["attempt"]) == ("download_failed", 200, 1)
    assert list(folder.iterdir()) == [charger.file]


@pytest.mark.parametrize(("over", "status"), [(0, "Downloaded"), (1, "DownloadFailed")])
async def test_an_image_has_as_much_as_is_allowed(charger: Charger, server: FileServer, over: int, status: str) -> None:
    server.files["/fw.bin"] = bytes(MIB + over)
    assert await charger.do(charger.start(most_mib=1), download(f"{server.url}/fw.bin")) == [status]


async def test_the_stations_roots_verify_servers_with_tls(charger: Charger) -> None:
    await charger.do(charger.start(), download("https://127.0.0.1:1/fw.bin"))
    assert charger.contexts == 1


@pytest.mark.parametrize("close", [True, False])
async def test_a_cancelled_download_leaves_nothing(charger: Charger, server: FileServer, close: bool) -> None:
    loop, asked, answer = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def judge(*_: str) -> None:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(answer.wait(), loop).result(5)

    server.judge = judge
    firmware = charger.start()
    firmware.command(download(f"{server.url}/fw.bin"))
    await asked.wait()
    if close:
        await firmware.close()
    else:
        firmware.command(CancelFirmware(request_id=7))
    answer.set()
    await firmware.finished()
    await loop.shutdown_default_executor()
    assert (charger.log, charger.events, list(charger.folder.iterdir())) == ([], [], [])


async def test_a_download_that_is_cancelled_at_its_end_is_not_taken(
    charger: Charger, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, firmware = asyncio.get_running_loop(), charger.start()

    async def cancel() -> None:
        firmware.command(CancelFirmware(request_id=7))

    monkeypatch.setattr(os, "fsync", lambda _: asyncio.run_coroutine_threadsafe(cancel(), loop).result(5))
    assert await charger.do(firmware, download(f"{server.url}/fw.bin")) == []
    await loop.shutdown_default_executor()
    assert list(charger.folder.iterdir()) == []


async def test_another_download_takes_the_place_of_the_first(charger: Charger, server: FileServer) -> None:
    firmware = charger.start()
    server.files["/other.bin"] = b"other"
    firmware.command(download(f"{server.url}/other.bin"))
    assert await charger.do(firmware, download(f"{server.url}/fw.bin")) == ["Downloaded"]
    await asyncio.get_running_loop().shutdown_default_executor()
    assert charger.file.read_bytes() == IMAGE


def publish(charger: Charger, server: FileServer, *hardware: str) -> RepositoryConfig:
    """Release the image, as number 7."""
    (maker_folder := charger.folder / "maker").mkdir()
    maker = Maker(maker_folder)
    maker.release("fw.bin", 7, *hardware, image=IMAGE)
    for each in maker.path("").glob("*.json"):
        server.files[f"/metadata/{each.name}"] = each.read_bytes()
    return RepositoryConfig(root=maker.root, url=server.url, hardware=HARDWARE)


@pytest.mark.requirement("R140")
async def test_an_image_of_a_repository_is_compared_with_it_and_older_ones_are_refused_later(
    charger: Charger, server: FileServer
) -> None:
    releases = publish(charger, server)
    assert await charger.do(charger.start(releases=releases), download(f"{server.url}/fw.bin")) == ["Downloaded"]
    assert (charger.digest, charger.file.read_bytes()) == (DIGEST, IMAGE)
    firmware = charger.start(releases=releases)
    assert (await charger.do(firmware, INSTALL))[-1] == "InstallRebooting in installing"
    charger.runs = "b"
    charger.accepted.set()
    assert (await charger.do(charger.start(releases=releases), SETTLE))[-1] == "Installed in trial"
    assert (charger.folder / "installed.json").read_text() == "7"
    charger.file.write_bytes(IMAGE)
    (charger.folder / "installed.json").write_text("8")
    assert await charger.do(charger.start(releases=releases), INSTALL) == ["InstallVerificationFailed"]


@pytest.mark.requirement("R140")
async def test_an_image_that_was_not_compared_with_the_repository_is_not_written(charger: Charger) -> None:
    charger.file.write_bytes(IMAGE)
    assert await charger.do(charger.start(releases=repository(charger)), INSTALL) == ["InstallVerificationFailed"]


@pytest.mark.requirement("R140")
async def test_why_an_image_of_a_repository_is_refused_is_reported_in_short(
    charger: Charger, server: FileServer
) -> None:
    releases = publish(charger, server, *(letter * 64 for letter in "abcd"))
    firmware = charger.start(releases=releases)
    assert await charger.do(firmware, download(f"{server.url}/fw.bin", 5)) == ["InvalidSignature"]
    assert charger.reason == f"release 7 is for {'a' * 64}, {'b' * 64}, {'c' * 64}"[:200]
    assert charger.events == [("release_refused", {"error": charger.reason})]


@pytest.mark.requirement("R140")
async def test_a_broken_file_of_what_is_installed_is_named_and_is_no_refusal(charger: Charger) -> None:
    """As what is wrong is not the image."""
    (charger.folder / "installed.json").write_text("a number")
    firmware = charger.start(releases=repository(charger))
    assert await charger.do(firmware, download("http://127.0.0.1:1/fw.bin", 5)) == ["DownloadFailed"]
    ((name, data),) = charger.events
    assert name == "download_failed"
    assert f"{charger.folder}/installed.json has to have the number of the release that runs: " in data["error"]


@pytest.mark.requirement("R140")
async def test_a_charger_without_its_makers_root_downloads_nothing(charger: Charger) -> None:
    firmware = charger.start(releases=repository(charger))
    assert await charger.do(firmware, download("http://127.0.0.1:1/fw.bin", 5)) == ["DownloadFailed"]
    ((name, data),) = charger.events
    assert (name, data["attempt"]) == ("download_failed", 1)
    assert data["error"].endswith("none.json: No such file or directory")


def repository(charger: Charger) -> RepositoryConfig:
    """A repository without a root."""
    return RepositoryConfig(root=charger.folder / "none.json", url="http://127.0.0.1:1", hardware=HARDWARE)


# -- installation


async def test_the_image_that_was_verified_is_written_and_the_start_of_it_is_kept_before(charger: Charger) -> None:
    charger.file.write_bytes(IMAGE)
    firmware = charger.start(boot_id="boot 1")
    assert await charger.do(firmware, INSTALL) == [*WRITTEN, "InstallRebooting in installing"]
    kept = {"request_id": 7, "phase": "installing", "old": "a", "tries": 1, "boot_id": "boot 1"}
    assert charger.kept == kept | {"back": [["running"], ["back", "now"]]}
    assert charger.state.stat().st_mode & 0o777 == 0o600
    charger.runs = "b"
    assert await charger.do(firmware, ACTIVATE) == ["activate in activating"]
    assert charger.kept == kept | {"phase": "activated", "old": "b", "back": [["running"], ["back", "now"]]}
    assert charger.events == [
        ("phase", {"phase": each, "tries": 1}) for each in ("installing", "activating", "activated")
    ]


async def test_an_image_that_has_changed_is_not_written(charger: Charger) -> None:
    charger.file.write_bytes(b"firmware 3")
    assert await charger.do(charger.start(), INSTALL) == ["InstallVerificationFailed in installing"]
    assert (charger.state.exists(), charger.file.exists()) == (False, False)
    assert charger.events[-1] == ("step_failed", {"error": "the image changed after its signature was verified"})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InstallError(LONG, verification=True), "InstallVerificationFailed"),
        (InstallError(LONG), "InstallationFailed"),
        (OSError(LONG), "InstallationFailed"),
    ],
)
async def test_an_installation_that_fails_says_why(charger: Charger, error: Exception, status: str) -> None:
    charger.file.write_bytes(IMAGE)
    charger.fails["install"] = error
    assert await charger.do(charger.start(), INSTALL) == [*WRITTEN, f"{status} in installing"]
    assert charger.events[-1] == ("step_failed", {"error": CUT})
    assert list(charger.folder.iterdir()) == []


@pytest.mark.parametrize("step", ["install", "activate"])
async def test_a_step_is_repeated_three_times_after_restarts(charger: Charger, step: str) -> None:
    charger.file.write_bytes(IMAGE)
    phase, command = ("installing", INSTALL) if step == "install" else ("activating", ACTIVATE)
    for tries in (1, 2, 3):
        assert f"{step} in {phase}" in await charger.do(charger.start(), command)
        assert (charger.kept["tries"], charger.kept["boot_id"]) == (tries, "")
    assert await charger.do(charger.start(), command) == [
        f"InstallationFailed in {'installing' if step == 'install' else 'activated'}"
    ]
    assert not charger.state.exists()


@pytest.mark.parametrize(
    ("command", "state"),
    [
        (INSTALL, stored("activated", tries=3)),
        (ACTIVATE, stored("installing", tries=3)),
        (INSTALL, stored("installing", tries=3, request_id=6)),
        (ACTIVATE, stored("activated", tries=3, request_id=6)),
        (ACTIVATE, {}),
    ],
)
async def test_steps_of_other_phases_and_requests_do_not_count(
    charger: Charger, command: Any, state: dict[str, Any]
) -> None:
    charger.file.write_bytes(IMAGE)
    await charger.do(charger.start(state=state), command)
    assert (charger.kept["request_id"], charger.kept["tries"]) == (7, 1)


async def test_an_activation_that_was_begun_counts(charger: Charger) -> None:
    await charger.do(charger.start(state=stored("activating", tries=2)), ACTIVATE)
    assert charger.kept["tries"] == 3


async def test_an_installation_is_cancelled_when_the_program_ends_and_goes_on_at_its_next_start(
    charger: Charger,
) -> None:
    charger.file.write_bytes(IMAGE)
    writing, ended = asyncio.Event(), False

    async def write() -> None:
        nonlocal ended
        writing.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    charger.waits["install"] = write
    firmware = charger.start()
    firmware.command(INSTALL)
    await writing.wait()
    await firmware.close()
    assert (ended, charger.log, charger.kept["phase"]) == (True, WRITTEN, "installing")
    await firmware.close()
    await firmware.finished()
    del charger.waits["install"]
    assert (await charger.do(charger.start(), INSTALL))[-1] == "InstallRebooting in installing"
    assert charger.kept["tries"] == 2


async def test_what_runs_may_be_confirmed_after_a_cancellation(charger: Charger) -> None:
    charger.waits["activate"] = asyncio.Event().wait  # type: ignore[assignment]
    firmware = charger.start()
    firmware.command(ACTIVATE)
    firmware.command(CancelFirmware(request_id=7))
    firmware.start()
    await firmware.finished()
    assert charger.log == ["confirm in no phase"]


# -- after the restart


@pytest.mark.parametrize("accepted", [True, False])
async def test_new_firmware_needs_no_way_back_of_its_own(charger: Charger, accepted: bool) -> None:
    """What the old one has left stays, if the installer that comes with the new one fails to say it."""
    charger.runs, charger.fails["back"] = "b", InstallError("of tomorrow")
    left = [["slots", "running"], ["slots", "back"]]
    firmware = charger.start(state=stored("activated", back=left), confirm_s=100.0 if accepted else 0.001)
    if accepted:
        charger.accepted.set()
    expected = ["confirm in trial", "Installed in trial"] if accepted else ["roll_back in rolling_back"]
    assert await charger.do(firmware, SETTLE) == expected
    assert charger.kept.get("back", left) == left


@pytest.mark.parametrize("phase", ["activating", "activated", "installing", "trial"])
async def test_new_firmware_is_confirmed_once_the_csms_has_accepted_the_station(charger: Charger, phase: str) -> None:
    charger.runs = "b"
    charger.file.write_bytes(IMAGE)
    firmware = charger.start(state=stored(phase, boot_id="boot 1"), boot_id="boot 2")
    firmware.command(SETTLE)
    await charger.asked.wait()
    tries = 2 if phase == "trial" else 1
    assert charger.log == []
    assert charger.kept == stored("trial", tries=tries, boot_id="boot 2", back=[["running"], ["back", "now"]])
    charger.accepted.set()
    await firmware.finished()
    assert charger.log == ["confirm in trial", "Installed in trial"]
    assert (charger.state.exists(), charger.file.exists()) == (False, False)
    assert charger.events == [("phase", {"phase": "trial", "tries": tries})]


async def test_new_firmware_that_is_not_accepted_in_time_is_rolled_back(charger: Charger) -> None:
    charger.runs = "b"
    firmware = charger.start(state=stored("activated"), confirm_s=0.001)
    assert await charger.do(firmware, SETTLE) == ["roll_back in rolling_back"]
    assert (charger.kept["old"], charger.kept["tries"]) == ("a", 1)
    assert charger.events[1:] == [
        ("not_accepted", {"seconds": 0.001}),
        ("phase", {"phase": "rolling_back", "tries": 1}),
    ]


@pytest.mark.parametrize("error", [InstallError(LONG), OSError(LONG)])
async def test_new_firmware_that_cannot_be_confirmed_is_rolled_back(charger: Charger, error: Exception) -> None:
    charger.runs = "b"
    charger.accepted.set()
    charger.fails["confirm"] = error
    firmware = charger.start(state=stored("activated"))
    assert await charger.do(firmware, SETTLE) == ["confirm in trial", "roll_back in rolling_back"]
    assert charger.events[1:] == [
        ("step_failed", {"error": CUT}),
        ("phase", {"phase": "rolling_back", "tries": 1}),
    ]


async def test_new_firmware_that_restarts_on_trial_is_rolled_back_at_its_fourth_start(charger: Charger) -> None:
    charger.runs = "b"
    charger.state.write_bytes(msgspec.json.encode(stored("activated", tries=3)))
    for tries in (1, 2, 3):
        charger.asked.clear()
        firmware = charger.start()
        firmware.command(SETTLE)
        await charger.asked.wait()
        assert (charger.kept["phase"], charger.kept["tries"]) == ("trial", tries)
        await firmware.close()
    assert await charger.do(charger.start(), SETTLE) == ["roll_back in rolling_back"]


async def test_a_roll_back_is_repeated_three_times_after_restarts(charger: Charger) -> None:
    charger.runs = "b"
    charger.accepted.set()
    charger.state.write_bytes(msgspec.json.encode(stored("rolling_back")))
    for tries in (2, 3):
        assert await charger.do(charger.start(), SETTLE) == ["roll_back in rolling_back"]
        assert charger.kept["tries"] == tries
    assert await charger.do(charger.start(), SETTLE) == ["InstallationFailed in rolling_back"]
    assert charger.events[-1] == ("step_failed", {"error": "the old firmware cannot be started"})


async def test_a_roll_back_that_fails_is_reported(charger: Charger) -> None:
    charger.runs = "b"
    charger.fails["roll_back"] = InstallError("no such slot")
    firmware = charger.start(state=stored("rolling_back"))
    assert await charger.do(firmware, SETTLE) == ["roll_back in rolling_back", "InstallationFailed in rolling_back"]
    assert charger.events[-1] == ("step_failed", {"error": "no such slot"})


@pytest.mark.parametrize(
    ("phase", "boot_id"),
    [("activating", "boot 1"), ("activating", "boot 2"), ("activated", "boot 2")],
)
async def test_a_slot_that_was_not_started_yet_is_started(charger: Charger, phase: str, boot_id: str) -> None:
    """The power failed before the boot loader was asked, or the program has restarted before the machine."""
    firmware = charger.start(state=stored(phase, boot_id=boot_id), boot_id="boot 2")
    assert await charger.do(firmware, SETTLE) == ["activate in activating"]
    assert (charger.kept["phase"], charger.kept["tries"]) == ("activated", 2)


async def test_without_names_of_boots_a_slot_that_does_not_run_is_started_again(charger: Charger) -> None:
    assert await charger.do(charger.start(state=stored("activated")), SETTLE) == ["activate in activating"]


@pytest.mark.parametrize(
    ("phase", "boot_id"),
    [
        ("activated", "boot 1"),
        ("installing", "boot 2"),
        ("trial", "boot 1"),
        ("trial", "boot 2"),
        ("rolling_back", "boot 1"),
        ("rolling_back", "boot 2"),
    ],
)
async def test_old_firmware_that_runs_again_is_confirmed_and_reports_the_failure(
    charger: Charger, phase: str, boot_id: str
) -> None:
    charger.file.write_bytes(IMAGE)
    firmware = charger.start(state=stored(phase, boot_id=boot_id), boot_id="boot 2")
    assert await charger.do(firmware, SETTLE) == [f"confirm in {phase}", f"InstallationFailed in {phase}"]
    assert charger.events == [("fell_back", {"slot": "a"})]
    assert (charger.state.exists(), charger.file.exists()) == (False, False)


@pytest.mark.parametrize("text", ["", "[]", '{"request_id": 7}', '{"request_id": 6, "phase": "trial", "old": "a"}'])
async def test_an_update_without_its_state_has_failed(charger: Charger, text: str) -> None:
    """Nothing is confirmed or started: the boot loader decides what runs next."""
    charger.runs = "b"
    charger.accepted.set()
    charger.file.write_bytes(IMAGE)
    if text:
        charger.state.write_text(text)
    charger.log.clear()
    firmware = charger.start()
    firmware.command(SETTLE)
    await firmware.finished()
    assert [each.partition(" ")[0] for each in charger.log] == ["InstallationFailed"]
    assert charger.events == [("step_failed", {"error": "no state of this update is stored"})]
    assert (charger.state.exists(), charger.file.exists()) == (False, False)
