"""Power commands go first, and reports are not kept waiting for ever."""

import asyncio

import pytest

from csms.cluster.precedence import Precedence


class Report:
    """A report that begins in its turn, and ends when `may_end` is set."""

    def __init__(self, precedence: Precedence, records: int = 1) -> None:
        self._precedence, self._records = precedence, records
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._precedence.report(self._records):
            self.begun.set()
            await self.may_end.wait()

    async def end(self) -> None:
        """Let it run to its end."""
        self.may_end.set()
        async with asyncio.timeout(60):
            await self.task


async def pass_on() -> None:
    """Let everything that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.requirement("R29")
async def test_a_report_waits_until_all_commands_are_over() -> None:
    precedence = Precedence(longest_s=60)
    with precedence.command():
        with precedence.command():
            report = Report(precedence)
        await pass_on()
        assert not report.begun.is_set(), "another command is on its way"
    await pass_on()
    assert report.begun.is_set()
    await report.end()


@pytest.mark.requirement("R29")
async def test_a_command_that_does_not_end_keeps_no_report_for_ever() -> None:
    precedence = Precedence(longest_s=0.01)
    with precedence.command():
        await Report(precedence).end()


@pytest.mark.requirement("R29")
async def test_few_records_are_under_way_at_once_and_a_large_report_goes_alone() -> None:
    precedence = Precedence(most=10)
    first, second, large, small = (Report(precedence, records) for records in (6, 4, 99, 1))
    await pass_on()
    assert [each.begun.is_set() for each in (first, second, large, small)] == [True, True, False, False]
    await first.end()
    await pass_on()
    assert not large.begun.is_set()
    await second.end()
    await pass_on()
    assert large.begun.is_set()
    assert not small.begun.is_set(), "reports go in their order"
    await large.end()
    await small.end()
