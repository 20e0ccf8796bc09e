"""Charging profiles follow the signal and the vehicle's needs, and our own station agrees with each of them."""

import msgspec
import pytest
from msgspec.structs import replace

from csms.dispatch.rules import dispatch_profile
from csms.smart_charging.charging_plans import share_profile, waiting_profile
from csms.smart_charging.rules import (
    Needs,
    answer_needs,
    limit_start_ms,
    needs_of,
    station_profiles,
    transaction_profile,
)
from tests.csms.support import grid_signal
from tests.together import together
from v2g.energy.limits import MOST_W
from v2g.ocpp.messages.ev_charging import NotifyEVChargingNeedsRequest
from v2g.ocpp.messages.smart_charging import SetChargingProfileRequest
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time
from v2g.ocpp.versions import write_payload
from v2g_station.blocks.smart_charging.profile_rules import Abilities, refuse
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile, OpenTransaction, ProfileSituation
from v2g_station.blocks.smart_charging.profiles import limits_at

SIGNAL = grid_signal(3)
NOW = SIGNAL.issued_at_ms


def accepted(requests: list[SetChargingProfileRequest], version: Version) -> list[InstalledProfile]:
    """Install profiles as a station does; each must be fit for the wire and acceptable."""
    running = OpenTransaction("t", 1, NOW)
    installed: list[InstalledProfile] = []
    for request in requests:
        write_payload(request, version)
        profile = request.charging_profile
        assert (
            refuse(
                profile,
                request.evse_id,
                version=version,
                able=Abilities(evses=2),
                installed=installed,
                transactions=[running],
            )
            is None
        )
        installed.append(InstalledProfile(request.evse_id, profile, version))
    return installed


@pytest.mark.requirement("R193")
@pytest.mark.parametrize("behind_h", [0, 1, 23])
def test_limits_hold_at_once_at_a_station_whose_clock_is_hours_behind(behind_h: int) -> None:
    """Where one began later by that clock than the one that it replaces, none would hold until then."""
    needs = Needs(evse_id=1, requested="DC_BPT")
    requests = [*station_profiles(SIGNAL, "2.1", NOW), transaction_profile(SIGNAL, "2.1", NOW, "t", needs)]
    running = ProfileSituation(evse_id=1, transaction=OpenTransaction("t", 1, NOW))
    found = limits_at(accepted(requests, "2.1"), NOW - behind_h * 3_600_000, running)
    assert (found.charge_w, found.discharge_w) == (11_000, 5_000)
    starts = [waiting_profile(6_000, NOW), share_profile(1, 16_000, 3, NOW, "t")]
    assert {each.charging_schedule[0].start_schedule for each in starts} == {format_time(limit_start_ms(NOW))}


@pytest.mark.parametrize(
    ("requested", "after_ms", "charge", "discharge"),
    [
        ("DC_BPT", 0, 11_000, 5_000),
        ("DC_BPT", 3_600_001, 11_000, 0),  # a signal that ran out permits no export
        ("DC", 0, 11_000, 0),
    ],
)
def test_a_2_1_station_ends_up_with_the_limits_of_the_signal(
    requested: str, after_ms: int, charge: int, discharge: int
) -> None:
    needs = Needs(evse_id=1, requested=requested)
    requests = [*station_profiles(SIGNAL, "2.1", NOW), transaction_profile(SIGNAL, "2.1", NOW, "t", needs)]
    found = limits_at(
        accepted(requests, "2.1"), NOW + after_ms, ProfileSituation(evse_id=1, transaction=OpenTransaction("t", 1, NOW))
    )
    assert (found.charge_w, found.discharge_w) == (charge, discharge)


def test_a_set_point_takes_no_limit_of_export_away() -> None:
    """A dispatched transaction's profile may say no limit (Q03.FR.02); that of the one below it still holds."""
    transaction = OpenTransaction("t", 1, NOW)
    around = ProfileSituation(evse_id=1, transaction=transaction)
    needs = Needs(evse_id=1, requested="DC_BPT")
    default = station_profiles(SIGNAL, "2.1", NOW, evses=2)
    own = transaction_profile(SIGNAL, "2.1", NOW, "t", needs, sharers=1)
    wish = dispatch_profile(1, -9_000, "CentralSetpoint", NOW, "t", duration_s=60)
    dispatched = SetChargingProfileRequest(evse_id=1, charging_profile=wish)
    for requests, export_w in (([*default, own], 5_000), ([*default, own, dispatched], 5_000), (default, 2_500)):
        assert limits_at(accepted(requests, "2.1"), NOW, around).export_w == export_w
    found = limits_at(accepted([*default, own, dispatched], "2.1"), NOW, around)
    assert (found.discharge_w, found.setpoint_w) == (None, -9_000)
    assert limits_at(accepted([dispatched], "2.1"), NOW, around).export_w is None


