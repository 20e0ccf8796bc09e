"""Limits at connection points: whatever the tree, they hold together, are shared fairly, and lowered before raised."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.grid.limits import (
    FUSE,
    PART,
    Bearer,
    EvseUse,
    PointPower,
    StationShare,
    chains,
    least_w,
    limited,
    of_site,
    share_out,
    share_stations,
    states,
    tightest,
    to_share,
    tree,
    unbound,
)
from csms.sites.rules import Place, Site
from csms.smart_charging.charging_plans import FOLLOWED_MS
from tests.csms.support import grid_signal
from v2g.energy.balancing import Node
from v2g.energy.grid_signal import ALL, ConnectionPoint, Direction, GridLimit
from v2g.energy.limits import MOST_MA, MOST_W
from v2g.units import LAST_MS

YARD, ROW = ConnectionPoint(site="yard"), ConnectionPoint(site="yard", feeder="row")
MAIN, EVSE = ConnectionPoint(site="yard", feeder="main"), ConnectionPoint(station_id="A", evse_id=1)


def places(*homes: str, first: str = "A", phases: tuple[str, ...] = ("L1", "L2", "L3")) -> tuple[Place, ...]:
    """A station of one EVSE at each of these nodes: A, B and so on."""
    names = (chr(ord(first) + number) for number in range(len(homes)))
    return tuple(
        Place(station_id=name, evse_id=1, node=home, most_ma=32_000, phases=phases)  # type: ignore[arg-type]
        for name, home in zip(names, homes, strict=True)
    )


def yard(*homes: str, main_ma: int = 100_000, row_ma: int = 63_000) -> Site:
    nodes = (Node(id="main", limits=(main_ma,) * 3), Node(id="row", parent="main", limits=(row_ma,) * 3))
    return Site(id="yard", nodes=nodes, places=places(*homes or ("row", "row", "main")))


def limit(limit_w: int | None, at: ConnectionPoint = ALL, direction: Direction = "import", **more: object) -> GridLimit:
    return GridLimit(connection_point=at, direction=direction, limit_w=limit_w, **more)  # type: ignore[arg-type]


# -- where a limit holds


def test_a_point_has_a_name_and_is_one_of_a_site_a_feeder_or_an_evse() -> None:
    assert [str(each) for each in (ALL, YARD, ROW, EVSE)] == ["all", "site yard", "feeder yard/row", "EVSE A/1"]
    for wrong in (
        {"feeder": "row"},
        {"station_id": "A"},
        {"evse_id": 1},
        {"site": "yard", "station_id": "A", "evse_id": 1},
    ):
        with pytest.raises(ValueError, match=r"connection point|needs its site"):
            ConnectionPoint(**wrong)


def test_a_limit_has_one_value_and_a_time() -> None:
    for wrong in ({}, {"limit_w": 1, "phases_ma": (1, 1, 1)}, {"limit_w": 1, "from_ms": 5, "until_ms": 5}):
        with pytest.raises(ValueError, match="limit"):
            GridLimit(direction="import", **wrong)


def test_todays_signal_has_limits_of_all_stations_and_ends_export_with_itself() -> None:
    signal = grid_signal(1, source="dso")
    end_ms = signal.valid_until_ms
    for now_ms, export_w in ((end_ms - 1, 5_000), (end_ms, 0)):
        found = signal.limits_at(now_ms)
        assert {(each.connection_point, each.direction, each.limit_w, each.source) for each in found} == {
            (ALL, "import", 11_000, "dso"),
            (ALL, "export", export_w, "dso"),
        }
    assert [each.limit_w for each in to_share(signal, end_ms + 1)] == [11_000, 5_000]  # profiles have the end
    soon = grid_signal(1, issued_at_ms=0, valid_until_ms=1)
    assert [each.limit_w for each in to_share(soon, 0)] == [11_000, 5_000]


def test_a_limit_is_shared_a_little_before_it_begins_and_until_it_ends() -> None:
    named = limit(1_000, YARD, from_ms=1_000_000, until_ms=2_000_000)
    signal = grid_signal(1, limits=(named,), connection_point=ROW)
    named = msgspec.structs.replace(named, source="dso")
    for now_ms, there in ((989_999, 0), (990_000, 1), (1_999_999, 1), (2_000_000, 0)):
        assert to_share(signal, now_ms).count(msgspec.structs.replace(named, source="")) == there
    assert [named in signal.limits_at(at_ms) for at_ms in (999_999, 1_000_000, 1_999_999, 2_000_000)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert signal.limits_at(1_000_000)[0].connection_point == ROW


def test_the_lowest_limit_of_a_point_and_direction_counts() -> None:
    limits = [limit(5), limit(4, direction="export"), limit(3, YARD), limit(6), limit(None, phases_ma=(1, 1, 1))]
    assert (least_w(limits, "import"), least_w(limits, "export"), least_w(limits, "import", YARD)) == (5, 4, 3)
    assert least_w(limits, "export", YARD) == MOST_W


@pytest.mark.parametrize("at", [ALL, YARD, ROW, EVSE])
def test_a_limit_is_bound_where_a_site_has_its_point(at: ConnectionPoint) -> None:
    assert unbound([limit(1, at)], [yard()]) == ""
    assert unbound([limit(1, at)], []) == ("" if at == ALL else f"a limit is unbound: no site has {at}")


def test_a_limit_by_phase_needs_a_site() -> None:
    by_phase = limit(None, phases_ma=(1, 2, 3))
    assert "unbound without a site" in unbound([by_phase], [yard()])
    assert unbound([msgspec.structs.replace(by_phase, connection_point=YARD)], [yard()]) == ""


def test_an_evse_has_its_points_from_all_stations_down_to_itself() -> None:
    assert chains([yard()])["A", 1] == [ALL, YARD, MAIN, ROW, EVSE]


# -- within a site


def test_limits_lower_what_nodes_carry_each_way_and_evses_get_a_node() -> None:
    by_phase = limit(None, ROW, phases_ma=(10_000, 20_000, 90_000))
    found = limited(yard(), [limit(6_900, YARD), limit(3_450, YARD, "export"), by_phase, limit(690, EVSE), limit(5)])
    nodes = {each.id: each for each in found.nodes}
    assert nodes["site yard"] == Node(id="site yard", limits=(10_000,) * 3, feed_back=(5_000,) * 3)
    assert (nodes["main"].parent, nodes["main"].limits) == ("site yard", (100_000,) * 3)
    assert (nodes["row"].limits, nodes["row"].feed_back) == ((10_000, 20_000, 63_000), (63_000,) * 3)
    assert (nodes["EVSE A/1"].parent, nodes["EVSE A/1"].limits) == ("row", (1_000,) * 3)
    assert nodes["EVSE A/1"].feed_back == (MOST_MA,) * 3
    assert [each.node for each in found.places] == ["EVSE A/1", "row", "main"]


def test_a_site_without_limits_stays_and_its_part_is_one() -> None:
    assert limited(yard(), [limit(5), limit(5, ConnectionPoint(site="other"))], MOST_W) is not None
    assert limited(yard(), [limit(5)], MOST_W) == yard()
    top = limited(yard(), [], 6_900).nodes[0]
    assert (top.limits, top.feed_back) == ((10_000,) * 3, (MOST_MA,) * 3)


def test_a_limit_of_an_evse_alone_is_in_the_tree_which_stays_as_it_was() -> None:
    site = yard()
    site = msgspec.structs.replace(
        site, nodes=(site.nodes[0], msgspec.structs.replace(site.nodes[1], feed_back=(7, 8, 9)))
    )
    found = limited(site, [limit(0, EVSE)])
    nodes = {each.id: each for each in found.nodes}
    assert nodes["EVSE A/1"].limits == (0, 0, 0)
    assert (nodes["row"].parent, nodes["row"].feed_back) == ("main", (7, 8, 9))


OTHER = ConnectionPoint(site="other")


@pytest.mark.parametrize(("part_w", "part"), [(None, []), (MOST_W, []), (MOST_W - 1, [MOST_W - 1])])
def test_a_site_is_limited_at_each_of_its_points_by_fuses_the_grid_and_its_part(
    part_w: int | None, part: list[int]
) -> None:
    """Also at a feeder without an EVSE, and by what is announced; not by what has ended, or holds elsewhere."""
    site = yard("main")
    site = msgspec.structs.replace(
        site, nodes=(site.nodes[0], msgspec.structs.replace(site.nodes[1], feed_back=(7, 8, 9)))
    )
    mine = [
        limit(1, YARD, until_ms=1_001), limit(2, ROW, "export", from_ms=5_000), limit(3, MAIN), limit(4, EVSE),
        limit(5, ROW, from_ms=3_000),
    ]  # fmt: skip
    others = [
        limit(6),
        limit(7, YARD, until_ms=1_000),
        limit(8, OTHER),
        limit(9, ConnectionPoint(station_id="B", evse_id=1)),
    ]
    found = of_site(site, [*others, *mine], part_w, 1_000)
    fuses = [
        limit(None, at, way, phases_ma=phases_ma, source=FUSE)  # type: ignore[arg-type]
        for at, way, phases_ma in (
            (MAIN, "import", (100_000,) * 3), (ROW, "import", (63_000,) * 3), (ROW, "export", (7, 8, 9)),
        )
    ]  # fmt: skip
    assert found == [
        mine[3], mine[2], fuses[0], fuses[2], mine[1], fuses[1], mine[4], mine[0],
        *(limit(each, YARD, source=PART) for each in part),
    ]  # fmt: skip
    assert (FUSE, PART) == ("fuse", "share"), "as the API shows them"


# -- over all stations


def carried(limits: Sequence[GridLimit], direction: Direction = "import", site: Site | None = None) -> dict[str, int]:
    return {each.id: each.limits[0] for each in tree(limits, [site or yard()], direction)}


def test_the_tree_carries_the_least_of_fuses_and_limits_in_each_direction() -> None:
    limits = [limit(50_000), limit(9_000, YARD, "export"), limit(700, EVSE, "export"), limit(8_000, ROW)]
    found = carried(limits)
    assert (found["all"], found["feeder yard/row"], found["feeder yard/main"]) == (50_000, 8_000, 69_000)
    found = carried(limits, "export")
    assert (found["site yard"], found["feeder yard/row"], found["EVSE A/1"]) == (9_000, 43_470, 700)
    assert found["all"] > 1000 * MOST_W < carried([limit(MOST_W)])["all"]


def test_the_tree_is_the_sites_and_of_several_limits_the_lowest_counts_each_way() -> None:
    site = yard()
    back = msgspec.structs.replace(site.nodes[0], feed_back=(10_000,) * 3)
    site = msgspec.structs.replace(site, nodes=(back, site.nodes[1]))
    found = tree([limit(700, EVSE)], [site], "import")
    assert {each.id: each.parent for each in found} == {
        "all": None, "site yard": "all", "feeder yard/main": "site yard", "feeder yard/row": "feeder yard/main",
        "EVSE A/1": "feeder yard/row",
    }  # fmt: skip
    lowest = [limit(8_000, ROW), limit(9_000, ROW)]
    assert carried(lowest, site=site)["feeder yard/row"] == 8_000
    assert carried(lowest, site=site)["feeder yard/main"] == 69_000
    assert carried(lowest, "export", site)["feeder yard/main"] == 6_900
    assert carried(lowest, "export", site)["feeder yard/row"] == 43_470, "it feeds back what it carries"


def test_of_phases_all_are_for_import_and_the_weakest_for_export() -> None:
    by_phase = limit(None, ROW, phases_ma=(10_000, 20_000, 30_000))
    assert carried([by_phase])["feeder yard/row"] == 13_800
    assert carried([msgspec.structs.replace(by_phase, direction="export")], "export")["feeder yard/row"] == 6_900


ROOT = (Node(id="all", limits=(60_000,) * 3),)


def bearer(name: str, needed: int = 0, **more: int | bool | None) -> Bearer:
    rest = {"granted": None, "held": None, "drawn": 0, "asked": 0, "reachable": True, "late": False}
    return Bearer(id=name, node="all", needed=needed, **rest | more)  # type: ignore[arg-type]


def shares(*bearers: Bearer, limits_changed: bool = False) -> list[int]:
    return list(share_out(ROOT, bearers, limits_changed=limits_changed).values())


def test_vehicles_come_first_and_the_rest_is_even() -> None:
    """A single station has the whole limit, as ever."""
    assert shares(bearer("a")) == [60_000]
    assert shares(bearer("a", 50_000), bearer("b"), bearer("c")) == [50_000, 5_000, 5_000]
    assert shares(*(bearer(name, 50_000) for name in "abc")) == [20_000] * 3


def test_set_points_come_before_other_needs_while_they_fit_together() -> None:
    other = bearer("b", 50_000)
    assert shares(bearer("a", 40_000, asked=40_000), other) == [40_000, 20_000]
    assert shares(bearer("a", 70_000, asked=70_000), other) == [30_000, 30_000]


def test_where_the_least_does_not_fit_who_charges_goes_on_and_others_wait() -> None:
    of = {"needed": 50_000, "least": 25_000}
    assert shares(*(bearer(name, **of) for name in "abc")) == [30_000, 30_000, 0]
    assert shares(*(bearer(name, **of) for name in "ab"), bearer("c")) == [30_000, 30_000, 0], "it needs nothing"
    charges = bearer("c", granted=25_000, held=25_000, **of)
    assert shares(bearer("a", **of), bearer("b", granted=24_999, **of), charges) == [10_001, 0, 25_000]
    assert shares(bearer("a", **of), bearer("b", 50_000, asked=40_000, least=25_000)) == [0, 60_000]
    even = {"granted": 20_000, "held": 20_000, **of}
    assert shares(*(bearer(name, **even) for name in "abc"), limits_changed=True) == [20_000, 20_000, 0]


def test_nobody_rises_before_others_have_accepted_less() -> None:
    was = {"granted": 60_000, "held": 60_000}
    assert shares(bearer("a", 50_000, **was), bearer("b", 50_000)) == [30_000, 0]
    assert shares(bearer("a", 50_000, granted=30_000, held=60_000), bearer("b", 50_000, granted=0)) == [30_000, 0]
    assert shares(bearer("a", 50_000, granted=30_000, held=30_000), bearer("b", 50_000, granted=0)) == [30_000] * 2


def test_a_raise_that_was_sent_counts_before_it_is_accepted() -> None:
    assert shares(bearer("a", 0, granted=50_000, held=0), bearer("b", 50_000)) == [10_000, 10_000]


def test_nothing_changes_while_all_have_what_they_need_but_for_new_limits() -> None:
    of_a, of_b = {"granted": 40_000, "held": 40_000}, {"granted": 16_000, "held": 16_000}
    both = bearer("a", 11_000, **of_a), bearer("b", 11_000, **of_b)
    assert shares(*both) == [40_000, 16_000]
    assert shares(*both, limits_changed=True) == [30_000, 20_000]
    assert shares(both[0], bearer("b", 11_000, granted=14_000, held=14_000)) == [30_000, 20_000]  # not half of its due
    assert shares(both[0], bearer("b", 11_000, granted=15_000, held=15_000)) == [40_000, 15_000]  # just half of it


def test_nothing_changes_for_what_cannot_be_had_or_is_away() -> None:
    """A vehicle behind a full feeder, and a station that is away, need more than they have."""
    nodes = (Node(id="all", limits=(66_000,) * 3), Node(id="row", parent="all", limits=(10_000,) * 3))
    full = msgspec.structs.replace(bearer("a", 50_000, granted=10_000, held=10_000), node="row")
    uneven = bearer("b", 5_000, granted=40_000, held=40_000), bearer("c", 5_000, granted=16_000, held=16_000)
    assert list(share_out(nodes, [full, *uneven], limits_changed=False).values()) == [10_000, 40_000, 16_000]
    of_a, of_b = {"granted": 40_000, "held": 40_000}, {"granted": 16_000, "held": 16_000}
    away = bearer("c", 50_000, reachable=False)
    assert shares(bearer("a", 11_000, **of_a), bearer("b", 11_000, **of_b), away) == [40_000, 16_000, 0]


def test_while_others_have_not_accepted_less_all_keep_what_they_have() -> None:
    lowered = bearer("a", 50_000, granted=30_000, held=61_000)
    assert shares(lowered, bearer("b", 50_000, granted=5_000, held=5_000), bearer("c")) == [30_000, 5_000, 0]
    assert shares(lowered, bearer("b", 50_000, granted=5_000, held=5_000), bearer("c", 50_000)) == [20_000, 5_000, 0]
    drawing = bearer("c", 50_000, drawn=10_000)
    assert shares(lowered, bearer("b", 50_000, granted=5_000, held=5_000), drawing) == [25_000, 5_000, 10_000]


def test_one_that_has_not_accepted_less_yet_may_have_it_again() -> None:
    held = bearer("a", 30_000, granted=20_000, held=30_000)
    assert shares(held, bearer("b", 30_000, granted=40_000, held=40_000)) == [30_000, 30_000]


def test_one_that_does_not_accept_less_in_time_keeps_it_from_the_others() -> None:
    """It is named while it draws more than it is to have; its own share is as if it obeyed."""
    late = {"granted": 20_000, "held": 50_000, "late": True}
    other = bearer("b", 50_000, granted=40_000, held=40_000)
    assert shares(bearer("a", 50_000, **late), other) == [30_000, 10_000]
    assert [bearer("a", drawn=drawn, **late).beyond for drawn in (20_500, 20_501, 50_000)] == [0, 501, 30_000]
    assert shares(bearer("a", 50_000, drawn=55_000, **late), other) == [30_000, 5_000]
    assert shares(bearer("a", 50_000, drawn=45_000, **late), other) == [30_000, 10_000]
    away = bearer("a", reachable=False, **late)
    assert shares(away, other) == [20_000, 10_000]


def test_what_a_station_draws_beyond_its_share_is_taken_from_the_others() -> None:
    two = {"granted": 30_000, "held": 30_000}
    thief = bearer("a", 50_000, drawn=45_000, **two)
    assert thief.beyond == 15_000
    assert shares(thief, bearer("b", 50_000, **two)) == [30_000, 15_000]


def test_a_meter_may_be_a_little_wrong() -> None:
    for drawn, beyond in ((30_700, 0), (30_701, 701)):
        assert bearer("a", granted=30_000, held=30_000, drawn=drawn).beyond == beyond


def test_a_station_that_has_accepted_nothing_yet_keeps_what_it_draws_as_far_as_that_is_fair() -> None:
    assert shares(bearer("a", 50_000, drawn=10_000), bearer("b", 60_000)) == [10_000, 50_000]
    assert shares(bearer("a", 50_000, drawn=50_000), bearer("b", 60_000)) == [30_000, 10_000]


def test_one_that_was_lowered_does_not_rise_while_it_draws_too_much() -> None:
    """It has accepted nothing yet: its reading is of before, or it does not obey."""
    lowered = bearer("a", 50_000, granted=25_000, drawn=33_000)
    assert shares(lowered, bearer("b", 50_000, granted=30_000, held=30_000)) == [25_000, 27_000]


def test_an_unreachable_station_keeps_what_it_may_have() -> None:
    away = bearer("a", reachable=False, granted=20_000, held=35_000)
    assert shares(away, bearer("b", 60_000)) == [20_000, 25_000]


# -- stations


def used(station_id: str, power_w: int | None = 0, **more: Any) -> EvseUse:
    """The use of a station's first EVSE."""
    rest = {"rated_w": (0, 0), "received_ms": 0, "import_w": 0, "export_w": 0, "setpoint_w": None, "evse_id": 1}
    return EvseUse(station_id=station_id, power_w=power_w, **rest | more)


