"""The simulated vehicle on its way to a charging device: steps, guidance, where it stops, and who is told."""

import asyncio

import pytest

from evcc.hardware.drive import Driving, PlaceConfig
from evcc.session.ports import DriveIn, DroveIn
from tests.virtual_time import in_simulated_time

GUIDED, ALONE = "LF_TxEV", "Manual"
HERE = DriveIn(None)


class Way:
    """A vehicle, and what those who listen have seen at each of its moves: whether it moves, and how far away it is."""

    def __init__(self, place: PlaceConfig | None = None) -> None:
        self.driving = Driving(place)
        self.seen: list[tuple[bool, int]] = []
        self.driving.on_move(lambda: self.seen.append((self.driving.moving, self.driving.ahead_cm)))

    def drive(self, *commands: DriveIn) -> list[DroveIn]:
        """Drive on by each of these."""

        async def all_of_them() -> list[DroveIn]:
            return [await self.driving.drive(each) for each in commands]

        return in_simulated_time(all_of_them())


def at(travel_cm: int, *, in_place: bool = False) -> DroveIn:
    return DroveIn(in_place=in_place, travel_cm=travel_cm)


def test_a_vehicle_drives_in_steps_to_its_place_and_stays_there() -> None:
    way = Way(PlaceConfig())
    assert (way.driving.ahead_cm, way.driving.aside_cm, way.driving.moving) == (400, 0, False)
    assert way.drive(HERE, HERE, HERE, HERE) == [at(150), at(300), at(400, in_place=True), at(400, in_place=True)]
    assert way.seen == [(True, 400), (True, 250), (True, 250), (True, 100), (True, 100), (False, 0)]


def test_the_last_step_may_be_a_whole_one() -> None:
    assert Way(PlaceConfig(distance_cm=150)).drive(HERE) == [at(150, in_place=True)]
    assert Way(PlaceConfig(distance_cm=151)).drive(HERE, HERE) == [at(150), at(151, in_place=True)]


def test_a_vehicle_without_a_place_is_there_after_one_step_and_stays_able_to_move() -> None:
    way = Way()
    assert (way.driving.ahead_cm, way.driving.aside_cm) == (0, 0)
    assert way.drive(HERE, HERE, HERE) == [at(150), at(150, in_place=True), at(150, in_place=True)]
    assert [moving for moving, _ in way.seen] == [True, True, True, False, True, False]


def test_a_vehicle_without_a_place_drives_as_far_as_the_charger_says() -> None:
    steps = [DriveIn(200), DriveIn(50), HERE, DriveIn(-300)]
    assert Way().drive(*steps) == [at(150), at(200, in_place=True), at(200, in_place=True), at(50)]


def test_a_vehicle_that_has_moved_by_a_centimetre_has_moved() -> None:
    assert Way().drive(DriveIn(1), HERE) == [at(1, in_place=True), at(150, in_place=True)]


def test_what_the_charger_says_counts_more_than_where_the_device_is() -> None:
    way = Way(PlaceConfig(distance_cm=250))
    assert way.drive(DriveIn(400), DriveIn(-151), DriveIn(-150)) == [at(150), at(0), at(-150, in_place=True)]
    assert way.driving.ahead_cm == 400


@pytest.mark.parametrize("method", ["", ALONE])
def test_a_driver_without_guidance_stops_beyond_the_device(method: str) -> None:
    way = Way(PlaceConfig(distance_cm=100, off_x_cm=30, off_y_cm=-8))
    way.driving.receives = lambda _method: False
    assert way.drive(DriveIn(None, method)) == [at(130, in_place=True)]
    assert (way.driving.ahead_cm, way.driving.aside_cm) == (-30, -8)


def test_a_signal_guides_exactly_to_the_device() -> None:
    way = Way(PlaceConfig(distance_cm=100, off_x_cm=30))
    assert way.drive(DriveIn(None, GUIDED)) == [at(100, in_place=True)]


def test_without_the_signal_of_its_method_nobody_moves() -> None:
    way = Way(PlaceConfig(distance_cm=100))
    asked: list[str] = []
    way.driving.receives = lambda method: bool(asked.append(method))
    assert way.drive(DriveIn(None, GUIDED)) == [at(0)]
    assert asked == [GUIDED]
    assert way.seen == [(True, 100), (True, 100)]
    way.driving.receives = lambda method: method == GUIDED
    assert way.drive(DriveIn(None, GUIDED)) == [at(100, in_place=True)]


def test_a_step_takes_a_tenth_of_a_second() -> None:
    async def timed() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await Driving().drive(HERE)
        return loop.time() - began

    assert in_simulated_time(timed()) == pytest.approx(0.1, abs=0.01)


def test_where_vehicles_stand_without_a_word_on_it() -> None:
    assert PlaceConfig() == PlaceConfig(distance_cm=400, off_x_cm=0, off_y_cm=0, clearance_mm=170, roof_mm=3_400)
