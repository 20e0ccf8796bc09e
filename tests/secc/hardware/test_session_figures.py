"""How the parts of a charger worked in a session, as measured by itself."""

import pytest

from v2g.hardware.session_metrics import HEAT_S, SessionFigures


def test_heat_is_the_rise_in_the_first_five_minutes_of_power_for_each_kilowatt() -> None:
    figures = SessionFigures(0, 0)
    figures.power(50_000, 20.0, 0.0)
    figures.power(0, 60.0, 60.0)  # what comes after a pause is another beginning
    for second in range(100, 100 + round(HEAT_S)):
        figures.power(-20_000, 30.0, float(second))
        assert figures.values == {}
    figures.power(-20_000, 50.0, 100 + HEAT_S)
    assert figures.values == {"heat_k_per_kw": pytest.approx(1.0)}
    figures.power(-20_000, 90.0, 2 * HEAT_S)
    assert figures.values == {"heat_k_per_kw": pytest.approx(1.0)}


@pytest.mark.parametrize(
    ("flowed", "metered", "expected"),
    [(1_950_000, 2_000_000, {"efficiency": 0.975}), (99_999, 2_000_000, {}), (1_950_000, 0, {})],
)
def test_efficiency_compares_both_measurements_of_the_session(
    flowed: int, metered: int, expected: dict[str, float]
) -> None:
    figures = SessionFigures(7_000_000, 9_000_000)
    figures.end(7_000_000 + flowed, 9_000_000 + metered)
    assert figures.values == expected
