"""Runs mutants: `python -m tests.mutants [-j N] [MODULE ...]`. Exit code 1 when one survives.

Tests of a module are collected and run once, with a note of which lines each of them reaches. Each mutant of a function
is then a fork of that process, in which the function's code is replaced and those tests are run that reach it. What a
module or a class does when it is made is tried in a fork that has not yet imported anything of the project.
"""

import argparse
import gc
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from tests.mutants.operators import Mutant, mutants
from tests.mutants.targets import EQUIVALENT, TARGETS, Target
from tests.patient import kept_waiting_s

KILLED, SURVIVED, BROKEN = 1, 0, 3
_PLUGINS = ("pytest_asyncio.plugin", "_hypothesis_pytestplugin")
_PROJECT = ("v2g", "pki_tools", "secc", "evcc", "csms")
WALL_S = 300.0
"""No test of a mutant may wait for longer, but for a core; what it may calculate depends on what its tests take."""
THREAD_S = 2.0
"""How long a test of a mutant waits for a thread that may never end."""


class Pool:
    """Runs jobs in forks, some at a time, and notes how they end. What survives, and is not known to be equivalent, is
    printed at once: a run that is cut short has found that, too."""

    def __init__(self, at_once: int, title: str, total: int, known: Collection[str] = ()) -> None:
        self._at_once, self._title, self._total, self._known = at_once, title, total, known
        self._running: dict[int, tuple[Mutant, float]] = {}
        self.ended: dict[str, str] = {}

    def add(self, mutant: Mutant, job: Callable[[], int]) -> None:
        """Run a job as soon as there is room; it returns KILLED or SURVIVED."""
        while len(self._running) >= self._at_once:
            self._wait()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _quiet()
            code = BROKEN
            try:
                code = job()
            finally:
                os._exit(code)
        self._running[pid] = (mutant, time.monotonic())

    def unreached(self, mutant: Mutant) -> None:
        """No test has anything to do with this one."""
        self._note(mutant, "survived: no test reaches it")

    def finish(self) -> dict[str, str]:
        """Wait for all of them, and return how each ended."""
        while self._running:
            self._wait()
        return self.ended

    def _wait(self) -> None:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                break
            for late, (_, began) in self._running.items():
                if time.monotonic() - began > WALL_S + kept_waiting_s(late):
                    os.kill(late, 9)
            time.sleep(0.005)
        mutant, _ = self._running.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        words = {KILLED: "killed", SURVIVED: "survived", BROKEN: "broken"}
        self._note(mutant, "killed: out of time" if code < 0 else words.get(code, "broken"))

    def _note(self, mutant: Mutant, how: str) -> None:
        self.ended[mutant.name] = how
        if not how.startswith("killed") and mutant.name not in self._known:
            print(f"{self._title}: {how}: {mutant.name}", flush=True)
        if sys.stdout.isatty():
            print(f"\r{self._title}: {len(self.ended)} of {self._total}", end="", flush=True)


