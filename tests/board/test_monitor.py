"""The charger's monitor in C (`board/`): the verdicts of the monitor in Python, from code that compilers accept with
their strictest checks."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.board.compare import differences, disagreements, following
from tests.board.conftest import SOURCES, Build
from v2g.errors import ConfigError
from v2g.io.simulation.compiled_monitor import CompiledMonitor
from v2g.safety import NOTHING, ChargerRating, Lower, Open, Output, Phase, Request

RATING = ChargerRating(charge_w=50_000, discharge_w=30_000)
ASSERTED = {"Open power_not_obeyed", "Open over_voltage", "Open silent", "Open pre_charge_not_reached", "Lower limit"}


@pytest.fixture(scope="module")
def library(build: Build) -> Path:
    return build("libmonitor.so")


@pytest.mark.some(1)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.long
def test_compilers_accept_it_for_a_processor_without_an_operating_system(build: Build, compiler: str) -> None:
    symbols = subprocess.run(
        ["nm", "--undefined-only", build("monitor.o", compiler)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(symbols) <= {"U", "memset", "memcpy", "memcmp", "memmove"}  # what any C library has: nothing allocates


def test_it_has_no_floating_point() -> None:
    for path in SOURCES.glob("*.[ch]"):
        assert not {"float", "double"} & set(path.read_text().replace("(", " ").split())


def test_both_say_the_same_after_each_of_many_random_inputs(library: Path) -> None:
    found, seen = differences(library, 20_000, seed=1)
    assert not found
    assert seen.keys() >= ASSERTED


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 6))
def test_both_say_the_same_after_each_of_a_million_random_inputs(library: Path, seed: int) -> None:
    found, seen = differences(library, 1_000_000, seed)
    assert not found
    assert seen.keys() >= ASSERTED


def test_both_keep_as_many_earlier_bounds_for_any_time_to_follow(library: Path) -> None:
    assert following(library, (0, 1, 63, 64, 65, 100, 127, 128, 1_000, 4_095, 750_000, 5_000_000)) == ""


@pytest.mark.long
def test_both_find_the_same_of_two_measurements(library: Path) -> None:
    difference, found = disagreements(library, 50_000, seed=1)
    assert not difference
    assert 1_000 < found < 25_000


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 4))
def test_both_find_the_same_of_a_million_pairs_of_measurements(library: Path, seed: int) -> None:
    assert disagreements(library, 1_000_000, seed)[0] == ""


def test_they_need_no_more_memory_than_their_page_says(library: Path) -> None:
    compiled = ctypes.CDLL(str(library))
    assert compiled.v2g_monitor_size() <= 9 * 1024
    assert compiled.v2g_agreement_size() <= 3 * 1024
    page = (SOURCES / "README.md").read_text()
    assert "less than 9 KiB of memory for a monitor" in page
    assert "3 KiB each" in page


@pytest.mark.long
def test_no_input_leads_to_undefined_behaviour_or_beyond_its_memory(build: Build) -> None:
    """By the sanitizers of the compiler, in a process of its own: also with each short time to follow a bound."""
    sanitized = build("libmonitor-sanitized.so")
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    done = subprocess.run(
        [sys.executable, "-m", "tests.board.compare", sanitized, "20000", "7"],
        env={**os.environ, "LD_PRELOAD": runtime.strip(), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


CHANGES = (
    ("contact_move(m, after(now, m->rating.open_us));", "contact_move(m, now);"),  # soon noticed: of every run
    ("now >= m->power_until", "now > m->power_until"),
    ("now >= m->closed_until", "now > m->closed_until"),
    ("now < limit->until", "now <= limit->until"),
    ("limit->from <= now", "limit->from < now"),
    ("#define FRACTION 20", "#define FRACTION 21"),
    ("weight != 0 ? passed : min64(passed, HOLD_US)", "passed"),
    ("now < past.end + follow", "now <= past.end + follow"),
    ("excess_forget(&m->contact.strays);", ""),
    ("m->phase == V2G_VOLTAGE) {\n        most_ma", "false) {\n        most_ma"),
    ("return a % b < 0 ? quotient - 1 : quotient;", "return quotient;"),
    ("&& moves_until != NEVER_YET && now >= moves_until", "&& moves_until != NEVER_YET"),
    ("#define RENEWS 8", "#define RENEWS 9"),
    ("2 * lag_budget", "lag_budget"),
    ("static const margin LINE = {650, 500};", "static const margin LINE = {650, 501};"),
    ("m->line_ma[i], &LINE", "m->line_ma[0], &LINE"),
    ("#define MATCHED_MV 20000", "#define MATCHED_MV 21000"),
    ("m->paused_stop_at = m->stop_at;", ""),
    ("min64(m->signed_until, until)", "until"),
    ("noticed_later(m, &allowed) ? m->notice_us : 0", "0"),
    ("m->matched = m->target_mv != 0 && near(m, m->target_mv);", ""),
)

CHANGES_OF_TWO = (
    ("errors->late_us) / (int64_t)V2G_SHOWN", "errors->late_us) / 100"),
    ("a->begun ? a->last_w : first_w", "first_w"),
    ("max64(magnitude(least), magnitude(most))", "magnitude(most)"),
    ("max64(second_w - most, least - second_w)", "second_w - most"),
    ("excess_forget(&a->excess);", ""),
)
"""Of the comparison of two measurements."""


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("compared", "old", "new"),
    [*((differences, *each) for each in CHANGES), *((disagreements, *each) for each in CHANGES_OF_TWO)],
)
def test_a_change_of_one_place_is_noticed(
    build: Build, tmp_path: Path, compared: Callable[..., tuple[str, object]], old: str, new: str
) -> None:
    for path in SOURCES.iterdir():
        shutil.copy(path, tmp_path)
    source = tmp_path / "monitor.c"
    text = source.read_text()
    assert text.count(old) == 1
    source.write_text(text.replace(old, new))
    changed = build("libmonitor.so", sources=tmp_path, checks="")
    assert any(compared(changed, 100_000, seed)[0] for seed in range(10))


@pytest.mark.long
def test_faults_are_numbered_by_the_firmware_and_the_first_is_the_reason(library: Path) -> None:
    monitor = CompiledMonitor(library, RATING)
    monitor.authorise(1.0, allowed=True)
    words = [f"fault {number}" for number in range(64)]
    for word in words:
        monitor.fault(word, 1.0, active=True)
        monitor.fault(word, 1.0, active=True)  # said twice, it is there once
    for word in words[:10]:
        monitor.fault(word, 1.0, active=False)
    assert not monitor.close(1.0)
    assert monitor.verdicts() == [Open("fault 10")]


@pytest.mark.parametrize("what", ["fault", "source"])
def test_a_number_out_of_range_forbids_everything(library: Path, what: str) -> None:
    monitor = CompiledMonitor(library, RATING)
    for number in range(65):
        if what == "fault":
            monitor.fault(f"fault {number}", 0.0, active=True)
            monitor.fault(f"fault {number}", 0.0, active=False)
        else:
            monitor.limit(f"source {number}", 0.0)
    monitor.authorise(1.0, allowed=True)
    monitor.request(Request(phase=Phase.POWER, power_s=60.0, closed_s=60.0, bears=Output(1_000)), 1.0)
    assert not monitor.close(1.0)
    assert monitor.verdicts() == [Open("bad_input")]


def test_verdicts_that_nobody_takes_end_with_the_one_that_opens(library: Path) -> None:
    monitor = CompiledMonitor(library, RATING)
    for step in range(9):
        monitor.drive(Output(1 + step), 1.0)
    monitor.close(1.0)
    monitor.drive(Output(5_000), 1.0)
    verdicts = monitor.verdicts()
    assert verdicts[:3] == [Lower("not_authorised", NOTHING)] * 3
    assert verdicts[3:] == [Open("not_authorised")]


def test_another_file_is_no_monitor(tmp_path: Path) -> None:
    (tmp_path / "no.so").write_text("text")
    for path in (tmp_path / "no.so", tmp_path / "missing.so"):
        with pytest.raises(ConfigError, match=path.name):
            CompiledMonitor(path, RATING)
