"""The chart of DIN 70121 against a table that was written from the published order, and random conversations."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.iso15118 import exchanges
from tests.iso15118.exchanges import FIELDS, response
from tests.together import together
from v2g.iso15118.din.charts import CHART, ENERGY, REQUESTS, STRICT
from v2g.iso15118.din.messages import common, data_types
from v2g.iso15118.din.messages.data_types import ResponseCode
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.sequence import Asks, Says, State, accepts, advance, edges

DECLARED = {each.__name__: each for module in (common, app) for each in module.ELEMENTS.values()}
UNUSED = {
    *("ServiceDetailReq", "PaymentDetailsReq", "CertificateInstallationReq", "CertificateUpdateReq"),
    *("MeteringReceiptReq", "ChargingStatusReq"),
}
"""In the schema, not in a session: direct current with external payment only."""
EVERY = {name for name in DECLARED if name.endswith("Req")}
START, STOP = ("PowerDeliveryReq", Asks.READY), ("PowerDeliveryReq", Asks.NOT_READY)
ASKED = [(name, Asks.ANYTHING) for name in sorted(EVERY - {"PowerDeliveryReq"})] + [START, STOP]

ROWS: dict[State, set[Any]] = {
    State.SUPPORTED_APP_PROTOCOL: {"SupportedAppProtocolReq"},
    State.SESSION_SETUP: {"SessionSetupReq"},
    State.SERVICE_DISCOVERY: {"ServiceDiscoveryReq"},
    State.SERVICE_SELECTION: {"ServicePaymentSelectionReq"},
    State.AUTHORIZATION: {"ContractAuthenticationReq"},
    State.CHARGE_PARAMETER_DISCOVERY: {"ChargeParameterDiscoveryReq"},
    State.DC_CABLE_CHECK: {"CableCheckReq"},
    State.DC_PRE_CHARGE: {"PreChargeReq"},
    State.DC_PRE_CHARGE_ONGOING: {"PreChargeReq", START, STOP},
    State.DC_CHARGE_LOOP: {"CurrentDemandReq", STOP},
    State.DC_WELDING_DETECTION: {"WeldingDetectionReq", "SessionStopReq"},
    State.ENDED: set(),
}
ORDER = list(ROWS)


def request(name: str, asks: Asks = Asks.ANYTHING) -> Any:
    return exchanges.request(data_types, name, asks)


def allowed(state: State, name: str, asks: Asks, *, tolerant: bool) -> bool:
    if name in ROWS[state] or (name, asks) in ROWS[state]:
        return True
    place = ORDER.index(state)
    opened = ORDER.index(State.SESSION_SETUP) < place < ORDER.index(State.ENDED)
    return tolerant and opened and (name == "SessionStopReq" or (name, asks) == STOP)


@together(
    ("state", "name", "asks", "tolerant"),
    [(state, *asked, tolerant) for state in ROWS for asked in ASKED for tolerant in (False, True)],
)
def test_every_state_takes_what_its_row_names_and_refuses_every_other_request(
    state: State, name: str, asks: Asks, tolerant: bool
) -> None:
    chart = CHART if tolerant else STRICT
    expected = allowed(state, name, asks, tolerant=tolerant)
    assert accepts(state, request(name, asks), chart) == expected
    if not expected:
        assert advance(state, request(name, asks), response(ResponseCode.OK), chart) is State.ENDED


def test_the_chart_has_exactly_the_states_and_requests_of_the_table() -> None:
    assert set(CHART) == set(STRICT) == set(ROWS)
    assert REQUESTS == EVERY - UNUSED
    assert set(CHART) > ENERGY


def test_what_edges_ask_for_is_in_the_declared_messages() -> None:
    for _, name, edge in edges(CHART):
        title = edge.asks.value.partition(" ")[0]
        if title in FIELDS:
            assert FIELDS[title] in DECLARED[name].__struct_fields__


@together("code", [code for code in ResponseCode if code.name.startswith("FAILED")])
def test_a_failure_ends_every_state(code: ResponseCode) -> None:
    for state, name, edge in edges(CHART):
        assert advance(state, request(name, edge.asks), response(code, edge.says), CHART) is State.ENDED


@given(st.data())
def test_random_conversations_go_forward_in_the_published_order_and_energy_flows_after_start_only(
    data: st.DataObject,
) -> None:
    state, charging, place = State.SUPPORTED_APP_PROTOCOL, False, 0
    for _ in range(40):
        name, asks = data.draw(st.sampled_from([each for each in ASKED if allowed(state, *each, tolerant=True)]))
        ongoing = data.draw(st.booleans())
        code = app.ResponseCode.OK_SuccessfulNegotiation if "AppProtocol" in name else ResponseCode.OK
        before = state
        state = advance(state, request(name, asks), response(code, Says.ONGOING if ongoing else Says.ANYTHING), CHART)
        assert accepts(before, request(name, asks), CHART)
        charging = (name, asks) == START or (charging and (name, asks) != STOP)
        if state is State.ENDED:
            assert name == "SessionStopReq"
            return
        assert ORDER.index(state) >= place, "there is no way back in DIN 70121"
        if ongoing and name in ("ContractAuthenticationReq", "ChargeParameterDiscoveryReq", "CableCheckReq"):
            assert state is before
        place = ORDER.index(state)
        assert (state in ENERGY) == charging
