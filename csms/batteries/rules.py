"""What is known of a vehicle's battery: the newest values, and the states of all detectors, record by record."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from csms.alerts.rules import Evidence, Kind, Report
from csms.telemetry.rules import StoredRecord
from v2g import typed_json
from v2g.battery import detectors, health, runaway
from v2g.battery.report import HealthReport, ReportedEvent, make_report
from v2g.battery.sample import Finding, Sample
from v2g.battery.scores import ScoreSettings, ScoreState
from v2g.battery.scores import step as scored
from v2g.battery.twin import calibrated as calibrate
from v2g.battery.usage import UsageState
from v2g.battery.usage import step as use
from v2g.errors import RefusedError
from v2g.events import Severity
from v2g.telemetry.local_events import CONSENT, FINDING, LocalEvent
from v2g.telemetry.privacy import SCORES
from v2g.telemetry.signals import Record, Value

ESTIMATES_MS: Final = 900_000
"""Width of the intervals of which the last estimates are kept."""


class Battery(msgspec.Struct, frozen=True):
    """A battery after the record (boot, seq) and so many `changes` by checks. `held`: the newest value by signal.

    `scores`: None without the consent of the vehicle's person, which the record `consent` has said or withdrawn last.
    """

    boot: int = 0
    seq: int = 0
    changes: int = 0
    held: dict[str, float] = {}
    state: detectors.DetectorState = detectors.DetectorState()
    usage: UsageState = UsageState()
    scores: ScoreState | None = None
    consent: tuple[int, int] = (0, 0)


class Advanced(msgspec.Struct, frozen=True):
    """A battery after some records, and what was found. `estimates`: (begin of the interval, ms; values by name)."""

    battery: Battery
    reports: tuple[Report, ...]
    estimates: tuple[tuple[int, dict[str, float]], ...] = ()


class BatteryCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A battery compared with what was measured at it (R124), its twin's calibration (R169), or the reset of a thermal
    runaway by a person (R126), at `at_ms` (UTC).

    `reference`: `measured_ah` and `estimated_ah` (Ah), and `error_percent` between them. `calibration`: the residuals
    `residual_v` (V of a cell) and `residual_c` (K) that are offsets of its sensors from now on.
    """

    ev: str
    kind: Literal["reference", "calibration", "reset"]
    at_ms: int
    values: Mapping[str, float]
    by: str
    note: str = ""


class BatteryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Checks of batteries against references in a month (UTC): how many `vehicles` are known and `checked`.

    `apart`: those whose last check of the month was beyond the limit; `worst_percent` and `rms_percent` are of the last
    checks' errors.
    """

    month: str
    vehicles: int
    checked: int
    apart: int
    worst_percent: float | None
    rms_percent: float | None


class VehicleHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Estimated state of health of a vehicle's battery, and what is expected half a year later (%)."""

    ev: str
    percent: float
    expected_percent: float | None


class FleetHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Estimated state of health of batteries at `at_ms` (UTC), %: of `vehicles` with an estimate in the 31 days before.

    `low` is how many are below the limit of `soh_low`, `weakest` the ten lowest. Half a year later: `expected_percent`
    is the mean, and `expected_low` how many are below, of the `forecast` ones.
    """

    at_ms: int
    vehicles: int
    lowest_percent: float | None
    mean_percent: float | None
    highest_percent: float | None
    low: int
    forecast: int
    expected_percent: float | None
    expected_low: int
    weakest: tuple[VehicleHealth, ...]


class _Document(msgspec.Struct, frozen=True):
    keyframe: bool
    event: LocalEvent | None = None


class _Finding(msgspec.Struct, frozen=True):
    kind: Kind
    severity: Severity
    raised: bool
    value: float | None = None
    limit: float | None = None
    cell: int | None = None


_MOST_PERCENT: Final = 130
"""A new battery has at most this share of its nominal capacity."""

_document = typed_json.decoder(_Document).decode


def advance(
    settings: detectors.DetectorSettings,
    battery: Battery,
    records: Sequence[StoredRecord],
    scoring: ScoreSettings | None = None,
) -> Advanced:
    """Let the detectors take a vehicle's next records, by (boot, seq); those up to the battery's change nothing.

    So do those that come after later ones, except that what the vehicle itself found, and consent or its end, count
    whenever they come. With `scoring` scores are kept while there is consent, which each boot says anew.
    """
    scores, consent = battery.scores, battery.consent
    place, held, state = (battery.boot, battery.seq), battery.held, battery.state
    used, pack = battery.usage, settings.health.pack
    reports: list[Report] = []
    ends: dict[int, detectors.DetectorState] = {}
    waiting: list[tuple[StoredRecord, Sample]] = []

    def take_waiting() -> None:
        nonlocal state, used
        stepped = detectors.steps(settings, state, [sample for _, sample in waiting])
        for (each, _), (state, found) in zip(waiting, stepped, strict=True):
            reports.extend(_report(each.ev, finding, (each.boot, each.seq)) for finding in found)
            ends[each.at_ms // ESTIMATES_MS * ESTIMATES_MS] = state
        if pack is not None:
            for each, sample in waiting:
                used = use(pack, used, sample, each.context)
        waiting.clear()

    for each in records:
        document = _document(each.document)
        here = each.boot, each.seq
        if document.event is not None and (theirs := found_by_vehicle(each.ev, here, document.event, each.values)):
            take_waiting()
            reports += theirs
            if any(_resets(state, one, in_order=here > place) for one in theirs):
                state = msgspec.structs.replace(state, runaway=runaway.RunawayState())
        if document.event is not None and (given := _consent(document.event)) is not None and here > consent:
            kept = given and scoring is not None and each.boot >= place[0]  # not by an older boot
            consent, scores = here, (scores or ScoreState()) if kept else None
        if here <= place:
            continue
        place = here
        if each.boot != consent[0]:
            scores = None
        if not each.values:
            continue
        held = dict(each.values) if document.keyframe else {**held, **each.values}
        sample = Sample(each.at_ms, held)
        if scores is not None and scoring is not None:
            scores = scored(scoring, scores, sample, each.context)
        waiting.append((each, sample))
    take_waiting()
    estimates = ((begin_ms, detectors.estimates(end)) for begin_ms, end in ends.items())
    known = tuple((begin_ms, values) for begin_ms, values in estimates if values)
    after = Battery(*place, battery.changes, held, state, used, scores, consent)
    return Advanced(after, tuple(reports), known)


def _consent(event: LocalEvent) -> bool | None:
    """Return whether an event gives consent to scores; None for other events."""
    return SCORES in str(event.data.get("groups", "")).split() if event.name == CONSENT else None


def _resets(state: detectors.DetectorState, theirs: Report, *, in_order: bool) -> bool:
    """Return whether a person has ended a runaway at the vehicle, which then ends here, too. Times say so only of what
    was not in order: the vehicle's clock may have been set."""
    latched_ms = state.runaway.latched_ms
    ended = theirs.kind == runaway.KIND and not theirs.raised
    return ended and latched_ms is not None and (in_order or theirs.at_ms >= latched_ms)


def referenced(
    settings: detectors.DetectorSettings, battery: Battery, check: BatteryCheck, deviation: float
) -> tuple[Battery, BatteryCheck, tuple[Report, ...]]:
    """Compare a battery's estimate with a measured capacity, whose relative standard deviation is `deviation`.

    The estimate is corrected by that. Raises RefusedError for a battery of which nothing is estimated.
    """
    pack, before = settings.health.pack, battery.state.health
    if pack is None or before.capacity is None or not before.capacity.measured:
        raise _unknown("its capacity")
    measured_ah, estimated_ah = check.values["measured_ah"], before.capacity.capacity * pack.capacity_ah
    after, found = health.reference(settings.health, before, check.at_ms, measured_ah, deviation)
    state = msgspec.structs.replace(battery.state, health=after)
    values = {
        "measured_ah": measured_ah,
        "estimated_ah": estimated_ah,
        "error_percent": 100 * (estimated_ah / measured_ah - 1),
    }
    changed = msgspec.structs.replace(battery, changes=battery.changes + 1, state=state)
    return changed, msgspec.structs.replace(check, values=values), tuple(_report(check.ev, each) for each in found)


def calibrated(battery: Battery, check: BatteryCheck) -> tuple[Battery, BatteryCheck, tuple[Report, ...]]:
    """Take the present residuals of a battery's twin as offsets of its sensors; what deviated ends.

    Raises RefusedError for a battery without a twin.
    """
    before = battery.state.twin
    if before.last is None:
        raise _unknown("its twin")
    values = {"residual_v": before.residual_v, "residual_c": before.residual_c}
    twin = msgspec.structs.replace(calibrate(before), deviates_v=False, deviates_c=False)
    state = msgspec.structs.replace(battery.state, twin=twin)
    changed = msgspec.structs.replace(battery, changes=battery.changes + 1, state=state)
    ended = tuple(
        Report("vehicle", check.ev, kind, "warning", check.at_ms, raised=False)
        for kind, deviated in (("twin_voltage", before.deviates_v), ("twin_temperature", before.deviates_c))
        if deviated
    )
    return changed, msgspec.structs.replace(check, values=values), ended