def _limit(cpu_s: float) -> None:
    """Be ended after so much more calculation."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime + cpu_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _quiet() -> None:
    """Be a child that says nothing."""
    null = os.open(os.devnull, os.O_RDWR)
    for each in (0, 1, 2):
        os.dup2(null, each)


class Session:
    """A pytest plugin that runs the tests once and then the mutants of functions, instead of the tests alone."""

    def __init__(self, target: Target, found: list[Mutant], pool: Pool) -> None:
        self._target, self._found, self._pool = target, found, pool
        self._failed = False
        self.sound = False
        self.reached: dict[str, set[int]] = {}
        self.took: dict[str, float] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Let properties be tried with the same examples each time, and let none be shrunk; word no failure."""
        config.option.tbstyle = "native"
        _determined()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        self._failed = self._failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run everything."""
        if session.testsfailed:
            return True
        file = str(Path(self._target.path).resolve())
        module = importlib.import_module(self._target.module)  # also one that tests only find by its name
        between = _Between(session)
        for item in session.items:
            self._run_noted(item, between, file, module)
            if self._failed:
                return True
        self.sound = True
        gc.collect()
        gc.freeze()
        for mutant in self._found:
            if mutant.function:
                self._try(mutant, session.items, module, between)
        return True

    def _run_noted(self, item: pytest.Item, between: Any, file: str, module: ModuleType) -> None:
        lines = self.reached.setdefault(item.nodeid, set())

        def local(frame: Any, event: str, _arg: Any) -> Any:
            if event == "line":
                lines.add(frame.f_lineno)
            return local

        def trace(frame: Any, _event: str, _arg: Any) -> Any:
            return local if frame.f_code.co_filename == file else None

        _forget(module)
        began = time.process_time()
        threading.settrace(trace)  # of those that the test starts, such as a store's
        sys.settrace(trace)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=between)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
        self.took[item.nodeid] = time.process_time() - began

    def _try(self, mutant: Mutant, items: list[pytest.Item], module: ModuleType, between: Any) -> None:
        lines = set(range(mutant.lines[0], mutant.lines[1] + 1))
        chosen = [each for each in items if self.reached[each.nodeid] & lines]
        chosen.sort(key=lambda each: self.took[each.nodeid])
        if not chosen:
            self._pool.unreached(mutant)
            return

        def job() -> int:
            _impatient()
            swap(module, mutant)
            for item in chosen:
                _limit(2 + 5 * self.took[item.nodeid])  # of each: what hangs does so in the first, the shortest
                try:
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=between)
                except SystemError:  # of CPython 3.11, when pytest parses the source of some failures
                    return KILLED
                if self._failed:
                    return KILLED
            return SURVIVED

        self._pool.add(mutant, job)


class _Between:
    """Stands for the next test, so that fixtures of the session stay."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[Any]:
        """See pytest.Item."""
        return [self._session]


def _determined() -> None:
    import hypothesis

    phases = tuple(each for each in hypothesis.Phase if each is not hypothesis.Phase.shrink)
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile(
        "mutants", deadline=None, derandomize=True, database=None, phases=phases, suppress_health_check=slow
    )
    hypothesis.settings.load_profile("mutants")


def _impatient() -> None:
    """Wait for threads for `THREAD_S` only, if the tests use simulated time."""
    if found := sys.modules.get("v2g.io.runtime.virtual_time"):
        vars(found)["THREAD_S"] = THREAD_S


def swap(module: ModuleType, mutant: Mutant) -> None:
    """Give a function of a module the code that it has in the mutant."""
    file = module.__file__ or ""
    code = next(_codes(compile(mutant.tree, file, "exec"), mutant.function))
    owner: Any = module
    *path, name = mutant.function.split(".")
    for each in path:
        owner = vars(owner)[each]
    found = vars(owner)[name]
    while not isinstance(found, FunctionType) or hasattr(found, "__wrapped__"):
        found = found.fget if isinstance(found, property) else inspect.unwrap(getattr(found, "__func__", found))
    if code.co_freevars == found.__code__.co_freevars:
        found.__code__ = code
    else:  # without its only `super()`
        free = dict(zip(found.__code__.co_freevars, found.__closure__ or (), strict=True))
        closure = tuple(free[each] for each in code.co_freevars)
        other = FunctionType(code, vars(module), name, found.__defaults__, closure)
        other.__kwdefaults__ = found.__kwdefaults__
        setattr(owner, name, other)
    _forget(module)


def _forget(module: ModuleType) -> None:
    """Clear its caches: each test reaches what they would have spared it, and none holds anything of before a
    mutant."""
    for each in vars(module).values():
        if hasattr(each, "cache_clear"):
            each.cache_clear()


def _codes(code: CodeType, name: str) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if each.co_qualname == name:
                yield each
            yield from _codes(each, name)


class Importer(importlib.machinery.SourceFileLoader):
    """Imports a module as its mutant."""

    def __init__(self, target: Target, mutant: Mutant) -> None:
        super().__init__(target.module, str(Path(target.path).resolve()))
        self._mutant = mutant

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        """Return the mutant for its name, and nothing for any other."""
        return importlib.util.spec_from_loader(name, self, origin=self.path) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        """Return the mutant's code."""
        return compile(self._mutant.tree, self.path, "exec")


