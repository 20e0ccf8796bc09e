"""Published cases of ISO 15118-4 for chargers that are not tested, and why."""

from collections.abc import Iterator
from typing import Final

import msgspec

from v2g_testkit.cases.v2g_message.secc_cases import Scope

_WAKES: Final = "the charger wakes the vehicle by the control pilot, which the tester does not watch"
_LINK: Final = "the tester does not set up the data link, from which the time of CommunicationSetup runs"
_TARIFF: Final = "whether a charger sends a SalesTariff is for its back end"
_HELD: Final = "the charger or its back end must be held in Ongoing by hand"
_STATE_D: Final = "the tester shows state C only"
_ISSUED: Final = "needs a back end that issues contracts, and provisioning certificates"
_RECEIPTS: Final = "whether a charger asks for receipts is for its configuration"
_FAULTY_CA: Final = "the tester makes faulty contract certificates, not faulty sub-CAs or contents"


class Left(msgspec.Struct, frozen=True):
    """Numbers of a group that are not tested."""

    scopes: tuple[Scope, ...]
    message: str
    numbers: tuple[int, ...]
    why: str

    def ids(self) -> Iterator[str]:
        """Yield the published ids."""
        for scope in self.scopes:
            for number in self.numbers:
                yield f"TC_SECC_{scope}_VTB_{self.message}_{number:03}"


_CMN: Final[tuple[Scope, ...]] = ("CMN",)
_BOTH: Final[tuple[Scope, ...]] = ("AC", "DC")

LEFT: Final = (
    Left(_CMN, "SDP", (4, 5, 6), _LINK),
    Left(_CMN, "SupportedAppProtocol", (5,), _LINK),
    Left(_BOTH, "SessionSetup", (4, 5, 6), _WAKES),
    Left(_BOTH, "ServiceDiscovery", (2,), _WAKES),
    Left(_CMN, "CertificateInstallation", tuple(range(1, 9)), _ISSUED),
    Left(_CMN, "CertificateUpdate", tuple(range(1, 18)), _ISSUED),
    Left(_CMN, "PaymentDetails", (2, 3), _ISSUED),
    Left(_CMN, "PaymentDetails", (8, 9, 10), _FAULTY_CA),
    Left(_CMN, "Authorization", (12, 13, 16, 17), _ISSUED),
    Left(_CMN, "Authorization", (14, 15), _HELD),
    Left(_BOTH, "ChargeParameterDiscovery", (8, 9, 10, 11, 13, 15, 18, 20, 21, 24, 26, 27), _TARIFF),
    Left(_BOTH, "ChargeParameterDiscovery", (14,), _HELD),
    Left(_BOTH, "ChargeParameterDiscovery", tuple(range(29, 37)), _WAKES),
    Left(("DC",), "CableCheck", (2,), _STATE_D),
    Left(("DC",), "CableCheck", (6, 7), _HELD),
    Left(("AC",), "PowerDelivery", (2,), _STATE_D),
    Left(("AC",), "ChargingStatus", (2, 7, 9), _RECEIPTS),
    Left(("DC",), "CurrentDemand", (2, 7, 9), _RECEIPTS),
    Left(_BOTH, "MeteringReceipt", tuple(range(1, 8)), _RECEIPTS),
)
