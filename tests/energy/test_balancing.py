"""Sharing a site: never above a limit, and max-min fair, against raising the lowest load one unit at a time."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.balancing import PHASES, Limits, Load, Node, changes, check_tree, needed_ma, overload, share


@st.composite
def sites(draw: st.DrawFn) -> tuple[list[Node], list[Load]]:
    """A tree of few nodes with small limits, and loads on it."""
    limit = st.integers(0, 60)
    unbalance = st.none() | st.integers(0, 30)
    nodes = [Node(id="0", limits=(draw(limit), draw(limit), draw(limit)), unbalance=draw(unbalance))]
    for number in range(1, draw(st.integers(1, 4))):
        parent = str(draw(st.integers(0, number - 1)))
        limits = (draw(limit), draw(limit), draw(limit))
        nodes.append(Node(id=str(number), parent=parent, limits=limits, unbalance=draw(unbalance)))
    loads = [
        Load(
            id=f"v{number}",
            node=draw(st.sampled_from(nodes)).id,
            phases=draw(st.sampled_from([(0, 1, 2), (0,), (1,), (2,), (0, 2)])),
            least=draw(st.integers(0, 8)),
            most=draw(st.integers(0, 40)),
            needed=draw(st.integers(0, 20)),
            priority=draw(st.integers(0, 2)),
            since_ms=number,
            running=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 6)))
    ]
    return nodes, loads


def above(nodes: list[Node], node: str | None) -> list[str]:
    found = []
    while node is not None:
        found.append(node)
        node = next(each.parent for each in nodes if each.id == node)
    return found


def unbalanced(nodes: list[Node], loads: list[Load], given_: dict[str, int]) -> bool:
    """Whether a part of the loads alone can exceed a node's unbalance: the others may cease to draw."""
    for node in nodes:
        here = [load for load in loads if node.id in above(nodes, load.node) and given_[load.id]]
        for count in range(1, len(here) + 1) if node.unbalance is not None else ():
            for some in itertools.combinations(here, count):
                sums = [sum(given_[load.id] for load in some if phase in load.phases) for phase in PHASES]
                if max(sums) - min(sums) > (node.unbalance or 0):
                    return True
    return False


def within(nodes: list[Node], loads: list[Load], given_: dict[str, int]) -> bool:
    return not unbalanced(nodes, loads, given_) and all(
        sum(given_[load.id] for load in loads if phase in load.phases and node.id in above(nodes, load.node))
        <= node.limits[phase]
        for node in nodes
        for phase in PHASES
    )


def by_units(nodes: list[Node], loads: list[Load]) -> dict[str, int]:
    """The rules in so many words: admit one by one, then raise the lowest that can be raised, one unit at a time."""
    found = {load.id: 0 for load in loads}
    order = sorted(loads, key=lambda each: (not each.running, -each.priority, -each.needed, each.since_ms, each.id))
    admitted = []
    for load in order:
        if load.most >= load.least and within(nodes, loads, {**found, load.id: load.least}):
            found[load.id] = load.least
            admitted.append(load)
    for needed in (True, False):
        for priority in (2, 1, 0):
            tier = [load for load in admitted if load.priority == priority]
            while True:
                can = [
                    load
                    for load in tier
                    if found[load.id] < (min(load.needed, load.most) if needed else load.most)
                    and within(nodes, loads, {**found, load.id: found[load.id] + 1})
                ]
                if not can:
                    break
                lowest = min(found[load.id] for load in can)
                found[next(load.id for load in can if found[load.id] == lowest)] += 1
    return found


@pytest.mark.requirement("R57")
@settings(max_examples=40, deadline=None)
@given(sites())
def test_shares_are_those_of_raising_the_lowest_unit_by_unit(site: tuple[list[Node], list[Load]]) -> None:
    nodes, loads = site
    assert share(nodes, loads) == by_units(nodes, loads)


@pytest.mark.requirement("R57")
@settings(max_examples=25, deadline=None)
@given(sites(), st.data())
def test_no_limit_is_ever_exceeded_and_fixed_loads_keep_what_they_have(
    site: tuple[list[Node], list[Load]], data: st.DataObject
) -> None:
    nodes, loads = site
    kept = [
        Load(id=each.id, node=each.node, phases=each.phases, most=each.most, fixed=data.draw(st.integers(0, 30)))
        if data.draw(st.booleans())
        else each
        for each in loads
    ]
    fixed = {each.id: each.fixed or 0 if each.fixed is not None else 0 for each in kept}
    found = share(nodes, kept)
    assert all(found[each.id] == each.fixed for each in kept if each.fixed is not None)
    if within(nodes, kept, fixed):
        assert within(nodes, kept, found)
    for each in kept:
        if each.fixed is None:
            assert found[each.id] == 0 or each.least <= found[each.id] <= each.most


