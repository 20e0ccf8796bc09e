"""Evaluation of sequence charts; the charts are data of the editions (`v2g.iso15118.d20.charts`, `d2`, `din`).

A `State` is what the charger waits for. A request is in order when an `Edge` of its state has its name and its
`asks` holds; the exchange then moves along the first such edge whose `says` holds for the response. A response
that fails (`FAILED...`) always leads to ENDED, whatever the table says.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from v2g.exi.declare import Element


class State(Enum):
    """What the charger waits for, named after the usual message."""

    SUPPORTED_APP_PROTOCOL = "supported_app_protocol"
    SESSION_SETUP = "session_setup"
    AUTHORIZATION_SETUP = "authorization_setup"
    AUTHORIZATION = "authorization"
    CERTIFICATE_INSTALLATION = "certificate_installation"
    CERTIFICATE_EXPIRES_SOON = "certificate_expires_soon"
    CERTIFICATE_RENEWAL = "certificate_renewal"
    SERVICE_DISCOVERY = "service_discovery"
    SERVICE_DETAIL = "service_detail"
    SERVICE_SELECTION = "service_selection"
    PAYMENT_DETAILS = "payment_details"
    CONTRACT_INSTALLED = "contract_installed"
    CHARGE_PARAMETER_DISCOVERY = "charge_parameter_discovery"
    AC_CHARGE_PARAMETER_DISCOVERY = "ac_charge_parameter_discovery"
    DC_CHARGE_PARAMETER_DISCOVERY = "dc_charge_parameter_discovery"
    WPT_FINE_POSITIONING_SETUP = "wpt_fine_positioning_setup"
    WPT_FINE_POSITIONING = "wpt_fine_positioning"
    WPT_PAIRING = "wpt_pairing"
    WPT_CHARGE_PARAMETER_DISCOVERY = "wpt_charge_parameter_discovery"
    WPT_ALIGNMENT_CHECK = "wpt_alignment_check"
    ACDP_VEHICLE_POSITIONING = "acdp_vehicle_positioning"
    ACDP_CONNECT = "acdp_connect"
    ACDP_DISCONNECT = "acdp_disconnect"
    SCHEDULE_EXCHANGE = "schedule_exchange"
    DC_CABLE_CHECK = "dc_cable_check"
    DC_CABLE_CHECK_ONGOING = "dc_cable_check_ongoing"
    DC_PRE_CHARGE = "dc_pre_charge"
    DC_PRE_CHARGE_ONGOING = "dc_pre_charge_ongoing"
    POWER_DELIVERY = "power_delivery"
    AC_CHARGE_LOOP = "ac_charge_loop"
    DC_CHARGE_LOOP = "dc_charge_loop"
    WPT_CHARGE_LOOP = "wpt_charge_loop"
    AC_METERING_RECEIPT = "ac_metering_receipt"
    DC_METERING_RECEIPT = "dc_metering_receipt"
    STANDBY = "standby"
    STANDBY_RENEGOTIATION = "standby_renegotiation"
    SCHEDULE_RENEGOTIATION = "schedule_renegotiation"
    POWER_DELIVERY_RENEGOTIATED = "power_delivery_renegotiated"
    DC_WELDING_DETECTION = "dc_welding_detection"
    SESSION_STOP = "session_stop"
    PAUSED = "paused"
    ENDED = "ended"
    SIDE_IDLE = "side_idle"
    SIDE_SCHEDULE_EXCHANGE = "side_schedule_exchange"
    SIDE_POWER_DELIVERY = "side_power_delivery"
    AC_CHARGE_PARAMETER_DISCOVERY_ONGOING = "ac_charge_parameter_discovery_ongoing"


class Asks(Enum):
    """The intent of a request, if its name alone does not determine the order."""

    ANYTHING = "anything"
    START = "ChargeProgress Start"
    STOP = "ChargeProgress Stop"
    STANDBY = "ChargeProgress Standby"
    RENEGOTIATION = "ChargeProgress ScheduleRenegotiation"
    RENEGOTIATE = "ChargeProgress Renegotiate"
    READY = "ReadyToChargeState true"
    NOT_READY = "ReadyToChargeState false"
    CONTRACT = "SelectedPaymentOption Contract"
    EXTERNAL_PAYMENT = "SelectedPaymentOption ExternalPayment"
    TERMINATE = "ChargingSession Terminate"
    PAUSE = "ChargingSession Pause"
    SERVICE_RENEGOTIATION = "ChargingSession ServiceRenegotiation"


class Says(Enum):
    """Condition for the next state: the response, or the vehicle's own EVProcessing."""

    ANYTHING = "any OK or WARNING"
    NEGOTIATED = "OK_SuccessfulNegotiation..."
    NEW_SESSION = "OK_NewSessionEstablished"
    OLD_SESSION = "OK_OldSessionJoined"
    ONGOING = "EVSEProcessing Ongoing"
    WARNING = "WARNING"
    EXPIRES_SOON = "OK_CertificateExpiresSoon"
    FINISHED = "EVSEProcessing Finished"
    MORE = "EVSEProcessing Finished, contracts remain"
    RECEIPT_REQUIRED = "ReceiptRequired true"
    EV_ONGOING = "EVProcessing Ongoing"
    EV_FINISHED = "EVProcessing Finished"


