"""Tasks that fail are reported and start again."""

import asyncio

import pytest

from tests.virtual_time import in_simulated_time
from v2g.errors import ConfigError, StoreError, TransportError
from v2g.io.runtime.supervision import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    Supervisor,
    cancel_tasks,
    child,
    defects_reported,
    new_thread,
    spawn,
    wait_at_most,
)
from v2g.observe import Observe

DISK_FULL = StoreError("disk full")


def run_failing(fails: int, lasts_s: float = 0.0, error: Exception = DISK_FULL) -> tuple[list[Observe], int]:
    """Run a task that fails so often, each time after `lasts_s`, and then waits for ever; return events and calls."""
    events: list[Observe] = []
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls > fails:
            await asyncio.Event().wait()
        await asyncio.sleep(lasts_s)
        raise error

    async def main() -> None:
        supervisor = Supervisor(events.append)
        supervisor.keep("records", work)
        await asyncio.sleep(fails * (lasts_s + LONGEST_PAUSE_S) + 1)
        await supervisor.close()

    in_simulated_time(main())
    return events, calls


def test_a_task_that_fails_is_an_event_and_starts_again_after_growing_pauses() -> None:
    events, calls = run_failing(9)
    assert calls == 10
    assert [(event.stage, event.name) for event in events] == [("program", "task_failed")] * 9
    assert events[0].data == {"task": "records", "error": "StoreError: disk full", "again_s": FIRST_PAUSE_S}
    pauses = [event.data["again_s"] for event in events]
    assert pauses == [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(9)]


def test_a_defect_has_a_traceback_in_the_log_and_a_full_disk_none(caplog: pytest.LogCaptureFixture) -> None:
    run_failing(1)
    assert caplog.records == []
    run_failing(1, error=ArithmeticError("a defect"))
    assert [each.exc_info is not None for each in caplog.records] == [True]


def test_the_pause_is_short_again_after_a_long_run() -> None:
    events, _ = run_failing(3, lasts_s=LONGEST_PAUSE_S + 1)
    assert [event.data["again_s"] for event in events] == [FIRST_PAUSE_S] * 3


async def test_a_task_whose_work_was_cancelled_by_somebody_else_does_not_vanish() -> None:
    events: list[Observe] = []
    again = asyncio.Event()

    async def work() -> None:
        if events:
            again.set()
            return
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waited.cancel()
        await waited

    supervisor = Supervisor(events.append)
    supervisor.keep("work", work)
    async with asyncio.timeout(60):
        await again.wait()
    assert len(events) == 1
    await supervisor.close()


async def test_a_task_that_returns_is_done_and_closing_ends_the_others() -> None:
    events: list[Observe] = []
    ended = asyncio.Event()

    async def once() -> None:
        return

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    supervisor = Supervisor(events.append)
    supervisor.keep("once", once)
    supervisor.keep("forever", forever)
    await asyncio.sleep(0)
    await supervisor.close()
    assert ended.is_set()
    assert events == []


async def fail() -> None:
    """Fail."""
    raise ZeroDivisionError("on purpose")


async def until(events: list[Observe], count: int) -> None:
    """Wait for so many events."""
    async with asyncio.timeout(60):
        while len(events) < count:
            await asyncio.sleep(0)


def test_a_task_whose_library_swallows_its_cancellation_ends_nevertheless() -> None:
    """As `redis` does now and then."""
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    async def main() -> float:
        supervisor = Supervisor(lambda _: None)
        supervisor.keep("exchange", work)
        await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        await supervisor.close(again_s=7.0)
        return asyncio.get_running_loop().time() - began

    assert 14 <= in_simulated_time(main()) < 14.001
    assert swallowed == 3


async def test_what_no_code_handles_is_an_event_whether_task_callback_timer_or_thread() -> None:
    """Each with where it was, what it was, and its traceback, which leads to the line."""
    events: list[Observe] = []
    loop = asyncio.get_running_loop()
    with defects_reported(events.append):
        spawn(fail(), name="background")
        await until(events, 1)
        loop.call_later(0, failing)
        await until(events, 2)
        new_thread(target=failing, name="worker").start()
        await until(events, 3)
    assert {(event.stage, event.name) for event in events} == {("program", "defect")}
    assert [event.data["error"] for event in events] == ["ZeroDivisionError: on purpose"] * 3
    assert [str(event.data["where"]).split()[:2] for event in events] == [
        ["task", "background"],
        ["Exception", "in"],
        ["thread", "worker"],
    ]
    assert all("test_supervision.py" in str(event.data["traceback"]) for event in events)


async def test_what_ends_the_program_is_an_event_unless_it_is_an_error_of_the_tree() -> None:
    events: list[Observe] = []
    with pytest.raises(ZeroDivisionError), defects_reported(events.append):
        await fail()
    with pytest.raises(TransportError), defects_reported(events.append):
        raise TransportError("the port is taken")
    with pytest.raises(ConfigError, match="cantools, which is not installed"), defects_reported(events.append):
        raise ModuleNotFoundError("No module named 'cantools'", name="cantools")
    assert [(event.name, event.data["where"]) for event in events] == [("defect", "program")]


def failing() -> None:
    """Fail."""
    raise ZeroDivisionError("on purpose")


async def test_the_exception_of_a_child_goes_to_its_parent_only() -> None:
    events: list[Observe] = []
    with defects_reported(events.append):
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            await child(fail())
        cancelled = spawn(asyncio.sleep(60))
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
    assert events == []


def test_cancelled_tasks_have_ended_whatever_they_raise() -> None:
    async def main() -> None:
        async def fail() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise StoreError("disk full")

        tasks = [child(fail()), child(asyncio.sleep(60)), child(asyncio.sleep(0))]
        await asyncio.sleep(0)
        await cancel_tasks(None, *tasks)
        assert all(each.done() for each in tasks)

    asyncio.run(main())


@pytest.mark.parametrize(("comes_s", "waited_s"), [(1, 1), (60, 5)])
def test_a_wait_ends_with_its_event_or_its_time(comes_s: float, waited_s: float) -> None:
    async def main() -> float:
        begin = asyncio.get_running_loop().time()
        await wait_at_most(5, asyncio.sleep(comes_s))
        return asyncio.get_running_loop().time() - begin

    assert in_simulated_time(main()) == pytest.approx(waited_s)
