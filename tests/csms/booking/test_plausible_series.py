"""Plausible series of transactions, one rule at a time."""

from typing import Any

import msgspec
import pytest

from csms.booking.plausibility import (
    UNKNOWN_RATING_W,
    Finding,
    JudgedUsage,
    RatedPower,
    ReceivedEvent,
    TransactionContext,
    energy_between,
    judge_register,
    judge_usage,
    rating_of,
)
from csms.transactions.rules import EXPORT_REGISTER, IMPORT_REGISTER, Kind, Sample
from tests.csms.booking.events import transaction_of
from tests.csms.support import utc
from tests.together import together
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage

pytestmark = pytest.mark.requirement("R194")

START = 1_795_046_400_000
SECOND = 1_000
MINUTE = 60_000
HOUR = 3_600_000
ABOUT = TransactionContext(rating=RatedPower(22_000, 22_000))
IMPORT_INTERVAL = "Energy.Active.Import.Interval"
EXPORT_INTERVAL = "Energy.Active.Export.Interval"
BEGIN, END = "Transaction.Begin", "Transaction.End"


def reading(at_ms: int, value: float | str, measurand: str = IMPORT_REGISTER, **more: Any) -> Sample:
    return Sample(
        **{"at_ms": START + at_ms, "measurand": measurand, "value": str(value), "unit": "Wh",
           "context": "Sample.Periodic", **more}
    )  # fmt: skip


def heard(seq_no: int, kind: Kind, at_ms: int, *samples: Sample, **more: Any) -> ReceivedEvent:
    return ReceivedEvent(
        seq_no=seq_no, kind=kind, at_ms=START + at_ms, received_ms=START + at_ms, samples=samples, **more
    )


def judged(
    *events: ReceivedEvent, about: TransactionContext = ABOUT, id_token: str | None = "A", **more: Any
) -> JudgedUsage:
    return judge_usage(transaction_of(events, id_token, **more), events, START + HOUR, about)


def course(*between: Sample, **more: Any) -> list[ReceivedEvent]:
    """Return a transaction of two minutes that takes 200 Wh, with these samples in an event at its half."""
    return [
        heard(0, "Started", 0, reading(0, 1000, context=BEGIN, **more)),
        heard(1, "Updated", MINUTE, *between),
        heard(2, "Ended", 2 * MINUTE, reading(2 * MINUTE, 1200, context=END, **more)),
    ]


def in_kwh(*values: str, step_ms: int = MINUTE) -> list[ReceivedEvent]:
    """Return a transaction whose register has these values in kWh, one each minute."""
    last = len(values) - 1
    return [
        heard(
            number,
            "Started" if number == 0 else "Ended" if number == last else "Updated",
            number * step_ms,
            reading(
                number * step_ms, value, unit="kWh", context=BEGIN if number == 0 else END if number == last else ""
            ),
        )
        for number, value in enumerate(values)
    ]


def told(found: JudgedUsage) -> list[tuple[str, str]]:
    return [(each.reason, each.detail) for each in found.findings]


def reasons(found: JudgedUsage) -> list[str]:
    return [each.reason for each in found.findings]


def registers(*rows: tuple[int, int, int]) -> tuple[Registers, ...]:
    """Return registers by ms since the start, and import and export in mWh."""
    return tuple(Registers(START + at_ms, taken, back) for at_ms, taken, back in rows)


# -- what is given and what is proposed


@together(
    ("power", "discharge", "connectors", "expected"),
    [
        (None, None, [], (400_000, 400_000)),
        (1.0, None, [], (1, 1)),
        (22_000.0, 0.0, [], (22_000, 22_000)),
        (22_000.0, 1.0, [], (22_000, 1)),
        (22_000.0, 4_000_000.0, [], (22_000, 4_000_000)),
        (None, None, ["wInductive"], (44_000, 44_000)),
        (None, None, ["wResonant"], (400_000, 400_000)),
    ],
)
def test_a_rating_is_of_more_than_0_w_and_up_to_4_mw(
    power: float | None, discharge: float | None, connectors: list[str], expected: tuple[int, int]
) -> None:
    assert rating_of(power, discharge, connectors) == RatedPower(*expected)


def test_an_evse_of_which_nothing_is_known_has_400_kw() -> None:
    assert UNKNOWN_RATING_W == 400_000
    assert TransactionContext().rating == RatedPower(400_000, 400_000)


