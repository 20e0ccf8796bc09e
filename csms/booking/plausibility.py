"""Plausibility before money and totals: what a transaction used, from its events, and whether that may be so.

An amount for which nothing had to be decided is exact. Any other one is held: the judge says why, with the evidence,
and proposes what the person who releases it will book. Without two readings there is no amount: it is unpriced.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal

import msgspec

from csms.transactions.rules import (
    ENERGY_UNITS,
    EXPORT_REGISTER,
    IMPORT_REGISTER,
    OUTLET,
    Kind,
    Sample,
    Transaction,
    pays_directly,
    plain,
    power_w,
    readings,
    watt_hours,
)
from v2g.energy.conductors import VOLTAGE
from v2g.energy.settlement.intervals import Registers, Timeline
from v2g.energy.settlement.pieces import Usage
from v2g.text import age, moment

Reason = Literal[
    "journal",
    "transaction",
    "times",
    "evse",
    "token",
    "authorization",
    "certificates",
    "contract",
    "registers",
    "repeated",
    "prices",
    "superseded",
    "terms",
    "limits",
    "wear",
    "feed_in",
    "signatures",
    "unsigned",
    "charger",
    "rise",
    "fall",
    "clock",
    "begin",
    "end",
    "series",
    "events",
    "reused",
    "elsewhere",
    "cost",
    "unpriced",
]
"""What is wrong with a journal or a transaction, or missing: see docs/reference/settlement-quarantine.md."""

UNKNOWN_RATING_W: Final = 400_000
"""Rating of an EVSE whose station reports none, unless its connectors say less or more."""
_AC_W: Final = 44_000
"""No AC connector of IEC 62196-2 carries more: 3 x 63 A at 400 V."""
_MEGAWATT_W: Final = 3_750_000
"""Most that the Megawatt Charging System carries: 3000 A at 1250 V."""
_MOST_W: Final = 4_000_000
"""A station that reports a higher rating does not know it."""

_LONGEST_MS: Final = 366 * 86_400_000
_EARLIEST_MS, _LATEST_MS = 0, 32_503_680_000_000  # to the year 3000
"""Plausible times of stations' clocks; a transaction lasts at most a year. Times beyond are not priced."""

LATE_MS: Final = 120_000
"""An event that is not `offline` arrives at most so long after it happened: it is repeated (E13) within that time."""
CLOCK_MS: Final = 60_000
"""By so much a station's clock may differ from ours."""
_ORDER_MS: Final = 2_000
"""By so much times may fall between two events: a clock may be set by less than a second, and texts have whole ones."""
_RENEWED_MS: Final = 5_000
"""A register may be so old when it is read: meters renew it at least this often."""
_PERCENT: Final = 110
"""An EVSE delivers at most this share of its rating: ratings are nominal, and meters have 2 % (EN 50470, class A)."""
LEAST_MWH: Final = 1_000
"""Two readings may be wrong by so much whatever their resolution: a register falls by less when it is rounded."""
REGISTER_MWH: Final = 10_000
"""By so much a register of a meter value may differ from a journal's: the two are read at different moments."""
_SHARE: Final = 10
"""A register counts at least this part of the energy by its meter's power readings, of those that are in Wh alone."""
_APART_MS: Final = 3_600_000
"""Two power readings that are further apart say nothing of the time between."""
_DRAWN_MWH: Final = 1_000_000
"""Less by power readings than this may not have reached the register yet: some meters renew it each 15 min."""
_LEAST_BATTERY_MWH: Final = 5_000_000
"""No vehicle that reports its state of charge to an EVSE has a smaller battery."""
_COST_MWH: Final = 10_000
"""By so much, or 1 %, the energy of a station's own calculation may differ from its register."""
_CURRENT: Final = "Current.Import"
_AMPERES: Final = ("A", "Wh")
"""UnitOfMeasure without a unit is of Wh."""
_STANDBY_W: Final = 20
"""An EVSE without a vehicle may take so much: the electronics of some are behind its meter."""
_REST_W: Final = 100
"""A vehicle may take or give so much beside a limit of 0: its electronics, and by what its power differs from a
set-point."""
_IDLE_W: Final = 700
"""A vehicle may take or give so much while it does not charge: 1 A on three phases, below which stations see none."""
_AHEAD: Final = 16
"""So many runs of readings are looked through for the one that continues an earlier one."""
_FEW_READINGS: Final = 4
"""So many readings in Wh are whole tens by chance in one transaction of 10,000."""
_REGISTERS: Final = (IMPORT_REGISTER, EXPORT_REGISTER)
_INTERVALS: Final = {each.replace(".Register", ".Interval"): each for each in _REGISTERS}
_SHOWN: Final = 8
"""Findings of one kind that are shown."""
_METER: Final = "Compare the meter; release it if the energy is right"
_ADVICE: Final[Mapping[Reason, str]] = {
    "clock": "Look at the station's clock (a simulated one: `--speed`); release it if the energy is right",
    "rise": _METER, "fall": _METER, "begin": _METER, "end": _METER, "series": _METER,
    "limits": "Find out why the station did not obey",
}  # fmt: skip


