"""Timing knows every message of the chart."""

from v2g.iso15118.d20.charts import REQUESTS, SIDE_CHARTS
from v2g.iso15118.d20.timing import MESSAGES, Timing


def test_every_request_has_a_timeout_and_the_charger_is_quicker_than_it() -> None:
    beside = {name for chart in SIDE_CHARTS.values() for edges in chart.values() for name in edges}
    assert set(MESSAGES) == REQUESTS | beside
    assert all(0 < row.performance < row.timeout for row in MESSAGES.values())


def test_the_defaults_are_those_of_the_standard() -> None:
    timing = Timing()
    assert (timing.secc_sequence, timing.secc_sequence_loop, timing.ongoing) == (60.0, 0.5, 60.0)
    assert (timing.message_timeout("DC_ChargeLoopReq"), timing.message_timeout("ServiceDetailReq")) == (0.5, 5.0)
    assert timing.contactor < MESSAGES["PowerDeliveryReq"].performance
    assert timing.ongoing_performance < timing.ongoing


def test_slow_peers_get_more_time_by_one_factor() -> None:
    assert Timing(message_scale=3.0).message_timeout("SessionSetupReq") == 6.0
