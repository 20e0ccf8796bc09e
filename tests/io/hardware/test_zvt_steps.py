"""A till and a simulated ZVT terminal, step by step, in simulated time, over a connection in memory."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from tests.secc.hardware.bare import run
from v2g.hardware.zvt import commands as zvt
from v2g.hardware.zvt.commands import ZvtCommand
from v2g.hardware.zvt.terminal_sim import Card
from v2g.hardware.zvt.till import BUSY, JobEnded, ReadCard, RegisterJob, ReleaseJob, ReserveJob, Settle
from v2g.io.hardware.zvt_config import ZvtConfig
from v2g.io.hardware.zvt_terminal import ZvtSimulator, ZvtTerminal
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks

ACK = ZvtCommand(zvt.ACK).encode()


class End:
    """One end of a connection: reader, and writer with its transport."""

    def __init__(self) -> None:
        self.reader, self.transport = asyncio.StreamReader(), self
        self.other = self
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        if data:
            self.sent.append(data)
        if not self.closed:
            self.other.reader.feed_data(data)

    def close(self) -> None:
        for each in (self, self.other):
            each.closed = True
            each.reader.feed_eof()

    abort = close


class Line:
    """The network between till and terminal, and what the till reports, with its time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
        monkeypatch.setattr(asyncio, "open_connection", self._connect)
        monkeypatch.setattr("v2g.io.hardware.zvt_terminal.listen", self._listen)
        self.loop = asyncio.get_running_loop()
        self.serves: Callable[[Any, Any], Coroutine[Any, Any, None]] | None = None
        self.listens: list[tuple[str, int]] = []
        self.connects: list[tuple[float, str, int]] = []
        self.tills: list[End] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.takes_s = 0.0
        self.ended: list[tuple[float, JobEnded]] = []
        self.idle: list[float] = []
        self.terminal = ZvtTerminal(
            ZvtConfig(host="terminal", **config),
            Clock(),
            on_ended=lambda each: self.ended.append((self.now, each)),
            idle=lambda: self.idle.append(self.now),
        )

    @property
    def now(self) -> float:
        return round(self.loop.time() - 1000, 2)

    @property
    def results(self) -> list[tuple[float, Any, bool]]:
        return [(at, each.job, each.done) for at, each in self.ended]

    async def _connect(self, host: str, port: int) -> tuple[Any, Any]:
        self.connects.append((self.now, host, port))
        await asyncio.sleep(self.takes_s)
        if self.serves is None:
            raise ConnectionRefusedError
        till = self.dial()
        self.tills.append(till)
        return till.reader, till

    def dial(self) -> End:
        """Connect to the terminal."""
        till, terminal = End(), End()
        till.other, terminal.other = terminal, till
        assert self.serves is not None
        self.tasks.append(self.loop.create_task(self.serves(terminal.reader, terminal)))
        return till

    async def _listen(self, _protocol: str, serve: Any, host: str, port: int) -> Any:
        self.serves = serve
        self.listens.append((host, port))
        return self

    def close(self) -> None:
        """The server is closed."""
        self.serves = None

    def answers(self, answer: Callable[[bytes], bytes]) -> None:
        """Have a terminal that answers so."""

        async def serve(reader: asyncio.StreamReader, writer: End) -> None:
            while data := await reader.read(4096):
                writer.write(answer(data))

        self.serves = serve

    async def until(self, at: float) -> None:
        await asyncio.sleep(1000 + at - self.loop.time())


def play(monkeypatch: pytest.MonkeyPatch, scene: Callable[[Line], Coroutine[Any, Any, None]], **config: Any) -> None:
    async def scenario() -> None:
        line = Line(monkeypatch, **config)
        running = asyncio.create_task(line.terminal.run())
        await scene(line)
        await cancel_tasks(running)
        await cancel_tasks(*line.tasks)

    run(scenario)


# -- till


def test_what_is_not_configured_is_itself_a_valid_configuration() -> None:
    config = ZvtConfig(host="terminal")
    assert msgspec.convert(msgspec.to_builtins(config), ZvtConfig) == config


