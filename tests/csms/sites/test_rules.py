"""What EVSEs of a site may draw and give back, worked out by hand: 230 V, mA on each phase."""

from typing import Any, Literal

import msgspec
import pytest

from csms.sites.rules import (
    WANTING,
    Balancing,
    Known,
    Overloads,
    Place,
    PowerRange,
    Site,
    beyond_w,
    bound,
    chosen_phases,
    current_of,
    external_limit_w,
    keeps_more,
    kept_shares,
    lines_in_use,
    loads_of,
    own_phases,
    phases_of,
)
from csms.smart_charging.rules import Needs
from csms.transactions.rules import Dated, Transaction
from tests.together import together
from v2g.energy.balancing import Load, Node
from v2g.ocpp.messages.charging_profiles import ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.smart_charging import ChargingLimit, NotifyChargingLimitRequest
from v2g.ocpp.times import parse_time

MAIN = Node(id="main", limits=(100_000,) * 3)
ONE = "S/1"
HOUR_MS = 3_600_000


def place(number: int = 1, **more: Any) -> Place:
    return Place(station_id="S", evse_id=number, **{"node": "main", "most_ma": 32_000, **more})


def site(*places: Place, **more: Any) -> Site:
    return Site(id="depot", places=places or (place(),), **{"nodes": (MAIN,), **more})


def charging(
    state: str | None = "Charging", *, lines: str = "", needs: dict[str, Any] | None = None,
    power_w: str | None = None, **more: Any,
) -> Known:  # fmt: skip
    found = Transaction(
        station_id="S", transaction_id="T", first_seq=0, last_seq=0, started_ms=7, lines=lines,
        charging_state=None if state is None else Dated(1, state),
        power_w=None if power_w is None else Dated(2, power_w),
    )  # fmt: skip
    wanted = None if needs is None else Needs(evse_id=1, **{"requested": "AC_three_phase", **needs})
    return Known(transaction=found, needs=wanted, **{"connected": True, **more})


def load(known: Known, given: int | None = None, **more: Any) -> Load | None:
    """Return what the only place of a site is reckoned with."""
    found = loads_of(site(place(**more)), {ONE: known}, {} if given is None else {ONE: given}, 0)
    assert len(found) <= 1
    return found[0] if found else None


def test_a_site_is_checked_as_it_is_made() -> None:
    for wrong, said in (
        ({"places": (place(node="other"),)}, "S/1 has no node, no phase, or a duplicate phase"),
        ({"places": (place(phases=()),)}, "S/1 has no node, no phase, or a duplicate phase"),
        ({"places": (place(phases=("L1", "L1")),)}, "S/1 has no node, no phase, or a duplicate phase"),
        ({"places": (place(), place(2), place())}, "an EVSE is listed twice"),
        ({"nodes": (MAIN, MAIN)}, "two nodes have the same id"),
        ({"zone": "+01:00"}, "unknown time zone; example: Europe/Berlin"),
        ({"zone": "-01:00"}, "unknown time zone; example: Europe/Berlin"),
    ):
        with pytest.raises(ValueError, match=r"\A" + said + r"\Z"):
            Site(**{"id": "depot", "nodes": (MAIN,), **wrong})
    zones = [site(zone=zone).known_zone for zone in ("Europe/Berlin", "Europe/Nowhere", "../etc/passwd", "")]
    assert zones == ["Europe/Berlin", "", "", ""]


def test_what_is_not_said_of_a_site_is_the_usual() -> None:
    plain = Place(station_id="S", evse_id=1, node="main", most_ma=1)
    assert (plain.phases, plain.least_ma, plain.priority, plain.id) == (("L1", "L2", "L3"), 6000, 0, ONE)
    bare = Site(id="depot", nodes=(MAIN,))
    assert (bare.places, bare.waiting_ma, bare.least_raise_ma, bare.zone, bare.time_sources) == ((), 0, 500, "", ())
    assert (bare.latitude, bare.longitude) == (None, None)
    assert Known() == Known(
        transaction=None, needs=None, taken_wh=0, external={}, connected=False, priority=0, dispatch_w=None,
        rotation=(), selects_phase=False, faulted=False, uncontrolled=False, drawn_w=0, phase_to_use=None,
    )  # fmt: skip
    assert PowerRange(most_w=1) == PowerRange(most_w=1, most_out_w=0, least_w=0, least_out_w=0)
    assert Balancing() == Balancing(settle_s=1.0, interval_s=60.0, dispatch_duration_s=300)
    assert Overloads() == {}
    assert {"Charging", "SuspendedEVSE", "EVConnected", ""} == WANTING


