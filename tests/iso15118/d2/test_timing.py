"""Timing of ISO 15118-2 knows every message of its charts, with the published values."""

from tests.together import together
from v2g.iso15118.d2.charts import REQUESTS
from v2g.iso15118.d2.timing import MESSAGES, Timing
from v2g.iso15118.engine.message_timing import SLOW_IN_THE_FIELD

SLOW = {"ServiceDetailReq", "CertificateInstallationReq", "CertificateUpdateReq", "PowerDeliveryReq"}


def test_every_request_of_the_charts_has_a_timing_and_the_charger_is_quicker() -> None:
    assert set(MESSAGES) == REQUESTS
    assert all(0 < row.performance < row.timeout for row in MESSAGES.values())
    assert set(SLOW_IN_THE_FIELD) <= REQUESTS


@together("request_name", sorted(REQUESTS - {"PaymentDetailsReq"}))
def test_times_are_the_published_ones(request_name: str) -> None:
    expected = (5, 4.5) if request_name in SLOW else (0.25, 0.025) if request_name == "CurrentDemandReq" else (2, 1.5)
    assert (MESSAGES[request_name].timeout, MESSAGES[request_name].performance) == expected
    assert Timing(tolerate_slow_chargers=False).message_timeout(request_name) == expected[0]


def test_where_sources_disagree_the_vehicle_waits_longer_and_the_charger_is_quicker() -> None:
    assert MESSAGES["PaymentDetailsReq"].timeout == 5
    assert MESSAGES["PaymentDetailsReq"].performance < 2


def test_timers_of_a_session_are_the_published_ones_and_ours_fit_between_them() -> None:
    timing = Timing()
    assert (timing.evcc_communication_setup, timing.secc_communication_setup, timing.secc_sequence) == (20, 18, 60)
    assert (timing.evcc_ongoing, timing.secc_ongoing_performance) == (60, 55)
    assert (timing.evcc_cable_check, timing.evcc_pre_charge, timing.close) == (40, 7, 5)
    assert timing.secc_cable_check < timing.evcc_cable_check
    assert timing.contactor < MESSAGES["PowerDeliveryReq"].performance
    assert timing.secc_linger < timing.close
    assert timing.evcc_sequence_performance < timing.secc_sequence


def test_slow_chargers_get_more_time_where_that_is_tolerated() -> None:
    assert Timing().message_timeout("CurrentDemandReq") == 5
    assert Timing(message_scale=4).message_timeout("PowerDeliveryReq") == 20
    assert Timing().message_timeout("SessionSetupReq") == 2
