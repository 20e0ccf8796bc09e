"""The ids and stack levels of this back end's own charging profiles, which no operator's profile may take.

Ids depend only on purpose and EVSE, so that a newer profile replaces the older (K01.FR.05). They are above all ids that
people choose or that a station reserves for external systems (MaxExternalConstraintsId).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Final

from v2g.energy.limits import MOST_W
from v2g.errors import RefusedError
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.times import parse_time

FIRST_ID: Final = 1_000_000_000
LAST_ID: Final = 1_000_999_999

SITE_PROFILE: Final = FIRST_ID + 1
"""The grid signal's import limit, of a whole station."""
DEFAULT_PROFILE: Final = FIRST_ID + 2
"""The grid signal's limits, for each transaction without its own."""
WAITING_PROFILE: Final = FIRST_ID + 3
"""The limit of a balanced site, for each transaction without a share."""
TRANSACTION_PROFILE: Final = FIRST_ID + 100_000
"""Plus the EVSE: the grid signal's limits or the prices of a transaction."""
SHARE_PROFILE: Final = FIRST_ID + 200_000
"""Plus the EVSE: a share of a balanced site."""
DISPATCH_PROFILE: Final = FIRST_ID + 300_000
"""Plus the EVSE: a set-point of dispatch."""

SIGNAL_LEVEL: Final = 0
SHARE_LEVEL: Final = 1
DISPATCH_LEVEL: Final = 2


def is_own(profile: ChargingProfile) -> bool:
    """Return whether a profile has an id of this back end's own."""
    return FIRST_ID <= profile.id <= LAST_ID


def is_of_signal(profile: ChargingProfile) -> bool:
    """Return whether a profile carries a grid signal, or prices."""
    return profile.id in (SITE_PROFILE, DEFAULT_PROFILE) or TRANSACTION_PROFILE <= profile.id < SHARE_PROFILE


def is_former(profile: ChargingProfile, signal_version: int | None) -> bool:
    """Return whether version 0.1 put a profile: its ids 1, 2 and 200. Those of its transactions ended with them."""
    place = profile.id, profile.charging_profile_purpose, profile.stack_level
    schedule = profile.charging_schedule[0]
    if place == (200, "TxDefaultProfile", SHARE_LEVEL):
        return schedule.id == 200
    if place not in ((1, "ChargingStationMaxProfile", SIGNAL_LEVEL), (2, "TxDefaultProfile", SIGNAL_LEVEL)):
        return False
    return schedule.id == signal_version or schedule.charging_schedule_period[0].limit == MOST_W


def check_operators(held: Iterable[tuple[int, ChargingProfile]], evse_id: int, profile: ChargingProfile) -> None:
    """Refuse an operator's profile in an own place. Raises RefusedError (`reserved_id`, `reserved_level`).

    `held`: what its station holds, by EVSE. Levels 0 to 2 are free where no own profile is.
    """
    check_operators_id(profile.id)
    for own in in_the_way(held, evse_id, profile):
        raise RefusedError(
            f"stack level {own.stack_level} of a {own.charging_profile_purpose} is taken by the back end's own profile"
            f" {own.id}",
            reason="reserved_level",
            hint=f"choose {DISPATCH_LEVEL + 1} or above; the profile then applies instead of the back end's own",
        )


def check_distinct(
    held: Iterable[tuple[int, ChargingProfile]], evse_id: int, wanted: ChargingProfile, now_ms: int
) -> None:
    """Refuse a profile beside another of its purpose and level that is valid at the same time.

    Raises RefusedError (`place_taken`). One with the same id is replaced (K01.FR.05).
    """
    for at_evse, other in held:
        same = (other.charging_profile_purpose, other.stack_level, other.transaction_id) == (
            wanted.charging_profile_purpose, wanted.stack_level, wanted.transaction_id,
        )  # fmt: skip
        if not same or other.id == wanted.id:
            continue
        if wanted.charging_profile_purpose == "TxProfile":
            rule = "K01.FR.39"
        elif at_evse == evse_id:
            rule = "K01.FR.06"
        elif wanted.charging_profile_purpose == "TxDefaultProfile" and 0 in (at_evse, evse_id):
            rule = "K01.FR.53" if evse_id else "K01.FR.52"
        else:
            continue
        begins, ends = _validity(wanted, now_ms)
        other_begins, other_ends = _validity(other, now_ms)
        if max(begins, other_begins) < min(ends, other_ends):
            raise RefusedError(
                f"the station holds profile {other.id} ({other.charging_profile_purpose}) on stack level"
                f" {other.stack_level} of EVSE {at_evse} ({rule})",
                reason="place_taken",
                hint="use its id to replace it, clear it (ClearChargingProfile), or choose another level",
            )


def _validity(profile: ChargingProfile, now_ms: int) -> tuple[float, float]:
    """Return from when, at the earliest now, and until when a profile is valid (UTC ms)."""
    begins = now_ms if profile.valid_from is None else max(now_ms, parse_time(profile.valid_from))
    return begins, math.inf if profile.valid_to is None else parse_time(profile.valid_to)


def check_operators_id(profile_id: int) -> None:
    """Refuse an id of the back end's own profiles. Raises RefusedError (`reserved_id`)."""
    if FIRST_ID <= profile_id <= LAST_ID:
        raise RefusedError(
            f"profile id {profile_id} is reserved for the back end's own profiles",
            reason="reserved_id",
            hint=f"ids {FIRST_ID} to {LAST_ID} are taken by grid signal, sites and dispatch: choose a lower one",
        )


def in_the_way(
    held: Iterable[tuple[int, ChargingProfile]], evse_id: int, wanted: ChargingProfile
) -> Iterator[ChargingProfile]:
    """Yield the profiles of others, by EVSE, whose purpose, level and place an own one would take; or the own ones.

    K01.FR.06, FR.39, FR.52, FR.53: a station then has to reject it.
    """
    for at_evse, other in held:
        if (
            is_own(other) != is_own(wanted)
            and other.charging_profile_purpose == wanted.charging_profile_purpose
            and other.stack_level == wanted.stack_level
            and other.transaction_id == wanted.transaction_id
            and (at_evse == evse_id or 0 in (at_evse, evse_id))
        ):
            yield other