def accept(share: StationShare, now_ms: int) -> StationShare:
    return msgspec.structs.replace(share, held_import_w=share.import_w, held_export_w=share.export_w, since_ms=now_ms)


def test_a_sites_stations_are_beyond_only_together_in_import_and_each_in_export() -> None:
    """Its balancer moves power between them."""
    sites, limits = [yard("row", "row")], [limit(20_000), limit(20_000, direction="export")]
    found, _ = share_stations(limits, sites, [], [], {"A", "B"}, limits_changed=True, now_ms=0)
    held = [accept(each, 0) for each in found]
    assert [(each.node, each.site, each.import_w) for each in held] == [("feeder yard/row", "yard", 10_000)] * 2

    def beyond(first_w: int, second_w: int, received_ms: int = FOLLOWED_MS) -> Mapping[str, int]:
        use = [used(name, power_w, received_ms=received_ms) for name, power_w in (("A", first_w), ("B", second_w))]
        return share_stations(limits, sites, held, use, {"A", "B"}, limits_changed=False, now_ms=0)[1]

    assert beyond(19_000, 1_000) == {}
    assert beyond(19_000, 1_001) == {"A": 9_000}
    assert beyond(19_000, 5_000) == {"A": 9_000}
    assert beyond(-19_000, -1_000) == {"A": 9_000}
    assert beyond(19_000, 5_000, FOLLOWED_MS - 1) == {}


