"""What a DER client writes is valid by the schema files of IEEE 2030.5-2018 and CSIP-AUS, and says what it is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.ieee2030_5.official import schema
from v2g.ieee2030_5.reports import (
    Condition,
    PowerReading,
    Rating,
    availability_xml,
    capability_xml,
    connection_point_xml,
    end_device_xml,
    mean_reading,
    mirror_xml,
    reading_xml,
    response_xml,
    settings_xml,
    status_xml,
)
from v2g.ieee2030_5.resources import EXTENSIONS, read_resource
from v2g.xml_text import text_at

LFDI = "3E4F45AB31EDFE5B67E343E5E4562E31984E23E5"
BOTH = Rating(charge_w=1_234_567, discharge_w=30_000)
ACTIVE = Condition(connected=True, operating=True, power_w=-5, available_w=40_000)


@pytest.mark.parametrize(("version", "extension"), [("1.3", EXTENSIONS[0]), ("1.2", EXTENSIONS[1])])
def test_all_of_it_is_valid(version: str, extension: str) -> None:
    """By the schema of each version of CSIP-AUS."""
    documents = [
        response_xml(mrid="AB12" * 8, status=7, lfdi=LFDI, at_s=5),
        end_device_xml(LFDI, 5),
        connection_point_xml("4102345678<9", extension),
        capability_xml(BOTH, extension),
        settings_xml(BOTH, 5, extension),
        status_xml(ACTIVE, 5),
        availability_xml(ACTIVE, 5),
        mirror_xml(LFDI, 300),
        reading_xml(LFDI, PowerReading(300, 60, -7_000)),
    ]
    for document in documents:
        schema(version).assertValid(etree.fromstring(document))


def test_the_modes_of_australia_are_stated_only_there() -> None:
    """Its first two versions know no set-point of storage; without discharge its bit is not set."""
    plain = capability_xml(Rating(charge_w=7000, discharge_w=0))
    assert b"doeModes" not in plain
    assert text_at(read_resource(plain, "DERCapability"), "modesSupported") == "0050008D"
    assert text_at(read_resource(capability_xml(BOTH), "DERCapability"), "modesSupported") == "0050008F"
    assert b"vppModes" not in capability_xml(BOTH, EXTENSIONS[1])
    node = read_resource(settings_xml(BOTH, 5, EXTENSIONS[0]), "DERSettings")
    assert (text_at(node, "doeModesEnabled"), text_at(node, "vppModesEnabled")) == ("0F", "01")
    assert text_at(node, "setMaxChargeRateW", "value") == "12345"
    assert text_at(node, "setMaxChargeRateW", "multiplier") == "2"


@pytest.mark.parametrize(
    ("power_w", "connected", "operating", "expected"),
    [(5, True, True, ("07", "2", "0")), (-5, True, True, ("07", "2", "1")), (0, True, False, ("03", "1", "2")),
     (None, False, False, ("00", "1", ""))],
)  # fmt: skip
def test_status_says_what_the_chargers_do(
    power_w: int | None, connected: bool, operating: bool, expected: tuple[str, str, str]
) -> None:
    """Charging, discharging, holding; an unknown power is left out."""
    condition = Condition(connected=connected, operating=operating, power_w=power_w, available_w=0)
    node = read_resource(status_xml(condition, 5), "DERStatus")
    found = [
        text_at(node, name, "value") for name in ("genConnectStatus", "operationalModeStatus", "storageModeStatus")
    ]
    assert tuple(found) == expected
    assert text_at(node, "readingTime") == "5"


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(-50_000, 50_000)), max_size=20))
def test_a_reading_is_the_mean_of_its_interval_with_generation_positive(samples: list[tuple[int, int]]) -> None:
    """Samples of other intervals do not count; none, no reading."""
    within = [power_w for at_s, power_w in samples if 300 <= at_s < 600]
    reading = mean_reading(samples, 300, 600)
    if not within:
        assert reading is None
    else:
        assert reading == PowerReading(300, 300, round(-sum(within) / len(within)))
        assert -max(within) <= reading.output_w <= -min(within)


def test_ids_of_mirrors_are_the_same_after_a_restart_and_differ_between_devices() -> None:
    """So that a server makes no second usage point."""
    ids = [text_at(read_resource(mirror_xml(each, 300), "MirrorUsagePoint"), "mRID") for each in (LFDI, LFDI, "0" * 40)]
    assert ids[0] == ids[1] != ids[2]
    sent = read_resource(reading_xml(LFDI, PowerReading(0, 60, 1)), "MirrorMeterReading")
    announced = read_resource(mirror_xml(LFDI, 300), "MirrorUsagePoint")
    assert text_at(sent, "mRID") == text_at(announced, "MirrorMeterReading", "mRID")