@together(
    ("known", "given", "waiting", "fixed"),
    ids=lambda case: str(case[1:]),
    cases=[
        (Known(), None, 0, 0),  # not connected: with what it was given last
        (Known(), 9_000, 0, 9_000),
        (Known(), None, 500, 500),
        (charging(connected=False), 9_000, 0, 9_000),
        (charging(dispatch_w=13_800), None, 0, 20_000),
        (charging(dispatch_w=13_800), 25_000, 0, 25_000),
        (charging(dispatch_w=-13_800), None, 0, 0),
        (charging(dispatch_w=0), 7_000, 0, 7_000),
        (Known(connected=True, uncontrolled=True), None, 0, 32_000),
        (Known(connected=True, uncontrolled=True), 9_000, 0, 9_000),
        (Known(connected=True), None, 500, 500),
        (Known(connected=True, dispatch_w=13_800), None, 500, 500),  # nobody is there to follow it
        (charging(drawn_w=13_800), 10_000, 0, 20_000),  # it does not obey
    ],
)
def test_what_cannot_be_told_a_limit_draws_what_it_draws(
    known: Known, given: int | None, waiting: int, fixed: int
) -> None:
    found = loads_of(site(place(), waiting_ma=waiting), {ONE: known}, {} if given is None else {ONE: given}, 0)
    assert found == [Load(id=ONE, node="main", phases=(0, 1, 2), most=32_000, fixed=fixed)]


def test_an_evse_without_a_vehicle_has_no_load() -> None:
    assert load(Known(connected=True)) is None
    assert loads_of(site(place()), {}, {}, 0)[0].fixed == 0
    assert loads_of(site(place(phases=("L3", "L1"))), {}, {}, 0)[0].phases == (0, 2)


@together(
    ("drawn_w", "limit_ma", "beyond"),
    [
        (6_900, 10_000, 0),
        (7_935, 10_000, 0),  # 11,500 mA: within a tenth and half an ampere
        (7_936, 10_000, 1_035),  # 11,501 mA
        (13_800, 10_000, 6_900),
        (345, 0, 0),  # 500 mA
        (346, 0, 346),
        (13_800, None, 0),
    ],
)
def test_an_evse_that_draws_more_than_its_limit_is_named(drawn_w: int, limit_ma: int | None, beyond: int) -> None:
    given = {} if limit_ma is None else {ONE: limit_ma}
    assert beyond_w(place(), charging(drawn_w=drawn_w), given) == beyond
    assert beyond_w(place(), charging(drawn_w=drawn_w, dispatch_w=0), given) == 0


def test_a_drawn_power_is_on_the_phases_in_use() -> None:
    one = charging(drawn_w=2_300, lines="2", needs={"requested": "AC_single_phase"})
    assert lines_in_use(3, one) == (0, 1)
    assert beyond_w(place(), one, {ONE: 2_000}) == 1_380  # 5 A on two phases
    assert lines_in_use(2, charging()) == (0, 1)
    assert lines_in_use(3, Known()) == (0, 1, 2)
    assert lines_in_use(1, charging(lines="3")) == (0,)


