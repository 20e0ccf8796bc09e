"""Which phases the vehicles at a site load, and that shares hold on each of them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.sites.rules import Known, Place, Site, chosen_phases, lines_in_use, loads_of, own_phases, sure_phases
from csms.smart_charging.charging_plans import share_profile
from csms.smart_charging.limits_in_force import evse_limits
from csms.smart_charging.rules import Needs
from csms.transactions.rules import Dated, Event, Sample, Transaction, merge
from tests.together import together
from v2g.energy.balancing import PHASES, Node, share

FUSE_MA, UNBALANCE_MA = 40_000, 20_000


def transaction(lines: str = "", **more: Any) -> Transaction:
    return Transaction(station_id="S", transaction_id="T", first_seq=0, last_seq=0, lines=lines, **more)


def vehicle(mode: str = "", lines: str = "", **more: Any) -> Known:
    needs = Needs(evse_id=1, requested=mode) if mode else None
    return Known(transaction=transaction(lines), needs=needs, connected=True, **more)


def place(number: int = 1, **more: Any) -> Place:
    return Place(station_id="S", evse_id=number, node="main", most_ma=32_000, **more)


@together(
    ("mode", "lines", "used", "sure"),
    [
        ("", "", (0, 1, 2), 1),  # nothing is known
        ("AC_single_phase", "", (0,), 1),
        ("AC_two_phase", "", (0, 1), 2),
        ("AC_three_phase", "", (0, 1, 2), 3),
        ("AC_three_phase", "1", (0,), 1),  # measured: its charger has one phase
        ("AC_single_phase", "12", (0, 1), 2),  # it draws from more than it says
        ("AC_BPT", "", (0, 1, 2), 1),
        ("AC_BPT", "2", (1,), 1),
        ("", "13", (0, 2), 2),
        ("DC", "", (0, 1, 2), 3),
        ("DC_BPT", "", (0, 1, 2), 3),
    ],
)
def test_a_vehicle_loads_the_phases_that_it_says_or_shows(
    mode: str, lines: str, used: tuple[int, ...], sure: int
) -> None:
    """Not all of these carry its current for sure."""
    assert lines_in_use(3, vehicle(mode, lines)) == used
    assert sure_phases(place(), vehicle(mode, lines)) == sure


def test_a_charge_without_needs_is_that_of_a_vehicle_with_direct_current() -> None:
    charge = Known(transaction=transaction(soc=Dated(1, "40")), connected=True)
    assert sure_phases(place(), charge) == 3
    prior = msgspec.structs.replace(charge, needs=Needs(evse_id=1, requested="", priority=1), priority=1)
    assert sure_phases(place(), prior) == 3, "its driver's priority says nothing of its current"
    assert sure_phases(place(phases=("L1",)), charge) == 1
    assert sure_phases(place(), msgspec.structs.replace(vehicle("AC_BPT"), transaction=charge.transaction)) == 1
    assert sure_phases(place(), Known()) == 1


def test_a_place_of_one_phase_has_no_other() -> None:
    assert lines_in_use(1, vehicle("", "3")) == (0,)
    assert own_phases(place(phases=("L2",)), vehicle()) == (1,)


def test_an_evse_is_on_the_phases_that_its_place_says_else_its_station() -> None:
    turned = vehicle(rotation=(1, 2, 0))  # PhaseRotation STR: its own L1 is the grid's L2
    assert own_phases(place(), turned) == (1, 2, 0)
    assert own_phases(place(phases=("L3", "L1", "L2")), turned) == (2, 0, 1)


@pytest.mark.requirement("R192")
def test_vehicles_on_one_phase_share_it_or_are_spread_by_their_stations() -> None:
    """K01.FR.20: rotation where stations can, else limits by phase."""
    site = Site(id="s", nodes=(Node(id="main", limits=(FUSE_MA,) * 3),), places=(place(1), place(2), place(3)))
    cars = {each.id: vehicle("AC_single_phase") for each in site.places}
    loads = loads_of(site, cars, {}, 0)
    assert [load.phases for load in loads] == [(0,)] * 3
    assert set(share(site.nodes, loads).values()) == {13_333, 13_334}
    turning = {name: vehicle("AC_single_phase", selects_phase=True) for name in cars}
    assert chosen_phases(site, turning) == {"S/1": 0, "S/2": 1, "S/3": 2}
    assert share(site.nodes, loads_of(site, turning, {}, 0)) == dict.fromkeys(cars, 32_000)
    stay = turning | {"S/3": vehicle("AC_single_phase", selects_phase=True, phase_to_use=1)}
    assert chosen_phases(site, stay) == {"S/1": 1, "S/2": 2, "S/3": 0}, "a vehicle is not moved while it charges"
    (period,) = share_profile(3, 16_000, 3, 0, "T", phase_to_use=2).charging_schedule[0].charging_schedule_period
    assert (period.limit, period.number_phases, period.phase_to_use) == (16.0, 1, 2)


MODES = st.sampled_from(["", "AC_single_phase", "AC_two_phase", "AC_three_phase", "AC_BPT"])
CARS = st.builds(
    vehicle,
    mode=MODES,
    lines=st.sampled_from(["", "1", "2", "12", "123"]),
    rotation=st.sampled_from([(), (0, 1, 2), (1, 2, 0), (2, 1, 0)]),
    selects_phase=st.booleans(),
    phase_to_use=st.none() | st.integers(1, 3),
)


@pytest.mark.requirement("R192")
@given(st.lists(CARS, max_size=8), st.none() | st.just(UNBALANCE_MA))
def test_no_phase_of_the_fuse_carries_more_than_it_may_whoever_draws(cars: list[Known], unbalance: int | None) -> None:
    """Judged by the conductors: each vehicle draws its share on the wires that it uses."""
    places = tuple(place(number) for number in range(1, len(cars) + 1))
    node = Node(id="main", limits=(FUSE_MA,) * 3, unbalance=unbalance)
    site = Site(id="s", nodes=(node,), places=places)
    known = dict(zip((each.id for each in places), cars, strict=True))
    found = share(site.nodes, loads_of(site, known, {}, 0))
    chosen = chosen_phases(site, known)
    wires = [0, 0, 0]
    for each, car in zip(places, cars, strict=True):
        grid = car.rotation or (0, 1, 2)
        lines = [chosen[each.id]] if each.id in chosen else lines_in_use(3, car)
        drawn = [found[each.id] if phase in [grid[line] for line in lines] else 0 for phase in PHASES]
        if unbalance is not None:
            assert max(drawn) - min(drawn) <= unbalance
        wires = [sum(both) for both in zip(wires, drawn, strict=True)]
    assert max(wires) <= FUSE_MA
    if unbalance is not None:
        assert max(wires) - min(wires) <= unbalance


def test_phases_in_use_are_read_from_meter_values_in_any_order() -> None:
    def event(number: int, **amperes: str) -> Event:
        samples = tuple(
            Sample(at_ms=0, measurand="Current.Import", value=value, unit="A", phase=phase)
            for phase, value in amperes.items()
        )
        about = {"station_id": "S", "transaction_id": "T", "trigger": "MeterValuePeriodic", "digest": str(number)}
        return Event(seq_no=number, kind="Updated", at_ms=number, samples=samples, **about)  # type: ignore[arg-type]

    one, two = event(1, L1="16.0", L2="0.2", L3="0"), event(2, L1="6", L3="6")
    for events in ((one, two), (two, one)):
        found = merge(None, events[0])
        assert merge(found, events[1]).lines == "13"
    assert merge(None, one).lines == "1"
    assert merge(None, event(1, N="16")).lines == ""
    assert merge(None, event(1, **{"L2-N": "16", "L1-L2": "16"})).lines == "2"


def test_an_external_limit_bounds_a_conductor_and_a_share_is_that_of_the_phases_in_use() -> None:
    """3 x 6 A of an energy manager are 6 A for a vehicle on one phase, too."""
    site = Site(id="s", nodes=(Node(id="main", limits=(FUSE_MA,) * 3),), places=(place(),))
    car = vehicle("AC_single_phase", external={"EMS": 4_140.0})
    (load,) = loads_of(site, {"S/1": car}, {}, 0)
    assert (load.phases, load.most) == ((0,), 6_000)
    car = Known(transaction=transaction(evse_id=1), needs=car.needs)
    limits = evse_limits("S", car, 16_000)
    assert limits is not None
    assert [(each.name, each.power_w) for each in limits.bounds] == [("share", 3_680)]
    back = evse_limits("S", msgspec.structs.replace(car, dispatch_w=-5_000), 16_000)
    assert back is not None
    assert [each.power_w for each in back.bounds] == [-5_000, 3_680], "what takes energy out of the vehicle binds"
