"""What several tests of power schedule use."""

from hypothesis import strategies as st

from v2g.iso15118.engine.power_schedule import Step
from v2g.units import DAY_S

POWERS = st.integers(0, 400_000)


@st.composite
def steps(draw: st.DrawFn, most: int = 30) -> list[Step]:
    starts = sorted(draw(st.sets(st.integers(1, 3 * DAY_S), max_size=most - 1)))
    return [Step(start, draw(POWERS)) for start in (0, *starts)]
