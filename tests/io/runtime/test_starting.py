"""A program that still loads its modules ends by SIGTERM or Ctrl-C with its own exit code, not with a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = "import sys\nprint('loading', flush=True)\nsys.stdin.read()\n"
"""A module that takes long to load."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("program", "code"), [("secc", 0), ("evcc", 130), ("csms", 0), ("v2g_gateway", 0), ("v2g_cli", 130)]
)
def test_a_program_that_still_loads_is_ended_in_order(
    tmp_path: Path, program: str, code: int, number: signal.Signals
) -> None:
    (tmp_path / "msgspec.py").write_text(SLOW)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [sys.executable, "-m", program, "demo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "loading\n"
        running.send_signal(number)
        _, said = running.communicate(timeout=300)
    assert (running.returncode, said) == (code, "")


def test_what_a_script_runs_in_the_background_is_not_ended_by_ctrl_c(tmp_path: Path) -> None:
    """A shell has it ignore SIGINT; here its loading ends with an error, later."""
    (tmp_path / "msgspec.py").write_text(SLOW)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "v2g_cli", "demo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "loading\n"
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=300)
    assert running.returncode == 1
