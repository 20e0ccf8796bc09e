"""A connection device gets where it is sent, stops on what it meets, and says only what is so."""

from hypothesis import given
from hypothesis import strategies as st

from v2g.hardware.pantograph import Pantograph, PantographConfig

CONFIG = PantographConfig(home_mm=4_600, lowest_mm=3_000, speed_mm_per_s=400)
ROOF = 3_400


def test_it_comes_down_to_the_roof_and_goes_home_again() -> None:
    device = Pantograph(CONFIG)
    assert (device.mechanical, device.connected, device.moving) == ("Home", False, False)
    device.send(down=True)
    device.advance(1.0, ROOF)
    assert (device.mechanical, device.height_mm, device.connected, device.moving) == ("Moving", 4_200, False, True)
    device.advance(5.0, ROOF)
    assert (device.mechanical, device.height_mm, device.connected, device.moving) == ("EndPosition", ROOF, True, False)
    device.send(down=False)
    device.advance(0.1, ROOF)
    assert (device.mechanical, device.connected) == ("Moving", False)
    device.advance(9.0, ROOF)
    assert (device.mechanical, device.height_mm, device.moving) == ("Home", 4_600, False)


def test_without_a_roof_within_reach_it_ends_as_low_as_it_gets_and_touches_nothing() -> None:
    for roof in (None, 2_000):
        device = Pantograph(CONFIG)
        device.send(down=True)
        device.advance(9.0, roof)
        assert (device.mechanical, device.height_mm, device.connected) == ("EndPosition", 3_000, False)


def test_a_jammed_device_stays_and_worn_contacts_do_not_close() -> None:
    jammed, worn = Pantograph(CONFIG), Pantograph(CONFIG)
    jammed.jammed, worn.worn = True, True
    for device in (jammed, worn):
        device.send(down=True)
        device.advance(9.0, ROOF)
    assert (jammed.mechanical, jammed.height_mm, jammed.moving) == ("Moving", 4_600, False)
    assert (worn.mechanical, worn.connected) == ("EndPosition", False)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 20), st.none() | st.integers(2_000, 4_500)), max_size=20))
def test_it_is_never_outside_its_way_and_never_in_a_roof(steps: list[tuple[bool, float, int | None]]) -> None:
    device = Pantograph(CONFIG)
    before = device.height_mm
    for down, seconds, roof in steps:
        device.send(down=down)
        device.advance(seconds, roof)
        assert CONFIG.lowest_mm <= device.height_mm <= CONFIG.home_mm
        if device.connected:
            assert roof is not None
            assert device.height_mm <= roof
        if device.height_mm < before:
            assert roof is None or roof < CONFIG.lowest_mm or device.height_mm >= roof
        before = device.height_mm
