"""Admission of stations, and answers to their BootNotification (use cases B01 to B03)."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.provisioning import GetBaseReportRequest, GetReportRequest
from v2g.ocpp.messages.remote_control import TriggerMessageRequest

Boot = Literal["Accepted", "Pending", "Rejected"]
Decision = Literal["", "Accepted", "Pending", "Rejected", "Refused"]
"""An operator's decision: the boot status, `Refused`: connection rejected, or none yet."""

Unknown = Literal["refuse", "pending", "accept"]


class Admission(msgspec.Struct, frozen=True):
    """An admitted station, and the answer to its BootNotification.

    `expired`: it connected with an expired certificate, only to renew it. `password`: the hash of the password by which
    it has identified itself; "": by a certificate.
    """

    boot: Boot
    expired: bool = False
    password: str = ""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A station's admission record: the decision, the lowest security profile that it may use, and hashes
    of its password and of the one being changed to ("": none). `verified`: the mark of the verified password.

    `expired_until_ms`: until when (UTC) an expired certificate of its is accepted (A00.FR.429)."""

    decision: Decision = ""
    least_profile: int = 0
    password: str = ""
    next_password: str = ""
    verified: str = ""
    expired_until_ms: int = 0


def admit(identity: str, configured: Mapping[str, Boot], decision: Decision, unknown: Unknown) -> Admission | None:
    """Return how to treat the station with `identity` in its URL; None: rejected.

    An operator's decision takes precedence over the configuration. `unknown`: the policy for stations without a
    decision. Identities that could escape a folder are always rejected.
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
    """Return whether BootNotification's serial number matches the certificate (B01.FR.11); omitting it is allowed."""
    return serial_number is None or serial_number == identity


_TRIGGERED: Final[Mapping[str, str]] = {
    "SignChargingStationCertificate": "SignCertificate",
    "SignV2GCertificate": "SignCertificate",
    "SignV2G20Certificate": "SignCertificate",
    "SignCombinedCertificate": "SignCertificate",
}


def follows(request: Message) -> frozenset[str]:
    """Return the actions by which a station that is not accepted yet may answer a request (B01.FR.10, B02.FR.02)."""
    if isinstance(request, GetBaseReportRequest | GetReportRequest):
        return frozenset({"NotifyReport"})
    if isinstance(request, TriggerMessageRequest):
        return frozenset({_TRIGGERED.get(request.requested_message, request.requested_message)})
    return frozenset()