def test_a_till_registers_reads_cards_and_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Octets by the defaults of terminals: port 20007, password 000000, euro, 30 s for a card."""

    async def scene(line: Line) -> None:
        await ZvtSimulator(card=Card()).open()
        assert not line.terminal.idle
        await line.until(1.0)
        assert line.connects == [(0.0, "terminal", 20_007)]
        assert (line.results, line.idle, line.terminal.idle) == ([(0.0, RegisterJob(), True)], [0.0], True)
        line.terminal.do(ReadCard())
        assert not line.terminal.idle
        await line.until(3.0)
        line.terminal.do(ReserveJob(5_000))
        await line.until(5.0)
        line.terminal.do(Settle("0001", 5_000, 1_200))
        await line.until(400.0)
        assert line.results[1:] == [
            (2.0, ReadCard(), True),
            (4.0, ReserveJob(5_000), True),
            (5.0, Settle("0001", 5_000, 1_200), True),
        ]
        assert line.idle == [0.0, 2.0, 4.0, 5.0]
        sent = [each.hex() for each in line.tills[0].sent if each != ACK]
        assert sent == [
            "06000a00000038097803000600",
            "06c0011e",
            "06220a04000000005000490978",
            "06230d87000104000000003800490978",
        ]

    play(monkeypatch, scene)


def test_a_terminal_may_want_to_know_what_is_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(line: Line) -> None:
        await ZvtSimulator().open()
        await line.until(0.1)
        line.terminal.do(Settle("0001", 5_000, 1_200))
        await line.until(1.0)
        assert "06230d87000104000000001200490978" in [each.hex() for each in line.tills[0].sent]

    play(monkeypatch, scene, partial_reversal="booked")


@pytest.mark.parametrize(("takes_s", "times"), [(0.0, [0.0, 5.0, 10.0]), (60.0, [5.0, 15.0])])
def test_a_terminal_that_cannot_be_reached_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, takes_s: float, times: list[float]
) -> None:
    async def scene(line: Line) -> None:
        line.takes_s = takes_s
        await line.until(16.0 if takes_s else 12.0)
        assert line.results == [(each, RegisterJob(), False) for each in times]
        line.takes_s = 0.0
        await ZvtSimulator().open()
        await line.until(26.0)
        assert line.results[-1][1:] == (RegisterJob(), True)

    play(monkeypatch, scene)


def test_what_waits_for_a_card_ends_with_the_connection_and_a_payment_is_settled_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(line: Line) -> None:
        simulator = ZvtSimulator()
        simulator.cut()  # nobody is connected yet
        await simulator.open()
        await line.until(1.0)
        line.terminal.do(ReserveJob(5_000))
        await line.until(2.0)
        simulator.cut()
        await line.until(3.0)
        assert line.results[1:] == [(2.0, ReserveJob(5_000), False)]
        assert (line.tills[0].closed, line.terminal.idle) == (True, False)
        line.terminal.do(ReleaseJob("0001"))
        await line.until(8.0)
        assert line.connects[1:] == [(7.0, "terminal", 20_007)]
        assert [each[:2] for each in line.results[2:]] == [(7.0, RegisterJob()), (7.0, ReleaseJob("0001"))]

    play(monkeypatch, scene)


def test_a_terminal_that_does_not_answer_is_disconnected_after_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(line: Line) -> None:
        line.answers(lambda _: b"")
        await line.until(16.0)
        assert line.results == [(5.0, RegisterJob(), False), (15.0, RegisterJob(), False)]
        assert [each.closed for each in line.tills] == [True, True]

    play(monkeypatch, scene)


@pytest.mark.parametrize(("password", "connects"), [("000000", 1), ("123456", 3)])
def test_a_till_that_is_refused_tries_again(monkeypatch: pytest.MonkeyPatch, password: str, connects: int) -> None:
    async def scene(line: Line) -> None:
        await ZvtSimulator().open()
        await line.until(12.0)
        assert len(line.connects) == connects
        assert {each.done for _, each in line.ended} == {password == "000000"}

    play(monkeypatch, scene, password=password)


def test_a_terminal_that_sends_garbage_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(line: Line) -> None:
        line.answers(lambda _: b"\x06\x0f\xff\xff\xff")
        await line.until(6.0)
        assert [each[0] for each in line.connects] == [0.0, 5.0]
        assert line.results == [(0.0, RegisterJob(), False), (5.0, RegisterJob(), False)]

    play(monkeypatch, scene)


def test_a_busy_terminal_is_asked_again_after_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(line: Line) -> None:
        asked: list[float] = []

        def answer(data: bytes) -> bytes:
            if data[:2] == b"\x06\x00":
                return ACK + ZvtCommand(zvt.COMPLETION).encode()
            if data != ACK:
                asked.append(line.now)
                return ZvtCommand(zvt.NACK << 8 | BUSY).encode()
            return b""

        line.answers(answer)
        await line.until(1.0)
        line.terminal.do(ReserveJob(5_000))
        await line.until(6.0)
        assert asked == [1.0, 3.0, 5.0]

    play(monkeypatch, scene)


# -- simulated terminal


def test_a_simulated_terminal_listens_on_this_machine_for_one_till(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(line: Line) -> None:
        simulator = ZvtSimulator()
        await simulator.open()
        assert line.listens == [("127.0.0.1", 0)]
        await line.until(1.0)
        second = line.dial()
        await line.until(2.0)
        assert (second.closed, line.tills[0].closed) == (True, False)
        line.terminal.do(ReadCard())
        await line.until(10.0)
        assert [each.job for _, each in line.ended] == [RegisterJob()]  # no card comes by itself
        simulator.present(Card(last4="4771"))
        await line.until(10.1)
        assert line.results[-1] == (10.0, ReadCard(), True)
        await simulator.close()
        assert (line.now, line.tills[0].closed, line.serves) == (10.1, True, None)
        assert line.tasks[0].done()

    play(monkeypatch, scene)


def test_each_request_gets_its_card_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(line: Line) -> None:
        await ZvtSimulator(host="::1", port=7, card=Card(), card_s=3.0).open()
        assert line.listens == [("::1", 7)]
        await line.until(1.0)
        line.terminal.do(ReserveJob(1))
        line.terminal.do(ReserveJob(2))
        await line.until(2.0)
        line.tills[0].write(ACK)  # again: it has none left to wait for
        await line.until(20.0)
        assert line.results[1:] == [(4.0, ReserveJob(1), True), (7.0, ReserveJob(2), True)]

    play(monkeypatch, scene)


def test_a_simulated_terminal_ends_with_garbage_and_serves_the_next_till(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(line: Line) -> None:
        await ZvtSimulator().open()
        await line.until(1.0)
        line.tills[0].write(b"\x06\x00\xff\xff\xff")
        await line.until(7.0)
        assert line.results == [(0.0, RegisterJob(), True), (6.0, RegisterJob(), True)]

    play(monkeypatch, scene)
