"""Faults in responses of ISO 15118-2 and DIN 70121, as ISO 15118-4 checks the fields of a positive response."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from v2g.exi.declare import Element
from v2g.iso15118.d2.messages import data_types as d2
from v2g.iso15118.din.messages import data_types as din
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolRes
from v2g.iso15118.engine.identifiers import UNKNOWN, from_bytes, is_evse_id, is_packed
from v2g.iso15118.v2g_message import CurrentDemandReq, CurrentDemandRes
from v2g.units import DAY_S
from v2g_testkit.cases import quantities
from v2g_testkit.cases.case import WRONG
from v2g_testkit.cases.v2g_message.requests import DEPARTURE_S, MessageRequests

_BEFORE: Final = frozenset({"EVSE_Ready", "EVSE_NotReady", "EVSE_IsolationMonitoringActive"})
_READY: Final = frozenset({"EVSE_Ready"})
_AFTER: Final = frozenset({"EVSE_Ready", "EVSE_NotReady", "EVSE_Shutdown"})

_CHARGE_SERVICE: Final = 1
"""ServiceID of the charge service of ISO 15118-2."""


def _status(request: Element, response: Any) -> Iterator[str]:
    """Yield what is wrong with the status that a response has, or its parameters."""
    name = type(response).__name__
    parameters = getattr(response, "evse_charge_parameter", response)
    for field in ("dc_evse_status", "ac_evse_status", "evse_status"):
        status: Any = getattr(parameters, field, None)
        if getattr(status, "rcd", False):
            yield "the RCD has detected an error"
        code = getattr(status, "evse_status_code", None)
        if code is None:
            continue
        stops = name == "WeldingDetectionRes" or (name == "PowerDeliveryRes" and not _starts(request))
        ready = name in ("PreChargeRes", "CurrentDemandRes")
        ends = code.name == "EVSE_Shutdown" and status.evse_notification.name == "StopCharging"  # at any time
        if not ends and code.name not in (_AFTER if stops else _READY if ready else _BEFORE):
            yield f"status {code.name}"
        level = status.evse_isolation_status
        tested = ready or (name == "PowerDeliveryRes" and not stops)
        finished = name == "CableCheckRes" and response.evse_processing.name == "Finished"
        if finished and (level is None or level.name not in ("Valid", "Warning")):
            yield f"isolation {'not stated' if level is None else level.name} after the cable check"
        elif level is not None and (level.name == "Fault" or (tested and level.name in ("Invalid", "No_IMD"))):
            yield f"isolation {level.name}"


def _kind(response: Element, made: MessageRequests) -> Iterator[str]:
    """Yield the parameters or status of a response that are not of the family."""
    for field in ("evse_charge_parameter", "evse_status"):
        part = getattr(response, field, None)
        if part is not None and not (name := type(part).__name__).startswith(made.known.family.value):
            yield f"{name} for a vehicle that charges by {made.known.family.value}"


def _starts(request: Any) -> bool:
    """Return whether PowerDeliveryReq starts the transfer of energy."""
    progress = getattr(request, "charge_progress", None)
    return bool(request.ready_to_charge_state) if progress is None else progress.name == "Start"


def _session(request: Element, response: Any, made: MessageRequests) -> Iterator[str]:
    evse_id = response.evse_id
    if isinstance(evse_id, bytes):
        text, written = from_bytes(evse_id)  # octets of neither form identify, too: a Supercharger sends its MAC
        if not evse_id or (written and not is_evse_id(text) and not is_packed(evse_id)):
            yield f"EVSEID {evse_id.hex() or 'empty'}"
        elif quantities.other_id(text, made.kit.evse_id):
            yield f"EVSEID {text!r}, declared is {made.kit.evse_id!r}"
    elif evse_id != UNKNOWN and not is_evse_id(evse_id):
        yield f"EVSEID {evse_id!r}"
    elif quantities.other_id(evse_id, made.kit.evse_id):
        yield f"EVSEID {evse_id!r}, declared is {made.kit.evse_id!r}"
    yield from quantities.other_time(response, made.utc_s, "evse_time_stamp")
    if getattr(response, "date_time_now", None):  # in DIN 70121 also 0 without a clock (recorded: a Supercharger)
        yield from quantities.other_time(response, made.utc_s, "date_time_now")


def _discovery(request: Element, response: Any, made: MessageRequests) -> Iterator[str]:
    charge = response.charge_service
    tag = getattr(charge, "service_tag", charge)
    if tag.service_category.name != "EVCharging":
        yield f"charge service of category {tag.service_category.name}"
    if tag.service_id == 0 or (tag is charge and tag.service_id != _CHARGE_SERVICE):
        yield f"charge service with the ServiceID {tag.service_id}"
    kind = getattr(charge, "energy_transfer_type", None)  # of DIN 70121, which has no others (V2G-DC-625)
    if kind is not None and kind.name not in ("DC_core", "DC_extended"):
        yield f"energy transfer type {kind.name}"
    services = response.service_list.service if response.service_list is not None else ()
    ids = [tag.service_id, *(getattr(each, "service_tag", each).service_id for each in services)]
    if len(set(ids)) != len(ids):
        yield f"services {ids}"


def _detail(request: Any, response: Any, made: MessageRequests) -> Iterator[str]:
    if response.service_id != request.service_id:
        yield f"details of service {response.service_id}, asked was {request.service_id}"


def _payment(request: Element, response: Any, made: MessageRequests) -> Iterator[str]:
    if not any(response.gen_challenge):
        yield "a challenge of zeros"
    yield from quantities.other_time(response, made.utc_s, "evse_time_stamp")


def _parameters(request: Element, response: Any, made: MessageRequests) -> Iterator[str]:
    if response.evse_processing.name != "Finished":
        return
    yield from quantities.limits(response.evse_charge_parameter)
    yield from _schedules(request, response)


def _schedules(request: Any, response: Any) -> Iterator[str]:
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
            continue
        yield from _gaps("a schedule", (each.time_interval for each in some))
        length = starts[-1] + (some[-1].time_interval.duration or 0)
        if length < least:
            yield f"a schedule of {length} s, at least {least} s are required"
        powers = [quantities.amount(each.p_max) if quantities.is_number(each.p_max) else each.p_max for each in some]
        if min(powers) < 0 or not any(powers):
            yield f"a schedule of {', '.join(f'{each:g} W' for each in powers)}"

    for tariff in (each.sales_tariff for each in tuples if getattr(each, "sales_tariff", None) is not None):
        yield from _gaps("a tariff", (each.time_interval for each in tariff.sales_tariff_entry))
        highest = max((entry.e_price_level or 0 for entry in tariff.sales_tariff_entry), default=0)
        if tariff.num_e_price_levels is not None and highest > tariff.num_e_price_levels:
            yield f"price level {highest} of a tariff of {tariff.num_e_price_levels}"


def _gaps(what: str, times: Iterable[d2.RelativeTimeInterval | din.RelativeTimeInterval]) -> Iterator[str]:
    """Yield where entries of these times are out of order, or one does not last until the next."""
    for each, after in pairwise(times):
        ends = after.start if each.duration is None else each.start + each.duration
        if after.start <= each.start or ends != after.start:
            yield f"{what} with an entry from {each.start} s to {ends} s before that from {after.start} s"


def _loop(request: Element, response: Element, made: MessageRequests) -> Iterator[str]:
    known = made.known
    evse_id = getattr(response, "evse_id", known.evse_id)
    if known.evse_id is not None and evse_id != known.evse_id:
        yield f"EVSEID {evse_id!r}, that of the session is {known.evse_id!r}"
    offered, chosen = made.schedule(), getattr(response, "sa_schedule_tuple_id", None)
    if offered is not None and chosen is not None and chosen != offered[0]:
        yield f"schedule {chosen}, selected was {offered[0]}"
    if getattr(response, "receipt_required", False) and made.payer is None:
        yield "a receipt is required without a contract"
    info = getattr(response, "meter_info", None)
    if info is not None and made.kit.meter_id and info.meter_id != made.kit.meter_id:
        yield f"meter {info.meter_id!r}, declared is {made.kit.meter_id!r}"
    yield from _meter(info, known.meter, made.utc_s)


def _meter(info: Any, before: Any, now: int) -> Iterator[str]:
    """Yield what is wrong with a meter, of which `before` was sent last."""
    if info is None:
        return
    if not info.meter_id:
        yield "a meter without an id"
    yield from quantities.other_time(info, now, "t_meter")
    if before is None:
        return
    if info.meter_id != before.meter_id:
        yield f"meter {info.meter_id!r}, before it was {before.meter_id!r}"
    if None not in (info.meter_reading, before.meter_reading) and info.meter_reading < before.meter_reading:
        yield f"{info.meter_reading} Wh, before it was {before.meter_reading} Wh"


def _demand(request: CurrentDemandReq, response: CurrentDemandRes, made: MessageRequests) -> Iterator[str]:
    yield from _loop(request, response, made)
    found, known = made.known.parameters, made.kit
    volts, amperes = quantities.amount(response.evse_present_voltage), quantities.amount(response.evse_present_current)
    wanted = quantities.amount(request.ev_target_voltage), quantities.amount(request.ev_target_current)
    too_low = volts < wanted[0] * quantities.LEAST_OF_TARGET and not known.without_power
    if too_low or quantities.too_high(volts, wanted[0]):
        yield f"{volts:g} V at the output, {wanted[0]:g} V were requested"
    if quantities.exceeds(amperes, wanted[1]):
        yield f"{amperes:g} A flow, {wanted[1]:g} A were requested"
    number = getattr(response, "evse_maximum_voltage_limit", None) or getattr(found, "evse_maximum_voltage_limit", None)
    voltage = None if number is None else quantities.amount(number)
    if voltage is not None and voltage <= 0:
        yield f"a greatest voltage of {voltage:g} V"
    elif voltage is not None and volts > voltage * 1.05:
        yield f"{volts:g} V at the output, the limit is {voltage:g} V"


_CHECKS: Final[Mapping[str, Callable[..., Iterator[str]]]] = {
    "SessionSetupRes": _session,
    "ServiceDiscoveryRes": _discovery,
    "ServiceDetailRes": _detail,
    "PaymentDetailsRes": _payment,
    "ChargeParameterDiscoveryRes": _parameters,
    "ChargingStatusRes": _loop,
    "CurrentDemandRes": _demand,
}


def faults(request: Element, response: Element, made: MessageRequests) -> list[str]:
    """Return what is wrong with a positive response to a request."""
    if not hasattr(response, "response_code") or isinstance(response, SupportedAppProtocolRes):
        return []
    found = [*quantities.misplaced(response, made.uses), *quantities.wrong_units(response)]
    found += [*quantities.negative(response), *_kind(response, made), *_status(request, response)]
    if (check := _CHECKS.get(type(response).__name__)) is not None:
        found += check(request, response, made)
    return [f"{WRONG}{each}" for each in found]
