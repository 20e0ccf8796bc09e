"""Group commit: one writer thread, whose transactions serve many requests.

A commit waits for the disk. Operations queued meanwhile share the next commit, so that the disk's latency does not
limit throughput. Success is reported only after the commit; a failing operation is rolled back alone.

Under more load than the database bears, reports (readings, telemetry) wait for everything else, but for a share of each
commit: so a card is accepted while meter values are late.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from traceback import clear_frames
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError, StatementError

from v2g.errors import StoreError, UnstorableError
from v2g.io.runtime.supervision import new_thread

_log = logging.getLogger(__name__)

MAX_GROUP: Final = 256
"""Operations that share one commit."""

LEAST_REPORTS: Final = MAX_GROUP // 4
"""So many of them may be reports, whatever else waits."""

FRESH_S: Final = 1.0
"""A connection used less than this ago is used again without a ping, which costs a busy writer a tenth of its time.
After so long a rest a writer gives its own back."""

LASTING: Final = (DataError, IntegrityError)
"""Errors by which a database rejects values: another attempt fails in the same way."""

R = TypeVar("R")
T = TypeVar("T")
Work = Callable[[Connection], object]
Many = Callable[[Connection, list[Any]], list[Any]]


class _Job:
    """An operation, or one item of a batched one, and its future."""

    __slots__ = ("error", "future", "item", "loop", "many", "result", "work")

    def __init__(self, work: Work | None, many: Many | None, item: object) -> None:
        self.work = work
        self.many = many
        self.item = item
        self.result: object = None
        self.error: Exception | None = None
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[object] = self.loop.create_future()

    def __call__(self, connection: Connection) -> object:
        """Run it alone."""
        if self.work is not None:
            return self.work(connection)
        assert self.many is not None
        return self.many(connection, [self.item])[0]

    def settle(self) -> None:
        """Set the future's result, in the event loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class GroupCommit:
    """Accepts operations from the event loop and runs them until `close`: in order, reports in one of their own."""

    def __init__(self, engine: Engine, turn: contextlib.AbstractContextManager[None] | None = None) -> None:
        """`turn`: what is held during a transaction."""
        self._engine, self._turn = engine, turn or contextlib.nullcontext()
        self._queue: deque[_Job] = deque()
        self._reports: deque[_Job] = deque()
        self._condition = threading.Condition()
        self._closed = False
        self._connection: Connection | None = None
        self._thread = new_thread(target=self._run, name="store")
        self._thread.start()

    async def run(self, work: Callable[[Connection], R], *, report: bool = False) -> R:
        """Return the result of `work(connection)` once it is durable. Raises its exception, or StoreError.

        When another operation of the same commit fails, it runs again: it must have no effect outside the database.
        """
        return cast(R, await self._put(_Job(work, None, None), report))

    async def gather(self, work: Callable[[Connection, list[T]], list[R]], item: T, *, report: bool = False) -> R:
        """As `run`, for an operation on many items at once, which returns a result for each in order."""
        return cast(R, await self._put(_Job(None, work, item), report))

    @property
    def waiting(self) -> int:
        """Number of queued operations."""
        return len(self._queue) + len(self._reports)

    @property
    def reports_waiting(self) -> int:
        """Number of those that are reports."""
        return len(self._reports)

    def close(self) -> None:
        """Finish queued operations and accept no more."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    def _put(self, job: _Job, report: bool) -> asyncio.Future[object]:
        with self._condition:
            if self._closed:
                raise StoreError("the database is closed")
            (self._reports if report else self._queue).append(job)
            self._condition.notify()
        return job.future

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self.waiting and not self._closed:
                    if not self._condition.wait(None if self._connection is None else FRESH_S):
                        self._let_go()
                room = MAX_GROUP - min(LEAST_REPORTS, len(self._reports))
                group = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
                group += [self._reports.popleft() for _ in range(min(MAX_GROUP - len(group), len(self._reports)))]
            if not group:
                self._let_go()
                return
            self._commit(group)
            # set all results, each in its own event loop
            for loop in {job.loop for job in group}:
                jobs = [job for job in group if job.loop is loop]
                try:
                    loop.call_soon_threadsafe(_settle_here, jobs)
                except RuntimeError:
                    _log.warning("%d stored operations have no waiting caller any more", len(jobs))

    def _commit(self, group: list[_Job]) -> None:
        """Run all in one transaction; if one fails, run all again, each with its own savepoint."""
        for attempt in (_together, _one_by_one):
            worked = False
            try:
                with self._turn, self._begin() as connection:
                    attempt(connection, group)
                    worked = True
                return
            except Exception as error:  # noqa: BLE001 - goes to the caller
                if worked or attempt is _one_by_one:  # a failed commit may still have taken effect
                    for job in group:
                        job.error = as_store_error(error)
                    return

    @contextlib.contextmanager
    def _begin(self) -> Iterator[Connection]:
        """Begin a transaction, on the connection of the last one if that was just now: to give it back and take it
        again costs as much as a small transaction."""
        known = self._connection
        if known is None or known.get_execution_options() is not self._engine.get_execution_options():
            self._let_go()
            self._connection = known = self._engine.connect()
        try:
            with known.begin():
                yield known
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _together(connection: Connection, group: list[_Job]) -> None:
    """Run every operation; items of one batched operation together, in the place of the first."""
    items: dict[Many, list[_Job]] = {}
    for job in group:
        if job.many is not None:
            items.setdefault(job.many, []).append(job)
    for job in group:
        if job.work is not None:
            job.result = job.work(connection)
        elif job.many is not None and (of_work := items.pop(job.many, None)) is not None:
            results = job.many(connection, [each.item for each in of_work])
            for each, result in zip(of_work, results, strict=True):
                each.result = result


def _one_by_one(connection: Connection, group: list[_Job]) -> None:
    for job in group:
        try:
            with connection.begin_nested():
                job.result = job(connection)
        except Exception as error:
            if connection.invalidated or not connection.in_transaction():
                raise
            job.error = as_store_error(error)


def as_store_error(error: Exception) -> Exception:
    """Return a database's error as StoreError, UnstorableError if it is a lasting one, any other unchanged.

    Its frames let go of what they hold: a cursor there would keep SQLite's log in use as long as the error is known.
    """
    clear_frames(error.__traceback__)
    if not isinstance(error, SQLAlchemyError):
        return error
    if isinstance(error, LASTING):
        refusal: StoreError = UnstorableError(
            f"the database rejects values: {said(error)}", hint="do not send them again"
        )
    else:
        why = f"database error: {said(error)}"
        refusal = StoreError(why, hint="is it running, is the disk full, or is a file damaged?")
    refusal.__cause__ = error
    return refusal


def said(error: SQLAlchemyError) -> str:
    """Return what the database says, without statement and values: logs and events have it."""
    own = error.orig if isinstance(error, StatementError) else None
    return str(own or error).partition("\n")[0]


def _settle_here(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()
