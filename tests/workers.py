"""Tests in several processes (`--workers N`): collected once, then run by copies of this one.

Where each worker collects everything for itself, as those of pytest-xdist do, that takes longer than most folders of
tests. Here the process that has collected everything forks, deals out the tests and shows what its workers report.
Each worker has a part of its own, and in the end helps others: neighbours wait, or calculate, at the same time. Tests
marked `one_worker(name)` with the same name run in one worker, which keeps for them what is costly to make.
"""

import atexit
import multiprocessing
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

import pytest

AHEAD: Final = 2
"""So many tests a worker has at least: it takes down after one what the next does not use."""
MOST_AT_ONCE: Final = 8
"""So many tests without a name are sent together, fewer towards the end."""
CRASHES: Final = 2
"""After so many no worker takes the place of one that has crashed."""

_FORK: Final = multiprocessing.get_context("fork")
_WARNING: Final = "a warning"
_OF_THE_FIRST: Final = ("terminalreporter", "lfplugin", "nfplugin", "stepwiseplugin", "_cov")
"""Plugins that only the process that shows reports has to do with."""


class _Worker:
    """A process that runs tests: those of its own part, those that it has, and its reports of them."""

    def __init__(self, session: pytest.Session, part: deque[int], others: Sequence["_Worker"]) -> None:
        self.part = part
        self.has: deque[int] = deque()
        self.ends = False
        self.link, theirs = _FORK.Pipe()
        ours = (self.link, *(each.link for each in others))
        self.process: BaseProcess = _FORK.Process(target=_work, args=(session, theirs, ours))
        self.process.start()
        theirs.close()

    def give(self, tests: list[int]) -> None:
        """Send tests by their places; none end it."""
        self.has.extend(tests)
        self.ends = not tests
        with suppress(ConnectionError):  # it has crashed: to receive from it says so
            self.link.send(tests)


class Workers:
    """Deals out what was collected."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._named: deque[list[int]] = deque()
        self._workers: list[_Worker] = []
        self._crashes = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Have one folder for the files of all workers."""
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Take the place of pytest's own loop, which goes through the tests one by one."""
        if session.config.option.collectonly or session.testsfailed or not session.items:
            return None
        named: dict[str, list[int]] = {}
        alone = []
        for place, item in enumerate(session.items):
            if mark := item.get_closest_marker("one_worker"):
                named.setdefault(mark.args[0], []).append(place)
            else:
                alone.append(place)
        self._named.extend(sorted(named.values(), key=len, reverse=True))
        number = min(self._number, len(self._named) + len(alone))
        edges = [len(alone) * edge // number for edge in range(number + 1)]
        try:
            for begin, end in pairwise(edges):
                self._start(session, deque(alone[begin:end]))
            while self._workers:
                self._receive(session)
        finally:
            for worker in self._workers:  # it ends with the test that it runs
                worker.link.close()
            for worker in self._workers:
                worker.process.join()
        return True

    def _start(self, session: pytest.Session, part: deque[int]) -> None:
        self._workers.append(worker := _Worker(session, part, self._workers))
        self._supply(worker)

    def _receive(self, session: pytest.Session) -> None:
        """Show what some workers have to report, and give them more."""
        by_link = {worker.link: worker for worker in self._workers}
        for worker in [by_link[link] for link in wait(list(by_link)) if isinstance(link, Connection)]:
            try:
                reports: list[dict[str, Any]] = worker.link.recv()
            except (EOFError, ConnectionError):
                self._ended(session, worker)
                continue
            item = session.items[worker.has.popleft()]
            self._show(item, reports)
            self._supply(worker)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)

    def _show(self, item: pytest.Item, reports: list[dict[str, Any]]) -> None:
        """Give pytest's other plugins what a worker has to report of a test."""
        hook = item.config.hook
        for data in reports:
            if warning := data.get(_WARNING):
                hook.pytest_warning_recorded.call_historic(kwargs=warning)
            else:
                report = hook.pytest_report_from_serializable(config=item.config, data=data)
                hook.pytest_runtest_logreport(report=report)
        where = next((data["location"] for data in reports if "location" in data), None)  # else it is looked up again
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=where or item.location)

    def _ended(self, session: pytest.Session, worker: _Worker) -> None:
        """Let another one take the place of a worker that has crashed; the test in which it did has failed."""
        worker.process.join()
        self._workers.remove(worker)
        if not worker.has:
            return
        item = session.items[worker.has.popleft()]
        what = f"its process has ended with exit code {worker.process.exitcode}"
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", what, "call")
        session.config.hook.pytest_runtest_logreport(report=report)
        self._crashes += 1
        if self._crashes > CRASHES:
            raise session.Interrupted(f"{self._crashes} workers have crashed")
        if worker.has:
            self._named.appendleft(list(worker.has))
        self._start(session, worker.part)

    def _supply(self, worker: _Worker) -> None:
        while len(worker.has) < AHEAD and not worker.ends:
            worker.give(self._next(worker))

    def _next(self, worker: _Worker) -> list[int]:
        """Return what a worker does next: tests of one name; some of its own part; the last one of the longest part."""
        if self._named:
            return self._named.popleft()
        if worker.part:
            share = sum(len(each.part) for each in self._workers) // (16 * self._number)
            return [worker.part.popleft() for _ in range(max(1, min(MOST_AT_ONCE, share, len(worker.part))))]
        longest = max((each.part for each in self._workers), key=len)
        return [longest.pop()] if longest else []


class _Reports:
    """What a worker has to report of a test."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._all: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report."""
        if report.when == "call":  # as the one who shows it does: subtests that failed are counted here
            self._config.hook.pytest_report_teststatus(report=report, config=self._config)
        self._all.append(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        """Keep a warning by its text: what else it has may be of no use to another process."""
        text = f"{warning_message.category.__name__}: {warning_message.message}"
        plain = warnings.WarningMessage(text, Warning, warning_message.filename, warning_message.lineno)
        warning = {"warning_message": plain, "when": when, "nodeid": nodeid, "location": location}
        self._all.append({_WARNING: warning})

    def taken(self) -> list[dict[str, Any]]:
        """Return what there is, and forget it."""
        taken, self._all = self._all, []
        return taken


def _given(link: Connection) -> Iterator[int]:
    """Yield the places of tests until all are given, or the first process has ended."""
    try:
        while tests := link.recv():
            yield from tests
    except EOFError:
        return


def _work(session: pytest.Session, link: Connection, others: Sequence[Connection]) -> None:
    """Run the tests that a new process is given."""
    for each in others:  # so that they end with the first process
        each.close()
    atexit._clear()
    plugins = session.config.pluginmanager
    for name in _OF_THE_FIRST:
        if plugins.has_plugin(name):
            plugins.unregister(name=name)
    capture = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()  # its files are those of the first process
    capture.start_global_capturing()
    plugins.register(reports := _Reports(session.config))
    tests = _given(link)
    try:
        item = next(tests, None)
        while item is not None:
            following = next(tests, None)
            after = None if following is None else session.items[following]
            session.config.hook.pytest_runtest_protocol(item=session.items[item], nextitem=after)
            link.send(reports.taken())
            item = following
    except (ConnectionError, KeyboardInterrupt):
        pass
    finally:
        plugins.getplugin("runner").pytest_sessionfinish(session)  # what an ended run has set up for later tests
        capture.stop_global_capturing()
        atexit._run_exitfuncs()
