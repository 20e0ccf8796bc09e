"""The reference vehicle of ISO 15118-20 in the test of a charger.

It also finds faults in the fields of positive responses.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from v2g import exi
from v2g.errors import RefusedError, TrustError
from v2g.exi.declare import Element, schema_of
from v2g.iso15118.d20.charts import FETCHING, LOOPS, SIDE_CHARTS, Family
from v2g.iso15118.d20.installation import open_contract, verify_service
from v2g.iso15118.d20.messages import ac, ac_der_iec, dc
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.messages.common_types import (
    ChargeLoopReq,
    ChargeLoopRes,
    EvseNotification,
    Processing,
    ResponseCode,
    V2GResponse,
)
from v2g.iso15118.d20.price_rules import PRICE_ALGORITHM
from v2g.iso15118.d20.response_codes import USES
from v2g.iso15118.d20.schemas import AC_DER_IEC
from v2g.iso15118.d20.services import ENERGY_TRANSFER, ServiceId
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.engine.contracts import pcid_of
from v2g.iso15118.engine.identifiers import UNKNOWN, is_evse_id
from v2g.iso15118.engine.sequence import Asks, Chart, Says, code_of, is_failed
from v2g.iso15118.engine.session import Entropy, Send
from v2g.iso15118.engine.v2gtp import frame
from v2g.pki.certificates import load_certificate
from v2g.pki.keys import SoftwareKey
from v2g_testkit.cases import der, scripted_vehicle
from v2g_testkit.cases.case import CLOSING_S, WRONG, Beside, Script
from v2g_testkit.cases.changes import CHANGES
from v2g_testkit.cases.known import Kit, Known
from v2g_testkit.cases.malformed import FORMS
from v2g_testkit.cases.quantities import (
    LEAST_OF_TARGET,
    MEASURED,
    NOISE,
    NOISE_W,
    amount,
    beyond,
    counts_too_much,
    exceeds,
    limits,
    misplaced,
    negative,
    of_phases,
    other_id,
    other_time,
    too_high,
    without_phase_2,
)
from v2g_testkit.cases.requests import Requests
from v2g_testkit.cases.secc_contents import CHALLENGED
from v2g_testkit.cases.secc_installation import DELIVERS, MORE, UNUSABLE
from v2g_testkit.cases.secc_side_streams import MEANWHILE

_COUNTED_WH: Final = 2
"""How far a meter may advance without a current, Wh: its last digit, and one interval of it."""

_HERTZ: Final = (45.0, 65.0)
"""Range of a nominal frequency, or of one that a vehicle is to follow."""

_SOON_S: Final = 3600
"""How much later than now a schedule may begin, s."""

_SIGNED: Final = (
    *("present_current", "present_active_power", "target_active_power", "reactive", "ramp"),
    *("discharge", "setpoint_value", "slope"),
    *("fee", "cost", "amount"),
)
"""Numbers that are negative where energy or money flows back, or down, or of which sources disagree about the sign."""

_CURRENCY: Final = re.compile("[A-Z]{3}")

_CONTROL: Final = ("Dynamic", "Scheduled")
"""Control mode, by whether the session is scheduled."""

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
    ids = [each.parameter_set_id for each in response.service_parameter_list.parameter_set]
    if len(set(ids)) != len(ids):
        yield f"parameter sets {ids}"
    for some in response.service_parameter_list.parameter_set:
        names = [each.name for each in some.parameter]
        for missing in sorted(_needed(request.service_id) - set(names)):
            yield f"set {some.parameter_set_id} without {missing}"
        for twice in sorted({each for each in names if names.count(each) > 1}):
            yield f"set {some.parameter_set_id} with {twice} twice"
        values = {each.name: each.int_value for each in some.parameter}
        if (values.get("ControlMode"), values.get("MobilityNeedsMode")) == (1, 2):  # [V2G20-2663]
            yield f"set {some.parameter_set_id} of ControlMode 1 (Scheduled) with MobilityNeedsMode 2"
        for each in some.parameter:
            if each.name in _PARAMETERS and each.int_value not in _PARAMETERS[each.name]:
                yield f"{each.name} {'not as intValue' if each.int_value is None else each.int_value}"


def _needed(service: int) -> set[str]:
    """Return the parameters that each set of an energy service has (Tables 205 to 207)."""
    found, family = {"ControlMode", "MobilityNeedsMode"}, ENERGY_TRANSFER[service].family
    if family in (Family.AC, Family.DC):
        found |= {"Connector", "Pricing"}
    if family is Family.AC:
        found.add("EVSENominalVoltage")
    return found | ({"BPTChannel"} if service in (ServiceId.AC_BPT, ServiceId.DC_BPT) else set())


def _other_kind(mode: Element, known: Known, kind: str) -> Iterator[str]:
    """Yield the type of a mode if it is not that of the selected service; `kind` is what its name ends with."""
    direction = "DER_" if known.der else "BPT_" if known.bidirectional else ""
    wanted = direction + kind
    if (name := type(mode).__name__) != wanted:
        yield f"{name}, that of the selected service is {wanted}"


def _parameters(request: Element, response: Element, known: Known, kit: Kit) -> Iterator[str]:
    mode = getattr(response, "dc_cpd_res_energy_transfer_mode", None)
    mode = mode or getattr(response, "ac_cpd_res_energy_transfer_mode", None)
    if mode is None:
        return
    yield from _other_kind(mode, known, f"{type(response).__name__[:2]}_CPDResEnergyTransferMode")
    yield from (each for each in limits(mode) if "ischarge" not in each)  # without a permit nothing may be fed back
    frequency = getattr(mode, "evse_nominal_frequency", None)
    if frequency is not None and not _HERTZ[0] <= amount(frequency) <= _HERTZ[1]:
        yield f"EVSENominalFrequency {amount(frequency):g} Hz"
    yield from without_phase_2(mode)
    if isinstance(mode, ac_der_iec.DER_AC_CPDResEnergyTransferMode):
        yield from der.demand_faults(mode, der.demanded_by(known.detail, known.parameter_set))


def _schedules(request: Element, response: cm.ScheduleExchangeRes, known: Known, kit: Kit) -> Iterator[str]:
    if response.evse_processing is not Processing.Finished:
        return  # the schema demands schedules before there are any
    mode, goals = response.scheduled_se_res_control_mode, response.dynamic_se_res_control_mode
    now = response.header.time_stamp
    if (mode is not None) is not known.scheduled:
        yield f"an answer for the mode {_CONTROL[mode is not None]}, selected was {_CONTROL[known.scheduled]}"
    if goals is not None and goals.absolute_price_schedule is not None:
        yield from _prices(goals.absolute_price_schedule, now)
    if goals is not None and goals.price_level_schedule is not None:
        yield from _levels(goals.price_level_schedule, now)
    if mode is None:
        return
    ids = [each.schedule_tuple_id for each in mode.schedule_tuple]
    if len(set(ids)) != len(ids):
        yield f"schedules {ids}"
    for each in mode.schedule_tuple:
        yield from negative(each.charging_schedule, _SIGNED)
        for one in (each.charging_schedule, each.discharging_schedule):
            if one is None:
                continue
            entries = one.power_schedule.power_schedule_entries.power_schedule_entry
            yield from _covers(one.power_schedule.time_anchor, [entry.duration for entry in entries], now)
            if not any(amount(entry.power) for entry in entries):
                yield "a schedule of 0 W"
            for entry in entries:
                yield from without_phase_2(entry)
            if one.price_level_schedule is not None:
                yield from _levels(one.price_level_schedule, now)
            if one.absolute_price_schedule is not None:
                yield from _prices(one.absolute_price_schedule, now)


def _levels(levels: sched.PriceLevelSchedule, now: int) -> Iterator[str]:
    steps = levels.price_level_schedule_entries.price_level_schedule_entry
    yield from _covers(levels.time_anchor, [step.duration for step in steps], now)
    if max(step.price_level for step in steps) > levels.number_of_price_levels:
        yield f"a price level above {levels.number_of_price_levels}"


def _prices(prices: sched.AbsolutePriceSchedule, now: int) -> Iterator[str]:
    stacks = prices.price_rule_stacks.price_rule_stack
    yield from _covers(prices.time_anchor, [each.duration for each in stacks], now)
    if not prices.price_algorithm.startswith(PRICE_ALGORITHM):
        yield f"price algorithm {prices.price_algorithm!r}"
    if not _CURRENCY.fullmatch(prices.currency):
        yield f"currency {prices.currency!r}"
    for each in stacks:
        starts = [amount(rule.power_range_start) for rule in each.price_rule]
        if starts != sorted(set(starts)):
            yield f"prices from {', '.join(f'{start:g} W' for start in starts)}"
    least, most = prices.minimum_cost, prices.maximum_cost
    if least is not None and most is not None and amount(least) > amount(most):
        yield f"a minimum cost of {amount(least):g} above the maximum of {amount(most):g}"
    taxes = prices.tax_rules.tax_rule if prices.tax_rules is not None else ()
    ids = [each.tax_rule_id for each in taxes]
    if len(set(ids)) != len(ids):
        yield f"tax rules {ids}"


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
    if not info.meter_id:
        yield "a meter without an id"
    if kit.meter_id and info.meter_id != kit.meter_id:
        yield f"meter {info.meter_id!r}, declared is {kit.meter_id!r}"
    yield from other_time(info, response.header.time_stamp, "meter_timestamp")
    before = known.meter
    if before is None:
        return
    if info.meter_id != before.meter_id:
        yield f"meter {info.meter_id!r}, before it was {before.meter_id!r}"
    for name in ("charged_energy_reading_wh", "bpt_discharged_energy_reading_wh"):
        count, earlier = getattr(info, name), getattr(before, name)
        if None not in (count, earlier) and count < earlier:
            yield f"{count} Wh, before it was {earlier} Wh"
    rated = getattr(known.parameters, f"{type(response).__name__[:2].lower()}_cpd_res_energy_transfer_mode", None)
    watts = sum(of_phases(rated, "evse_maximum_charge_power"))
    if watts and known.counted is not None:
        since, first = known.counted
        counted, seconds = info.charged_energy_reading_wh - first, response.header.time_stamp - since
        if counts_too_much(counted, watts, seconds):
            yield f"the meter counts {counted} Wh in {seconds} s"


def _delivery(request: cm.PowerDeliveryReq, response: cm.PowerDeliveryRes, known: Known, kit: Kit) -> Iterator[str]:
    standby = request.charge_progress is cm.ChargeProgress.Standby
    if response.response_code is ResponseCode.WARNING_StandbyNotAllowed and not standby:
        yield f"{response.response_code.name} to PowerDeliveryReq ({request.charge_progress.name})"


def _dc_loop(request: dc.DC_ChargeLoopReq, response: dc.DC_ChargeLoopRes, known: Known, kit: Kit) -> Iterator[str]:
    yield from _loop(request, response, known, kit)
    mode = response.cl_res_control_mode
    yield from _other_kind(mode, known, f"{_CONTROL[known.scheduled]}_DC_CLResControlMode")
    volts, amperes = amount(response.evse_present_voltage), amount(response.evse_present_current)
    if volts < kit.voltage * LEAST_OF_TARGET and not kit.without_power:
        yield f"{volts:g} V at the output, {kit.voltage:g} V were requested"
    asked: Any = request.cl_req_control_mode
    most = getattr(asked, "ev_target_voltage", None) or asked.ev_maximum_voltage
    if too_high(volts, amount(most)):
        yield f"{volts:g} V at the output, {amount(most):g} V were requested"
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
    yield from _other_kind(mode, known, f"{_CONTROL[known.scheduled]}_AC_CLResControlMode")
    yield from without_phase_2(mode)
    frequency = response.evse_target_frequency
    if frequency is not None and not _HERTZ[0] <= amount(frequency) <= _HERTZ[1]:
        yield f"EVSETargetFrequency {amount(frequency):g} Hz"
    rated = getattr(known.parameters, "ac_cpd_res_energy_transfer_mode", None)
    most = of_phases(rated, "evse_maximum_charge_power")
    targets, present = of_phases(mode, "evse_target_active_power"), of_phases(mode, "evse_present_active_power")
    if len(targets) == len(most) and sum(targets) > sum(most) * 1.02:
        yield f"a target of {sum(targets):g} W, the charger's maximum is {sum(most):g} W"
    if len(present) == len(most) and sum(present) > sum(most) * MEASURED:
        yield f"{sum(present):g} W flow, the charger's maximum is {sum(most):g} W"
    if sum(present) < -NOISE_W and not known.bidirectional:
        yield f"{sum(present):g} W flow, the vehicle feeds nothing back"
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
    "PowerDeliveryRes": _delivery,
    "AC_ChargeLoopRes": _ac_loop,
    "DC_ChargeLoopRes": _dc_loop,
}


def faults(request: Element, response: Element, known: Known, kit: Kit, utc_s: int) -> list[str]:
    """Return what is wrong with a positive response to a request.

    `known` is from the responses before it, `utc_s` the tester's time, s since 1970.
    """
    if not isinstance(response, V2GResponse):
        return []
    found = list(misplaced(response, USES))
    if any(other_time(response.header, utc_s, "time_stamp")):
        found.append("TimeStamp of another time")
    if not isinstance(response, cm.ScheduleExchangeRes):  # power is negative in a schedule for discharging
        found += negative(response, _SIGNED)
    if (check := _CHECKS.get(type(response).__name__)) is not None:
        found += check(request, response, known, kit)
    return [f"{WRONG}{each}" for each in found]


_CHARGING = frozenset({"DC_CableCheckReq", "WPT_AlignmentCheckReq"})


class ReferenceVehicle(scripted_vehicle.ScriptedVehicle, Session20):
    """Runs one script against a charger. `known` is the memory of earlier connections in the same case."""

    messages = MESSAGES
    ongoing_s = Timing().ongoing
    loops = LOOPS

    def __init__(self, script: Script, kit: Kit, known: Known, *, entropy: Entropy) -> None:
        super().__init__(script, kit, known, entropy=entropy)
        self._known = known
        self.family = known.family
        self.der = AC_DER_IEC if script.der else None
        self._requests = Requests(known, kit)
        self._beside: list[str] = []
        """Requests that are left on a side stream."""
        self._side: Element | None = None
        """The request on a side stream that is not answered yet."""
        self._on_main = False
        """Whether a request of the loop beside it is not answered yet."""

    @property
    def _chart(self) -> Chart:
        return self.chart

    def _on_message(self, message: Element, payload_type: int) -> None:
        session_id = message.header.session_id if hasattr(message, "header") else b""
        if not type(message).__name__.endswith("Res"):
            self._unasked(type(message).__name__)
        elif payload_type in SIDE_CHARTS:
            self._answered_beside(message, session_id, payload_type)
        elif self._on_main:
            self._on_main = False
            self._known.hear(message)
            fact = f"answers the main stream {code_of(message)}" if is_failed(message) else MEANWHILE
            self.seen.facts += [fact] if fact not in self.seen.facts else []
            if self._side is not None and not is_failed(message):
                self._arm("loop beside", scripted_vehicle.POLL_S)
            self._go_on_beside()
        else:
            self._received(message, session_id)

    def _on_discharge(self, payload: bytes) -> None:
        """Signed discharge was not requested."""

    def _say(self, request: Element) -> None:
        self._send(request)

    def _framed(self, request: Element) -> bytes:
        payload_type = schema_of(type(request)).payload_type
        assert payload_type is not None
        return frame(payload_type, exi.encode(request))

    def _changed(self, change: str, request: Element) -> Element:
        return CHANGES[change](request, self._requests)

    def _stops_power(self, request: Element) -> bool:
        return isinstance(request, cm.PowerDeliveryReq) and request.charge_progress is cm.ChargeProgress.Stop

    def _refused_standby(self, request: Element) -> bool:
        return getattr(request, "charge_progress", None) is cm.ChargeProgress.Standby

    def _asks_to_stop(self, message: Element) -> bool:
        status = getattr(message, "evse_status", None)
        return status is not None and status.evse_notification is EvseNotification.Terminate

    def _charging(self, name: str, asks: Asks) -> bool:
        return name in _CHARGING or (name == "PowerDeliveryReq" and asks is Asks.START)

    def _unfinished(self, message: Element) -> bool:
        live = type(message).__name__ == "DC_WeldingDetectionRes" and self._known.voltage > scripted_vehicle.DEAD_V
        return live or super()._unfinished(message)

    def _closes_contactor(self, name: str, asks: Asks, says: Says) -> bool:
        return name == "DC_PreChargeReq" and says is Says.EV_FINISHED

    def _loop_hop(self) -> scripted_vehicle.Exchange:
        return f"{self.state.name.partition('_')[0]}_ChargeLoopReq", Asks.ANYTHING, Says.ANYTHING

    def _is_of_loop(self, name: str) -> bool:
        return name.endswith("ChargeLoopRes")

    # -- side streams -------------------------------------------------------------------------------------------

    def _begin_beside(self, do: Beside) -> None:
        self._beside = list(do.requests)
        self._probe_from(self._time.now)
        self._put_beside()

    def _put_beside(self) -> None:
        """Send the next request on the side stream, and one of the loop beside it."""
        do = self._script.do
        assert isinstance(do, Beside)
        name = self._beside[0]
        last = len(self._beside) == 1
        try:
            self._side = self._changed(do.change if last else "", self._make(name))
        except RefusedError as error:
            self._not_here(str(error))
            return
        self._loop_beside()
        self.seen.request, self._stimulus_at = name, self._time.now
        self.seen.answer = self.seen.code = ""
        whole = frame(do.stream, exi.encode(self._side))
        pieces = FORMS[do.form](whole) if last and do.form else (whole,)
        self._actions += [Send(each) for each in pieces]
        self._arm("beside", self.messages[name].timeout + scripted_vehicle.ANSWER_S)

    def _loop_beside(self) -> None:
        """Continue the charge loop, if it runs."""
        if self.state in self.loops:
            self._on_main = True
            self._say(self._make(*self._loop_hop()))

    def _answered_beside(self, message: Element, session_id: bytes, payload_type: int) -> None:
        """Take an answer on a side stream; the next request waits for that on the main stream."""
        name, do = type(message).__name__, self._script.do
        if self._side is None or not isinstance(do, Beside) or payload_type != do.stream:
            self.seen.facts.append(f"sends {name} unasked")
            return
        self._side = None
        assert self._stimulus_at is not None
        self.seen.answer, self.seen.code = name, code_of(message)
        self.seen.answer_s = self._time.now - self._stimulus_at
        if session_id != self._known.session_id:
            self.seen.facts.append("answers with another SessionID")
        if is_failed(message):
            if len(self._beside) > 1:
                self._not_here(f"{self.seen.request} on the side stream was answered {self.seen.code}")
                return
            self._stimulus_at = self._time.now
            self._disarm("beside")
            self._disarm("loop beside")
            self._arm("end", CLOSING_S)
            return
        self._known.hear(message)
        if self._unfinished(message):
            if self._time.now - self._answered_at > self.ongoing_s:
                self.seen.facts.append(scripted_vehicle.UNFINISHED)
                self._finish()
                return
        elif self.seen.code.startswith("WARNING"):
            self._not_here(f"{self.seen.request} on the side stream was answered {self.seen.code}")
            return
        else:
            self._beside.pop(0)
        self._go_on_beside()

    def _go_on_beside(self) -> None:
        """Make the next exchange once both streams are answered; after the last, continue the main stream."""
        if self._on_main or self._side is not None or self.seen.code.startswith("FAILED"):
            return
        self._disarm("beside")
        self._disarm("loop beside")
        if self._beside:
            self._arm("next beside", scripted_vehicle.POLL_S)
            return
        self._follows = True
        self._pending = self._make(*(self._loop_hop() if self.state in self.loops else self._ordinary()))
        self._say(self._pending)
        self._arm("answer", scripted_vehicle.ANSWER_S)

    def _on_timer(self, name: str) -> None:
        if name == "next beside":
            self._put_beside()
        elif name == "loop beside":
            self._loop_beside()
        elif name == "beside":
            do = self._script.do
            assert isinstance(do, Beside)
            if self._side is not None and not do.form and len(self._beside) == len(do.requests):
                self._not_here("the charger does not answer on this side stream")
            else:
                self._finish()
        else:
            super()._on_timer(name)

    def _repeated(self) -> scripted_vehicle.Exchange | None:
        goal = self._script.goal if self._detour is None else self._detour.at
        if self.state in FETCHING - {goal} and self.state.name.startswith("CERTIFICATE_"):
            return "CertificateInstallationReq", Asks.ANYTHING, Says.ANYTHING
        return super()._repeated()

    def _prepare(self, name: str) -> str:
        known, script = self._known, self._script
        if name == "AuthorizationReq":
            setup, (pay, _, contract) = self._known.setup, self._script.pay.partition(" ")
            if setup is None:
                return ""
            offered = [each.name for each in setup.authorization_services]
            pay = pay or self._kit.pay or ("PnC" if "PnC" in offered and "good" in self._kit.contracts else "EIM")
            if pay not in offered:
                return f"the charger does not offer {pay}"
            if pay == "PnC":
                self._requests.payer = self._kit.contracts.get(contract or "good")
                if self._requests.payer is None:
                    return f"no contract {contract or 'good'!r} given"
            self._requests.pay = pay
            return ""
        if (
            name == "ServiceDetailReq"
            and known.discovery is not None
            and not known.choose_service(script.bidirectional, der=script.der)
        ):
            way = {None: "", True: " that feeds back", False: " that only charges"}[script.bidirectional]
            way = " with AC DER" if script.der else way
            return f"no energy service of {known.family.value}{way} is offered"
        if name == "ServiceSelectionReq" and known.detail is not None and not known.choose_set(script.scheduled):
            return f"no parameter set is {'Scheduled' if script.scheduled else 'Dynamic'}"
        return ""

    def _make(self, name: str, asks: Asks = Asks.ANYTHING, says: Says = Says.ANYTHING) -> Element:
        self._requests.time = self._time.utc_ms // 1000
        if name == "DC_PreChargeReq" and says is Says.EV_FINISHED:
            says = Says.ANYTHING  # finished once the voltage is reached; without power electronics it never is
            self._requests.patient = self._time.now - self._since < scripted_vehicle.PRE_CHARGE_S
        return self._requests.make(name, asks, says)

    def _faults(self, request: Element, message: Element) -> list[str]:
        return faults(request, message, self._known, self._kit, self._time.utc_ms // 1000)

    def _learn(self, request: Element, message: Element) -> None:
        known, name = self._known, type(message).__name__
        known.hear(message)
        if isinstance(message, cm.ServiceDiscoveryRes) and not known.serves_family:
            self._trouble(f"it offers no energy service of {known.family.value}, whose messages it has agreed to")
        if isinstance(message, cm.AuthorizationSetupRes):
            # record facts about the authorization methods (V2G20-1219, -1220, -697)
            mode = message.pnc_as_res_authorization_mode
            if (cm.Authorization.PnC in message.authorization_services) != (mode is not None):
                self.seen.facts.append("gives the authorization mode of a way that it does not offer")
            if mode is not None:
                if mode.gen_challenge in self._known.earlier_challenges:
                    self.seen.facts.append(CHALLENGED)
                if not any(mode.gen_challenge):
                    self.seen.facts.append("gives a challenge of zeros")
                self._known.earlier_challenges.append(mode.gen_challenge)
        if isinstance(message, cm.CertificateInstallationRes):
            self._note_contract(message)
        known.pre_charged = name == "DC_PreChargeRes"

    def _note_contract(self, response: cm.CertificateInstallationRes) -> None:
        """Record whether the vehicle can use the contract in a response, and whether more are left."""
        if not response.response_code.name.startswith("OK") or response.evse_processing is Processing.Ongoing:
            return
        if response.remaining_contract_certificate_chains:
            self.seen.facts.append(MORE)
        own, at = self._kit.provisioning["good"], datetime.fromtimestamp(self._time.utc_ms / 1000, tz=UTC)
        try:
            verify_service(response, self._kit.roots, at=at, interop=True)
            if isinstance(own.key, SoftwareKey):  # keys in tokens are for signatures only
                pcid = pcid_of(load_certificate(own.chain[0]))
                open_contract(response.signed_installation_data, own.key, pcid, at=at, interop=True)
        except TrustError as error:
            self.seen.facts.append(f"{UNUSABLE}: {error}")
        else:
            self.seen.facts.append(DELIVERS)
