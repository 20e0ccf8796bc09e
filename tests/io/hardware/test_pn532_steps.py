"""A card reader, step by step, in simulated time: what it is asked, when, and what becomes of cards and silence."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.hardware.readers.pn532_sim import SimulatedPn532
from tests.io.hardware.stepped_port import SteppedPort
from tests.secc.hardware.bare import run
from v2g.errors import TransportError
from v2g.hardware.readers.pn532 import POLL_S, REPLY_S
from v2g.io.hardware.driver import DriverContext
from v2g.io.hardware.pn532 import DRIVER, Pn532Config
from v2g.io.runtime.clock import Clock


class Antenna(SteppedPort):
    """A reader at the far end, which answers at once, and what the charger has from it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch, "pn532")
        self.core, self.answers = SimulatedPn532(), 1_000
        self.cards: list[tuple[float, str, str]] = []
        self.lost: list[tuple[float, str]] = []

    def write(self, data: bytes) -> None:
        super().write(data)
        if (answer := self.core.receive(data)) and self.answers:
            self.answers -= 1
            self._loop.call_soon(lambda: self.is_open and self.send(answer))

    def uses(self, reader: Any) -> None:
        reader.on_card(lambda uid, kind: self.cards.append((self.now, uid, kind)))
        reader.on_lost(lambda why: self.lost.append((self.now, why)))


def play(
    monkeypatch: pytest.MonkeyPatch, scene: Callable[[Antenna, Any], Coroutine[Any, Any, None]], **config: Any
) -> None:
    async def scenario() -> None:
        antenna = Antenna(monkeypatch)
        settings = Pn532Config(device="reader", **config)
        async with DRIVER.open(settings, DriverContext(clock=Clock())) as reader:
            antenna.uses(reader)
            await scene(antenna, reader)

    run(scenario)


def test_a_reader_is_asked_as_often_as_it_wants_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(antenna: Antenna, reader: Any) -> None:
        assert (antenna.now, antenna.log[0]) == (0.0, (0.0, 115_200))
        await antenna.until(1.0)
        antenna.log.clear()
        await antenna.until(11.0)
        asked = [each for _, each in antenna.log if each]
        assert len(asked) == pytest.approx(10 / POLL_S, abs=1)
        assert len(antenna.log) <= 2 * len(asked) + 1
        reader.close()
        antenna.is_open = True
        antenna.log.clear()
        await antenna.until(20.0)
        assert antenna.log == []

    play(monkeypatch, scene)
    assert DRIVER.kind == "card_reader"


@pytest.mark.parametrize(("away_s", "again"), [(0.5, False), (1.5, True)])
def test_a_card_counts_again_when_it_was_away_for_a_second(
    monkeypatch: pytest.MonkeyPatch, away_s: float, again: bool
) -> None:
    async def scene(antenna: Antenna, _: Any) -> None:
        antenna.core.card = bytes.fromhex("DEADBEEF")
        await antenna.until(2.0)
        assert [each[1:] for each in antenna.cards] == [("DEADBEEF", "ISO14443")]
        antenna.core.card = b""
        await antenna.until(2.0 + away_s)
        antenna.core.card = bytes.fromhex("DEADBEEF")
        await antenna.until(6.0)
        assert len(antenna.cards) == 1 + again

    play(monkeypatch, scene)


def test_a_reader_that_stops_answering_is_lost_once_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(antenna: Antenna, _: Any) -> None:
        await antenna.until(1.0)
        assert antenna.lost == []
        antenna.core.silent = True
        await antenna.until(10.0)
        ((at, why),) = antenna.lost
        assert why == "it does not answer"
        assert 1.0 + REPLY_S <= at <= 1.1 + POLL_S + REPLY_S
        antenna.core.silent = False
        antenna.core.card = bytes.fromhex("DEADBEEF")
        await antenna.until(12.0)
        assert (len(antenna.cards), len(antenna.lost)) == (1, 1)

    play(monkeypatch, scene)


def test_a_port_that_is_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(antenna: Antenna, _: Any) -> None:
        await antenna.until(1.0)
        antenna.log.clear()
        antenna.unplug()
        assert antenna.lost == [(1.0, "its port is gone")]

    play(monkeypatch, scene)


def test_a_port_that_is_lost_while_it_is_written_to_is_reported_as_such_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(antenna: Antenna, _: Any) -> None:
        failed: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))

        def breaks(_: bytes) -> None:
            raise TransportError("it has just been unplugged")

        monkeypatch.setattr(antenna, "write", breaks)
        await antenna.until(1.0)
        assert failed == []

    play(monkeypatch, scene)


@pytest.mark.parametrize("answers", [0, 1])
def test_a_reader_has_three_seconds_to_be_set_up(monkeypatch: pytest.MonkeyPatch, answers: int) -> None:
    async def scenario() -> None:
        antenna = Antenna(monkeypatch)
        antenna.answers = answers
        with pytest.raises(TransportError, match="no card reader answers on reader") as caught:
            async with DRIVER.open(Pn532Config(device="reader"), DriverContext(clock=Clock())):
                """It is not used."""
        assert "HSU" in str(caught.value.hint)
        assert (antenna.now, antenna.log[-1]) == (3.0, (3.0, "closed"))

    run(scenario)