def test_a_station_outside_sites_has_a_share_of_its_own_and_is_new_once() -> None:
    found, _ = share_stations([limit(60_000)], [], [], [], {"A", "B"}, limits_changed=False, now_ms=7)
    assert found == [
        StationShare(station_id=name, node="all", site="", import_w=30_000, export_w=found[0].export_w, since_ms=7)
        for name in "AB"
    ]
    held = [msgspec.structs.replace(accept(each, 8), import_w=power_w, held_import_w=power_w)
            for each, power_w in zip(found, (35_000, 20_000), strict=True)]  # fmt: skip
    again, _ = share_stations([limit(60_000)], [], held, [], {"A", "B"}, limits_changed=False, now_ms=9)
    assert [each.import_w for each in again] == [35_000, 20_000]
    found, _ = share_stations([limit(60_000)], [], [], [used("A")], {"A", "B"}, limits_changed=False, now_ms=7)
    assert [(each.station_id, each.site) for each in found] == [("A", ""), ("B", "")]
    assert not StationShare(station_id="A", node="all").lowered, "nothing is less than nothing"


def test_a_station_that_is_absent_has_no_share() -> None:
    found, _ = share_stations(
        [limit(60_000)], [yard("row", "row")], [], [], {"A"}, limits_changed=True, absent={"B"}, now_ms=0
    )
    assert [(each.station_id, each.import_w) for each in found] == [("A", 43_470)]