def test_a_2_0_1_station_ends_up_with_the_limit_of_charge() -> None:
    needs = Needs(evse_id=1, requested="DC")
    requests = [*station_profiles(SIGNAL, "2.0.1", NOW), transaction_profile(SIGNAL, "2.0.1", NOW, "t", needs)]
    found = limits_at(
        accepted(requests, "2.0.1"), NOW, ProfileSituation(evse_id=1, transaction=OpenTransaction("t", 1, NOW))
    )
    assert (found.charge_w, found.discharge_w) == (11_000, None)


def test_a_vehicle_that_takes_one_period_gets_one_and_falls_back_to_charging_only() -> None:
    needs = Needs(evse_id=1, requested="DC_BPT", max_periods=1)
    requests = [*station_profiles(SIGNAL, "2.1", NOW), transaction_profile(SIGNAL, "2.1", NOW, "t", needs)]
    assert len(requests[-1].charging_profile.charging_schedule[0].charging_schedule_period) == 1
    installed = accepted(requests, "2.1")
    transaction = OpenTransaction("t", 1, NOW)
    assert limits_at(installed, NOW, ProfileSituation(evse_id=1, transaction=transaction)).discharge_w == 5_000
    assert limits_at(installed, NOW + 3_700_000, ProfileSituation(evse_id=1, transaction=transaction)).discharge_w == 0


@pytest.mark.parametrize(("limit_w", "online_w", "offline_w"), [(11_000, 11_000, 4_200), (3_000, 3_000, 3_000)])
def test_a_station_that_is_offline_for_long_falls_back_to_less_until_it_is_back(
    limit_w: int, online_w: int, offline_w: int
) -> None:
    """K01.FR.101, FR.102."""
    signal = replace(SIGNAL, site_import_limit_w=limit_w)
    installed = accepted(station_profiles(signal, "2.1", NOW, offline=(120, 4_200)), "2.1")
    for since_ms, charge_w in ((None, online_w), (NOW - 119_000, online_w), (NOW - 120_000, offline_w)):
        assert limits_at(installed, NOW, ProfileSituation(evse_id=1, offline_since_ms=since_ms)).charge_w == charge_w
    unlimited = replace(SIGNAL, site_import_limit_w=MOST_W)
    installed = accepted(station_profiles(unlimited, "2.1", NOW, offline=(120, 4_200)), "2.1")
    found = [limits_at(installed, NOW, ProfileSituation(evse_id=1, offline_since_ms=at)) for at in (None, 0)]
    assert [each.charge_w for each in found] == [MOST_W, 4_200]


def test_a_newer_signal_replaces_the_profiles_of_the_older() -> None:
    old, new = (station_profiles(grid_signal(v), "2.1", NOW) for v in (1, 2))
    assert [each.charging_profile.id for each in old] == [each.charging_profile.id for each in new]


def test_a_signal_that_has_run_out_already_allows_charging_only() -> None:
    requests = station_profiles(SIGNAL, "2.1", SIGNAL.valid_until_ms)
    found = limits_at(accepted(requests, "2.1"), SIGNAL.valid_until_ms, ProfileSituation(evse_id=1))
    assert (found.charge_w, found.discharge_w) == (11_000, 0)


@together(
    ("requested", "allowed", "signal", "version", "status"),
    [
        ("DC_BPT", ("DC", "DC_BPT"), True, "2.1", "Accepted"),
        ("DC_BPT", ("DC",), True, "2.1", "Rejected"),
        ("DC_BPT", (), True, "2.1", "Accepted"),
        ("DC", ("DC",), False, "2.1", "NoChargingProfile"),
        ("DC", ("DC_BPT",), True, "2.0.1", "Accepted"),
        ("DC", ("DC",), False, "2.0.1", "Rejected"),
    ],
)
def test_needs_are_answered_by_contract_and_signal(
    requested: str, allowed: tuple[str, ...], signal: bool, version: Version, status: str
) -> None:
    needs = Needs(evse_id=1, requested=requested)
    assert answer_needs(needs, allowed, has_signal=signal, version=version) == status


@pytest.mark.requirement("R192")
def test_powers_of_single_conductors_are_added() -> None:
    """ISO 15118-20 AC: beside values of L2 and L3 the one without suffix is that of L1."""
    able = {"maxChargePower": 3680, "maxChargePower_L2": 3680, "maxChargePower_L3": 1000, "maxDischargePower": 2000}
    needs = {"requestedEnergyTransfer": "AC_BPT", "v2xChargingParameters": able | {"maxDischargePower_L2": 2000}}
    request = msgspec.convert({"evseId": 1, "chargingNeeds": needs}, NotifyEVChargingNeedsRequest)
    found = needs_of(request)
    assert (found.most_w, found.most_discharge_w) == (8_360, 4_000)
