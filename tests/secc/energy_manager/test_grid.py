"""What the charger knows of the grid between and during sessions."""

import pytest
from msgspec.structs import replace

from secc.energy_manager.grid import SiteGrid
from secc.session import ports
from tests.secc.energy_manager.grid import signal
from tests.station.charging import charging
from tests.station.profiles import put
from v2g.energy.grid_signal import ExportSignal, PriceSignal
from v2g.energy.limits import AUTHORIZATION, CABLE, OPERATOR, SITE, Limit, LimitBook
from v2g_station.blocks.evse import Power
from v2g_station.blocks.smart_charging.profiles import ProfileLimits


def watts(grid: SiteGrid, utc_ms: int = 0) -> dict[str, tuple[int, int]]:
    bounds = {limit.source: (limit.charge_w, limit.discharge_at(utc_ms)) for limit in grid.limits}
    assert min(bounds.pop(AUTHORIZATION)) >= 100_000
    assert min(bounds.pop(CABLE)) >= 100_000
    return bounds


def test_without_a_word_nothing_may_be_fed_back() -> None:
    assert watts(SiteGrid(charge_w=100_000, discharge_w=0)) == {SITE: (100_000, 0), OPERATOR: (100_000, 100_000)}


def test_a_signal_gives_limits_and_prices_in_one_fact() -> None:
    grid = SiteGrid(charge_w=100_000, discharge_w=0)
    (fact,) = grid.signal(signal(1, 20_000))
    assert isinstance(fact, ports.GridChanged)
    assert fact.tariff is grid.tariff
    assert watts(grid) == {SITE: (60_000, 100_000), OPERATOR: (60_000, 20_000)}
    assert watts(grid, 3_600_000)[OPERATOR] == (60_000, 0)  # after its validity nobody vouches for export


def test_who_may_have_no_more_energy_is_held_until_he_goes() -> None:
    """E05: what an invalid identifier gets is none of the site's limits."""
    grid, book = SiteGrid(charge_w=100_000, discharge_w=5_000), LimitBook()
    for limit in grid.limits:
        book.update(limit)
    for suspended, charge_w in ((True, 0), (False, 100_000), (True, 0)):
        (fact,) = grid.suspend(suspended)
        assert grid.suspend(suspended) == ()
        assert isinstance(fact, ports.GridChanged)
        assert book.update(fact.limits[0])
        assert book.effective(0).charge_w == charge_w
        assert grid.nothing_allowed() is suspended


def test_a_cable_bounds_what_flows_as_long_as_it_is_plugged() -> None:
    grid = SiteGrid(charge_w=100_000, discharge_w=50_000)
    for cable_ma, most in ((13_000, ((13_000, CABLE), (13_000, CABLE))), (None, (None, None))):
        grid.plugged(cable_ma)
        book = LimitBook()
        for limit in grid.limits:
            book.update(limit)
        effective = book.effective(0)
        assert (effective.charge_w, effective.discharge_w) == (100_000, 50_000)
        assert (effective.charge_line, effective.discharge_line) == most


def test_an_older_signal_changes_nothing() -> None:
    grid = SiteGrid(charge_w=100_000, discharge_w=0)
    grid.signal(signal(5, 20_000))
    assert grid.signal(signal(4, 90_000)) == ()
    assert watts(grid)[OPERATOR] == (60_000, 20_000)


def test_a_provider_that_counts_anew_is_followed_also_in_a_session() -> None:
    grid, book = SiteGrid(charge_w=100_000, discharge_w=0), LimitBook()
    for version, issued_at_ms, export_w in ((500, 1_000, 20_000), (1, 2_000, 5_000), (2, 3_000, 7_000)):
        (fact,) = grid.signal(replace(signal(version, export_w), issued_at_ms=issued_at_ms))
        assert all(book.update(each) for each in fact.limits)
        assert watts(grid)[OPERATOR] == (60_000, export_w)
        assert book.effective(0).discharge_w == export_w
    assert grid.signal(replace(signal(1, 90_000), issued_at_ms=2_000)) == (), "it was only late"


