"""What recorded vehicles said, said to this charger: it serves them, or refuses what real chargers refused, too.

The recordings are those of `tests/iso15118/din/test_recordings.py`; the charger gives its own SessionID and results.
"""

from typing import Any

import pytest

from secc.session import ports
from tests.iso15118.din.test_recordings import ABB, ALPITRONIC, NAMES, TESLA_CHARGER, recording, requests
from tests.secc.session.din.bench import DinBench
from tests.secc.session.din.conftest import MakeDin
from v2g.iso15118.din.charts import CHART
from v2g.iso15118.engine.sequence import accepts

POLLS = ("ContractAuthenticationReq", "ChargeParameterDiscoveryReq", "CableCheckReq")
CONNECTIONS = [(name, number) for name in NAMES for number in sorted({each.connection for each in recording(name)})]


def replayed(din: DinBench, name: str, connection: int) -> list[tuple[Any, Any]]:
    """Return the recorded requests, each with our response, up to the first that is out of order here."""
    found: list[tuple[Any, Any]] = []
    for each in requests(name):
        if each.connection != connection or din.reason:
            continue
        polls = type(each.body).__name__ in POLLS and any(type(known) is type(each.body) for known, _ in found)
        if polls and not accepts(din.session.state, each.body, CHART):
            continue  # our charger has answered with Finished at once
        din.pass_time(0.05)
        response = din.send(each.body)
        if response is None:
            din.pass_time(0.5)
            response = din.responses[-1]
        found.append((each.body, response))
    return found


@pytest.mark.parametrize(("name", "connection"), [each for each in CONNECTIONS if each[0] not in (ABB, ALPITRONIC)])
def test_recorded_vehicles_are_served(make_din: MakeDin, name: str, connection: int) -> None:
    din = make_din()
    exchanges = replayed(din, name, connection)
    failed = [(request, each.response_code.name) for request, each in exchanges if "FAILED" in each.response_code.name]
    assert not failed, (name, failed, din.events("request_failed"))
    kinds = {type(request).__name__ for request, _ in exchanges}
    assert "SupportedAppProtocolReq" in kinds
    voltages = [each.voltage_mv for each in din.commands(ports.StartPreCharge)]
    assert bool(voltages) == ("PreChargeReq" in kinds)
    assert all(100_000 < each < 500_000 for each in voltages)
    if name == TESLA_CHARGER:
        assert not {each.session_id for each in din.headers} - {din.session.session_id}


def test_a_vehicle_that_leaves_out_authorisation_is_refused(din: DinBench) -> None:
    exchanges = replayed(din, ABB, 0)
    request, response = exchanges[-1]
    assert type(request).__name__ == "ChargeParameterDiscoveryReq"
    assert response.response_code.name == "FAILED_SequenceError"
    assert not din.commands(ports.TransactionStarted)


def test_a_loop_after_its_stop_is_refused_as_by_the_real_charger(din: DinBench) -> None:
    request, response = replayed(din, ALPITRONIC, 0)[-1]
    assert type(request).__name__ == "CurrentDemandReq"
    assert response.response_code.name == "FAILED_SequenceError"
    assert din.reason == "FAILED_SequenceError"
    assert not din.session.powered