@together(
    ("known", "given", "more", "changes"),
    ids=lambda case: str(case[1:]),
    cases=[
        (charging(), None, {}, {}),
        (charging(), 1, {}, {"running": True}),
        (charging(), 0, {}, {}),
        (charging(None), None, {}, {}),
        (charging("EVConnected"), None, {}, {}),
        (charging("SuspendedEVSE"), None, {}, {}),
        (charging("SuspendedEV"), None, {}, {"most": 6_000}),
        (charging("Idle"), None, {"most_ma": 4_000}, {"most": 4_000}),
        (charging("SuspendedEV", needs={"energy_wh": 100, "departure_ms": HOUR_MS}), None, {}, {"most": 6_000}),
        (charging("SuspendedEVSE", faulted=True), None, {}, {"most": 6_000}),  # nothing flows
        (charging(faulted=True), None, {}, {}),
        (charging(None, faulted=True), None, {}, {}),
        (charging(power_w="99", faulted=True), None, {}, {"most": 6_000}),
        (charging(power_w="100", faulted=True), None, {}, {}),
        (charging(power_w="-1", faulted=True), None, {}, {}),
        (charging(power_w="0"), None, {}, {}),
        (charging(priority=3), None, {"priority": -1}, {"priority": 2}),
        (charging(needs={"most_ma": 16_000}), None, {}, {"most": 16_000}),
        (charging(needs={"most_ma": 40_000}), None, {}, {}),
        (charging(needs={"most_w": 6_900}), None, {}, {"most": 10_000}),
        (charging(needs={"most_w": 6_900, "most_ma": 9_000}), None, {}, {"most": 9_000}),
        (charging(needs={"least_ma": 8_000}), None, {}, {"least": 8_000}),
        (charging(needs={"least_ma": 5_000}), None, {}, {}),
        (charging(needs={"least_ma": 8_000}), None, {"least_ma": 9_000}, {"least": 9_000}),
        (charging(needs={"energy_wh": 6_900, "departure_ms": HOUR_MS}), None, {}, {"needed": 10_001}),
        (charging(needs={"energy_wh": 6_900, "departure_ms": HOUR_MS}, taken_wh=3_450), None, {}, {"needed": 5_001}),
        (charging(needs={"energy_wh": 6_900, "departure_ms": 2 * HOUR_MS}), None, {}, {"needed": 5_001}),
        (charging(needs={"energy_wh": 6_900}), None, {}, {}),
        (charging(needs={"energy_wh": 115, "departure_ms": 0}), None, {}, {"needed": 10_001}),  # in a minute at most
        (charging(external={"EMS": 6_900.0}), None, {}, {"most": 10_000}),
        (charging(external={"EMS": 6_900.0, "grid": 4_140.0}), None, {}, {"most": 6_000}),
        (charging(external={"EMS": -5.0}), None, {}, {"most": 0}),
        (charging(external={"EMS": 1e12}), None, {}, {}),
        (charging(lines="1", external={"EMS": 6_900.0}), None, {}, {"most": 10_000, "phases": (0,)}),
        (charging(needs={"requested": "AC_single_phase", "most_w": 2_300}), None, {}, {"most": 10_000, "phases": (0,)}),
        (charging(lines="3", rotation=(1, 2, 0)), None, {}, {"phases": (0,)}),
        (charging(lines="12", rotation=(1, 2, 0)), None, {}, {"phases": (1, 2)}),
        (charging(lines="1", rotation=(1, 2, 0)), None, {"phases": ("L3", "L1", "L2")}, {"phases": (2,)}),
        (charging(lines="2", selects_phase=True), None, {}, {"phases": (0,)}),
    ],
)
def test_a_vehicle_gets_what_it_its_place_and_others_allow(
    known: Known, given: int | None, more: dict[str, Any], changes: dict[str, Any]
) -> None:
    plain = {"phases": (0, 1, 2), "least": 6_000, "most": 32_000, "needed": 0, "priority": 0, "running": False}
    assert load(known, given, **more) == Load(id=ONE, node="main", since_ms=7, **{**plain, **changes})


def test_a_departure_is_reckoned_from_now() -> None:
    known = charging(needs={"energy_wh": 6_900, "departure_ms": 3 * HOUR_MS})
    (found,) = loads_of(site(place()), {ONE: known}, {}, 2 * HOUR_MS)
    assert found.needed == 10_001


def test_a_vehicle_that_began_at_no_known_time_came_first() -> None:
    known = charging()
    assert known.transaction is not None
    found = load(
        msgspec.structs.replace(known, transaction=msgspec.structs.replace(known.transaction, started_ms=None))
    )
    assert found is not None
    assert found.since_ms == 0


def test_phases_are_those_of_the_place_else_by_its_stations_rotation() -> None:
    turned = Known(rotation=(1, 2, 0))
    assert own_phases(place(), turned) == (1, 2, 0)
    assert own_phases(place(), Known()) == (0, 1, 2)
    assert own_phases(place(phases=("L3",)), turned) == (2,)
    assert own_phases(place(phases=("L1", "L2")), Known(rotation=(1, 0))) == (0, 1)
    assert own_phases(place(phases=("L2", "L1", "L3")), turned) == (1, 0, 2)
    assert own_phases(place(), Known(rotation=(1, 2))) == (0, 1, 2)
    assert phases_of(place(phases=("L3", "L1"))) == (0, 2)


def on_one(**more: Any) -> Known:
    return charging(needs={"requested": "AC_single_phase"}, **more)


def one_phase(**more: Any) -> Known:
    return on_one(selects_phase=True, **more)


