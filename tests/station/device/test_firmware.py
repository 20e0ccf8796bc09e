"""New firmware in the charger: every step of an update, and a kill at each of them (L01)."""

import asyncio
import itertools
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.power_cuts import PowerCuts, laid_out
from tests.station.bench import Bench
from tests.station.device.file_server import FileServer, file_server
from tests.station.updates import IMAGE, update
from v2g.errors import InstallError
from v2g.io.ota.folder_installer import FolderInstaller
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g_station.blocks.firmware import Activate, CancelFirmware, ConfirmInstall, DownloadFirmware, Install
from v2g_station.device.firmware import FirmwareDevice, FirmwareState, UpdateConfig

WORK = (DownloadFirmware, Install, Activate, ConfirmInstall, CancelFirmware)
FINAL = {"Installed", "InstallationFailed", "InstallVerificationFailed", "DownloadFailed", "InvalidSignature"}


class Killed(BaseException):
    """The process is gone."""


class Slots(FolderInstaller):
    """Slots that count every step, may fail or be killed in it, and whose new firmware may not start."""

    starts = True
    fails: tuple[str, ...] = ()

    def __init__(self, folder: Path, restart: Callable[[], None], point: Callable[[], None]) -> None:
        super().__init__(folder, restart)
        self.point = point

    def back(self) -> tuple[tuple[str, ...], ...]:
        self.point()  # the state is stored next
        return super().back()

    def boot(self) -> Any:
        if not self.starts:
            (self.folder / "once").unlink(missing_ok=True)  # the boot loader has tried it, in vain
        return super().boot()

    async def _step(self, name: str, work: Any) -> None:
        self.point()
        if name in self.fails:
            raise InstallError(name, verification=name == "install")
        await work()
        self.point()

    async def install(self, image: Path) -> None:
        work = super().install
        await self._step("install", lambda: work(image))

    async def activate(self) -> None:
        await self._step("activate", super().activate)

    async def confirm(self) -> None:
        await self._step(f"confirm {await self.running()}", super().confirm)

    async def roll_back(self) -> None:
        await self._step("roll_back", super().roll_back)


class Device:
    """A charger with two slots: the station's core and the machine's part, over restarts. `kill_at` counts points."""

    def __init__(
        self, folder: Path, server: FileServer, *, kill_at: int = -1, accepts: bool = True, **config: Any
    ) -> None:
        server.files["/fw.bin"] = IMAGE
        self.folder, self.accepts = folder, accepts
        self.config = UpdateConfig(slots=folder / "slots", confirm_s=300.0 if accepts else 0.001, **config)
        self.kill_at, self.points = kill_at, itertools.count()
        self.boots = 0
        self.waits: list[float] = []
        self.slots = Slots(folder / "slots", lambda: None, self.point)
        self.bench = Bench()
        self.bench.commands.clear()
        self.firmware = self._start()
        assert update(self.bench, location=f"{server.url}/fw.bin", signature=None) == "Rejected"
        self.want = lambda **more: update(self.bench, location=f"{server.url}/fw.bin", **more)

    @property
    def busy(self) -> bool:
        """Whether an update is kept that has not ended."""
        return bool(self.bench.saved.get("firmware"))

    def point(self) -> None:
        """A place where the power may fail."""
        if next(self.points) == self.kill_at:
            raise Killed

    def _start(self) -> FirmwareDevice:
        self.boots += 1
        self.slots.boot()
        accepted = asyncio.Event()
        if self.accepts:
            accepted.set()
        return FirmwareDevice(
            self.config,
            lambda: self.folder,
            self.slots,
            notify=self.notify,
            accepted=lambda: accepted,
            context=ssl.create_default_context,
            observe=self.observe,
            boot_id=str(self.boots),
            pause=self.pause,
        )

    def observe(self, event: Observe) -> None:
        if event.name == "phase":  # it is stored
            self.point()

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)

    def notify(self, fact: Fact) -> None:
        self.point()
        self.bench.fact(fact)
        self.point()

    def restart(self) -> None:
        """Power fails, or the machine restarts: both parts begin anew from what they kept."""
        self.bench.commands.clear()
        self.firmware = self._start()
        self.bench.power_loss()

    async def live(self) -> list[str]:
        """Let everything happen until the end; return what the CSMS has received."""
        failed: list[Exception | Killed] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["exception"]))
        for _ in range(60):
            wanted = [each for each in self.bench.commands if isinstance(each, WORK)]
            self.bench.commands.clear()
            if not wanted:
                if not self.busy:
                    break
                self.restart()
                continue
            for each in wanted:
                self.firmware.command(each)
                await self.firmware.finished()
                if failed:
                    error = failed.pop()
                    if not isinstance(error, Killed):
                        raise error
                    self.restart()
                    break
        else:
            raise AssertionError("the update has no end")
        return [body["status"] for name, body in self.bench.log if name == "FirmwareStatusNotification"]

    @property
    def starts_next(self) -> bytes:
        """The firmware that the next power-on starts."""
        self.slots.starts = True
        image = self.slots.folder / self.slots.boot() / "image"
        return image.read_bytes() if image.exists() else b"old"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as found:
        yield found