class Finding(msgspec.Struct, frozen=True):
    """Why an amount is not booked. `missing`: evidence that may still arrive."""

    reason: Reason
    detail: str
    missing: bool = False


class RatedPower(msgspec.Struct, frozen=True):
    """The highest power of an EVSE into the vehicle and out of it, W."""

    import_w: int = UNKNOWN_RATING_W
    export_w: int = UNKNOWN_RATING_W

    def permits(self, watts: Decimal) -> bool:
        """Return whether an EVSE can have this power, negative out of the vehicle: a meter's error, or a lie."""
        return -self.export_w * _PERCENT <= watts * 100 <= self.import_w * _PERCENT


def rating_of(power_w: float | None, discharge_w: float | None, connectors: Sequence[str]) -> RatedPower:
    """Return an EVSE's rating by what its station reports: highest power, highest power out of the vehicle, and types
    of connectors (ConnectorTypeEnumType). The power into the vehicle counts for both where only that is reported."""
    if power_w is None or not 0 < power_w <= _MOST_W:
        power_w = UNKNOWN_RATING_W
        if any("MCS" in each for each in connectors):
            power_w = _MEGAWATT_W
        elif connectors and all(each.startswith(("s", "cType", "wInductive")) for each in connectors):
            power_w = _AC_W
    if discharge_w is None or not 0 < discharge_w <= _MOST_W:
        discharge_w = power_w
    return RatedPower(import_w=round(power_w), export_w=round(discharge_w))


class ReceivedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a transaction as it was received. Times are UTC ms.

    `earliest_ms`: it cannot have happened before, by what was known when it arrived: receipt, boot, offline span.
    `charging`, `evse_id` and `cost_wh`, the energy in the station's own calculation of the cost, are None where the
    event says nothing.
    """

    seq_no: int
    kind: Kind
    at_ms: int
    received_ms: int
    offline: bool = False
    earliest_ms: int | None = None
    charging: bool | None = None
    evse_id: int | None = None
    cost_wh: float | None = None
    samples: tuple[Sample, ...] = ()


class Conflict(msgspec.Struct, frozen=True):
    """Another content that arrived under a number which the transaction has already."""

    seq_no: int
    received_ms: int
    detail: str


Point = tuple[int, int]
"""Time (UTC ms) and value: mWh of a register, W of a limit."""


class HeldBefore(msgspec.Struct, frozen=True):
    """A transaction before another one at its EVSE that does not stand. Times are its station's (UTC ms).

    `ended_ms` is None if its end is not known; `shown`: the last readings of import and export.
    """

    name: str
    begin_ms: int
    ended_ms: int | None
    shown: tuple[Point | None, Point | None]


class TransactionContext(msgspec.Struct, frozen=True, kw_only=True):
    """What this back end knows beside a transaction's events.

    `free_ms`: when the last transaction before it at its EVSE that is not held ended; `left_mwh`: the registers of
    import and export then, None where that meter counts each transaction from 0; `since`: all others that were there
    meanwhile, None where it is not known.
    `by_time`: its price depends on times, so each event counts; `by_state`: on when it charges, too. `gaps`: ranges of
    numbers that have not arrived.
    `permitted`: the most power into the vehicle and out of it by the limits in force, W from a time (UTC ms) on.
    """

    rating: RatedPower = RatedPower()
    permitted: tuple[Sequence[Point], Sequence[Point]] = ((), ())
    free_ms: int | None = None
    left_mwh: tuple[int | None, int | None] = (None, None)
    since: Sequence[HeldBefore] | None = None
    conflicts: tuple[Conflict, ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()
    by_time: bool = False
    by_state: bool = False


class JudgedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a transaction used: exact without `findings`, else a proposal.

    `timed`: no time in it was corrected, and its states fit; otherwise nothing may be priced by time.
    `imports` and `exports`: what the meter showed first and last, without readings that are left out (mWh); None
    without a register.
    """

    usage: Usage
    findings: tuple[Finding, ...] = ()
    timed: bool = True
    imports: tuple[int, int] | None = None
    exports: tuple[int, int] | None = None

    @property
    def import_mwh(self) -> int:
        """The energy taken, mWh."""
        found = self.usage.readings
        return found[-1].import_mwh - found[0].import_mwh if found else 0

    @property
    def export_mwh(self) -> int:
        """The energy fed back, mWh."""
        found = self.usage.readings
        return found[-1].export_mwh - found[0].export_mwh if found else 0

    @property
    def detail(self) -> str:
        """All findings as one text, and what to do about the first."""
        details = "; ".join(each.detail for each in self.findings)
        advice = _ADVICE.get(self.findings[0].reason) if self.findings else None
        return f"{details}. {advice}." if advice else details