def test_in_2_0_1_the_signal_says_what_may_flow_back_and_profiles_what_may_be_drawn() -> None:
    grid = SiteGrid(charge_w=100_000, discharge_w=0)
    grid.profiles(ProfileLimits(charge_w=60_000.0))
    grid.signal(signal(1, 20_000).part(ExportSignal))
    assert watts(grid) == {SITE: (60_000, 100_000), OPERATOR: (100_000, 20_000)}
    assert watts(grid, 3_600_000)[OPERATOR] == (100_000, 0)


def test_in_2_1_profiles_bound_both_directions_and_the_signal_brings_prices() -> None:
    grid, book = SiteGrid(charge_w=100_000, discharge_w=0), LimitBook()
    later = (ProfileLimits(from_ms=3_600_000, charge_w=60_000.0, discharge_w=0.0),)
    for limit in grid.limits:
        book.update(limit)
    assert book.effective(0).discharge_w == 0
    allowed = ProfileLimits(charge_w=60_000.0, discharge_w=20_000.0, export_w=20_000.0, later=later)
    (changed,) = (fact for fact in grid.profiles(allowed) if isinstance(fact, ports.GridChanged))
    assert book.update(changed.limits[0]), "one change of limits is one fact"
    assert (book.effective(0).charge_w, book.effective(0).discharge_w) == (60_000, 20_000)
    assert watts(grid, 3_600_000)[SITE] == (60_000, 0), "where the profile ends nobody vouches for export"
    (fact,) = grid.signal(signal(7, 1, 1).part(PriceSignal))
    assert isinstance(fact, ports.GridChanged)
    assert grid.tariff is not None
    assert watts(grid) == {SITE: (60_000, 20_000), OPERATOR: (100_000, 100_000)}
    assert {each.version for each in grid.limits if each.source == OPERATOR} == {7}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ProfileLimits(charge_w=2_000.0), ProfileLimits(setpoint_w=1_000.0)),
        (ProfileLimits(setpoint_w=1_000.0), ProfileLimits(charge_w=2_000.0)),
        (ProfileLimits(setpoint_w=1_000.0), ProfileLimits(charge_w=2_000.0, setpoint_w=9_000.0)),
        (ProfileLimits(charge_w=2_000.0, setpoint_w=9_000.0), ProfileLimits(setpoint_w=0.0)),
        (
            ProfileLimits(charge_w=9_000.0, discharge_w=1_000.0, export_w=9_000.0, setpoint_w=-9_000.0),
            ProfileLimits(charge_w=2_000.0, discharge_w=9_000.0, export_w=9_000.0, setpoint_w=9_000.0),
        ),
    ],
)
def test_power_rises_never_between_a_limit_and_a_set_point(before: ProfileLimits, after: ProfileLimits) -> None:
    """Each fact is obeyed at once."""
    grid, book = SiteGrid(charge_w=100_000, discharge_w=0), LimitBook()
    wish, powers = None, []
    for facts in (grid.facts, grid.profiles(before), grid.profiles(after)):
        powers.clear()
        for fact in facts:
            if isinstance(fact, ports.GridChanged):
                for limit in fact.limits:
                    book.update(limit)
            elif isinstance(fact, ports.SetpointChanged):
                wish = fact.setpoint
            effective = book.effective(0)
            powers.append(effective.charge_w if wish is None else effective.clamp(wish.power_w))
    assert -1_000 <= min(powers) <= max(powers) <= 2_000


def test_a_set_point_without_a_limit_leaves_what_may_flow_back() -> None:
    """Q03.FR.02."""
    grid = SiteGrid(charge_w=100_000, discharge_w=0)
    grid.profiles(ProfileLimits(setpoint_w=-40_000.0, export_w=20_000.0))
    assert watts(grid)[SITE] == (100_000, 20_000)
    grid.profiles(ProfileLimits(setpoint_w=-40_000.0))
    assert watts(grid)[SITE] == (100_000, 0), "nobody permits it any more"


