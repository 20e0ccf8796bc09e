"""Both roles, joined in memory through random schedules: a match or a documented failure, never a wrong pair, never
stuck."""

import pytest

from tests.slac.schedules import Schedule

pytestmark = pytest.mark.requirement("R21")

SHORT, LONG = 60, 10_000


@pytest.mark.long
def test_random_schedules() -> None:
    for number in range(SHORT):
        Schedule(number).run()


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_random_schedules(part: int) -> None:
    for number in range(part * LONG // 10, (part + 1) * LONG // 10):
        Schedule(number).run()