def test_a_finding_is_of_evidence_that_is_there_unless_it_says_otherwise() -> None:
    assert not Finding("fall", "it falls").missing


def test_without_readings_there_is_no_energy() -> None:
    found = JudgedUsage(usage=Usage(start_ms=0, end_ms=1))
    assert (found.import_mwh, found.export_mwh, found.timed, found.findings) == (0, 0, True, ())


def test_energy_between_times_is_of_all_readings() -> None:
    usage = Usage(
        start_ms=0, end_ms=400, readings=(Registers(100, 0, 0), Registers(200, 1000, 200), Registers(300, 1500, 200))
    )
    assert [energy_between(usage, *span) for span in ((0, 400), (200, 300), (250, 400))] == [1300, 500, 250]
    lone = Usage(start_ms=0, end_ms=400, readings=(Registers(100, 7, 3),))
    assert energy_between(lone, 0, 400) == 0


def test_a_meter_that_has_counted_meanwhile_is_held_only_if_no_other_transaction_was_there() -> None:
    """Unless the context says so, one may have been."""
    about = TransactionContext(rating=RatedPower(22_000, 22_000), free_ms=START - MINUTE, left_mwh=(100_000, None))
    assert reasons(judged(*course(), about=about)) == []
    assert reasons(judged(*course(), about=msgspec.structs.replace(about, since=()))) == ["begin"]


def test_the_cost_of_a_station_may_be_for_10_wh_more() -> None:
    for cost_wh, found in ((210.0, []), (210.0005, ["cost"])):
        *others, end = course()
        assert reasons(judged(*others, msgspec.structs.replace(end, cost_wh=cost_wh))) == found


# -- which samples are the registers


def test_registers_in_other_units_are_told() -> None:
    """They are not of active energy; what is not a register may have any unit."""
    assert told(judged(*course(reading(MINUTE, 32, "Current.Import", unit="A", phase="L1")))) == []
    others = reading(MINUTE, 7, unit="varh"), reading(MINUTE, 7, EXPORT_REGISTER, unit="kvarh", phase="L1")
    found = judged(*course(*others))
    assert told(found) == [("series", "registers in kvarh, varh, which is no unit of active energy")]
    assert found.import_mwh == 200_000


@pytest.mark.parametrize(("at", "taken"), [("begin", 0), ("middle", 4_000_000), ("end", 2_000_000)])
def test_a_register_below_zero_is_no_reading(at: str, taken: int) -> None:
    """Stations report -1 for a meter that does not answer: a step of the rating may follow it."""
    values = {"begin": (-1, 4000, 4000), "middle": (0, -1, 4000), "end": (0, 2000, -1)}[at]
    events = [
        heard(0, "Started", 0, reading(0, values[0], context=BEGIN), charging=True),
        heard(1, "Updated", 15 * MINUTE, reading(15 * MINUTE, values[1])),
        heard(2, "Ended", 30 * MINUTE, reading(30 * MINUTE, values[2], context=END)),
    ]
    found = judged(*events)
    assert ("series", "the import register is below zero: -1 Wh") in told(found)
    assert found.import_mwh == taken


def test_energy_of_intervals_is_added_up_where_there_are_no_registers() -> None:
    found = judged(
        heard(0, "Started", 0),
        heard(
            1, "Updated", MINUTE, reading(MINUTE, 100, IMPORT_INTERVAL), reading(MINUTE, "0.03", EXPORT_INTERVAL,
            unit="kWh"),
        ),
        heard(
            2, "Ended", 2 * MINUTE, reading(2 * MINUTE, "0.2", IMPORT_INTERVAL, unit="kWh"),
            reading(2 * MINUTE, 50, EXPORT_INTERVAL),
        ),
    )  # fmt: skip
    assert told(found) == [("series", "no registers, energy of intervals was added up")]
    assert found.usage.readings == registers(
        (0, 0, 0), (0, 0, 0), (MINUTE, 100_000, 30_000), (2 * MINUTE, 300_000, 80_000)
    )
    assert (found.import_mwh, found.export_mwh) == (300_000, 80_000)


@pytest.mark.parametrize(("measurand", "energies"), [(IMPORT_INTERVAL, (300_000, 0)), (EXPORT_INTERVAL, (0, 300_000))])
def test_energy_of_intervals_in_one_direction_is_enough(measurand: str, energies: tuple[int, int]) -> None:
    found = judged(
        heard(0, "Started", 0),
        heard(1, "Updated", MINUTE, reading(MINUTE, 100, measurand)),
        heard(2, "Ended", 2 * MINUTE, reading(2 * MINUTE, 200, measurand)),
    )
    assert told(found) == [("series", "no registers, energy of intervals was added up")]
    assert (found.import_mwh, found.export_mwh) == energies


