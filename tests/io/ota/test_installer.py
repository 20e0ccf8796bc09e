"""Installers: what each step leaves in folders, which commands it runs, and what their ends mean."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.waiting import until
from v2g.errors import InstallError
from v2g.io.ota.folder_installer import FolderInstaller
from v2g.io.ota.installer import CommandInstaller, CommandsConfig, Installer, RaucConfig, RaucInstaller
from v2g.io.ota.opening import InstallerConfig, open_installer

pytestmark = pytest.mark.requirement("R133", "R135")


class Slots:
    """A device with slots, and how often it has restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.restarts = folder / "slots", 0
        (folder / "image").write_bytes(b"new")
        self.new = folder / "image"
        self.installer = FolderInstaller(self.folder, self.restart)

    def restart(self) -> None:
        self.restarts += 1

    def files(self) -> dict[str, str]:
        return {each.name: each.read_text() for each in self.folder.iterdir() if each.is_file()}


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path)


async def test_a_device_that_was_never_updated_runs_the_first_slot(slots: Slots) -> None:
    assert sorted(each.name for each in slots.folder.iterdir()) == ["a", "b"]
    assert slots.installer.image() is None
    (slots.folder / "a" / "image").write_bytes(b"old")
    assert slots.installer.image() == slots.folder / "a" / "image"
    assert await slots.installer.running() == "a"
    assert slots.files() == {"runs": "a"}


async def test_confirmed_before_its_first_boot_is_the_first_slot(slots: Slots) -> None:
    await slots.installer.confirm()
    assert slots.files() == {"active": "a"}


async def test_each_switch_restarts_the_device(slots: Slots) -> None:
    await slots.installer.install(slots.new)
    await slots.installer.activate()
    assert (slots.restarts, slots.files()) == (1, {"runs": "a", "once": "b"})
    assert slots.installer.boot() == "b"
    assert slots.installer.image() == slots.folder / "b" / "image"
    await slots.installer.roll_back()
    assert (slots.restarts, slots.files(), slots.installer.boot()) == (2, {"runs": "b"}, "a")


async def test_a_trial_that_has_not_begun_is_called_off(slots: Slots) -> None:
    await slots.installer.install(slots.new)
    await slots.installer.activate()
    await slots.installer.roll_back()
    assert (slots.files(), slots.installer.boot()) == ({"runs": "a"}, "a")


async def test_what_the_boot_loader_tries_runs_and_is_over_at_the_next_boot(slots: Slots) -> None:
    """`deploy/trial.py` has taken `once` away."""
    (slots.folder / "tried").write_text("b")
    assert (slots.installer.boot(), slots.files()) == ("b", {"runs": "b"})
    assert slots.installer.boot() == "a"


async def test_back_and_forth_each_slot_takes_its_turn(slots: Slots) -> None:
    for expected in ("b", "a", "b"):
        await slots.installer.install(slots.new)
        await slots.installer.activate()
        assert slots.installer.boot() == expected
        await slots.installer.confirm()
        assert (slots.installer.boot(), slots.files()) == (expected, {"runs": expected, "active": expected})


async def test_a_slot_that_does_not_hold_what_was_written_keeps_its_image(
    slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slots.folder / "b" / "image").write_bytes(b"before")
    monkeypatch.setattr(shutil, "copyfile", lambda _source, target: target.write_bytes(b"torn"))
    with pytest.raises(InstallError, match="slot b does not contain") as raised:
        await slots.installer.install(slots.new)
    assert raised.value.verification
    assert (slots.folder / "b" / "image").read_bytes() == b"before"


async def test_an_image_that_is_gone_is_named(slots: Slots) -> None:
    slots.new.unlink()
    with pytest.raises(InstallError, match="slot b: No such file") as raised:
        await slots.installer.install(slots.new)
    assert not raised.value.verification


async def test_opened_it_starts_what_is_on_trial(slots: Slots) -> None:
    await slots.installer.install(slots.new)
    await slots.installer.activate()
    again = open_installer(InstallerConfig(slots=slots.folder), restart=slots.restart)
    assert (await again.running(), slots.files()) == ("b", {"runs": "b"})
    await again.roll_back()
    assert slots.restarts == 2


# -- a device's own commands


def python(code: str, *words: str) -> tuple[str, ...]:
    return sys.executable, "-I", "-S", "-c", f"import os, sys; {code}", *words


def commands(**changes: Any) -> CommandInstaller:
    """Commands of a device."""
    nothing = ("true",)
    steps: dict[str, Any] = dict.fromkeys(("running", "install", "activate", "confirm", "roll_back"), nothing)
    return CommandInstaller(CommandsConfig(**(steps | changes)))


async def test_the_devices_own_commands_get_the_image_and_no_shell(tmp_path: Path) -> None:
    image = tmp_path / "an image; touch gone"
    image.write_bytes(b"new")
    found = commands(running=("echo", "a"), install=("cp", "{image}", str(tmp_path / "slot")))
    assert await found.running() == "a"
    await found.install(image)
    assert (tmp_path / "slot").read_bytes() == b"new"