def test_a_share_that_is_lowered_is_late_when_it_was_not_accepted_in_time() -> None:
    """From when on it was lowered first, in either direction; others get what it gives back, else not."""
    both = [limit(60_000), limit(6_000, direction="export")]
    found, _ = share_stations(both, [], [], [], {"A", "B"}, limits_changed=True, now_ms=0)
    held = [accept(each, 0) for each in found]
    lower = [limit(30_000), limit(6_000, direction="export")]
    found, _ = share_stations(lower, [], held, [], {"A", "B"}, limits_changed=True, now_ms=10_000)
    assert [(each.import_w, each.lowered_ms) for each in found] == [(15_000, 10_000)] * 2
    known = [found[0], accept(found[1], 10_001)]
    use = [used("A", 20_000, received_ms=9_000)]

    def after(now_ms: int, followed_ms: int = FOLLOWED_MS) -> tuple[list[tuple[int, int]], Mapping[str, int]]:
        shares, beyond = share_stations(
            lower, [], known, use, {"A", "B"}, followed_ms, limits_changed=False, now_ms=now_ms
        )
        return [(each.import_w, each.lowered_ms) for each in shares], beyond

    assert after(10_000 + FOLLOWED_MS - 1) == ([(15_000, 10_000)] * 2, {})
    assert after(10_000 + FOLLOWED_MS) == ([(15_000, 10_000), (0, 10_000 + FOLLOWED_MS)], {"A": 5_000})
    assert after(10_000 + FOLLOWED_MS, FOLLOWED_MS + 1)[1] == {}
    lower = [limit(30_000), limit(2_000, direction="export")]
    shares, _ = share_stations(lower, [], known, [], {"A", "B"}, limits_changed=True, now_ms=11_000)
    assert [(each.export_w, each.lowered_ms) for each in shares] == [(1_000, 10_000), (1_000, 11_000)]


