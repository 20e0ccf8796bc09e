"""What recorded vehicles said, said to this charger: it serves them, or refuses what real chargers refused, too.

The recordings are those of `tests/iso15118/din/test_recordings.py`; the charger gives its own SessionID and results.
"""

from typing import Any

import pytest

from secc.session import ports
from tests.iso15118.din.recordings import (
    ABB,
    ALPITRONIC,
    BULB,
    COMPLEO,
    HYC300,
    IONIQ,
    MODEL_Y,
    NAMES,
    TESLA_CHARGER,
    recording,
    requests,
)
from tests.secc.session.din.bench import DinBench
from tests.secc.session.din.conftest import MakeDin
from v2g import exi
from v2g.iso15118.din.charts import CHART
from v2g.iso15118.din.messages.data_types import DC_EVErrorCode
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq
from v2g.iso15118.engine.sequence import State, accepts
from v2g.iso15118.engine.v2gtp import PayloadType, frame

POLLS = ("ContractAuthenticationReq", "ChargeParameterDiscoveryReq", "CableCheckReq")
CONNECTIONS = [(name, number) for name in NAMES for number in sorted({each.connection for each in recording(name)})]


def replayed(din: DinBench, name: str, connection: int, padding: int = 0) -> list[tuple[Any, Any]]:
    """Return the recorded requests, each with our response, up to the first that is out of order here.

    So many zero octets follow each message.
    """
    found: list[tuple[Any, Any]] = []
    for each in requests(name):
        if each.connection != connection or din.reason:
            continue
        polls = type(each.body).__name__ in POLLS and any(type(known) is type(each.body) for known, _ in found)
        if polls and not accepts(din.session.state, each.body, CHART):
            continue  # our charger has answered with Finished at once
        din.pass_time(0.05)
        count = len(din.responses)
        message = each.body
        if not isinstance(message, SupportedAppProtocolReq):
            message = din.wrapped(din.session.session_id if din.headers else b"\0", message)
        din.raw(frame(PayloadType.SAP, exi.encode(message) + bytes(padding)))
        response = din.responses[-1] if len(din.responses) > count else None
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


GAPS = {"evccid_length", "missing_fields"}
"""Quirks of the experimental vehicle."""
QUIRKS = {
    (ABB, 0): {"evccid_length"},
    (COMPLEO, 0): {"evccid_length"},
    (COMPLEO, 1): GAPS,
    (BULB, 0): GAPS,
    (ALPITRONIC, 0): GAPS,
    (TESLA_CHARGER, 0): GAPS,
    (TESLA_CHARGER, 1): set(),
    (TESLA_CHARGER, 2): GAPS,
    (TESLA_CHARGER, 3): set(),
    **{key: {"charging_profile", "pre_charge_target_changes"} for key in ((IONIQ, 0), (HYC300, 0))},
    (MODEL_Y, 0): {"protocol_order", "early_session_stop", "missing_fields"},
}


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_the_quirks_of_recorded_vehicles_are_named_each_once(make_din: MakeDin, padding: int) -> None:
    found = {}
    for name, connection in CONNECTIONS:
        din = make_din()
        replayed(din, name, connection, padding)
        found[name, connection] = set(din.quirks())
        assert len(din.quirks()) == len(set(din.quirks()))
    assert found == QUIRKS


@pytest.mark.parametrize("code", DC_EVErrorCode)
def test_whatever_error_a_vehicle_stops_with_is_answered_ok(din: DinBench, code: DC_EVErrorCode) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    din.error = code.value
    assert din.go("CurrentDemandReq").response_code.name == "OK"
    assert din.stop().response_code.name == "OK"
    assert din.go("WeldingDetectionReq", "SessionStopReq").response_code.name == "OK"
