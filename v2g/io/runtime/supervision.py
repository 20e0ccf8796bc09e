"""The parents of all tasks and threads: whatever fails is reported at once, and nothing ends unnoticed.

Every task and thread of the programs begins here, which a test enforces: `Supervisor.keep` for work that a program
relies on, and which is restarted; `child` for a part of the caller, which awaits it; `spawn` and `thread` for work
that nothing awaits. `cancel_tasks` ends tasks. `defects_reported` makes events of exceptions that no code handles,
also those of callbacks.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Final, TypeVar, TypeVarTuple

from v2g.errors import V2GError
from v2g.extras import extras_named
from v2g.observe import Observe, Scalar, defect

_log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0


T = TypeVar("T")
ArgumentTs = TypeVarTuple("ArgumentTs")

_running: Final[set[asyncio.Task[object]]] = set()
"""The event loop itself does not keep tasks from being deleted."""


def child(work: Coroutine[object, object, T], *, name: str | None = None) -> asyncio.Task[T]:
    """Run a part of the caller, which awaits it or handles its end, and so gets its exception."""
    return asyncio.create_task(work, name=name or getattr(work, "__qualname__", None))


def spawn(work: Coroutine[object, object, T], *, name: str | None = None) -> asyncio.Task[T]:
    """Run something that nothing awaits; an exception goes to the event loop's handler at once."""
    task = child(work, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[object]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": f"task {task.get_name()} failed", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)


async def cancel_tasks(*tasks: asyncio.Task[object] | None) -> None:
    """Cancel tasks, and wait for their end; what they raise is dropped."""
    given = [each for each in tasks if each is not None]
    for each in given:
        each.cancel()
    await asyncio.gather(*given, return_exceptions=True)


async def wait_at_most(seconds: float | None, event: Awaitable[object]) -> None:
    """Wait for something, `seconds` at the most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event


def new_thread(target: Callable[[], object], *, name: str, daemon: bool = True) -> threading.Thread:
    """Return a thread, to be started; an exception in it goes to `threading.excepthook`."""
    return threading.Thread(target=target, name=name, daemon=daemon)


@contextlib.contextmanager
def defects_reported(observe: Callable[[Observe], None]) -> Iterator[None]:
    """Make the event `program defect` (`where`, `error`, `traceback`) of each exception that no code handles: of
    tasks, callbacks and timers of the running event loop, of threads, and of the program itself, which it ends."""
    loop = asyncio.get_running_loop()
    handler, hook = loop.get_exception_handler(), threading.excepthook

    def on_loop(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        loop.default_exception_handler(context)
        if isinstance(error := context.get("exception"), Exception):
            observe(Observe("program", "defect", {"where": str(context.get("message"))[:200], **defect(error)}))

    def on_thread(arguments: threading.ExceptHookArgs) -> None:
        error, where = arguments.exc_value, f"thread {arguments.thread.name if arguments.thread else ''}"
        _log.error("%s failed", where, exc_info=error)
        if isinstance(error, Exception):
            event = Observe("program", "defect", {"where": where, **defect(error)})
            with contextlib.suppress(RuntimeError):  # the loop is closed: the program has ended
                loop.call_soon_threadsafe(observe, event)

    loop.set_exception_handler(on_loop)
    threading.excepthook = on_thread
    try:
        with extras_named():
            yield
    except Exception as error:
        if not isinstance(error, V2GError):
            observe(Observe("program", "defect", {"where": "program", **defect(error)}))
        raise
    finally:
        loop.set_exception_handler(handler)
        threading.excepthook = hook


class Backoff:
    """Pauses between attempts: `first_s`, doubled each time up to `longest_s`; `reset` returns to `first_s`."""

    def __init__(self, first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s = first_s

    def reset(self) -> None:
        """Reset after a success."""
        self._next_s = self._first_s

    def pause_s(self) -> float:
        """Return how long to wait (s) before the next attempt."""
        pause_s = self._next_s
        self._next_s = min(self._next_s * 2, self._longest_s)
        return pause_s


class Supervisor:
    """Runs tasks until `close`. Each failure is the event `program task_failed` with `task`, `error` and `again_s`.

    A task whose failure should end the program belongs in an `asyncio.TaskGroup` instead.
    """

    def __init__(self, observe: Callable[[Observe], None]) -> None:
        self._observe = observe
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work`, and again after a pause whenever it raises; the pause grows with repeated early failures.

        When it returns the task is completed.
        """
        task = spawn(self._keep(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        backoff, time = Backoff(), asyncio.get_running_loop().time
        while True:
            began = time()
            try:
                return await work()
            except (Exception, asyncio.CancelledError) as error:  # any failure restarts the task
                # whether the running task itself is cancelled, not only something that it awaited
                task = asyncio.current_task()
                if task is not None and task.cancelling() > 0:
                    raise
                if time() - began > LONGEST_PAUSE_S:
                    backoff.reset()
                pause_s = backoff.pause_s()
                data: dict[str, Scalar] = {
                    "task": name,
                    "error": f"{type(error).__name__}: {error}",
                    "again_s": pause_s,
                }
                if not isinstance(error, V2GError):
                    _log.error("task %s failed and restarts in %g s", name, pause_s, exc_info=error)
                    data |= defect(error)
                self._observe(Observe("program", "task_failed", data))
            await asyncio.sleep(pause_s)

    async def close(self, again_s: float = 5.0) -> None:
        """Cancel all tasks and wait for their end. Those that go on, since a library has swallowed it, are cancelled
        again after `again_s`."""
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=again_s)


# Runs several steps regardless of exceptions, such as those that switch power off
# and open the contactor.


def run_all(steps: Iterable[Callable[[], object]]) -> bool:
    """Run all of them, in order. Exceptions are logged, and the next one still runs; return whether there were
    none."""
    done = True
    for step in steps:
        try:
            step()
        except Exception:  # noqa: BLE001 - the next step may be the one that removes power
            _log.exception("a safety step has failed")
            done = False
    return done
