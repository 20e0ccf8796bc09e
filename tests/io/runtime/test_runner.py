"""The runner executes in order, survives what breaks, and never leaves power on."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.iso15118.engine.open_session import OpenSession
from tests.waiting import until
from v2g.errors import CodecError, StoreError, TlsError, TransportError
from v2g.io.runtime import runner
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.runner import Runner
from v2g.iso15118.engine.session import Command, Fact, Inquiry
from v2g.iso15118.engine.v2gtp import frame
from v2g.observe import Observe


class Do(Command, frozen=True):
    word: str


class Ask(Inquiry, frozen=True):
    word: str


class Done(Fact, frozen=True):
    word: str


class Stream:
    """A byte stream in the hand."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.written = b""
        self.closed = False
        self.broken = False

    async def read(self, n: int) -> bytes:
        item = await self.incoming.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def write(self, data: bytes) -> None:
        if self.broken:
            raise TransportError("gone")
        self.written += data

    async def close(self) -> None:
        self.closed = True
        if self.broken:
            raise TransportError("gone")


class Script(OpenSession):
    """A session whose moves are given by the test: word received -> actions."""

    def __init__(self, **moves: Any) -> None:
        super().__init__()
        self.moves = moves
        self.heard: list[str] = []

    def _hear(self, word: str) -> None:
        self.heard.append(word)
        move = self.moves.get(word)
        if move is not None:
            move(self)

    def _on_start(self) -> None:
        self._hear("start")

    def _on_message(self, message: Any, payload_type: int) -> None:
        self._hear("message")

    def _on_discharge(self, payload: bytes) -> None:
        self._hear(payload.decode())

    def _on_broken(self, error: CodecError) -> None:
        self._hear("broken")

    def _on_eof(self) -> None:
        self._hear("eof")
        self._close("eof")

    def _on_fact(self, fact: Fact) -> None:
        assert isinstance(fact, Done)
        self._hear(fact.word)

    def _on_timer(self, name: str) -> None:
        self._hear(name)

    def _on_abort(self, reason: str) -> None:
        self._hear("abort")
        self._command(Do("power off"), Do("books"))
        self._close(reason)


class Shell:
    """A runner with an executor that writes down, and does what the test wants."""

    def __init__(self, session: Script, *, stream: Stream | None = None, observe: Any = None, **outcomes: Any) -> None:
        self.session, self.stream, self.outcomes = session, stream or Stream(), outcomes
        self.done: list[str] = []
        self.events: list[Observe] = []
        observe = observe or self.events.append
        self.runner = Runner(session, self.stream, execute=self.execute, clock=Clock(), observe=observe)

    def execute(self, command: Command) -> Coroutine[Any, Any, Fact | None] | None:
        assert isinstance(command, Do)
        self.done.append(command.word)
        outcome = self.outcomes.get(command.word.replace(" ", "_"))
        return outcome(self) if outcome else None  # type: ignore[no-any-return]

    async def run(self) -> str:
        async with asyncio.timeout(60):
            return await self.runner.run()


def say(*words: str) -> Any:
    return lambda session: session.command(*(Do(word) for word in words))


async def test_actions_are_executed_in_order_and_what_was_sent_leaves_before_the_close() -> None:
    def start(session: Script) -> None:
        session.command(Do("a"))
        session.send_discharge(b"x" * 100_000)
        session.command(Do("b"))
        session.close("finished")

    shell = Shell(Script(start=start))
    assert await shell.run() == "finished"
    assert shell.done == ["a", "b"]
    assert len(shell.stream.written) == 100_008
    assert shell.stream.closed


async def test_a_slow_command_returns_as_a_fact_and_one_without_outcome_does_not() -> None:
    async def slow(outcome: Fact | None) -> Fact | None:
        await asyncio.sleep(0)
        return outcome

    session = Script(start=say("silent", "slow"), slow=lambda s: s.close("finished"))
    shell = Shell(session, slow=lambda _: slow(Done("slow")), silent=lambda _: slow(None))
    assert await shell.run() == "finished"
    assert session.heard == ["start", "slow"]


async def test_a_fact_from_a_command_waits_until_its_step_is_done() -> None:
    session = Script(start=say("tell", "next"), told=say("later"), end=lambda s: s.close("finished"))

    def tell(shell: Shell) -> None:
        shell.runner.fact(Done("told"))
        shell.runner.fact(Done("end"))

    shell = Shell(session, tell=tell)
    await shell.run()
    assert shell.done == ["tell", "next", "later"]


