"""Reports requested by events: energy by interval (`USAGE`), once all intervals of the event are over."""

from collections.abc import Sequence
from typing import Final

import msgspec

from v2g.errors import CodecError
from v2g.openadr import objects
from v2g.openadr.timing import FOREVER, interval_times

USAGE: Final = "USAGE"
_AGGREGATED: Final = "AGGREGATED_REPORT"
_MEASURED: Final = (None, "DIRECT_READ", "SUMMED")
"""Reading types that measured energy is; a forecast, a mean or a peak is another report."""


class RequestedReport(msgspec.Struct, frozen=True):
    """A report of energy by interval (id, start, end in UTC ms) that is due when the last of them is over."""

    event_id: str
    aggregate: bool
    intervals: tuple[tuple[int, int, int], ...]

    @property
    def due_ms(self) -> int:
        """End of the last interval."""
        return max(end for _, _, end in self.intervals)


def wanted_report(event: objects.Event, *, ven_name: str) -> RequestedReport | None:
    """Return the report requested by an event, or None. Raises CodecError for unsupported ones.

    Supported is the default of a descriptor: measured energy of all intervals, once, at the end of the last one.
    """
    if not event.report_descriptors:
        return None
    asked = next((each for each in event.report_descriptors if each.payload_type == USAGE), None)
    if asked is None:
        kinds = ", ".join(each.payload_type for each in event.report_descriptors)
        raise CodecError(f"event {event.id} requests reports of {kinds[:80]}; only {USAGE} is supported")
    plain = objects.ReportDescriptor(
        payload_type=USAGE,
        reading_type=asked.reading_type,
        units=asked.units,
        aggregate=asked.aggregate,
    )
    if asked != plain or (asked.units or "KWH") != "KWH" or asked.reading_type not in _MEASURED:
        wanted = f"{USAGE} in KWH of all intervals, once, as measured"
        raise CodecError(f"event {event.id} requests a report other than {wanted}")
    intervals = interval_times(event, ven_name=ven_name)
    if not intervals or any(end >= FOREVER for _, _, end in intervals):
        raise CodecError(f"event {event.id} requests a report of intervals that never end")
    return RequestedReport(event.id, asked.aggregate, intervals)


def report_name(wanted: RequestedReport, ven_name: str) -> str:
    """Return the name of the report, by which a VTN is asked whether it already has the report."""
    return f"{USAGE} of {wanted.event_id} by {ven_name}"


def usage_report(wanted: RequestedReport, kwh: Sequence[float], *, ven_name: str) -> objects.ReportRequest:
    """Return a report of the energy of each interval, kWh, negative if more was fed back than drawn."""
    intervals = tuple(
        objects.Interval(id=interval_id, payloads=(objects.ValuesMap(USAGE, (energy,)),))
        for (interval_id, _, _), energy in zip(wanted.intervals, kwh, strict=True)
    )
    return objects.ReportRequest(
        event_id=wanted.event_id,
        client_name=ven_name,
        report_name=report_name(wanted, ven_name),
        payload_descriptors=(
            objects.ReportPayloadDescriptor(
                object_type="REPORT_PAYLOAD_DESCRIPTOR", payload_type=USAGE, reading_type="DIRECT_READ", units="KWH"
            ),
        ),
        resources=(
            objects.ReportResource(resource_name=_AGGREGATED if wanted.aggregate else ven_name, intervals=intervals),
        ),
    )