async def test_signed_firmware_is_written_tried_and_confirmed(server: FileServer, tmp_path: Path) -> None:
    found = Device(tmp_path, server)
    assert found.want() == "Accepted"
    reported = await found.live()
    steps = ["Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting", "Installed"]
    assert reported == steps
    assert found.boots == 2
    assert found.starts_next == IMAGE
    assert not (tmp_path / "image").exists()


@pytest.mark.requirement("R133")
async def test_a_kill_at_any_step_ends_in_what_is_true(server: FileServer, tmp_path: Path) -> None:
    """Whatever the CSMS receives last is what the next power-on starts, and it is reported once."""
    for kill_at in itertools.count():
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        found = Device(folder, server, kill_at=kill_at)
        found.want()
        reported = await found.live()
        ended = [status for status in reported if status in FINAL]
        assert len(ended) == 1, (kill_at, reported)
        assert (ended == ["Installed"]) is (found.starts_next == IMAGE), (kill_at, reported)
        assert not found.busy
        if next(found.points) <= kill_at:
            break  # there was no such point any more
    assert kill_at > 15


@pytest.mark.requirement("R135")
@pytest.mark.parametrize("kill_at", range(0, 26, 3))
async def test_firmware_that_is_not_accepted_in_time_is_rolled_back(
    server: FileServer, tmp_path: Path, kill_at: int
) -> None:
    found = Device(tmp_path, server, kill_at=kill_at, accepts=False)
    found.want()
    assert (await found.live())[-1] == "InstallationFailed"
    assert found.starts_next == b"old"


@pytest.mark.requirement("R135")
async def test_firmware_that_does_not_start_is_reported_as_failed(server: FileServer, tmp_path: Path) -> None:
    found = Device(tmp_path, server)
    found.slots.starts = False
    found.want()
    assert (await found.live())[-2:] == ["InstallRebooting", "InstallationFailed"]
    assert found.starts_next == b"old"


@pytest.mark.parametrize(
    ("step", "status"), [("install", "InstallVerificationFailed"), ("activate", "InstallationFailed")]
)
async def test_a_step_that_fails_is_reported(server: FileServer, tmp_path: Path, step: str, status: str) -> None:
    found = Device(tmp_path, server)
    found.slots.fails = (step,)
    found.want()
    assert (await found.live())[-1] == status
    assert found.starts_next == b"old"


async def test_firmware_that_cannot_be_confirmed_is_rolled_back(server: FileServer, tmp_path: Path) -> None:
    found = Device(tmp_path, server)
    found.slots.fails = ("confirm b",)
    found.want()
    assert (await found.live())[-1] == "InstallationFailed"
    assert found.starts_next == b"old"


@pytest.mark.requirement("R135")
async def test_an_update_after_one_that_could_not_go_back_leaves_a_slot_that_starts(
    server: FileServer, tmp_path: Path
) -> None:
    found = Device(tmp_path, server, accepts=False)
    found.slots.fails = ("roll_back",)
    for starts in (True, False):
        found.slots.starts = starts
        found.want()
        assert (await found.live())[-1] == "InstallationFailed"
    assert (tmp_path / "slots/active").read_text() == "b"  # the image that does not start is in a


@pytest.mark.requirement("R135")
async def test_an_image_that_was_changed_after_its_check_is_not_installed(server: FileServer, tmp_path: Path) -> None:
    found = Device(tmp_path, server)
    found.want(install_s=3600)
    (wanted,) = [each for each in found.bench.commands if isinstance(each, DownloadFirmware)]
    found.bench.commands.clear()
    found.firmware.command(wanted)
    await found.firmware.finished()
    (tmp_path / "image").write_bytes(b"something else")
    found.bench.wait(3601)
    assert (await found.live())[-1] == "InstallVerificationFailed"
    assert found.starts_next == b"old"


async def test_an_image_that_is_not_there_is_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    found = Device(tmp_path, server)
    server.judge = lambda *_: 503
    update(found.bench, location=f"{server.url}/fw.bin")
    found.bench.commands.clear()
    found.firmware.command(DownloadFirmware(request_id=1, url=f"{server.url}/fw.bin", retries=2, retry_interval_s=9))
    await found.firmware.finished()
    assert server.asked == 3
    assert found.waits == [9, 9]
    assert [body["status"] for name, body in found.bench.log if name == "FirmwareStatusNotification"][-1] == (
        "DownloadFailed"
    )


async def test_an_image_without_end_is_not_taken(server: FileServer, tmp_path: Path) -> None:
    found = Device(tmp_path, server, most_mib=1)
    server.files["/fw.bin"] = bytes(1024 * 1024 + 1)
    found.want()
    assert (await found.live())[-1] == "DownloadFailed"
    assert not [path for path in tmp_path.iterdir() if "image" in path.name]


