"""Somebody who types the commands of pages, on this machine or on another one."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.docs.documents import Command, File, Step

SCALE: Final = 1000
"""Simulated seconds a second in the demos of these tests; 300 is what a person watches, and the pace of bids, whose
gate closes 300 s before they begin."""

PORTS: Final = ("5020", "9000", "9100", "9443", "8443", "8883", "15118", "20007", "8081", "8088", "8018")
"""Ports in the documents; on this machine a reader takes free ones instead, so that documents can run side by side."""

PATIENCE_S: Final = 600


class Elsewhere(msgspec.Struct, frozen=True):
    """Another machine: its files, the words before a command that run it there, and how long one may take."""

    root: Path
    enter: Sequence[str]
    environment: Mapping[str, str]
    patience_s: float = 900


class Reader:
    """Somebody who follows documents in a folder of their own, in one shell."""

    def __init__(self, folder: Path, elsewhere: Elsewhere | None = None) -> None:
        self._folder, self._elsewhere = folder, elsewhere
        self._state = folder / ".shell"
        self._state.touch()
        self._running: list[tuple[Command, subprocess.Popen[bytes]]] = []
        if elsewhere is None:
            self._ports = {port: str(_free_port()) for port in PORTS}
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            self._environment = {**os.environ, "PATH": path}
            self._inside = folder
        else:
            self._ports = {}
            self._environment = dict(os.environ)
            self._inside = Path("/") / folder.relative_to(elsewhere.root)

    def do(self, step: Step) -> None:
        """Do one step; fail when it does not end as the document says."""
        if isinstance(step, File):
            (self._folder / step.name).write_text(self._adapt(step.text))
        elif step.ready is not None:
            self._begin(step, *step.ready)
        elif step.text == "pip install -e ." and self._elsewhere is None:
            self._install()
        else:
            self._run(step)

    def _install(self) -> None:
        """Install the package in the folder as pip would, but for this reader only, and without an index."""
        project = tomllib.loads((self._folder / "pyproject.toml").read_text())["project"]
        metadata = self._folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        groups = project["entry-points"].items()
        lines = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in each.items()) for group, each in groups
        ]
        (metadata / "entry_points.txt").write_text("".join(lines))
        self._environment["PYTHONPATH"] = str(self._folder)

    def leave(self) -> None:
        """End what runs in the background, the youngest first, and see that it ends well."""
        codes = []
        for command, process in reversed(self._running):
            if process.poll() is None:
                os.kill(process.pid if self._elsewhere is None else _child(process.pid), signal.SIGTERM)
            try:
                codes.append((command.text, process.wait(PATIENCE_S)))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append((command.text, process.wait()))
        self._running.clear()
        assert all(code == 0 for _, code in codes), codes

    def _adapt(self, text: str) -> str:
        if self._elsewhere is not None:
            return text
        for port, free in self._ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return re.sub(r"\bv2g demo(?= --(?:scenario(?! bid)|folder|json)\b)", f"v2g demo --time-scale {SCALE}", text)

    def _words(self, script: str) -> list[str]:
        """Return the words that run a script of bash after the shell's variables and folder were taken up."""
        state = self._inside / self._state.name
        script = f'source {state} 2>/dev/null\ncd "$(cat {state}.folder 2>/dev/null || echo {self._inside})"\n{script}'
        if self._elsewhere is None:
            return ["bash", "-c", script]
        variables = [f"{name}={value}" for name, value in self._elsewhere.environment.items()]
        return [*self._elsewhere.enter, "env", "-i", *variables, "bash", "-c", script]

    def _run(self, command: Command) -> None:
        state = self._inside / self._state.name
        keep = f"declare -p > {state} 2>/dev/null; pwd > {state}.folder"
        done = subprocess.run(
            self._words(f"trap '{keep}' EXIT\n{self._adapt(command.text)}\n"),
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S if self._elsewhere is None else self._elsewhere.patience_s,
            check=False,
        )
        said = f"$ {command.text}\n{done.stdout}{done.stderr}"
        assert done.returncode == command.exit_code, said
        received = iter(_essence(line) for line in (done.stdout + done.stderr).splitlines())
        for line in command.output:
            if line.strip() != "...":
                wanted = _essence(self._adapt(line))
                assert any(wanted == each for each in received), f"missing: {line}\n{said}"

    def _begin(self, command: Command, file: str, word: str) -> None:
        with (self._folder / f"background.{len(self._running)}.log").open("wb") as log:
            process = subprocess.Popen(
                self._words(f"exec {self._adapt(command.text)}"),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running.append((command, process))
        deadline = time.monotonic() + PATIENCE_S
        while word not in _read(self._folder / file):
            assert process.poll() is None, f"$ {command.text}\n{Path(log.name).read_text()}"
            assert time.monotonic() < deadline, f"{file} never had {word}: {Path(log.name).read_text()}"
            time.sleep(0.02)


def _child(pid: int) -> int:
    """Return the only child of a process: what `nsenter` has begun, which gets no signals from it."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _essence(line: str) -> str:
    """Return a line without what differs from run to run: numbers, identifiers, and the width of columns."""
    line = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b", "#", line)
    return " ".join(re.sub(r"\d+(?:[.,:-]\d+)*", "#", line).split())


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])
