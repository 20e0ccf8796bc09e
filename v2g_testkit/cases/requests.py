"""Valid requests of a vehicle, derived from its knowledge of the session."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from msgspec.structs import asdict

from v2g.errors import RefusedError
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.installation import InstallationRequest, make_request
from v2g.iso15118.d20.messages import ac, ac_der_iec, acdp, dc, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import common_types as iso
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.messages import wpt_positioning as place
from v2g.iso15118.d20.messages.certificates import ContractCertificateChain, SubCertificates
from v2g.iso15118.d20.schemas import AC, ACDP, COMMON_MESSAGES, DC, WPT
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import signature
from v2g.iso15118.engine.sequence import Asks, Says
from v2g.typed_json import Fields
from v2g_testkit.cases import der
from v2g_testkit.cases.known import NEAR_V, Kit, Known, Payer, number
from v2g_testkit.cases.quantities import amount

NAMESPACES: Final[Mapping[Family, str]] = {
    Family.AC: AC.uri,
    Family.DC: DC.uri,
    Family.WPT: WPT.uri,
    Family.ACDP: ACDP.uri,
}
"""Namespaces of the message sets in the handshake."""

REQUESTS: Final[Mapping[str, type[Element]]] = {
    each.__name__: each
    for module in (cm, ac, dc, wpt, acdp, app)
    for each in module.ELEMENTS.values()
    if each.__name__.endswith("Req")
}
"""All requests of ISO 15118-20, by class name."""

DISPLAYED: Final = iso.DisplayParameters(
    present_soc=50,
    minimum_soc=30,
    target_soc=80,
    maximum_soc=100,
    charging_complete=False,
    battery_energy_capacity=number(60_000),
)
"""The vehicle's data in the loop: all that known chargers require."""

_PROGRESS: Final = MappingProxyType(
    {
        Asks.START: cm.ChargeProgress.Start,
        Asks.STOP: cm.ChargeProgress.Stop,
        Asks.STANDBY: cm.ChargeProgress.Standby,
        Asks.RENEGOTIATION: cm.ChargeProgress.ScheduleRenegotiation,
    }
)
_STOPS: Final = MappingProxyType(
    {
        Asks.TERMINATE: cm.ChargingSession.Terminate,
        Asks.PAUSE: cm.ChargingSession.Pause,
        Asks.SERVICE_RENEGOTIATION: cm.ChargingSession.ServiceRenegotiation,
    }
)