def test_a_station_that_was_away_gets_the_time_to_accept_less_once_it_is_back() -> None:
    """Its last reading is from before; so is that of all stations after a restart of the back end."""
    found, _ = share_stations([limit(30_000)], [], [], [], {"A"}, limits_changed=True, now_ms=0)
    held, _ = share_stations([limit(15_000)], [], [accept(found[0], 0)], [], {"A"}, limits_changed=True, now_ms=10_000)
    use = [used("A", 20_000, received_ms=9_000)]

    def beyond(now_ms: int, connected: Mapping[str, int]) -> Mapping[str, int]:
        return share_stations(
            [limit(15_000)], [], held, use, connected, limits_changed=False, since_ms=connected, now_ms=now_ms
        )[1]

    assert beyond(60_000, {}) == {}
    assert beyond(60_000 + FOLLOWED_MS - 1, {"A": 60_000}) == {}
    assert beyond(60_000 + FOLLOWED_MS, {"A": 60_000}) == {"A": 5_000}


def test_a_station_is_beyond_by_the_worst_of_its_evses() -> None:
    """They stand at two feeders; what one feeds back is not what the other draws."""
    second = Place(station_id="A", evse_id=2, node="main", most_ma=32_000)
    site = yard("row")
    sites = [msgspec.structs.replace(site, places=(*site.places, second))]
    limits = [limit(20_000), limit(8_000, direction="export")]
    found, _ = share_stations(limits, sites, [], [], {"A"}, limits_changed=True, now_ms=0)
    held = [accept(each, 0) for each in found]
    assert [(each.node, each.export_w) for each in held] == [("feeder yard/main", 4_000), ("feeder yard/row", 4_000)]

    def beyond(row_w: int, main_w: int) -> Mapping[str, int]:
        use = [used("A", row_w, received_ms=FOLLOWED_MS), used("A", main_w, evse_id=2, received_ms=FOLLOWED_MS)]
        return share_stations(limits, sites, held, use, {"A"}, limits_changed=False, now_ms=0)[1]

    assert (beyond(-7_000, -9_000), beyond(-9_000, -7_000)) == ({"A": 5_000}, {"A": 5_000})
    assert beyond(-7_000, 3_000) == {"A": 3_000}


