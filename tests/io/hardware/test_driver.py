"""A part that charging does not need: opened again and again, and said to be lost each time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.virtual_time import in_simulated_time
from v2g.errors import ConfigError, TransportError, V2GError
from v2g.io.hardware.driver import GROUP, DriverContext, OnFailure, keep_open
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe

FOR_EVER = 1e9


class Reader:
    """It lives for so long (s) each time, or does not open, for a reason."""

    def __init__(self, *lives: float | V2GError) -> None:
        self._lives = [*lives, FOR_EVER]
        self.opened: list[float] = []
        self.used: list[int] = []
        self.lost: list[str] = []
        self.closed = 0

    @contextlib.asynccontextmanager
    async def open(self, fail: OnFailure) -> AsyncIterator[int]:
        self.opened.append(round(asyncio.get_running_loop().time() - self.began, 1))
        life = self._lives.pop(0)
        if isinstance(life, V2GError):
            raise life
        for word in ("unplugged", "unplugged twice"):
            asyncio.get_running_loop().call_later(life, fail, word)
        yield len(self.opened)
        self.closed += 1

    def use(self, part: int, fail: OnFailure) -> None:
        self.used.append(part)
        if part == 2:
            fail("refused")

    def keep(self) -> "Reader":
        """Keep it open for ten minutes."""

        async def scenario() -> None:
            self.began = asyncio.get_running_loop().time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(600):
                    await keep_open(self.open, self.use, self.lost.append)

        in_simulated_time(scenario())
        return self


def test_what_does_not_open_is_tried_again_after_longer_pauses() -> None:
    gone = TransportError("it is not there")
    reader = Reader(gone, ConfigError("it has no key", hint="give it one"), *[gone] * 4).keep()
    assert reader.opened == [0.0, 1.0, 3.0, 7.0, 15.0, 25.0, 35.0]
    assert reader.lost == ["it is not there", "it has no key (give it one)", *["it is not there"] * 4]
    assert reader.used == [7]


def test_what_was_lost_is_opened_again_and_soon_where_it_stood_for_longer() -> None:
    reader = Reader(2.0, FOR_EVER, 9.9, 10.1, 1.0).keep()
    assert reader.opened == [0.0, 3.0, 5.0, 18.9, 30.0, 33.0]
    assert reader.lost == ["unplugged", "refused", "unplugged", "unplugged", "unplugged"]
    assert reader.used == [1, 2, 3, 4, 5, 6]
    assert reader.closed == 5


def test_the_group_that_packages_of_drivers_name_stays() -> None:
    assert GROUP == "v2g.hardware"


def test_a_driver_has_nobody_to_tell_unless_it_is_given_one() -> None:
    DriverContext(clock=Clock()).observe(Observe("hardware", "driver_seen"))