def test_an_interval_that_ends_before_the_start_counts_from_its_own_time() -> None:
    found = judged(
        heard(0, "Started", 0, reading(-30 * SECOND, 20, IMPORT_INTERVAL)),
        heard(1, "Ended", MINUTE, reading(MINUTE, 100, IMPORT_INTERVAL)),
    )
    assert reasons(found) == ["series"]
    assert found.usage.readings == registers((0, 0, 0), (0, 20_000, 0), (MINUTE, 120_000, 0))


def test_intervals_beside_a_register_do_not_count() -> None:
    found = judged(*course(reading(MINUTE, 90, IMPORT_INTERVAL), reading(MINUTE, 90, EXPORT_INTERVAL)))
    assert (told(found), found.import_mwh, found.export_mwh) == ([], 200_000, 0)


@pytest.mark.parametrize(
    ("location", "found"),
    [("", []), ("Outlet", []), ("Inlet", [("series", "no register at the Outlet, only at Inlet")])],
)
def test_a_register_elsewhere_than_at_the_outlet_is_told(location: str, found: list[tuple[str, str]]) -> None:
    judgement = judged(*course(location=location))
    assert (told(judgement), judgement.import_mwh) == (found, 200_000)


@pytest.mark.parametrize("location", ["", "Outlet"])
def test_readings_that_lack_a_phase_are_told(location: str) -> None:
    def phases(at_ms: int, value: int, *names: str, **more: Any) -> list[Sample]:
        return [reading(at_ms, value, phase=name, location=location, **more) for name in names]

    found = judged(
        heard(0, "Started", 0, *phases(0, 1000, "L1", "L2", "L3", context=BEGIN)),
        heard(1, "Updated", MINUTE, *phases(MINUTE, 1030, "L1", "L3")),
        heard(2, "Ended", 2 * MINUTE, *phases(2 * MINUTE, 1060, "L1", "L2", "L3", context=END)),
    )
    assert told(found) == [("series", "1 readings lack a phase")]
    assert found.usage.readings == registers((0, 3_000_000, 0), (2 * MINUTE, 3_180_000, 0))


def test_a_phase_elsewhere_lacks_nothing_where_a_register_is_at_the_outlet() -> None:
    assert told(judged(*course(reading(MINUTE, 1, phase="L1", location="Inlet")))) == []


# -- the resolution of registers


@together(
    ("values", "found"),
    [
        (("10", "9"), []),
        (("10", "8"), ["fall"]),
        (("10.0", "9.9"), []),
        (("10.0", "9.8"), ["fall"]),
        (("10.00", "9.99"), []),
        (("10.00", "9.98"), ["fall"]),
        (("10", "10.10", "9.9"), ["fall"]),
        (("10.000000", "9.998999"), []),
        (("10.000000", "9.998998"), ["fall"]),
        (("10.0000000", "9.9989990"), []),
        (("10.0000000", "9.9989980"), ["fall"]),
        (("2E+1", "1E+1"), ["fall"]),
    ],
)
def test_a_register_in_kwh_may_fall_by_a_step_of_its_most_decimals(values: tuple[str, ...], found: list[str]) -> None:
    """And by 1 Wh; a step is at least 1 mWh and at most 1 kWh."""
    assert reasons(judged(*in_kwh(*values)))[:1] == found


def test_a_step_without_decimals_is_1_kwh() -> None:
    """Of 2 kWh, 1 kWh is the step and 1 Wh is rounded: 3.3 kW give the rest in 1084.819 s and the 5 s of a renewal."""
    about = TransactionContext(rating=RatedPower(3_000, 3_000))
    for step_ms, found in ((1_084_819, []), (1_084_818, ["rise"])):
        assert reasons(judged(*in_kwh("10", "12", step_ms=step_ms), about=about))[:1] == found


