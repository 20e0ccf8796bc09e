"""The sequence chart is whole: every name exists, every state is reached, everything else is refused."""

from types import SimpleNamespace
from typing import Any

import pytest

from v2g.iso15118.messages import app_protocol as app
from v2g.iso15118.messages import common_messages as cm
from v2g.iso15118.messages import dc
from v2g.iso15118.messages.common_types import Processing, ResponseCode
from v2g.iso15118.sequence import CHART, ENERGY, REQUESTS, Asks, Says, State, accepts, advance, edges, is_failed

DECLARED = {each.__name__ for each in (*cm.ELEMENTS.values(), *dc.ELEMENTS.values(), *app.ELEMENTS.values())}


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
    }
    ours = Processing.Ongoing if says is Says.ONGOING else Processing.Finished
    theirs = Processing.Ongoing if says is Says.EV_ONGOING else Processing.Finished
    return request(name, asks, ev_processing=theirs), response(codes.get(says, ResponseCode.OK), evse_processing=ours)


def test_every_request_of_the_chart_is_a_declared_message() -> None:
    assert REQUESTS <= DECLARED
    assert {state for state, _, _ in edges()} | {State.PAUSED, State.ENDED} == set(State) == set(CHART)


@pytest.mark.parametrize(("state", "name", "edge"), list(edges()), ids=str)
def test_every_edge_is_taken_by_the_exchange_it_describes(state: State, name: str, edge: Any) -> None:
    asked, answered = exchange(name, edge.asks, edge.says)
    assert accepts(state, asked)
    assert advance(state, asked, answered) is edge.to


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("name", sorted(DECLARED))
def test_what_a_state_does_not_name_is_out_of_order_and_ends_the_session(state: State, name: str) -> None:
    if name not in CHART[state]:
        assert not accepts(state, request(name))
        assert advance(state, request(name), response()) is State.ENDED


def test_every_state_is_reached_from_the_first_one() -> None:
    reached, grows = {State.SUPPORTED_APP_PROTOCOL}, True
    while grows:
        further = {edge.to for state, _, edge in edges() if state in reached} - reached
        reached, grows = reached | further, bool(further)
    assert reached == set(State)


def test_every_state_leads_to_the_end() -> None:
    leads, grows = {State.ENDED, State.PAUSED}, True
    while grows:
        further = {state for state, _, edge in edges() if edge.to in leads} - leads
        leads, grows = leads | further, bool(further)
    assert leads == set(State)


@pytest.mark.parametrize("code", [code for code in ResponseCode if code.name.startswith("FAILED")])
def test_a_failure_ends_every_state(code: ResponseCode) -> None:
    assert is_failed(response(code))
    for state, name, edge in edges():
        asked, answered = exchange(name, edge.asks, edge.says)
        answered.response_code = code
        assert advance(state, asked, answered) is State.ENDED


def test_no_agreement_on_a_protocol_is_a_failure() -> None:
    answered = response(app.ResponseCode.Failed_NoNegotiation)
    assert is_failed(answered)
    assert advance(State.SUPPORTED_APP_PROTOCOL, request("SupportedAppProtocolReq"), answered) is State.ENDED


def test_a_wish_that_a_state_does_not_know_is_out_of_order() -> None:
    assert not accepts(State.DC_CHARGE_LOOP, request("PowerDeliveryReq", Asks.START))
    assert not accepts(State.DC_CABLE_CHECK, request("PowerDeliveryReq", Asks.START))
    assert not accepts(State.POWER_DELIVERY, request("PowerDeliveryReq", Asks.RENEGOTIATION))


def test_waiting_for_a_customer_is_ongoing() -> None:
    answered = response(evse_processing=Processing.Ongoing_WaitingForCustomerInteraction)
    assert advance(State.AUTHORIZATION, request("AuthorizationReq"), answered) is State.AUTHORIZATION


def test_a_refused_contract_may_be_followed_by_another() -> None:
    answered = response(ResponseCode.WARNING_eMSPUnknown, evse_processing=Processing.Finished)
    assert advance(State.AUTHORIZATION, request("AuthorizationReq"), answered) is State.AUTHORIZATION


def test_energy_flows_only_between_start_and_stop() -> None:
    begins = {(state, edge.asks) for state, _, edge in edges() if edge.to in ENERGY and state not in ENERGY}
    assert begins == {(State.DC_PRE_CHARGE_ONGOING, Asks.START), (State.POWER_DELIVERY, Asks.START)}
