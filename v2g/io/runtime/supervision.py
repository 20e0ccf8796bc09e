"""Background tasks that a program relies on: a failed one is reported and restarted."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from v2g.observe import Observe

_log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0


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
        task = asyncio.create_task(self._keep(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        backoff, time = Backoff(), asyncio.get_running_loop().time
        while True:
            began = time()
            try:
                return await work()
            except (Exception, asyncio.CancelledError) as error:  # any failure restarts the task
                if _is_cancelled():
                    raise
                if time() - began > LONGEST_PAUSE_S:
                    backoff.reset()
                pause_s = backoff.pause_s()
                _log.error("task %s failed and restarts in %g s", name, pause_s, exc_info=error)
                reason = f"{type(error).__name__}: {error}"
                self._observe(Observe("program", "task_failed", {"task": name, "error": reason, "again_s": pause_s}))
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        """Cancel all tasks and wait for their end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_cancelled() -> bool:
    """Return whether the running task itself is cancelled, not only something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
