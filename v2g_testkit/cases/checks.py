"""Faults in the fields of positive responses of ISO 15118-20."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from v2g.exi.declare import Element
from v2g.iso15118.d20.messages import ac, ac_der_iec, dc
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import ChargeLoopReq, ChargeLoopRes
from v2g.iso15118.d20.services import ENERGY_TRANSFER
from v2g.iso15118.engine.evse_id import UNKNOWN, is_evse_id
from v2g_testkit.cases import der
from v2g_testkit.cases.case import WRONG
from v2g_testkit.cases.known import Kit, Known
from v2g_testkit.cases.quantities import LEAST_OF_TARGET, NOISE, amount, beyond, exceeds, limits, negative, other_id

_COUNTED_WH: Final = 2
"""How far a meter may advance without a current, Wh: its last digit, and one interval of it."""

_HERTZ: Final = (45.0, 65.0)
"""Range of a nominal frequency."""

_SOON_S: Final = 3600
"""How much later than now a schedule may begin, s."""

_SIGNED: Final = (
    *("present_current", "present_active_power", "target_active_power", "reactive", "ramp"),
    *("discharge", "setpoint_value", "slope"),
)
"""Numbers that are negative where energy flows back, or down, or of which sources disagree about the sign."""

_PARAMETERS: Final[Mapping[str, range]] = {
    "Connector": range(1, 8),
    "ControlMode": range(1, 3),
    "MobilityNeedsMode": range(1, 3),
    "Pricing": range(3),
    "BPTChannel": range(1, 3),
    "GeneratorMode": range(1, 3),
}
"""Parameter of an energy service -> its values (Tables 205 to 207)."""


def _session(request: Element, response: cm.SessionSetupRes, known: Known, kit: Kit) -> Iterator[str]:
    evse_id = response.evse_id
    if evse_id != UNKNOWN and not is_evse_id(evse_id):
        yield f"EVSEID {evse_id!r}"
    elif other_id(evse_id, kit.evse_id):
        yield f"EVSEID {evse_id!r}, declared is {kit.evse_id!r}"


def _discovery(request: Element, response: cm.ServiceDiscoveryRes, known: Known, kit: Kit) -> Iterator[str]:
    ids = [each.service_id for each in response.energy_transfer_service_list.service]
    if unknown := [each for each in ids if each not in ENERGY_TRANSFER]:
        yield f"energy services {unknown}"
    if len(set(ids)) != len(ids):
        yield f"services {ids}"


def _detail(request: cm.ServiceDetailReq, response: cm.ServiceDetailRes, known: Known, kit: Kit) -> Iterator[str]:
    if response.service_id != request.service_id:
        yield f"details of service {response.service_id}, asked was {request.service_id}"
    if request.service_id not in ENERGY_TRANSFER:
        return
    for some in response.service_parameter_list.parameter_set:
        names = [each.name for each in some.parameter]
        for missing in {"Connector", "ControlMode", "MobilityNeedsMode"} - set(names):
            if missing != "Connector" or ENERGY_TRANSFER[request.service_id].family.value in ("AC", "DC"):
                yield f"set {some.parameter_set_id} without {missing}"
        for each in some.parameter:
            if each.name in _PARAMETERS and each.int_value is not None and each.int_value not in _PARAMETERS[each.name]:
                yield f"{each.name} {each.int_value}"


def _parameters(request: Element, response: Element, known: Known, kit: Kit) -> Iterator[str]:
    mode = getattr(response, "dc_cpd_res_energy_transfer_mode", None)
    mode = mode or getattr(response, "ac_cpd_res_energy_transfer_mode", None)
    if mode is None:
        return
    yield from (each for each in limits(mode) if "ischarge" not in each)  # without a permit nothing may be fed back
    frequency = getattr(mode, "evse_nominal_frequency", None)
    if frequency is not None and not _HERTZ[0] <= amount(frequency) <= _HERTZ[1]:
        yield f"EVSENominalFrequency {amount(frequency):g} Hz"
    yield from _phases(mode)
    if isinstance(mode, ac_der_iec.DER_AC_CPDResEnergyTransferMode):
        yield from der.demand_faults(mode, der.demanded_by(known.detail, known.parameter_set))


def _phases(mode: Element) -> Iterator[str]:
    """Yield values that are there for phase 3, but not for phase 2."""
    for name in type(mode).__struct_fields__:
        if name.endswith("_l3") and getattr(mode, name) is not None and getattr(mode, f"{name[:-1]}2") is None:
            yield f"{name} without a value of phase 2"


def _schedules(request: Element, response: cm.ScheduleExchangeRes, known: Known, kit: Kit) -> Iterator[str]:
    mode = response.scheduled_se_res_control_mode
    if mode is None:
        return
    now = response.header.time_stamp
    for each in mode.schedule_tuple:
        for one in (each.charging_schedule, each.discharging_schedule):
            if one is None:
                continue
            entries = one.power_schedule.power_schedule_entries.power_schedule_entry
            yield from _covers(one.power_schedule.time_anchor, [entry.duration for entry in entries], now)
            if not any(amount(entry.power) for entry in entries):
                yield "a schedule of 0 W"
            for entry in entries:
                yield from _phases(entry)
            levels = one.price_level_schedule
            if levels is not None:
                steps = levels.price_level_schedule_entries.price_level_schedule_entry
                yield from _covers(levels.time_anchor, [step.duration for step in steps], now)
                if max(step.price_level for step in steps) > levels.number_of_price_levels:
                    yield f"a price level above {levels.number_of_price_levels}"


def _covers(anchor: int, durations: list[int], now: int) -> Iterator[str]:
    """Yield what is wrong with when a schedule begins and ends, s since 1970."""
    if not all(durations):
        yield "an entry of a schedule that lasts 0 s"
    if not anchor <= now + _SOON_S or anchor + sum(durations) <= now:
        yield f"a schedule from {anchor} to {anchor + sum(durations)}, now is {now}"


def _loop(request: ChargeLoopReq, response: ChargeLoopRes, known: Known, kit: Kit) -> Iterator[str]:
    info = response.meter_info
    if info is None:
        if request.meter_info_requested:
            yield "no MeterInfo, which was requested"
        return
    if kit.meter_id and info.meter_id != kit.meter_id:
        yield f"meter {info.meter_id!r}, declared is {kit.meter_id!r}"
    if info.meter_timestamp is not None and info.meter_timestamp <= 0:
        yield f"MeterTimestamp {info.meter_timestamp}"
    before = known.meter
    if before is None:
        return
    if info.meter_id != before.meter_id:
        yield f"meter {info.meter_id!r}, before it was {before.meter_id!r}"
    for name in ("charged_energy_reading_wh", "bpt_discharged_energy_reading_wh"):
        count, earlier = getattr(info, name), getattr(before, name)
        if None not in (count, earlier) and count < earlier:
            yield f"{count} Wh, before it was {earlier} Wh"


def _dc_loop(request: dc.DC_ChargeLoopReq, response: dc.DC_ChargeLoopRes, known: Known, kit: Kit) -> Iterator[str]:
    yield from _loop(request, response, known, kit)
    mode = response.cl_res_control_mode
    volts, amperes = amount(response.evse_present_voltage), amount(response.evse_present_current)
    if volts < kit.voltage * LEAST_OF_TARGET and not kit.without_power:
        yield f"{volts:g} V at the output, {kit.voltage:g} V were requested"
    asked: Any = request.cl_req_control_mode
    wanted = getattr(asked, "ev_target_current", None) or asked.ev_maximum_charge_current
    if exceeds(amperes, amount(wanted)):
        yield f"{amperes:g} A flow, {amount(wanted):g} A were requested"
    if amperes < -NOISE and (known.scheduled or not known.bidirectional):
        yield f"{amperes:g} A flow, the vehicle feeds nothing back"
    voltage = getattr(mode, "evse_maximum_voltage", None)
    if voltage is not None and amount(voltage) <= 0:
        yield f"a greatest voltage of {amount(voltage):g} V"
    elif voltage is not None and volts > amount(voltage) * 1.05:
        yield f"{volts:g} V at the output, the limit is {amount(voltage):g} V"
    yield from (each for each in limits(mode) if "above" in each)  # maxima may be 0 at any time
    rated = getattr(known.parameters, "dc_cpd_res_energy_transfer_mode", None)
    if mode is not None and rated is not None:
        yield from beyond(mode, rated)
    counted = (known.energy_wh or 0) - (known.resting_wh or 0) if known.resting_wh is not None else 0
    if counted > _COUNTED_WH and not known.flowed and abs(amperes) <= NOISE:
        yield f"{amperes:g} A, while the meter counts {counted} Wh"


def _ac_loop(request: ac.AC_ChargeLoopReq, response: ac.AC_ChargeLoopRes, known: Known, kit: Kit) -> Iterator[str]:
    yield from _loop(request, response, known, kit)
    mode = response.cl_res_control_mode
    yield from _phases(mode)
    for phase in ("", "_l2", "_l3"):
        target = getattr(mode, f"evse_target_active_power{phase}", None)
        if target is not None and amount(target) < 0 and not known.bidirectional:
            yield f"a target of {amount(target):g} W, the vehicle feeds nothing back"
    if isinstance(mode, der.LoopAnswer):
        yield from der.loop_faults(mode, der.demanded_by(known.detail, known.parameter_set))


_CHECKS: Final[Mapping[str, Callable[..., Iterator[str]]]] = {
    "SessionSetupRes": _session,
    "ServiceDiscoveryRes": _discovery,
    "ServiceDetailRes": _detail,
    "AC_ChargeParameterDiscoveryRes": _parameters,
    "DC_ChargeParameterDiscoveryRes": _parameters,
    "ScheduleExchangeRes": _schedules,
    "AC_ChargeLoopRes": _ac_loop,
    "DC_ChargeLoopRes": _dc_loop,
}


def faults(request: Element, response: Element, known: Known, kit: Kit) -> list[str]:
    """Return what is wrong with a positive response to a request; `known` is from the responses before it."""
    if not hasattr(response, "response_code"):
        return []
    found = list(negative(response, _SIGNED))
    if (check := _CHECKS.get(type(response).__name__)) is not None:
        found += check(request, response, known, kit)
    return [f"{WRONG}{each}" for each in found]
