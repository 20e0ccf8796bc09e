"""Functions of inverters are read from documents that the schema of IEEE 2030.5 allows, or refused with a reason."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.ieee2030_5.curves import BASE, VOLT_VAR, curve
from tests.ieee2030_5.official import schema
from tests.together import together
from v2g.errors import CodecError
from v2g.ieee2030_5.functions import (
    InverterCurve,
    InverterDroop,
    InverterFactor,
    InverterVar,
    curve_of,
    functions_in,
)
from v2g.ieee2030_5.reports import Rating, capability_xml
from v2g.ieee2030_5.resources import EXTENSIONS, base_of, read_resource
from v2g.xml_text import text_at

ABSORBING = "<excitation>true</excitation>"


@pytest.mark.requirement("R46")
def test_functions_are_read_in_plain_units() -> None:
    schema("1.2").assertValid(etree.fromstring(BASE))
    node = read_resource(BASE.encode(), "DERControlBase")
    found, paths = functions_in(node, ("FixedPFInjectW", "FixedVar", "FreqDroop", "VoltVar"))
    assert found == {
        "FixedPFInjectW": InverterFactor(cos_phi=pytest.approx(0.95), absorbs=True),
        "FixedVar": InverterVar(percent=-25, unit=2),
        "FreqDroop": InverterDroop(over_hz=0.036, under_hz=0.2, over=0.05, under=0.04, response_s=5),
    }
    assert paths == {"VoltVar": "/dc/1"}
    base = base_of(node, ("VoltVar",))
    assert base.modes == {"energize"}, "a curve that was not read demands nothing"
    assert base.others == ("opModFixedPFInjectW", "opModFixedVar", "opModFreqDroop", "opModVoltWatt")


@pytest.mark.parametrize(
    ("mode", "document", "expected"),
    [
        (
            "VoltVar",
            curve(11, VOLT_VAR, x=-2, y=-1, more="|<openLoopTms>500</openLoopTms><vRef>9900</vRef>"),
            InverterCurve(points=((92, 44), (98, 0), (102, 0), (108, -44)), unit=2, response_s=5, reference=99),
        ),
        (
            "VoltVar",
            curve(11, [(1, 2), (3, 4)], more="<autonomousVRefEnable>true</autonomousVRefEnable>|"),
            InverterCurve(points=((1, 2), (3, 4)), unit=2, adjusts_s=300),
        ),
        (
            "VoltWatt",
            curve(12, [(106, 100), (110, 0)], unit=1, more="|<rampPT1Tms>3000</rampPT1Tms>"),
            InverterCurve(points=((106, 100), (110, 0)), unit=1, response_s=pytest.approx(23.026, abs=0.001)),
        ),
        (
            "WattPF",
            curve(13, [(50, 100), (100, 95)], unit=0, y=-2, ends=ABSORBING),
            InverterCurve(points=((50, -1), (100, -0.95)), unit=0),
        ),
        ("HVRTMustTrip", curve(5, [(1, 120)], unit=4), InverterCurve(points=((1, 120),), unit=4)),
    ],
    ids=["volt-var", "autonomous", "filter", "power factor", "one point"],
)
def test_a_curve_is_read_in_plain_units(mode: str, document: bytes, expected: InverterCurve) -> None:
    schema("1.2").assertValid(etree.fromstring(document))
    found = curve_of(read_resource(document, "DERCurve"), mode)  # type: ignore[arg-type]
    assert (found.unit, found.response_s, found.reference, found.adjusts_s) == (
        *(expected.unit, expected.response_s, expected.reference, expected.adjusts_s),
    )
    assert [each for point in found.points for each in point] == pytest.approx(
        [each for point in expected.points for each in point]
    )


@together(
    ("mode", "document", "reason"),
    [
        ("VoltVar", curve(12, VOLT_VAR), "type 12"),
        ("VoltVar", curve(11, VOLT_VAR, more="|<rampIncTms>5</rampIncTms>"), "ramps"),
        ("VoltVar", curve(11, VOLT_VAR, x=9), "beyond"),
        ("VoltVar", curve(11, []), "0 points"),
        ("VoltVar", curve(11, [(n, n) for n in range(11)]), "11 points"),
        ("WattPF", curve(13, [(50, 95)], y=-2), "excitation"),
        ("WattPF", curve(13, [(50, 95)], ends=ABSORBING), "95"),
    ],
)
def test_a_curve_that_no_station_can_follow_is_refused(mode: str, document: bytes, reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        curve_of(read_resource(document, "DERCurve"), mode)  # type: ignore[arg-type]


@pytest.mark.parametrize(("old", "new"), [("/dc/1", "//elsewhere/1"), ("950", "1950"), ("-2500", "lots")])
def test_a_function_without_sense_is_refused(old: str, new: str) -> None:
    node = read_resource(BASE.replace(old, new).encode(), "DERControlBase")
    with pytest.raises(CodecError):
        base_of(node, ("FixedPFInjectW", "FixedVar", "VoltVar"))


@given(st.integers(0, 900), st.integers(0, 900), st.binary(max_size=8))
def test_whatever_arrives_is_read_or_refused(begin: int, end: int, middle: bytes) -> None:
    for document, name in ((BASE.encode(), "DERControlBase"), (curve(11, VOLT_VAR), "DERCurve")):
        with contextlib.suppress(CodecError):
            node = read_resource(document[:begin] + middle + document[end:], name)
            base_of(node, ("FixedVar", "FreqDroop", "VoltVar"))
            curve_of(node, "VoltVar")


def test_the_functions_are_stated_as_modes() -> None:
    document = capability_xml(
        Rating(charge_w=1, discharge_w=1, functions=("VoltVar", "FreqDroop", "WattPF")), EXTENSIONS[1]
    )
    schema("1.2").assertValid(etree.fromstring(document))
    modes = int(text_at(read_resource(document, "DERCapability"), "modesSupported"), 16)
    assert modes == 0x0050008F | 1 << 23 | 1 << 8 | 1 << 25
