"""What tests of several folders need: certificates and a broker."""

import gc
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.internal.conjecture import providers
from hypothesis.strategies import none

from docs.tried_with import peers
from pki_tools.pytest_plugin import pki
from pki_tools.tree import PkiTree
from tests import patient
from tests.repeats import Repeats
from tests.sealing import Keys, new_keys
from tests.tried import Tried
from tests.workers import Workers
from v2g_cli.demo.broker import Broker, find_mosquitto, start_broker

__all__ = ["broker", "pki"]

EXAMPLES = int(os.environ.get("V2G_EXAMPLES", "15"))
"""Of a property that does not say how many: others in each run, 100 in `make verify`."""

FEW = 4
"""So many cases of a test all run, whatever share is asked for."""


MEMORY = Path("/dev/shm")
"""Where tests have their folders if it has room: they sync thousands of files, and wait for no disk."""

ROOM = 8 << 30
"""So many octets have to be free there."""

LONGEST = 80
"""So many characters or octets of a case are its name."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let long runs be cut short."""
    parser.addoption("--workers", type=int, default=0, metavar="N", help="run tests in N processes")
    parser.addoption("--share", type=int, default=1, metavar="N", help="of tests with more than 4 cases run every Nth")
    parser.addoption("--turn", type=int, default=0, metavar="K", help="with --share: begin with the Kth case")
    parser.addoption("--repeated", action="store_true", help="say in the end which tests were run once more")
    parser.addoption("--tried", action="store_true", help="run tests of docs/tried.toml, and note which peers passed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave most cases of a test marked `some` to `make long`, and keep a share of all, as `make verify` asks."""
    cases = Counter(item.nodeid.partition("[")[0] for item in items)
    seen: Counter[str] = Counter()
    share, turn = config.getoption("--share"), config.getoption("--turn")
    kept, left = [], []
    for item in items:
        name = item.nodeid.partition("[")[0]
        some = item.get_closest_marker("some")
        if some and seen[name] * some.args[0] % cases[name] >= some.args[0]:
            item.add_marker(pytest.mark.long)
        (left if cases[name] > FEW and (seen[name] - turn) % share else kept).append(item)
        seen[name] += 1
    if left:
        items[:] = kept
        config.hook.pytest_deselected(items=left)


def _has_room(folder: Path) -> bool:
    """Say whether tests may keep their files there, and run programs from there."""
    if not folder.is_dir() or shutil.disk_usage(folder).free < ROOM:
        return False
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def pytest_configure(config: pytest.Config) -> None:
    """Let no test be judged by how much of the machine it gets, nor by a shell that runs it in the background, whose
    programs ignore SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Repeats())
    if workers := config.getoption("--workers"):
        config.pluginmanager.register(Workers(workers))
    if config.getoption("--tried"):
        config.pluginmanager.register(Tried(peers()))
    if "TMPDIR" not in os.environ and _has_room(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
    gc.disable()  # what is collected stays: looking through it for cycles is in vain
    patient.install()
    slow = [HealthCheck.too_slow]
    settings.register_profile(
        "any machine", settings(), deadline=None, suppress_health_check=slow, max_examples=EXAMPLES
    )
    settings.load_profile("any machine")
    if "V2G_EXAMPLES" not in os.environ:  # `make verify` also draws what stands in the product: 8 s of each worker's
        providers._get_local_constants = lambda: providers._local_constants


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name no case by a whole document: every worker sends all names, and each report its own."""
    return f"{len(val)} of {type(val).__name__}" if isinstance(val, str | bytes) and len(val) > LONGEST else None


@pytest.hookimpl(trylast=True)
def pytest_sessionstart() -> None:
    """Let Hypothesis look through all objects, as it does once, while there are few."""
    given(none())(lambda _: None)()


def pytest_collection_finish() -> None:
    """Never look through the tests again: that takes longer than a program under test may wait."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # many tests are short: most of what they make is gone by itself
    gc.enable()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with nothing in it."""
    from csms.db.store import open_sqlite

    path = tmp_path_factory.mktemp("store") / "csms.sqlite3"
    open_sqlite(path).close()
    return path


@pytest.fixture
def broker(pki: PkiTree, tmp_path: Path) -> Iterator[Broker]:
    """A mosquitto of this test's own."""
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed (Debian package mosquitto)")
    running = start_broker(program, tmp_path / "broker", pki)
    yield running
    running.stop()


@pytest.fixture(params=["plain", "sealed"])
def keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Run a test of stored files twice: without keys, and with (R145)."""
    return None if request.param == "plain" else new_keys(tmp_path_factory.mktemp("keys") / "journal.keys")