@together(
    ("begin", "values", "found"),
    [
        ("12345", ("12.3", "12.4", "12.6"), []),
        ("12345", ("12.34", "12.45", "12.60"), []),
        ("12345", ("12.33", "12.45", "12.60"), ["fall"]),
        ("700", ("0", "0", "1"), []),
        ("700", ("0", "0", "0"), []),
    ],
)
def test_a_register_in_kwh_may_begin_and_end_in_wh(begin: str, values: tuple[str, ...], found: list[str]) -> None:
    """As OCPP 1.6 has it, whose meterStart and meterStop are in Wh, while a station rounds its MeterValues down."""
    first, *between = in_kwh("0", *values)
    last = len(between) * MINUTE + MINUTE
    events = [
        msgspec.structs.replace(first, samples=(reading(0, begin, context=BEGIN),)),
        *(msgspec.structs.replace(each, kind="Updated") for each in between),
        heard(len(values) + 1, "Ended", last, reading(last, int(begin) + 335, context=END)),
    ]
    assert reasons(judged(*events))[:1] == found


@together(
    ("values", "found"),
    [
        ((1000, 1100, 1100, 1200, 1200), []),
        ((0, 0, 100, 100, 200, 200), []),
        ((1000, 1100, 1201, 1201, 1201), ["rise"]),
        ((1000, 1100, 1200), ["rise"]),  # so few may be whole hundreds by chance
        ((1000, 1200, 1200, 1400, 1400), ["rise"]),
    ],
)
def test_a_register_in_wh_that_shows_hundreds_alone_may_step_by_one(values: tuple[int, ...], found: list[str]) -> None:
    """A vehicle takes 6 kW, 50 Wh each 30 s; its EVSE delivers 7.4 kW at most, 79 Wh with a meter's error and 5 s."""
    last = len(values) - 1
    events = [
        heard(
            number,
            "Started" if number == 0 else "Ended" if number == last else "Updated",
            number * 30 * SECOND,
            reading(number * 30 * SECOND, value, context=BEGIN if number == 0 else END if number == last else ""),
        )
        for number, value in enumerate(values)
    ]
    assert reasons(judged(*events, about=TransactionContext(rating=RatedPower(7_400, 7_400))))[:1] == found


# -- begin and end


def test_a_register_of_export_alone_is_enough() -> None:
    found = judged(
        heard(0, "Started", 0, reading(0, 1000, EXPORT_REGISTER, context=BEGIN)),
        heard(1, "Ended", MINUTE, reading(MINUTE, 1100, EXPORT_REGISTER, context=END)),
    )
    assert told(found) == []
    assert found.usage.readings == registers((0, 0, 1_000_000), (MINUTE, 0, 1_100_000))


def test_a_single_reading_is_unpriced_though_nobody_is_known_and_nothing_flowed() -> None:
    found = judged(heard(0, "Started", 0), heard(1, "Ended", MINUTE, reading(MINUTE, 5000)), id_token=None)
    assert told(found) == [
        ("unpriced", f"no reading at begin and end: only 5000 Wh at {utc(START + MINUTE)}"),
    ]
    nothing = judged(heard(0, "Started", 0), heard(1, "Ended", MINUTE))
    assert told(nothing) == [("unpriced", "no reading at begin and end: none at all")]


def test_an_end_that_has_not_arrived_may_still_arrive() -> None:
    found = judged(*course(reading(MINUTE, 1100))[:2], closed_ms=START + HOUR, closed_reason="station_lost_it")
    assert found.findings == (Finding("end", "its end has not arrived (station_lost_it)", missing=True),)


def no_begin(first_ms: int, name: str = "import") -> tuple[str, str]:
    return "begin", f"no {name} register at the begin, the first reading is of {utc(START + first_ms)}"


def no_end(last_ms: int, name: str = "import") -> tuple[str, str]:
    return "end", f"no {name} register at the end, the last reading is of {utc(START + last_ms)}"


def begun(first_ms: int, *before: ReceivedEvent) -> list[tuple[str, str]]:
    """Return what is found of a transaction of an hour, after these events, whose first reading is of then."""
    events = [*before, heard(8, "Updated", first_ms, reading(first_ms, 1000))]
    events.sort(key=lambda each: each.at_ms)
    events = [msgspec.structs.replace(each, seq_no=number) for number, each in enumerate(events)]
    return told(judged(*events, heard(9, "Ended", HOUR, reading(HOUR, 1010, context=END))))


def ended(last_ms: int, *after: ReceivedEvent, charging: bool | None = None) -> list[tuple[str, str]]:
    """Return what is found of a transaction of an hour with these events, whose last reading is of then."""
    events = [
        heard(0, "Started", 0, reading(0, 1000, context=BEGIN), charging=charging),
        *after,
        heard(8, "Updated", last_ms, reading(last_ms, 1010)),
    ]
    events.sort(key=lambda each: each.at_ms)
    events = [msgspec.structs.replace(each, seq_no=number) for number, each in enumerate(events)]
    return told(judged(*events, heard(9, "Ended", HOUR)))


