"""What meter values mean for a transaction: its energy, power, phases and state of charge."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from csms.transactions.rules import (
    EXPORT_REGISTER,
    IMPORT_REGISTER,
    Dated,
    Event,
    Sample,
    Transaction,
    connection_reading,
    cost_nothing,
    flowing_w,
    lines_of,
    merge,
    net_wh,
    pays_directly,
    power_w,
    readings,
    samples_of,
    taken_wh,
)
from tests.together import together
from v2g.errors import OcppError
from v2g.ocpp.messages.metering import MeterValue, SampledValue, SignedMeterValue, UnitOfMeasure

BEGIN, END = "Transaction.Begin", "Transaction.End"


def sample(value: str, measurand: str = IMPORT_REGISTER, unit: str = "Wh", **more: Any) -> Sample:
    return Sample(**{"at_ms": 5, "measurand": measurand, "value": value, "unit": unit, **more})


def merged(*samples: Sample) -> Transaction:
    return merge(None, Event(
        station_id="CS", transaction_id="t", seq_no=7, kind="Updated", at_ms=0, trigger="", digest="", samples=samples
    ))  # fmt: skip


def transaction(**more: Any) -> Transaction:
    return Transaction(station_id="CS", transaction_id="t", first_seq=0, last_seq=9, **more)


def sampled(value: float, multiplier: int = 0, **more: Any) -> Sample:
    about = UnitOfMeasure(unit="W", multiplier=multiplier)
    one = SampledValue(**{"value": value, "unit_of_measure": about, **more})
    return samples_of([MeterValue(timestamp="1970-01-01T00:00:05Z", sampled_value=(one,))])[0]


# -- samples


def test_what_a_station_leaves_out_of_a_sample_has_the_default_of_ocpp() -> None:
    expected = Sample(
        at_ms=5000, measurand=IMPORT_REGISTER, value="5", unit="Wh", context="Sample.Periodic", location="Outlet"
    )
    assert sampled(5.0, unit_of_measure=None) == expected


def test_what_a_station_says_of_a_sample_is_kept_and_its_signature_verbatim() -> None:
    signed = SignedMeterValue(signed_meter_data="c2ln", encoding_method="OCMF")
    found = sampled(5.0, measurand="Voltage", context=END, phase="L1-N", location="EV", signed_meter_value=signed)
    assert (found.measurand, found.unit, found.context, found.phase, found.location) == (
        "Voltage", "W", END, "L1-N", "EV"
    )  # fmt: skip
    assert json.loads(found.signed) == {"signedMeterData": "c2ln", "encodingMethod": "OCMF"}


def test_a_stored_sample_tells_only_what_is_there() -> None:
    """So a sample of which nothing else is known reads the same again."""
    bare = {"at_ms": 5, "measurand": "SoC", "value": "80", "unit": "Percent"}
    found = msgspec.convert(bare, Sample)
    assert (found.context, found.phase, found.location, found.signed) == ("", "", "", "")
    assert msgspec.to_builtins(found) == bare


@pytest.mark.parametrize(
    ("value", "multiplier", "expected"),
    [
        (5.0, 0, "5"),
        (0.1, 18, "100000000000000000"),
        (1e16, -18, "0.01"),
        (0.1, -17, "0.000000000000000001"),
        (0.000123456789012345, 0, "0.000123456789012345"),
    ],
)
def test_a_meter_may_count_18_digits_before_and_after_the_point(value: float, multiplier: int, expected: str) -> None:
    assert sampled(value, multiplier).value == expected


@pytest.mark.parametrize(("value", "multiplier"), [(1.0, 18), (0.1, -18), (0.00012345678901234567, 0)])
def test_more_digits_are_a_constraint_violation(value: float, multiplier: int) -> None:
    with pytest.raises(OcppError) as caught:
        sampled(value, multiplier)
    assert caught.value.answer == "PropertyConstraintViolation"


# -- registers


@together(
    ("samples", "expected"),
    [
        ([sample("7", phase="N")], []),
        ([sample("7", phase="L1")], [sample("7")]),
        ([sample("3", unit="kWh", phase="L1"), sample("7", phase="L2-N")], [sample("3007")]),
        ([sample("3", phase="L1"), sample("4", phase="L1-N"), sample("7", phase="L2")], [sample("11")]),
        ([sample("7"), sample("3", phase="L1"), sample("5", phase="L2")], [sample("7")]),
        ([sample("3", phase="L1"), sample("4", phase="L2"), sample("3", phase="L1", at_ms=6)], [sample("7")]),
        ([sample("9", at_ms=6), sample("8")], [sample("8"), sample("9", at_ms=6)]),
        ([sample("7"), sample("9", unit="varh")], [sample("7")]),
        (
            [sample("2", context=END, at_ms=0), sample("1", at_ms=1), sample("0", context=BEGIN, at_ms=2)],
            [sample("0", context=BEGIN, at_ms=2), sample("1", at_ms=1), sample("2", context=END, at_ms=0)],
        ),
    ],
)
def test_a_register_is_of_all_phases_together_in_order_of_time(samples: Sequence[Sample], expected: object) -> None:
    assert readings(samples) == (expected, [])


def test_energy_counts_where_it_leaves_the_station_else_nearest_to_it() -> None:
    places = ["Outlet", "Cable", "EV", "Inlet", "Body", "Upstream", "Attic", "Basement"]
    for number, place in enumerate(places):
        found, _ = readings([sample("1", location=each) for each in reversed(places[number:])])
        assert [each.location for each in found] == [place]


@pytest.mark.parametrize(("value", "unit"), [("7000", "Wh"), ("7000", ""), ("7", "kWh")])
def test_a_transaction_counts_in_wh_whatever_its_meter_shows(value: str, unit: str) -> None:
    found = merged(sample(value, unit=unit), sample("1", EXPORT_REGISTER, unit))
    export = "1000" if unit == "kWh" else "1"
    assert (found.import_start_wh, found.import_wh) == (Dated(7, "7000"),) * 2
    assert (found.export_start_wh, found.export_wh) == (Dated(7, export),) * 2


def test_energies_of_one_event_are_from_its_first_reading_to_its_last() -> None:
    found = merged(*(sample(value, which, at_ms=int(value)) for which in (IMPORT_REGISTER, EXPORT_REGISTER)
                     for value in ("3", "1", "2")))  # fmt: skip
    assert [each and each.value for each in (found.import_start_wh, found.import_wh)] == ["1", "3"]
    assert [each and each.value for each in (found.export_start_wh, found.export_wh)] == ["1", "3"]


@together(
    ("taken", "back", "expected"),
    [
        ((None, None), (None, None), (0, 0)),
        (("1000", "1500.9"), (None, None), (500, 500)),
        (("1000", "1500"), ("100", "350"), (500, 250)),
        (("1000", "900"), ("100", "100"), (0, -100)),  # a register that fell: nothing was taken
        (("1000", None), ("100", None), (0, 0)),
        ((None, "1000"), (None, "100"), (0, 0)),
    ],
)
def test_energy_is_the_difference_of_the_registers(
    taken: tuple[str | None, str | None], back: tuple[str | None, str | None], expected: tuple[int, int]
) -> None:
    start, now, back_start, back_now = (None if each is None else Dated(1, each) for each in (*taken, *back))
    found = transaction(import_start_wh=start, import_wh=now, export_start_wh=back_start, export_wh=back_now)
    assert (taken_wh(found), net_wh(found)) == expected


@pytest.mark.parametrize(
    ("token_type", "wh", "direct", "nothing"),
    [
        ("DirectPayment", "1000", True, True),
        ("DirectPayment", "1001", True, False),
        ("ISO14443", "1000", False, False),
        (None, "1000", False, False),
    ],
)
def test_what_was_paid_directly_costs_nothing_until_energy_flowed(
    token_type: str | None, wh: str, direct: bool, nothing: bool
) -> None:
    kind = None if token_type is None else Dated(0, token_type)
    found = transaction(token_type=kind, import_start_wh=Dated(0, "1000"), import_wh=Dated(1, wh))
    assert (pays_directly(found), cost_nothing(found)) == (direct, nothing)


# -- power, phases and state of charge

IN, OUT = "Power.Active.Import", "Power.Active.Export"


@together(
    ("samples", "expected"),
    [
        ([], None),
        ([sample("7", "Voltage", "V")], None),
        ([sample("7000", IN, "W")], "7000"),
        ([sample("7", OUT, "kW", location="Outlet")], "-7000"),
        ([sample("7000", IN, "W", location="Upstream")], None),
        ([sample("7000", IN, "W"), sample("9", IN, "kW", location="EV")], "7000"),
        ([sample("7000", IN, "W"), sample("400", OUT, "W", at_ms=4)], "6600"),
        ([sample("1", IN, "W", at_ms=4), sample("7000", IN, "W"), sample("2", IN, "W", at_ms=3)], "7000"),
        ([sample("1", IN, "W", at_ms=4), sample("7000", IN, "W")], "7000"),
        ([sample("1000", IN, "W", phase="L1"), sample("2000", IN, "W", phase="L2")], "3000"),
        ([sample("1000", IN, "W", phase="L1"), sample("3100", IN, "W"), sample("9", IN, "W", at_ms=4)], "3100"),
    ],
)
def test_power_is_of_the_newest_samples_of_each_direction_at_the_outlet(
    samples: Sequence[Sample], expected: str | None
) -> None:
    """Of all phases together, else of each one."""
    assert power_w(samples) == expected
    assert merged(*samples).power_w == (None if expected is None else Dated(7, expected))


@together(
    ("power", "state", "expected"),
    [
        (None, None, None),
        (Dated(2, "7000"), None, 7000),
        (Dated(2, "7000"), Dated(1, "SuspendedEV"), 7000),  # what was measured counts
        (Dated(2, "7000"), Dated(2, "SuspendedEV"), 7000),
        (Dated(2, "7000"), Dated(3, "SuspendedEV"), 0),
        (Dated(2, "7000"), Dated(3, "Charging"), 7000),
        (None, Dated(3, "SuspendedEV"), 0),
        (None, Dated(3, "Charging"), None),
    ],
)
def test_power_flows_as_last_measured_until_a_state_without_any(
    power: Dated | None, state: Dated | None, expected: int | None
) -> None:
    assert flowing_w(power, state) == expected


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([sample("1", "Current.Import", "A", phase="L1"), sample("6", "Current.Export", "A", phase="L3-N")], "13"),
        ([sample("0.9", "Current.Import", "A", phase="L1"), sample("16", "Current.Import", "A", phase="L2")], "2"),
        ([sample("16", "Current.Offered", "A", phase="L1"), sample("230", "Voltage", "V", phase="L2")], ""),
        ([sample("16", "Current.Import", "A", phase=each) for each in ("N", "L1-L2", "")], ""),
    ],
)
def test_a_vehicle_uses_the_phases_on_which_a_current_of_1_a_was_seen(samples: Sequence[Sample], expected: str) -> None:
    assert lines_of(samples) == set(expected)
    assert merged(*samples).lines == expected


def test_the_phases_of_a_transaction_are_all_that_it_ever_used() -> None:
    later = Event(
        station_id="CS", transaction_id="t", seq_no=8, kind="Updated", at_ms=0, trigger="", digest="",
        samples=(sample("6", "Current.Import", "A", phase="L1"),),
    )  # fmt: skip
    assert merge(merged(sample("6", "Current.Import", "A", phase="L3")), later).lines == "13"


def test_the_state_of_charge_is_the_newest() -> None:
    samples = [sample(str(soc), "SoC", "Percent", at_ms=at) for at, soc in ((6, 41), (7, 42), (5, 43))]
    assert merged(sample("99", at_ms=9), *samples).soc == Dated(7, "42")
    assert merged(sample("99")).soc is None


def test_what_is_no_share_of_a_battery_is_no_state_of_charge() -> None:
    """Else a limit by state of charge would end the session at once, and partners would be told it."""
    samples = [sample(value, "SoC", "Percent", at_ms=at) for at, value in enumerate(("0", "100", "101", "255", "-1"))]
    assert merged(*samples).soc == Dated(7, "100")


# -- the grid connection


def upstream(value: str, measurand: str, unit: str, **more: Any) -> Sample:
    return sample(value, measurand, unit, location="Upstream", **more)


@together(
    ("one", "name", "expected"),
    [
        (upstream("49.9", "Frequency", ""), "frequency_hz", 49.9),
        (upstream("1000", "Frequency", "Hz"), "frequency_hz", 1000),
        (upstream("1001", "Frequency", "Hz"), "frequency_hz", None),
        (upstream("-500000", "Voltage", "V", phase="L3"), "voltage_v", (None, None, -500_000)),
        (upstream("500001", "Voltage", "V", phase="L3"), "voltage_v", (None, None, None)),
        (upstream("100000", "Current.Import", "A", phase="L1"), "current_a", (100_000, None, None)),
        (upstream("100001", "Current.Import", "A", phase="L1"), "current_a", (None, None, None)),
        (upstream("6", "Current.Export", "A", phase="L2-N"), "current_a", (None, -6, None)),
        (upstream("0", IMPORT_REGISTER, "Wh"), "import_wh", 0),
        (upstream("7", IMPORT_REGISTER, "kWh"), "import_wh", 7000),
        (upstream("7", IMPORT_REGISTER, "varh"), "import_wh", None),
        (upstream(str(2**53 - 1), EXPORT_REGISTER, ""), "export_wh", 2**53 - 1),
        (upstream(str(2**53), EXPORT_REGISTER, "Wh"), "export_wh", None),
        (upstream("10000000", IN, "W", at_ms=9), "power_w", 10_000_000),
        (upstream("1000", OUT, "W"), "power_w", -1000),
    ],
)
def test_a_meter_of_the_grid_connection_shows_what_one_can(one: Sample, name: str, expected: object) -> None:
    """Up to 10 MW, 100 kA, 500 kV, 1 kHz, and a register that a float of 64 bits still counts."""
    found = connection_reading([upstream("0", IN, "W", at_ms=0), one])
    assert found is not None
    assert getattr(found, name) == expected


def test_a_power_of_more_than_10_mw_is_no_reading() -> None:
    assert connection_reading([upstream("10000001", IN, "W")]) is None
    assert connection_reading([upstream("10000001", OUT, "W")]) is None