def test_charging_profiles_bound_the_site_and_give_it_back() -> None:
    grid = SiteGrid(charge_w=100_000, discharge_w=0)
    grid.signal(signal(1, 20_000))
    facts = grid.profiles(ProfileLimits(charge_w=11_000.9, discharge_w=5_000.0, setpoint_w=-4_000.0))
    assert watts(grid)[SITE] == (11_000, 5_000)
    assert facts[1] == ports.SetpointChanged(grid.setpoint)
    assert grid.setpoint is not None
    assert grid.setpoint.power_w == -4_000
    grid.profiles(ProfileLimits())
    assert watts(grid)[SITE] == (60_000, 100_000)
    assert grid.setpoint is None


def test_a_share_bounds_the_site_until_the_vehicle_is_alone_again() -> None:
    grid, book = SiteGrid(charge_w=100_000, discharge_w=0), LimitBook()
    grid.signal(signal(1, 20_000, 40_000))
    assert (grid.connection().charge_w, grid.connection().discharge_w) == (40_000, 20_000)
    for share, expected in (
        (Limit(source=SITE, charge_w=20_000, discharge_w=10_000), (20_000, 10_000)),
        (Limit(source=SITE, charge_w=90_000, discharge_w=0), (40_000, 0)),
        (None, (40_000, 100_000)),  # what it may feed back is the operator's limit
    ):
        (fact,) = grid.share(share)
        assert isinstance(fact, ports.GridChanged)
        assert book.update(fact.limits[0])
        assert watts(grid)[SITE] == expected
        assert grid.share(share) == ()


@pytest.mark.requirement("R192")
def test_the_site_states_the_current_of_a_conductor_or_its_power_does() -> None:
    grid = SiteGrid(charge_w=22_080, discharge_w=0, outlet=(230, 3), charge_ma=20_000)
    assert grid.connection().charge_ma == 20_000
    assert grid.connection(1).charge_ma == 20_000
    assert grid.connection().discharge_ma == 0
    grid.signal(signal(1, 0, 6_900))
    assert grid.connection().charge_ma == 10_000
    grid.profiles(ProfileLimits(charge_w=4_140.0))
    assert (grid.limits[0].charge_w, grid.limits[0].charge_ma) == (4_140, 6_000)
    grid.profiles(ProfileLimits(charge_a=13.0, charge_w=8_970.0))
    grid.share(Limit(source=SITE, charge_w=2_990, discharge_w=0, charge_ma=8_000, discharge_ma=0))
    assert (grid.limits[0].charge_w, grid.limits[0].charge_ma) == (2_990, 8_000)
    assert SiteGrid(charge_w=7_360, discharge_w=0, outlet=(230, 1)).connection().charge_ma == 32_000


def test_every_change_of_the_site_is_a_newer_version() -> None:
    """A limit book takes no older version, so a limit that is lifted must be newer than the one that bound."""
    grid, book = SiteGrid(charge_w=100_000, discharge_w=0), LimitBook()
    for allowance in (ProfileLimits(charge_w=7_000), ProfileLimits(charge_w=3_000), ProfileLimits()):
        (changed, _) = grid.profiles(allowance)
        assert isinstance(changed, ports.GridChanged)
        assert book.update(changed.limits[0])
    assert book.effective(0).charge_w == 100_000


def test_what_charging_profiles_will_allow_later_makes_limits_ahead() -> None:
    grid = SiteGrid(charge_w=100_000, discharge_w=0)
    limits = ProfileLimits(
        charge_w=50_000,
        later=(
            ProfileLimits(from_ms=1_000, charge_w=7_000.5, discharge_w=None),
            ProfileLimits(from_ms=2_000, charge_w=None, discharge_w=0),
        ),
    )
    facts = grid.profiles(limits)
    assert facts[0].foreseen == grid.foreseen
    assert [(each.valid_from_ms, each.charge_w) for each in grid.foreseen] == [(1_000, 7_000), (2_000, 100_000)]
    reported = grid.signal(signal(1, 20_000))
    assert reported[0].foreseen == grid.foreseen
    assert [each.charge_w for each in grid.foreseen] == [7_000, 60_000]
    assert grid.profiles(limits)[0].foreseen is None
    assert grid.profiles(ProfileLimits())[0].foreseen == ()


