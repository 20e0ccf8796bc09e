"""The ISO 15118-20 sequence charts as data: which request may follow which exchange (clause 8.8.3).

One chart for each set of messages that SupportedAppProtocol can select (`Family`), made of a common part and the
part of its energy transfer, and one for each side stream. The charts are independent of the role: charger, vehicle,
conformance tool and the diagrams in the docs read the same tables by `v2g.iso15118.engine.sequence`.

Choices where sources of the standard disagree or are incomplete: SessionStopReq is allowed in every state but the
first two, also in the charge loop, because rejecting it has no benefit; the last DC_PreChargeReq may have Finished;
the order of WPT and ACDP follows their schemas; a vehicle in standby continues its charge loop without energy,
since only there it can receive ExitStandby; VehicleCheckIn precedes charge parameters, VehicleCheckOut follows energy.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from v2g.iso15118.engine.sequence import Asks, Chart, Edge, Edges, Says, State
from v2g.iso15118.engine.v2gtp import PayloadType


class Family(Enum):
    """Sets of messages, each negotiated by its own namespace; `DC` also covers MCS."""

    AC = "AC"
    DC = "DC"
    WPT = "WPT"
    ACDP = "ACDP"


def _go(to: State, asks: Asks = Asks.ANYTHING, says: Says = Says.ANYTHING) -> Edge:
    return Edge(to, asks, says)


_States = dict[State, Mapping[str, Edges]]

_STOP: Final[Mapping[str, Edges]] = {
    "SessionStopReq": (
        _go(State.ENDED, Asks.TERMINATE),
        _go(State.PAUSED, Asks.PAUSE),
        _go(State.SERVICE_DISCOVERY, Asks.SERVICE_RENEGOTIATION),
    )
}


def _poll(stay: State, done: State, *, by: tuple[Says, Says] = (Says.ONGOING, Says.FINISHED)) -> Edges:
    """Return the edges of an exchange that is repeated until one side (the charger, by default) has finished."""
    return (_go(stay, says=by[0]), _go(done, says=by[1]))


_BY_VEHICLE: Final = (Says.EV_ONGOING, Says.EV_FINISHED)


def _both(stay: State, done: State) -> Edges:
    """Return the edges of an exchange that is repeated until both sides have finished."""
    return (_go(stay, says=Says.EV_ONGOING), _go(stay, says=Says.ONGOING), _go(done))


def _installation(stay: State, done: State) -> Mapping[str, Edges]:
    """Return how contracts are installed, one with each finished exchange (V2G20-1972, -1973, -1975, -2224)."""
    return {
        "CertificateInstallationReq": (
            _go(done, says=Says.WARNING),
            _go(stay, says=Says.ONGOING),
            _go(stay, says=Says.MORE),
            _go(done, says=Says.FINISHED),
        )
    }


def _common(parameters: State) -> _States:
    """Return everything up to the selection of services; a resumed session continues at `parameters`."""
    return {
        State.SUPPORTED_APP_PROTOCOL: {"SupportedAppProtocolReq": (_go(State.SESSION_SETUP, says=Says.NEGOTIATED),)},
        State.SESSION_SETUP: {
            "SessionSetupReq": (
                _go(State.AUTHORIZATION_SETUP, says=Says.NEW_SESSION),
                _go(parameters, says=Says.OLD_SESSION),  # V2G20-1032, -2097, -2098, -5046
            )
        },
        State.AUTHORIZATION_SETUP: {"AuthorizationSetupReq": (_go(State.AUTHORIZATION),), **_STOP},
        State.AUTHORIZATION: {
            "AuthorizationReq": (
                _go(State.AUTHORIZATION, says=Says.WARNING),  # another contract or EIM (V2G20-2226)
                _go(State.AUTHORIZATION, says=Says.ONGOING),  # the same request again (V2G20-1582)
                _go(State.CERTIFICATE_EXPIRES_SOON, says=Says.EXPIRES_SOON),  # V2G20-2218, -2221
                _go(State.SERVICE_DISCOVERY, says=Says.FINISHED),
            ),
            **_installation(State.CERTIFICATE_INSTALLATION, State.AUTHORIZATION),
            **_STOP,
        },
        State.CERTIFICATE_INSTALLATION: {**_installation(State.CERTIFICATE_INSTALLATION, State.AUTHORIZATION), **_STOP},
        # Authorised, and allowed to install the contract's successor, which is for the next session (V2G20-2702).
        State.CERTIFICATE_EXPIRES_SOON: {
            "ServiceDiscoveryReq": (_go(State.SERVICE_DETAIL),),
            **_installation(State.CERTIFICATE_RENEWAL, State.CERTIFICATE_EXPIRES_SOON),
            **_STOP,
        },
        State.CERTIFICATE_RENEWAL: {
            **_installation(State.CERTIFICATE_RENEWAL, State.CERTIFICATE_EXPIRES_SOON),
            **_STOP,
        },
        State.SERVICE_DISCOVERY: {"ServiceDiscoveryReq": (_go(State.SERVICE_DETAIL),), **_STOP},
        State.SERVICE_DETAIL: {
            "ServiceDiscoveryReq": (_go(State.SERVICE_DETAIL),),
            "ServiceDetailReq": (_go(State.SERVICE_SELECTION),),
            **_STOP,
        },
        State.PAUSED: {},
        State.ENDED: {},
    }


def _selection(selected: State) -> _States:
    """Return the state in which services are selected, which leads to `selected`."""
    return {
        State.SERVICE_SELECTION: {
            "ServiceDetailReq": (_go(State.SERVICE_SELECTION),),
            "ServiceSelectionReq": (_go(selected),),
            **_STOP,
        }
    }


def _planning(parameters: State, request: str, planned: State) -> _States:
    """Return charge parameters, preceded by a check-in, and the schedule, followed by `planned`."""
    return {
        parameters: {"VehicleCheckInReq": (_go(parameters),), request: (_go(State.SCHEDULE_EXCHANGE),), **_STOP},
        State.SCHEDULE_EXCHANGE: {"ScheduleExchangeReq": _poll(State.SCHEDULE_EXCHANGE, planned), **_STOP},
    }


def _energy(loop: State, request: str, after: State) -> _States:
    """Return the charge loop and its side exchanges; `after` follows a stop."""
    stop = _go(after, Asks.STOP)
    start = (_go(State.POWER_DELIVERY, Asks.START, Says.EV_ONGOING), _go(loop, Asks.START, Says.EV_FINISHED))
    return {
        State.POWER_DELIVERY: {
            "PowerDeliveryReq": (
                *start,
                stop,
                _go(State.POWER_DELIVERY, Asks.STANDBY, Says.WARNING),
                _go(State.STANDBY, Asks.STANDBY),
            ),
            **_STOP,
        },
        loop: {
            request: (_go(loop),),
            "MeteringConfirmationReq": (_go(loop),),
            "PowerDeliveryReq": (
                stop,
                _go(loop, Asks.RENEGOTIATION, Says.WARNING),  # the old schedule stays
                _go(State.SCHEDULE_RENEGOTIATION, Asks.RENEGOTIATION),
                _go(loop, Asks.STANDBY, Says.WARNING),  # WARNING_StandbyNotAllowed: energy continues
                _go(State.STANDBY, Asks.STANDBY),
            ),
            **_STOP,
        },
        State.STANDBY: {
            request: (_go(State.STANDBY),),
            "MeteringConfirmationReq": (_go(State.STANDBY),),
            "PowerDeliveryReq": (
                _go(State.STANDBY, Asks.START, Says.EV_ONGOING),
                _go(loop, Asks.START, Says.EV_FINISHED),
                stop,
                _go(State.STANDBY, Asks.STANDBY),
                _go(State.STANDBY, Asks.RENEGOTIATION, Says.WARNING),
                _go(State.STANDBY_RENEGOTIATION, Asks.RENEGOTIATION),
            ),
            **_STOP,
        },
        # A vehicle in standby that cannot renegotiate stays there: only PowerDeliveryReq (Start) resumes energy.
        State.STANDBY_RENEGOTIATION: {
            "ScheduleExchangeReq": (
                _go(State.STANDBY, says=Says.WARNING),
                *_poll(State.STANDBY_RENEGOTIATION, State.POWER_DELIVERY_RENEGOTIATED),
            ),
            "PowerDeliveryReq": (stop,),
            **_STOP,
        },
        State.SCHEDULE_RENEGOTIATION: {
            "ScheduleExchangeReq": (
                _go(loop, says=Says.WARNING),  # WARNING_ScheduleRenegotiationFailed: the old schedule stays
                *_poll(State.SCHEDULE_RENEGOTIATION, State.POWER_DELIVERY_RENEGOTIATED),
            ),
            "PowerDeliveryReq": (stop,),
            **_STOP,
        },
        State.POWER_DELIVERY_RENEGOTIATED: {
            "PowerDeliveryReq": (
                _go(State.POWER_DELIVERY_RENEGOTIATED, Asks.START, Says.EV_ONGOING),
                _go(loop, Asks.START, Says.EV_FINISHED),
                stop,
            ),
            **_STOP,
        },
        State.SESSION_STOP: {"VehicleCheckOutReq": (_go(State.SESSION_STOP),), **_STOP},
    }


def _cable(loop: State, after: State, unloaded: State) -> _States:
    """Return the part of wired direct current between the schedule and the loop, and after it.

    `after` follows a stop of power, `unloaded` a stop before any contactor was closed or the welding detection.
    """
    never_started = (_go(unloaded, Asks.STOP), _go(State.DC_CABLE_CHECK, Asks.STANDBY, Says.WARNING))
    cable_check = _poll(State.DC_CABLE_CHECK_ONGOING, State.DC_PRE_CHARGE)
    pre_charge = _poll(State.DC_PRE_CHARGE_ONGOING, State.POWER_DELIVERY, by=_BY_VEHICLE)
    return {
        # A vehicle that receives GoToPause leaves before the cable check (V2G20-2122).
        State.DC_CABLE_CHECK: {"DC_CableCheckReq": cable_check, "PowerDeliveryReq": never_started, **_STOP},
        State.DC_CABLE_CHECK_ONGOING: {"DC_CableCheckReq": cable_check, **_STOP},
        State.DC_PRE_CHARGE: {"DC_PreChargeReq": pre_charge, **_STOP},
        State.DC_PRE_CHARGE_ONGOING: {
            "DC_PreChargeReq": pre_charge,
            "PowerDeliveryReq": _energy(loop, "DC_ChargeLoopReq", after)[State.POWER_DELIVERY]["PowerDeliveryReq"],
            **_STOP,
        },
        State.DC_WELDING_DETECTION: {
            "DC_WeldingDetectionReq": _poll(State.DC_WELDING_DETECTION, unloaded, by=_BY_VEHICLE),
            **({"VehicleCheckOutReq": (_go(State.DC_WELDING_DETECTION),)} if unloaded is State.SESSION_STOP else {}),
            **_STOP,
        },
    }


def _ac() -> Chart:
    parameters, loop = State.AC_CHARGE_PARAMETER_DISCOVERY, State.AC_CHARGE_LOOP
    return {
        **_common(parameters),
        **_selection(parameters),
        **_planning(parameters, "AC_ChargeParameterDiscoveryReq", State.POWER_DELIVERY),
        **_energy(loop, "AC_ChargeLoopReq", State.SESSION_STOP),
    }


def _ac_der() -> Chart:
    """Return the chart of AC with AC DER selected (V2G20-3150, -3151, -3354, -3348): the vehicle repeats its charge
    parameters while it applies the demands, by SAE also while the charger sends Ongoing, and may select services again
    where it cannot."""
    request, parameters = "AC_ChargeParameterDiscoveryReq", State.AC_CHARGE_PARAMETER_DISCOVERY
    applying = State.AC_CHARGE_PARAMETER_DISCOVERY_ONGOING
    poll = _both(applying, State.SCHEDULE_EXCHANGE)
    chart = _ac()
    return {
        **chart,
        parameters: {**chart[parameters], request: poll},
        applying: {request: poll, **_STOP},
        State.SCHEDULE_EXCHANGE: {
            **chart[State.SCHEDULE_EXCHANGE],
            "ServiceDiscoveryReq": (_go(State.SERVICE_DETAIL),),
        },
    }


def _dc() -> Chart:
    parameters, loop, after = State.DC_CHARGE_PARAMETER_DISCOVERY, State.DC_CHARGE_LOOP, State.DC_WELDING_DETECTION
    return {
        **_common(parameters),
        **_selection(parameters),
        **_planning(parameters, "DC_ChargeParameterDiscoveryReq", State.DC_CABLE_CHECK),
        **_cable(loop, after, State.SESSION_STOP),
        **_energy(loop, "DC_ChargeLoopReq", after),
    }


def _wpt() -> Chart:
    parameters, loop = State.WPT_CHARGE_PARAMETER_DISCOVERY, State.WPT_CHARGE_LOOP
    return {
        **_common(parameters),
        **_selection(State.WPT_FINE_POSITIONING_SETUP),
        State.WPT_FINE_POSITIONING_SETUP: {
            "WPT_FinePositioningSetupReq": _poll(
                State.WPT_FINE_POSITIONING_SETUP, State.WPT_FINE_POSITIONING, by=_BY_VEHICLE
            ),
            **_STOP,
        },
        State.WPT_FINE_POSITIONING: {
            "WPT_FinePositioningReq": _both(State.WPT_FINE_POSITIONING, State.WPT_PAIRING),
            **_STOP,
        },
        State.WPT_PAIRING: {"WPT_PairingReq": _both(State.WPT_PAIRING, parameters), **_STOP},
        **_planning(parameters, "WPT_ChargeParameterDiscoveryReq", State.WPT_ALIGNMENT_CHECK),
        State.WPT_ALIGNMENT_CHECK: {
            "WPT_AlignmentCheckReq": _both(State.WPT_ALIGNMENT_CHECK, State.POWER_DELIVERY),
            **_STOP,
        },
        **_energy(loop, "WPT_ChargeLoopReq", State.SESSION_STOP),
    }


def _acdp() -> Chart:
    parameters, loop, after = State.DC_CHARGE_PARAMETER_DISCOVERY, State.DC_CHARGE_LOOP, State.DC_WELDING_DETECTION
    return {
        **_common(parameters),
        **_selection(State.ACDP_VEHICLE_POSITIONING),
        State.ACDP_VEHICLE_POSITIONING: {
            "ACDP_VehiclePositioningReq": _poll(State.ACDP_VEHICLE_POSITIONING, parameters),
            **_STOP,
        },
        **_planning(parameters, "DC_ChargeParameterDiscoveryReq", State.ACDP_CONNECT),
        State.ACDP_CONNECT: {"ACDP_ConnectReq": _poll(State.ACDP_CONNECT, State.DC_CABLE_CHECK), **_STOP},
        **_cable(loop, after, State.ACDP_DISCONNECT),
        **_energy(loop, "DC_ChargeLoopReq", after),
        State.ACDP_DISCONNECT: {"ACDP_DisconnectReq": _poll(State.ACDP_DISCONNECT, State.SESSION_STOP), **_STOP},
    }


CHARTS: Final[Mapping[Family, Chart]] = {Family.AC: _ac(), Family.DC: _dc(), Family.WPT: _wpt(), Family.ACDP: _acdp()}
"""Message set -> state -> name of the request -> edges, in the order in which they are tried."""

AC_DER: Final = _ac_der()
"""The chart of AC once AC DER is selected. By EVerest, which names the requirements; their text is not public."""

REQUESTS: Final = frozenset(name for chart in CHARTS.values() for edges in chart.values() for name in edges)
"""Every request in a chart of the main stream, by class name."""

FETCHING: Final = frozenset(state for state, ways in CHARTS[Family.DC].items() if "CertificateInstallationReq" in ways)
"""States in which a vehicle may request contracts."""

LOOPS: Final = frozenset({State.AC_CHARGE_LOOP, State.DC_CHARGE_LOOP, State.WPT_CHARGE_LOOP})
"""The charge loops."""

ENERGY: Final = LOOPS | {State.SCHEDULE_RENEGOTIATION, State.POWER_DELIVERY_RENEGOTIATED}
"""States in which power may flow."""

PARALLEL: Final = ENERGY | {State.STANDBY, State.STANDBY_RENEGOTIATION}
"""States in which side streams may run."""


# -- side streams -------------------------------------------------------------------------------------------------


def _renegotiation() -> Chart:
    """Return the side stream that renegotiates a schedule while energy flows by the old one."""
    parameters = (_go(State.SIDE_SCHEDULE_EXCHANGE),)
    exchange = (
        _go(State.SIDE_IDLE, says=Says.WARNING),
        *_poll(State.SIDE_SCHEDULE_EXCHANGE, State.SIDE_POWER_DELIVERY),
    )
    return {
        State.SIDE_IDLE: {
            "AC_ChargeParameterDiscoveryReq": parameters,
            "DC_ChargeParameterDiscoveryReq": parameters,
            "WPT_ChargeParameterDiscoveryReq": parameters,
            "ScheduleExchangeReq": exchange,
        },
        State.SIDE_SCHEDULE_EXCHANGE: {"ScheduleExchangeReq": exchange},
        State.SIDE_POWER_DELIVERY: {
            "PowerDeliveryReq": (
                _go(State.SIDE_POWER_DELIVERY, Asks.START, Says.EV_ONGOING),
                _go(State.SIDE_IDLE, Asks.START, Says.EV_FINISHED),
                _go(State.SIDE_IDLE, Asks.RENEGOTIATION),
            )
        },
    }


def _single(*requests: str) -> Chart:
    return {State.SIDE_IDLE: {name: (_go(State.SIDE_IDLE),) for name in requests}}


SIDE_CHARTS: Final[Mapping[PayloadType, Chart]] = {
    PayloadType.SCHEDULE_RENEGOTIATION: _renegotiation(),
    PayloadType.METERING_CONFIRMATION: _single("MeteringConfirmationReq"),
    PayloadType.ACDP_SYSTEM_STATUS: _single("ACDP_SystemStatusReq"),
    PayloadType.PARKING_STATUS: _single("VehicleCheckInReq", "VehicleCheckOutReq"),
}
"""Payload type of a side stream -> its chart; every one starts in SIDE_IDLE."""

_SETTING_UP: Final = frozenset(
    {
        State.SUPPORTED_APP_PROTOCOL,
        State.SESSION_SETUP,
        State.AUTHORIZATION_SETUP,
        State.AUTHORIZATION,
        State.CERTIFICATE_INSTALLATION,
        State.CERTIFICATE_EXPIRES_SOON,
        State.CERTIFICATE_RENEWAL,
        State.SERVICE_DISCOVERY,
        State.SERVICE_DETAIL,
        State.SERVICE_SELECTION,
        State.PAUSED,
        State.ENDED,
    }
)


def side_stream_runs(payload_type: PayloadType, state: State) -> bool:
    """Return whether a request is allowed on a side stream while the main stream is in `state`."""
    if payload_type in (PayloadType.SCHEDULE_RENEGOTIATION, PayloadType.METERING_CONFIRMATION):
        return state in PARALLEL
    return state not in _SETTING_UP
