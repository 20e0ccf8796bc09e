"""The card readers of a station: a card is a token of its standard's type (C01)."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from v2g.hardware.interfaces import CardReader, CardType
from v2g.io.hardware.driver import OnFailure, OpenSide, keep_open
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.authorization import IdToken
from v2g.text import printable
from v2g_station.blocks.evse import TokenPresented

REPEAT_S: Final = 0.5
"""A reader that reports the same card again sooner repeats itself: the second one would end what the first began."""


class OpenedReader(msgspec.Struct, frozen=True):
    """A reader: its driver, its EVSE (0: all), and how to open it."""

    driver: str
    evse: int
    open: OpenSide[CardReader]


class CardReaders:
    """All readers; `notify` takes their tokens for the station."""

    def __init__(
        self,
        readers: Sequence[OpenedReader],
        clock: Clock,
        *,
        notify: Callable[[Fact], None],
        observe: Callable[[Observe], None],
    ) -> None:
        self._readers, self._clock, self._notify, self._observe = readers, clock, notify, observe
        self._tasks: list[asyncio.Task[None]] = []
        self._last: dict[int, tuple[str, float]] = {}
        self._failures: dict[int, str | None] = {}

    def start(self) -> None:
        """Open the readers, and keep them open."""
        for number, each in enumerate(self._readers, 1):
            run = keep_open(each.open, partial(self._use, number), partial(self._lost, number))
            self._tasks.append(spawn(run, name="card reader"))

    async def close(self) -> None:
        await cancel_tasks(*self._tasks)

    def _use(self, number: int, reader: CardReader, fail: OnFailure) -> None:
        reader.on_card(partial(self._card, number))
        reader.on_lost(fail)
        self._failures[number] = None
        self._note("card_reader_ready", number)

    def _lost(self, number: int, why: str) -> None:
        if self._failures.get(number) != why:
            self._note("card_reader_lost", number, why=printable(why)[:200])
        self._failures[number] = why

    def _card(self, number: int, uid: str, type_: CardType) -> None:
        before, now = self._last.get(number), self._clock.monotonic()
        self._last[number] = uid, now
        if before is not None and before[0] == uid and now - before[1] < REPEAT_S:
            return
        token = IdToken(id_token=uid, type=type_)
        fact = TokenPresented(id_token=token, evse_id=self._readers[number - 1].evse or None)
        asyncio.get_running_loop().call_soon(self._notify, fact)

    def _note(self, name: str, number: int, **more: Scalar) -> None:
        data: dict[str, Scalar] = {"reader": number, "driver": self._readers[number - 1].driver, **more}
        self._observe(Observe("hardware", name, data))
