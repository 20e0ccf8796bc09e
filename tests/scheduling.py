"""The distribution of tests among workers: that of `--dist loadgroup`, without looking at all tests for each.

pytest-xdist counts whatever a worker has ever had, looks each test up in a list of all, and sends it alone: with twenty
thousand that is a large part of a core, and workers wait for it. It also deals out neighbours at the same time, so
where programs have to wait for each other, all workers wait, and where there is much to calculate, all calculate. Here
each worker has a part of its own, and in the end helps others.
"""

from collections import deque
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController

MOST_AT_ONCE: Final = 8
"""So many groups are sent together, fewer towards the end."""


class Scheduling(LoadGroupScheduling):
    """Forgets what is over; a test without a group is one of its own."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        self._places: dict[str, int] = {}
        self._parts: dict[WorkerController, deque[str]] = {}

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

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give a worker its next tests; all workers have found the same ones."""
        assert self.collection is not None
        if not self._places:
            self._places = {name: place for place, name in enumerate(self.collection)}
            self._divide()
        share = len(self.workqueue) // (16 * len(self.nodes))
        chosen = {}
        for _ in range(max(1, min(MOST_AT_ONCE, share))):
            name = self._next(node)
            chosen[name] = self.workqueue.pop(name)
        self.assigned_work[node].update(chosen)
        tests = [name for group in chosen.values() for name, over in group.items() if not over]
        node.send_runtest_some([self._places[name] for name in tests])

    def _divide(self) -> None:
        """Give each worker a part of the tests without a group."""
        alone = [name for name, group in self.workqueue.items() if len(group) == 1]
        for number, node in enumerate(nodes := self.nodes):
            begin, end = (len(alone) * edge // len(nodes) for edge in (number, number + 1))
            self._parts[node] = deque(alone[begin:end])

    def _next(self, node: WorkerController) -> str:
        """Return what a worker does next: a large group; a test of its own part; the last one of the longest part; or
        what a worker that crashed has left."""
        first: str = next(iter(self.workqueue))
        if len(self.workqueue[first]) > 1:
            return first
        if own := self._parts.get(node):
            return own.popleft()
        longest = max(self._parts.values(), key=len)
        return longest.pop() if longest else first


@pytest.hookimpl(optionalhook=True)  # mutants run without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Take the place of pytest-xdist's own where tests are grouped."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadgroup" else None