async def test_what_a_kill_has_left_of_an_image_is_removed(server: FileServer, tmp_path: Path) -> None:
    found = Device(tmp_path, server)
    (tmp_path / ".image.left").write_bytes(IMAGE)
    found.want()
    assert (await found.live())[-1] == "Installed"
    assert not (tmp_path / ".image.left").exists()


@pytest.mark.requirement("R133")
async def test_what_is_started_is_durable_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content, then name, then the switch: whatever a power cut leaves of the rest, a whole slot starts."""
    slots, image = tmp_path / "slots", tmp_path / "image"
    image.write_bytes(b"firmware 2")
    installer = FolderInstaller(slots, restart=lambda: None)
    installer.boot()
    synced: list[str] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        there = "named" if path.is_dir() and (slots / "b" / "image").exists() else "unnamed"
        switched = "switched" if (slots / "once").exists() else "as before"
        synced.append(f"{path.relative_to(tmp_path)} {there} {switched}")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    await installer.install(image)
    assert synced == ["slots/b/image.part unnamed as before", "slots/b named as before"]
    await installer.activate()
    assert synced[-1] == "slots named switched"
    assert all(each.endswith("as before") for each in synced[:-1])
    assert installer.boot() == "b"


@pytest.mark.requirement("R133")
@pytest.mark.parametrize("accepts", [True, False])
async def test_a_power_cut_at_any_write_leaves_a_whole_slot(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accepts: bool
) -> None:
    """Of a whole update, or one that is taken back: download, both slots, boot loader and state. The slot that starts
    next has the old image or the new one, whole; for good only one that was confirmed."""
    (old := (device := tmp_path / "device") / "slots" / "a" / "image").parent.mkdir(parents=True)
    old.write_bytes(b"old")
    found = Device(device, server, accepts=accepts)
    found.want()
    cuts = PowerCuts(device)
    with cuts.recording(monkeypatch):
        reported = await found.live()
    assert reported[-1] == ("Installed" if accepts else "InstallationFailed")
    assert len(cuts.states) > 30, len(cuts.states)
    for number, state in enumerate(cuts.states):
        folder = laid_out(state, tmp_path / str(number))
        starts = FolderInstaller(folder / "slots", restart=lambda: None)
        started = (starts.folder / starts.boot() / "image").read_bytes()
        assert started in (b"old", IMAGE), (number, sorted(state))
        permanent = (starts.folder / starts.boot() / "image").read_bytes()  # the trial is once
        assert permanent in ((b"old", IMAGE) if accepts else (b"old",)), (number, sorted(state))
        if "update.json" in state:
            assert msgspec.json.decode(state["update.json"], type=FirmwareState).request_id == 1
    assert permanent == (IMAGE if accepts else b"old")


@pytest.mark.requirement("R133", "R135")
async def test_a_power_cut_while_new_firmware_is_on_trial_ends_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes the power away whenever it runs does not run again."""
    (image := tmp_path / "image").write_bytes(IMAGE)
    installer = FolderInstaller(slots := tmp_path / "slots", restart=lambda: None)
    cuts = PowerCuts(slots)
    with cuts.recording(monkeypatch):
        installer.boot()
        await installer.install(image)
        await installer.activate()
        assert installer.boot() == "b"
        for number, state in enumerate(cuts.left()):
            assert FolderInstaller(laid_out(state, tmp_path / str(number)), restart=lambda: None).boot() == "a"


@pytest.mark.requirement("R135")
async def test_old_firmware_starts_even_if_the_new_one_was_confirmed_when_the_power_failed(tmp_path: Path) -> None:
    (image := tmp_path / "image").write_bytes(IMAGE)
    installer = FolderInstaller(tmp_path / "slots", restart=lambda: None)
    await installer.install(image)
    await installer.activate()
    assert installer.boot() == "b"
    await installer.confirm()
    await installer.roll_back()
    assert (installer.boot(), installer.boot()) == ("a", "a")


@pytest.mark.requirement("R135")
async def test_what_runs_is_confirmed_at_each_start_but_on_trial(server: FileServer, tmp_path: Path) -> None:
    """Boot loaders count the starts of firmware that nobody confirms, and then start the other."""
    found = Device(tmp_path, server)
    found.firmware.start()
    await found.firmware.finished()
    assert (tmp_path / "slots" / "active").read_text() == "a"
    (tmp_path / "slots" / "runs").write_text("b")
    (tmp_path / "update.json").write_bytes(msgspec.json.encode(FirmwareState(request_id=1, phase="trial", old="a")))
    found.firmware.start()
    await found.firmware.finished()
    assert (tmp_path / "slots" / "active").read_text() == "a"
    (tmp_path / "update.json").unlink()
    found.slots.fails = ("confirm b",)
    found.firmware.start()
    await found.firmware.finished()
    assert not found.busy