def test_set_points_come_first_among_stations_too() -> None:
    use = [used("A", import_w=50_000, setpoint_w=40_000), used("B", import_w=50_000)]
    found, _ = share_stations([limit(60_000)], [], [], use, {"A", "B"}, limits_changed=True, now_ms=0)
    assert [each.import_w for each in found] == [40_000, 20_000]
    more = [used("A", import_w=50_000, setpoint_w=70_000), use[1]]
    found, _ = share_stations([limit(60_000)], [], [], more, {"A", "B"}, limits_changed=True, now_ms=0)
    assert [each.import_w for each in found] == [30_000, 30_000], "what does not fit is no more than another need"
    back = [used("A", import_w=50_000), used("A", evse_id=2, setpoint_w=-10_000), used("B", import_w=80_000)]
    found, _ = share_stations([limit(120_000)], [], [], back, {"A", "B"}, limits_changed=True, now_ms=0)
    assert [each.import_w for each in found] == [50_000, 70_000], "what one feeds back the other does not need less"
    both = [used("A", import_w=50_000, setpoint_w=40_000), used("A", evse_id=2, import_w=50_000, setpoint_w=-10_000)]
    found, _ = share_stations([limit(60_000)], [], [], [*both, use[1]], {"A", "B"}, limits_changed=True, now_ms=0)
    assert [each.import_w for each in found] == [40_000, 20_000], "one feeds back, for which the other needs no less"


def judged(use: EvseUse, *, held: bool = True, suspects: Mapping[str, int] | None = None, now_ms: int = 10_000) -> Any:
    """The shares, import and export, of A with this use and of B, and who is beyond: A has 30 of 60 kW, sent at 5 s."""
    of_a = StationShare(station_id="A", node="all", import_w=30_000, export_w=3_000, since_ms=5_000)
    of_b = msgspec.structs.replace(accept(of_a, 5_000), station_id="B", held_import_w=30_000, held_export_w=3_000)
    known = [accept(of_a, 5_000) if held else of_a, of_b]
    limits = [limit(60_000), limit(6_000, direction="export")]
    found, beyond = share_stations(
        limits, [], known, [use], {"A", "B"}, limits_changed=False, suspects=suspects or {}, now_ms=now_ms
    )
    return [(each.import_w, each.export_w) for each in found], beyond


def test_a_station_needs_at_least_what_one_of_its_vehicles_does() -> None:
    def of(*use: EvseUse) -> list[int]:
        found, _ = share_stations([limit(6_000)], [], [], [*use], {"A", "B"}, limits_changed=True, now_ms=10_000)
        return [each.import_w for each in found]

    car = {"import_w": 11_000, "least_w": 4_140}
    other = used("B", **car)
    assert of(used("A", **car), other) == [6_000, 0]
    assert of(used("A", **car), used("A", evse_id=2, import_w=11_000, least_w=1_380), other) == [1_860, 4_140]
    other = used("B", import_w=11_000, least_w=1_380)
    assert of(used("A", import_w=0, least_w=4_140), other) == [0, 6_000], "it wants nothing"
    assert of(used("A", setpoint_w=1_000, **car), other) == [1_000, 5_000], "it gets what it draws"
    limits = [limit(6_000, direction="export")]
    both = [used(name, **car, export_w=5_000) for name in "AB"]
    found, _ = share_stations(limits, [], [], both, {"A", "B"}, limits_changed=True, now_ms=10_000)
    assert [each.export_w for each in found] == [3_000, 3_000], "it is the least that it takes, not gives"


@pytest.mark.requirement("R193")
def test_an_unknown_power_is_what_was_permitted_else_all_that_the_evse_can() -> None:
    unknown = used("A", None, rated_w=(50_000, 5_000), import_w=30_000)
    calm = [(30_000, 3_000)] * 2, {}
    assert judged(unknown) == calm
    before = 5_000 + FOLLOWED_MS - 1
    assert judged(unknown, held=False, now_ms=before) == calm, "it had no time to accept"
    assert judged(unknown, held=False, now_ms=before + 1) == ([(30_000, 3_000), (10_000, 1_000)], {})
    assert judged(unknown, suspects={"A": 9_000}) == ([(30_000, 3_000), (21_000, 0)], {"A": 9_000}), "nor obeys it now"


def test_two_evses_of_a_station_are_added_up_and_the_unknown_one_is_within_what_was_permitted() -> None:
    def drawn(*use: EvseUse, **share: int | None) -> Any:
        of_a = accept(StationShare(station_id="A", node="all", import_w=30_000, export_w=3_000), 0)
        known = [msgspec.structs.replace(of_a, **share)]
        return share_stations([limit(30_000)], [], known, use, {"A"}, limits_changed=False, now_ms=FOLLOWED_MS)[1]

    recent = {"received_ms": FOLLOWED_MS}
    assert drawn(used("A", 45_000, **recent), used("A", -9_000, evse_id=2, **recent)) == {"A": 15_000}
    assert drawn(used("A", 45_000, **recent), used("A", None, evse_id=2)) == {"A": 15_000}
    assert drawn(used("A", None), held_import_w=25_000) == {}
    assert drawn(used("A", None), import_w=25_000, lowered_ms=FOLLOWED_MS) == {}
    assert drawn(used("A", None), import_w=20_000) == {"A": 10_000}, "it was to accept less, and may draw what it had"
    assert judged(used("A", None), suspects={"A": 9_000})[1] == {"A": 9_000}
    of_a = StationShare(station_id="A", node="all", import_w=30_000, export_w=0, held_import_w=25_000)
    about = [limit(30_000)], [], [of_a], [used("A", None)], {"A"}
    assert share_stations(*about, limits_changed=False, suspects={"A": 9_000}, now_ms=0)[1] == {"A": 9_000}


