"""Valid responses of a charger to a vehicle on direct or alternating current."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec.structs import replace

from v2g.errors import SignatureError
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import ac, ac_der_iec, dc
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import common_types as iso
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.schemas import AC, AC_DER_IEC, COMMON_MESSAGES, DC
from v2g.iso15118.d20.services import DER_PARAMETER, ServiceId
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import signature
from v2g.iso15118.engine.session import NO_SESSION
from v2g.pki.certificates import load_certificate
from v2g.pki.keys import PublicKey
from v2g.typed_json import Fields
from v2g_testkit.cases import der
from v2g_testkit.cases.known import number
from v2g_testkit.cases.quantities import (
    LATEST_S,
    MEASURED,
    NOISE_W,
    amount,
    limits,
    negative,
    of_phases,
    unordered,
    without_phase_2,
)
from v2g_testkit.cases.scripted_charger import ScriptedResponses

_SERVICES: Final = {Family.AC: (ServiceId.AC, ServiceId.AC_BPT), Family.DC: (ServiceId.DC, ServiceId.DC_BPT)}
_NAMESPACES: Final = {Family.AC: AC.uri, Family.DC: DC.uri}
_POWER_W: Final = 11_000
_DYNAMIC, _SCHEDULED = 2, 1
_SIGNED: Final = ("discharge", "energy", "present", "reactive", "v2x")
"""Parts of names of what may be below zero."""
_TUPLE: Final = 1
"""Id of the only schedule that is offered."""


class Responses(ScriptedResponses):
    """Responses of ISO 15118-20."""

    def __init__(
        self, family: Family, facts: list[str], *, pays: tuple[cm.Authorization, ...], demands: str = ""
    ) -> None:
        super().__init__(family, facts)
        self.services = (_SERVICES[family][0], ServiceId.AC_DER_IEC) if demands else _SERVICES[family]
        self.demands = demands
        self.pays = pays
        self.session_id, self.challenge, self.time = NO_SESSION, bytes(16), 0
        self.service, self.scheduled = 0, False
        self.energy_wh = 0
        self._detailed: set[int] = set()
        self._looped: Element | None = None
        self._contract: PublicKey | None = None
        self._meter: tuple[iso.MeterInfo, iso.Receipt] | None = None

    def _response(self, name: str, fields: Fields) -> Element:
        kind = ac_der_iec.ELEMENTS[name] if self.der and name.startswith("AC_") else _RESPONSES[name]
        return kind(**{"header": self.header(), "response_code": iso.ResponseCode.OK, **fields})

    @property
    def der(self) -> bool:
        """Whether the vehicle has selected AC DER."""
        return self.service == ServiceId.AC_DER_IEC

    def _serves(self, offered: app.AppProtocol) -> bool:
        own = (_NAMESPACES[self.family], *((AC_DER_IEC.uri,) if self.demands else ()))
        return offered.protocol_namespace in own and offered.version_number_major == 1

    @property
    def both(self) -> bool:
        """Whether the vehicle has selected a service in which energy flows in both directions."""
        return self.der or self.service == _SERVICES[self.family][1]

    def _excess(self, request: Element) -> Iterator[str]:
        yield from super()._excess(request)
        if isinstance(request, iso.V2GRequest) and not 0 < request.header.time_stamp < LATEST_S:
            yield f"states a TimeStamp of {request.header.time_stamp} s"

    def header(self) -> iso.MessageHeader:
        """Return a header of this session."""
        return iso.MessageHeader(session_id=self.session_id, time_stamp=self.time)

    def _ongoing_once(self, name: str) -> iso.Processing:
        return iso.Processing.Finished if self._asked_before(name) else iso.Processing.Ongoing

    # -- common messages ----------------------------------------------------------------------------------------

    def _SessionSetupReq(self, request: cm.SessionSetupReq) -> Fields:
        if not request.evcc_id:
            self.facts.append("states an empty EVCCID")
        return {"evse_id": "DEV2GCONFORM1", "response_code": iso.ResponseCode.OK_NewSessionEstablished}

    def _AuthorizationSetupReq(self, request: Element) -> Fields:
        pnc = cm.Authorization.PnC in self.pays
        return {
            "authorization_services": self.pays,
            "certificate_installation_service": False,
            "pnc_as_res_authorization_mode": cm.PnC_ASResAuthorizationMode(gen_challenge=self.challenge)
            if pnc
            else None,
            "eim_as_res_authorization_mode": None if pnc else cm.EIM_ASResAuthorizationMode(),
        }

    def _AuthorizationReq(self, request: cm.AuthorizationReq) -> Fields:
        if request.selected_authorization_service not in self.pays:
            self.facts.append("selects a way of authorization that is not offered")
        mode = request.pnc_a_req_authorization_mode
        if mode is not None:
            if mode.gen_challenge != self.challenge:
                self.facts.append("signs another challenge")
            leaf = load_certificate(mode.contract_certificate_chain.certificate)
            self._contract = leaf.public_key()  # type: ignore[assignment]
            self._check_signature(request, mode)
        return {"evse_processing": self._ongoing_once("AuthorizationReq")}

    def _check_signature(self, request: iso.V2GRequest, signed: Element) -> None:
        """Record a signature over `signed` that was not made with the contract's key."""
        if self._contract is None:
            self.facts.append("signs without a contract")
            return
        try:
            signature.verify(
                request.header.signature, signed, self._contract, allowed=signature.INTEROP, schema=COMMON_MESSAGES
            )
        except SignatureError as error:
            self.facts.append(f"its signature is wrong: {error}")

    def _ServiceDiscoveryReq(self, request: Element) -> Fields:
        services = tuple(cm.Service(service_id=each, free_service=True) for each in self.services)
        return {
            "service_renegotiation_supported": True,
            "energy_transfer_service_list": cm.ServiceList(service=services),
        }

    def _ServiceDetailReq(self, request: cm.ServiceDetailReq) -> Fields:
        if request.service_id not in self.services:
            self.facts.append(f"asks about service {request.service_id}, which is not offered")
        self._detailed.add(request.service_id)
        sets = tuple(self._set(request.service_id, mode) for mode in (_DYNAMIC, _SCHEDULED))
        return {"service_id": request.service_id, "service_parameter_list": cm.ServiceParameterList(parameter_set=sets)}

    def _set(self, service: int, mode: int) -> cm.ParameterSet:
        values = {"ControlMode": mode, "MobilityNeedsMode": 1, "Pricing": 0}
        values |= {"Connector": 2} if self.family is Family.DC else {"Connector": 2, "EVSENominalVoltage": 230}
        if service == ServiceId.AC_DER_IEC:
            values |= {DER_PARAMETER: der.mask(self.demands)}
        elif service == _SERVICES[self.family][1]:
            values |= {"BPTChannel": 1, "GeneratorMode": 1}
            values |= {"GridCodeIslandingDetectionMethod": 1} if self.family is Family.AC else {}
        parameters = tuple(cm.Parameter(name=name, int_value=value) for name, value in values.items())
        return cm.ParameterSet(parameter_set_id=mode, parameter=parameters)

    def _ServiceSelectionReq(self, request: cm.ServiceSelectionReq) -> Fields:
        chosen = request.selected_energy_transfer_service
        if chosen.service_id not in self.services or chosen.parameter_set_id not in (_DYNAMIC, _SCHEDULED):
            self.facts.append("selects what was not offered")
        elif chosen.service_id not in self._detailed:  # [V2G20-1216]
            self.facts.append(f"selects service {chosen.service_id} before its details")
        if request.selected_vas_list is not None:
            self.facts.append("selects additional services, of which none is offered")
        self.service, self.scheduled = chosen.service_id, chosen.parameter_set_id == _SCHEDULED
        if self.der:
            self.facts.append(der.TAKES)
        return {}

    def _ScheduleExchangeReq(self, request: cm.ScheduleExchangeReq) -> Fields:
        if (request.scheduled_se_req_control_mode is not None) != self.scheduled:
            self.facts.append("states its needs in another control mode than it has selected")
        self._check_needs(request.scheduled_se_req_control_mode or request.dynamic_se_req_control_mode)
        processing = {"evse_processing": self._ongoing_once("ScheduleExchangeReq")}
        if not self.scheduled:
            return processing | {"dynamic_se_res_control_mode": sched.Dynamic_SEResControlMode()}
        entry = sched.PowerScheduleEntry(duration=86_400, power=number(_POWER_W))
        schedule = sched.PowerSchedule(
            time_anchor=self.time, power_schedule_entries=sched.PowerScheduleEntryList(power_schedule_entry=(entry,))
        )
        levels = sched.PriceLevelSchedule(
            time_anchor=self.time,
            price_schedule_id=1,
            number_of_price_levels=1,
            price_level_schedule_entries=sched.PriceLevelScheduleEntryList(
                price_level_schedule_entry=(sched.PriceLevelScheduleEntry(duration=86_400, price_level=0),)
            ),
        )
        charging = sched.ChargingSchedule(power_schedule=schedule, price_level_schedule=levels)
        one = sched.ScheduleTuple(schedule_tuple_id=_TUPLE, charging_schedule=charging)
        mode = sched.Scheduled_SEResControlMode(schedule_tuple=(one,))
        return processing | {"scheduled_se_res_control_mode": mode}

    def _check_needs(self, needs: Element | None) -> None:
        """Record needs that contradict themselves [V2G20-1290], [V2G20-1366], [V2G20-1640]."""
        self.facts += (f"states {each}" for each in unordered(needs, self.time))

    def _check_limits(self, stated: Element) -> None:
        """Record limits below zero, minima above their maxima, and maxima of 0 V; of 0 A or 0 W they are a pause."""
        for each in limits(stated):
            if "above" in each or (each.endswith(" 0") and "Voltage" in each):
                self.facts.append(f"states {each}")
        signed = (*_SIGNED, "target_current") if self.both else _SIGNED
        self.facts += (f"states {each}" for each in (*negative(stated, signed), *without_phase_2(stated)))

    def _check_mode(self, request: ac.AC_ChargeLoopReq | dc.DC_ChargeLoopReq) -> None:
        """Record a loop in another control mode or direction than is selected, or with needs, limits and values that
        cannot be."""
        mode = request.cl_req_control_mode
        self._check_needs(request.display_parameters)
        capacity = getattr(request.display_parameters, "battery_energy_capacity", None)
        if capacity is not None and amount(capacity) <= 0:
            self.facts.append(f"states BatteryEnergyCapacity {amount(capacity):g}")
        self._check_needs(mode)
        self._check_limits(mode)
        direction = "DER_" if self.der else "BPT_" if self.both else ""
        control = "Scheduled" if self.scheduled else "Dynamic"
        wanted = f"{direction}{control}_{self.family.value}_CLReqControlMode"
        if (name := type(mode).__name__) != wanted and self.service:
            self.facts.append(f"states {name} in its loop, that of the selected service is {wanted}")

    def _PowerDeliveryReq(self, request: cm.PowerDeliveryReq) -> Fields:
        profile = request.ev_power_profile
        if profile is not None:
            self._check_profile(profile)
        elif self.scheduled and (request.charge_progress.name, request.ev_processing.name) == ("Start", "Finished"):
            self.facts.append("states no power profile, as it must in the control mode Scheduled")
        if request.bpt_channel_selection is not None and not self.both:
            self.facts.append("selects a BPT channel in a service without")
        if request.charge_progress is cm.ChargeProgress.Stop:
            self.voltage = self.current = 0.0
        return {}

    def _check_profile(self, profile: sched.EVPowerProfile) -> None:
        """Record a power profile that is not within the schedule on offer, or cannot be."""
        chosen = profile.scheduled_evppt_control_mode
        if (chosen is not None) != self.scheduled:
            self.facts.append("states its power profile in another control mode than it has selected")
        elif chosen is not None and chosen.selected_schedule_tuple_id != _TUPLE:
            self.facts.append(f"selects schedule {chosen.selected_schedule_tuple_id}, which was not offered")
        entries = profile.ev_power_profile_entries.ev_power_profile_entry
        powers = [sum(of_phases(each, "power")) for each in entries]
        if self.scheduled and max(powers) > _POWER_W:
            self.facts.append(f"states a power profile of {max(powers):g} W, its schedule has {_POWER_W} W")
        if min(powers) < 0 and not self.both:
            self.facts.append(f"states a power profile of {min(powers):g} W, but cannot feed back")
        if not all(each.duration for each in entries):
            self.facts.append("states a power profile with an entry of 0 s")

    def to_confirm(self, response: Any) -> Any:
        """Return a response of the loop with a receipt, which the vehicle must confirm with its readings."""
        free = iso.DetailedCost(amount=number(0), cost_per_unit=number(0))  # the service is free
        receipt = iso.Receipt(time_anchor=self.time, energy_costs=free)
        self._meter = response.meter_info, receipt
        return replace(response, receipt=receipt)

    def _MeteringConfirmationReq(self, request: cm.MeteringConfirmationReq) -> Fields:
        data = request.signed_metering_data
        if self._contract is None:
            self.facts.append("confirms readings without a contract")
            return {}
        self._check_signature(request, data)
        if data.session_id != self.session_id:
            self.facts.append("confirms readings of another session")
        if (data.meter_info, data.receipt) != self._meter:
            self.facts.append("confirms readings other than those it received")
        if (data.scheduled_smdt_control_mode is not None) != self.scheduled:
            self.facts.append("confirms readings in another control mode than it has selected")
        return {}

    def _SessionStopReq(self, request: Element) -> Fields:
        return {}

    # -- direct current -----------------------------------------------------------------------------------------

    def _DC_ChargeParameterDiscoveryReq(self, request: dc.DC_ChargeParameterDiscoveryReq) -> Fields:
        charge = {
            "evse_maximum_charge_power": number(_POWER_W),
            "evse_minimum_charge_power": number(0),
            "evse_maximum_charge_current": number(30),
            "evse_minimum_charge_current": number(0),
            "evse_maximum_voltage": number(1000),
            "evse_minimum_voltage": number(150),
        }
        asked = request.dc_cpd_req_energy_transfer_mode
        both = isinstance(asked, dc.BPT_DC_CPDReqEnergyTransferMode)
        self._check_direction(both=both)
        self._check_limits(asked)
        if not both:
            return {"dc_cpd_res_energy_transfer_mode": dc.DC_CPDResEnergyTransferMode(**charge)}
        discharge = {
            "evse_maximum_discharge_power": number(_POWER_W),
            "evse_minimum_discharge_power": number(0),
            "evse_maximum_discharge_current": number(30),
            "evse_minimum_discharge_current": number(0),
        }
        return {"dc_cpd_res_energy_transfer_mode": dc.BPT_DC_CPDResEnergyTransferMode(**charge, **discharge)}

    def _check_direction(self, *, both: bool) -> None:
        if both != self.both:
            self.facts.append("states limits of another direction than it has selected")

    def _DC_CableCheckReq(self, request: Element) -> Fields:
        return {"evse_processing": self._ongoing_once("DC_CableCheckReq")}

    def _DC_PreChargeReq(self, request: dc.DC_PreChargeReq) -> Fields:
        self.voltage = amount(request.ev_target_voltage)
        return {"evse_present_voltage": number(self.voltage)}

    def _DC_ChargeLoopReq(self, request: dc.DC_ChargeLoopReq) -> Fields:
        self._check_mode(request)
        return {
            "meter_info": iso.MeterInfo(meter_id="CONFORM", charged_energy_reading_wh=self.energy_wh),
            "evse_present_current": number(self.current),
            "evse_present_voltage": number(self.voltage),
            "evse_power_limit_achieved": False,
            "evse_current_limit_achieved": False,
            "evse_voltage_limit_achieved": False,
            "cl_res_control_mode": self._dc_mode(request.cl_req_control_mode),
        }

    def _dc_mode(self, asked: Element) -> object:
        charge: Fields = {
            "evse_maximum_charge_power": number(_POWER_W),
            "evse_minimum_charge_power": number(0),
            "evse_maximum_charge_current": number(30),
            "evse_maximum_voltage": number(1000),
        }
        discharge: Fields = {
            "evse_maximum_discharge_power": number(_POWER_W),
            "evse_minimum_discharge_power": number(0),
            "evse_maximum_discharge_current": number(30),
            "evse_minimum_voltage": number(150),
        }
        match asked:
            case dc.BPT_Dynamic_DC_CLReqControlMode():
                return dc.BPT_Dynamic_DC_CLResControlMode(**charge, **discharge)
            case dc.Dynamic_DC_CLReqControlMode():
                return dc.Dynamic_DC_CLResControlMode(**charge)
            case dc.BPT_Scheduled_DC_CLReqControlMode():
                return dc.BPT_Scheduled_DC_CLResControlMode(**discharge)
        return dc.Scheduled_DC_CLResControlMode()

    def _DC_WeldingDetectionReq(self, request: Element) -> Fields:
        return {"evse_present_voltage": number(self.voltage)}

    # -- alternating current ------------------------------------------------------------------------------------

    def _AC_ChargeParameterDiscoveryReq(self, request: ac.AC_ChargeParameterDiscoveryReq) -> Fields:
        charge: Fields = {
            **_phases("evse_maximum_charge_power", _POWER_W / 3),
            **_phases("evse_minimum_charge_power", 0),
            "evse_nominal_frequency": number(50),
        }
        asked = request.ac_cpd_req_energy_transfer_mode
        of_der = isinstance(asked, ac_der_iec.DER_AC_CPDReqEnergyTransferMode)
        both = of_der or isinstance(asked, ac.BPT_AC_CPDReqEnergyTransferMode)
        if of_der is not self.der:
            self.facts.append("states limits of another service than it has selected")
        if not of_der:
            self._check_direction(both=both)
            self._check_limits(asked)
        if not both:
            return {"ac_cpd_res_energy_transfer_mode": ac.AC_CPDResEnergyTransferMode(**charge)}
        discharge = _phases("evse_maximum_discharge_power", _POWER_W / 3) | _phases("evse_minimum_discharge_power", 0)
        plain = ac.BPT_AC_CPDResEnergyTransferMode(**charge, **discharge)
        return {"ac_cpd_res_energy_transfer_mode": der.rating(plain, self.demands) if of_der else plain}

    def _check_power(self, mode: Element) -> None:
        """Record a power that cannot flow: of each phase where its maximum is stated, else in sum. What flows follows
        a maximum that falls, so that of the request before holds as well."""
        modes, self._looped = (mode, self._looped or mode), mode
        for way, name in ((1, "charge"), (-1, "discharge")):
            maxima = [[abs(each) for each in of_phases(of, f"ev_maximum_{name}_power")] for of in modes]
            most = max(maxima, key=sum) if way > 0 or self.both else [0.0]
            watts = of_phases(mode, "ev_present_active_power")
            if len(watts) != len(most):
                watts, most = [sum(watts)], [sum(most)] * bool(most)
            for phase, (flows, bound) in enumerate(zip(watts, most, strict=False), 1):
                if way * flows > bound * MEASURED + NOISE_W:
                    where = f" in phase {phase}" if len(most) > 1 else ""
                    self.facts.append(f"states that {flows:g} W flow{where}, at most {bound:g} W can")

    def _AC_ChargeLoopReq(self, request: ac.AC_ChargeLoopReq) -> Fields:
        target = _phases("evse_target_active_power", 1_000)
        asked = request.cl_req_control_mode
        out = getattr(asked, "ev_maximum_discharge_power", None)
        self._check_mode(request)
        self._check_power(asked)
        if self.demands not in ("", "good") and out is not None and amount(out):
            self.facts.append(der.FEEDS)
        match asked:
            case _ if self.der:
                mode: Element = der.loop_answer(asked, target)
            case ac.BPT_Dynamic_AC_CLReqControlMode():
                mode = ac.BPT_Dynamic_AC_CLResControlMode(**target)
            case ac.Dynamic_AC_CLReqControlMode():
                mode = ac.Dynamic_AC_CLResControlMode(**target)
            case ac.BPT_Scheduled_AC_CLReqControlMode():
                mode = ac.BPT_Scheduled_AC_CLResControlMode()
            case _:
                mode = ac.Scheduled_AC_CLResControlMode()
        meter = iso.MeterInfo(meter_id="CONFORM", charged_energy_reading_wh=self.energy_wh)
        return {"meter_info": meter, "cl_res_control_mode": mode}


_RESPONSES: Final[Mapping[str, type[Element]]] = {
    each.__name__: each for module in (cm, ac, dc) for each in module.ELEMENTS.values() if each.__name__.endswith("Res")
}


def _phases(name: str, watts: float) -> Fields:
    return {name + phase: number(watts) for phase in ("", "_l2", "_l3")}


def with_code(response: Element, code: str) -> Element:
    """Return a response with this code."""
    if isinstance(response, app.SupportedAppProtocolRes):
        return app.SupportedAppProtocolRes(response_code=app.ResponseCode(code))
    return replace(response, response_code=iso.ResponseCode(code))