def load(name: str, **more: object) -> Load:
    return Load(**{"id": name, "node": "main", "most": 32_000, **more})  # type: ignore[arg-type]


MAIN = [Node(id="main", limits=(40_000, 40_000, 40_000))]


def test_equals_share_equally_and_what_one_cannot_take_goes_to_the_others() -> None:
    assert share(MAIN, [load("a"), load("b")]) == {"a": 20_000, "b": 20_000}
    assert share(MAIN, [load("a", most=10_000), load("b")]) == {"a": 10_000, "b": 30_000}


def test_phases_are_looked_at_one_by_one() -> None:
    found = share(MAIN, [load("one", phases=(0,)), load("two", phases=(1,)), load("three")])
    assert found == {"one": 20_000, "two": 20_000, "three": 20_000}
    found = share(MAIN, [load("one", phases=(0,)), load("other", phases=(1,), most=16_000)])
    assert found == {"one": 32_000, "other": 16_000}


@pytest.mark.requirement("R192")
def test_phases_differ_by_no_more_than_a_node_allows_whoever_ceases_to_draw() -> None:
    """4.6 kVA: a vehicle on one phase gets 20 A, two on one phase share them, one on three phases is not concerned."""
    german = [Node(id="main", limits=(63_000,) * 3, unbalance=20_000)]
    assert share(german, [load("one", phases=(0,))]) == {"one": 20_000}
    found = share(german, [load("one", phases=(0,)), load("two", phases=(0,)), load("three")])
    assert found == {"one": 10_000, "two": 10_000, "three": 32_000}
    found = share(german, [load(name, phases=(phase,)) for phase, name in enumerate("abc")])
    assert found == {"a": 20_000, "b": 20_000, "c": 20_000}
    found = share(german, [load("pair", phases=(0, 1)), load("one", phases=(1,))])
    assert found == {"pair": 10_000, "one": 10_000}  # both on L2, neither on L3


def test_priority_and_departure_come_before_equality() -> None:
    assert share(MAIN, [load("a", priority=1), load("b")]) == {"a": 32_000, "b": 8_000}
    assert share(MAIN, [load("a", needed=28_000), load("b")]) == {"a": 28_000, "b": 12_000}


def test_who_does_not_fit_waits_and_who_runs_goes_on() -> None:
    small = [Node(id="main", limits=(10_000, 10_000, 10_000))]
    assert share(small, [load("early", since_ms=1), load("late", since_ms=2)]) == {"early": 10_000, "late": 0}
    assert share(small, [load("early", since_ms=1), load("late", since_ms=2, running=True)])["late"] == 10_000


def test_who_needs_most_to_be_ready_is_admitted_first_and_then_who_came_first() -> None:
    small = [Node(id="main", limits=(10_000, 10_000, 10_000))]
    assert share(small, [load("a", needed=7_000), load("b", needed=9_000)]) == {"a": 0, "b": 10_000}
    assert share(small, [load("a", since_ms=2), load("b", since_ms=1)]) == {"a": 0, "b": 10_000}


def test_a_load_needs_6_a_and_nothing_by_a_time_unless_it_says_so() -> None:
    found = Load(id="a", node="main", most=32_000)
    assert (found.least, found.needed, found.priority, found.since_ms) == (6_000, 0, 0, 0)
    assert (found.phases, found.running, found.fixed) == ((0, 1, 2), False, None)


@pytest.mark.parametrize(
    ("leaf_ma", "root_ma", "shares"),
    [
        (20_000, 30_001, (10_000, 10_000, 10_001)),
        (20_001, 30_001, (10_001, 10_000, 10_000)),
        (20_001, 30_002, (10_001, 10_000, 10_001)),
        (20_000, 30_000, (10_000, 10_000, 10_000)),
        (20_000, 40_000, (10_000, 10_000, 20_000)),
    ],
)
def test_the_last_milliamperes_go_to_those_on_whose_whole_way_there_is_one(
    leaf_ma: int, root_ma: int, shares: tuple[int, int, int]
) -> None:
    nodes = [Node(id="main", limits=(root_ma,) * 3), Node(id="leaf", parent="main", limits=(leaf_ma,) * 3)]
    found = share(nodes, [load("a", node="leaf"), load("b", node="leaf"), load("c")])
    assert tuple(found.values()) == shares


def test_two_of_three_get_what_is_left_of_three() -> None:
    main = [Node(id="main", limits=(30_002,) * 3)]
    found = share(main, [load("a"), load("b"), load("c")])
    assert found == {"a": 10_001, "b": 10_001, "c": 10_000}