class _Determined:
    """What a session of a mutant that is imported needs of `Session`."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        _determined()

    def pytest_collection_finish(self) -> None:
        _impatient()


def _imported(target: Target, mutant: Mutant) -> int:
    """Run the tests with a module that is imported as its mutant."""
    _limit(target.cpu_s)
    sys.meta_path.insert(0, Importer(target, mutant))  # type: ignore[arg-type]
    code = pytest.main(["-x", "-q", *_options(), *target.tests], plugins=[_Determined()])
    return SURVIVED if code == 0 else KILLED


def _options() -> list[str]:
    loaded = "ignore::pytest.PytestAssertRewriteWarning"  # by `_preload`, before pytest could rewrite it
    plugins = [word for each in _PLUGINS for word in ("-p", each)]
    return ["-p", "no:cacheprovider", *plugins, "-W", loaded]


def _preload(target: Target) -> None:
    """Import what takes long and has nothing to do with the module, once for all mutants that are imported."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for each in (*_PLUGINS, "hypothesis", "v2g_cli.demo.broker", "v2g_cli.demo.processes", "pki_tools.pytest_plugin"):
        importlib.import_module(each)
    if target.module in sys.modules:  # one that the plugins need, too
        for each in [name for name in sys.modules if name.startswith(_PROJECT)]:
            del sys.modules[each]


def try_out(name: str, *, at_once: int, only: str = "", share: int = 1, turn: int = 0) -> bool:
    """Try all mutants of a module, or every Nth of them (`share`); return whether none survives that is not known to be
    equivalent."""
    target = TARGETS[name]
    found = [each for each in mutants(Path(target.path).read_text()) if only in each.name][turn % share :: share]
    known = EQUIVALENT.get(name, {}).keys() & {each.name for each in found}
    began = time.monotonic()
    pool = Pool(at_once, name, len(found), known)
    _preload(target)
    for mutant in found:
        if not mutant.function:
            pool.add(mutant, lambda mutant=mutant: _imported(target, mutant))  # type: ignore[misc]
    pool.finish()
    session = Session(target, found, pool)
    pytest.main(["-p", "no:terminal", *_options(), *target.tests], plugins=[session])
    if not session.sound:
        print(f"{name}: its tests fail already without a mutant", file=sys.stderr)
        return False
    ended = pool.finish()
    survivors = [each for each, how in ended.items() if not how.startswith("killed") and each not in known]
    caught = [each for each in known if ended.get(each, "").startswith("killed")]
    for each in caught:
        print(f"{name}: listed as equivalent, but a test notices it: {each}")
    print(
        f"{name}: {len(found)} mutants, {len(found) - len(survivors) - len(known)} killed, {len(known)} equivalent, "
        f"{len(survivors)} survived; {time.monotonic() - began:.0f} s"
    )
    return not survivors and not caught


def main(arguments: Sequence[str]) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Mutants that a test has to notice.")
    parser.add_argument("module", nargs="*", help=f"one of {', '.join(TARGETS)}; all without", metavar="MODULE")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--only", default="", help="only mutants with this in their name")
    parser.add_argument("--modules", type=int, default=1, metavar="M", help="only every Mth module")
    parser.add_argument("--share", type=int, default=1, metavar="N", help="only every Nth mutant of a module")
    parser.add_argument("--turn", type=int, default=0, metavar="K", help="which part of M * N that is, from 0")
    options = parser.parse_args(arguments)
    unknown = [each for each in options.module if each not in TARGETS]
    if unknown:
        parser.error(f"no such module: {', '.join(unknown)}")
    every, turn = options.modules, options.turn
    names = (options.module or list(TARGETS))[turn % every :: every]
    sound, tried = True, {"only": options.only, "share": options.share, "turn": turn // every}
    for name in names:  # each in a process of its own, in which nothing is imported yet
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if try_out(name, at_once=options.jobs, **tried) else 1
                sys.stdout.flush()
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(code)
        sound = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 and sound
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
