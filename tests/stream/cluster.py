"""A cluster of Apache Flink of the tests' own."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
ENVIRONMENT: Final = ROOT / ".cache" / "stream"
HOME: Final = next(iter(ENVIRONMENT.glob("lib/python3*/site-packages/pyflink")), None)

LONG: Final = [
    pytest.mark.long,
    pytest.mark.skipif(HOME is None or shutil.which("java") is None, reason="needs Java, and `make stream`"),
]

# Its own time limits hold on a machine of which it gets a tenth. That a manager was killed is seen by its connection.
CONFIG = """jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.memory.process.size: 1g
taskmanager.host: 127.0.0.1
taskmanager.memory.process.size: 1g
taskmanager.numberOfTaskSlots: 1
parallelism.default: 2
rest.port: {rest}
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
execution.checkpointing.dir: file://{folder}/checkpoints
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 10
restart-strategy.fixed-delay.delay: 1s
pekko.startup-timeout: 120 s
pekko.ask.timeout: 60 s
taskmanager.registration.timeout: 15 min
heartbeat.interval: 1000
heartbeat.timeout: 60000
python.executable: {python}
python.client.executable: {python}
python.fn-execution.bundle.time: 200
"""


class Cluster:
    """A job manager and two task managers, as processes in `folder`."""

    def __init__(self, folder: Path, rpc: int, rest: int) -> None:
        assert HOME is not None
        self._home, self.folder, self._rest = HOME, folder, rest
        self._environment = {
            **os.environ, "FLINK_CONF_DIR": str(folder / "conf"), "FLINK_LOG_DIR": str(folder),
            "PYTHONPATH": str(ROOT), "PATH": f"{ENVIRONMENT}/bin:{os.environ['PATH']}",
        }  # fmt: skip
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        shutil.copytree(HOME / "conf", folder / "conf")
        given = (HOME / "conf" / "config.yaml").read_text().splitlines()
        (java,) = [line.strip() for line in given if line.strip().startswith("all: --add-")]  # what Java 17 has to open
        text = CONFIG.format(rpc=rpc, rest=rest, folder=folder, python=ENVIRONMENT / "bin" / "python")
        (folder / "conf" / "config.yaml").write_text(f"{text}env.java.opts.{java}\n")
        self.processes = [self._start("jobmanager")]
        self.managers = [self.add(), self.add()]

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a process, and again where it ends, as a service manager does.

        A task manager ends where its Python runner fails in cancelling a task (Beam: `Reference count must not be
        negative`), perhaps when another one is killed.
        """
        with (self.folder / f"{name}.{len(list(self.folder.glob('*.out')))}.out").open("wb") as log:
            again = 'while :; do "$0" start-foreground; sleep 1; done'
            return subprocess.Popen(
                ["sh", "-c", again, str(self._home / "bin" / f"{name}.sh")], stdout=log, stderr=log,
                env=self._environment, start_new_session=True,
            )  # fmt: skip

    def add(self) -> subprocess.Popen[bytes]:
        """Start another task manager."""
        self.processes.append(self._start("taskmanager"))
        return self.processes[-1]

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process with all that it has started."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def ask(self, path: str) -> Any:
        """Ask the job manager; None while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._rest}{path}", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def submit(self, *arguments: str) -> str:
        """Submit the job; return its id."""
        done = subprocess.run(
            [str(self._home / "bin" / "flink"), "run", "-d", "-py", str(ROOT / "deploy/stream/job.py"), *arguments],
            env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip().rpartition(" ")[2]

    def cancel(self, job: str) -> None:
        """End a job, and wait until its slots are free."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._rest}/jobs/{job}", method="PATCH")
        urllib.request.urlopen(request, timeout=30).close()
        until(lambda: self.ask(f"/jobs/{job}")["state"] == "CANCELED")

    def cpu_s(self) -> float:
        """Return the processor time of the task managers that live, with all that they have started."""
        groups, spent = {each.pid for each in self.managers}, 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) in groups:
                spent += int(fields[11]) + int(fields[12])
        return spent / os.sysconf("SC_CLK_TCK")


def until(holds: Callable[[], Any], seconds: float = 900.0) -> Any:
    """Wait for what takes a minute, and ten where the cluster gets a tenth of a machine: only what hangs fails."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@pytest.fixture
def cluster(tmp_path: Path, unused_tcp_port_factory: Callable[[], int]) -> Iterator[Cluster]:
    made = Cluster(tmp_path, unused_tcp_port_factory(), unused_tcp_port_factory())
    yield made
    for each in made.processes:
        if each.poll() is None:
            made.kill(each)