def test_there_is_no_room_where_fixed_loads_exceed_a_limit() -> None:
    limits = Limits(MAIN, [load("a")])
    limits.draw(limits.through["a"], 39_999)
    assert limits.room(limits.through["a"]) == 1
    limits.draw(limits.through["a"], 10_000)
    assert limits.room(limits.through["a"]) == 0


def test_a_tree_that_is_none_is_refused() -> None:
    one = (1, 1, 1)
    for nodes in (
        [Node(id="a", limits=one), Node(id="a", limits=one)],
        [Node(id="a", parent="b", limits=one)],
        [Node(id="a", parent="b", limits=one), Node(id="b", parent="a", limits=one)],
    ):
        with pytest.raises(ValueError, match="node"):
            check_tree(nodes)
        with pytest.raises(ValueError, match="node"):
            share(nodes, [])
    for more in ({"node": "elsewhere"}, {"phases": ()}, {"phases": (0, 3)}):
        with pytest.raises(ValueError, match="load a has no node or no phase"):
            share(MAIN, [load("a", **more)])


def test_the_current_needed_brings_the_energy_in_time() -> None:
    assert needed_ma(0, 3600, 3) == 0
    assert needed_ma(6900, 3600, 3) == 10_001
    assert needed_ma(10**9, 0, 1) == 10_000_000
    assert needed_ma(1, 3600, 1) == 5
    assert needed_ma(1, 0.5, 1) == needed_ma(1, 1, 1) == 15_653


@together(
    ("old", "new", "lowered", "raised"),
    [
        (6_000, 6_000, None, None),
        (6_000, 5_999, 5_999, None),
        (6_000, 0, 0, None),
        (6_000, None, 0, None),
        (6_000, 6_499, None, None),
        (6_000, 6_500, None, 6_500),
        (1, 501, None, 501),
        (0, 0, None, None),
        (0, 1, None, 1),
        (0, None, None, None),
        (None, 0, None, None),
        (None, 1, None, 1),
    ],
)
def test_a_raise_below_half_an_ampere_is_left_alone_unless_it_begins(
    old: int | None, new: int | None, lowered: int | None, raised: int | None
) -> None:
    given_, wanted = ({} if each is None else {"a": each} for each in (old, new))
    lower, raises = changes(given_, wanted)
    assert ([each.limit for each in lower], [each.limit for each in raises]) == (
        [] if lowered is None else [lowered],
        [] if raised is None else [raised],
    )


def test_lowering_comes_before_raising_and_little_is_left_alone() -> None:
    lower, raises = changes({"a": 20_000, "b": 6000, "gone": 5}, {"a": 16_000, "b": 6400, "c": 6000})
    assert [(each.load, each.limit) for each in lower] == [("a", 16_000), ("gone", 0)]
    assert [(each.load, each.limit) for each in raises] == [("c", 6000)]


@pytest.mark.requirement("R55")
def test_1000_vehicles_that_start_one_by_one_or_at_once_stay_below_the_transformer_at_every_step() -> None:
    """Each message of a new distribution arrives on its own: what vehicles may draw never exceeds the limit."""
    limit_ma = 3_600_000  # 2,500 kVA
    transformer = Node(id="transformer", limits=(limit_ma,) * 3)
    loads = [
        Load(id=str(n), node="transformer", most=(16_000, 32_000)[n % 2], needed=n % 9 * 1_000, since_ms=n)
        for n in range(1000)
    ]
    given: dict[str, int] = {}
    total = 0
    for present in (300, 301, 1000, 700):  # the last 300 leave
        wanted = share([transformer], loads[:present])
        assert sum(wanted.values()) <= limit_ma
        lower, raises = changes(given, wanted)
        for change in (*lower, *raises):
            total += change.limit - given.get(change.load, 0)
            given[change.load] = change.limit
            assert total <= limit_ma
    assert total > 0.99 * limit_ma


@pytest.mark.requirement("R192")
@settings(max_examples=40, deadline=None)
@given(sites(), st.data())
def test_an_overload_is_found_exactly_where_what_loads_may_draw_exceeds_a_limit(
    site: tuple[list[Node], list[Load]], data: st.DataObject
) -> None:
    nodes, loads = site
    drawn = {each.id: data.draw(st.integers(0, 40)) for each in loads}
    found = overload(nodes, loads, drawn)
    assert (found is None) is within(nodes, loads, drawn)
    if found is not None:
        node = next(each for each in nodes if each.id == found.node)
        here = [each for each in loads if node.id in above(nodes, each.node) and found.phase in each.phases]
        bound = node.limits[found.phase] if found.other is None else node.unbalance or 0
        assert found.excess_ma == sum(drawn[each.id] for each in here if found.other not in each.phases) - bound
