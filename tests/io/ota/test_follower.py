"""What follows releases for a program: what it keeps, decides and reports at each step, with slots in folders."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.io.ota.maker import HARDWARE, Maker
from tests.station.device.file_server import FileServer, file_server
from tests.waiting import until
from v2g.errors import InstallError, StoreError
from v2g.io.ota.follower import Follower
from v2g.io.ota.installer import CommandsConfig
from v2g.io.ota.opening import ReleasesConfig
from v2g.io.runtime.supervision import cancel_tasks
from v2g.observe import Observe
from v2g.ota.release import RepositoryConfig

pytestmark = pytest.mark.requirement("R133", "R135", "R139")

TRIAL: Final = {"phase": "trial", "number": 7, "old": "a"}


class Program:
    """A program with slots, of which `runs` runs, and what it follows: a maker's web server."""

    def __init__(self, folder: Path, server: FileServer) -> None:
        self.folder, self.server = folder / "update", server
        self.slots, self.state = folder / "slots", self.folder / "update.json"
        for slot, image in (("a", b"old"), ("b", b"")):
            (self.slots / slot).mkdir(parents=True)
            (self.slots / slot / "image").write_bytes(image)
        (folder / "maker").mkdir()
        self.maker = Maker(folder / "maker")
        self.restarts = asyncio.Event()
        self.events: list[Observe] = []
        self.now_ms = 0

    def follower(self, runs: str = "a", *, state: dict[str, Any] | None = None, **changes: Any) -> Follower:
        """Start the program, with the state that the one before has left."""
        (self.slots / "active").write_text(runs)
        self.folder.mkdir(exist_ok=True)
        if state is not None:
            self.state.write_text(json.dumps(state))
        releases = RepositoryConfig(root=self.maker.root, url=f"{self.server.url}/releases", hardware=HARDWARE)
        values: dict[str, Any] = {"releases": releases, "slots": self.slots, "window": "00:00-00:00"} | changes
        return Follower(ReleasesConfig(**values), self.folder, lambda: self.now_ms, self.events.append)

    def release(self, number: int) -> None:
        self.maker.release(f"{number}.img", number, image=b"image %d" % number)
        self.mirror()

    def mirror(self) -> None:
        for each in self.maker.repository.folder.rglob("*.*"):
            name = f"/releases/{each.relative_to(self.maker.repository.folder)}"
            self.server.files[name] = each.read_bytes()

    async def until_restart(self, step: Coroutine[Any, Any, Any]) -> None:
        """Run a step, which asks for a restart and never returns."""
        task = asyncio.ensure_future(step)
        restart = asyncio.ensure_future(self.restarts.wait())
        await asyncio.wait([task, restart], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
        assert not task.done(), task
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self.restarts.clear()

    @property
    def kept(self) -> dict[str, Any]:
        """What is kept, without what is as at first."""
        found: dict[str, Any] = json.loads(self.state.read_text())
        return {name: value for name, value in found.items() if value not in ("idle", "", 0, [])}

    def slot(self, name: str) -> str:
        path = self.slots / name
        return path.read_text() if path.exists() else ""

    def noted(self) -> list[tuple[str, dict[str, Any]]]:
        assert {each.stage for each in self.events} <= {"firmware"}
        return [(each.name, dict(each.data)) for each in self.events]


@pytest_asyncio.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """What waits for a restart that does not come fails."""
    loop = asyncio.get_running_loop()
    late = loop.call_later(10, lambda: [each.cancel() for each in asyncio.all_tasks(loop)])
    yield
    late.cancel()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    with file_server() as server:
        made = Program(tmp_path, server)

        def kill(pid: int, number: int) -> None:
            assert (pid, number) == (os.getpid(), signal.SIGTERM)
            made.restarts.set()

        monkeypatch.setattr(os, "kill", kill)
        yield made


async def works() -> str:
    return ""


async def silent() -> str:
    return "nobody answers"


def failing(**changes: str) -> dict[str, Any]:
    """Commands of a device in slot b, some of which fail."""
    steps = dict.fromkeys(("install", "activate", "confirm", "roll_back"), ("true",))
    commands = {"running": ("echo", "b")} | steps | {name: (*word.split(),) for name, word in changes.items()}
    return {"slots": None, "commands": CommandsConfig(**commands)}


# -- at the start


@pytest.mark.parametrize("phase", ["installing", "trial"])
async def test_starts_of_what_is_on_trial_are_counted_and_the_fourth_goes_back(program: Program, phase: str) -> None:
    follower = program.follower("b", state=TRIAL | {"phase": phase, "failed": [3]})
    for tries in (1, 2, 3):
        await follower.start()
        assert program.kept == TRIAL | {"tries": tries, "failed": [3]}
        assert await follower.on_trial()
    await program.until_restart(follower.start())
    assert program.kept == TRIAL | {"tries": 4, "failed": [3], "why": "it restarts by itself"}


@pytest.mark.parametrize(
    ("runs", "state"),
    [("a", TRIAL), ("a", TRIAL | {"phase": "installing"}), ("b", {"phase": "healthy", "old": "a"}), ("b", {})],
)
async def test_starts_of_what_is_not_on_trial_are_not_counted(
    program: Program, runs: str, state: dict[str, Any]
) -> None:
    follower = program.follower(runs, state=state)
    await follower.start()
    assert program.kept == {name: value for name, value in state.items() if value != "idle"}
    assert not await follower.on_trial()


async def test_what_is_only_being_installed_is_not_on_trial(program: Program) -> None:
    assert not await program.follower("b", state=TRIAL | {"phase": "installing"}).on_trial()


async def test_it_goes_back_on_demand_and_keeps_why_in_short(program: Program) -> None:
    follower = program.follower("b", state=TRIAL)
    (program.slots / "active").write_text("a")
    await program.until_restart(follower.go_back("x" * 300))
    assert program.kept == TRIAL | {"why": "x" * 200}
    assert program.state.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", '{"phase": 7}', "\0"])
async def test_a_state_that_is_broken_is_none(program: Program, text: str) -> None:
    follower = program.follower("b")
    program.state.write_text(text)
    assert not await follower.on_trial()
    await follower.settle(silent)
    assert program.events == []


async def test_its_folder_is_made_private_and_one_that_cannot_be_is_named(program: Program, tmp_path: Path) -> None:
    program.folder = tmp_path / "new" / "update"
    program.folder.parent.mkdir()
    before, program.folder = program.folder, tmp_path / "new"
    config = ReleasesConfig(
        releases=RepositoryConfig(root=program.maker.root, url="http://x", hardware=HARDWARE), slots=program.slots
    )
    Follower(config, before / "deep", lambda: 0, program.events.append)
    Follower(config, before / "deep", lambda: 0, program.events.append)
    assert (before / "deep").stat().st_mode & 0o777 == 0o700
    (before / "file").touch()
    with pytest.raises(StoreError, match=r"file/update: Not a directory"):
        Follower(config, before / "file" / "update", lambda: 0, program.events.append)


# -- settling


async def test_what_was_never_updated_is_confirmed_at_each_start(program: Program) -> None:
    follower = program.follower("b")
    (program.slots / "active").unlink()
    await follower.settle(silent)
    assert (program.slot("active"), program.events, program.state.exists()) == ("b", [], False)


async def test_a_confirmation_that_fails_is_reported_and_the_program_goes_on(program: Program) -> None:
    await program.follower(**failing(confirm=f"/bin/sh -c echo${{IFS}}{'x' * 300};exit${{IFS}}1")).settle(silent)
    ((name, data),) = program.noted()
    assert (name, len(data["error"])) == ("step_failed", 200)
    assert data["error"].startswith("confirm: /bin/sh exited with code 1: xxx")


async def test_an_installation_that_was_interrupted_is_no_failure(program: Program) -> None:
    state = {"phase": "installing", "number": 7, "old": "a", "failed": [3], "silent": [5]}
    await program.follower(state=state).settle(silent)
    assert (program.kept, program.events) == ({"failed": [3], "silent": [5]}, [])


async def test_what_works_is_confirmed(program: Program) -> None:
    follower = program.follower("b", state=TRIAL | {"failed": [3], "silent": [7]})
    (program.slots / "active").write_text("a")
    program.release(7)
    (program.folder / "release.json").write_text(
        json.dumps({"name": "7.img", "length": 7, "digest": "", "facts": {"number": 7, "hardware": [HARDWARE]}})
    )
    await follower.settle(works)
    assert program.noted() == [("update_confirmed", {"number": 7})]
    assert (program.kept, program.slot("active")) == ({"failed": [3], "silent": [7]}, "b")
    assert follower.installed() == Observe(
        "firmware", "installed", {"hardware": HARDWARE, "version": "7.img", "number": 7, "failed": None}
    )


async def test_it_is_asked_again_until_it_works(program: Program) -> None:
    asked: list[dict[str, Any]] = []

    async def problem() -> str:
        asked.append(program.kept)
        return "not yet" if len(asked) < 2 else ""

    await program.follower("b", state=TRIAL).settle(problem)
    assert asked == [TRIAL, TRIAL]
    assert program.noted() == [("update_confirmed", {"number": 7})]


async def test_what_does_not_work_in_time_goes_back(program: Program) -> None:
    follower = program.follower("b", state=TRIAL, confirm_s=0.01)
    await program.until_restart(follower.settle(silent))
    assert program.kept == TRIAL | {"why": "after 0.01 s: nobody answers"}

    async def hangs() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    follower = program.follower("b", state=TRIAL, confirm_s=0.01)
    await program.until_restart(follower.settle(hangs))
    assert program.kept == TRIAL | {"why": "after 0.01 s: it does not work"}
    assert program.events == []


async def test_what_has_worked_before_a_power_cut_is_confirmed_without_another_look(program: Program) -> None:
    await program.follower("b", state=TRIAL | {"phase": "healthy"}).settle(silent)
    assert program.noted() == [("update_confirmed", {"number": 7})]


async def test_that_it_works_is_kept_before_it_is_confirmed(program: Program, tmp_path: Path) -> None:
    """A power cut during the confirmation does not make the release a failed one."""
    program.folder.mkdir()
    copy = failing(confirm=f"cp {program.state} {tmp_path / 'then'}")
    await program.follower(state=TRIAL, **copy).settle(works)
    assert json.loads((tmp_path / "then").read_text())["phase"] == "healthy"


async def test_what_cannot_be_confirmed_goes_back(program: Program) -> None:
    follower = program.follower(state=TRIAL, **failing(confirm="false", roll_back="/bin/sh -c kill${IFS}-0${IFS}$$"))
    task = asyncio.ensure_future(follower.settle(works))
    await until(lambda: "why" in program.kept)
    await cancel_tasks(task)
    assert program.kept == TRIAL | {"why": "confirm: false exited with code 1: "}


@pytest.mark.parametrize("phase", ["trial", "healthy"])
async def test_a_trial_without_a_verdict_is_repeated_and_the_third_is_a_failure(program: Program, phase: str) -> None:
    state = TRIAL | {"phase": phase, "failed": [3], "silent": [5, 6]}
    await program.follower(state=state).settle(silent)
    assert program.kept == {"failed": [3], "silent": [5, 6, 7]}
    await program.follower(state=TRIAL | {"failed": [3], "silent": [6, 7]}).settle(silent)
    await program.follower(state=TRIAL | {"failed": [3], "silent": [5, 6, 7]}).settle(silent)
    assert program.kept == {"failed": [3], "silent": [6, 7, 7]}
    assert program.noted() == [("update_interrupted", {"number": 7})] * 3
    await program.follower(state=TRIAL | {"failed": [3], "silent": [6, 7, 7]}).settle(silent)
    assert program.noted()[3:] == [("update_failed", {"number": 7, "reason": "it did not start"})]
    assert program.kept == {"failed": [3, 7], "silent": [6, 7, 7]}


async def test_a_reason_is_a_verdict_and_the_last_hundred_failures_are_kept(program: Program) -> None:
    failed = list(range(100, 200))
    follower = program.follower(state=TRIAL | {"why": "no good", "failed": failed})
    await follower.settle(silent)
    assert program.noted() == [("update_failed", {"number": 7, "reason": "no good"})]
    assert program.kept == {"failed": [*failed[1:], 7]}
    assert follower.installed().data["failed"] == 199


# -- looking


async def test_the_newest_release_is_installed_and_tried(program: Program) -> None:
    program.release(7)
    program.release(8)
    asked: list[tuple[int, bool]] = []

    async def turn(number: int) -> bool:
        asked.append((number, (program.folder / "image").exists()))
        return True

    state = {"failed": [3], "silent": [5], "tries": 2}
    await program.until_restart(program.follower(state=state).look(turn))
    assert asked == [(8, False)]
    assert program.noted() == [("update_began", {"number": 8})]
    assert program.kept == {"phase": "trial", "number": 8, "old": "a", "failed": [3], "silent": [5]}
    assert (program.slots / "b" / "image").read_bytes() == b"image 8"
    assert (program.slot("runs"), program.slot("once")) == ("a", "b")


async def test_what_goes_back_by_commands_is_kept_before_the_device_restarts(program: Program, tmp_path: Path) -> None:
    program.release(7)
    copy = f"cp {program.state} {tmp_path / 'then'}"
    way = failing(install=f"cp {program.state} {tmp_path / 'before'}", activate=copy, roll_back="back now")
    task = asyncio.ensure_future(program.follower(state={"tries": 2}, **way).look())
    while not (tmp_path / "then").exists() or not (tmp_path / "then").read_text():
        assert not task.done(), program.events
        await asyncio.sleep(0.01)
    await cancel_tasks(task)
    then = json.loads((tmp_path / "then").read_text())
    assert (then["phase"], then["number"], then["old"], then["tries"]) == ("trial", 7, "b", 0)
    assert then["back"] == [["echo", "b"], ["back", "now"]]
    before = json.loads((tmp_path / "before").read_text())
    assert (before["phase"], before["number"], before["old"], before["tries"]) == ("installing", 7, "b", 0)


async def looked(program: Program, **changes: Any) -> list[str]:
    """Look once, when nothing is to be installed; return what was asked of the server for it."""
    before = len(program.server.paths)
    await program.follower(**changes).look()
    return program.server.paths[before:]


async def test_what_has_failed_or_is_not_newer_is_left_alone(program: Program) -> None:
    program.release(7)
    assert await looked(program, state={"failed": [7]})
    (program.folder / "installed.json").write_text("7")
    assert await looked(program)
    assert (program.events, program.slot("once")) == ([], "")

    async def turn(_number: int) -> bool:
        return False

    (program.folder / "installed.json").unlink()
    await program.follower(state={}).look(turn)
    assert (program.events, program.slot("once"), (program.folder / "image").exists()) == ([], "", False)


@pytest.mark.parametrize("phase", ["trial", "healthy"])
async def test_while_a_trial_is_not_settled_nothing_is_looked_for(program: Program, phase: str) -> None:
    program.release(7)
    assert await looked(program, state=TRIAL | {"phase": phase}) == []


@pytest.mark.parametrize(
    ("zone", "when", "opens"),
    [
        ("UTC", "2026-03-29T12:00Z", False),
        ("<+10>-10", "2026-03-29T12:00Z", True),
        ("<-05>5", "2026-03-29T12:00Z", False),
        ("<-10>10", "2026-03-29T08:00Z", True),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-28T20:30Z", False),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T20:30Z", True),
    ],
)
async def test_the_window_is_one_of_local_time(
    program: Program, monkeypatch: pytest.MonkeyPatch, zone: str, when: str, opens: bool
) -> None:
    """At 20:30 UTC it is 22:30 in Berlin from the day on which summer time begins."""
    program.now_ms = round(datetime.fromisoformat(when).timestamp() * 1000)
    program.release(7)
    (program.folder).mkdir()
    (program.folder / "installed.json").write_text("7")
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert bool(await looked(program, window="22:00-06:00")) == opens
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_what_the_repository_or_the_installer_refuses_is_reported_in_short(program: Program) -> None:
    program.release(7)
    program.server.files.clear()
    await program.follower().look()
    program.mirror()
    fails = f"/bin/sh -c echo${{IFS}}{'x' * 300};exit${{IFS}}1"
    await program.follower(state={}, **failing(install=fails)).look()
    names = [name for name, _ in program.noted()]
    assert names == ["update_refused", "update_began", "update_refused"]
    refused = program.noted()[2][1]["error"]
    assert (refused.startswith("install: /bin/sh exited with code 1: xxx"), len(refused)) == (True, 200)
    assert program.kept["phase"] == "installing", "the start after that settles it"


