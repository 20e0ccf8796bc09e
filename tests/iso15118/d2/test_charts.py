"""The charts of ISO 15118-2 against a table and a model that were written from the requirements, not from them."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.iso15118 import exchanges
from tests.iso15118.exchanges import FIELDS, response
from tests.together import together
from v2g.iso15118.d2.charts import CHARTS, ENERGY, LOOPS, REQUESTS, STRICT, Family, has_wrong_progress
from v2g.iso15118.d2.messages import common, data_types
from v2g.iso15118.d2.messages.data_types import ResponseCode
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.sequence import Asks, Says, State, accepts, advance, edges

DECLARED = {each.__name__: each for module in (common, app) for each in module.ELEMENTS.values() if each.__name__}
EVERY = {name for name in DECLARED if name.endswith("Req")} - {"supportedAppProtocolReq"}

VARIANTS = {
    "PowerDeliveryReq": (Asks.START, Asks.STOP, Asks.RENEGOTIATE),
    "SessionStopReq": (Asks.TERMINATE, Asks.PAUSE),
    "PaymentServiceSelectionReq": (Asks.CONTRACT, Asks.EXTERNAL_PAYMENT),
}
ASKED = [(name, asks) for name in sorted(EVERY) for asks in VARIANTS.get(name, (Asks.ANYTHING,))]


def request(name: str, asks: Asks = Asks.ANYTHING) -> Any:
    return exchanges.request(data_types, name, asks)


# -- which request may follow which exchange: the published rows, by hand --------------------------------------------

TERMINATE, PAUSE = ("SessionStopReq", Asks.TERMINATE), ("SessionStopReq", Asks.PAUSE)
START, STOP, RENEGOTIATE = (("PowerDeliveryReq", asks) for asks in VARIANTS["PowerDeliveryReq"])

SETTING_UP = {
    State.SUPPORTED_APP_PROTOCOL: {"SupportedAppProtocolReq"},
    State.SESSION_SETUP: {"SessionSetupReq"},
    State.SERVICE_DISCOVERY: {"ServiceDiscoveryReq"},
    State.SERVICE_SELECTION: {"ServiceDetailReq", "PaymentServiceSelectionReq"},
    State.PAYMENT_DETAILS: {"PaymentDetailsReq", "CertificateInstallationReq", "CertificateUpdateReq"},
    State.CONTRACT_INSTALLED: {"PaymentDetailsReq"},
    State.AUTHORIZATION: {"AuthorizationReq"},
    State.CHARGE_PARAMETER_DISCOVERY: {"ChargeParameterDiscoveryReq"},
    State.SCHEDULE_RENEGOTIATION: {"ChargeParameterDiscoveryReq"},
    State.PAUSED: set(),
    State.ENDED: set(),
}
ROWS: dict[Family, dict[State, set[Any]]] = {
    Family.AC: {
        **SETTING_UP,
        State.POWER_DELIVERY: {START, STOP},
        State.AC_CHARGE_LOOP: {"ChargingStatusReq", STOP, RENEGOTIATE},
        State.AC_METERING_RECEIPT: {"ChargingStatusReq", "MeteringReceiptReq", STOP, RENEGOTIATE},
        State.POWER_DELIVERY_RENEGOTIATED: {START},
        State.SESSION_STOP: {TERMINATE, PAUSE},
    },
    Family.DC: {
        **SETTING_UP,
        State.DC_CABLE_CHECK: {"CableCheckReq"},
        State.DC_PRE_CHARGE: {"PreChargeReq"},
        State.DC_PRE_CHARGE_ONGOING: {"PreChargeReq", START, STOP},
        State.DC_CHARGE_LOOP: {"CurrentDemandReq", STOP, RENEGOTIATE},
        State.DC_METERING_RECEIPT: {"CurrentDemandReq", "MeteringReceiptReq", STOP, RENEGOTIATE},
        State.DC_WELDING_DETECTION: {"WeldingDetectionReq", "ChargeParameterDiscoveryReq", TERMINATE, PAUSE},
    },
}
BEFORE_SETUP = {State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP, State.PAUSED, State.ENDED}


def allowed(family: Family, state: State, name: str, asks: Asks, *, tolerant: bool) -> bool:
    row = ROWS[family][state]
    if name in row or (name, asks) in row:
        return True
    if not tolerant:
        return False
    return state not in BEFORE_SETUP and (name == "SessionStopReq" or asks is Asks.STOP)


EVERY_CASE = [
    (family, state, name, asks, tolerant)
    for family in Family
    for state in ROWS[family]
    for name, asks in ASKED
    for tolerant in (False, True)
]


@pytest.mark.some(1)
@together(("family", "state", "name", "asks", "tolerant"), EVERY_CASE, by=lambda case: case[0].name)
def test_every_state_takes_what_its_row_names_and_refuses_every_other_request(
    family: Family, state: State, name: str, asks: Asks, tolerant: bool
) -> None:
    chart = (CHARTS if tolerant else STRICT)[family]
    expected = allowed(family, state, name, asks, tolerant=tolerant)
    asked = request(name, asks)
    assert accepts(state, asked, chart) == expected
    if not expected:
        assert advance(state, asked, response(ResponseCode.OK), chart) is State.ENDED


def test_charts_have_exactly_the_states_and_requests_of_the_table() -> None:
    for family in Family:
        assert set(CHARTS[family]) == set(STRICT[family]) == set(ROWS[family])
    assert EVERY | {"SupportedAppProtocolReq"} == REQUESTS
    assert LOOPS < ENERGY < {state for chart in CHARTS.values() for state in chart}


def test_what_edges_ask_for_is_in_the_declared_messages() -> None:
    for chart in CHARTS.values():
        for _, name, edge in edges(chart):
            title = edge.asks.value.partition(" ")[0]
            if title in FIELDS:
                assert FIELDS[title] in DECLARED[name].__struct_fields__


@together("code", [code for code in ResponseCode if code.name.startswith("FAILED")])
def test_a_failure_ends_every_state(code: ResponseCode) -> None:
    for chart in CHARTS.values():
        for state, name, edge in edges(chart):
            assert advance(state, request(name, edge.asks), response(code, edge.says), chart) is State.ENDED


# -- random conversations beside a model ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """The last exchange and what it left behind; no state of a chart."""

    last: str = ""
    contract: bool = False
    charging: bool = False
    """Between Start and Stop."""
    receipt: bool = False
    over: str = ""

    def allowed(self, dc: bool) -> set[tuple[str, Asks]]:
        loop = "CurrentDemandReq" if dc else "ChargingStatusReq"
        plain = {
            "": {"SupportedAppProtocolReq"},
            "SupportedAppProtocolReq": {"SessionSetupReq"},
            "SessionSetupReq": {"ServiceDiscoveryReq"},
            "ServiceDiscoveryReq": {"ServiceDetailReq", "PaymentServiceSelectionReq"},
            "ServiceDetailReq": {"ServiceDetailReq", "PaymentServiceSelectionReq"},
            "PaymentServiceSelectionReq": {"PaymentDetailsReq", "CertificateInstallationReq", "CertificateUpdateReq"}
            if self.contract
            else {"AuthorizationReq"},
            "CertificateInstallationReq": {"PaymentDetailsReq"},
            "CertificateUpdateReq": {"PaymentDetailsReq"},
            "PaymentDetailsReq": {"AuthorizationReq"},
            "AuthorizationReq Ongoing": {"AuthorizationReq"},
            "AuthorizationReq": {"ChargeParameterDiscoveryReq"},
            "ChargeParameterDiscoveryReq Ongoing": {"ChargeParameterDiscoveryReq"},
            "ChargeParameterDiscoveryReq": {"CableCheckReq"} if dc else {START},
            "CableCheckReq Ongoing": {"CableCheckReq"},
            "CableCheckReq": {"PreChargeReq"},
            "PreChargeReq": {"PreChargeReq", START},
            "Start": {loop, RENEGOTIATE},
            loop: {loop, RENEGOTIATE} | ({"MeteringReceiptReq"} if self.receipt else set()),
            "MeteringReceiptReq": {loop, RENEGOTIATE},
            "Renegotiate": {"ChargeParameterDiscoveryReq"},
            "Stop": {"WeldingDetectionReq", "ChargeParameterDiscoveryReq"} if dc else set(),
            # after it the charger itself refuses charge parameters [V2G2-597]
            "WeldingDetectionReq": {"WeldingDetectionReq", "ChargeParameterDiscoveryReq"} if dc else set(),
        }[self.last]
        wanted = {each if isinstance(each, tuple) else (each, asks) for each in plain for asks in _wishes(each)}
        if self.last not in ("", "SupportedAppProtocolReq"):
            wanted |= {TERMINATE, PAUSE, STOP}
        return wanted

    def after(self, name: str, asks: Asks, *, ongoing: bool, receipt: bool) -> "Model":
        if name == "SessionStopReq":
            stopped = self.last in ("Stop", "WeldingDetectionReq")
            return replace(self, over="paused" if asks is Asks.PAUSE and stopped else "ended")
        if name == "PowerDeliveryReq":
            word = asks.value.partition(" ")[2]
            return replace(
                self,
                last=word,
                receipt=False,
                charging=self.charging if asks is Asks.RENEGOTIATE else asks is Asks.START,
            )
        polls = name in ("AuthorizationReq", "ChargeParameterDiscoveryReq", "CableCheckReq")
        return replace(
            self,
            last=f"{name} Ongoing" if polls and ongoing else name,
            contract=asks is Asks.CONTRACT if name == "PaymentServiceSelectionReq" else self.contract,
            receipt=receipt and name in ("CurrentDemandReq", "ChargingStatusReq"),
        )


def _wishes(name: Any) -> tuple[Asks, ...]:
    return VARIANTS.get(name, (Asks.ANYTHING,)) if isinstance(name, str) else (Asks.ANYTHING,)


OPENING = [("SupportedAppProtocolReq", Asks.ANYTHING), *ASKED]


@given(st.sampled_from(Family), st.data())
def test_random_conversations_go_where_a_model_of_the_standard_goes(family: Family, data: st.DataObject) -> None:
    chart, state, model = CHARTS[family], State.SUPPORTED_APP_PROTOCOL, Model()
    for _ in range(40):
        possible = model.allowed(family is Family.DC)
        for name, asks in OPENING:
            assert accepts(state, request(name, asks), chart) == ((name, asks) in possible), (model, name, asks)
        name, asks = data.draw(st.sampled_from(sorted(possible, key=str)))
        ongoing, receipt = data.draw(st.booleans()), data.draw(st.booleans())
        code = app.ResponseCode.OK_SuccessfulNegotiation if "AppProtocol" in name else ResponseCode.OK
        answered = response(code, Says.ONGOING if ongoing else Says.ANYTHING)
        answered.receipt_required = receipt
        state = advance(state, request(name, asks), answered, chart)
        model = model.after(name, asks, ongoing=ongoing, receipt=receipt)
        if model.over:
            assert state.value == model.over
            return
        assert state not in (State.PAUSED, State.ENDED)
        assert state not in ENERGY or model.charging


# -- what the conformance suite looks at ----------------------------------------------------------------------------


@together(
    ("family", "state", "asks", "wrong"),
    [
        (Family.AC, State.POWER_DELIVERY, Asks.RENEGOTIATE, True),  # TC_SECC_AC_VTB_PowerDelivery_014
        (Family.DC, State.DC_PRE_CHARGE_ONGOING, Asks.RENEGOTIATE, True),  # TC_SECC_DC_VTB_PowerDelivery_013
        (Family.AC, State.AC_CHARGE_LOOP, Asks.START, True),
        (Family.DC, State.DC_CHARGE_LOOP, Asks.START, True),
        (Family.AC, State.POWER_DELIVERY_RENEGOTIATED, Asks.RENEGOTIATE, True),
        (Family.DC, State.DC_CABLE_CHECK, Asks.START, False),  # no PowerDelivery is due at all
        (Family.DC, State.DC_PRE_CHARGE_ONGOING, Asks.START, False),
        (Family.AC, State.SERVICE_DISCOVERY, Asks.STOP, False),
    ],
)
def test_a_progress_that_does_not_fit_is_distinguished_from_a_request_out_of_order(
    family: Family, state: State, asks: Asks, wrong: bool
) -> None:
    assert has_wrong_progress(state, request("PowerDeliveryReq", asks), family) == wrong
    assert not has_wrong_progress(state, request("ServiceDiscoveryReq"), family)


def test_only_a_pause_after_power_was_stopped_can_be_joined() -> None:
    for family, chart in CHARTS.items():
        paused = {state for state, _, edge in edges(chart) if edge.to is State.PAUSED}
        assert paused == {State.SESSION_STOP if family is Family.AC else State.DC_WELDING_DETECTION}


@pytest.mark.parametrize("code", [ResponseCode.OK, ResponseCode.OK_NewSessionEstablished])
def test_a_charger_that_answers_session_setup_plainly_is_followed(code: ResponseCode) -> None:
    """An ABB charger of 2022 answers OK to DIN 70121's SessionSetupReq; a joined session begins in the same place."""
    for each in (code, ResponseCode.OK_OldSessionJoined):
        after = advance(State.SESSION_SETUP, request("SessionSetupReq"), response(each), CHARTS[Family.DC])
        assert after is State.SERVICE_DISCOVERY


def test_waiting_for_the_customer_is_ongoing() -> None:
    answered = response(ResponseCode.OK)
    answered.evse_processing = data_types.EVSEProcessing.Ongoing_WaitingForCustomerInteraction
    assert advance(State.AUTHORIZATION, request("AuthorizationReq"), answered, CHARTS[Family.DC]) is State.AUTHORIZATION
