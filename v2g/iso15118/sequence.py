"""The ISO 15118-20 sequence chart as data: which request may follow which exchange (clause 8.8.3).

Two rules. Everything that decides an order lives here. This file does not know which side we are: charger,
vehicle, conformance tool and the diagrams in the docs read the same table.

A `State` is what the charger waits for. A request is in order when an `Edge` of its state bears its name and its
`asks` holds; the exchange then moves along the first such edge whose `says` holds for the response. A response
that fails (`FAILED...`) always leads to ENDED, whatever the table says (V2G20-459, -460).

Chosen where sources of the standard disagree: SessionStopReq is taken in every state but the first two, also in the
charge loop, because refusing to stop helps nobody; the last DC_PreChargeReq may but need not say Finished.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

import msgspec


class State(Enum):
    """What the charger waits for, by the message that normally comes."""

    SUPPORTED_APP_PROTOCOL = "supported_app_protocol"
    SESSION_SETUP = "session_setup"
    AUTHORIZATION_SETUP = "authorization_setup"
    AUTHORIZATION = "authorization"
    SERVICE_DISCOVERY = "service_discovery"
    SERVICE_DETAIL = "service_detail"
    SERVICE_SELECTION = "service_selection"
    DC_CHARGE_PARAMETER_DISCOVERY = "dc_charge_parameter_discovery"
    SCHEDULE_EXCHANGE = "schedule_exchange"
    DC_CABLE_CHECK = "dc_cable_check"
    DC_CABLE_CHECK_ONGOING = "dc_cable_check_ongoing"
    DC_PRE_CHARGE = "dc_pre_charge"
    DC_PRE_CHARGE_ONGOING = "dc_pre_charge_ongoing"
    POWER_DELIVERY = "power_delivery"
    DC_CHARGE_LOOP = "dc_charge_loop"
    SCHEDULE_RENEGOTIATION = "schedule_renegotiation"
    POWER_DELIVERY_RENEGOTIATED = "power_delivery_renegotiated"
    DC_WELDING_DETECTION = "dc_welding_detection"
    SESSION_STOP = "session_stop"
    PAUSED = "paused"
    ENDED = "ended"


class Asks(Enum):
    """What a request asks for, where its name alone does not settle the order."""

    ANYTHING = "anything"
    START = "ChargeProgress Start"
    STOP = "ChargeProgress Stop"
    STANDBY = "ChargeProgress Standby"
    RENEGOTIATION = "ChargeProgress ScheduleRenegotiation"
    TERMINATE = "ChargingSession Terminate"
    PAUSE = "ChargingSession Pause"
    SERVICE_RENEGOTIATION = "ChargingSession ServiceRenegotiation"


class Says(Enum):
    """What decides the way after an exchange: the response, or the vehicle's own EVProcessing."""

    ANYTHING = "any OK or WARNING"
    NEGOTIATED = "OK_SuccessfulNegotiation..."
    NEW_SESSION = "OK_NewSessionEstablished"
    OLD_SESSION = "OK_OldSessionJoined"
    ONGOING = "EVSEProcessing Ongoing"
    WARNING = "WARNING"
    FINISHED = "EVSEProcessing Finished"
    EV_ONGOING = "EVProcessing Ongoing"
    EV_FINISHED = "EVProcessing Finished"


class Edge(msgspec.Struct, frozen=True):
    """One way out of a state: taken when the request asks and the exchange says so."""

    to: State
    asks: Asks = Asks.ANYTHING
    says: Says = Says.ANYTHING


Edges = tuple[Edge, ...]
Chart = Mapping[State, Mapping[str, Edges]]


def _go(to: State, asks: Asks = Asks.ANYTHING, says: Says = Says.ANYTHING) -> Edge:
    return Edge(to, asks, says)


