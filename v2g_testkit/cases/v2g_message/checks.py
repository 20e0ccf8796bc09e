"""Faults in responses of ISO 15118-2 and DIN 70121, as ISO 15118-4 checks the fields of a positive response."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from v2g.iso15118.engine.evse_id import UNKNOWN, is_evse_id
from v2g.iso15118.engine.power_schedule import DAY_S
from v2g_testkit.cases.v2g_message.requests import DEPARTURE_S, MessageRequests

WRONG = "wrong: "
"""Prefix of these facts."""


def _not_ready(request: Any, response: Any, made: MessageRequests) -> Iterator[str]:
    code = response.dc_evse_status.evse_status_code
    if code.name != "EVSE_Ready":
        yield f"status {code.name}"


def _session(request: Any, response: Any, made: MessageRequests) -> Iterator[str]:
    evse_id = response.evse_id
    if isinstance(evse_id, str) and evse_id != UNKNOWN and not is_evse_id(evse_id):
        yield f"EVSEID {evse_id!r}"


def _detail(request: Any, response: Any, made: MessageRequests) -> Iterator[str]:
    if response.service_id != request.service_id:
        yield f"details of service {response.service_id}, asked was {request.service_id}"


def _cable_check(request: Any, response: Any, made: MessageRequests) -> Iterator[str]:
    status = response.dc_evse_status
    level = status.evse_isolation_status
    if response.evse_processing.name == "Finished" and level is not None and level.name not in ("Valid", "Warning"):
        yield f"isolation {level.name} after the cable check"


def _schedules(request: Any, response: Any, made: MessageRequests) -> Iterator[str]:
    if response.evse_processing.name != "Finished":
        return
    tuples = getattr(response.sa_schedules, "sa_schedule_tuple", ())
    ids = [each.sa_schedule_tuple_id for each in tuples]
    if not 1 <= len(tuples) <= 3 or len(set(ids)) != len(ids):
        yield f"schedules {ids}"
    entries = [each.p_max_schedule.p_max_schedule_entry for each in tuples]
    most = getattr(request, "max_entries_sa_schedule_tuple", None)
    if most is not None and sum(map(len, entries)) > most:
        yield f"{sum(map(len, entries))} entries of schedules, at most {most} were allowed"
    departs = getattr(request.ev_charge_parameter, "departure_time", None) == DEPARTURE_S
    least = DEPARTURE_S if departs else DAY_S
    for some in entries:
        starts = [each.time_interval.start for each in some]
        if starts[0] != 0 or starts != sorted(set(starts)):
            yield f"starts of a schedule {starts}"
        length = starts[-1] + (some[-1].time_interval.duration or 0)
        if length < least:
            yield f"a schedule of {length} s, at least {least} s are required"


_CHECKS: Final[Mapping[str, Callable[[Any, Any, MessageRequests], Iterator[str]]]] = MappingProxyType(
    {
        "SessionSetupRes": _session,
        "ServiceDetailRes": _detail,
        "ChargeParameterDiscoveryRes": _schedules,
        "CableCheckRes": _cable_check,
        "PreChargeRes": _not_ready,
        "CurrentDemandRes": _not_ready,
    }
)


def faults(request: Any, response: Any, made: MessageRequests) -> list[str]:
    """Return what is wrong with a positive response to a request."""
    check = _CHECKS.get(type(response).__name__)
    return [] if check is None else [f"{WRONG}{each}" for each in check(request, response, made)]
