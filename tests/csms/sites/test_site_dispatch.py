"""Dispatch on a balanced site: its limits hold in both directions, whoever uses them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.sites.rules import Known, Place, PowerRange, Site, bound, current_of, loads_of, phases_of
from csms.transactions.rules import Transaction
from v2g.energy.balancing import PHASES, Node
from v2g.energy.conductors import VOLTAGE


def node(name: str, amperes: int, parent: str | None = None, back: int | None = None) -> Node:
    limit, feed_back = amperes * 1000, None if back is None else back * 1000
    return Node(
        id=name,
        parent=parent,
        limits=(limit, limit, limit),
        feed_back=None if feed_back is None else (feed_back, feed_back, feed_back),
    )


def place(number: int, at: str = "grid", **more: object) -> Place:
    return Place(station_id=f"CS-{number}", evse_id=1, node=at, most_ma=32_000, **more)  # type: ignore[arg-type]


def charging(dispatch_w: int | None = None) -> Known:
    return Known(
        transaction=Transaction(station_id="CS", transaction_id="T", first_seq=0, last_seq=0),
        connected=True,
        dispatch_w=dispatch_w,
    )


ABLE = PowerRange(most_w=22_080, most_out_w=22_080)  # 32 A on three phases of 230 V


def test_what_others_were_given_is_not_dispatched_and_feeding_back_has_its_own_limit() -> None:
    site = Site(id="s", nodes=(node("grid", 40, back=10),), places=(place(1), place(2), place(3)))
    known = {f"CS-{number}/1": charging() for number in (1, 2, 3)}
    allowed = bound(site, known, {"CS-3/1": 20_000}, {"CS-1/1": ABLE, "CS-2/1": ABLE}, 0)
    assert allowed == {name: PowerRange(most_w=6_900, most_out_w=3_450) for name in ("CS-1/1", "CS-2/1")}


def test_who_feeds_back_already_uses_up_what_may_be_fed_back() -> None:
    site = Site(id="s", nodes=(node("grid", 40),), places=(place(1), place(2)))
    known = {"CS-1/1": charging(), "CS-2/1": charging(-20_700)}  # 30 A
    assert bound(site, known, {}, {"CS-1/1": ABLE}, 0)["CS-1/1"].most_out_w == 6_900
    known = {"CS-1/1": charging(), "CS-2/1": charging(20_700)}  # who draws may stop at any moment
    assert bound(site, known, {}, {"CS-1/1": ABLE}, 0) == {"CS-1/1": PowerRange(most_w=6_900, most_out_w=22_080)}


def test_a_vehicle_that_is_dispatched_is_reckoned_with_its_set_point_and_what_it_had() -> None:
    site = Site(id="s", nodes=(node("grid", 40),), places=(place(1), place(2), place(3)))
    known = {"CS-1/1": charging(13_800), "CS-2/1": charging(-5_000), "CS-3/1": charging()}
    loads = {load.id: load.fixed for load in loads_of(site, known, {"CS-2/1": 8_000}, 0)}
    assert loads == {"CS-1/1": 20_000, "CS-2/1": 8_000, "CS-3/1": None}


@st.composite
def yards(draw: st.DrawFn) -> tuple[Site, dict[str, Known], dict[str, int], dict[str, PowerRange]]:
    limits = st.integers(0, 60)
    nodes = (
        node("grid", draw(limits), back=draw(st.none() | limits)),
        node("row", draw(limits), "grid", back=draw(st.none() | limits)),
    )
    phases = st.sampled_from([("L1",), ("L2", "L3"), ("L1", "L2", "L3"), ("L3", "L1", "L2")])
    places = tuple(
        place(number, draw(st.sampled_from(["grid", "row"])), phases=draw(phases)) for number in range(draw(limits) % 6)
    )
    site = Site(id="s", nodes=nodes, places=places)
    known = {each.id: charging(draw(st.none() | st.integers(-9_000, 9_000))) for each in places}
    chosen = [each.id for each in places if draw(st.booleans())]
    watts = st.integers(0, 22_000)
    return site, known, {}, {name: PowerRange(most_w=draw(watts), most_out_w=draw(watts)) for name in chosen}


@pytest.mark.long
@given(yards())
def test_whatever_is_dispatched_within_the_bounds_no_node_is_overloaded(
    yard: tuple[Site, dict[str, Known], dict[str, int], dict[str, PowerRange]],
) -> None:
    site, known, given_, ranges = yard
    allowed = bound(site, known, given_, ranges, 0)
    parents = {each.id: each.parent for each in site.nodes}
    for inward in (True, False):
        flows = {(each.id, phase): 0 for each in site.nodes for phase in PHASES}
        others = dict(flows)
        for each in site.places:
            dispatch_w = known[each.id].dispatch_w or 0
            if each.id in allowed:
                power = allowed[each.id].most_w if inward else allowed[each.id].most_out_w
                assert power <= (ranges[each.id].most_w if inward else ranges[each.id].most_out_w)
            else:
                power = max(0, dispatch_w if inward else -dispatch_w)
            at: str | None = each.node
            while at is not None:
                for phase in phases_of(each):
                    flows[at, phase] += power * 1000 // (VOLTAGE * len(each.phases))
                    others[at, phase] += 0 if each.id in allowed else current_of(power, each)
                at = parents[at]
        for each_node in site.nodes:
            limits = each_node.limits if inward or each_node.feed_back is None else each_node.feed_back
            for phase in PHASES:
                assert flows[each_node.id, phase] <= max(limits[phase], others[each_node.id, phase])