@pytest.mark.requirement("R193")
def test_what_one_draws_counts_at_once_while_it_has_accepted_nothing() -> None:
    before = used("A", 45_000, received_ms=5_000, import_w=30_000)
    assert judged(before, held=False) == ([(30_000, 3_000), (15_000, 3_000)], {})


@pytest.mark.requirement("R193")
def test_one_that_did_not_obey_does_not_until_a_reading_says_otherwise() -> None:
    """What it has accepted since does not make it obey; for any other one a reading of before says nothing."""
    before = used("A", 45_000, received_ms=5_000, import_w=30_000)
    assert judged(before)[1] == {}
    assert judged(before, suspects={"A": 1}) == ([(30_000, 3_000), (15_000, 3_000)], {"A": 15_000})
    obeys = msgspec.structs.replace(before, power_w=29_000)
    assert judged(obeys, suspects={"A": 1})[1] == {}


def test_a_set_point_is_what_a_vehicle_needs_in_its_direction_only() -> None:
    use = [
        used("A", import_w=50_000, export_w=9_000, setpoint_w=-4_000),
        used("B", import_w=50_000, export_w=9_000),
        used("C", import_w=50_000, export_w=9_000, setpoint_w=7_000),
    ]
    limits = [limit(40_000), limit(10_000, direction="export")]
    found, _ = share_stations(limits, [], [], use, set("ABC"), limits_changed=True, now_ms=0)
    assert [(each.import_w, each.export_w) for each in found] == [(0, 4_000), (33_000, 6_000), (7_000, 0)]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Site], list[GridLimit], list[str]]:
    """Sites with trees of feeders, stations within and without, and limits at any points."""
    sites, names, watts = [], iter("ABCDEFGHIJKLMNOP"), st.integers(0, 60_000)
    for number in range(draw(st.integers(0, 2))):
        nodes = [Node(id="n0", limits=(draw(st.sampled_from([40_000, 100_000])),) * 3)]
        for at in range(1, draw(st.integers(1, 4))):
            parent = f"n{draw(st.integers(0, at - 1))}"
            nodes.append(Node(id=f"n{at}", parent=parent, limits=(draw(st.sampled_from([20_000, 63_000])),) * 3))
        homes = draw(st.lists(st.sampled_from([each.id for each in nodes]), min_size=1, max_size=4))
        stands = tuple(Place(station_id=next(names), evse_id=1, node=home, most_ma=32_000) for home in homes)
        sites.append(Site(id=f"s{number}", nodes=tuple(nodes), places=stands))
    alone = [next(names) for _ in range(draw(st.integers(0 if sites else 1, 4)))]
    points = sorted({point for each in chains(sites).values() for point in each} | {ALL}, key=str)
    found = [limit(draw(watts), draw(st.sampled_from(points)), draw(st.sampled_from(["import", "export"])))
             for _ in range(draw(st.integers(0, 4)))]  # fmt: skip
    stations = [place.station_id for site in sites for place in site.places] + alone
    return sites, [limit(draw(watts)), limit(draw(watts), direction="export"), *found], stations


def paths(nodes: Sequence[Node]) -> dict[str, list[str]]:
    parents = {each.id: each.parent for each in nodes}
    found = {}
    for name in parents:
        path, at = [name], parents[name]
        while at is not None:
            path.append(at)
            at = parents[at]
        found[name] = path
    return found


def loads(shares: Sequence[StationShare], values: Mapping[str, int], nodes: Sequence[Node]) -> dict[str, int]:
    above, total = paths(nodes), {each.id: 0 for each in nodes}
    for each in shares:
        for name in above[each.node]:
            total[name] += values[each.station_id]
    return total


@pytest.mark.requirement("R193")
@given(worlds(), st.data())
def test_sums_are_within_every_limit_fair_and_lowered_before_raised(
    world: tuple[list[Site], list[GridLimit], list[str]], data: st.DataObject
) -> None:
    """Stations accept in any order, or not, or are away for a while; needs and limits change in between."""
    sites, limits, names = world
    watts = st.integers(0, 50_000)
    shares: list[StationShare] = []
    now_ms, limits_changed = 0, True
    for turn in range(8):
        now_ms += 10_000
        if turn == 4:  # the limits of the same points change
            limits = [msgspec.structs.replace(each, limit_w=data.draw(watts)) for each in limits]
            limits_changed = True
        if turn in (0, 2, 4):
            needs = {name: (data.draw(watts), data.draw(watts)) for name in names}
        calm = turn >= 5
        use = [used(name, import_w=needs[name][0], export_w=needs[name][1]) for name in names]
        here = set(names) if calm else set(data.draw(st.lists(st.sampled_from(names), min_size=1)))
        old = {each.station_id: each for each in shares}
        shares, _ = share_stations(limits, sites, shares, use, here, limits_changed=limits_changed, now_ms=now_ms)
        limits_changed = False
        assert {each.station_id for each in shares} == set(names)
        for direction in ("import", "export"):
            nodes = tree(limits, sites, direction)

            def may(each: StationShare | None, direction: str = direction) -> int:
                held = None if each is None else getattr(each, f"held_{direction}_w")
                return max(0 if each is None else getattr(each, f"{direction}_w"), held or 0)

            before = loads(shares, {name: may(old.get(name)) for name in names}, nodes)
            after = loads(shares, {each.station_id: may(each) for each in shares}, nodes)
            for node in nodes:
                assert after[node.id] <= max(node.limits[0], before[node.id]), (node.id, direction)
        shares = [
            accept(each, now_ms) if each.station_id in here and (calm or data.draw(st.booleans())) else each
            for each in shares
        ]
    for direction, number in (("import", 0), ("export", 1)):
        nodes = tree(limits, sites, direction)  # type: ignore[arg-type]
        given_w = {each.station_id: getattr(each, f"{direction}_w") for each in shares}
        total, above = loads(shares, given_w, nodes), paths(nodes)
        carried_w = {each.id: each.limits[0] for each in nodes}
        assert all(total[name] <= carried_w[name] for name in carried_w)
        for each in shares:
            if given_w[each.station_id] < needs[each.station_id][number]:  # then a full node has none with more
                assert any(
                    total[name] == carried_w[name]
                    and all(
                        given_w[beside.station_id] <= given_w[each.station_id] + 1
                        for beside in shares
                        if name in above[beside.node]
                    )
                    for name in above[each.node]
                ), (each, direction)