async def test_a_command_that_changes_its_folder_finds_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program whose configuration is named by a relative path has such a path of the image."""
    (tmp_path / "image").write_bytes(b"new")
    monkeypatch.chdir(tmp_path)
    await commands(install=("env", "-C", "/", "cp", "{image}", str(tmp_path / "slot"))).install(Path("image"))
    assert (tmp_path / "slot").read_bytes() == b"new"


async def test_each_step_has_a_command_of_its_own(tmp_path: Path) -> None:
    steps = {each: ("cp", "/dev/null", str(tmp_path / each)) for each in ("activate", "confirm", "roll_back")}
    found = commands(running=("echo", "b"), image=tmp_path, **steps)
    for number, step in enumerate((found.activate, found.confirm, found.roll_back), 1):
        await step()
        assert sorted(each.name for each in tmp_path.iterdir()) == list(steps)[:number]
    assert found.back() == (("echo", "b"), steps["roll_back"])
    assert found.image() == tmp_path
    assert commands().image() is None


@pytest.mark.parametrize("printed", ["", " ", "slot a"])
async def test_a_slot_without_a_name_is_an_error(printed: str) -> None:
    with pytest.raises(InstallError, match="echo printed no slot name"):
        await commands(running=("echo", printed)).running()


async def test_a_warning_beside_the_name_of_a_slot_is_none() -> None:
    """As U-Boot's `fw_printenv` and RAUC print it: no update began, and none on trial was settled."""
    warned = "print('Warning: Bad CRC, using default environment', file=sys.stderr)"
    assert await commands(running=python(f"print('b'); {warned}")).running() == "b"
    status = python(f"""print('{{"booted": "b"}}'); {warned}""")
    assert await RaucInstaller(RaucConfig(program=status)).running() == "b"


@pytest.mark.parametrize("step", ["running", "activate", "confirm", "roll_back"])
async def test_a_command_that_is_not_there_is_named(step: str) -> None:
    with pytest.raises(InstallError, match=f"{step}: /nowhere: No such file or directory"):
        await getattr(commands(**{step: ("/nowhere",)}), step)()


@pytest.mark.parametrize(("code", "verification"), [(65, True), (1, False), (66, False)])
async def test_a_command_that_fails_says_the_last_that_it_printed(code: int, verification: bool) -> None:
    printed = f"print('first', flush=True); print('bad checksum' + 300 * 'x', file=sys.stderr); sys.exit({code})"
    with pytest.raises(InstallError) as raised:
        await commands(install=python(printed)).install(Path("/image"))
    said = "bad checksum".ljust(200, "x")
    assert str(raised.value) == f"install: {sys.executable} exited with code {code}: {said}"
    assert raised.value.verification == verification


async def test_what_raucs_command_calls_the_error_is_what_is_said() -> None:
    printed = "print('LastError: no slot\\n' 'Installing failed'); sys.exit(1)"
    with pytest.raises(InstallError, match=r"code 1: LastError: no slot$"):
        await commands(install=python(printed)).install(Path("/image"))


async def test_of_what_a_command_prints_the_last_4_kib_are_read() -> None:
    name = await commands(running=python("print('x' * 5000)")).running()
    assert name == "x" * 4095, "and the end of the line"
    assert await commands(running=python(r"sys.stdout.buffer.write(b'\xff')")).running() == "\ufffd"


async def test_a_command_has_no_input(tmp_path: Path) -> None:
    assert await commands(running=python("print('nothing' + sys.stdin.read())")).running() == "nothing"


async def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """It would hold its output open for a minute."""
    pid = tmp_path / "pid"
    code = "import signal, time; [signal.signal(each, signal.SIG_IGN) for each in (1, 2, 10, 12, 15)]; p = os.fork(); "
    code += f"open({str(pid)!r} + '.' * (p > 0), 'w').write(str(os.getpid())); time.sleep(60)"
    async with asyncio.timeout(20):
        with pytest.raises(InstallError, match=f"activate: {sys.executable} did not finish within 2 s"):
            await commands(activate=python(code), timeout_s=2.0).activate()
        left = Path(f"/proc/{pid.read_text()}/cmdline")
        await until(lambda: not left.exists() or not left.read_bytes())


async def test_a_command_of_a_step_that_is_cancelled_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"open({str(pid)!r}, 'w').write(str(os.getpid())); import time; time.sleep(60)"
    task = asyncio.ensure_future(commands(activate=python(code)).activate())
    async with asyncio.timeout(60):
        await until(lambda: pid.exists() and pid.read_text())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not Path(f"/proc/{pid.read_text()}").exists()


# -- RAUC: its command is played here, tests/station/device has the real one

STATUS: Final = 'print("warning"); print(\'{"compatible": "x", "booted": "b"}\')'


