"""The minimum power of § 14a EnWG: published values for 1 to 10 devices (R206)."""

import pytest

from v2g.energy.section_14a import least_power_w


@pytest.mark.requirement("R206")
def test_the_minimum_power_of_several_devices() -> None:
    found = [least_power_w(devices) for devices in range(11)]
    assert found == [0, 4200, 7560, 10_500, 13_020, 15_120, 16_800, 18_060, 18_900, 19_320, 21_210]
