"""When deliveries of new records go out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.telemetry.batch import PROMPT_S
from v2g_gateway.delivery import Cadence

pytestmark = pytest.mark.requirement("R95", "R210")


def test_prompt_records_wait_for_nobody_and_others_go_together() -> None:
    cadence = Cadence(2.0)
    assert cadence.due(0.0) <= 0.0
    cadence.sent(0.0)
    assert cadence.due(0.1) == 2.0
    cadence.prompt = True
    assert cadence.due(0.1) == PROMPT_S
    cadence.prompt = False
    cadence.sent(0.1)
    assert cadence.due(0.2) == 2.1


@given(st.lists(st.tuples(st.floats(0.01, 3.0), st.booleans()), max_size=300), st.integers(0, 20))
def test_the_mean_is_bounded_whatever_comes(steps: list[tuple[float, bool]], burst: int) -> None:
    """A mean of one in 2 s, and `burst` beyond that."""
    cadence, now, sent = Cadence(2.0, burst), 0.0, 0
    for pause, prompt in steps:
        now += pause
        cadence.prompt |= prompt
        if now >= cadence.due(now):
            cadence.prompt = False
            cadence.sent(now)
            sent += 1
    assert sent <= now / 2 + burst + 3