class Requests:
    """Creates requests. `pay` is the authorization method, `payer` its contract, if any."""

    def __init__(self, known: Known, kit: Kit, *, pay: str = "", payer: Payer | None = None) -> None:
        self.known, self.kit, self.pay, self.payer = known, kit, pay, payer
        self.time = 0
        """Seconds since 1970."""
        self.patient = True
        """Whether to wait for the pre-charge voltage."""

    def make(self, name: str, asks: Asks = Asks.ANYTHING, says: Says = Says.ANYTHING) -> Element:
        """Return a request valid in the session, with this intent and desired result."""
        if name == "SupportedAppProtocolReq":
            return app.SupportedAppProtocolReq(app_protocol=(protocol(NAMESPACES[self.known.family]),))
        make: Callable[[], Fields] = getattr(self, f"_{name}", dict)
        fields = make()
        if asks in _PROGRESS:
            fields |= {"charge_progress": _PROGRESS[asks]}
            if asks is not Asks.START:
                fields["ev_power_profile"] = None
        if asks in _STOPS:
            fields["charging_session"] = _STOPS[asks]
        if self.known.der and name.startswith("AC_"):
            ongoing = says is Says.EV_ONGOING
            mode = fields.get("ac_cpd_req_energy_transfer_mode")
            if mode is not None:
                fields["ac_cpd_req_energy_transfer_mode"] = der.parameters(mode, ongoing=ongoing)
            else:
                fields["cl_req_control_mode"] = der.loop_mode(fields["cl_req_control_mode"])
            return ac_der_iec.ELEMENTS[name](**{"header": self.header(), **fields})
        if says is Says.EV_ONGOING:
            fields["ev_processing"] = iso.Processing.Ongoing
        fields.setdefault("header", self.header())
        return REQUESTS[name](**fields)

    def header(self, element: Element | None = None) -> iso.MessageHeader:
        """Return a header of this session, signed over an element if given and a contract exists."""
        signed = (
            signature.sign(element, self.payer.key, schema=COMMON_MESSAGES)
            if element is not None and self.payer is not None
            else None
        )
        return iso.MessageHeader(session_id=self.known.session_id, time_stamp=self.time, signature=signed)

    # -- common messages ----------------------------------------------------------------------------------------

    def _SessionSetupReq(self) -> Fields:
        return {"evcc_id": self.kit.evcc_id}

    def _AuthorizationReq(self) -> Fields:
        if self.pay != "PnC" or self.payer is None:
            return {
                "selected_authorization_service": cm.Authorization.EIM,
                "eim_a_req_authorization_mode": cm.EIM_AReqAuthorizationMode(),
            }
        mode = self.contract_mode(self.known.challenge)
        return {
            "header": self.header(mode),
            "selected_authorization_service": cm.Authorization.PnC,
            "pnc_a_req_authorization_mode": mode,
        }

    def contract_mode(self, challenge: bytes) -> cm.PnC_AReqAuthorizationMode:
        """Return the element that a contract signs."""
        assert self.payer is not None
        chain = self.payer.chain
        return cm.PnC_AReqAuthorizationMode(
            id="id1",
            gen_challenge=challenge,
            contract_certificate_chain=ContractCertificateChain(
                certificate=chain[0], sub_certificates=SubCertificates(certificate=chain[1:])
            ),
        )

    def _CertificateInstallationReq(self) -> Fields:
        return asdict(self.installation())

    def installation(self, name: str = "good", *, maximum: int = 255) -> cm.CertificateInstallationReq:
        """Return the request for at most `maximum` contracts, with the provisioning certificate of this name.

        Raises RefusedError without it, or if the charger does not offer contracts.
        """
        own, setup = self.kit.provisioning.get(name), self.known.setup
        if own is None:
            raise RefusedError(f"no provisioning certificate {name!r} given", reason="not_offered")
        if setup is not None and not setup.certificate_installation_service:
            raise RefusedError("the charger does not offer to install contracts", reason="not_offered")
        wish = InstallationRequest(roots=self.kit.roots, maximum=maximum)
        return make_request(self.header(), own.chain, own.key, wish)

    def _ServiceDetailReq(self) -> Fields:
        return {"service_id": self.known.service}

    def _ServiceSelectionReq(self) -> Fields:
        chosen = cm.SelectedService(service_id=self.known.service, parameter_set_id=self.known.parameter_set)
        return {"selected_energy_transfer_service": chosen}

    def _ScheduleExchangeReq(self) -> Fields:
        needs: Fields = {
            "departure_time": 7200,
            "ev_target_energy_request": number(10_000),
            "ev_maximum_energy_request": number(20_000),
            "ev_minimum_energy_request": number(1_000),
        }
        if self.known.scheduled:
            mode = sched.Scheduled_SEReqControlMode(**needs)
            return {"maximum_supporting_points": 1024, "scheduled_se_req_control_mode": mode}
        dynamic = sched.Dynamic_SEReqControlMode(**needs, minimum_soc=30, target_soc=80)
        return {"maximum_supporting_points": 1024, "dynamic_se_req_control_mode": dynamic}

    def _PowerDeliveryReq(self) -> Fields:
        return {
            "ev_processing": iso.Processing.Finished,
            "charge_progress": cm.ChargeProgress.Start,
            "ev_power_profile": self.profile(),
        }

    def profile(self, *, tuple_id: int | None = None, scale: float = 0.5) -> sched.EVPowerProfile:
        """Return the vehicle's power profile: `scale` of the schedule's first limit, or a little."""
        entry = sched.PowerScheduleEntry(duration=3600, power=number(1_000))
        scheduled = None
        if self.known.scheduled:
            answer = self.known.schedule
            mode = answer.scheduled_se_res_control_mode if answer is not None else None
            first = mode.schedule_tuple[0] if mode is not None else None
            if first is not None:
                allowed = first.charging_schedule.power_schedule.power_schedule_entries.power_schedule_entry[0]
                powers = {
                    name: number(round(amount(power) * scale))
                    for name in ("power", "power_l2", "power_l3")
                    if (power := getattr(allowed, name)) is not None
                }
                entry = sched.PowerScheduleEntry(duration=3600, **powers)
            known = first.schedule_tuple_id if first is not None else 1
            banded = first is not None and first.charging_schedule.power_schedule.power_tolerance is not None
            scheduled = sched.Scheduled_EVPPTControlMode(
                selected_schedule_tuple_id=tuple_id or known,
                power_tolerance_acceptance=sched.PowerToleranceAcceptance.PowerToleranceConfirmed if banded else None,
            )
        return sched.EVPowerProfile(
            time_anchor=self.time,
            scheduled_evppt_control_mode=scheduled,
            dynamic_evppt_control_mode=None if scheduled is not None else sched.Dynamic_EVPPTControlMode(),
            ev_power_profile_entries=sched.EVPowerProfileEntryList(ev_power_profile_entry=(entry,)),
        )

    def tuple_ids(self) -> tuple[int, ...]:
        """Return the ids of the offered schedules."""
        answer = self.known.schedule
        mode = answer.scheduled_se_res_control_mode if answer is not None else None
        return tuple(each.schedule_tuple_id for each in mode.schedule_tuple) if mode is not None else ()

    def _MeteringConfirmationReq(self) -> Fields:
        info = self.known.meter or iso.MeterInfo(meter_id="none", charged_energy_reading_wh=0)
        scheduled = None
        if self.known.scheduled:
            tuple_id, *_ = self.tuple_ids() or (1,)
            scheduled = cm.Scheduled_SMDTControlMode(selected_schedule_tuple_id=tuple_id)
        data = cm.SignedMeteringData(
            id="id1",
            session_id=self.known.session_id,
            meter_info=info,
            dynamic_smdt_control_mode=None if scheduled is not None else cm.Dynamic_SMDTControlMode(),
            scheduled_smdt_control_mode=scheduled,
        )
        return {"header": self.header(data), "signed_metering_data": data}

    def _SessionStopReq(self) -> Fields:
        return {"charging_session": cm.ChargingSession.Terminate}

    def _VehicleCheckInReq(self) -> Fields:
        return {"ev_check_in_status": cm.EvCheckInStatus.CheckIn, "parking_method": cm.ParkingMethod.Manual}

    def _VehicleCheckOutReq(self) -> Fields:
        return {"ev_check_out_status": cm.EvCheckOutStatus.CheckOut, "check_out_time": self.time}

    # -- direct current -----------------------------------------------------------------------------------------

    def _DC_ChargeParameterDiscoveryReq(self) -> Fields:
        return {"dc_cpd_req_energy_transfer_mode": self.dc_mode(bidirectional=self.known.bidirectional)}

    def dc_mode(self, *, bidirectional: bool, **changes: iso.RationalNumber) -> Element:
        """Return the limits of a vehicle on direct current."""
        fields: Fields = {
            "ev_maximum_charge_power": number(20_000),
            "ev_minimum_charge_power": number(0),
            "ev_maximum_charge_current": number(60),
            "ev_minimum_charge_current": number(0),
            "ev_maximum_voltage": number(self.kit.voltage * 1.1),
            "ev_minimum_voltage": number(self.kit.voltage * 0.75),
        }
        if not bidirectional:
            return dc.DC_CPDReqEnergyTransferMode(**{**fields, **changes})
        discharge = {
            "ev_maximum_discharge_power": number(12_000),
            "ev_minimum_discharge_power": number(0),
            "ev_maximum_discharge_current": number(40),
            "ev_minimum_discharge_current": number(0),
        }
        return dc.BPT_DC_CPDReqEnergyTransferMode(**{**fields, **discharge, **changes})

    @property
    def voltage_there(self) -> bool:
        """Whether the charger reports the requested voltage, within the tolerance of a vehicle's contactor."""
        return abs(self.known.voltage - self.kit.voltage) <= NEAR_V

    def _DC_PreChargeReq(self) -> Fields:
        done = self.known.pre_charged and (self.voltage_there or not self.patient)
        return {
            "ev_processing": iso.Processing.Finished if done else iso.Processing.Ongoing,
            "ev_present_voltage": number(self.known.voltage),
            "ev_target_voltage": number(self.kit.voltage),
        }

    def _DC_ChargeLoopReq(self) -> Fields:
        return {
            "display_parameters": DISPLAYED,
            "meter_info_requested": True,
            "ev_present_voltage": number(self.known.voltage or self.kit.voltage),
            "cl_req_control_mode": self._dc_loop_mode(),
        }

    def _dc_loop_mode(self) -> Element:
        if self.known.scheduled:
            target: Fields = {
                "ev_target_current": number(self.kit.current),
                "ev_target_voltage": number(self.kit.voltage),
            }
            both = self.known.bidirectional
            kind = dc.BPT_Scheduled_DC_CLReqControlMode if both else dc.Scheduled_DC_CLReqControlMode
            return kind(**target)
        fields: Fields = {
            **self._loop_needs(),
            "ev_maximum_charge_power": number(self.kit.voltage * self.kit.current),
            "ev_minimum_charge_power": number(0),
            "ev_maximum_charge_current": number(self.kit.current),
            "ev_maximum_voltage": number(self.kit.voltage * 1.1),
            "ev_minimum_voltage": number(self.kit.voltage * 0.75),
        }
        if not self.known.bidirectional:
            return dc.Dynamic_DC_CLReqControlMode(**fields)
        return dc.BPT_Dynamic_DC_CLReqControlMode(
            **fields,
            ev_maximum_discharge_power=number(2_000),
            ev_minimum_discharge_power=number(0),
            ev_maximum_discharge_current=number(self.kit.current),
        )

    def _loop_needs(self) -> Fields:
        return {
            "departure_time": 7000,
            "ev_target_energy_request": number(10_000),
            "ev_maximum_energy_request": number(20_000),
            "ev_minimum_energy_request": number(1_000),
        }

    def _DC_WeldingDetectionReq(self) -> Fields:
        return {"ev_processing": iso.Processing.Finished}

    # -- alternating current ------------------------------------------------------------------------------------

    def _AC_ChargeParameterDiscoveryReq(self) -> Fields:
        return {"ac_cpd_req_energy_transfer_mode": self.ac_mode(bidirectional=self.known.bidirectional)}

    def ac_mode(
        self, *, bidirectional: bool, most: float = 3_600, least: float = 460
    ) -> ac.AC_CPDReqEnergyTransferMode:
        """Return the limits of a vehicle on alternating current, W for each phase."""
        fields = self._each_phase("ev_maximum_charge_power", most) | self._each_phase("ev_minimum_charge_power", least)
        if not bidirectional:
            return ac.AC_CPDReqEnergyTransferMode(**fields)
        fields |= self._each_phase("ev_maximum_discharge_power", 3_000)
        fields |= self._each_phase("ev_minimum_discharge_power", 0)
        return ac.BPT_AC_CPDReqEnergyTransferMode(**fields)

    def _AC_ChargeLoopReq(self) -> Fields:
        return {
            "display_parameters": DISPLAYED,
            "meter_info_requested": True,
            "cl_req_control_mode": self.plain_loop_mode(),
        }

    def plain_loop_mode(self) -> Element:
        """Return the control mode of a loop of AC, one way or both."""
        present = self._each_phase("ev_present_active_power", 0)
        both = self.known.bidirectional
        if self.known.scheduled:
            kind = ac.BPT_Scheduled_AC_CLReqControlMode if both else ac.Scheduled_AC_CLReqControlMode
            return kind(**present)
        fields: Fields = {
            **self._loop_needs(),
            **self._each_phase("ev_maximum_charge_power", 3_600),
            **self._each_phase("ev_minimum_charge_power", 460),
            **present,
            "ev_present_reactive_power": number(0),
        }
        if not both:
            return ac.Dynamic_AC_CLReqControlMode(**fields)
        fields |= self._each_phase("ev_maximum_discharge_power", 3_000)
        fields |= self._each_phase("ev_minimum_discharge_power", 0)
        return ac.BPT_Dynamic_AC_CLReqControlMode(**fields)

    def _each_phase(self, name: str, watts: float) -> Fields:
        """Return a power as the fields of the phases common to both sides."""
        phases = min(self.kit.phases, self.known.phases)
        return {name + phase: number(watts) for phase in ("", "_l2", "_l3")[: 3 if phases == 3 else 1]}

    # -- without a plug -----------------------------------------------------------------------------------------

    def _WPT_FinePositioningSetupReq(self) -> Fields:
        return {
            "ev_processing": iso.Processing.Finished,
            "ev_device_fine_positioning_method_list": place.WPT_FinePositioningMethodList(
                wpt_fine_positioning_method=(place.WPT_FinePositioningMethod.Manual,)
            ),
            "ev_device_pairing_method_list": place.WPT_PairingMethodList(
                wpt_pairing_method=(place.WPT_PairingMethod.Optical, place.WPT_PairingMethod.LPE)
            ),
            "ev_device_alignment_check_method_list": place.WPT_AlignmentCheckMethodList(
                wpt_alignment_check_method=(place.WPT_AlignmentCheckMethod.PowerCheck,)
            ),
            "natural_offset": 0,
        }

    def _WPT_FinePositioningReq(self) -> Fields:
        return {"ev_processing": iso.Processing.Finished, "ev_result_code": wpt.WPT_EVResult.EVResultSuccess}

    def _WPT_PairingReq(self) -> Fields:
        return {**self._WPT_FinePositioningReq(), "observed_id_code": 1}

    def _WPT_AlignmentCheckReq(self) -> Fields:
        return {**self._WPT_FinePositioningReq(), "target_coil_current": number(20)}

    def _WPT_ChargeParameterDiscoveryReq(self) -> Fields:
        return {
            "evpc_max_receivable_power": number(7_000),
            "sd_max_ground_clearence": 210,
            "sd_min_ground_clearence": 140,
            "evpc_natural_frequency": number(85_000),
            "evpc_device_local_control": False,
        }

    def _WPT_ChargeLoopReq(self) -> Fields:
        return {
            "display_parameters": DISPLAYED,
            "meter_info_requested": True,
            "evpc_power_request": number(3_000),
            "evpc_power_output": number(2_700),
            "evpc_charge_diagnostics": wpt.WPT_EVPCChargeDiagnostics.EVPCNoIssue,
        }

    def _ACDP_VehiclePositioningReq(self) -> Fields:
        return {"ev_mobility_status": False, "ev_positioning_support": True}

    def _ACDP_SystemStatusReq(self) -> Fields:
        return {"ev_technical_status": acdp.EVTechnicalStatus(ev_ready_to_charge=True, ev_immobilization_request=False)}

    def _ACDP_ConnectReq(self) -> Fields:
        return {"ev_electrical_charging_device_status": acdp.ElectricalChargingDeviceStatus.State_B}

    def _ACDP_DisconnectReq(self) -> Fields:
        return self._ACDP_ConnectReq()


def protocol(namespace: str, *, major: int = 1, minor: int = 0, schema: int = 1, rank: int = 1) -> app.AppProtocol:
    """Return an entry of the handshake; `rank` 1 is the best."""
    return app.AppProtocol(
        protocol_namespace=namespace,
        version_number_major=major,
        version_number_minor=minor,
        schema_id=schema,
        priority=rank,
    )