def reset(battery: Battery, check: BatteryCheck, *, alerted: bool) -> tuple[Battery, BatteryCheck, tuple[Report, ...]]:
    """End a thermal runaway, since a person has seen to the battery; from now on another one is found.

    Raises RefusedError if there is none, neither in the battery's state nor as an alert (`alerted`).
    """
    if battery.state.runaway.latched_ms is None and not alerted:
        raise RefusedError("there is no thermal runaway to reset", reason="not_latched")
    state = msgspec.structs.replace(battery.state, runaway=runaway.RunawayState())
    changed = msgspec.structs.replace(battery, changes=battery.changes + 1, state=state)
    ended = Report("vehicle", check.ev, runaway.KIND, "error", check.at_ms, raised=False)
    return changed, check, (ended,)


def _unknown(what: str) -> RefusedError:
    hint = "describe the battery in battery.health.pack, and wait for its telemetry"
    return RefusedError(f"{what} is not known", reason="not_estimated", hint=hint)


def health_report(
    settings: detectors.DetectorSettings,
    ev: str,
    battery: Battery,
    checks: Sequence[BatteryCheck],
    found: Sequence[ReportedEvent],
    now_ms: int,
) -> HealthReport:
    """Return the report on a battery, with its references and what was `found`. Raises RefusedError."""
    references = [each for each in checks if each.kind == "reference"]
    measured = [ReportedEvent("reference", each.at_ms, None, each.values["measured_ah"]) for each in references]
    return make_report(
        settings.health,
        battery.state.health,
        battery.usage,
        ev=ev,
        place=(battery.boot, battery.seq),
        events=sorted([*found, *measured], key=lambda each: each.at_ms),
        references=len(references),
        now_ms=now_ms,
    )


def report_of(month: str, vehicles: int, checks: Iterable[BatteryCheck], apart_percent: float) -> BatteryReport:
    """Return the report of a month from its checks, in order of time; the last of each vehicle counts."""
    last = {each.ev: abs(each.values["error_percent"]) for each in checks if each.kind == "reference"}
    errors = list(last.values())
    return BatteryReport(
        month=month,
        vehicles=max(vehicles, len(errors)),
        checked=len(errors),
        apart=sum(each > apart_percent for each in errors),
        worst_percent=max(errors, default=None),
        rms_percent=math.sqrt(sum(each**2 for each in errors) / len(errors)) if errors else None,
    )


def fleet_health(at_ms: int, estimates: Mapping[str, Mapping[str, float]], low_percent: float) -> FleetHealth:
    """Return the health of a fleet from its vehicles' last estimates; what no battery has changes no mean (R194)."""
    health = sorted(
        (values["soh_percent"], ev, values.get("soh_in_half_a_year_percent"))
        for ev, values in estimates.items()
        if 0 < values.get("soh_percent", 0) <= _MOST_PERCENT
    )
    percents = [percent for percent, _, _ in health]
    later = [each for _, _, each in health if each is not None]
    return FleetHealth(
        at_ms=at_ms,
        vehicles=len(health),
        lowest_percent=min(percents, default=None),
        mean_percent=sum(percents) / len(percents) if percents else None,
        highest_percent=max(percents, default=None),
        low=sum(each < low_percent for each in percents),
        forecast=len(later),
        expected_percent=sum(later) / len(later) if later else None,
        expected_low=sum(each < low_percent for each in later),
        weakest=tuple(
            VehicleHealth(ev=ev, percent=percent, expected_percent=later) for percent, ev, later in health[:10]
        ),
    )


def found_in(records: Iterable[Record]) -> list[Report]:
    """Return what vehicles themselves found."""
    return [
        report
        for each in records
        if isinstance(each.event, LocalEvent)
        for report in found_by_vehicle(each.ev, (each.boot, each.seq), each.event, each.signals)
    ]


def found_by_vehicle(ev: str, record: tuple[int, int], event: LocalEvent, values: Mapping[str, Value]) -> list[Report]:
    """Return the finding in an event of a `record` (boot, seq); nothing for other events, or what is not understood."""
    if event.name != FINDING:
        return []
    try:
        found = typed_json.convert(event.data, _Finding)
    except msgspec.ValidationError:
        return []
    facts = {name: float(each) for name, each in values.items()}
    if found.cell is not None:
        facts["cell"] = float(found.cell)
    evidence = Evidence(found.value, found.limit, facts, record)
    return [Report("vehicle", ev, found.kind, found.severity, event.utc_ms, found.raised, evidence)]


def _report(ev: str, found: Finding, record: tuple[int, int] | None = None) -> Report:
    evidence = Evidence(found.value, found.limit, found.evidence, record)
    return Report("vehicle", ev, found.kind, found.severity, found.at_ms, found.raised, evidence)