async def test_the_one_timer_follows_the_session() -> None:
    def start(session: Script) -> None:
        session.arm("first", 0.001)
        session.arm("second", 0.002)

    session = Script(start=start, second=lambda s: s.close("finished"))
    assert await Shell(session).run() == "finished"
    assert session.heard == ["start", "first", "second"]


@pytest.mark.parametrize("end", [b"", TransportError("reset")])
async def test_the_end_of_the_stream_is_reported_however_it_comes(end: Any) -> None:
    shell = Shell(Script())
    shell.stream.incoming.put_nowait(end)
    assert await shell.run() == "eof"
    assert bool(shell.events) == (end != b"")


async def test_a_certificate_that_the_peer_refuses_is_the_reason() -> None:
    """A vehicle with TLS 1.3 learns it with the first octets that it reads; it said that the charger had vanished."""
    shell = Shell(Script())
    shell.stream.incoming.put_nowait(TlsError("refused", reason="own_certificate_unknown_ca"))
    assert await shell.run() == "own_certificate_unknown_ca"


async def test_what_is_read_reaches_the_session() -> None:
    shell = Shell(Script(hello=lambda s: s.close("finished")))
    for part in (frame(0xA000, b"hello")[:5], frame(0xA000, b"hello")[5:]):
        shell.stream.incoming.put_nowait(part)
    assert await shell.run() == "finished"


async def test_a_peer_that_never_pauses_keeps_nothing_else_waiting() -> None:
    class Flood(Stream):
        """Its next octets are always there."""

        async def read(self, n: int) -> bytes:
            return frame(0xA000, b"ask")

    session = Script(ask=lambda s: s.close("starved") if s.heard.count("ask") > 1000 else None)
    shell = Shell(session, stream=Flood())
    running = asyncio.create_task(shell.run())
    await asyncio.sleep(0)  # it has begun
    await asyncio.sleep(0)
    shell.runner.abort("another task")
    assert await running == "another task"


async def test_a_stream_that_cannot_be_written_or_closed_is_the_end_not_a_crash() -> None:
    shell = Shell(Script(start=lambda s: s.send_discharge(b"x")))
    shell.stream.broken = True
    assert await shell.run() == "eof"
    assert [each.name for each in shell.events] == ["link_lost", "close_failed"]


async def test_an_abort_from_outside_executes_what_makes_it_safe() -> None:
    shell = Shell(Script())
    asyncio.get_running_loop().call_soon(shell.runner.abort, "pulled")
    assert await shell.run() == "pulled"
    assert shell.done == ["power off", "books"]


def fails(error: Exception) -> Any:
    def fail(_: Shell) -> None:
        raise error

    return fail


async def test_a_command_that_fails_stops_power_before_it_is_raised() -> None:
    shell = Shell(Script(start=say("journal", "power on")), journal=fails(StoreError("disk full")))
    with pytest.raises(StoreError, match="disk full"):
        await shell.run()
    assert shell.done == ["journal", "power off", "books"]
    assert shell.session.reason == "command_failed"
    assert shell.stream.closed


async def test_a_defect_in_the_core_stops_power_too() -> None:
    shell = Shell(Script(start=fails(ZeroDivisionError())))
    with pytest.raises(ZeroDivisionError):
        await shell.run()
    assert shell.done == ["power off", "books"]
    assert shell.session.reason == "internal_error"


async def test_a_slow_command_that_fails_stops_power_too() -> None:
    async def slow() -> None:
        raise StoreError("later")

    shell = Shell(Script(start=say("slow")), slow=lambda _: slow())
    with pytest.raises(StoreError, match="later"):
        await shell.run()
    assert shell.done == ["slow", "power off", "books"]


async def test_one_safety_command_that_fails_does_not_keep_the_next_from_running() -> None:
    shell = Shell(Script(start=fails(ZeroDivisionError())), power_off=fails(StoreError("too")))
    with pytest.raises(ZeroDivisionError):
        await shell.run()
    assert shell.done == ["power off", "books"]


async def test_commands_given_with_the_close_are_waited_for() -> None:
    finished = []

    async def slow() -> None:
        await asyncio.sleep(0.01)
        finished.append(True)

    def start(session: Script) -> None:
        session.command(Do("open contactors"))
        session.close("finished")

    shell = Shell(Script(start=start), open_contactors=lambda _: slow())
    await shell.run()
    assert finished == [True]


