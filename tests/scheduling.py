"""The distribution of tests among workers: that of `--dist loadgroup`, without looking at all tests for each.

pytest-xdist lets each worker collect all tests, counts whatever a worker has ever had, looks each test up in a list of
all, and sends it alone: with twenty thousand that is a large part of a core, and workers wait for it. It also deals out
neighbours at the same time, so where programs have to wait for each other, all workers wait, and where there is much to
calculate, all calculate. Here each worker has a part of its own, and in the end helps the next one; of all tests it
collects these two parts only.
"""

import functools
import importlib
import os
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController

MOST_AT_ONCE: Final = 8
"""So many groups are sent together, fewer towards the end."""

_GROUP: Final = b"xdist_group("
"""What marks tests of a group: it may have some in several modules, so every worker collects these."""


class Scheduling(LoadGroupScheduling):
    """Forgets what is over; a test without a group is one of its own; a worker does what it has collected."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        self._places: dict[WorkerController, dict[str, int]] = {}
        self._parts: dict[WorkerController, deque[str]] = {}

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Note what a worker can do; the one in place of one that crashed can do everything."""
        number = len(self.registered_collections)
        begin = len(collection) * number // self.numnodes if self._same(collection) else 0
        self.registered_collections[node] = list(collection)
        self._places[node] = {name: place for place, name in enumerate(collection)}
        self._parts[node] = deque([*collection[begin:], *collection[:begin]])

    def schedule(self) -> None:
        """Begin when all workers have collected, and go on with one that has come later."""
        if self.collection is None:
            self._agree()
            self.collection = list(dict.fromkeys(name for each in self._places.values() for name in each))
            if session := self.config.pluginmanager.get_plugin("session"):
                session.testscollected = len(self.collection)
            groups: dict[str, dict[str, bool]] = defaultdict(dict)
            for name in self.collection:
                groups[self._split_scope(name)][name] = False
            self.workqueue.update(sorted(groups.items(), key=lambda group: -len(group[1])))
        for node in self.nodes:
            self._reschedule(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Note that a test is over, and give its worker more where it has too few left."""
        name = self.registered_collections[node][item_index]
        work, group = self.assigned_work[node], self._split_scope(name)
        if group not in work:  # a test with subtests ends several times
            return
        work[group][name] = True
        if all(work[group].values()):
            del work[group]
        self._reschedule(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """Let others do what a worker has left; return the test in which it crashed, which is not run again."""
        left = self.assigned_work.pop(node)
        crashed: str | None = next((name for tests in left.values() for name, over in tests.items() if not over), None)
        if crashed is not None:
            left[self._split_scope(crashed)][crashed] = True
        self.workqueue.update({group: tests for group, tests in left.items() if not all(tests.values())})
        for each in self.nodes:
            self._reschedule(each)
        return crashed

    def _same(self, collection: Sequence[str]) -> bool:
        """Say whether the other workers have all collected that, too."""
        return all(len(other) == len(collection) for other in self.registered_collections.values())

    def _agree(self) -> None:
        """Report modules of which workers have found different tests."""
        found: dict[str, set[str]] = {}
        for node, names in self.registered_collections.items():
            modules = defaultdict(set)
            for name in names:
                modules[name.partition("::")[0]].add(name)
            for module, tests in modules.items():
                if other := tests ^ found.setdefault(module, tests):
                    text = f"{node.gateway.id} and another worker have found different tests: {sorted(other)[:9]}"
                    self.config.hook.pytest_collectreport(report=pytest.CollectReport(module, "failed", text, []))

    def _reschedule(self, node: WorkerController) -> None:
        """Give a worker more if it has nearly nothing left, and end it if there is nothing that it can do."""
        collecting = self.collection is None or node not in self._places
        if collecting or node.shutting_down or self._pending_of(self.assigned_work[node]) > 2:
            return
        share = len(self.workqueue) // (16 * len(self.nodes))
        chosen = {}
        while len(chosen) < max(1, min(MOST_AT_ONCE, share)) and (group := self._next(node)):
            chosen[group] = self.workqueue.pop(group)
        if not chosen:
            node.shutdown()
            return
        self.assigned_work[node].update(chosen)
        tests = [name for group in chosen.values() for name, over in group.items() if not over]
        node.send_runtest_some([self._places[node][name] for name in tests])

    def _next(self, node: WorkerController) -> str | None:
        """Return what a worker does next: a large group; a test of its own part, then of the next; what a worker that
        crashed has left."""
        first: str | None = next(iter(self.workqueue), None)
        if first is None or len(self.workqueue[first]) > 1:
            return first
        part, places = self._parts[node], self._places[node]
        while part:
            if (name := part.popleft()) in self.workqueue:
                return name
        return next((group for group, tests in self.workqueue.items() if places.keys() >= tests.keys()), None)


def pytest_configure(config: pytest.Config) -> None:
    """Let a worker report what tests come to, not each of their steps that passed: reading that takes a millisecond."""
    if config.option.verbose > 0 or config.option.durations or config.option.xmlpath:
        return
    for plugin in config.pluginmanager.get_plugins():
        if send := getattr(plugin, "sendevent", None):  # it is pytest-xdist's, and this process a worker
            plugin.sendevent = _sending(send)


def _sending(send: Callable[..., None]) -> Callable[..., None]:
    def sendevent(name: str, **event: Any) -> None:
        if name in ("logstart", "logfinish"):
            return
        if name == "testreport" and event["data"]["outcome"] == "passed" and event["data"]["when"] != "call":
            return
        send(name, **event)

    return sendevent


@functools.cache
def _own(config: pytest.Config) -> dict[Path, int]:
    """Return the modules that this worker collects, with their place: its own part, the next worker's, those with
    groups. It is empty where all modules are collected: a few of them, or in place of a worker that crashed."""
    grouped = config.getoption("loadgroup", None)  # only workers have it
    if not grouped or config.args != config.getini("testpaths"):
        return {}
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    if (number := int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))) >= workers:
        return {}
    folders = [config.rootpath / each for each in config.getini("testpaths")]
    texts = {path: path.read_bytes() for each in folders for path in sorted(each.rglob("test_*.py"))}
    shared = [path for path, text in texts.items() if _GROUP in text]
    ends = accumulate(len(text) for text in texts.values())
    whose = {path: (end - 1) * workers // sum(map(len, texts.values())) for path, end in zip(texts, ends, strict=True)}
    parts = [[path for path in texts if whose[path] == each % workers] for each in (number, number + 1)]
    return {path: place for place, path in enumerate(dict.fromkeys([*parts[0], *parts[1], *shared]))}


@functools.cache
def _kept(config: pytest.Config) -> frozenset[Path]:
    """Return the modules that this worker collects, and the folders in which they are."""
    return frozenset(path for each in _own(config) for path in (each, *each.parents))


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Let each of several workers load its own part of the tests first, when all are run.

    Most of a collection on a clean machine is the rewriting of assertions, which is kept on the disk. So each uses what
    the next one has written.
    """
    for file in _own(session.config):
        with suppress(Exception, pytest.skip.Exception):  # what is wrong with it, its collection says
            importlib.import_module(".".join(file.relative_to(session.config.rootpath).with_suffix("").parts))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what other workers collect, with what its folders need."""
    kept = _kept(config)
    other = collection_path not in kept and (collection_path.is_dir() or collection_path.name.startswith("test_"))
    return True if kept and other else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the worker's own part."""
    own = _own(config)
    items.sort(key=lambda item: own.get(item.path, 0))


@pytest.hookimpl(optionalhook=True)  # mutants run without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Take the place of pytest-xdist's own where tests are grouped."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadgroup" else None
