"""What the programs may use, wherever they run: memory of a small computer, processor time that it has to spare."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.broker import BROKER_CORES, BROKER_MIB, SCHEMAS_KIB
from benchmarks.broker import measure as measure_broker
from benchmarks.session import run_own
from tests.benchmarks.confined import confined

RSS_MIB = 128.0
"""Each of charger and vehicle: a quarter of a Raspberry Pi of 1 GB holds both."""

CPU_S = 12.0
"""Both together, start included, for a session of an hour. A core ten times as slow has a thirtieth of it to do."""


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.requirement("R168")
def test_charger_and_vehicle_leave_a_small_computer_most_of_its_memory_and_time() -> None:
    run = run_own(quick=True)
    assert run.loops > 0
    assert max(run.secc_mib, run.evcc_mib) < RSS_MIB
    assert run.cpu_s < CPU_S


@pytest.mark.long
@pytest.mark.requirement("R164")
def test_the_broker_of_a_fleet_fits_its_machine() -> None:
    figures = {figure.unit: figure for figure in measure_broker(quick=True)}
    assert {unit: figure.target for unit, figure in figures.items()} == {
        "KiB": SCHEMAS_KIB,
        "MiB": BROKER_MIB,
        "cores": BROKER_CORES,
    }
    for figure in figures.values():
        assert figure.target is not None
        assert figure.value < figure.target, figure.figure


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.requirement("R168")
def test_charger_vehicle_back_end_and_gateway_share_a_quarter_of_a_core_and_half_a_gigabyte(tmp_path: Path) -> None:
    """With a broker, and without swap; a Raspberry Pi 3 has four cores, each about a tenth of a server's, and 1 GB."""
    with confined(mib=512, cores=0.25) as joining:
        demo = [str(Path(sys.executable).with_name("v2g")), "demo", "--folder", str(tmp_path / "run")]
        script = f"for each in {shlex.join(map(str, joining))}; do echo $$ > $each; done; exec {shlex.join(demo)}"
        done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
