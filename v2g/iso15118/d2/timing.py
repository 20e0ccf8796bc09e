"""Timing limits of each side of ISO 15118-2 (clause 8.7), as implementations and the conformance suite know them.

All values in seconds of CLOCK_MONOTONIC. *Timeouts* end the session. *Performance* times are for this
implementation; a peer that misses one deviates but is not disconnected.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from v2g.iso15118.engine.message_timing import MessageTiming

_NORMAL: Final = MessageTiming(2.0, 1.5)
_SLOW: Final = MessageTiming(5.0, 4.5)

MESSAGES: Final[Mapping[str, MessageTiming]] = MappingProxyType(
    {
        "SupportedAppProtocolReq": _NORMAL,
        "SessionSetupReq": _NORMAL,
        "ServiceDiscoveryReq": _NORMAL,
        "ServiceDetailReq": _SLOW,
        "PaymentServiceSelectionReq": _NORMAL,
        "CertificateInstallationReq": _SLOW,
        "CertificateUpdateReq": _SLOW,
        # sources say 5 s and 2 s: the vehicle waits for the longer, the charger answers within the shorter
        "PaymentDetailsReq": MessageTiming(5.0, 1.5),
        "AuthorizationReq": _NORMAL,
        "ChargeParameterDiscoveryReq": _NORMAL,
        "CableCheckReq": _NORMAL,
        "PreChargeReq": _NORMAL,
        "PowerDeliveryReq": _SLOW,
        "ChargingStatusReq": _NORMAL,
        "CurrentDemandReq": MessageTiming(0.25, 0.025),
        "MeteringReceiptReq": _NORMAL,
        "WeldingDetectionReq": _NORMAL,
        "SessionStopReq": _NORMAL,
    }
)
"""Name of the request -> its timing."""

SLOW_IN_THE_FIELD: Final[Mapping[str, float]] = MappingProxyType(
    {"ChargeParameterDiscoveryReq": 6.0, "PowerDeliveryReq": 6.0, "CurrentDemandReq": 5.0}
)
"""Request -> how long a vehicle waits that tolerates old chargers (`v2g.iso15118.engine.quirks`)."""


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The timers of a session, s; the defaults are the standard's. Each side uses those with its name."""

    secc_communication_setup: float = 18.0
    """Charger: from the data link to SessionSetupRes; then SDP, TCP and TLS are closed (V2G2-714, -716, -723)."""
    evcc_communication_setup: float = 20.0
    """Vehicle: from plug-in to SessionSetupRes."""
    secc_sequence: float = 60.0
    """Charger: maximum time to the vehicle's next request after a response (V2G2-443, -536, -537)."""
    evcc_sequence_performance: float = 40.0
    """Vehicle: maximum time to its next request; a late one is logged, not disconnected."""
    evcc_ongoing: float = 60.0
    """Vehicle: maximum duration of a series of Ongoing answers (Authorization, ChargeParameterDiscovery)."""
    secc_ongoing_performance: float = 55.0
    """Charger: Finished or FAILED by then, also where it waits for a contract's authorisation."""
    secc_customer: float = 300.0
    """Charger: maximum wait for a card or an app (Ongoing_WaitingForCustomerInteraction, V2G2-854): policy."""
    evcc_customer: float = 300.0
    """Vehicle: maximum wait for the customer (V2G2-845): policy."""
    evcc_cable_check: float = 40.0
    """Vehicle: maximum duration of CableCheck; then CP state B at once."""
    secc_cable_check: float = 38.0
    """Charger: a longer cable check has failed, before the vehicle's time-out: policy."""
    evcc_pre_charge: float = 7.0
    """Vehicle: maximum duration of PreCharge."""
    secc_pre_charge: float = 90.0
    """Charger: from the first PreChargeReq to the loop: policy, so that voltage does not wait for ever."""
    secc_cp_state: float = 1.5
    """Charger: wait for the control pilot's state C or D before CableCheck, or B before WeldingDetection."""
    secc_oscillator_retain: float = 1.5
    """Charger: wait for state B after the end of TCP before the oscillator is switched off."""
    contactor: float = 3.0
    """Charger: a contactor closes within this after state C or D (V2G2-860, -862, -865)."""
    close: float = 5.0
    """Charger: maximum time from a FAILED answer, or SessionStopRes, to the end of TCP."""
    secc_linger: float = 2.0
    """Charger: after SessionStopRes the vehicle may close first: some are upset by the contrary."""
    message_scale: float = 1.0
    """Vehicle: factor on every message timeout, for peers known to be slow; 1 is the standard."""
    tolerate_slow_chargers: bool = True
    """Vehicle: waits longer for some answers (`SLOW_IN_THE_FIELD`); off is the standard."""

    def message_timeout(self, request: str) -> float:
        """Return the vehicle's time-out for the answer to the named request."""
        timeout = MESSAGES[request].timeout * self.message_scale
        return max(timeout, SLOW_IN_THE_FIELD.get(request, 0.0)) if self.tolerate_slow_chargers else timeout