async def test_a_folder_that_fails_is_named(program: Program) -> None:
    program.release(7)
    follower = program.follower()

    (program.folder / "image").mkdir()  # in its way

    with pytest.raises(StoreError, match="update: Is a directory"):
        await follower.look()


async def test_a_look_that_is_cancelled_ends_its_download(program: Program) -> None:
    program.release(7)
    follower = program.follower()

    def drip(_method: str, path: str) -> None:
        program.server.drips_s = 0.05 if path.endswith("7.img") else 0

    program.server.judge = drip
    task = asyncio.ensure_future(follower.look())
    while "/releases/targets/7.img" not in program.server.paths:
        assert not task.done(), program.events
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.get_running_loop().shutdown_default_executor()
    assert not (program.folder / "image").exists()


async def test_an_installer_that_does_not_say_what_runs_is_an_error(program: Program) -> None:
    with pytest.raises(InstallError, match="running: /nowhere"):
        await program.follower(state=TRIAL, **failing(running="/nowhere")).start()


# -- what is installed


async def test_what_is_installed_has_the_newest_failure_above_it(program: Program) -> None:
    follower = program.follower(state={"failed": [3, 9, 8, 5]})
    expected = {"hardware": HARDWARE, "version": "", "number": 0, "failed": 9}
    assert follower.installed().data == expected
    (program.folder / "installed.json").write_text("9")
    assert follower.installed().data == expected | {"number": 9, "failed": None}
    (program.folder / "installed.json").write_text("of tomorrow")
    assert follower.installed().data == expected
