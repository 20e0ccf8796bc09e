"""A program that is told to end does so in good order where it can, and is cut off when it is told again."""

import asyncio
import signal
import subprocess
import sys

import pytest

from v2g.io.runtime.program import OrderlyEnd, until_signalled


def played(*, orderly: bool, signals: int, number: signal.Signals) -> tuple[int, list[str]]:
    """Return exit code and story of a program that gets so many signals."""
    story: list[str] = []
    end = OrderlyEnd()

    async def program() -> int:
        finish = asyncio.Event()

        def begin() -> bool:
            story.append("asked")
            if orderly and signals == 1:
                finish.set()
            return orderly

        end.by(begin)
        try:
            for _each in range(signals):
                signal.raise_signal(number)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            await finish.wait()
        except asyncio.CancelledError:
            story.append("cut off")
            raise
        story.append("ended")
        return 7

    return asyncio.run(until_signalled(program(), 130, end)), story


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("orderly", "signals", "code", "reported"),
    [(True, 1, 7, ["asked", "ended"]), (True, 2, 130, ["asked", "cut off"]), (False, 1, 130, ["asked", "cut off"])],
)
def test_the_first_signal_asks_and_the_second_cuts(
    number: signal.Signals, orderly: bool, signals: int, code: int, reported: list[str]
) -> None:
    assert played(orderly=orderly, signals=signals, number=number) == (code, reported)


_DEFECTIVE = """
from v2g.io.runtime.program import run
from v2g.io.storage.growing_file import LogFiles

async def work(_):
    raise TypeError("on purpose")

raise SystemExit(run(lambda: None, lambda _: LogFiles(), work))
"""


def test_a_defect_ends_a_program_with_its_own_code_and_a_log_that_asks_for_a_report() -> None:
    done = subprocess.run([sys.executable, "-c", _DEFECTIVE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 70
    assert done.stdout == ""
    first = done.stderr.splitlines()[0]
    assert "ERROR v2g: a defect of this program ends it; please report these lines" in first
    assert "TypeError: on purpose" in done.stderr
