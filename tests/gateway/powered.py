"""A gateway's follower of releases over restarts and power cuts, in this process."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.io.ota.maker import HARDWARE, Maker
from tests.station.device.file_server import FileServer, file_server
from v2g.io.ota.follower import Follower
from v2g.io.ota.opening import ReleasesConfig
from v2g.io.runtime.supervision import cancel_tasks
from v2g.observe import Observe
from v2g.ota.release import RepositoryConfig


class NothingToDoError(Exception):
    """The gateway has looked for releases, and goes on as it is."""


class Gateway:
    """A gateway; `answers` is whether the back end does, `way` its installer, `started` what the boot loader starts."""

    def __init__(
        self,
        folder: Path,
        maker: Maker,
        server: FileServer,
        way: dict[str, Any],
        started: Callable[[], bytes],
        *,
        answers: bool,
    ) -> None:
        self.folder, self.answers, self._started = folder, answers, started
        self.started: list[bytes] = []
        self.events: list[str] = []
        self.ends = asyncio.Event()
        """It restarts, or its power fails."""
        releases = RepositoryConfig(root=maker.root, url=f"{server.url}/releases", hardware=HARDWARE)
        self._config = ReleasesConfig(releases=releases, window="00:00-00:00", confirm_s=0.001, **way)

    async def power_on(self) -> bool:
        """Run until it restarts (True), or has nothing to do."""
        looks = iter((0, 0))

        def utc_ms() -> int:
            for each in looks:
                return each
            raise NothingToDoError

        async def problem() -> str:
            return "" if self.answers else "the back end does not answer"

        async def run() -> None:
            await follower.start()
            await follower.settle(problem)
            while True:
                await follower.look()

        self.ends.clear()
        follower = Follower(self._config, self.folder / "update", utc_ms, self._observe)
        self.started.append(self._started())
        tasks = [asyncio.ensure_future(run()), asyncio.ensure_future(self.ends.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = self.ends.is_set()
        await cancel_tasks(*tasks)
        if not ended:
            assert isinstance(error := tasks[0].exception(), NothingToDoError), error
        return ended

    async def live(self) -> None:
        """Run until it has nothing to do."""
        for _ in range(9):
            if not await self.power_on():
                return
        raise AssertionError("it restarts for ever")

    def _observe(self, event: Observe) -> None:
        self.events.append(event.name)


@contextlib.contextmanager
def one_release(folder: Path, image: bytes) -> Iterator[tuple[Maker, FileServer]]:
    """Run the web server of a maker that has released an image, as number 1."""
    (folder / "maker").mkdir()
    with file_server() as server:
        maker = Maker(folder / "maker")
        maker.release("gateway-1.img", 1, image=image)
        for each in maker.repository.folder.rglob("*.*"):
            server.files[f"/releases/{each.relative_to(maker.repository.folder)}"] = each.read_bytes()
        yield maker, server