_STOP: Final[Mapping[str, Edges]] = {
    "SessionStopReq": (
        _go(State.ENDED, Asks.TERMINATE),
        _go(State.PAUSED, Asks.PAUSE),
        _go(State.SERVICE_DISCOVERY, Asks.SERVICE_RENEGOTIATION),
    )
}
_BEFORE_ENERGY: Final[Edges] = (
    _go(State.POWER_DELIVERY, Asks.START, Says.WARNING),
    _go(State.POWER_DELIVERY, Asks.START, Says.EV_ONGOING),
    _go(State.DC_CHARGE_LOOP, Asks.START, Says.EV_FINISHED),
    _go(State.DC_WELDING_DETECTION, Asks.STOP),
    _go(State.POWER_DELIVERY, Asks.STANDBY),
)
_NEVER_STARTED: Final[Edges] = (_go(State.SESSION_STOP, Asks.STOP), _go(State.DC_CABLE_CHECK, Asks.STANDBY))
"""A vehicle that is told GoToPause leaves before the cable check (V2G20-2122)."""
_CABLE_CHECK: Final[Edges] = (
    _go(State.DC_CABLE_CHECK_ONGOING, says=Says.ONGOING),
    _go(State.DC_PRE_CHARGE, says=Says.FINISHED),
)
_PRE_CHARGE: Final[Edges] = (
    _go(State.DC_PRE_CHARGE_ONGOING, says=Says.EV_ONGOING),
    _go(State.POWER_DELIVERY, says=Says.EV_FINISHED),
)

CHART: Final[Chart] = MappingProxyType(
    {
        State.SUPPORTED_APP_PROTOCOL: {
            "SupportedAppProtocolReq": (_go(State.SESSION_SETUP, says=Says.NEGOTIATED),),
        },
        State.SESSION_SETUP: {
            "SessionSetupReq": (
                _go(State.AUTHORIZATION_SETUP, says=Says.NEW_SESSION),
                _go(State.DC_CHARGE_PARAMETER_DISCOVERY, says=Says.OLD_SESSION),  # V2G20-1032, -2098
            ),
        },
        State.AUTHORIZATION_SETUP: {"AuthorizationSetupReq": (_go(State.AUTHORIZATION),), **_STOP},
        State.AUTHORIZATION: {
            "AuthorizationReq": (
                _go(State.AUTHORIZATION, says=Says.WARNING),  # another contract or EIM (V2G20-2226)
                _go(State.AUTHORIZATION, says=Says.ONGOING),  # the same request again (V2G20-1582)
                _go(State.SERVICE_DISCOVERY, says=Says.FINISHED),
            ),
            "CertificateInstallationReq": (_go(State.AUTHORIZATION),),
            **_STOP,
        },
        State.SERVICE_DISCOVERY: {"ServiceDiscoveryReq": (_go(State.SERVICE_DETAIL),), **_STOP},
        State.SERVICE_DETAIL: {
            "ServiceDiscoveryReq": (_go(State.SERVICE_DETAIL),),
            "ServiceDetailReq": (_go(State.SERVICE_SELECTION),),
            **_STOP,
        },
        State.SERVICE_SELECTION: {
            "ServiceDetailReq": (_go(State.SERVICE_SELECTION),),
            "ServiceSelectionReq": (_go(State.DC_CHARGE_PARAMETER_DISCOVERY),),
            **_STOP,
        },
        State.DC_CHARGE_PARAMETER_DISCOVERY: {
            "DC_ChargeParameterDiscoveryReq": (_go(State.SCHEDULE_EXCHANGE),),
            **_STOP,
        },
        State.SCHEDULE_EXCHANGE: {
            "ScheduleExchangeReq": (
                _go(State.SCHEDULE_EXCHANGE, says=Says.ONGOING),
                _go(State.DC_CABLE_CHECK, says=Says.FINISHED),
            ),
            **_STOP,
        },
        State.DC_CABLE_CHECK: {"DC_CableCheckReq": _CABLE_CHECK, "PowerDeliveryReq": _NEVER_STARTED, **_STOP},
        State.DC_CABLE_CHECK_ONGOING: {"DC_CableCheckReq": _CABLE_CHECK, **_STOP},
        State.DC_PRE_CHARGE: {"DC_PreChargeReq": _PRE_CHARGE, **_STOP},
        State.DC_PRE_CHARGE_ONGOING: {"DC_PreChargeReq": _PRE_CHARGE, "PowerDeliveryReq": _BEFORE_ENERGY, **_STOP},
        State.POWER_DELIVERY: {"PowerDeliveryReq": _BEFORE_ENERGY, **_STOP},
        State.DC_CHARGE_LOOP: {
            "DC_ChargeLoopReq": (_go(State.DC_CHARGE_LOOP),),
            "MeteringConfirmationReq": (_go(State.DC_CHARGE_LOOP),),
            "PowerDeliveryReq": (
                _go(State.DC_WELDING_DETECTION, Asks.STOP),
                _go(State.DC_CHARGE_LOOP, Asks.RENEGOTIATION, Says.WARNING),  # the old schedule stays
                _go(State.SCHEDULE_RENEGOTIATION, Asks.RENEGOTIATION),
                _go(State.DC_CHARGE_LOOP, Asks.STANDBY),  # WARNING_StandbyNotAllowed: energy goes on
            ),
            **_STOP,
        },
        State.SCHEDULE_RENEGOTIATION: {
            "ScheduleExchangeReq": (
                _go(State.SCHEDULE_RENEGOTIATION, says=Says.ONGOING),
                _go(State.POWER_DELIVERY_RENEGOTIATED, says=Says.FINISHED),
            ),
            "PowerDeliveryReq": (_go(State.DC_WELDING_DETECTION, Asks.STOP),),
            **_STOP,
        },
        State.POWER_DELIVERY_RENEGOTIATED: {
            "PowerDeliveryReq": (
                _go(State.POWER_DELIVERY_RENEGOTIATED, Asks.START, Says.EV_ONGOING),
                _go(State.DC_CHARGE_LOOP, Asks.START, Says.EV_FINISHED),
                _go(State.DC_WELDING_DETECTION, Asks.STOP),
            ),
            **_STOP,
        },
        State.DC_WELDING_DETECTION: {
            "DC_WeldingDetectionReq": (
                _go(State.DC_WELDING_DETECTION, says=Says.EV_ONGOING),
                _go(State.SESSION_STOP, says=Says.EV_FINISHED),
            ),
            **_STOP,
        },
        State.SESSION_STOP: {**_STOP},
        State.PAUSED: {},
        State.ENDED: {},
    }
)
"""State -> name of the request -> ways on, in the order in which they are tried."""

