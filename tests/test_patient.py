"""The event loop of the tests: what a process is kept from running does not count, what it waits for does."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from tests import patient
from tests.patient import kept_waiting_s
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.watchdog import CHECKS, Watchdog


async def test_time_in_which_the_process_could_not_run_does_not_pass() -> None:
    clock, machine = asyncio.get_running_loop().time, time.monotonic
    for reads in (clock, Clock().monotonic):
        before, real = reads(), machine()
        time.sleep(0.1)
        assert reads() - before < 0.05 < machine() - real


async def test_time_that_is_waited_for_passes_and_ends_what_hangs() -> None:
    clock = asyncio.get_running_loop().time
    before = clock()
    await asyncio.sleep(0.02)
    assert clock() - before >= 0.02
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()


async def test_time_that_is_worked_for_passes() -> None:
    clock = asyncio.get_running_loop().time
    before, worked = clock(), time.process_time()
    while time.process_time() - worked < 0.02:
        sum(range(1000))
    assert clock() - before >= 0.02


WORK = """
import os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
input()
while time.process_time() < 0.15: pass
print('done', flush=True)
input()
"""
"""Two of these want the same core for a tenth of a second each: one of them waits for about as long."""


def test_what_another_process_was_kept_from_running_is_known() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    both = [subprocess.Popen([sys.executable, "-I", "-S", "-c", WORK], **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for each in both:
        each.stdin.write(b"\n")
        each.stdin.flush()
    for each in both:
        assert each.stdout.readline() == b"done\n"
    waited = [kept_waiting_s(each.pid) for each in both]
    for each in both:
        each.communicate(b"\n")
    assert max(waited) > 0.05


async def test_time_in_which_a_program_that_was_started_could_not_run_does_not_pass() -> None:
    clock, machine = asyncio.get_running_loop().time, time.monotonic
    before, real = clock(), machine()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = (sys.executable, "-I", "-S", "-c", WORK)
    both = [await asyncio.create_subprocess_exec(*command, **pipes) for _ in range(2)]
    await asyncio.gather(*(each.communicate(b"\n\n") for each in both))
    assert clock() - before < machine() - real - 0.05


def test_a_watchdog_counts_no_time_in_which_the_process_could_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    late = iter([0.0, *(0.01 * n for n in range(1, 21)), *([0.2] * 1000)])
    looked: list[float] = []

    def kept(_pid: int) -> float:
        looked.append(next(late))
        return looked[-1]

    monkeypatch.setattr(patient, "kept_waiting_s", kept)
    dog, cut = Watchdog(hung_s=0.1), threading.Event()
    dog.watch(cut.set)
    dog.start()
    assert cut.wait(10)
    dog.close()
    assert looked.count(0.2) > CHECKS
