"""The places of the back end's own profiles: refused to operators by name, and not taken from others."""

import pytest

from csms.smart_charging.rules import (
    DEFAULT_PROFILE,
    DISPATCH_PROFILE,
    FIRST_ID,
    LAST_ID,
    SHARE_PROFILE,
    SITE_PROFILE,
    TRANSACTION_PROFILE,
    WAITING_PROFILE,
    check_operators,
    in_the_way,
    is_former,
    is_of_signal,
    is_own,
)
from tests.together import together
from v2g.errors import RefusedError
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod


def profile(
    profile_id: int,
    purpose: str = "TxDefaultProfile",
    level: int = 0,
    *,
    transaction: str | None = None,
    schedule: int = 9,
    limit: float = 8000.0,
) -> ChargingProfile:
    period = ChargingSchedulePeriod(start_period=0, limit=limit)
    return ChargingProfile(
        id=profile_id,
        stack_level=level,
        charging_profile_purpose=purpose,  # type: ignore[arg-type]
        charging_profile_kind="Absolute",
        transaction_id=transaction,
        charging_schedule=(ChargingSchedule(id=schedule, charging_rate_unit="W", charging_schedule_period=(period,)),),
    )


def test_own_ids_are_apart_for_every_evse_and_documented_as_one_range() -> None:
    starts = (TRANSACTION_PROFILE, SHARE_PROFILE, DISPATCH_PROFILE)
    ids = [SITE_PROFILE, DEFAULT_PROFILE, WAITING_PROFILE, *(s + evse for s in starts for evse in (1, 10_000))]
    assert len(set(ids)) == len(ids)
    assert (FIRST_ID, LAST_ID) == (1_000_000_000, 1_000_999_999), "in docs/reference/smart-charging.md"
    assert (SITE_PROFILE, DEFAULT_PROFILE, WAITING_PROFILE) == (1_000_000_001, 1_000_000_002, 1_000_000_003)
    assert starts == (1_000_100_000, 1_000_200_000, 1_000_300_000)
    assert all(is_own(profile(each)) for each in (*ids, FIRST_ID, LAST_ID))
    assert not any(is_own(profile(each)) for each in (0, 1, 200, FIRST_ID - 1, LAST_ID + 1))
    of_signal = [SITE_PROFILE, DEFAULT_PROFILE, TRANSACTION_PROFILE, TRANSACTION_PROFILE + 99_999]
    assert all(is_of_signal(profile(each)) for each in of_signal)
    others = [WAITING_PROFILE, TRANSACTION_PROFILE - 1, SHARE_PROFILE, SHARE_PROFILE + 1, DISPATCH_PROFILE + 1]
    assert not any(is_of_signal(profile(each)) for each in others)


@pytest.mark.parametrize("profile_id", [FIRST_ID, SITE_PROFILE, LAST_ID])
def test_an_own_id_is_refused_to_operators(profile_id: int) -> None:
    with pytest.raises(RefusedError, match=f"profile id {profile_id} is reserved") as caught:
        check_operators((), 0, profile(profile_id))
    assert caught.value.reason == "reserved_id"
    assert "1000000000 to 1000999999" in caught.value.hint


def test_an_own_level_is_refused_where_an_own_profile_is() -> None:
    own = profile(DEFAULT_PROFILE)
    check_operators((), 0, profile(7))
    for evse_id, own_evse in ((0, 0), (1, 0), (0, 1), (1, 1)):
        with pytest.raises(RefusedError, match="stack level 0 of a TxDefaultProfile is taken") as caught:
            check_operators([(own_evse, own)], evse_id, profile(7))
        assert caught.value.reason == "reserved_level"
        assert "choose 3 or above" in caught.value.hint
    check_operators([(1, own)], 2, profile(7))
    for free in (profile(7, level=1), profile(7, "ChargingStationMaxProfile"), profile(7, transaction="t")):
        check_operators([(0, own)], 0, free)


def test_profiles_of_others_are_in_the_way_of_own_ones_and_own_ones_replace_each_other() -> None:
    theirs = profile(7)
    assert list(in_the_way([(0, theirs), (0, profile(DEFAULT_PROFILE))], 0, profile(WAITING_PROFILE))) == [theirs]
    assert not list(in_the_way([(0, theirs)], 0, profile(WAITING_PROFILE, level=1)))


@together(
    ("held", "ours"),
    [
        (profile(1, "ChargingStationMaxProfile", schedule=4), True),
        (profile(2, schedule=4), True),
        (profile(1, "ChargingStationMaxProfile", limit=10_000_000.0), True),
        (profile(200, level=1, schedule=200), True),
        (profile(200, level=1), False),
        (profile(200, schedule=200), False),
        (profile(1, "ChargingStationMaxProfile"), False),
        (profile(2, "ChargingStationMaxProfile", schedule=4), False),
        (profile(1, "ChargingStationMaxProfile", 1, schedule=4), False),
        (profile(3, schedule=4), False),
    ],
)
def test_only_what_this_back_end_put_there_before_is_its_former_profile(held: ChargingProfile, ours: bool) -> None:
    """By id, purpose, level, and the schedule's number, which was the version of the grid signal."""
    assert is_former(held, 4) is ours