def test_the_first_reading_is_of_the_start_where_nobody_says_when_it_charged() -> None:
    started = heard(0, "Started", 0)
    assert begun(2_000, started) == []
    assert begun(2_001, started) == [no_begin(2_001)]


def test_the_first_reading_is_of_when_it_began_to_charge() -> None:
    charging = heard(0, "Started", 0), heard(1, "Updated", 10 * MINUTE, charging=True)
    assert begun(10 * MINUTE + 2_000, *charging) == []
    assert begun(10 * MINUTE + 2_001, *charging) == [no_begin(10 * MINUTE + 2_001)]


def test_what_charged_before_the_start_does_not_need_a_reading_of_then() -> None:
    charging = heard(0, "Updated", -MINUTE, charging=True), heard(1, "Started", 0)
    assert begun(2_000, *charging) == []
    assert begun(2_001, *charging) == [no_begin(2_001)]


def test_the_last_reading_is_of_the_end_where_nobody_says_when_it_charged() -> None:
    assert ended(HOUR - 2_000) == []
    assert ended(HOUR - 2_001) == [no_end(HOUR - 2_001)]


def test_the_last_reading_is_of_when_it_stopped_for_the_last_time() -> None:
    """A pause before is no end; after the last begin the first stop counts."""
    flows = [
        heard(1, "Updated", at_min * MINUTE, charging=flow)
        for at_min, flow in ((10, False), (20, True), (40, False), (50, False))
    ]
    assert ended(40 * MINUTE - 2_000, *flows, charging=True) == []
    assert ended(40 * MINUTE - 2_001, *flows, charging=True) == [no_end(40 * MINUTE - 2_001)]


def test_the_last_reading_is_of_the_first_stop_where_it_never_began_to_charge() -> None:
    flows = [heard(1, "Updated", at_min * MINUTE, charging=False) for at_min in (40, 50)]
    assert ended(40 * MINUTE - 2_000, *flows) == []
    assert ended(40 * MINUTE - 2_001, *flows) == [no_end(40 * MINUTE - 2_001)]


def test_a_stop_in_the_ms_of_the_last_begin_is_one() -> None:
    flows = [heard(1, "Updated", 10 * MINUTE, charging=flow) for flow in (True, False)]
    assert ended(10 * MINUTE - 2_000, *flows) == []
    assert ended(10 * MINUTE - 2_001, *flows) == [no_end(10 * MINUTE - 2_001)]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((500, 500), []),
        ((500, 510), [no_begin(20 * MINUTE, "export"), no_end(40 * MINUTE, "export")]),
    ],
)
def test_a_register_of_export_needs_begin_and_end_if_it_moves(
    values: tuple[int, int], found: list[tuple[str, str]]
) -> None:
    first, last = values
    judgement = judged(
        heard(0, "Started", 0, reading(0, 1000, context=BEGIN)),
        heard(1, "Updated", 20 * MINUTE, reading(20 * MINUTE, first, EXPORT_REGISTER)),
        heard(2, "Updated", 40 * MINUTE, reading(40 * MINUTE, last, EXPORT_REGISTER)),
        heard(3, "Ended", HOUR, reading(HOUR, 1010, context=END)),
    )
    assert told(judgement) == found


def test_a_register_of_import_needs_begin_and_end_though_it_does_not_move() -> None:
    found = judged(
        heard(0, "Started", 0),
        heard(1, "Updated", 20 * MINUTE, reading(20 * MINUTE, 1000)),
        heard(2, "Updated", 40 * MINUTE, reading(40 * MINUTE, 1000)),
        heard(3, "Ended", HOUR),
    )
    assert told(found) == [no_begin(20 * MINUTE), no_end(40 * MINUTE)]


def test_one_reading_of_import_is_no_begin_beside_a_whole_register_of_export() -> None:
    found = judged(
        heard(0, "Started", 0, reading(0, 1000, context=BEGIN), reading(0, 500, EXPORT_REGISTER, context=BEGIN)),
        heard(1, "Ended", HOUR, reading(HOUR, 510, EXPORT_REGISTER, context=END)),
    )
    assert told(found) == [no_begin(0)]


