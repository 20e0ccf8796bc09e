"""Timing limits of each side of DIN 70121, as public implementations know them.

All values in seconds of CLOCK_MONOTONIC. *Timeouts* end the session. *Performance* times are for this
implementation; a peer that misses one deviates but is not disconnected.
"""

from collections.abc import Mapping
from typing import Final

from v2g.iso15118.engine.message_timing import MessageTiming, SharedTiming, Timer

_NORMAL: Final = MessageTiming(2.0, 1.5)

MESSAGES: Final[Mapping[str, MessageTiming]] = {
    "SupportedAppProtocolReq": _NORMAL,
    "SessionSetupReq": _NORMAL,
    "ServiceDiscoveryReq": _NORMAL,
    "ServicePaymentSelectionReq": _NORMAL,
    "ContractAuthenticationReq": _NORMAL,
    "ChargeParameterDiscoveryReq": _NORMAL,
    "CableCheckReq": _NORMAL,
    "PreChargeReq": _NORMAL,
    "PowerDeliveryReq": _NORMAL,
    "CurrentDemandReq": MessageTiming(0.25, 0.025),
    "WeldingDetectionReq": _NORMAL,
    "SessionStopReq": _NORMAL,
}
"""Name of the request -> its timing."""


class Timing(SharedTiming, frozen=True):
    """The timers of a session, s; the defaults are the specification's. Each side uses those with its name."""

    messages = MESSAGES

    evcc_ready_to_charge: Timer = 150.0
    """Vehicle: from SessionSetupRes to PowerDeliveryReq."""
    contactor: Timer = 1.4
    """Charger: a slower contactor has failed; within PowerDelivery's 1.5 s."""
    secc_pre_charge: Timer = 20.0
    """Charger: from the first PreChargeReq to the answer to PowerDeliveryReq (V2G_SECC_PowerDelivery_Timeout,
    V2G-DC-969)."""
    secc_welding_detection: Timer = 20.0
    """Charger: from the first WeldingDetectionReq to SessionStopReq (V2G-DC-925, -926)."""