@pytest.mark.requirement("R57")
def test_limits_ahead_are_those_of_a_share_also_while_profiles_permit_nothing_yet() -> None:
    grid = SiteGrid(charge_w=22_000, discharge_w=0)
    grid.profiles(ProfileLimits(charge_w=0, later=(ProfileLimits(from_ms=1_000, charge_w=20_000),)))
    for charge_w in (0, 5_000):
        (told,) = grid.share(Limit(source=SITE, charge_w=charge_w, discharge_w=0))
        assert isinstance(told, ports.GridChanged)
        assert told.foreseen == grid.foreseen
        assert [each.charge_w for each in grid.foreseen] == [charge_w]
        assert told.limits[0].charge_w == 0
    assert grid.share(Limit(source=SITE, charge_w=5_000, discharge_w=0)) == ()


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(("site_w", "amperes"), [(100_000, 16_000), (4_140, 6_000)])
@pytest.mark.parametrize("lines_used", [1, 3])
def test_a_profile_and_a_balanced_site_bound_each_conductor(site_w: int, amperes: int, lines_used: int) -> None:
    """A profile of 16 A on three phases, at a site of 3 x 6 A or of more."""
    grid = SiteGrid(charge_w=site_w, discharge_w=0, outlet=(230, 3))
    *_, told, _ = grid.profiles(
        ProfileLimits(
            charge_w=11_040,
            charge_a=16,
            later=(ProfileLimits(from_ms=9, charge_w=5_520, discharge_w=None, charge_a=8),),
        )
    )
    assert isinstance(told, ports.GridChanged)
    assert told.limits[0].charge_ma == amperes
    assert [each.charge_ma for each in grid.foreseen] == [min(8_000, amperes)]
    most = LimitBook(grid.limits).effective(0).over(lines_used, 230)
    assert most.charge_w == amperes * 230 * lines_used // 1000
    plain = SiteGrid(charge_w=site_w, discharge_w=0)
    assert plain.limits[0].charge_ma is None


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("unit", "limit", "phases"), [("A", 16, 3), ("A", 16, None), ("W", 11_040, None), ("W", 11_040, 3)]
)
@pytest.mark.parametrize("lines_used", [1, 2, 3])
def test_a_profile_of_the_back_end_bounds_each_conductor_whatever_the_vehicle_uses(
    unit: str, limit: float, phases: int | None, lines_used: int
) -> None:
    """Through the station that takes the profile: 16 A for a vehicle on one, two or three phases, now and later."""
    found = charging()
    found.fact(Power(evse_id=1, state="Charging", phases=lines_used))
    periods = [{"startPeriod": start, "limit": limit / part} for start, part in ((0, 1), (7_200, 2))]
    periods = [each | ({} if phases is None else {"numberPhases": phases}) for each in periods]
    assert put(found, unit=unit, periods=periods) == "Accepted"
    (allowance, *_) = [each for each in reversed(found.commands) if isinstance(each, ProfileLimits)]
    grid = SiteGrid(charge_w=100_000, discharge_w=0, outlet=(230, 3))
    grid.profiles(allowance)
    most = LimitBook(grid.limits).effective(0).over(lines_used, 230)
    assert most.charge_line == (16_000, SITE)
    assert most.charge_w == 16 * 230 * lines_used
    assert [(each.charge_ma, each.charge_w) for each in grid.foreseen] == [(8_000, 8 * 230 * 3)] or unit == "A"
    assert [each.charge_ma for each in grid.foreseen] == [8_000]
    answer = found.ask("GetCompositeSchedule", evseId=1, duration=600, chargingRateUnit="A")
    (period, *_) = answer["schedule"]["chargingSchedulePeriod"]
    assert (period["limit"], period.get("numberPhases")) == (16, phases)
