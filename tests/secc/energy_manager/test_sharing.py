"""EVSEs at one feeder: whatever vehicles do within what they were told, no conductor carries more than it may."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from secc.energy_manager.sharing import HELD_S, UNUSED_S, FeederEvse, FeederShares
from secc.hardware.ac import FOLLOW_S
from v2g.energy.conductors import LINES, Currents
from v2g.energy.limits import EVSE, SITE, EffectiveLimits, Limit, effective_limits

pytestmark = [pytest.mark.requirement("R57"), pytest.mark.requirement("R192")]

VOLTS = 230


def most(charge_ma: int = 32_000, discharge_ma: int = 0, phases: int = 3) -> EffectiveLimits:
    limit = Limit(
        source=EVSE,
        charge_w=charge_ma * VOLTS * phases // 1000,
        discharge_w=discharge_ma * VOLTS * phases // 1000,
        charge_ma=charge_ma,
        discharge_ma=discharge_ma,
    )
    return effective_limits((limit,), 0)


def evse(*lines: int, **more: Any) -> FeederEvse:
    """A vehicle that charges with alternating current in these conductors."""
    about = {"most": most(), "served": True, "closed": True, "power_w": 0, "currents": Currents()}
    return FeederEvse(lines=lines, **{**about, **more})


def feeder(charge_ma: int = 32_000, discharge_ma: int = 0) -> Limit:
    return Limit(
        source=SITE,
        charge_w=charge_ma * VOLTS * 3 // 1000,
        discharge_w=discharge_ma * VOLTS * 3 // 1000,
        charge_ma=charge_ma,
        discharge_ma=discharge_ma,
    )


def amperes(shares: dict[int, Limit]) -> dict[int, float]:
    return {number: (each.charge_ma or 0) / 1000 for number, each in sorted(shares.items())}


def settled(found: FeederShares, site: Limit, evses: dict[int, FeederEvse]) -> dict[int, float]:
    found.settle(site, evses, 0.0)
    return amperes(found.settle(site, evses, HELD_S))


def test_two_vehicles_on_one_phase_share_it_and_those_on_others_have_theirs() -> None:
    assert settled(FeederShares(VOLTS), feeder(), {1: evse(0), 2: evse(0)}) == {1: 16, 2: 16}
    assert settled(FeederShares(VOLTS), feeder(), {1: evse(0), 2: evse(1), 3: evse(2)}) == {1: 32, 2: 32, 3: 32}
    found = settled(FeederShares(VOLTS), feeder(), {1: evse(0), 2: evse(0, 1, 2), 3: evse(1)})
    assert found == {1: 16, 2: 16, 3: 16}, "what 1 does not use of L2 is not what 2 may draw from L1"


def test_what_one_cannot_use_the_others_get_and_who_gets_less_than_6_amperes_waits() -> None:
    assert settled(FeederShares(VOLTS), feeder(), {1: evse(0, most=most(10_000)), 2: evse(0)}) == {1: 10, 2: 22}
    assert settled(FeederShares(VOLTS), feeder(15_000), {n: evse(0) for n in (1, 2, 3)}) == {1: 7.5, 2: 7.5, 3: 0}


def test_powers_are_those_of_the_conductors_in_use() -> None:
    found = FeederShares(VOLTS).settle(feeder(), {1: evse(0), 2: evse(0, 1, 2, closed=False)}, 0.0)
    assert {number: each.charge_w for number, each in found.items()} == {1: 3_680, 2: 11_040}


def test_unbalance_between_phases_is_bounded() -> None:
    """VDE-AR-N 4100: 4.6 kVA are 20 A."""
    shares = FeederShares(VOLTS, 20_000)
    assert settled(shares, feeder(63_000), {1: evse(0), 2: evse(0), 3: evse(0, 1, 2)}) == {1: 10, 2: 10, 3: 32}


@pytest.mark.parametrize("measures_lines", [True, False])
def test_what_feeds_back_into_one_phase_counts_where_others_are_drawn_from(measures_lines: bool) -> None:
    site, limit = feeder(63_000, 63_000), most(32_000, 32_000)

    def back(current_ma: int) -> FeederEvse:
        measured = {"currents": Currents(-current_ma) if measures_lines else None, "power_w": -current_ma * 230 // 1000}
        return evse(0, most=limit, **measured)

    for back_ma, left in ((0, 20), (1_990, 20), (2_000, 18), (10_000, 10), (11_900, 8), (12_001, 7), (20_000, 0)):
        shares = FeederShares(VOLTS, 20_000)
        assert settled(shares, site, {1: back(back_ma), 2: evse(1), 3: evse(0, 1, 2)}) == {1: 20, 2: left, 3: 32}
    assert settled(FeederShares(VOLTS), site, {1: back(20_000), 2: evse(1)}) == {1: 32, 2: 32}, "any unbalance"


def test_who_charges_makes_room_for_what_begins_to_feed_back() -> None:
    shares, site = FeederShares(VOLTS, 20_000), feeder(63_000, 63_000)
    one, two = evse(0, 1, 2, most=most(32_000, 32_000)), evse(1)
    assert settled(shares, site, {1: one, 2: two}) == {1: 32, 2: 20}
    crooked = replace(one, power_w=-12 * VOLTS, currents=Currents(-12_000))
    assert amperes(shares.settle(site, {1: crooked, 2: two}, 2 * HELD_S)) == {1: 32, 2: 8}
    of_two = replace(one, power_w=-24 * VOLTS, currents=Currents(-12_000, 0, -12_000))
    assert amperes(shares.settle(site, {1: of_two, 2: two}, 3 * HELD_S)) == {1: 32, 2: 8}
    unmeasured = replace(one, power_w=None, currents=None)
    assert amperes(shares.settle(site, {1: unmeasured, 2: two}, 4 * HELD_S)) == {1: 32, 2: 20}
    straight = replace(one, power_w=-36 * VOLTS, currents=Currents(-12_000, -12_000, -12_000))
    assert amperes(shares.settle(site, {1: straight, 2: two}, 6 * HELD_S)) == {1: 32, 2: 20}


def test_who_feeds_back_makes_no_room_for_others_that_do() -> None:
    shares, site, limit = FeederShares(VOLTS, 20_000), feeder(63_000, 63_000), most(32_000, 32_000)
    evses = {
        line: evse(line, most=limit, power_w=-20 * VOLTS, currents=Currents(**{f"l{line + 1}": -20_000}))
        for line in (0, 1)
    }
    shares.settle(site, evses, 0.0)
    found = shares.settle(site, evses, HELD_S)
    assert {number: each.discharge_ma for number, each in found.items()} == {0: 20_000, 1: 20_000}


def test_a_vehicle_that_comes_feeds_back_once_another_one_has_had_the_time_to_follow() -> None:
    shares, site = FeederShares(VOLTS), feeder(0, 32_000)
    one, two = (evse(0, most=most(0, 32_000), closed=closed, shown_ma=32_000) for closed in (True, False))
    shares.settle(site, {1: one}, 0.0)
    for now, found in (
        (1.0, {1: 16_000, 2: 0}),
        (0.9 + HELD_S, {1: 16_000, 2: 0}),
        (1.0 + HELD_S, {1: 16_000, 2: 16_000}),
    ):
        told = shares.settle(site, {1: one, 2: two}, now)
        assert {number: each.discharge_ma for number, each in told.items()} == found


def test_a_vehicle_that_comes_waits_until_another_one_has_had_the_time_to_follow() -> None:
    shares = FeederShares(VOLTS)
    assert amperes(shares.settle(feeder(), {1: evse(0)}, 0.0)) == {1: 32}
    both = {1: evse(0), 2: evse(0, closed=False)}
    for now in (1.0, 1.0 + FOLLOW_S, 0.9 + HELD_S):
        assert amperes(shares.settle(feeder(), both, now)) == {1: 16, 2: 0}
    assert amperes(shares.settle(feeder(), both, 1.0 + HELD_S)) == {1: 16, 2: 16}
    assert amperes(shares.settle(feeder(), {2: evse(0)}, 9.0)) == {2: 32}, "1 has left, and its contactor is open"


def test_power_electronics_of_direct_current_follow_at_once_the_lowered_first() -> None:
    site = Limit(source=SITE, charge_w=100_000, discharge_w=0)
    limit = Limit(source=EVSE, charge_w=80_000, discharge_w=80_000)
    direct = FeederEvse(
        most=effective_limits((limit,), 0), lines=LINES, served=True, closed=True, power_w=80_000, direct=True
    )
    shares = FeederShares(VOLTS)
    assert shares.settle(site, {2: direct}, 0.0)[2].charge_w == 80_000
    found = shares.settle(site, {1: direct, 2: direct}, 1.0)
    assert [(number, each.charge_w, each.charge_ma) for number, each in found.items()] == [
        (2, 50_000, None), (1, 50_000, None),
    ]  # fmt: skip


def test_the_lowered_is_first_whoever_came_first() -> None:
    site = Limit(source=SITE, charge_w=100_000, discharge_w=0)

    def direct(charge_w: int, **more: Any) -> FeederEvse:
        limit = effective_limits((Limit(source=EVSE, charge_w=charge_w, discharge_w=0),), 0)
        about = {"served": True, "closed": True, "power_w": 0, "direct": True, **more}
        return FeederEvse(most=limit, lines=LINES, **about)

    shares = FeederShares(VOLTS)
    for first_w, second_w in ((20_000, 80_000), (50_000, 50_000)):
        found = shares.settle(site, {1: direct(first_w), 2: direct(80_000)}, 0.0)
        assert {number: each.charge_w for number, each in found.items()} == {1: first_w, 2: second_w}
    found = shares.settle(site, {1: direct(20_000), 2: direct(80_000)}, 1.0)
    assert [(number, each.charge_w) for number, each in found.items()] == [(1, 20_000), (2, 80_000)]
    found = shares.settle(site, {1: direct(80_000), 2: direct(80_000)}, 2.0)
    assert [(number, each.charge_w) for number, each in found.items()] == [(2, 50_000), (1, 50_000)]
    at_once = {1: direct(80_000, power_w=90_000), 2: direct(80_000)}
    assert shares.settle(site, at_once, 3.0)[2].charge_w == 50_000, "what is measured is from before"
    stuck = {1: direct(80_000, power_w=70_000, served=False), 2: direct(80_000)}
    assert shares.settle(site, stuck, 4.0)[2].charge_w == 30_000
    assert HELD_S == 6.0


def test_half_an_ampere_is_worth_a_raise() -> None:
    shares = FeederShares(VOLTS)
    shares.settle(feeder(13_205), {2: evse(0, most=most(7_204))}, 0.0)
    both = {1: evse(0, most=most(6_604)), 2: evse(0, most=most(7_204))}
    assert amperes(shares.settle(feeder(13_205), both, 1.0)) == {1: 6.001, 2: 6.603}
    assert amperes(shares.settle(feeder(13_205), both, 1.0 + HELD_S)) == {1: 6.602, 2: 6.603}


@pytest.mark.parametrize("measured", [True, False])
def test_what_flows_through_a_welded_contactor_is_not_given_to_others(measured: bool) -> None:
    """Measured, or else the last that was permitted."""
    shares = FeederShares(VOLTS)
    assert settled(shares, feeder(), {1: evse(0), 2: evse(0), 3: evse(1)}) == {1: 16, 2: 16, 3: 32}
    about: dict[str, Any] = {"power_w": 2_300, "currents": Currents(l1=10_000)} if measured else {"power_w": None}
    welded = evse(0, served=False, **about)
    found = amperes(shares.settle(feeder(), {1: welded, 2: evse(0), 3: evse(1)}, 100.0))
    assert found == {2: 22 if measured else 16, 3: 32}
    assert amperes(shares.settle(feeder(), {1: evse(served=False, closed=False), 2: evse(0)}, 101.0)) == {2: 32}


def test_of_an_outlet_found_welded_at_the_start_nothing_is_known_but_its_rating() -> None:
    welded = evse(0, 1, 2, served=False, power_w=None, currents=None)
    assert amperes(FeederShares(VOLTS).settle(feeder(40_000), {1: welded, 2: evse(0)}, 0.0)) == {2: 8}


def test_a_power_without_conductors_may_flow_in_one() -> None:
    shares = FeederShares(VOLTS)
    shares.settle(feeder(), {1: evse(0, 1, 2, most=most(16_000))}, 0.0)
    for power_w, left in ((2_300, 22), (3_680, 16), (9_200, 16), (13_800, 12)):  # at most as was permitted, or equal
        welded = evse(0, 1, 2, served=False, power_w=power_w, currents=None)
        assert amperes(shares.settle(feeder(), {1: welded, 2: evse(1)}, 100.0)) == {2: left}
        shares.settle(feeder(), {1: welded}, 100.0)


def test_a_vehicle_beyond_its_share_by_more_than_2_amperes_counts_as_measured() -> None:
    for drawn_ma, left in ((18_000, 16), (18_001, 13.999)):
        shares = FeederShares(VOLTS)
        assert settled(shares, feeder(), {1: evse(0), 2: evse(0)}) == {1: 16, 2: 16}
        over = evse(0, power_w=drawn_ma * VOLTS // 1000, currents=Currents(l1=drawn_ma))
        late = {1: over, 3: evse(0), 2: evse(0, served=False, closed=False)}
        assert amperes(shares.settle(feeder(), late, 100.0))[3] == left


def test_a_little_more_is_not_worth_a_message_unless_it_is_all_that_is_wanted() -> None:
    def welded(drawn_ma: int) -> FeederEvse:
        return evse(0, served=False, power_w=drawn_ma * VOLTS // 1000, currents=Currents(l1=drawn_ma))

    shares = FeederShares(VOLTS)
    for now, drawn_ma, share in ((0.0, 12_000, 20), (10.0, 11_600, 20), (20.0, 11_400, 20.6), (30.0, 12_100, 19.9)):
        assert amperes(shares.settle(feeder(), {1: welded(drawn_ma), 2: evse(0)}, now)) == {2: share}
    assert amperes(shares.settle(feeder(), {1: welded(0), 2: evse(0, most=most(20_100))}, 40.0)) == {2: 20.1}


def test_out_of_vehicles_the_same_holds_and_a_direction_bounds_no_other() -> None:
    shares, both = FeederShares(VOLTS), most(32_000, 16_000)
    site = feeder(32_000, 20_000)
    first = shares.settle(site, {2: evse(0, most=both)}, 0.0)
    assert (first[2].charge_ma, first[2].discharge_ma, first[2].discharge_w) == (32_000, 16_000, 3_680)
    arrived = {1: evse(0, most=both, closed=False), 2: evse(0, most=both)}
    found = shares.settle(site, arrived, 1.0)
    assert [(number, each.charge_ma, each.discharge_ma) for number, each in found.items()] == [
        (2, 16_000, 10_000), (1, 0, 0),
    ]  # fmt: skip
    found = shares.settle(site, arrived, 1.0 + HELD_S)
    assert {number: (each.charge_ma, each.discharge_ma) for number, each in found.items()} == dict.fromkeys(
        (1, 2), (16_000, 10_000)
    )
    back = evse(0, most=both, served=False, power_w=-2_760, currents=Currents(l1=-12_000))
    found = shares.settle(site, {1: arrived[1], 2: back}, 20.0)
    assert (found[1].charge_ma, found[1].discharge_ma) == (32_000, 8_000)


def test_a_vehicle_whose_contactor_is_open_draws_nothing_that_others_wait_for() -> None:
    shares = FeederShares(VOLTS)
    shares.settle(feeder(), {1: evse(0, closed=False)}, 0.0)
    assert amperes(shares.settle(feeder(), {1: evse(0, closed=False), 2: evse(0)}, 0.1)) == {1: 16, 2: 16}


def test_direct_current_takes_its_part_of_every_conductor_and_has_no_least() -> None:
    site = feeder(10_000)
    limit = effective_limits((Limit(source=EVSE, charge_w=50_000, discharge_w=0),), 0)
    direct = FeederEvse(most=limit, lines=LINES, served=True, closed=True, power_w=0, direct=True)
    shares = FeederShares(VOLTS)
    assert settled(shares, site, {1: direct, 2: evse(1)}) == {1: 4, 2: 6}, "5 A are less than 2 takes"
    small = effective_limits((Limit(source=EVSE, charge_w=1_380, discharge_w=0),), 0)
    found = shares.settle(site, {1: replace(direct, most=small), 2: evse(1)}, 100.0)
    assert (found[1].charge_w, found[1].charge_ma, found[2].charge_ma) == (1_380, 2_000, 8_000)


def test_a_rating_in_watts_bounds_a_share_of_amperes() -> None:
    bounded = most().at_most("rating", charge_w=4_000)
    found = FeederShares(VOLTS).settle(feeder(), {1: evse(0, 1, 2, most=bounded)}, 0.0)
    assert (found[1].charge_w, found[1].charge_ma) == (4_000, 32_000)


def watts(shares: dict[int, Limit]) -> dict[int, int]:
    return {number: each.charge_w for number, each in sorted(shares.items())}


def test_power_of_the_feeder_is_shared_like_a_conductor() -> None:
    """5 kW where each conductor carries 32 A: who comes waits for the power of those on other conductors, too."""
    shares, site = FeederShares(VOLTS), replace(feeder(), charge_w=5_000)
    assert watts(shares.settle(site, {1: evse(0)}, 0.0)) == {1: 5_000}
    both = {1: evse(0), 2: evse(1, closed=False)}
    assert watts(shares.settle(site, both, 1.0)) == {1: 2_500, 2: 0}
    assert watts(shares.settle(site, both, 1.0 + HELD_S)) == {1: 2_500, 2: 2_500}
    for drawn_w, left_w in ((2_960, 2_500), (2_961, 2_039)):  # 2 A of 230 V beyond its share are no error of a meter
        late = {1: evse(0, power_w=drawn_w), 3: evse(1)}
        again = FeederShares(VOLTS)
        settled(again, site, both)
        assert watts(again.settle(site, late, 2 * HELD_S))[3] == left_w


def test_a_share_is_raised_by_half_an_ampere_or_more() -> None:
    def direct(**more: Any) -> FeederEvse:
        limit = effective_limits((Limit(source=EVSE, charge_w=80_000, discharge_w=0),), 0)
        return FeederEvse(most=limit, lines=LINES, closed=True, direct=True, **{"served": True, "power_w": 0, **more})

    for more_w, share_w in ((114, 50_000), (115, 50_115)):
        shares, site = FeederShares(VOLTS), Limit(source=SITE, charge_w=60_000, discharge_w=0)
        assert watts(shares.settle(site, {1: direct(served=False, power_w=10_000), 2: direct()}, 0.0)) == {2: 50_000}
        drawn = {1: direct(served=False, power_w=10_000 - more_w), 2: direct()}
        assert watts(shares.settle(site, drawn, 1.0)) == {2: share_w}


def test_nothing_is_held_for_a_vehicle_that_has_left() -> None:
    shares = FeederShares(VOLTS)
    shares.settle(feeder(), {1: evse(0)}, 0.0)
    shares.settle(feeder(), {1: evse(0), 2: evse(0, closed=False)}, 1.0)
    shares.settle(feeder(), {2: evse(0, most=most(16_000))}, 2.0)
    found = shares.settle(feeder(), {1: evse(0, most=most(6_000), closed=False), 2: evse(0)}, 3.0)
    assert amperes(found)[2] == 26


def test_who_charges_goes_on_where_there_is_enough_for_one() -> None:
    shares = FeederShares(VOLTS)
    assert settled(shares, feeder(10_000), {1: evse(0, most=most(0)), 2: evse(0)}) == {1: 0, 2: 10}
    assert amperes(shares.settle(feeder(10_000), {1: evse(0), 2: evse(0)}, 100.0)) == {1: 0, 2: 10}


def test_a_cable_for_less_than_6_amperes_is_used() -> None:
    assert settled(FeederShares(VOLTS), feeder(), {1: evse(0, most=most(5_000)), 2: evse(0)}) == {1: 5, 2: 27}


def test_a_current_follows_from_the_power_where_no_other_is_known() -> None:
    bare = effective_limits((Limit(source=EVSE, charge_w=3_681, discharge_w=0),), 0)
    found = FeederShares(VOLTS).settle(feeder(), {1: evse(0, most=bare)}, 0.0)[1]
    assert (found.charge_w, found.charge_ma) == (3_681, 16_005)
    found = FeederShares(VOLTS).settle(feeder(), {1: evse(0, 1, 2, most=most(2_000), direct=True)}, 0.0)[1]
    assert (found.charge_w, found.charge_ma) == (1_380, 2_000)
    narrow = most(32_000).over(3, VOLTS).at_most("rating", charge_w=1_380)
    found = FeederShares(VOLTS).settle(feeder(), {1: evse(0, 1, 2, most=narrow, direct=True)}, 0.0)[1]
    assert (found.charge_w, found.charge_ma) == (1_380, 2_000), "what direct current takes of a conductor"


class Play:
    """Vehicles that draw, in each direction, anything up to what they were told within the time to follow."""

    def __init__(self, shares: FeederShares) -> None:
        self.shares = shares
        self.told: dict[int, list[tuple[float, Limit]]] = {}

    def settle(self, site: Limit, evses: dict[int, FeederEvse], now: float) -> None:
        found = self.shares.settle(site, evses, now)
        for number in evses:
            told = self.told.setdefault(number, [])
            if number not in found:
                told.clear()
                continue
            told.append((now, found[number]))
            while len(told) > 1 and told[1][0] <= now - FOLLOW_S:
                told.pop(0)

    def drawable(self, number: int, name: str) -> int:
        return max((getattr(limit, name) for _, limit in self.told.get(number, ())), default=0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_conductor_ever_carries_more_than_the_feeder(data: st.DataObject) -> None:
    """Vehicles come, use other conductors, and leave; what they drew within the time to follow counts in full."""
    play, now = Play(FeederShares(VOLTS)), 0.0
    site = feeder(data.draw(st.integers(6_000, 63_000)), data.draw(st.integers(0, 32_000)))
    about: dict[int, FeederEvse] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        now += data.draw(st.sampled_from([0.1, 0.5, 2.0, FOLLOW_S, HELD_S]))
        number = data.draw(st.integers(1, 4))
        if number in about and data.draw(st.booleans()):
            del about[number]
        else:
            ampere = st.integers(0, 32_000)
            lines = about[number].lines if number in about else data.draw(st.sampled_from([(0,), (1,), (1, 0), LINES]))
            about[number] = evse(*lines, most=most(data.draw(ampere), data.draw(ampere)))
        idle = {n: evse(0, served=False, closed=False) for n in range(1, 5) if n not in about}
        play.settle(site, {**about, **idle}, now)
        for name, allowed in (("charge_ma", site.charge_ma), ("discharge_ma", site.discharge_ma)):
            for line in LINES:
                assert sum(play.drawable(n, name) for n, each in about.items() if line in each.lines) <= (allowed or 0)
        for name, watts in (("charge_w", site.charge_w), ("discharge_w", site.discharge_w)):
            assert sum(play.drawable(n, name) for n in about) <= watts
    play.settle(site, about, now + HELD_S)
    play.settle(site, about, now + 2 * HELD_S)
    last = {number: told[-1][1] for number, told in play.told.items() if told}
    for number, each in about.items():  # max-min fair: where a conductor is full, none there has more
        mine, limit = last[number].charge_ma or 0, (each.most.charge_line or (0, ""))[0]
        if mine >= limit - 500 or not mine:
            continue
        full = [
            line
            for line in each.lines
            if sum(last[n].charge_ma or 0 for n in about if line in about[n].lines) > (site.charge_ma or 0) - 600
        ]
        assert any(
            all((last[n].charge_ma or 0) <= mine + 600 for n in about if line in about[n].lines) for line in full
        )


# -- the least power, what is not used, and turns ---------------------------------------------------------------------


def test_power_that_is_not_enough_for_the_least_of_two_goes_to_one() -> None:
    """§ 14a EnWG: 7.56 kW for two vehicles on three phases, which draw 6 A or nothing."""
    shares, site = FeederShares(VOLTS), replace(feeder(), charge_w=7_560)
    both = {1: evse(*LINES), 2: evse(*LINES)}
    found = shares.settle(site, both, 0.0)
    assert [(each.charge_w, each.charge_ma) for each in found.values()] == [(7_560, 10_956), (0, 0)]
    found = shares.settle(replace(site, charge_w=8_280), both, 1.0 + HELD_S)
    assert watts(found) == {1: 4_140, 2: 0}
    assert watts(shares.settle(replace(site, charge_w=8_280), both, 1.0 + 2 * HELD_S)) == {1: 4_140, 2: 4_140}
    assert watts(shares.settle(replace(site, charge_w=4_000), both, 30.0)) == {1: 0, 2: 0}


def test_power_electronics_get_the_least_that_they_hold_or_nothing() -> None:
    limit = effective_limits((Limit(source=EVSE, charge_w=50_000, discharge_w=50_000),), 0)
    direct = FeederEvse(
        most=limit, lines=LINES, served=True, closed=True, power_w=0, direct=True, least_w=(5_000, 3_000)
    )
    site = Limit(source=SITE, charge_w=9_999, discharge_w=5_999)
    found = FeederShares(VOLTS).settle(site, {1: direct, 2: direct}, 0.0)
    assert [(each.charge_w, each.discharge_w) for each in found.values()] == [(9_999, 5_999), (0, 0)]
    site = replace(site, charge_w=10_000, discharge_w=6_000)
    found = FeederShares(VOLTS).settle(site, {1: direct, 2: direct}, 0.0)
    assert [(each.charge_w, each.discharge_w) for each in found.values()] == [(5_000, 3_000)] * 2


def drawing(current_a: float, *lines: int, **more: Any) -> FeederEvse:
    names = ("l1", "l2", "l3")
    currents = Currents(**{names[line]: round(current_a * 1000) for line in lines})
    return evse(*lines, power_w=round(current_a * VOLTS * len(lines)), currents=currents, **more)


class Shared:
    """Vehicles at one feeder for a time, each as it is given."""

    def __init__(self, site: Limit) -> None:
        self.shares, self._site, self._now = FeederShares(VOLTS), site, 0.0

    def go_on(self, seconds: float, **evses: FeederEvse) -> list[float]:
        """Return the shares of A and so on, A."""
        here = {ord(name): each for name, each in evses.items()}
        for _ in range(max(1, round(seconds))):
            found = self.shares.settle(self._site, here, self._now)
            self._now += 1.0
        return list(amperes(found).values())


def test_who_waits_gets_what_a_full_vehicle_leaves_and_keeps_it() -> None:
    site = Shared(feeder(10_000))
    assert site.go_on(9, a=drawing(10, *LINES), b=evse(*LINES, closed=False)) == [10, 0]
    full = evse(*LINES, closed=False)
    assert site.go_on(UNUSED_S, a=full, b=evse(*LINES, closed=False)) == [10, 0], "it may go on at once"
    assert site.go_on(2, a=full, b=evse(*LINES, closed=False)) == [0, 10]
    assert site.go_on(2 * UNUSED_S, a=full, b=drawing(10, *LINES)) == [0, 10]
    assert site.go_on(UNUSED_S + 2, a=full, b=full) == [10, 0], "it may want more again"
    assert site.go_on(UNUSED_S + 2, a=full, b=full) == [0, 10], "in turns"
    assert site.go_on(1, b=full) == [10]


def test_a_vehicle_that_begins_has_its_turn_for_as_long_as_it_draws() -> None:
    site = Shared(feeder(10_000))
    idle = evse(*LINES, closed=False)
    assert site.go_on(UNUSED_S + 2, a=idle, b=idle) == [0, 10]
    assert site.go_on(3 * UNUSED_S, a=idle, b=drawing(6, *LINES)) == [0, 10]


def test_what_a_vehicle_does_not_use_others_get_until_it_wants_more() -> None:
    site = Shared(feeder())
    assert site.go_on(2, a=drawing(8, 0), b=drawing(16, 0)) == [16, 16]
    assert site.go_on(UNUSED_S + 2 + HELD_S, a=drawing(8, 0), b=drawing(16, 0)) == [12, 20]
    assert site.go_on(UNUSED_S, a=drawing(8, 0), b=drawing(20, 0)) == [12, 20]
    assert site.go_on(1, a=drawing(10.1, 0), b=drawing(20, 0))[1] == 16, "it draws all but an error"
    assert site.go_on(HELD_S + 1, a=drawing(12, 0), b=drawing(16, 0)) == [16, 16]


def test_what_nobody_wants_stays_with_those_that_do_not_use_it() -> None:
    site = Shared(feeder(40_000))
    assert site.go_on(3 * UNUSED_S, a=drawing(8, 0, most=most(16_000)), b=evse(0, closed=False)) == [16, 24]


def test_of_a_vehicle_that_is_not_measured_nothing_is_given_away() -> None:
    site = Shared(feeder())
    unknown = evse(0, power_w=None, currents=None)
    assert site.go_on(3 * UNUSED_S, a=unknown, b=drawing(16, 0)) == [16, 16]


def test_power_electronics_that_wait_keep_what_a_session_begins_with() -> None:
    limit = effective_limits((Limit(source=EVSE, charge_w=50_000, discharge_w=0),), 0)
    waits = FeederEvse(most=limit, lines=LINES, served=True, closed=False, power_w=0, direct=True)
    charges = replace(waits, closed=True, power_w=30_000)
    shares, site = FeederShares(VOLTS), Limit(source=SITE, charge_w=40_000, discharge_w=0)
    for now, first_w in ((0.0, 20_000), (1.0, 20_000), (UNUSED_S, 20_000), (UNUSED_S + 1, 4_140)):
        assert watts(shares.settle(site, {1: waits, 2: charges}, now)) == {1: first_w, 2: 40_000 - first_w}
    conductors = FeederShares(VOLTS)
    for now, first_w in ((0.0, 11_040), (1.0, 11_040), (1.0 + UNUSED_S, 4_140)):
        assert watts(conductors.settle(feeder(), {1: waits, 2: charges}, now))[1] == first_w
    begins = replace(waits, closed=True, power_w=4_000)
    assert watts(shares.settle(site, {1: begins, 2: charges}, UNUSED_S + 2)) == {1: 20_000, 2: 20_000}


def test_each_conductor_carries_its_part_of_a_lower_power() -> None:
    """A duty cycle bounds the current, not the power."""
    found = FeederShares(VOLTS).settle(replace(feeder(), charge_w=13_800), {1: evse(*LINES), 2: evse(*LINES)}, 0.0)
    assert [(each.charge_w, each.charge_ma) for each in found.values()] == [(6_900, 10_000)] * 2


def test_a_duty_cycle_that_is_still_shown_counts_and_the_time_to_follow_begins_after_it() -> None:
    """A lower one waits until the last has been shown for 5 s (IEC 61851-1)."""
    shares = FeederShares(VOLTS)
    alone, less = evse(0, shown_ma=16_000), evse(0, shown_ma=16_000, closed=False)
    assert amperes(shares.settle(feeder(16_000), {1: alone}, 0.0)) == {1: 16}
    for now in (1.0, 5.0, 4.9 + HELD_S):
        assert amperes(shares.settle(feeder(16_000), {1: less, 2: evse(0)}, now)) == {1: 8, 2: 0}
    shown = evse(0, shown_ma=8_000)
    for now, second_a in ((5.0 + HELD_S, 0), (4.8 + 2 * HELD_S, 0), (4.9 + 2 * HELD_S, 8)):
        assert amperes(shares.settle(feeder(16_000), {1: shown, 2: evse(0)}, now)) == {1: 8, 2: second_a}


def test_of_limits_that_change_together_the_lower_ones_hold_first() -> None:
    shares, both = FeederShares(VOLTS), {1: evse(0), 2: evse(0, most=most(0))}
    assert amperes(shares.settle(feeder(10_000), both, 0.0)) == {1: 10, 2: 0}
    assert amperes(shares.settle(feeder(20_000), both, 1.0, raises=False)) == {1: 10, 2: 0}
    assert amperes(shares.settle(feeder(8_000), both, 1.0, raises=False)) == {1: 8, 2: 0}
    assert amperes(shares.settle(feeder(20_000), {1: evse(0), 2: evse(0)}, 1.0)) == {1: 10, 2: 10}
    both = {1: drawing(10, 0), 2: evse(0, most=most(0))}
    for now in (2.0, 2.0 + HELD_S, 3.0 + HELD_S):
        assert amperes(shares.settle(feeder(20_000), both, now, raises=False)) == {1: 10, 2: 0}
    assert amperes(shares.settle(feeder(20_000), both, 3.0 + HELD_S)) == {1: 20, 2: 0}, "what was left is not forgotten"


def test_power_electronics_get_what_they_use_and_an_error_of_both_sides() -> None:
    """Two amperes of each conductor are 1,380 W."""
    limit = effective_limits((Limit(source=EVSE, charge_w=50_000, discharge_w=0),), 0)
    less = FeederEvse(most=limit, lines=LINES, served=True, closed=True, power_w=10_000, direct=True)
    shares, site = FeederShares(VOLTS), Limit(source=SITE, charge_w=40_000, discharge_w=0)
    both = {1: less, 2: replace(less, power_w=20_000)}
    for now, first_w in ((0.0, 20_000), (1.0, 20_000), (0.9 + UNUSED_S, 20_000), (1.0 + UNUSED_S, 12_760)):
        assert watts(shares.settle(site, both, now)) == {1: first_w, 2: 40_000 - first_w}
    assert UNUSED_S == 120


def test_a_vehicle_on_one_of_three_conductors_keeps_the_power_of_all() -> None:
    """Its duty cycle is for each of them: with less power it would draw less."""
    site = replace(feeder(), charge_w=14_000)
    for currents in (Currents(l1=10_000), None):  # without any measured it may be so
        shares, one = FeederShares(VOLTS), evse(*LINES, power_w=2_300, currents=currents)
        for now in (0.0, 1.0, 1.0 + UNUSED_S, 2 * UNUSED_S):
            assert watts(shares.settle(site, {1: one, 2: drawing(10.1, *LINES)}, now)) == {1: 7_000, 2: 7_000}


def test_the_next_vehicle_at_an_outlet_has_needs_of_its_own() -> None:
    site = Shared(feeder())
    assert site.go_on(UNUSED_S + 2 + HELD_S, a=drawing(8, 0), b=drawing(16, 0)) == [12, 20]
    assert site.go_on(1, b=drawing(20, 0)) == [32]
    assert site.go_on(HELD_S + 2, a=evse(0), b=drawing(16, 0)) == [16, 16]


def test_a_vehicle_that_uses_ever_less_gets_ever_less_but_6_amperes() -> None:
    site = Shared(feeder())
    assert site.go_on(UNUSED_S + 2 + HELD_S, a=drawing(8, 0), b=drawing(16, 0)) == [12, 20]
    assert site.go_on(UNUSED_S, a=drawing(0, 0), b=drawing(20, 0)) == [12, 20]
    assert site.go_on(UNUSED_S + HELD_S, a=drawing(0, 0), b=drawing(20, 0)) == [6, 26]


def test_the_least_power_of_an_outlet_counts_where_it_is_more_than_6_amperes() -> None:
    large = {number: evse(0, least_w=(3_000, 0)) for number in (1, 2)}
    for least_w, second_w in ((5_999, 0), (6_000, 3_000)):
        found = FeederShares(VOLTS).settle(replace(feeder(), charge_w=least_w), large, 0.0)
        assert watts(found)[2] == second_w


def test_a_vehicle_that_uses_all_of_its_power_keeps_its_current() -> None:
    bounded, site = most().at_most("rating", charge_w=4_000), Shared(feeder())
    assert site.go_on(UNUSED_S + 2 + HELD_S, a=drawing(5.8, *LINES, most=bounded), b=drawing(16, 0)) == [16, 16]


def test_no_vehicle_begins_with_less_than_6_amperes_of_what_is_left_at_first() -> None:
    """Its 1,380 W would be 2 A of each conductor."""
    shares, small = FeederShares(VOLTS), most().at_most("rating", charge_w=1_380)
    shares.settle(feeder(), {1: evse(*LINES, most=most(30_000))}, 0.0)
    both = {1: evse(*LINES, most=most(30_000)), 2: evse(*LINES, most=small, closed=False)}
    assert amperes(shares.settle(feeder(), both, 1.0)) == {1: 16, 2: 0}
