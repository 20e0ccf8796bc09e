"""Timing limits of each side of ISO 15118-20 (Tables 215 to 218, as known from open implementations).

All values in seconds of CLOCK_MONOTONIC. *Timeouts* end the session. *Performance* times are for this
implementation; a peer that misses one deviates but is not disconnected.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from v2g.iso15118.engine.message_timing import MessageTiming, Timer, TimerScale

_NORMAL: Final = MessageTiming(2.0, 1.5)
_SLOW: Final = MessageTiming(5.0, 4.5)
_LOOP: Final = MessageTiming(0.5, 0.25)

MESSAGES: Final[Mapping[str, MessageTiming]] = {
    "SupportedAppProtocolReq": _NORMAL,
    "SessionSetupReq": _NORMAL,
    "AuthorizationSetupReq": _NORMAL,
    "AuthorizationReq": _NORMAL,
    "CertificateInstallationReq": _SLOW,
    "ServiceDiscoveryReq": _NORMAL,
    "ServiceDetailReq": _SLOW,
    "ServiceSelectionReq": _NORMAL,
    "AC_ChargeParameterDiscoveryReq": _NORMAL,
    "DC_ChargeParameterDiscoveryReq": _NORMAL,
    "WPT_ChargeParameterDiscoveryReq": _NORMAL,
    "WPT_FinePositioningSetupReq": _NORMAL,
    "WPT_FinePositioningReq": _NORMAL,
    "WPT_PairingReq": _NORMAL,
    "WPT_AlignmentCheckReq": _NORMAL,
    "ACDP_VehiclePositioningReq": _NORMAL,
    "ACDP_ConnectReq": _NORMAL,
    "ACDP_DisconnectReq": _NORMAL,
    "ACDP_SystemStatusReq": _NORMAL,
    "ScheduleExchangeReq": _NORMAL,
    "DC_CableCheckReq": _NORMAL,
    "DC_PreChargeReq": _NORMAL,
    "PowerDeliveryReq": _NORMAL,
    "AC_ChargeLoopReq": _LOOP,
    "DC_ChargeLoopReq": _LOOP,
    "WPT_ChargeLoopReq": _LOOP,
    "MeteringConfirmationReq": _NORMAL,
    "DC_WeldingDetectionReq": _NORMAL,
    "SessionStopReq": _NORMAL,
    "VehicleCheckInReq": _NORMAL,
    "VehicleCheckOutReq": _NORMAL,
}
"""Name of the request -> its timing."""


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The timers of a session, s; the defaults are the standard's. Each side uses those with its name."""

    secc_sequence: Timer = 60.0
    """Charger: maximum time to the vehicle's next request after a response (V2G20-443)."""
    secc_sequence_loop: Timer = 0.5
    """Charger: the same after a charge-loop response (V2G20-1502)."""
    secc_loop_tolerance: Timer = 0.5
    """Charger: added to `secc_sequence_loop`; 0 is the standard's value. Vehicles in the field
    loop at 0.53 s, and other chargers in use allow 60 s."""
    ongoing: Timer = 60.0
    """Both: maximum duration of a series of Ongoing answers."""
    ongoing_performance: Timer = 55.0
    """Both: the side that answers Ongoing has finished by then."""
    secc_customer: Timer = 180.0
    """Charger: maximum wait for a card or an app: policy, not in the standard."""
    evcc_customer: Timer = 300.0
    """Vehicle: maximum wait for the customer (Ongoing_WaitingForCustomerInteraction): policy."""
    evcc_sequence_performance: Timer = 40.0
    """Vehicle: maximum time to its next request; a late one is logged, not disconnected."""
    evcc_loop_performance: Timer = 0.25
    """The same after a charge-loop response (V2G20-1499, -1501, -5069)."""
    secc_cable_check: Timer = 38.0
    """Charger: a longer cable check has failed, before the vehicle's time-out."""
    evcc_communication_setup: Timer = 20.0
    """Vehicle: from the matched data link to SessionSetupRes."""
    evcc_cable_check: Timer = 40.0
    """Vehicle: maximum duration of DC_CableCheck."""
    evcc_pre_charge: Timer = 10.0
    """Vehicle: maximum duration of DC_PreCharge."""
    evcc_welding_detection: Timer = 55.0
    """Vehicle: policy, not in the standard; less than the charger's limit for Ongoing."""
    secc_pre_charge: Timer = 90.0
    """Charger: from the first DC_PreChargeReq, or WPT_AlignmentCheckReq, to the charge loop. Policy, not in the
    standard: voltage, or a field, does not wait for ever for a vehicle that keeps requesting something else."""
    contactor: Timer = 1.4
    """Charger: a slower contactor has failed; within PowerDelivery's 1.5 s."""
    close: Timer = 5.0
    """Charger: maximum wait after SessionStopRes for the vehicle to close (V2G20-1633, -1643)."""
    message_scale: TimerScale = 1.0
    """Vehicle: factor on every message timeout, for peers known to be slow; 1 is the standard."""

    def message_timeout(self, request: str) -> float:
        """Return the vehicle's time-out for the answer to the named request."""
        return MESSAGES[request].timeout * self.message_scale
