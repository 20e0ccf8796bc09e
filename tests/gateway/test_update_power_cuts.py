"""Power cuts at every write of a gateway's update: images, slots, and what the follower keeps (`update.json`,
`release.json`, `installed.json`, the repository's metadata)."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.io.ota.maker import HARDWARE, Maker
from tests.power_cuts import PowerCuts, laid_out
from tests.station.device.file_server import FileServer, file_server
from v2g.observe import Observe
from v2g.ota.release import RepositoryConfig
from v2g_gateway.config import UpdateConfig
from v2g_gateway.update import Updater

OLD, NEW = b"old", b"new"


class NothingToDoError(Exception):
    """The gateway has looked for releases, and goes on as it is."""


class Gateway:
    """A gateway over restarts; `answers` is whether the back end does."""

    def __init__(self, folder: Path, maker: Maker, server: FileServer, *, answers: bool) -> None:
        self.folder, self._answers = folder, answers
        self.started: list[bytes] = []
        self.events: list[str] = []
        self.restarts = asyncio.Event()
        releases = RepositoryConfig(root=maker.root, url=f"{server.url}/releases", hardware=HARDWARE)
        self._config = UpdateConfig(
            releases=releases, slots=folder / "slots", every_s=0, window="00:00-00:00", confirm_s=0.001
        )

    async def power_on(self) -> bool:
        """Run until it restarts (True), or has nothing to do."""
        looks = iter((0, 0))

        def utc_ms() -> int:
            for each in looks:
                return each
            raise NothingToDoError

        async def answers() -> bool:
            return self._answers

        self.restarts.clear()
        updater = Updater(self._config, self.folder / "update", answers, utc_ms, self._observe)
        self.started.append(self.image("runs"))
        tasks = [asyncio.ensure_future(each) for each in (updater.run(), self.restarts.wait())]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks[0] in done:
            assert isinstance(error := tasks[0].exception(), NothingToDoError), error
        return tasks[1] in done

    async def live(self) -> None:
        """Run until it has nothing to do."""
        for _ in range(9):
            if not await self.power_on():
                return
        raise AssertionError("it restarts for ever")

    def image(self, name: str) -> bytes:
        path = self.folder / "slots" / name
        return (self.folder / "slots" / (path.read_text() if path.exists() else "a") / "image").read_bytes()

    def _observe(self, event: Observe) -> None:
        self.events.append(event.name)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Maker, FileServer]]:
    with file_server() as server:
        (tmp_path / "maker").mkdir()
        maker = Maker(tmp_path / "maker")
        maker.release("gateway-1.img", 1, image=NEW)
        for each in maker.repository.folder.rglob("*.*"):
            server.files[f"/releases/{each.relative_to(maker.repository.folder)}"] = each.read_bytes()
        yield maker, server


@pytest.mark.requirement("R133", "R135", "R140")
@pytest.mark.parametrize("answers", [True, False])
async def test_a_power_cut_at_any_write_leaves_a_whole_slot_and_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: tuple[Maker, FileServer], answers: bool
) -> None:
    """What was confirmed stays, even if the back end is silent then; what fails is left alone for good."""
    (slot := tmp_path / "gateway" / "slots" / "a").mkdir(parents=True)
    (slot / "image").write_bytes(OLD)
    gateway = Gateway(tmp_path / "gateway", *site, answers=answers)
    monkeypatch.setattr(os, "kill", lambda *_: gateway.restarts.set())
    cuts = PowerCuts(gateway.folder)
    with cuts.recording(monkeypatch):
        await gateway.live()
    assert gateway.events == ["update_began", "update_confirmed" if answers else "update_failed"]
    assert len(cuts.states) > 60
    ends, seen = set(), set()
    for number, state in enumerate(cuts.states):
        for name in ("update.json", "release.json", "installed.json"):
            assert json.loads(state.get(f"update/{name}", b"{}")) is not None, number
        whole = frozenset(each for each in state.items() if not Path(each[0]).name.startswith((".", "tmp")))
        if whole in seen or (not answers and "update/update.json" not in state):
            continue  # but for incomplete files, or as in the other case
        seen.add(whole)
        folder = laid_out(state, tmp_path / str(number))
        gateway = Gateway(folder, *site, answers=answers and "slots/active" not in state)
        await gateway.live()
        assert set(gateway.started) <= {OLD, NEW}, number
        failed, end = "update_failed" in gateway.events, gateway.image("active")
        if "slots/active" in state:
            assert gateway.started == [NEW], number
        elif answers:
            assert gateway.started.count(NEW) <= 1, (number, gateway.started)
            assert end == (OLD if failed else NEW), number
        else:
            assert (gateway.started.count(NEW) <= 1, end) == (True, OLD), (number, gateway.started)
        before = len(gateway.started)
        await gateway.live()
        assert gateway.started[before:] == [end], number
        ends.add((end, failed))
    assert ends == ({(NEW, False), (OLD, True)} if answers else {(OLD, True), (OLD, False)})