async def test_a_question_does_not_outlive_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next vehicle is served meanwhile."""
    monkeypatch.setattr(runner, "LINGER", 600)

    async def ask() -> None:
        await asyncio.Event().wait()

    def start(session: Script) -> None:
        session.command(Ask("may it charge?"))
        session.close("finished")

    async with asyncio.timeout(60):
        asking = Runner(Script(start=start), Stream(), execute=lambda _: ask(), clock=Clock(), observe=lambda _: None)
        assert await asking.run() == "finished"


async def test_who_cancels_gets_a_safe_end() -> None:
    shell = Shell(Script())
    task = asyncio.create_task(shell.runner.run())
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shell.done == ["power off", "books"]
    assert shell.stream.closed


class Off(Do, frozen=True):
    """A command that makes safe."""

    @property
    def always(self) -> bool:
        return True


async def test_what_makes_safe_is_done_even_when_something_before_it_in_the_same_step_fails() -> None:
    def start(session: Script) -> None:
        session.command(Do("journal"), Do("power on"), Off("power off"), Off("books"))
        session.close("sequence_timeout")

    shell = Shell(Script(start=start), journal=fails(StoreError("disk full")))
    with pytest.raises(StoreError, match="disk full"):
        await shell.run()
    assert shell.done == ["journal", "power off", "books"]


async def test_an_observer_that_fails_does_not_keep_power_on() -> None:
    def start(session: Script) -> None:
        session.note("session", "timeout")
        session.command(Off("power off"))
        session.close("sequence_timeout")

    def observe(_: Observe) -> None:
        raise OSError(28, "No space left on device")

    shell = Shell(Script(start=start), observe=observe)
    with pytest.raises(OSError, match="No space"):
        await shell.run()
    assert shell.done == ["power off"]


async def test_an_observer_that_fails_during_an_abort_leaves_the_session_stoppable() -> None:
    def observe(_: Observe) -> None:
        raise OSError(28, "No space left on device")

    shell = Shell(Script(start=lambda s: s.note("session", "started")), observe=observe)
    with pytest.raises(OSError, match="No space"):
        await shell.run()
    assert shell.done == ["power off", "books"]


async def test_a_core_that_cannot_even_abort_is_still_over() -> None:
    def abort(session: Script) -> None:
        session.command(Do("power off"))
        raise ZeroDivisionError

    shell = Shell(Script(start=fails(KeyError()), abort=abort))
    with pytest.raises(KeyError):
        await shell.run()
    assert shell.done == ["power off"]


@pytest.mark.parametrize("way", ["read", "write"])
async def test_a_stream_that_fails_in_an_undeclared_way_stops_power_too(way: str) -> None:
    shell = Shell(Script(start=lambda s: s.send_discharge(b"x")))

    async def fail(_: Any) -> bytes:
        raise ValueError(way)

    setattr(shell.stream, way, fail)
    with pytest.raises(ValueError, match=way):
        await shell.run()
    assert shell.done == ["power off", "books"]


class Deaf(Stream):
    """A peer that does not read."""

    async def write(self, data: bytes) -> None:
        await asyncio.Event().wait()


async def test_a_peer_that_does_not_read_cannot_hold_the_connection_after_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "LINGER", 0.01)
    session = Script(start=lambda s: (s.send_discharge(b"x"), s.arm("late", 0.001)), late=lambda s: s.close("late"))
    shell = Shell(session, stream=Deaf())
    assert await shell.run() == "late"
    assert shell.stream.closed


async def test_a_peer_that_asks_and_does_not_read_is_not_answered_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LINGER", 0.01)
    session = Script(ask=lambda s: s.send_discharge(b"x" * 100_000))
    shell = Shell(session, stream=Deaf())
    for _ in range(100):
        shell.stream.incoming.put_nowait(frame(0xA000, b"ask"))
    assert await shell.run() == "not_reading"
    assert session.heard.count("ask") < 20


async def test_what_must_be_on_disk_holds_back_what_follows_and_not_what_is_received() -> None:
    def start(session: Script) -> None:
        session.command(Do("journal"), Do("power on"))
        session.send_discharge(b"answer")

    written: asyncio.Future[Fact | None] = asyncio.get_running_loop().create_future()
    session = Script(start=start, hello=say("after"), written=lambda s: s.close("finished"))
    shell = Shell(session, journal=lambda _: written)
    shell.stream.incoming.put_nowait(frame(0xA000, b"hello"))
    running = asyncio.create_task(shell.run())
    await until(lambda: "hello" in session.heard)
    assert (shell.done, shell.stream.written) == (["journal"], b"")
    written.set_result(Done("written"))
    assert await running == "finished"
    assert shell.done == ["journal", "power on", "after"]
    assert shell.stream.written.endswith(b"answer")
    assert session.heard == ["start", "hello", "written"]


async def test_words_that_wait_for_the_disk_leave_before_the_close() -> None:
    def start(session: Script) -> None:
        session.command(Do("journal"))
        session.send_discharge(b"last words")
        session.close("finished")

    written: asyncio.Future[Fact | None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, written.set_result, None)
    shell = Shell(Script(start=start), journal=lambda _: written)
    assert await shell.run() == "finished"
    assert shell.stream.written.endswith(b"last words")


class Stop(Off, frozen=True):
    """A command that waits for no disk, and after which no power goes on that waits for it."""

    @property
    def overtakes(self) -> Command:
        return self

    def supersedes(self, earlier: Command) -> bool:
        return isinstance(earlier, Do) and earlier.word == "power on"


class Less(Do, frozen=True):
    """An output: as far as it is less it is done at once, the rest in its turn."""

    @property
    def overtakes(self) -> Command:
        return Do(f"at most {self.word}")

    def supersedes(self, earlier: Command) -> bool:
        return isinstance(earlier, Less)


@pytest.mark.parametrize("answers", [True, False])
async def test_power_goes_off_while_the_disk_is_busy_and_stays_off(
    answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MAX_HELD", 30.0 if answers else 0.01)

    def fault(session: Script) -> None:
        session.command(Stop("power off"), Off("books"))
        session.close("fault")

    written: asyncio.Future[Fact | None] = asyncio.get_running_loop().create_future()
    shell = Shell(Script(start=say("journal", "power on"), fault=fault), journal=lambda _: written)
    running = asyncio.create_task(shell.run())
    await until(lambda: shell.done)
    shell.runner.fact(Done("fault"))
    assert shell.done == ["journal", "power off"]
    if answers:
        written.set_result(None)
        assert await running == "fault"
        assert shell.done == ["journal", "power off", "books"]
    else:
        with pytest.raises(StoreError, match="has not answered"):
            await running
        assert shell.done == ["journal", "power off", "books"]


async def test_less_power_does_not_wait_for_the_disk_and_more_of_before_does_not_come() -> None:
    """Also what stands behind an entry of the same moment."""

    def start(session: Script) -> None:
        session.command(Do("journal"), Less("10 kW"), Do("next"))

    def fault(session: Script) -> None:
        session.command(Less("1 kW"))
        session.close("fault")

    written: asyncio.Future[Fact | None] = asyncio.get_running_loop().create_future()
    shell = Shell(Script(start=start, fault=fault), journal=lambda _: written)
    running = asyncio.create_task(shell.run())
    await until(lambda: shell.done)
    assert shell.done == ["journal", "at most 10 kW"]
    shell.runner.fact(Done("fault"))
    assert shell.done == ["journal", "at most 10 kW", "at most 1 kW"]
    written.set_result(None)
    assert await running == "fault"
    assert shell.done[3:] == ["next", "1 kW"]


async def test_a_disk_that_refuses_stops_power_and_what_waited_for_it_is_never_done() -> None:
    written: asyncio.Future[Fact | None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(written.set_exception, StoreError("disk full"))
    shell = Shell(Script(start=say("journal", "power on")), journal=lambda _: written)
    with pytest.raises(StoreError, match="disk full"):
        await shell.run()
    assert shell.done == ["journal", "power off", "books"]


async def test_who_cancels_while_the_disk_is_busy_gets_a_safe_end() -> None:
    written: asyncio.Future[Fact | None] = asyncio.get_running_loop().create_future()
    shell = Shell(Script(start=say("journal", "next")), journal=lambda _: written)
    running = asyncio.create_task(shell.run())
    await until(lambda: shell.done)
    running.cancel()
    asyncio.get_running_loop().call_later(0.01, written.set_result, None)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert shell.done == ["journal", "next", "power off", "books"]


async def test_a_deadline_that_is_put_off_is_kept() -> None:
    """The timer that was set for the earlier one rings in vain, and the session is not troubled."""

    def start(session: Script) -> None:
        session.arm("silence", 0.005)

    session = Script(start=start, silence=lambda s: s.close("silence"))
    session.moves["hello"] = lambda s: s.arm("silence", 0.03)
    shell = Shell(session)
    shell.stream.incoming.put_nowait(frame(0xA000, b"hello"))
    began = asyncio.get_running_loop().time()
    assert await shell.run() == "silence"
    assert asyncio.get_running_loop().time() - began >= 0.03
    assert session.heard == ["start", "hello", "silence"]
