"""Which tests may be repeated: those of real programs, connections and serial lines. A busy machine can miss their time
limits.

A run in which only such tests failed ends with exit code 10 instead of 1; `make` then runs those once more, alone, and
the last line says which. Any other test that fails once has failed.
"""

import os
import sys
from typing import Any, Final

import pytest

REPEATABLE: Final = 10
"""Exit code of a run in which nothing failed but such tests."""

_KIND: Final = "in real time"
_EVENTS: Final = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "socket.bind")
_MARKS: Final = ("e2e", "interop", "real_time")
"""Of tests whose programs may have been started for several of them, and of threads that no event shows."""


class Repeats:
    """Notes what failed and why it may be repeated; in workers and in the process that they report to."""

    def __init__(self) -> None:
        self._unseen = dict.fromkeys(_EVENTS)
        self._failed: dict[str, bool] = {}
        sys.addaudithook(self._unseen.pop)  # in C: a test of a back end has 1,000 other events
        name_of = os.ttyname

        def named(fd: int) -> str:
            """Return the name of a simulated serial line, which somebody is to open."""
            self._unseen.clear()
            return name_of(fd)

        os.ttyname = named

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Any:
        """Forget the test before."""
        self._unseen.update(dict.fromkeys(_EVENTS))
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        """Say in a report that its test has been in real time."""
        report: pytest.TestReport = yield
        real = len(self._unseen) < len(_EVENTS)
        if report.failed and (real or any(map(item.get_closest_marker, _MARKS))):
            report.user_properties.append((_KIND, True))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what failed."""
        if report.failed:
            repeatable = (_KIND, True) in (tuple(each) for each in report.user_properties)
            self._failed[report.nodeid] = self._failed.get(report.nodeid, True) and repeatable

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Tell a run that may be repeated by its exit code."""
        if exitstatus == pytest.ExitCode.TESTS_FAILED and self._failed and all(self._failed.values()):
            session.exitstatus = REPEATABLE

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Name what was repeated."""
        if config.getoption("--repeated"):
            reports = [each for kind in ("passed", "failed") for each in terminalreporter.getreports(kind)]
            names = sorted({each.nodeid for each in reports})
            terminalreporter.write_line(f"{len(names)} repeated: {', '.join(names)}")
