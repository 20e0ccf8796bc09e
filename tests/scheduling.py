"""The distribution of tests among workers: that of `--dist loadgroup`, without looking at all tests for each.

pytest-xdist counts whatever a worker has ever had, looks each test up in a list of all, and sends it alone: with twenty
thousand that is a large part of a core, and workers wait for it.
"""

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

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give a worker its next tests; all workers have found the same ones."""
        assert self.collection is not None
        self._places = self._places or {name: place for place, name in enumerate(self.collection)}
        share = len(self.workqueue) // (16 * len(self.nodes))
        chosen = dict(self.workqueue.popitem(last=False) for _ in range(max(1, min(MOST_AT_ONCE, share))))
        self.assigned_work[node].update(chosen)
        tests = [name for group in chosen.values() for name, over in group.items() if not over]
        node.send_runtest_some([self._places[name] for name in tests])


@pytest.hookimpl(optionalhook=True)  # mutants run without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Take the place of pytest-xdist's own where tests are grouped."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadgroup" else None
