"""Whoever types what the documentation says sees what the documentation says."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.docs.documents import ROOT, Command, File, Step, pages, steps
from tests.emissions import fault
from tests.packages import need

SCALE = 1000
"""Simulated seconds a second in the demos of these tests; 300 is what a person watches."""

PORTS = ("5020", "9000", "9100", "9443", "8443", "8883", "15118", "20007", "8081", "8088", "8018")
"""Ports in the documents; every test takes free ones instead, so that documents can run side by side."""

PATIENCE_S = 60

TOOLS = {
    "curl": ("curl",),
    "jq": ("jq",),
    "mosquitto": ("mosquitto",),
    "mosquitto_sub": ("mosquitto-clients",),
    "openssl": ("openssl",),
    "softhsm2-util": ("softhsm2",),
    "swtpm": ("swtpm", "tpm2-openssl"),
    "tpm2_getcap": ("tpm2-tools",),
}
"""Programs that documents use and that a machine may lack, and the Debian packages that bring them."""


QUICK = ("how-to/connect-a-payment-terminal.md", "how-to/diagnose-can-and-connections.md")
"""Documents that are run at every change; `make long` runs all."""


def _documents() -> Iterator[object]:
    for page in pages():
        todo = steps(page.read_text())
        if any(isinstance(step, Command) for step in todo):
            name = str(page.relative_to(ROOT))
            yield pytest.param(todo, id=name, marks=() if name.endswith(QUICK) else pytest.mark.long)


@pytest.mark.e2e
@pytest.mark.parametrize("todo", list(_documents()))
def test_a_document_does_what_it_says(todo: list[Step], tmp_path: Path) -> None:
    words = {word for step in todo if isinstance(step, Command) for word in re.findall(r"[\w-]+", step.text)}
    for tool in words.intersection(TOOLS):
        need(*TOOLS[tool])
    reader = Reader(tmp_path)
    try:
        for step in todo:
            reader.do(step)
    finally:
        reader.leave()
    lines = (line for file in tmp_path.rglob("*.events.jsonl") for line in file.read_bytes().splitlines())
    assert {fault(**msgspec.json.decode(line)) for line in lines} <= {""}, "events that the reference does not list"


def test_every_page_with_commands_is_run_or_says_why_not() -> None:
    silent = [
        str(page.relative_to(ROOT))
        for page in pages()
        if "```console" in page.read_text() and not steps(page.read_text()) and "<!-- not run:" not in page.read_text()
    ]
    assert not silent


class Reader:
    """Somebody who follows a document in a folder of their own, in one shell."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {port: str(_free_port()) for port in PORTS}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path}
        self._state = folder / ".shell"
        self._state.touch()
        self._running: list[tuple[Command, subprocess.Popen[bytes]]] = []

    def do(self, step: Step) -> None:
        """Do one step; fail when it does not end as the document says."""
        if isinstance(step, File):
            (self._folder / step.name).write_text(self._adapt(step.text))
        elif step.ready is not None:
            self._begin(step, *step.ready)
        elif step.text == "pip install -e .":
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
                process.send_signal(signal.SIGTERM)
            try:
                codes.append((command.text, process.wait(15)))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append((command.text, process.wait()))
        assert all(code == 0 for _, code in codes), codes

    def _adapt(self, text: str) -> str:
        for port, free in self._ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return re.sub(r"\bv2g demo(?= --(?:scenario|folder|json)\b)", f"v2g demo --time-scale {SCALE}", text)

    def _script(self, command: Command) -> str:
        """Return a script that takes up the shell's variables and folder, and leaves them for the next command."""
        keep = f"declare -p > {self._state} 2>/dev/null; pwd > {self._state}.folder"
        return (
            f'source {self._state} 2>/dev/null\ncd "$(cat {self._state}.folder 2>/dev/null || pwd)"\n'
            f"trap '{keep}' EXIT\n{self._adapt(command.text)}\n"
        )

    def _run(self, command: Command) -> None:
        done = subprocess.run(
            ["bash", "-c", self._script(command)],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
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
                ["bash", "-c", f"exec {self._adapt(command.text)}"],
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
