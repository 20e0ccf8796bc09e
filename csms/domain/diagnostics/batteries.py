"""What is known of a vehicle's battery: the newest values, and the states of all detectors, record by record."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from csms.domain.diagnostics.alerts import Evidence, Kind, Report
from csms.domain.diagnostics.sink_records import StoredRecord
from v2g import typed_json
from v2g.battery import detectors
from v2g.battery.finding import Finding
from v2g.battery.sample import Sample
from v2g.events import Severity
from v2g.telemetry.local_events import FINDING, LocalEvent
from v2g.telemetry.signals import Record, Value

ESTIMATES_MS: Final = 900_000
"""Width of the intervals of which the last estimates are kept."""


class Battery(msgspec.Struct, frozen=True):
    """A battery after the record (boot, seq). `held`: the newest value by signal."""

    boot: int = 0
    seq: int = 0
    held: dict[str, float] = {}
    state: detectors.State = detectors.State()


class Advanced(msgspec.Struct, frozen=True):
    """A battery after some records, and what was found. `estimates`: (begin of the interval, ms; values by name)."""

    battery: Battery
    reports: tuple[Report, ...]
    estimates: tuple[tuple[int, dict[str, float]], ...] = ()


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


_document = typed_json.decoder(_Document).decode


def advance(settings: detectors.Settings, battery: Battery, records: Sequence[StoredRecord]) -> Advanced:
    """Let the detectors take a vehicle's next records, by (boot, seq); those up to the battery's change nothing.

    So do those that come after later ones, except that what the vehicle itself found counts whenever it comes.
    """
    place, held, state = (battery.boot, battery.seq), battery.held, battery.state
    reports: list[Report] = []
    estimates: dict[int, dict[str, float]] = {}
    for each in records:
        document = _document(each.document)
        if document.event is not None:
            reports += found_by_vehicle(each.ev, document.event, each.values)
        if (each.boot, each.seq) <= place:
            continue
        place = each.boot, each.seq
        if not each.values:
            continue
        held = dict(each.values) if document.keyframe else {**held, **each.values}
        state, found = detectors.step(settings, state, Sample(each.at_ms, held))
        reports += (_report(each.ev, finding) for finding in found)
        if values := detectors.estimates(state):
            estimates[each.at_ms // ESTIMATES_MS * ESTIMATES_MS] = values
    return Advanced(Battery(*place, held, state), tuple(reports), tuple(estimates.items()))


def found_in(records: Iterable[Record]) -> list[Report]:
    """Return what vehicles themselves found."""
    return [
        report
        for each in records
        if isinstance(each.event, LocalEvent)
        for report in found_by_vehicle(each.ev, each.event, each.signals)
    ]


def found_by_vehicle(ev: str, event: LocalEvent, values: Mapping[str, Value]) -> list[Report]:
    """Return the finding in an event; nothing for other events, and for those that are not understood."""
    if event.name != FINDING:
        return []
    try:
        found = typed_json.convert(event.data, _Finding)
    except msgspec.ValidationError:
        return []
    facts = {name: float(each) for name, each in values.items()}
    if found.cell is not None:
        facts["cell"] = float(found.cell)
    evidence = Evidence(found.value, found.limit, facts)
    return [Report("vehicle", ev, found.kind, found.severity, event.utc_ms, found.raised, evidence)]


def _report(ev: str, found: Finding) -> Report:
    evidence = Evidence(found.value, found.limit, found.evidence)
    return Report("vehicle", ev, found.kind, found.severity, found.at_ms, found.raised, evidence)
