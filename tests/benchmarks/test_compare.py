"""Two states of the code side by side, and the history of what a session costs."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import compare, history
from v2g.errors import ConfigError

CPU = ("session", "CPU", "s")
MEMORY = ("session", "memory", "MiB")


def test_ratios_are_those_of_pairs_of_runs() -> None:
    """A machine that slows down halves nothing: each run is compared with the one beside it."""
    before = [{CPU: 1.0, MEMORY: 50.0}, {CPU: 2.0, MEMORY: 50.0}, {CPU: 4.0, MEMORY: 50.0}]
    now = [{CPU: 1.1, MEMORY: 40.0}, {CPU: 2.2, MEMORY: 40.0}, {CPU: 6.0, MEMORY: 40.0}]
    cpu, memory = compare.compare(before, now)
    assert (cpu.before, cpu.now, cpu.runs) == (2.0, 2.2, 3)
    assert (cpu.ratio, cpu.least, cpu.greatest) == pytest.approx((1.1, 1.1, 1.5))
    assert (memory.figure, memory.ratio) == ("memory", 0.8)


def test_only_figures_that_every_run_of_both_states_has_are_compared() -> None:
    assert compare.compare([{CPU: 1.0}, {CPU: 1.0}], [{CPU: 1.0, MEMORY: 40.0}, {MEMORY: 40.0}]) == []


def test_an_unknown_revision_is_refused() -> None:
    with pytest.raises(ConfigError, match="'no-such-state' is not a revision"):
        compare.checkout("no-such-state")
    command = [sys.executable, "-m", "benchmarks.compare", "no-such-state"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=compare.ROOT)
    assert done.returncode == ConfigError.exit_code
    assert "Traceback" not in done.stderr


def test_the_history_can_be_read_and_drawn() -> None:
    found = history.landings()
    assert [each.utc for each in found] == sorted(each.utc for each in found)
    texts = "".join(ElementTree.fromstring(history.chart(found)).itertext())
    assert "units of the reference workload" in texts
    assert "peak memory" in texts


def test_the_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_bytes(history.FILE.read_bytes())
    assert history.landings(file) == history.landings()


def test_the_reference_workload_takes_processor_time() -> None:
    assert history.reference() > 0