def earliest_ms(
    received_ms: int, *, offline: bool, booted_ms: int | None, away_ms: int | None, known_ms: int | None,
    waited_ms: int = 0,
) -> int | None:  # fmt: skip
    """Return before when an event cannot have happened (UTC ms), None if nothing says.

    `booted_ms`: when its station last booted; `away_ms`: when it was last heard before it was offline; `known_ms`: when
    it was first seen at all. An `offline` event is of the time without a connection, any other one of just now.
    `waited_ms`: by so much longer than usual its station may have had to wait, for this back end. A time after the
    receipt is of before this back end's clock was set back, and says nothing.
    """
    apart_ms = CLOCK_MS + waited_ms
    if offline:
        known = known_ms if away_ms is None else away_ms
        return None if known is None or known > received_ms else known - apart_ms
    late_ms = received_ms - LATE_MS - waited_ms
    return late_ms if booted_ms is None or booted_ms > received_ms else max(late_ms, booted_ms - apart_ms)


def judge_usage(
    transaction: Transaction, received: Sequence[ReceivedEvent], end_ms: int, about: TransactionContext
) -> JudgedUsage:
    """Return what a transaction used up to its end or, before that, `end_ms`, from its events in order of seqNo.

    Events that have arrived since its id was used again do not count.
    """
    findings = list(_of_events(transaction, received, about))
    reused_ms = _reused_ms(transaction, about)
    if reused_ms is not None:
        received = [each for each in received if each.received_ms < reused_ms]
    events, of_clock = _timed(received, about)
    start_ms, end_ms = _span(transaction, events, end_ms)
    series, of_series = _series([sample for each in events for sample in each.samples], start_ms)
    findings += [*of_clock, *of_series]
    if about.by_time and not of_clock:
        findings += _unsure(events, about)
    if not transaction.active:
        findings += _of_ends(transaction, events, series, (start_ms, end_ms))
    charging: list[tuple[int, bool]] = []
    for each in events:
        if each.charging is not None and (not charging or charging[-1][1] != each.charging):
            charging.append((min(max(start_ms, each.at_ms), end_ms), each.charging))
    measured, by_current = _powers(events, about.rating)
    gained = 0 if series[1] else _gained(events, about.rating)
    points: list[list[Point]] = []
    stood: list[tuple[int, int] | None] = []
    of_states: list[Finding] = []
    for way, (name, samples, rating_w) in enumerate(
        zip(("import", "export"), series, (about.rating.import_w, about.rating.export_w), strict=True)
    ):
        found = [(each.at_ms, _mwh(each)) for each in samples]
        if len(found) > 1 and samples[0].context == "Transaction.Begin" and found[0][0] == found[1][0]:
            found[0] = min(start_ms, found[0][0]), found[0][1]  # the end repeats it in one meter value with its own
        if below := [value for _, value in found if value < 0]:  # such as -1 for a meter that does not answer
            findings.append(Finding("series", f"the {name} register is below zero: {_listed(map(wh, below))} Wh"))
            found = [each for each in found if each[1] >= 0]
        resolution_mwh = _resolution_mwh(samples)
        if len(found) > 1 and (other := _other_than(name, found, about, way, start_ms, rating_w, resolution_mwh)):
            findings.append(other)
            if other.reason == "rise":
                found = found[1:]
        clean, of_register = judge_register(name, found, rating_w, resolution_mwh)
        points.append(clean)
        last = next((value for at, value in reversed(found) if at == clean[-1][0]), 0)
        stood.append((clean[0][1], last) if clean else None)
        findings += of_register
        findings += judge_limits(name, clean, about.permitted[way], rating_w, resolution_mwh)
        flows = [(at_ms, max(0, -watts if way else watts)) for at_ms, watts in measured]
        drawn = [(_drawn(flows), "power")]
        if not series[1]:  # a current may have no direction, and what is fed back lowers the state of charge
            drawn += [(_drawn(by_current), "current"), (gained, "state of charge")]
        findings += [each for one in drawn for each in _judge_drawn(name, clean, *one)][:1]
        if about.by_state and not transaction.active:
            of_states += _judge_states(name, clean, charging, rating_w, resolution_mwh)
    findings += of_states
    usage = Usage(
        start_ms=start_ms,
        end_ms=end_ms,
        readings=_registers(points[0], points[1], (start_ms, end_ms)),
        charging=tuple(charging),
    )
    timed = not of_clock and not of_states
    judged = JudgedUsage(usage=usage, findings=tuple(findings), timed=timed, imports=stood[0], exports=stood[1])
    costs = [each.cost_wh for each in events if each.kind == "Ended" and each.cost_wh is not None]
    if costs:  # one of before is of a part (I12)
        taken = judged.import_mwh
        if abs(costs[-1] * 1000 - taken) > max(_COST_MWH, taken // 100):
            detail = f"the station's cost is for {costs[-1]:g} Wh, its register says {wh(taken)} Wh"
            return msgspec.structs.replace(judged, findings=(*findings, Finding("cost", detail)))
    return judged


def energy_between(usage: Usage, start_ms: int, end_ms: int) -> int:
    """Return the energy taken less what was fed back in `[start_ms, end_ms)`, mWh: even between two readings, none
    before the first and after the last.
    """
    if not usage.readings:
        return 0
    first, last = usage.readings[0].utc_ms, usage.readings[-1].utc_ms
    timeline = Timeline(usage.readings)
    begin, end = (timeline.at(min(max(first, each), last)) for each in (start_ms, end_ms))
    return (end.import_mwh - begin.import_mwh) - (end.export_mwh - begin.export_mwh)


# -- events and their times


def _of_events(
    transaction: Transaction, received: Sequence[ReceivedEvent], about: TransactionContext
) -> Iterator[Finding]:
    """Yield where events contradict each other, or are missing."""
    reused = _reused_ms(transaction, about) is not None
    for conflict in about.conflicts[:_SHOWN]:
        again = reused and conflict.seq_no == transaction.started_seq
        what = "began again with" if again else "has a second content of"
        yield Finding("reused" if reused else "events", f"it {what} event {conflict.seq_no}: {conflict.detail}")
    if transaction.started_seq is None and not transaction.active:
        yield Finding("events", "its start has not arrived", missing=True)
    for kind in ("Started", "Ended"):
        numbers = [each.seq_no for each in received if each.kind == kind]
        if len(numbers) > 1:
            yield Finding("events", f"it has {len(numbers)} events {kind}: {_listed(numbers)}")
    if transaction.ended_seq is not None:
        after = [each.seq_no for each in received if each.seq_no > transaction.ended_seq and each.samples]
        if after:
            yield Finding("events", f"readings came after its end: events {_listed(after)}")
    places = sorted({each.evse_id for each in received if each.evse_id})
    if len(places) > 1:
        yield Finding("evse", f"it is at EVSEs {_listed(places)}")
    if about.gaps and about.by_time and not transaction.active:
        missing = [f"{first} to {last}" for first, last in about.gaps]
        yield Finding("events", f"its price depends on time, and events are missing: {_listed(missing)}", missing=True)


def _reused_ms(transaction: Transaction, about: TransactionContext) -> int | None:
    """Return when another transaction has begun with the same id, None if none has."""
    began = [each.received_ms for each in about.conflicts if each.seq_no == transaction.started_seq]
    return min(began, default=None)


def _timed(received: Sequence[ReceivedEvent], about: TransactionContext) -> tuple[list[ReceivedEvent], list[Finding]]:
    """Return events with times that may be so, and what was corrected.

    An event that is not offline has the time of its receipt instead of an impossible one, offline ones are as far apart
    as their station says, by a clock that was behind, or ahead.
    """
    behind_ms, ahead_ms = 0, max((each.at_ms - each.received_ms for each in received if each.offline), default=0)
    events: list[ReceivedEvent] = []
    findings: list[Finding] = []
    for each in received:
        bounds = [each.earliest_ms]
        if each.kind == "Started" and about.free_ms is not None:
            bounds.append(about.free_ms - CLOCK_MS)
        low_ms = max((bound for bound in bounds if bound is not None), default=each.at_ms)
        before_ms = events[-1].at_ms if events else low_ms
        at_ms = each.at_ms
        if not low_ms <= at_ms <= each.received_ms + CLOCK_MS:
            possible = f"came at {moment(each.received_ms)}"
            if at_ms < low_ms:
                possible = f"can be of {moment(low_ms)} at the earliest"
            findings.append(Finding("clock", f"event {each.seq_no} is of {moment(at_ms)}, but {possible}"))
            meant_ms = at_ms + behind_ms if at_ms < low_ms else at_ms - ahead_ms
            at_ms = each.received_ms if not each.offline else min(max(meant_ms, low_ms), each.received_ms)
            behind_ms = max(0, at_ms - each.at_ms)
        elif at_ms < before_ms - _ORDER_MS:
            findings.append(
                Finding("clock", f"event {each.seq_no} is {age(before_ms - at_ms)} before the one before it")
            )
        at_ms = max(at_ms, before_ms)
        samples = []
        for sample in each.samples:
            moved_ms = sample.at_ms + at_ms - each.at_ms if abs(sample.at_ms - each.at_ms) <= CLOCK_MS else sample.at_ms
            first_ms = events[0].at_ms if events else at_ms
            if not first_ms - CLOCK_MS <= moved_ms <= at_ms + CLOCK_MS:
                findings.append(Finding("clock", f"a reading in event {each.seq_no} is of {moment(sample.at_ms)}"))
                moved_ms = at_ms
            samples.append(sample if moved_ms == sample.at_ms else msgspec.structs.replace(sample, at_ms=moved_ms))
        events.append(msgspec.structs.replace(each, at_ms=at_ms, samples=tuple(samples)))
    return events, findings[:_SHOWN]


def _unsure(events: Sequence[ReceivedEvent], about: TransactionContext) -> Iterator[Finding]:
    """Yield what is wrong with times of events that were offline, if others do not bound them as receipt bounds one.

    They are between the events that were not offline, and not before the transaction before ended.
    """
    low_ms = about.free_ms
    unsure: list[int] = []
    for place, each in enumerate(events):
        if not each.offline:
            low_ms = each.at_ms
            continue
        lows = [bound for bound in (low_ms, each.earliest_ms) if bound is not None]
        high_ms = min([each.received_ms, *(other.at_ms for other in events[place:] if not other.offline)])
        if not lows or high_ms - max(lows) > LATE_MS + CLOCK_MS:
            unsure.append(each.seq_no)
    if unsure:
        detail = f"its price depends on time, and only its station knows that of the offline events {_listed(unsure)}"
        yield Finding("clock", detail)


def _span(transaction: Transaction, events: Sequence[ReceivedEvent], end_ms: int) -> tuple[int, int]:
    """Return when a transaction began and ended, by its events' corrected times."""
    times = {each.seq_no: each.at_ms for each in events}
    first_ms, last_ms = min(times.values(), default=end_ms), max(times.values(), default=end_ms)
    start_ms = first_ms if transaction.started_seq is None else times.get(transaction.started_seq, first_ms)
    start_ms = max(_EARLIEST_MS, min(start_ms, _LATEST_MS))
    if transaction.ended_seq is not None:
        end_ms = times.get(transaction.ended_seq, last_ms)
    return start_ms, min(max(start_ms, end_ms), start_ms + _LONGEST_MS)


# -- registers


def _series(samples: Sequence[Sample], start_ms: int) -> tuple[tuple[list[Sample], list[Sample]], list[Finding]]:
    """Return the readings of both registers, and what had to be decided to find them."""
    series, findings = readings(samples), list[Finding]()
    of_register = [each for each in samples if each.measurand in _REGISTERS]
    units = sorted({each.unit for each in of_register if each.unit not in ENERGY_UNITS})
    if units:
        findings.append(Finding("series", f"registers in {_listed(units)}, which is no unit of active energy"))
    if not any(series):
        intervals = readings(
            msgspec.structs.replace(each, measurand=_INTERVALS[each.measurand])
            for each in samples
            if each.measurand in _INTERVALS
        )
        if any(intervals):
            findings.append(Finding("series", "no registers, energy of intervals was added up"))
            series = _added_up(intervals[0], start_ms), _added_up(intervals[1], start_ms)
    for each in series:
        if each and each[0].location not in ("", OUTLET):
            findings.append(Finding("series", f"no register at the {OUTLET}, only at {each[0].location}"))
    there = {(each.measurand, each.at_ms, each.context) for register in series for each in register}
    left_out = {
        (each.measurand, each.at_ms, each.context)
        for each in of_register
        if each.phase and each.unit in ENERGY_UNITS and each.location in ("", OUTLET)
    } - there
    if left_out:
        findings.append(Finding("series", f"{len(left_out)} readings lack a phase"))
    return series, findings


def _added_up(intervals: Sequence[Sample], start_ms: int) -> list[Sample]:
    """Return a register that begins at 0 Wh and has counted these intervals."""
    total, found = Decimal(), list[Sample]()
    for each in intervals:
        if not found:
            found.append(msgspec.structs.replace(each, at_ms=min(start_ms, each.at_ms), value="0", unit="Wh"))
        total += watt_hours(each)
        found.append(msgspec.structs.replace(each, value=str(total), unit="Wh"))
    return found


def _of_ends(
    transaction: Transaction,
    events: Sequence[ReceivedEvent],
    series: tuple[Sequence[Sample], Sequence[Sample]],
    span: tuple[int, int],
) -> Iterator[Finding]:
    """Yield what an ended transaction lacks to be priced: a reading at its begin and one at its end."""
    imports, exports = series
    flows = [(each.at_ms, each.charging) for each in events if each.charging is not None]
    begins = [at_ms for at_ms, flow in flows if flow]
    if max(len(imports), len(exports)) < 2:
        known = transaction.id_token is not None and not pays_directly(transaction)
        there = [f"only {plain(watt_hours(each))} Wh at {moment(each.at_ms)}" for each in (*imports, *exports)]
        if there or begins or known:
            yield Finding("unpriced", f"no reading at begin and end: {', '.join(there) or 'none at all'}")
        return
    if transaction.ended_seq is None and transaction.closed_reason != "operator":
        yield Finding("end", f"its end has not arrived ({transaction.closed_reason})", missing=True)
    flowed_ms = max(begins[0] if begins else span[0], span[0]) + _ORDER_MS
    moved = [
        after.at_ms for each in series for before, after in itertools.pairwise(each) if after.value != before.value
    ]
    flowed_last_ms = begins[-1] if begins else max(moved, default=0) + 1  # some never say that they charge
    stops = [at_ms for at_ms, flow in flows if not flow and at_ms >= flowed_last_ms]
    stopped_ms = min(stops, default=span[1]) - _ORDER_MS
    for name, register in (("import", imports), ("export", exports)):
        if not register or (name == "export" and len({each.value for each in register}) == 1 < len(register)):
            continue  # a register that the station does not have, or that has not moved
        first, last = register[0], register[-1]
        if (len(register) < 2 and name == "import") or (
            first.context != "Transaction.Begin" and first.at_ms > flowed_ms
        ):
            yield Finding("begin", f"no {name} register at the begin, the first reading is of {moment(first.at_ms)}")
        if (
            len(register) > 1
            and last.context != "Transaction.End"
            and last.at_ms < stopped_ms
            and transaction.ended_seq is not None
        ):
            yield Finding("end", f"no {name} register at the end, the last reading is of {moment(last.at_ms)}")


def _other_than(
    name: str, points: Sequence[Point], about: TransactionContext, way: int, start_ms: int, rating_w: int,
    resolution_mwh: int,
) -> Finding | None:  # fmt: skip
    """Return what is wrong with a first reading, by what the register was when the transaction before ended.

    A lower one is of before that. A higher one than could be by now says that energy flowed without a transaction: the
    electronics may take some, and one that is held may have gone on after its last reading.
    """
    begin, left = points[0][1], about.left_mwh[way]
    if left is None:
        return None
    stood = f"it begins at {wh(begin)} Wh, the {name} register of its EVSE stood at"
    if begin + LEAST_MWH < left <= max(value for _, value in points):
        return Finding("rise", f"{stood} {wh(left)} Wh before it")
    if about.since is None or about.free_ms is None:
        return None
    most, when, unread_ms = left, "before it", 0
    for each in about.since:
        at_ms, value = each.shown[way] or (each.begin_ms, 0)
        unread_ms += max(0, (start_ms if each.ended_ms is None else each.ended_ms) - at_ms)
        if value > most:
            most, when = value, f"after {each.name}"
    flowed = _STANDBY_W * max(0, start_ms - about.free_ms) // 3600 + rating_w * _PERCENT * unread_ms // 360_000
    if begin > most + LEAST_MWH + resolution_mwh + flowed:
        return Finding("begin", f"{stood} {wh(most)} Wh {when}")
    return None


def judge_register(
    name: str, points: Sequence[Point], rating_w: int, resolution_mwh: int = 0
) -> tuple[list[Point], list[Finding]]:
    """Return the readings of a register, never falling, and what cannot be: falls, and more than an EVSE delivers.

    `points` are in order. If something cannot be, readings are left out (placeholders, spikes) or begin a new base (a
    reset, another meter), and every one of these decisions is a finding.
    """
    runs: list[list[Point]] = []
    findings: list[Finding] = []
    for point in points:
        if runs and _follows(runs[-1], point, rating_w, resolution_mwh):
            runs[-1].append(point)
            continue
        if runs:
            findings.append(_break(name, runs[-1][-1], point, rating_w))
        runs.append([point])
    kept, left_out = runs[:1], list[Point]()
    index = 1
    while index < len(runs):
        ahead = range(index, min(len(runs), index + _AHEAD))
        joins = next((at for at in ahead if _follows(kept[-1], runs[at][0], rating_w, resolution_mwh)), None)
        if joins is not None:  # what is between are spikes
            left_out += [point for run in runs[index:joins] for point in run]
            kept[-1] = [*kept[-1], *runs[joins]]
            index = joins
        elif len(kept[0]) == 1:  # a placeholder before the register
            left_out += kept[0]
            kept[0] = runs[index]
        elif len(runs[index]) == 1:
            left_out += runs[index]
        else:
            kept.append(runs[index])
        index += 1
    shown = findings[:_SHOWN]
    if left_out:
        shown.append(Finding(shown[0].reason, f"left out: {_listed(f'{wh(value)} Wh' for _, value in left_out)}"))
    if kept[1:]:
        bases = _listed(f"{wh(run[0][1])} Wh" for run in kept[1:])
        shown.append(Finding(shown[0].reason, f"counted on from a new base: {bases}"))
    found: list[Point] = []
    for run in kept:
        base = found[-1][1] - run[0][1] if found else 0
        for at_ms, value in run:
            found.append((at_ms, max(found[-1][1], value + base) if found else value))
    return found, shown


def judge_limits(
    name: str, points: Sequence[Point], permitted: Sequence[Point], rating_w: int, resolution_mwh: int = 0
) -> Iterator[Finding]:
    """Yield where a register rises by more than the limits in force permitted: the part that exceeds them most.

    `permitted` are W from a time on; before the first one the EVSE's rating counts.
    """
    if all(power_w >= rating_w for _, power_w in permitted):
        return
    steps = [(0, rating_w), *((at, min(each, rating_w)) for at, each in permitted)]
    excess, first, last = _most_excess(points, steps)
    if excess > _slack(rating_w, resolution_mwh):
        most_w = max(each for at, each in steps if at < last[0] and each < rating_w)
        more = f"{wh(excess // 360_000)} Wh more than limits of up to {kw(most_w)} permitted"
        yield Finding("limits", f"{_rise(name, first, last)}: {more}")


def _powers(events: Iterable[ReceivedEvent], rating: RatedPower) -> tuple[list[Point], list[Point]]:
    """Return all readings of the power at the outlet, W, in order of time: as measured, and what the current into the
    vehicle comes to at least, at 230 V. What the EVSE cannot have is in another unit than it says."""
    found: dict[int, list[Sample]] = {}
    for each in events:
        for sample in each.samples:
            if sample.measurand.startswith(("Power.", _CURRENT)):  # few of them, and each time is a call
                found.setdefault(sample.at_ms, []).append(sample)
    measured, by_current = list[Point](), list[Point]()
    for at_ms, samples in sorted(found.items()):
        if (watts := power_w(samples)) is not None and rating.permits(Decimal(watts)):
            measured.append((at_ms, round(float(watts))))
        amperes = [Decimal(each.value) for each in samples if each.measurand == _CURRENT and each.unit in _AMPERES]
        if amperes and rating.permits(max(amperes) * VOLTAGE):
            by_current.append((at_ms, round(max(amperes) * VOLTAGE)))
    return measured, by_current


def _drawn(powers: Sequence[Point]) -> int:
    """Return the energy that power readings come to at least, mWh."""
    steps = [(min(one[1], other[1]), other[0] - one[0]) for one, other in itertools.pairwise(powers)]
    return sum(watts * ms for watts, ms in steps if ms <= _APART_MS) // 3600


def _gained(events: Iterable[ReceivedEvent], rating: RatedPower) -> int:
    """Return the energy by which a battery's state of charge says that it has gained at least, mWh.

    Stations send 0 while they do not know it. A rise that the EVSE could not deliver says nothing.
    """
    states = [
        (each.at_ms, Decimal(each.value))
        for event in events
        for each in event.samples
        if each.measurand == "SoC" and 0 < Decimal(each.value) <= 100
    ]
    gained = 0
    for (before_ms, before), (at_ms, state) in itertools.pairwise(sorted(states)):
        rise = round((state - before) * _LEAST_BATTERY_MWH / 100)
        most = rating.import_w * _PERCENT * (at_ms - before_ms + _RENEWED_MS) // 360_000
        gained += rise if rise <= most else 0
    return gained


def _judge_drawn(name: str, points: Sequence[Point], drawn: int, by: str) -> Iterator[Finding]:
    """Yield that a register rises by far less than what was drawn at least (mWh): it is in kWh and labelled Wh, or
    stands still."""
    if points and drawn >= _DRAWN_MWH and drawn > _SHARE * (points[-1][1] - points[0][1]):
        by_other = f"{wh(drawn)} Wh or more by the {by} that was read meanwhile"
        yield Finding("series", f"{_rise(name, points[0], points[-1])}: {by_other}")


def _judge_states(
    name: str, points: Sequence[Point], charging: Sequence[tuple[int, bool]], rating_w: int, resolution_mwh: int
) -> Iterator[Finding]:
    """Yield where a register rises though no event says that it charges: that time would be priced as idle."""
    if not charging and points and points[-1][1] > points[0][1] + LEAST_MWH + resolution_mwh:
        yield Finding("events", f"no event says whether it charges: {_rise(name, points[0], points[-1])}")
    elif charging:
        steps = [(0, _IDLE_W), *((at_ms, rating_w if flows else _IDLE_W) for at_ms, flows in charging)]
        excess, first, last = _most_excess(points, steps)
        if excess > _slack(rating_w, resolution_mwh):
            more = f"{wh(excess // 360_000)} Wh more than while its events say that it charges"
            yield Finding("events", f"{_rise(name, first, last)}: {more}")


def _most_excess(points: Sequence[Point], steps: Sequence[Point]) -> tuple[int, Point, Point]:
    """Return by how much a register rises more than powers (W) from a time on permit, and where it does so most.

    The excess is in mWh * 360,000, 0 for none.
    """
    none = points[0] if points else (0, 0)
    worst, total, begin, place = (0, none, none), 0, none, 0
    for before, after in itertools.pairwise(points):
        allowed, at_ms = 0, before[0]
        while at_ms < after[0]:
            while place + 1 < len(steps) and steps[place + 1][0] <= at_ms:
                place += 1
            until_ms = after[0] if place + 1 == len(steps) else min(after[0], steps[place + 1][0])
            allowed, at_ms = allowed + max(_REST_W, steps[place][1]) * (until_ms - at_ms), until_ms
        if total <= 0:
            total, begin = 0, before
        total += (after[1] - before[1]) * 360_000 - allowed * _PERCENT
        worst = max(worst, (total, begin, after), key=lambda each: each[0])
    return worst


def _slack(rating_w: int, resolution_mwh: int) -> int:
    """Return the excess that a register may seem to have: it is rounded, and as old as meters renew it."""
    return (LEAST_MWH + resolution_mwh) * 360_000 + rating_w * _PERCENT * _RENEWED_MS


def _rise(name: str, first: Point, last: Point) -> str:
    rise = f"the {name} register rises from {wh(first[1])} to {wh(last[1])} Wh in {_lasting(last[0] - first[0])}"
    return f"{rise}, at {moment(last[0])}"


def _follows(run: Sequence[Point], point: Point, rating_w: int, resolution_mwh: int) -> bool:
    """Return whether a reading may follow a run of them: by the last step, and by all of them."""
    least, most_w = LEAST_MWH + resolution_mwh, rating_w * _PERCENT
    return all(
        -least <= point[1] - value <= most_w * (max(0, point[0] - at_ms) + _RENEWED_MS) // (100 * 3600) + least
        for at_ms, value in (run[-1], run[0])
    )


def _break(name: str, before: Point, after: Point, rating_w: int) -> Finding:
    if after[1] < before[1]:
        detail = f"the {name} register falls from {wh(before[1])} to {wh(after[1])} Wh, at {moment(after[0])}"
        return Finding("fall", detail)
    lasting = _lasting(max(0, after[0] - before[0]))
    detail = f"the {name} register rises from {wh(before[1])} to {wh(after[1])} Wh in {lasting}"
    return Finding("rise", f"{detail}, at {moment(after[0])}: more than {kw(rating_w)}")


def _registers(imports: Sequence[Point], exports: Sequence[Point], span: tuple[int, int]) -> tuple[Registers, ...]:
    """Return both registers at each time at which one was read, within the transaction."""
    found: list[Registers] = []
    values = [register[0][1] if register else 0 for register in (imports, exports)]
    at_ms = span[0]
    events = [(at, way, value) for way, register in enumerate((imports, exports)) for at, value in register]
    for at, way, value in sorted(events, key=lambda each: each[0]):
        values[way] = max(values[way], value)
        at_ms = min(max(at_ms, at), span[1])
        if len(found) > 1 and found[-1].utc_ms == at_ms:
            found.pop()
        found.append(Registers(at_ms, values[0], values[1]))
    return tuple(found)


def _resolution_mwh(samples: Iterable[Sample]) -> int:
    """Return the resolution of a register by its finest reading in kWh, mWh, at most 1 kWh: its begin and end may be in
    Wh beside those (OCPP 1.6).

    One in Wh shows each, unless all of some readings are tens, hundreds or thousands: its station multiplies.
    """
    shown = [(each.unit, watt_hours(each)) for each in samples]
    in_kwh = [reading for unit, reading in shown if unit == "kWh"]
    readings = [each for each in in_kwh or (reading for _, reading in shown) if each]
    finest = min((int(each.normalize().as_tuple().exponent) for each in readings), default=3)
    if not in_kwh and (finest <= 0 or len(readings) < _FEW_READINGS):
        return 0
    return int(Decimal(1000).scaleb(max(-3, min(3, finest))))


def last_shown(register: Iterable[Sample], span: tuple[int, int] | None) -> Point | None:
    """Return when a register last showed the last of the two values that count (mWh), and that."""
    if span is None:
        return None
    return max(((each.at_ms, span[1]) for each in register if _mwh(each) == span[1]), default=None)


def _mwh(sample: Sample) -> int:
    return int(watt_hours(sample).scaleb(3))


def wh(mwh: int) -> str:
    """Return an energy as text, in Wh."""
    return plain(Decimal(mwh).scaleb(-3))


def kw(watts: int) -> str:
    """Return a power as text, in kW."""
    return f"{watts / 1000:g} kW"


def _lasting(ms: int) -> str:
    return f"{ms / 1000:g} s" if ms < 120_000 else age(ms)


def _listed(found: Iterable[object]) -> str:
    """Return the first few of them, and how many more there are."""
    names = [str(each) for each in found]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
