"""A transaction is what its events say, in whatever order they come."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.transaction_keys import id_at_station, key_again
from csms.transactions.rules import (
    Dated,
    Event,
    Sample,
    Transaction,
    complete,
    connection_reading,
    merge,
    missing,
    samples_of,
    starts_again,
    watt_hours,
)
from tests.together import together
from v2g.errors import OcppError
from v2g.hardware.energy_manager.commands import ConnectionReading
from v2g.ocpp.messages.metering import MeterValue, SampledValue, UnitOfMeasure


def samples(kind: str = "Import") -> st.SearchStrategy[Sample]:
    return st.builds(
        Sample,
        at_ms=st.integers(0, 10**13),
        measurand=st.sampled_from([f"Energy.Active.{kind}.Register", "Energy.Active.Export.Register", "SoC"]),
        value=st.integers(0, 10**9).map(str),
        unit=st.sampled_from(["Wh", "kWh", "Percent"]),
        phase=st.sampled_from(["", "L1"]),
    )


events = st.lists(
    st.builds(
        Event,
        station_id=st.just("CS"),
        transaction_id=st.just("t"),
        seq_no=st.integers(0, 30),
        kind=st.sampled_from(["Started", "Updated", "Ended"]),
        at_ms=st.integers(0, 10**13),
        trigger=st.just("Trigger"),
        digest=st.just(""),
        evse_id=st.none() | st.integers(1, 2),
        id_token=st.none() | st.sampled_from(["A", "B"]),
        charging_state=st.none() | st.sampled_from(["Charging", "Idle"]),
        stopped_reason=st.none() | st.sampled_from(["Local", "Remote"]),
        samples=st.lists(samples(), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda event: event.seq_no,
)


def fold(found: list[Event]) -> Transaction:
    transaction: Transaction | None = None
    for event in found:
        transaction = merge(transaction, event)
    assert transaction is not None
    return transaction


@pytest.mark.requirement("R39")
@given(events, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(found: list[Event], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold(found) == fold(shuffled)


@given(st.sets(st.integers(0, 40), min_size=1))
def test_what_is_missing_and_what_arrived_make_a_whole(numbers: set[int]) -> None:
    transaction = Transaction(station_id="", transaction_id="", first_seq=min(numbers), last_seq=max(numbers))
    gaps = {n for first, last in missing(transaction, numbers) for n in range(first, last + 1)}
    assert gaps | numbers == set(range(min(numbers), max(numbers) + 1))
    assert not gaps & numbers


def event(seq_no: int, kind: str, **more: object) -> Event:
    return Event(
        station_id="CS", transaction_id="t", seq_no=seq_no, kind=kind, at_ms=seq_no, trigger="", digest="", **more
    )  # type: ignore[arg-type]


def test_a_transaction_is_complete_with_its_start_its_end_and_all_between() -> None:
    whole = fold([event(4, "Started"), event(5, "Updated"), event(6, "Ended")])
    assert complete(whole, [4, 5, 6])
    assert not complete(whole, [4, 6])
    assert not complete(fold([event(5, "Updated"), event(6, "Ended")]), [5, 6])
    assert not complete(fold([event(4, "Started"), event(5, "Updated")]), [4, 5])
    assert not whole.active


def test_at_most_64_gaps_are_listed() -> None:
    whole = Transaction(station_id="", transaction_id="", first_seq=0, last_seq=200)
    assert missing(whole, range(0, 201, 2)) == [(number, number) for number in range(1, 128, 2)]


def test_a_transaction_says_of_whom_and_where_it_is() -> None:
    """Its first event counts for who it is of, its last one for its state, and the connector is the highest told."""
    early = event(
        1, "Started", evse_id=2, connector_id=1, id_token="A", token_type="Central", charging_state="Charging",
        operation_mode="Idle", stopped_reason="Local", tariff_id="t1", limit="{}",
    )  # fmt: skip
    late = event(
        2, "Ended", evse_id=1, connector_id=2, id_token="B", token_type="eMAID", charging_state="Idle",
        operation_mode="CentralSetpoint", stopped_reason="Remote", tariff_id="t2", limit="{1}",
    )  # fmt: skip
    whole = Transaction(
        station_id="CS", transaction_id="t", first_seq=1, last_seq=2, started_seq=1, started_ms=1, ended_seq=2,
        ended_ms=2, evse_id=2, connector_id=2, id_token=Dated(1, "A"), token_type=Dated(1, "Central"),
        charging_state=Dated(2, "Idle"), operation_mode=Dated(2, "CentralSetpoint"),
        stopped_reason=Dated(2, "Remote"), tariff_id=Dated(2, "t2"), limit=Dated(2, "{1}"),
    )  # fmt: skip
    assert fold([early, late, event(0, "Updated")]) == msgspec.structs.replace(whole, first_seq=0)
    assert fold([late, early]) == whole
    otherwise = {"at_ms": 7, "id_token": "C", "token_type": "Local", "charging_state": "EVConnected"}
    assert fold([early, late, *(msgspec.structs.replace(each, **otherwise) for each in (early, late))]) == whole, (
        "a second event of a number changes nothing that the first one said"
    )
    assert (whole.lines, whole.limit_told, early.offline) == ("", False, False)


@pytest.mark.parametrize(("first", "last"), [(0, 2), (1, 1)])
def test_of_several_starts_the_first_counts_and_of_several_ends_the_last(first: int, last: int) -> None:
    numbers = (1, first, last)
    found = fold([event(number, kind) for kind in ("Started", "Ended") for number in numbers])
    assert (found.started_seq, found.started_ms, found.ended_seq, found.ended_ms) == (first, first, last, last)


def test_registers_count_from_the_first_reading_to_the_last() -> None:
    def at(seq_no: int, kind: str, wh: int) -> Event:
        sample = Sample(at_ms=seq_no, measurand="Energy.Active.Export.Register", value=str(wh), unit="Wh")
        return event(seq_no, kind, samples=(sample,))

    found = fold([at(2, "Ended", 300), at(0, "Started", 100), at(1, "Updated", 200)])
    assert found.export_start_wh is not None
    assert found.export_wh is not None
    assert (found.export_start_wh.value, found.export_wh.value, found.import_wh) == ("100", "300", None)


def test_a_clock_that_was_set_back_does_not_turn_a_transaction_round() -> None:
    """What Ended says to be of its begin and its end is that, whatever the times say."""
    reported = (("Transaction.Begin", 9000, "100"), ("Sample.Periodic", 9500, "150"), ("Transaction.End", 4000, "200"))
    register = "Energy.Active.Import.Register"
    values = [
        Sample(at_ms=at, measurand=register, value=wh, unit="Wh", context=context) for context, at, wh in reported
    ]
    found = fold([event(0, "Started"), event(1, "Ended", samples=tuple(values))])
    assert found.import_start_wh is not None
    assert found.import_wh is not None
    assert (found.import_start_wh.value, found.import_wh.value) == ("100", "200")


@pytest.mark.parametrize(
    ("value", "unit", "multiplier", "expected"),
    [
        (1.1, "kWh", 0, "1.1"),
        (12, "Wh", 3, "12000"),
        (12.5, "W", -3, "0.0125"),
        (0.1, "Wh", 1, "1"),
        (-0.0, "A", 0, "0"),
    ],
)
def test_values_are_exact_decimals(value: float, unit: str, multiplier: int, expected: str) -> None:
    about = UnitOfMeasure(unit=unit, multiplier=multiplier)
    reading = MeterValue(
        timestamp="2030-01-01T00:00:00Z", sampled_value=(SampledValue(value=value, unit_of_measure=about),)
    )
    assert samples_of([reading])[0].value == expected


def test_a_reading_of_the_grid_connection_is_what_its_newest_samples_say() -> None:
    """In W, Wh, A, V and Hz; in another unit, beyond what can be, or elsewhere, nothing is measured."""

    def upstream(measurand: str, value: str, unit: str, phase: str = "", at_ms: int = 2) -> Sample:
        return Sample(at_ms=at_ms, measurand=measurand, value=value, unit=unit, phase=phase, location="Upstream")

    power = upstream("Power.Active.Export", "4.2", "kW")
    found = connection_reading(
        [
            upstream("Frequency", "49.98", "Hz"),
            upstream("Frequency", "50.1", "Hz", at_ms=1),
            power,
            upstream("Energy.Active.Import.Register", "1234.5", "kWh"),
            upstream("Energy.Active.Export.Register", "-7", "Wh"),
            upstream("Current.Export", "6.1", "A", "L1"),
            upstream("Current.Import", "0.1", "A", "L1"),
            upstream("Current.Import", "200000", "A", "L2"),
            upstream("Voltage", "231", "V", "L1-N"),
            upstream("Voltage", "0.4", "kV", "L2"),
            Sample(at_ms=9, measurand="Voltage", value="400", unit="V", phase="L3", location="EV"),
        ]
    )
    assert found == ConnectionReading(
        power_w=-4_200, import_wh=1_234_500, current_a=(-6.0, None, None), voltage_v=(231.0, None, None),
        frequency_hz=49.98,
    )  # fmt: skip
    assert connection_reading([power, upstream("Frequency", "50", "Hz")]) is not None
    assert connection_reading([upstream("Frequency", "50", "Hz")]) is None
    assert connection_reading([upstream("Power.Active.Import", "20000000", "W")]) is None


@pytest.mark.parametrize(("value", "multiplier"), [(1, 19), (1, -19), (1e300, 0), (1e-300, 0), (10.0**17, 2)])
def test_numbers_that_no_meter_shows_are_refused(value: float, multiplier: int) -> None:
    about = UnitOfMeasure(multiplier=multiplier)
    reading = MeterValue(
        timestamp="2030-01-01T00:00:00Z", sampled_value=(SampledValue(value=value, unit_of_measure=about),)
    )
    with pytest.raises(OcppError):
        samples_of([reading])


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**9), 10**9))
def test_any_number_is_a_sample_or_the_one_error(value: float, multiplier: int) -> None:
    about = UnitOfMeasure(multiplier=multiplier)
    reading = MeterValue(
        timestamp="2030-01-01T00:00:00Z", sampled_value=(SampledValue(value=value, unit_of_measure=about),)
    )
    try:
        found = samples_of([reading])[0].value
    except OcppError:
        return
    assert Decimal(found) == Decimal(repr(value)).scaleb(multiplier)
    assert len(found) <= 40


def test_energy_in_other_units_is_no_register() -> None:
    with pytest.raises(ValueError, match="Percent"):
        watt_hours(Sample(at_ms=0, measurand="x", value="1", unit="Percent"))


def _event(**values: object) -> Event:
    base = {"station_id": "CS", "transaction_id": "t", "seq_no": 0, "kind": "Started", "at_ms": 50, "digest": ""}
    return Event(**{"trigger": "", **base, **values})  # type: ignore[arg-type]


@pytest.mark.requirement("R194")
@together(
    ("kind", "at_ms", "booted_ms", "again"),
    [
        ("Started", 101, 100, True),
        ("Started", 101, 99, False),
        ("Started", 101, None, False),
        ("Started", 100, 100, False),
        ("Updated", 101, 100, False),
        ("Ended", 101, 100, False),
    ],
)
def test_a_start_after_a_boot_begins_another_transaction(
    kind: str, at_ms: int, booted_ms: int | None, again: bool
) -> None:
    """The last event of the one before was heard at 100 ms."""
    assert starts_again(merge(None, _event()), _event(kind=kind, at_ms=at_ms), 100, booted_ms) is again
    unstarted = merge(None, _event(seq_no=1, kind="Updated"))
    assert not starts_again(unstarted, _event(kind=kind, at_ms=at_ms), 100, booted_ms), "it is the missing start"


@pytest.mark.requirement("R194")
@given(st.text("aZ09*-_=:+|@.~T", min_size=1, max_size=36), st.integers(0, 2**42))
def test_a_second_transaction_s_key_tells_its_id_and_begin(own: str, at_ms: int) -> None:
    key = key_again(own, at_ms)
    assert key != own
    assert len(key) <= 64
    assert id_at_station(key) == own
    assert id_at_station("tx~5") == "tx~5"