# -- what flows


def test_what_flows_is_summed_at_every_point_before_an_evse() -> None:
    limits = [
        limit(10_000),
        limit(5_000, ROW),
        limit(2_000, EVSE, "export"),
        limit(9_000, YARD, until_ms=7, source="x"),
    ]
    powers = [
        PointPower("A", 1, 3_000),
        PointPower("B", 1, 4_000),
        PointPower("C", 1, -1_000),
        PointPower("Z", 1, 2_000),
        PointPower("Z", 2, None),
        PointPower("A", 1, None),
    ]
    found = states(limits, [yard()], powers)
    assert [(each.flow_w, each.unknown, each.left_w) for each in found] == [
        (8_000, 2, 2_000),
        (7_000, 1, -2_000),
        (3_000, 1, 5_000),
        (6_000, 1, 3_000),
    ]
    assert [each.subject for each in found] == [
        "import",
        "feeder yard/row import",
        "EVSE A/1 export",
        "site yard import",
    ]
    assert (found[3].until_ms, found[3].source, found[0].until_ms) == (7, "x", LAST_MS)


@pytest.mark.parametrize(
    ("drawn_w", "first"),
    [
        (0, "site yard import"),  # 9 kW are 13 A on each phase
        (6_000, "site yard import"),
        (-1_000, "site yard export"),
        (-6_000, "site yard export"),
    ],
)
def test_limits_by_phase_and_of_all_phases_compare_by_what_is_left_on_each(drawn_w: int, first: str) -> None:
    limits = [
        limit(None, ROW, phases_ma=(20_000, 20_000, 20_000)),
        limit(9_000, YARD),
        limit(0, YARD, direction="export"),
    ]
    found = tightest(states(limits, [yard()], [PointPower("A", 1, drawn_w)]))
    assert (found[0].subject, len(found)) == (first, 3)


def test_a_limit_that_one_phase_exceeds_is_first_though_the_others_flow_the_other_way() -> None:
    limits = [limit(None, YARD, direction="export", phases_ma=(9_000,) * 3), limit(20_000, YARD)]
    powers = [PointPower("A", 1, 6_900, "1"), PointPower("B", 1, -2_300, "2")]
    found = tightest(states(limits, [yard()], powers))
    assert [(each.subject, each.flow_w, each.left_w < 0) for each in found] == [
        ("site yard export", 4_600, True), ("site yard import", 4_600, False),
    ]  # fmt: skip


def test_by_phase_the_worst_one_counts_and_each_is_the_sites_own() -> None:
    site = Site(id="yard", nodes=yard().nodes, places=places("row", phases=("L2", "L3", "L1")))
    by_phase = limit(None, ROW, phases_ma=(10_000, 10_000, 10_000))
    for power_w, lines, flow_ma in (
        (2_300, "1", (0, 10_000, 0)),
        (4_600, "13", (10_000, 10_000, 0)),
        (2_300, "2", (0, 0, 10_000)),
        (6_900, "", (10_000, 10_000, 10_000)),
    ):
        (found,) = states([by_phase], [site], [PointPower("A", 1, power_w, lines)])
        assert (found.left_w, found.flow_ma) == (0, flow_ma)
        assert (found.phases_ma, found.watts) == ((10_000,) * 3, 6_900)
    (found,) = states([by_phase], [site], [])
    assert (found.left_w, found.flow_w, found.unknown) == (2_300, 0, 0)
    (found,) = states([limit(4_000, ROW)], [site], [])
    assert (found.watts, found.worst) == (4_000, None)
    first = msgspec.structs.replace(by_phase, phases_ma=(1_000, 10_000, 20_000))
    (found,) = states([first], [site], [PointPower("A", 1, 2_300, "1"), PointPower("A", None, 9_000)])
    assert (found.left_w, found.worst) == (0, ("L2", 0))
    (found,) = states([first], [site], [PointPower("A", 1, 6_900)])
    assert (found.left_w, found.worst) == (-9_000 * 230 // 1000, ("L1", -9_000))
    (found,) = states([msgspec.structs.replace(first, direction="export")], [site], [PointPower("A", 1, -6_900)])
    assert (found.left_w, found.worst) == (-9_000 * 230 // 1000, ("L1", -9_000))