class Edge(msgspec.Struct, frozen=True):
    """One edge of a state: taken when request and exchange match."""

    to: State
    asks: Asks = Asks.ANYTHING
    says: Says = Says.ANYTHING


Edges = tuple[Edge, ...]
Chart = Mapping[State, Mapping[str, Edges]]


def accepts(state: State, request: Element, chart: Chart) -> bool:
    """Return whether `request` (a message Struct) is in order in `state` (V2G20-459)."""
    return any(_asks(edge.asks, request) for edge in chart[state].get(type(request).__name__, ()))


def advance(state: State, request: Element, response: Element, chart: Chart) -> State:
    """Return the state after `request` was answered with `response`; ENDED after a failure or out of order."""
    if is_failed(response):
        return State.ENDED
    for edge in chart[state].get(type(request).__name__, ()):
        if _asks(edge.asks, request) and _says(edge.says, request, response):
            return edge.to
    return State.ENDED


def is_failed(response: Element) -> bool:
    """Return whether a response ends the session: FAILED... of -20, Failed... of SupportedAppProtocolRes."""
    return code_of(response).startswith(("FAILED", "Failed"))


def code_of(response: Any) -> str:
    """Return the name of a response's code. Each edition's responses have an enumeration of their own."""
    code: str = response.response_code._name_  # `name` is slow on Enum, and this is called three times a message
    return code


def extended(chart: Chart, more: Chart) -> Chart:
    """Return a chart with further edges in its states, tried after its own; none is added twice."""

    def both(first: Edges, then: Edges) -> Edges:
        return (*first, *(edge for edge in then if edge not in first))

    return {
        state: {
            name: both(ways.get(name, ()), more.get(state, {}).get(name, ()))
            for name in dict.fromkeys((*ways, *more.get(state, {})))
        }
        for state, ways in chart.items()
    }


def edges(chart: Chart) -> Iterator[tuple[State, str, Edge]]:
    """Yield every edge with its state and request name, for diagrams and tests."""
    for state, by_request in chart.items():
        for name, ways in by_request.items():
            for edge in ways:
                yield state, name, edge


def _asks(asks: Asks, request: Element) -> bool:
    if asks is Asks.ANYTHING:
        return True
    field, wanted = _ASKED[asks]
    value = getattr(request, field)
    return bool((value.name if isinstance(value, Enum) else str(value).lower()) == wanted)


_FIELDS: Final = {
    "ChargeProgress": "charge_progress",
    "ChargingSession": "charging_session",
    "ReadyToChargeState": "ready_to_charge_state",
    "SelectedPaymentOption": "selected_payment_option",
}

_ASKED: Final = {
    each: (_FIELDS[name], value) for each in Asks for name, _, value in (each.value.partition(" "),) if name in _FIELDS
}
"""What a request asks for -> its field and value."""


def _says(says: Says, request: Any, response: Any) -> bool:  # the chart knows which fields they have
    if says is Says.ANYTHING:
        return True
    code = code_of(response)
    match says:
        case Says.NEGOTIATED:
            return code.startswith("OK_SuccessfulNegotiation")
        case Says.NEW_SESSION | Says.OLD_SESSION | Says.EXPIRES_SOON:
            return bool(code == says.value)
        case Says.WARNING:
            return code.startswith("WARNING")
        case Says.ONGOING | Says.FINISHED:
            return _is(_processing(response, "evse_processing"), says)
        case Says.MORE:
            left: int = response.remaining_contract_certificate_chains
            return _is(response.evse_processing, Says.FINISHED) and left > 0
        case Says.RECEIPT_REQUIRED:
            return response.receipt_required is True
        case Says.EV_ONGOING | Says.EV_FINISHED:
            return _is(_processing(request, "ev_processing"), says)


def _processing(message: Element, field: str) -> Enum | None:
    """Return EVProcessing or EVSEProcessing, which charge parameters have in their mode; None where there is none."""
    if hasattr(message, field):
        return getattr(message, field)  # type: ignore[no-any-return]
    parts = (getattr(message, name) for name in message.__struct_fields__)
    return next((getattr(each, field) for each in parts if hasattr(each, field)), None)


def _is(processing: Enum | None, says: Says) -> bool:
    """Compare with `... Ongoing` or `... Finished`; Ongoing_WaitingForCustomerInteraction is Ongoing too."""
    return processing is not None and says.value.endswith(f" {processing.name.partition('_')[0]}")


_BEFORE_SESSION: Final = frozenset({State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP, State.PAUSED, State.ENDED})


def with_early_stops(chart: Chart, *, session: Edges, power: Edges) -> Chart:
    """Return a chart whose states also take SessionStopReq by `session` and PowerDeliveryReq by `power`."""
    stops = {"PowerDeliveryReq": power, "SessionStopReq": session}
    return extended(chart, {state: stops for state in chart if state not in _BEFORE_SESSION})