REQUESTS: Final = frozenset(name for edges in CHART.values() for name in edges)
"""Every request that the chart knows, by class name."""

ENERGY: Final = frozenset(
    {State.DC_CHARGE_LOOP, State.SCHEDULE_RENEGOTIATION, State.POWER_DELIVERY_RENEGOTIATED},
)
"""States in which power may flow."""


def accepts(state: State, request: Any, *, chart: Chart = CHART) -> bool:
    """Return whether `request` (a message Struct) is in order in `state` (V2G20-459)."""
    return any(_asks(edge.asks, request) for edge in chart[state].get(type(request).__name__, ()))


def advance(state: State, request: Any, response: Any, *, chart: Chart = CHART) -> State:
    """Return the state after `request` was answered with `response`; ENDED after a failure or out of order."""
    if is_failed(response):
        return State.ENDED
    for edge in chart[state].get(type(request).__name__, ()):
        if _asks(edge.asks, request) and _says(edge.says, request, response):
            return edge.to
    return State.ENDED


def is_failed(response: Any) -> bool:
    """Return whether a response ends the session: FAILED... of -20, Failed... of SupportedAppProtocolRes."""
    code: str = response.response_code.name
    return code[:6].upper() == "FAILED"


def edges(*, chart: Chart = CHART) -> Iterator[tuple[State, str, Edge]]:
    """Yield every edge with its state and request name, for diagrams and tests."""
    for state, by_request in chart.items():
        for name, ways in by_request.items():
            for edge in ways:
                yield state, name, edge


def _asks(asks: Asks, request: Any) -> bool:
    if asks is Asks.ANYTHING:
        return True
    wish = request.charge_progress if asks in _PROGRESS else request.charging_session
    return bool(asks.value.endswith(f" {wish.name}"))


_PROGRESS: Final = frozenset({Asks.START, Asks.STOP, Asks.STANDBY, Asks.RENEGOTIATION})


def _says(says: Says, request: Any, response: Any) -> bool:
    code: str = response.response_code.name
    match says:
        case Says.ANYTHING:
            return True
        case Says.NEGOTIATED:
            return code.startswith("OK_SuccessfulNegotiation")
        case Says.NEW_SESSION | Says.OLD_SESSION:
            return bool(code == says.value)
        case Says.WARNING:
            return code.startswith("WARNING")
        case Says.ONGOING | Says.FINISHED:
            return _is(response.evse_processing, says)
        case Says.EV_ONGOING | Says.EV_FINISHED:
            return _is(request.ev_processing, says)


def _is(processing: Any, says: Says) -> bool:
    """Compare with `... Ongoing` or `... Finished`; Ongoing_WaitingForCustomerInteraction is Ongoing too."""
    return bool(says.value.endswith(f" {processing.name.partition('_')[0]}"))
