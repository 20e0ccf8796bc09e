"""Requests to control units, which can only read, and their answers, by scapy's layers as the second reader."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.automotive.obd.obd import OBD
from scapy.contrib.automotive.uds import UDS

from v2g.telemetry.mapping import Mapped
from v2g.telemetry.obd import (
    PARAMETERS,
    VIN_REQUESTS,
    ReadRequest,
    ReadService,
    UnitValue,
    supported,
    vin_of,
)
from v2g.telemetry.signals import SIGNALS

pytestmark = pytest.mark.requirement("R212")

READS = {0x01, 0x09, 0x22}


def test_every_request_that_can_be_configured_reads_and_fits_a_frame() -> None:
    """All 65,536 identifiers, and what is asked for by itself."""
    configured = [UnitValue(did, "battery.soc").request for did in range(0x10000)]
    own = [ReadRequest(ReadService.CURRENT_DATA, what) for what in range(0x100)]
    for each in (*configured, *own, *VIN_REQUESTS):
        assert each.data[0] in READS
        assert len(each.data) == (3 if each.data[0] == 0x22 else 2)
    assert {UDS(each.data).sprintf("%UDS.service%") for each in configured[:2]} == {"ReadDataByIdentifier"}
    assert set(map(int, ReadService)) == READS


def test_no_other_service_can_be_requested() -> None:
    for service in set(range(0x100)) - READS:
        with pytest.raises(ValueError, match="not a valid ReadService"):
            _ = ReadRequest(service, 0).data  # type: ignore[arg-type]


def test_parameters_have_the_values_that_scapy_reads() -> None:
    for parameter, octet in itertools.product(PARAMETERS.keys() - {0xA6}, (0, 1, 60, 128, 255)):
        shown = OBD(bytes([0x41, parameter, octet])).data_records[0].sprintf("%data%")
        mapped = PARAMETERS[parameter].read(bytes([octet]))
        assert mapped is not None
        (value,) = mapped.values.values()
        assert value == pytest.approx(float(shown.split()[0]), abs=0.001)


def test_the_odometer_counts_tenths_of_a_kilometre() -> None:
    assert PARAMETERS[0xA6].read(bytes.fromhex("0001e240")) == Mapped({"vehicle.odometer": pytest.approx(12_345.6)})


def test_a_value_of_a_maker_is_where_the_configuration_says() -> None:
    own = UnitValue(0x2101, "battery.current", first=2, octets=2, signed=True, scale=-0.1, offset=5.0)
    assert own.read(bytes.fromhex("ffffff9c00")) == Mapped({"battery.current": pytest.approx(15.0)})
    assert own.read(bytes.fromhex("ffffff")) is None
    with pytest.raises(ValueError, match="not a signal"):
        UnitValue(0x2101, "battery.charm")


def test_the_context_is_that_of_the_speed() -> None:
    contexts = [
        mapped and mapped.context for speed in (0, 30, 120) for mapped in [PARAMETERS[0x0D].read(bytes([speed]))]
    ]
    assert contexts == [None, "city", "highway"]


def test_answers_belong_to_their_request() -> None:
    request = ReadRequest(ReadService.DATA_BY_IDENTIFIER, 0xF190)
    assert request.content(bytes.fromhex("62f190aabb")) == b"\xaa\xbb"
    assert request.content(bytes.fromhex("62f191aabb")) is None
    assert request.refusal(bytes.fromhex("7f2278")) == 0x78
    assert request.refusal(bytes.fromhex("7f0131")) is None


def test_a_vin_and_the_parameters_of_a_unit_are_read() -> None:
    assert vin_of(b"\x01WV2ZZZ7HZ8H000001") == vin_of(b"WV2ZZZ7HZ8H000001\0\0") == "WV2ZZZ7HZ8H000001"
    assert supported(0x40, bytes.fromhex("04000021")) == {0x46, 0x5B, 0x60}  # J1979's own way to count


@given(st.binary(max_size=4095), st.integers(0, 0xFFFF), st.integers(0, 4092), st.integers(1, 8))
def test_any_answer_is_a_number_or_nothing(answer: bytes, did: int, first: int, octets: int) -> None:
    value = UnitValue(did, "battery.soc", first=first, octets=octets)
    content = value.request.content(answer)
    value.request.refusal(answer)
    supported(0, answer)
    vin_of(answer)
    for each in (value, *PARAMETERS.values()):
        mapped = each.read(answer if content is None else content)
        assert mapped is None or mapped.values.keys() <= SIGNALS.keys()
