"""The driver's word reaches the session that runs, and nobody where none does."""

from collections.abc import AsyncIterator

import pytest

from evcc.driver import Driver
from evcc.session.ports import StopRequested
from v2g.io.runtime.clock import Clock
from v2g.iso15118.engine.session import Fact


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    found = Driver((), Clock())
    yield found
    found.close()


async def test_whoever_is_asked_to_end_stops_the_session_that_runs_in_good_order(driver: Driver) -> None:
    received: list[Fact] = []
    driver.drives(received.append)
    assert driver.end()
    assert received == [StopRequested("interrupted")]


async def test_where_no_session_runs_there_is_nothing_to_end_in_order(driver: Driver) -> None:
    assert not driver.end()
    driver.drives(lambda _: None)
    driver.drives(None)
    assert not driver.end()
