"""Which stations may connect, and what their BootNotification is answered (use cases B01 to B03)."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.provisioning import GetBaseReportRequest, GetReportRequest
from v2g.ocpp.messages.remote_control import TriggerMessageRequest

Boot = Literal["Accepted", "Pending", "Rejected"]
Decision = Literal["", "Accepted", "Pending", "Rejected", "Refused"]
"""What an operator has decided: how boots are answered, `Refused`: does not come in at all, or nothing yet."""

Unknown = Literal["refuse", "pending", "accept"]


class Admission(msgspec.Struct, frozen=True):
    """A station that may connect, and the answer to its BootNotification.

    `expired`: on this connection it has shown a certificate that has run out, and is there to get a new one.
    """

    boot: Boot
    expired: bool = False


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept about a station's admission: the decision, the least security profile that it may use, and hashes
    of its password and of the one that it is being given ("": none). `verified`: the mark of the password that fitted.

    `expired_until_ms`: until when (UTC) a certificate of its that has run out is let in (A00.FR.429)."""

    decision: Decision = ""
    least_profile: int = 0
    password: str = ""
    next_password: str = ""
    verified: str = ""
    expired_until_ms: int = 0


def admit(identity: str, configured: Mapping[str, Boot], decision: Decision, unknown: Unknown) -> Admission | None:
    """Return how to treat the station whose URL says `identity`; None: it may not come in.

    An operator's decision comes before the configuration. `unknown`: what becomes of stations about whom nobody has
    decided. Names that would climb out of a folder are never welcome.
    """
    if decision == "Refused" or identity.startswith("."):
        return None
    if decision:
        return Admission(decision)
    boot = configured.get(identity)
    if boot is not None:
        return Admission(boot)
    if unknown == "refuse":
        return None
    return Admission("Accepted" if unknown == "accept" else "Pending")


def serial_number_fits(serial_number: str | None, identity: str) -> bool:
    """Say whether BootNotification's serial number is the certificate's (B01.FR.11); leaving it out claims nothing."""
    return serial_number is None or serial_number == identity


_TRIGGERED: Final[Mapping[str, str]] = {
    "SignChargingStationCertificate": "SignCertificate",
    "SignV2GCertificate": "SignCertificate",
    "SignV2G20Certificate": "SignCertificate",
    "SignCombinedCertificate": "SignCertificate",
}


def follows(request: Message) -> frozenset[str]:
    """Return the actions by which a station that is not accepted yet may follow a request (B01.FR.10, B02.FR.02)."""
    if isinstance(request, GetBaseReportRequest | GetReportRequest):
        return frozenset({"NotifyReport"})
    if isinstance(request, TriggerMessageRequest):
        return frozenset({_TRIGGERED.get(request.requested_message, request.requested_message)})
    return frozenset()
