"""The sequence chart is whole: every name exists, every state is reached, everything else is refused."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.together import together
from v2g.iso15118.d20.charts import CHARTS, ENERGY, PARALLEL, REQUESTS, SIDE_CHARTS, Family, side_stream_runs
from v2g.iso15118.d20.messages import ac, acdp, dc, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.sequence import Asks, Chart, Says, State, accepts, advance, edges, is_failed
from v2g.iso15118.engine.v2gtp import PayloadType

DECLARED = {each.__name__ for module in (cm, ac, dc, wpt, acdp, app) for each in module.ELEMENTS.values()}
SIDE_STATES = {State.SIDE_IDLE, State.SIDE_SCHEDULE_EXCHANGE, State.SIDE_POWER_DELIVERY}
EVERY = {**{family.name: chart for family, chart in CHARTS.items()}, **{p.name: c for p, c in SIDE_CHARTS.items()}}
ENDS = {State.PAUSED, State.ENDED}
WAYS = [(family, *way) for family, chart in EVERY.items() for way in edges(chart)]


def request(name: str, asks: Asks = Asks.ANYTHING, **fields: Any) -> Any:
    """Return something that looks like a request to the chart."""
    if asks.value.startswith("ChargeProgress"):
        fields["charge_progress"] = cm.ChargeProgress(asks.value.split()[1])
    if asks.value.startswith("ChargingSession"):
        fields["charging_session"] = cm.ChargingSession(asks.value.split()[1])
    return type(name, (SimpleNamespace,), {})(**fields)


def response(code: Any = ResponseCode.OK, **fields: Any) -> Any:
    return SimpleNamespace(response_code=code, **fields)


def exchange(name: str, asks: Asks, says: Says) -> tuple[Any, Any]:
    """Return a request and a response for which `asks` and `says` hold."""
    codes = {
        Says.NEGOTIATED: app.ResponseCode.OK_SuccessfulNegotiation,
        Says.NEW_SESSION: ResponseCode.OK_NewSessionEstablished,
        Says.OLD_SESSION: ResponseCode.OK_OldSessionJoined,
        Says.WARNING: ResponseCode.WARNING_ScheduleRenegotiationFailed,
        Says.EXPIRES_SOON: ResponseCode.OK_CertificateExpiresSoon,
    }
    ours = Processing.Ongoing if says is Says.ONGOING else Processing.Finished
    theirs = Processing.Ongoing if says is Says.EV_ONGOING else Processing.Finished
    answered = response(
        codes.get(says, ResponseCode.OK),
        evse_processing=ours,
        remaining_contract_certificate_chains=int(says is Says.MORE),
    )
    return request(name, asks, ev_processing=theirs), answered


def test_every_request_of_the_charts_is_a_declared_message() -> None:
    assert REQUESTS <= DECLARED
    assert {name for chart in SIDE_CHARTS.values() for ways in chart.values() for name in ways} <= DECLARED


def test_every_declared_request_has_a_place() -> None:
    placed = REQUESTS | {name for chart in SIDE_CHARTS.values() for ways in chart.values() for name in ways}
    assert {name for name in DECLARED if name.endswith("Req")} <= placed


@together(("family", "state", "name", "edge"), WAYS, by=lambda way: way[0])
def test_every_edge_is_taken_by_the_exchange_it_describes(family: str, state: State, name: str, edge: Any) -> None:
    chart = EVERY[family]
    asked, answered = exchange(name, edge.asks, edge.says)
    assert accepts(state, asked, chart)
    assert advance(state, asked, answered, chart) is edge.to


@pytest.mark.parametrize("chart", EVERY.values(), ids=EVERY)
def test_what_a_state_does_not_name_is_out_of_order_and_ends_the_session(chart: Chart) -> None:
    for state in chart:
        for name in DECLARED - set(chart[state]):
            assert not accepts(state, request(name), chart)
            assert advance(state, request(name), response(), chart) is State.ENDED


@pytest.mark.parametrize("chart", EVERY.values(), ids=EVERY)
def test_every_state_is_reached_from_the_first_one_and_leads_to_the_end(chart: Chart) -> None:
    first = State.SIDE_IDLE if State.SIDE_IDLE in chart else State.SUPPORTED_APP_PROTOCOL
    reached, grows = {first}, True
    while grows:
        further = {edge.to for state, _, edge in edges(chart) if state in reached} - reached
        reached, grows = reached | further, bool(further)
    assert reached == set(chart)
    leads, grows = ({State.SIDE_IDLE} if first is State.SIDE_IDLE else set(ENDS)), True
    while grows:
        further = {state for state, _, edge in edges(chart) if edge.to in leads} - leads
        leads, grows = leads | further, bool(further)
    assert leads == set(chart)


@together("code", [code for code in ResponseCode if code.name.startswith("FAILED")])
def test_a_failure_ends_every_state(code: ResponseCode) -> None:
    assert is_failed(response(code))
    for chart in EVERY.values():
        for state, name, edge in edges(chart):
            asked, answered = exchange(name, edge.asks, edge.says)
            answered.response_code = code
            assert advance(state, asked, answered, chart) is State.ENDED


@pytest.mark.requirement("R15")
def test_no_agreement_on_a_protocol_is_a_failure() -> None:
    answered = response(app.ResponseCode.Failed_NoNegotiation)
    assert is_failed(answered)
    for chart in CHARTS.values():
        after = advance(State.SUPPORTED_APP_PROTOCOL, request("SupportedAppProtocolReq"), answered, chart)
        assert after is State.ENDED


def test_a_wish_that_a_state_does_not_know_is_out_of_order() -> None:
    chart = CHARTS[Family.DC]
    assert not accepts(State.DC_CHARGE_LOOP, request("PowerDeliveryReq", Asks.START), chart)
    assert not accepts(State.DC_CABLE_CHECK, request("PowerDeliveryReq", Asks.START), chart)
    assert not accepts(State.POWER_DELIVERY, request("PowerDeliveryReq", Asks.RENEGOTIATION), chart)


def test_waiting_for_a_customer_is_ongoing() -> None:
    answered = response(evse_processing=Processing.Ongoing_WaitingForCustomerInteraction)
    after = advance(State.AUTHORIZATION, request("AuthorizationReq"), answered, CHARTS[Family.DC])
    assert after is State.AUTHORIZATION


def test_a_refused_contract_may_be_followed_by_another() -> None:
    answered = response(ResponseCode.WARNING_eMSPUnknown, evse_processing=Processing.Finished)
    after = advance(State.AUTHORIZATION, request("AuthorizationReq"), answered, CHARTS[Family.DC])
    assert after is State.AUTHORIZATION


@pytest.mark.parametrize("family", Family)
def test_energy_flows_only_between_start_and_stop(family: Family) -> None:
    ways = list(edges(CHARTS[family]))
    begins = {(state, edge.asks) for state, _, edge in ways if edge.to in ENERGY and state not in ENERGY}
    planned = (State.STANDBY_RENEGOTIATION, Asks.ANYTHING)  # power comes with the Start after it
    assert {asks for _, asks in begins - {planned}} == {Asks.START}
    leaves = {(name, edge.asks) for state, name, edge in ways if state in ENERGY and edge.to not in PARALLEL}
    assert {name for name, _ in leaves} == {"PowerDeliveryReq", "SessionStopReq"}
    assert {asks for name, asks in leaves if name == "PowerDeliveryReq"} == {Asks.STOP}


def test_wireless_positioning_goes_on_until_both_sides_have_finished() -> None:
    chart, state = CHARTS[Family.WPT], State.WPT_PAIRING
    for theirs in (Processing.Ongoing, Processing.Finished):
        for ours in (Processing.Ongoing, Processing.Finished):
            asked, answered = request("WPT_PairingReq", ev_processing=theirs), response(evse_processing=ours)
            done = theirs is ours is Processing.Finished
            expected = State.WPT_CHARGE_PARAMETER_DISCOVERY if done else state
            assert advance(state, asked, answered, chart) is expected


def test_side_streams_run_beside_energy_only_and_parking_and_status_from_the_selection_on() -> None:
    for state in set(State) - SIDE_STATES:
        for stream in (PayloadType.SCHEDULE_RENEGOTIATION, PayloadType.METERING_CONFIRMATION):
            assert side_stream_runs(stream, state) == (state in PARALLEL)
    assert side_stream_runs(PayloadType.ACDP_SYSTEM_STATUS, State.ACDP_VEHICLE_POSITIONING)
    assert side_stream_runs(PayloadType.PARKING_STATUS, State.SESSION_STOP)
    assert not side_stream_runs(PayloadType.PARKING_STATUS, State.SERVICE_SELECTION)


@pytest.mark.parametrize(
    ("state", "done"),
    [
        (State.AUTHORIZATION, State.AUTHORIZATION),
        (State.CERTIFICATE_INSTALLATION, State.AUTHORIZATION),
        (State.CERTIFICATE_EXPIRES_SOON, State.CERTIFICATE_EXPIRES_SOON),
        (State.CERTIFICATE_RENEWAL, State.CERTIFICATE_EXPIRES_SOON),
    ],
)
def test_contracts_are_fetched_until_none_remains(state: State, done: State) -> None:
    """V2G20-1972, -1973, -1975, -2224."""
    chart, asked = CHARTS[Family.DC], request("CertificateInstallationReq")

    def after(code: ResponseCode, processing: Processing, remaining: int) -> State:
        answered = response(code, evse_processing=processing, remaining_contract_certificate_chains=remaining)
        return advance(state, asked, answered, chart)

    between = after(ResponseCode.OK, Processing.Ongoing, 0)
    assert between is after(ResponseCode.OK, Processing.Finished, 2)
    assert list(chart[between]) == ["CertificateInstallationReq", "SessionStopReq"]
    assert after(ResponseCode.OK, Processing.Finished, 0) is done
    assert after(ResponseCode.WARNING_eMSPUnknown, Processing.Finished, 2) is done
    assert accepts(done, asked, chart)