class Rauc:
    """A `rauc` that notes its arguments, and fails at some."""

    def __init__(self, folder: Path, *, fails: str = "", status: str = STATUS) -> None:
        self._log = folder / "log"
        note = f"log = open({str(self._log)!r}, 'a'); print(*sys.argv[1:], file=log)"
        fail = f"'{fails}' and '{fails}' in sys.argv and sys.exit(65)"
        shown = f"'--output-format=json' in sys.argv and exec({status!r})"
        self.config = RaucConfig(program=python(f"{note}; {fail}; {shown}"), restart=python(note, "restart"))
        self.installer = open_installer(InstallerConfig(rauc=self.config), restart=lambda: None)

    @property
    def asked(self) -> list[str]:
        """The arguments so far."""
        return self._log.read_text().splitlines() if self._log.exists() else []


async def test_rauc_is_asked_for_each_step(tmp_path: Path) -> None:
    rauc = Rauc(tmp_path)
    installer: Installer = rauc.installer
    assert isinstance(installer, RaucInstaller)
    assert (await installer.running(), installer.image()) == ("b", None)
    await installer.install(Path("/i"))
    await installer.activate()
    await installer.confirm()
    await installer.roll_back()
    status = "status --output-format=json"
    back = ["status mark-bad booted", "status mark-active other", "restart"]
    activated = ["status mark-active other", "restart"]
    assert rauc.asked == [status, "info /i", "install /i", *activated, "status mark-good booted", *back]
    running, *commands = installer.back()
    assert [each[-2:] for each in (running, *commands)] == [
        tuple(status.split()), ("mark-bad", "booted"), ("mark-active", "other"), rauc.config.restart[-2:],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "fails", "says", "asked"),
    [
        ("activate", "mark-active", "activate: ", ["status mark-active other"]),
        ("confirm", "mark-good", "confirm: ", ["status mark-good booted"]),
        ("roll_back", "mark-bad", "roll_back: ", ["status mark-bad booted"]),
        ("running", "status", "running: ", ["status --output-format=json"]),
        ("activate", "restart", "activate: ", ["status mark-active other", "restart"]),
        ("roll_back", "restart", "roll_back: ", ["status mark-bad booted", "status mark-active other", "restart"]),
    ],
)
async def test_a_step_that_fails_is_the_last(
    tmp_path: Path, step: str, fails: str, says: str, asked: list[str]
) -> None:
    rauc = Rauc(tmp_path, fails=fails)
    if fails == "restart":
        code = rauc.config.restart[:-1]
        rauc.config = RaucConfig(program=rauc.config.program, restart=(*code[:-1], code[-1] + "; exit(1)", "restart"))
        rauc.installer = RaucInstaller(rauc.config)
    with pytest.raises(InstallError, match=f"^{says}"):
        await getattr(rauc.installer, step)()
    assert rauc.asked == asked


async def test_a_bundle_that_rauc_does_not_believe_fails_verification_and_is_not_installed(tmp_path: Path) -> None:
    rauc = Rauc(tmp_path, fails="info")
    with pytest.raises(InstallError, match=r"^install: ") as raised:
        await rauc.installer.install(Path("/i"))
    assert (raised.value.verification, rauc.asked) == (True, ["info /i"])
    with pytest.raises(InstallError, match=r"^install: "):
        await Rauc(tmp_path, fails="install").installer.install(Path("/i"))
    assert rauc.asked[1:] == ["info /i", "install /i"]


@pytest.mark.parametrize("status", ["", "print(7)", "print('{}')", 'print(\'{"booted": ""}\')'])
async def test_a_status_that_says_no_slot_is_an_error(tmp_path: Path, status: str) -> None:
    with pytest.raises(InstallError, match=f"running: {sys.executable} status: "):
        await Rauc(tmp_path, status=status or "0").installer.running()


def test_what_is_not_configured_is_as_raucs_manual_says() -> None:
    config = RaucConfig()
    assert (config.program, config.restart, config.timeout_s) == (("rauc",), ("systemctl", "reboot"), 900)


async def test_commands_are_opened_as_configured(tmp_path: Path) -> None:
    config = CommandsConfig(**dict.fromkeys(("running", "install", "activate", "confirm", "roll_back"), ("echo", "a")))
    assert config.timeout_s == 900
    found = open_installer(InstallerConfig(commands=config), restart=lambda: None)
    assert isinstance(found, CommandInstaller)
    assert await found.running() == "a"


async def test_package_slots_that_were_not_begun_say_so(tmp_path: Path) -> None:
    """By the commands of the package, without the socket that `init` makes."""
    (image := tmp_path / "image").write_bytes(b"package")
    image.with_name("release.json").write_text('{"name": "v2g-engine_1.deb"}')
    script = (sys.executable, "-I", str(Path(__file__).parents[3] / "deploy" / "packages.py"))
    steps = {each: (*script, each) for each in ("running", "activate", "confirm", "roll_back")}
    installer = CommandInstaller(CommandsConfig(install=(*script, "install", "{image}"), **steps))
    for step in (installer.running(), installer.install(image), installer.activate(), installer.roll_back()):
        with pytest.raises(InstallError, match=r"exited with code 1: /run/v2g_packages\.sock: "):
            await step
