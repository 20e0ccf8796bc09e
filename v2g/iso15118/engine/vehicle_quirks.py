"""Which quirks a charger tolerates of which vehicles, by the beginning of their EVCCID: data, and the rule over it.

A charger tolerates every quirk, or with `strict` none but those of a known make. Its configuration overrules both for
an EVCCID that it names. The EVCCID is the MAC address of the modem, so its beginning stands for the modem's maker.
"""

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.iso15118.engine.quirks import CHARGING_PROFILE, EARLY_POWER_STOP, EARLY_SESSION_STOP, QUIRKS, Quirk

REFUSABLE: Final = (EARLY_SESSION_STOP, EARLY_POWER_STOP, CHARGING_PROFILE)
"""Quirks that a charger can refuse; the others change nothing for it, or only what it reads."""


class VehicleQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The quirks that are tolerated of vehicles whose EVCCID begins with `evcc_id`; the longest beginning counts."""

    evcc_id: Annotated[
        str, Meta(pattern=r"^[0-9A-F]{2,40}\Z", description="beginning of the EVCCID, upper-case hexadecimal")
    ]
    tolerate: Annotated[tuple[str, ...], Meta(description="names of the quirks that are tolerated; none of the others")]
    make: Annotated[str, Meta(description="make and model, for reports")] = ""
    source: Annotated[str, Meta(description="where the quirks were reported")] = ""

    def __post_init__(self) -> None:
        """Check that the quirks exist."""
        for name in self.tolerate:
            if all(name != each.name for each in QUIRKS):
                raise ValueError(f"{name!r} is no quirk: docs/reference/field-quirks.md lists them")


VEHICLES: Final = (
    VehicleQuirks(
        "046565",
        ("early_power_stop", "charging_profile", "pre_charge_target_changes"),
        "Hyundai Ioniq",
        "recorded 2023-05-24, and an early stop in the field",
    ),
    VehicleQuirks(
        "98ED5C", ("protocol_order", "early_session_stop", "missing_fields"), "Tesla Model Y", "recorded 2024-04-20"
    ),
)
"""What is known of makes."""


def tolerates(quirk: Quirk, evcc_id: str, *, strict: bool, own: Iterable[VehicleQuirks] = ()) -> bool:
    """Return whether a charger with these entries of its `own` tolerates a quirk of a vehicle; see the module."""
    entry = _longest(evcc_id, own)
    if entry is not None:
        return quirk.name in entry.tolerate
    known = _longest(evcc_id, VEHICLES)
    return not strict or (known is not None and quirk.name in known.tolerate)


def _longest(evcc_id: str, entries: Iterable[VehicleQuirks]) -> VehicleQuirks | None:
    found = [each for each in entries if evcc_id.startswith(each.evcc_id)]
    return max(found, key=lambda each: len(each.evcc_id), default=None)