@together(
    ("cars", "chosen"),
    ids=lambda case: str(case[1:]),
    cases=[
        ([one_phase()], {1: 0}),
        ([one_phase(phase_to_use=3), one_phase(phase_to_use=1), one_phase()], {1: 2, 2: 0, 3: 1}),
        ([one_phase(phase_to_use=9)], {1: 2}),
        ([charging(needs={"requested": "AC_single_phase"}), one_phase()], {2: 1}),
        (
            [charging(needs={"requested": "AC_single_phase"}, rotation=(1, 2, 0)), one_phase(), one_phase()],
            {2: 0, 3: 2},
        ),
        ([one_phase(rotation=(1, 2, 0), phase_to_use=1), one_phase(), one_phase()], {1: 0, 2: 0, 3: 2}),
        ([on_one(), on_one(), one_phase(), one_phase(), one_phase()], {3: 1, 4: 2, 5: 1}),
        ([on_one(), one_phase(), one_phase(), one_phase()], {2: 1, 3: 2, 4: 0}),
        ([charging(lines="12", selects_phase=True), one_phase()], {2: 0}),
        ([charging(selects_phase=True), one_phase()], {2: 0}),
        ([msgspec.structs.replace(one_phase(), transaction=None), one_phase()], {2: 0}),
        ([charging(lines="3"), one_phase(), one_phase(), one_phase()], {2: 0, 3: 1, 4: 0}),
    ],
)
def test_a_station_that_can_choose_takes_the_phase_with_the_fewest_vehicles(
    cars: list[Known], chosen: dict[int, int]
) -> None:
    places = [place(number) for number in range(1, len(cars) + 1)]
    known = {each.id: car for each, car in zip(places, cars, strict=True)}
    assert chosen_phases(site(*places), known) == {f"S/{number}": phase for number, phase in chosen.items()}


def test_on_a_place_of_one_phase_there_is_nothing_to_choose() -> None:
    found = site(place(1, phases=("L2",)), place(2))
    assert chosen_phases(found, {ONE: one_phase(), "S/2": one_phase()}) == {"S/2": 0}
    two = site(place(1, phases=("L1", "L2")), place(2))
    assert chosen_phases(two, {ONE: one_phase(), "S/2": one_phase()}) == {ONE: 0, "S/2": 1}
    assert chosen_phases(site(place(1), place(2)), {"S/2": one_phase()}) == {"S/2": 0}


@together(
    ("power_w", "phases", "current"),
    [
        (6_900, ("L1", "L2", "L3"), 10_000),
        (2_300, ("L2",), 10_000),
        (0, ("L1",), 0),
        (-1, ("L1",), 0),
        (1, ("L1",), 4),
        (1e9, ("L1",), 4_347_826_086),
        (1e10, ("L1",), 4_347_826_086),
    ],
)
def test_a_power_is_a_current_on_each_phase(power_w: float, phases: tuple[Any, ...], current: int) -> None:
    assert current_of(power_w, place(phases=phases)) == current


def schedule(
    *limits: float | None, begin: str | None = None, unit: Literal["A", "W"] = "W", step_s: int = 60
) -> ChargingSchedule:
    periods = tuple(
        ChargingSchedulePeriod(start_period=number * step_s, limit=limit) for number, limit in enumerate(limits)
    )
    return ChargingSchedule(id=1, charging_rate_unit=unit, charging_schedule_period=periods, start_schedule=begin)


def test_an_external_limit_is_the_lowest_of_its_schedules() -> None:
    """K12: a schedule without a start begins when it was said."""
    now_ms = parse_time("2026-05-04T00:00:00Z")

    def limit(*schedules: ChargingSchedule, since_ms: int = now_ms) -> float | None:
        request = NotifyChargingLimitRequest(
            charging_schedule=schedules, charging_limit=ChargingLimit(charging_limit_source="EMS")
        )
        return external_limit_w(request, since_ms, now_ms)

    assert limit() is None
    assert limit(schedule(5_000)) == 5_000
    assert limit(schedule(5_000), schedule(3_000), schedule(None)) == 3_000
    assert limit(schedule(10, unit="A")) == 6_900
    assert limit(schedule(1, 2, 3), since_ms=now_ms - 60_000) == 2
    assert limit(schedule(1, 2, 3, begin="2026-05-03T23:58:00Z")) == 3
    assert limit(schedule(1, begin="2026-05-04T00:00:01Z"), since_ms=0) is None


ABLE = PowerRange(most_w=22_080, most_out_w=11_040, least_w=4_000, least_out_w=3_000)  # 32 A, 16 A


def test_vehicles_together_stay_below_their_fuse_both_ways() -> None:
    """Into them what nobody else was given; out of them what the fuse takes back, whatever others draw."""
    fuse = Node(id="main", limits=(40_000,) * 3, feed_back=(20_000,) * 3)
    found = site(place(1), place(2), place(3), nodes=(fuse,))
    known = {each.id: charging() for each in found.places}
    allowed = bound(found, known, {"S/3": 20_000}, {ONE: ABLE, "S/2": ABLE}, 0)
    half = msgspec.structs.replace(ABLE, most_w=6_900, most_out_w=6_900)
    assert allowed == {ONE: half, "S/2": half}
    alone = bound(found, {ONE: charging()}, {}, {ONE: ABLE}, 0)
    assert alone == {ONE: ABLE}
    both = site(place(1), place(2), nodes=(Node(id="main", limits=(24_000,) * 3),))
    free = bound(both, known, {}, {ONE: ABLE, "S/2": ABLE}, 0)
    assert {each.most_out_w for each in free.values()} == {8_280}  # a fuse carries as much back


