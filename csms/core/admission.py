"""Which stations may connect, and what their BootNotification is answered (use cases B01 to B03)."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Boot = Literal["Accepted", "Pending", "Rejected"]


class Admission(msgspec.Struct, frozen=True):
    """A station that may connect, and the answer to its BootNotification."""

    boot: Boot


def admit(identity: str, configured: Mapping[str, Boot], *, unknown: bool) -> Admission | None:
    """Return how to treat the station whose certificate and URL say `identity`; None: it is not known here.

    `unknown`: whether stations that nobody configured are welcome. Names that would climb out of a folder never are.
    """
    boot = configured.get(identity)
    if boot is not None:
        return Admission(boot)
    if unknown and not identity.startswith("."):
        return Admission("Accepted")
    return None


def serial_number_fits(serial_number: str | None, identity: str) -> bool:
    """Say whether BootNotification's serial number is the certificate's (B01.FR.11); leaving it out claims nothing."""
    return serial_number is None or serial_number == identity
