"""What a DER client writes is valid by the schema files of IEEE 2030.5-2018 and CSIP-AUS, and says what it is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.ieee2030_5.official import schema
from v2g.ieee2030_5.reports import (
    READING_TYPES,
    Condition,
    MeanReadings,
    Rating,
    Source,
    availability_xml,
    capability_xml,
    connection_point_xml,
    end_device_xml,
    mean_readings,
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
        mirror_xml(LFDI, "der", 300),
        mirror_xml(LFDI, "site", 300),
        reading_xml(LFDI, MeanReadings(300, 60, {"der power": -7_000}), "der power"),
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


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(-50_000, 50_000) | st.none()), max_size=20))
def test_a_reading_is_the_mean_of_its_interval(samples: list[tuple[int, int | None]]) -> None:
    """Of each quantity that was measured then; without one, no reading. Voltages are in tenths of a volt."""
    names = "der power", "site voltage L2"
    taken = [(at_s, {} if each is None else dict.fromkeys(names, float(each))) for at_s, each in samples]
    within = [each for at_s, each in samples if each is not None and 300 <= at_s < 600]
    readings = mean_readings(taken, 300, 600)
    if not within:
        assert readings is None
    else:
        mean = sum(within) / len(within)
        assert readings == MeanReadings(300, 300, {names[0]: round(mean), names[1]: round(mean / 0.1)})


ROLES = {"der": ("0049", "19"), "site": ("0003", "1")}
"""Mirror (bit 0), DER (3) and submeter (6), energy to the grid; mirror and premises (1), energy to the site."""


@pytest.mark.requirement("R207")
@pytest.mark.parametrize("source", ["der", "site"])
def test_a_usage_point_says_what_each_of_its_readings_is(source: Source) -> None:
    """W, var, and V of each phase to neutral, as averages; ids are the same after a restart, and differ between devices
    and points, so that a server makes no second one."""
    node = etree.fromstring(mirror_xml(LFDI, source, 300))
    assert (node.findtext("{*}roleFlags"), node.findtext("{*}serviceCategoryKind")) == (ROLES[source][0], "0")
    readings = node.findall("{*}MirrorMeterReading")
    fields = "uom", "phase", "powerOfTenMultiplier", "flowDirection", "dataQualifier", "kind", "intervalLength"
    types = [tuple(each.findtext(f"{{*}}ReadingType/{{*}}{name}") for name in fields) for each in readings]
    common = ROLES[source][1], "2", "37", "300"
    volts = [("29", phase, "-1", *common) for phase in ("129", "65", "33")]
    assert types == [("38", "0", "0", *common), ("63", "0", "0", *common), *volts]
    ids = [each.text for each in node.iter("{*}mRID")]
    again, other, beside = (
        {each.text for each in etree.fromstring(mirror_xml(lfdi, of, 60)).iter("{*}mRID")}
        for lfdi, of in ((LFDI, source), ("0" * 40, source), (LFDI, "site" if source == "der" else "der"))
    )
    assert set(ids) == again
    assert len(ids) == 6 == len(again)
    assert not again & (other | beside)
    names = [name for name, each in READING_TYPES.items() if each.source == source]
    sent = [reading_xml(LFDI, MeanReadings(0, 60, dict.fromkeys(names, 1)), name) for name in names]
    assert [etree.fromstring(each).findtext("{*}mRID") for each in sent] == ids[1:]
