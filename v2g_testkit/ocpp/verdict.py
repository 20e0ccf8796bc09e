"""The verdict of one case from its script and its frames."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Final

from v2g.errors import OcppError
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpp.case import Ended
from v2g_testkit.ocpp.connection import Frame

_log = logging.getLogger(__name__)

LONGEST_S: Final = 900.0
"""Longest time of one case."""


async def verdict_of(case: str, script: Awaitable[int], frames: Sequence[Frame]) -> Result:
    """Run the script of a case, which returns how many duties it judged; return its result.

    An invalid frame of the device fails a case that would pass.
    """
    began = asyncio.get_running_loop().time()
    verdict, found = Verdict.PASS, ""
    try:
        async with asyncio.timeout(LONGEST_S):
            if not await script:
                verdict, found = Verdict.NOT_EXERCISED, "nothing that the case judges has happened"
    except Ended as end:
        verdict, found = end.verdict, str(end)
    except TimeoutError:
        verdict, found = Verdict.INCONCLUSIVE, f"took longer than {LONGEST_S:g} s"
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OcppError) as error:
        # what the script reads is judged by the schema at the same time: a wrong form is the reason, or our fault
        verdict, found = Verdict.INCONCLUSIVE, f"the case cannot read what the device sent: {error!r}"
    except Exception as error:  # noqa: BLE001 - a tester that fails must not let the device pass, nor end the run
        _log.exception("%s", case)
        verdict, found = Verdict.INCONCLUSIVE, f"the tester failed: {type(error).__name__}: {error}"
    faults = [each for each in frames if each.fault]
    if faults and verdict in (Verdict.PASS, Verdict.NOT_EXERCISED, Verdict.INCONCLUSIVE):
        verdict, found = Verdict.FAIL, f"sends an invalid frame: {faults[0].fault}"
    seconds = asyncio.get_running_loop().time() - began
    return Result(case=case, verdict=verdict, found=found or "as required", seconds=seconds)