@pytest.mark.parametrize(("at_ms", "found"), [(0, []), (2_000, []), (20 * MINUTE, [no_begin(20 * MINUTE, "export")])])
def test_one_reading_of_export_lacks_only_its_begin(at_ms: int, found: list[tuple[str, str]]) -> None:
    judgement = judged(
        heard(0, "Started", 0, reading(0, 1000, context=BEGIN)),
        heard(1, "Updated", at_ms, reading(at_ms, 500, EXPORT_REGISTER)),
        heard(2, "Ended", HOUR, reading(HOUR, 1010, context=END)),
    )
    assert told(judgement) == found


# -- both registers over time


def test_each_time_has_both_registers() -> None:
    """The first reading stays beside another one of the start, so that nothing of what flowed until then is lost."""
    rows = (0, 1000, 500), (MINUTE, 1100, 510), (2 * MINUTE, 1200, 520), (3 * MINUTE, 1300, 530)
    found = judged(
        *(
            heard(
                number,
                "Started" if at_ms == 0 else "Ended" if at_ms == 3 * MINUTE else "Updated",
                at_ms,
                reading(at_ms, taken),
                reading(at_ms, back, EXPORT_REGISTER),
            )
            for number, (at_ms, taken, back) in enumerate(rows)
        )
    )
    assert told(found) == []
    assert found.usage.readings == registers(
        (0, 1_000_000, 500_000),
        (0, 1_000_000, 500_000),
        (MINUTE, 1_100_000, 510_000),
        (2 * MINUTE, 1_200_000, 520_000),
        (3 * MINUTE, 1_300_000, 530_000),
    )


def test_readings_at_other_times_repeat_the_other_register() -> None:
    found = judged(
        heard(0, "Started", 0, reading(0, 1000)),
        heard(1, "Updated", 1_000, reading(1_000, 500, EXPORT_REGISTER)),
        heard(2, "Updated", MINUTE, reading(MINUTE, 1100)),
        heard(3, "Updated", 2 * MINUTE, reading(2 * MINUTE, 510, EXPORT_REGISTER, context=END)),
        heard(4, "Ended", 3 * MINUTE, reading(3 * MINUTE, 1200)),
    )
    assert told(found) == []
    assert found.usage.readings == registers(
        (0, 1_000_000, 500_000),
        (1_000, 1_000_000, 500_000),
        (MINUTE, 1_100_000, 500_000),
        (2 * MINUTE, 1_100_000, 510_000),
        (3 * MINUTE, 1_200_000, 510_000),
    )


def test_readings_around_a_transaction_are_of_its_start_and_end() -> None:
    """Of several at the start the first and the last count, of those at the end the last."""
    found = judged(
        heard(0, "Started", 0, *(reading(-each * SECOND, 1030 - each) for each in (30, 20, 10, 0))),
        heard(
            1, "Ended", MINUTE, *(reading(MINUTE + each * SECOND, 1100 + each) for each in (0, 10, 20, 30))
        ),
    )  # fmt: skip
    assert told(found) == []
    assert found.usage.readings == registers((0, 1_000_000, 0), (0, 1_030_000, 0), (MINUTE, 1_130_000, 0))


def test_a_register_never_falls_though_its_last_reading_is_dated_before_another() -> None:
    found = judged(
        heard(0, "Started", 0, reading(0, 1000, context=BEGIN)),
        heard(
            1, "Ended", 2 * MINUTE, reading(2 * MINUTE, 1100), reading(90 * SECOND, 1110, context=END)
        ),
    )  # fmt: skip
    assert told(found) == []
    assert found.usage.readings == registers((0, 1_000_000, 0), (90 * SECOND, 1_110_000, 0), (2 * MINUTE, 1_110_000, 0))


# -- what is listed


@pytest.mark.parametrize(("wrong", "more"), [(7, ""), (8, ""), (9, " and 1 more"), (10, " and 2 more")])
def test_the_first_eight_of_what_is_left_out_are_listed(wrong: int, more: str) -> None:
    spikes = [10**12 - number * 10**10 for number in range(wrong)]
    points = [(number * MINUTE, value) for number, value in enumerate([1_000_000, *spikes, 1_100_000])]
    kept, findings = judge_register("import", points, 22_000)
    assert kept == [points[0], points[-1]]
    listed = ", ".join(f"{1_000_000_000 - number * 10_000_000} Wh" for number in range(min(8, wrong)))
    assert findings[-1] == Finding("rise", f"left out: {listed}{more}")
    assert len(findings) == min(8, wrong + 1) + 1