def test_what_one_cannot_give_back_another_may() -> None:
    found = site(place(1), place(2), nodes=(Node(id="main", limits=(24_000,) * 3),))
    known = {each.id: charging() for each in found.places}
    ranges = {ONE: PowerRange(most_w=0, most_out_w=2_760), "S/2": PowerRange(most_w=0, most_out_w=22_080)}
    assert [each.most_out_w for each in bound(found, known, {}, ranges, 0).values()] == [2_760, 13_800]


def test_a_vehicle_keeps_what_it_was_given_and_is_bound_by_its_place_and_by_others() -> None:
    def most(known: Known, given: dict[str, int], able: PowerRange = ABLE, **more: Any) -> tuple[int, int]:
        found = bound(site(place(**more)), {ONE: known}, given, {ONE: able}, 0)[ONE]
        return found.most_w, found.most_out_w

    assert most(charging(), {}) == (22_080, 11_040)
    assert most(charging(), {}, most_ma=10_000) == (6_900, 6_900)
    assert most(charging(external={"EMS": 6_900.0}), {}) == (6_900, 11_040)
    assert most(charging(external={"EMS": 1e9}), {}, most_ma=10_000) == (6_900, 6_900)
    assert most(charging(external={"EMS": 1e9}), {}) == (22_080, 11_040)
    assert most(charging(external={"EMS": 4_600.0}), {}, phases=("L1", "L2")) == (4_600, 11_040)
    assert most(charging(external={"EMS": 4_140.0}), {ONE: 10_000}) == (6_900, 11_040)
    assert most(charging(), {}, PowerRange(most_w=1_001, most_out_w=999)) == (1_001, 999)
    assert most(charging(), {}, most_ma=1_450, phases=("L1",)) == (333, 333)  # 333.5 W


def test_what_others_feed_back_is_taken_from_what_a_fuse_takes_back() -> None:
    found = site(place(1), place(2), nodes=(Node(id="main", limits=(40_000,) * 3),))
    for dispatch_w, out_w in ((-20_700, 6_900), (20_700, 11_040), (0, 11_040), (-13_800, 11_040), (-17_250, 10_350)):
        known = {ONE: charging(), "S/2": charging(dispatch_w=dispatch_w)}
        assert bound(found, known, {}, {ONE: ABLE}, 0)[ONE].most_out_w == out_w
    assert bound(found, {ONE: charging()}, {}, {ONE: ABLE}, 0)[ONE].most_out_w == 11_040


def test_what_a_plan_does_not_draw_is_for_others() -> None:
    fuse = Node(id="main", limits=(40_000,) * 3)
    found = site(place(1), place(2), place(3), nodes=(fuse,))
    known = {each.id: charging() for each in found.places}
    ranges = {ONE: PowerRange(most_w=6_900), "S/2": PowerRange(most_w=0)}
    given = {ONE: 20_000, "S/2": 6_000, "S/3": 5_000}
    assert kept_shares(found, known, given, ranges, 0) == {ONE: 10_000, "S/2": 0}
    assert kept_shares(found, known, {ONE: 10_000, "S/3": 5_000}, ranges, 0) == {}
    assert kept_shares(found, known, {ONE: 10_001}, ranges, 0) == {ONE: 10_000}
    waiting = site(place(1), nodes=(fuse,), waiting_ma=6_000)
    assert kept_shares(waiting, known, {}, {ONE: PowerRange(most_w=0)}, 0) == {ONE: 0}
    full = {ONE: 20_000, "S/3": 35_000}
    assert kept_shares(found, known, full, {ONE: ABLE}, 0) == {ONE: 5_000}


@pytest.mark.parametrize(
    ("given_ma", "most_w", "more"),
    [(10_000, 6_900, False), (10_000, 6_899, False), (10_000, 6_898, True), (10_000, 22_080, False), (None, 0, False)],
)
def test_a_vehicle_keeps_more_than_it_may_draw(given_ma: int | None, most_w: int, more: bool) -> None:
    given = {} if given_ma is None else {ONE: given_ma}
    assert keeps_more(place(), given, PowerRange(most_w=most_w)) is more
