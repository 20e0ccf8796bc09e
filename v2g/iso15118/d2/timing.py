"""Timing limits of each side of ISO 15118-2 (clause 8.7), as implementations and the conformance suite know them.

All values in seconds of CLOCK_MONOTONIC. *Timeouts* end the session. *Performance* times are for this
implementation; a peer that misses one deviates but is not disconnected.
"""

from collections.abc import Mapping
from typing import Final

from v2g.iso15118.engine.message_timing import MessageTiming, SharedTiming, Timer

_NORMAL: Final = MessageTiming(2.0, 1.5)
_SLOW: Final = MessageTiming(5.0, 4.5)

MESSAGES: Final[Mapping[str, MessageTiming]] = {
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
"""Name of the request -> its timing."""


class Timing(SharedTiming, frozen=True):
    """The timers of a session, s; the defaults are the standard's. Each side uses those with its name."""

    messages = MESSAGES

    secc_customer: Timer = 300.0
    """Charger: maximum wait for a card or an app (Ongoing_WaitingForCustomerInteraction, V2G2-854): policy."""
    evcc_customer: Timer = 300.0
    """Vehicle: maximum wait for the customer (V2G2-845): policy."""
    contactor: Timer = 3.0
    """Charger: a contactor closes within this after state C or D (V2G2-860, -862, -865)."""


CHARGE_SERVICE: Final = 1
"""AC_DC_Charging, which every session has."""

CONTRACT_SERVICE: Final = 2
"""Certificate: installation and update of contracts."""

INTERNET_SERVICE: Final = 3
"""InternetAccess."""
