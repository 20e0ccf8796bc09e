"""A charge point's session on a bench: a clock in the hand, hardware that obeys at once, a vehicle by the book.

No sockets, no sleeping. Tests take the automatic answers away (`auto`) or change single requests.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.config import SeccConfig
from secc.session.identity import Identity, SessionTrust
from tests.charger_session import charger_session
from tests.secc.session.shell import Shell, counter
from tests.trees import known
from v2g import exi
from v2g.asn1.discharge import DecisionReason, PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.energy.vehicle import VehicleDischarge, Verdict
from v2g.iso15118.d20 import installation
from v2g.iso15118.d20.messages import ac, ac_der_iec, acdp, dc, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.messages import wpt_positioning as place
from v2g.iso15118.d20.messages.certificates import ContractCertificateChain, SubCertificates
from v2g.iso15118.d20.messages.common_types import (
    DisplayParameters,
    MessageHeader,
    MeterInfo,
    Processing,
    RationalNumber,
)
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.d20.session import decode_payload
from v2g.iso15118.d20.timing import Timing
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import signature
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import NO_SESSION, Fact
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

DC_NAMESPACE = "urn:iso:std:iso:15118:-20:DC"
AC_NAMESPACE = "urn:iso:std:iso:15118:-20:AC"
AC, AC_BPT, DC, DC_BPT, AC_DER = 1, 5, 2, 6, 10
WPT, ACDP, ACDP_BPT, MCS, MCS_BPT = 3, 4, 7, 8, 9
NAMESPACES = {
    **dict.fromkeys((AC, AC_BPT, AC_DER), AC_NAMESPACE),
    WPT: "urn:iso:std:iso:15118:-20:WPT",
    **dict.fromkeys((ACDP, ACDP_BPT), "urn:iso:std:iso:15118:-20:ACDP"),
}
SIGNED = 0xF000
QUARTER_MS = 900_000

REQUESTS: Mapping[str, type] = {
    each.__name__: each
    for each in (
        *cm.ELEMENTS.values(),
        *ac.ELEMENTS.values(),
        *dc.ELEMENTS.values(),
        *wpt.ELEMENTS.values(),
        *acdp.ELEMENTS.values(),
        app.SupportedAppProtocolReq,
    )
    if each.__name__.endswith("Req")
}


def number(value: float) -> RationalNumber:
    exponent = 0
    while value != int(value) and exponent > -3:
        value, exponent = value * 10, exponent - 1
    while abs(value) > 32767:
        value, exponent = value / 10, exponent + 1
    return RationalNumber(exponent=exponent, value=int(value))


class Bench(Shell):
    """One session, its shell and its vehicle. `responses` holds what it said, newest last."""

    signed_set = 0
    """Parameter set of signed discharge: its version 1."""

    def __init__(self, pki: PkiTree, utc_ms: int, config: SeccConfig | None = None, **options: Any) -> None:
        super().__init__(utc_ms, time_scale=options.get("time_scale", 1.0))
        self.pki = pki = known(pki)
        # one step reverses power, unless the dead time is what is tried
        self.config = msgspec.structs.replace(
            config or SeccConfig(), direction_change_s=options.pop("direction_change_s", 0.0)
        )
        if self.config.timing == Timing():  # tests let seconds pass between two loops
            self.config = msgspec.structs.replace(self.config, timing=Timing(secc_loop_tolerance=4.5))
        self.tariff = make_tariff(utc_ms)
        settings: dict[str, Any] = {
            "limits": (
                Limit(source=SITE, charge_w=40_000, discharge_w=15_000),
                Limit(source=OPERATOR, charge_w=40_000, discharge_w=10_000, version=1),
            ),
            "tariff": self.tariff,
            "entropy": counter(),
            "meter": ports.MeterRead(utc_ms, 5_000_000, 2_000_000),
            "identity": Identity("CS-1", "METER-0001", pki.chain("meter")[0]),
        }
        self.session = charger_session(
            self.config,
            trust=SessionTrust(
                pki.anchors("v2g"),
                pki.anchors("mo"),
                pki.key("secc"),
                pki.chain("secc"),
                interop=options.pop("interop", False),
                oem_roots=pki.anchors("oem"),
                crosses=options.pop("crosses", ()),
                crls=options.pop("crls", ()),
                central=options.pop("central", False),
            ),
            **{**settings, **options},
        )
        self.auto |= {
            ports.AuthorizeContract: lambda c: ports.AuthorizationDecided(c.attempt, AuthorizationStatus.ACCEPTED),
            ports.StartPositioning: lambda c: self.device(in_place=True),
            ports.CheckAlignment: lambda c: self.device(
                aligned=True, coil_ma=c.current_ma, alignment_w=c.current_ma * 3 // 1000
            ),
            ports.MoveDevice: lambda c: self.device(
                mechanical="EndPosition" if c.to_vehicle else "Home", connected=c.to_vehicle, insulation="Safe"
            ),
            ports.SetWptOutput: lambda c: ports.Measured(0, 0, c.power_w),
        }
        self.payload_types: list[int] = []
        self.signed_frames: list[bytes] = []
        self.setup: cm.AuthorizationSetupRes | None = None
        self.selection = (6, 0, True)  # service, parameter set, signed discharge
        self.scheduled = False
        self.discharge: VehicleDischarge | None = None
        self.start()

    # -- the shell ----------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        for each in self.framer.feed(data):
            if each.payload_type == PayloadType.SIGNED_DISCHARGE:
                self.signed_frames.append(each.payload)
            else:
                family, der = self.session.family, self.session.der
                self.responses.append(decode_payload(each.payload_type, each.payload, family, der=der)[0])
                self.payload_types.append(each.payload_type)

    def device(self, **changes: Any) -> Fact:
        """Return the fact that the device has changed in this."""
        return ports.DeviceChanged(msgspec.structs.replace(self.session.facts.device, **changes))

    # -- the vehicle --------------------------------------------------------------------------------------------

    def send(self, request: Any, payload_type: int | None = None) -> Any:
        """Send a request and return the response, None if there was none."""
        count = len(self.responses)
        self.post(request, payload_type)
        return self.responses[-1] if len(self.responses) > count else None

    def post(self, request: Any, payload_type: int | None = None) -> None:
        module = type(request).__module__.rpartition(".")[2]
        if payload_type is None:
            known = {"app_protocol": 0x8001, "ac": 0x8003, "dc": 0x8004, "acdp": 0x8005, "wpt": 0x8006}
            known |= {"ac_der_iec": 0x8010, "ac_der_sae": 0x8011}
            payload_type = known.get(module, 0x8002)
        self.raw(frame(payload_type, exi.encode(request)))

    def header(self, **changes: Any) -> MessageHeader:
        fields: dict[str, Any] = {"session_id": self.session.session_id, "time_stamp": self.utc_ms // 1000}
        return MessageHeader(**{**fields, **changes})

    def ask(self, name: str, **changes: Any) -> Any:
        """Return a request that fits the session so far."""
        if name == "SupportedAppProtocolReq":
            namespace = NAMESPACES.get(self.selection[0], DC_NAMESPACE)
            return app.SupportedAppProtocolReq(app_protocol=changes.get("app_protocol", (protocol(namespace),)))
        fields = getattr(self, f"_{name}", dict)()
        fields.setdefault("header", self.header())
        kind = getattr(ac_der_iec, name) if self.selection[0] == AC_DER and name.startswith("AC_") else REQUESTS[name]
        return kind(**{**fields, **changes})

    def go(self, *names: str) -> Any:
        """Send requests by the book and return the last response."""
        response = None
        for name in names:
            response = self.send(self.ask(name))
            if name == "AuthorizationSetupReq":
                self.setup = response
            if name == "ServiceDetailReq" and self.selection[2]:
                response = self.send(self.ask(name, service_id=SIGNED))
        return response

    def reach(self, state: State) -> "Bench":
        """Drive a fresh session to a state by the shortest way."""
        ways = {AC: AC_WAYS, AC_BPT: AC_WAYS, AC_DER: AC_DER_WAYS, WPT: WPT_WAYS, ACDP: ACDP_WAYS, ACDP_BPT: ACDP_WAYS}
        for name in ways.get(self.selection[0], WAYS)[state]:
            if name in ("renegotiate", "standby", "stop"):
                progress = {"renegotiate": "ScheduleRenegotiation", "standby": "Standby", "stop": "Stop"}[name]
                self.send(self.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress[progress]))
            elif name == "applying":
                mode = self._AC_ChargeParameterDiscoveryReq()["ac_cpd_req_energy_transfer_mode"]
                mode = msgspec.structs.replace(mode, ev_processing=Processing.Ongoing)
                self.send(self.ask("AC_ChargeParameterDiscoveryReq", ac_cpd_req_energy_transfer_mode=mode))
            elif name == "cable_check_ongoing":
                del self.auto[ports.StartCableCheck]
                self.post(self.ask("DC_CableCheckReq"))
                self.pass_time(self.config.poll_hold_s)
            elif name == "pre_charge_ongoing":
                self.send(self.ask("DC_PreChargeReq", ev_processing=Processing.Ongoing))
            else:
                self.go(name)
        assert self.session.state is state, (self.session.state, state, self.reason, self.events("request_failed"))
        return self

    def sign(self, element: Any, key: str = "contract", **options: Any) -> MessageHeader:
        return self.header(
            signature=signature.sign(element, self.pki.key(key), **{"schema": COMMON_MESSAGES} | options)
        )

    def pnc_mode(self, leaf: str = "contract", pki: PkiTree | None = None) -> cm.PnC_AReqAuthorizationMode:
        chain = (pki or self.pki).chain(leaf)
        mode = self.setup.pnc_as_res_authorization_mode if self.setup else None
        return cm.PnC_AReqAuthorizationMode(
            id="id1",
            gen_challenge=mode.gen_challenge if mode else bytes(16),
            contract_certificate_chain=ContractCertificateChain(
                certificate=chain[0], sub_certificates=SubCertificates(certificate=chain[1:])
            ),
        )

    def open_discharge(self, minimum: int = 0, **options: Any) -> VehicleDischarge:
        """Return the vehicle's end of signed discharge, whose policy says yes to everything."""

        def policy(offer: Any, utc_ms: int) -> Verdict:
            return Verdict(
                accepted=offer.limits.max_discharge_w > minimum,
                reason=DecisionReason.ACCEPTED,
                minimum_soc=30,
                max_discharge_w=offer.limits.max_discharge_w,
            )

        self.discharge = VehicleDischarge(
            session_id=self.session.session_id,
            key=self.pki.key("contract"),
            certificate=self.pki.chain("contract")[0],
            charger_certificate=self.pki.chain("secc")[0],
            policy=policy,
            entropy=counter(),
            **options,
        )
        return self.discharge

    def decide(self) -> None:
        """Answer the newest offer."""
        vehicle = self.discharge or self.open_discharge()
        answered = vehicle.on_message(self.signed_frames[-1], self.utc_ms)
        self.signed(answered.reply)  # type: ignore[union-attr]

    def signed(self, payload: bytes) -> None:
        self.raw(frame(PayloadType.SIGNED_DISCHARGE, payload))

    def command(self, power_w: int) -> Any:
        """Command a discharge and return the charger's result."""
        assert self.discharge is not None
        self.signed(self.discharge.command(power_w, self.utc_ms))
        return self.discharge.on_message(self.signed_frames[-1], self.utc_ms).result  # type: ignore[union-attr]

    # -- requests by the book -----------------------------------------------------------------------------------

    def _SessionSetupReq(self) -> dict[str, Any]:
        return {"header": self.header(session_id=NO_SESSION), "evcc_id": "WMIV2GENGINE0000001X"}

    def _AuthorizationReq(self) -> dict[str, Any]:
        if self.setup is not None and self.setup.pnc_as_res_authorization_mode is None:
            return {
                "selected_authorization_service": cm.Authorization.EIM,
                "eim_a_req_authorization_mode": cm.EIM_AReqAuthorizationMode(),
            }
        mode = self.pnc_mode()
        return {
            "header": self.sign(mode),
            "selected_authorization_service": cm.Authorization.PnC,
            "pnc_a_req_authorization_mode": mode,
        }

    def _CertificateInstallationReq(self) -> dict[str, Any]:
        wish = installation.InstallationRequest(roots=self.pki.anchors("v2g"), maximum=3)
        chain, key = self.pki.chain("provisioning"), self.pki.key("provisioning")
        return msgspec.structs.asdict(installation.make_request(self.header(), chain, key, wish))

    def _ServiceDetailReq(self) -> dict[str, Any]:
        return {"service_id": self.selection[0]}

    def _ServiceSelectionReq(self) -> dict[str, Any]:
        service, parameter_set, signed = self.selection
        vas = (cm.SelectedService(service_id=SIGNED, parameter_set_id=self.signed_set),)
        return {
            "selected_energy_transfer_service": cm.SelectedService(service_id=service, parameter_set_id=parameter_set),
            "selected_vas_list": cm.SelectedServiceList(selected_service=vas) if signed else None,
        }

    def _DC_ChargeParameterDiscoveryReq(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "ev_maximum_charge_power": number(20_000),
            "ev_minimum_charge_power": number(1_000),
            "ev_maximum_charge_current": number(60),
            "ev_minimum_charge_current": number(0),
            "ev_maximum_voltage": number(450),
            "ev_minimum_voltage": number(300),
        }
        if self.selection[0] in (DC, ACDP, MCS):
            return {"dc_cpd_req_energy_transfer_mode": dc.DC_CPDReqEnergyTransferMode(**fields)}
        discharge = {
            "ev_maximum_discharge_power": number(12_000),
            "ev_minimum_discharge_power": number(500),
            "ev_maximum_discharge_current": number(40),
            "ev_minimum_discharge_current": number(0),
        }
        return {"dc_cpd_req_energy_transfer_mode": dc.BPT_DC_CPDReqEnergyTransferMode(**fields, **discharge)}

    def _ScheduleExchangeReq(self) -> dict[str, Any]:
        needs: dict[str, Any] = {
            "departure_time": 7200,
            "ev_target_energy_request": number(30_000),
            "ev_maximum_energy_request": number(40_000),
            "ev_minimum_energy_request": number(-20_000),
        }
        if self.scheduled:
            return {
                "maximum_supporting_points": 100,
                "scheduled_se_req_control_mode": sched.Scheduled_SEReqControlMode(**needs),
            }
        return {
            "maximum_supporting_points": 100,
            "dynamic_se_req_control_mode": sched.Dynamic_SEReqControlMode(**needs, minimum_soc=30, target_soc=80),
        }

    def _DC_PreChargeReq(self) -> dict[str, Any]:
        return {
            "ev_processing": Processing.Finished,
            "ev_present_voltage": number(400),
            "ev_target_voltage": number(400),
        }

    def _PowerDeliveryReq(self) -> dict[str, Any]:
        return {
            "ev_processing": Processing.Finished,
            "charge_progress": cm.ChargeProgress.Start,
            "ev_power_profile": self.profile(1, 10_000) if self.scheduled else None,
        }

    def profile(self, tuple_id: int | None, *powers: float) -> sched.EVPowerProfile:
        entries = tuple(sched.PowerScheduleEntry(duration=3600, power=number(power)) for power in powers)
        return sched.EVPowerProfile(
            time_anchor=self.utc_ms // 1000,
            scheduled_evppt_control_mode=sched.Scheduled_EVPPTControlMode(selected_schedule_tuple_id=tuple_id)
            if tuple_id
            else None,
            dynamic_evppt_control_mode=None if tuple_id else sched.Dynamic_EVPPTControlMode(),
            ev_power_profile_entries=sched.EVPowerProfileEntryList(ev_power_profile_entry=entries),
        )

    def _DC_ChargeLoopReq(self) -> dict[str, Any]:
        return {
            "display_parameters": DisplayParameters(present_soc=70),
            "meter_info_requested": False,
            "ev_present_voltage": number(400),
            "cl_req_control_mode": self.loop_mode(),
        }

    def loop_mode(self, **changes: Any) -> Any:
        bidirectional = self.selection[0] in (DC_BPT, ACDP_BPT, MCS_BPT)
        if self.scheduled:
            target: dict[str, Any] = {"ev_target_current": number(20), "ev_target_voltage": number(420)}
            kind = dc.BPT_Scheduled_DC_CLReqControlMode if bidirectional else dc.Scheduled_DC_CLReqControlMode
            return kind(**{**target, **changes})
        fields: dict[str, Any] = {
            "departure_time": 7000,
            "ev_target_energy_request": number(30_000),
            "ev_maximum_energy_request": number(40_000),
            "ev_minimum_energy_request": number(-20_000),
            "ev_maximum_charge_power": number(20_000),
            "ev_minimum_charge_power": number(0),
            "ev_maximum_charge_current": number(60),
            "ev_maximum_voltage": number(450),
            "ev_minimum_voltage": number(300),
        }
        if not bidirectional:
            return dc.Dynamic_DC_CLReqControlMode(**{**fields, **changes})
        discharge = {
            "ev_maximum_discharge_power": number(12_000),
            "ev_minimum_discharge_power": number(0),
            "ev_maximum_discharge_current": number(40),
        }
        return dc.BPT_Dynamic_DC_CLReqControlMode(**{**fields, **discharge, **changes})

    def _AC_ChargeParameterDiscoveryReq(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            **each_phase("ev_maximum_charge_power", 3_600),
            **each_phase("ev_minimum_charge_power", 460),
        }
        if self.selection[0] == AC_DER:
            fields |= each_phase("ev_maximum_discharge_power", 3_000) | each_phase("ev_minimum_discharge_power", 0)
            fields |= {"ev_processing": Processing.Finished}
            return {"ac_cpd_req_energy_transfer_mode": ac_der_iec.DER_AC_CPDReqEnergyTransferMode(**fields)}
        if self.selection[0] != AC_BPT:
            return {"ac_cpd_req_energy_transfer_mode": ac.AC_CPDReqEnergyTransferMode(**fields)}
        fields |= each_phase("ev_maximum_discharge_power", 3_000) | each_phase("ev_minimum_discharge_power", 0)
        return {"ac_cpd_req_energy_transfer_mode": ac.BPT_AC_CPDReqEnergyTransferMode(**fields)}

    def _AC_ChargeLoopReq(self) -> dict[str, Any]:
        return {
            "display_parameters": DisplayParameters(present_soc=70),
            "meter_info_requested": False,
            "cl_req_control_mode": self.ac_loop_mode(),
        }

    def ac_loop_mode(self, **changes: Any) -> Any:
        bidirectional = self.selection[0] == AC_BPT
        present = each_phase("ev_present_active_power", 1_000)
        der = self.selection[0] == AC_DER
        if der:
            present |= each_phase("ev_maximum_discharge_power", 3_000) | each_phase("ev_minimum_discharge_power", 0)
            present |= {"grid_event_condition": 0}
        if der and self.scheduled:
            return ac_der_iec.DER_Scheduled_AC_CLReqControlMode(**{**present, **changes})
        if self.scheduled:
            kind = ac.BPT_Scheduled_AC_CLReqControlMode if bidirectional else ac.Scheduled_AC_CLReqControlMode
            return kind(**{**present, **changes})
        fields: dict[str, Any] = {
            "departure_time": 7000,
            "ev_target_energy_request": number(30_000),
            "ev_maximum_energy_request": number(40_000),
            "ev_minimum_energy_request": number(-20_000),
            **each_phase("ev_maximum_charge_power", 3_600),
            **each_phase("ev_minimum_charge_power", 460),
            **present,
            "ev_present_reactive_power": number(0),
        }
        if der:
            return ac_der_iec.DER_Dynamic_AC_CLReqControlMode(**{**fields, **changes})
        if not bidirectional:
            return ac.Dynamic_AC_CLReqControlMode(**{**fields, **changes})
        fields |= each_phase("ev_maximum_discharge_power", 3_000) | each_phase("ev_minimum_discharge_power", 0)
        return ac.BPT_Dynamic_AC_CLReqControlMode(**{**fields, **changes})

    def _WPT_FinePositioningSetupReq(self) -> dict[str, Any]:
        return {
            "ev_processing": Processing.Finished,
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

    def _WPT_FinePositioningReq(self) -> dict[str, Any]:
        return {"ev_processing": Processing.Finished, "ev_result_code": wpt.WPT_EVResult.EVResultSuccess}

    def _WPT_PairingReq(self) -> dict[str, Any]:
        return {**self._WPT_FinePositioningReq(), "observed_id_code": self.config.wpt.device_id}

    def _WPT_AlignmentCheckReq(self) -> dict[str, Any]:
        return {**self._WPT_FinePositioningReq(), "target_coil_current": number(20)}

    def _WPT_ChargeParameterDiscoveryReq(self) -> dict[str, Any]:
        return {
            "evpc_max_receivable_power": number(7_000),
            "sd_max_ground_clearence": 210,
            "sd_min_ground_clearence": 140,
            "evpc_natural_frequency": number(85_000),
            "evpc_device_local_control": False,
        }

    def _WPT_ChargeLoopReq(self) -> dict[str, Any]:
        return {
            "display_parameters": DisplayParameters(present_soc=70),
            "meter_info_requested": False,
            "evpc_power_request": number(6_000),
            "evpc_power_output": number(5_500),
            "evpc_charge_diagnostics": wpt.WPT_EVPCChargeDiagnostics.EVPCNoIssue,
        }

    def _ACDP_VehiclePositioningReq(self) -> dict[str, Any]:
        return {"ev_mobility_status": False, "ev_positioning_support": True}

    def _ACDP_ConnectReq(self) -> dict[str, Any]:
        return {"ev_electrical_charging_device_status": acdp.ElectricalChargingDeviceStatus.State_B}

    def _ACDP_DisconnectReq(self) -> dict[str, Any]:
        return self._ACDP_ConnectReq()

    def _ACDP_SystemStatusReq(self) -> dict[str, Any]:
        reported = acdp.EVTechnicalStatus(ev_ready_to_charge=True, ev_immobilization_request=False)
        return {"ev_technical_status": reported}

    def _DC_WeldingDetectionReq(self) -> dict[str, Any]:
        return {"ev_processing": Processing.Finished}

    def _SessionStopReq(self) -> dict[str, Any]:
        return {"charging_session": cm.ChargingSession.Terminate}

    def _MeteringConfirmationReq(self) -> dict[str, Any]:
        reported = [each.meter_info for each in self.responses if getattr(each, "meter_info", None) is not None]
        info = reported[-1] if reported else MeterInfo(meter_id="METER-0001", charged_energy_reading_wh=0)
        data = self.metering_data(info)
        return {"header": self.sign(data), "signed_metering_data": data}

    def metering_data(self, info: MeterInfo, **changes: Any) -> cm.SignedMeteringData:
        data = cm.SignedMeteringData(
            id="id1",
            session_id=self.session.session_id,
            meter_info=info,
            dynamic_smdt_control_mode=None if self.scheduled else cm.Dynamic_SMDTControlMode(),
            scheduled_smdt_control_mode=cm.Scheduled_SMDTControlMode(selected_schedule_tuple_id=1)
            if self.scheduled
            else None,
        )
        return msgspec.structs.replace(data, **changes)

    def _VehicleCheckInReq(self) -> dict[str, Any]:
        return {"ev_check_in_status": cm.EvCheckInStatus.CheckIn, "parking_method": cm.ParkingMethod.Manual}

    def _VehicleCheckOutReq(self) -> dict[str, Any]:
        return {"ev_check_out_status": cm.EvCheckOutStatus.CheckOut, "check_out_time": 0}


def each_phase(name: str, watts: float) -> dict[str, RationalNumber]:
    """Return a power as the fields of three phases."""
    return {name + phase: number(watts) for phase in ("", "_l2", "_l3")}


def protocol(namespace: str = DC_NAMESPACE, major: int = 1, minor: int = 0, schema: int = 1, rank: int = 1) -> Any:
    return app.AppProtocol(
        protocol_namespace=namespace,
        version_number_major=major,
        version_number_minor=minor,
        schema_id=schema,
        priority=rank,
    )


def make_tariff(utc_ms: int, version: int = 1) -> Tariff:
    start = utc_ms // QUARTER_MS * QUARTER_MS
    slots = tuple(PriceSlot(start + n * QUARTER_MS, QUARTER_MS, 300_000 + n, 250_000 + n) for n in range(48))
    return Tariff(currency="EUR", slots=slots, version=version, source="grid")


_TO_PRE_CHARGE = (
    "SupportedAppProtocolReq",
    "SessionSetupReq",
    "AuthorizationSetupReq",
    "AuthorizationReq",
    "ServiceDiscoveryReq",
    "ServiceDetailReq",
    "ServiceSelectionReq",
    "DC_ChargeParameterDiscoveryReq",
    "ScheduleExchangeReq",
    "DC_CableCheckReq",
    "DC_PreChargeReq",
    "PowerDeliveryReq",
)
_LOOP = (*_TO_PRE_CHARGE, "DC_ChargeLoopReq")

WAYS: Mapping[State, tuple[str, ...]] = {
    State.SUPPORTED_APP_PROTOCOL: (),
    State.SESSION_SETUP: _TO_PRE_CHARGE[:1],
    State.AUTHORIZATION_SETUP: _TO_PRE_CHARGE[:2],
    State.AUTHORIZATION: _TO_PRE_CHARGE[:3],
    State.SERVICE_DISCOVERY: _TO_PRE_CHARGE[:4],
    State.SERVICE_DETAIL: _TO_PRE_CHARGE[:5],
    State.SERVICE_SELECTION: _TO_PRE_CHARGE[:6],
    State.DC_CHARGE_PARAMETER_DISCOVERY: _TO_PRE_CHARGE[:7],
    State.SCHEDULE_EXCHANGE: _TO_PRE_CHARGE[:8],
    State.DC_CABLE_CHECK: _TO_PRE_CHARGE[:9],
    State.DC_CABLE_CHECK_ONGOING: (*_TO_PRE_CHARGE[:9], "cable_check_ongoing"),
    State.DC_PRE_CHARGE: _TO_PRE_CHARGE[:10],
    State.DC_PRE_CHARGE_ONGOING: (*_TO_PRE_CHARGE[:10], "pre_charge_ongoing"),
    State.POWER_DELIVERY: _TO_PRE_CHARGE[:11],
    State.DC_CHARGE_LOOP: _LOOP,
    State.STANDBY: (*_LOOP, "standby"),
    State.STANDBY_RENEGOTIATION: (*_LOOP, "standby", "renegotiate"),
    State.SCHEDULE_RENEGOTIATION: (*_LOOP, "renegotiate"),
    State.POWER_DELIVERY_RENEGOTIATED: (*_LOOP, "renegotiate", "ScheduleExchangeReq"),
    State.DC_WELDING_DETECTION: (*_LOOP, "stop"),
    State.SESSION_STOP: (*_LOOP, "stop", "DC_WeldingDetectionReq"),
    State.ENDED: (*_LOOP, "stop", "DC_WeldingDetectionReq", "SessionStopReq"),
}
"""How to get there; PAUSED is not served here."""

_TO_AC = (*_TO_PRE_CHARGE[:7], "AC_ChargeParameterDiscoveryReq", "ScheduleExchangeReq", "PowerDeliveryReq")
_AC_LOOP = (*_TO_AC, "AC_ChargeLoopReq")

AC_WAYS: Mapping[State, tuple[str, ...]] = {
    **{state: way for state, way in WAYS.items() if len(way) < 7},
    State.AC_CHARGE_PARAMETER_DISCOVERY: _TO_AC[:7],
    State.SCHEDULE_EXCHANGE: _TO_AC[:8],
    State.POWER_DELIVERY: _TO_AC[:9],
    State.AC_CHARGE_LOOP: _AC_LOOP,
    State.STANDBY: (*_AC_LOOP, "standby"),
    State.STANDBY_RENEGOTIATION: (*_AC_LOOP, "standby", "renegotiate"),
    State.SCHEDULE_RENEGOTIATION: (*_AC_LOOP, "renegotiate"),
    State.POWER_DELIVERY_RENEGOTIATED: (*_AC_LOOP, "renegotiate", "ScheduleExchangeReq"),
    State.SESSION_STOP: (*_AC_LOOP, "stop"),
    State.ENDED: (*_AC_LOOP, "stop", "SessionStopReq"),
}
"""The same with alternating current."""

AC_DER_WAYS: Mapping[State, tuple[str, ...]] = {
    **AC_WAYS,
    State.AC_CHARGE_PARAMETER_DISCOVERY_ONGOING: (*_TO_AC[:7], "applying"),
}
"""The same with AC DER."""

_TO_WPT = (
    *_TO_PRE_CHARGE[:7],
    "WPT_FinePositioningSetupReq",
    "WPT_FinePositioningReq",
    "WPT_PairingReq",
    "WPT_ChargeParameterDiscoveryReq",
    "ScheduleExchangeReq",
    "WPT_AlignmentCheckReq",
    "PowerDeliveryReq",
)
_WPT_LOOP = (*_TO_WPT, "WPT_ChargeLoopReq")

WPT_WAYS: Mapping[State, tuple[str, ...]] = {
    **{state: way for state, way in WAYS.items() if len(way) < 7},
    State.WPT_FINE_POSITIONING_SETUP: _TO_WPT[:7],
    State.WPT_FINE_POSITIONING: _TO_WPT[:8],
    State.WPT_PAIRING: _TO_WPT[:9],
    State.WPT_CHARGE_PARAMETER_DISCOVERY: _TO_WPT[:10],
    State.SCHEDULE_EXCHANGE: _TO_WPT[:11],
    State.WPT_ALIGNMENT_CHECK: _TO_WPT[:12],
    State.POWER_DELIVERY: _TO_WPT[:13],
    State.WPT_CHARGE_LOOP: _WPT_LOOP,
    State.STANDBY: (*_WPT_LOOP, "standby"),
    State.STANDBY_RENEGOTIATION: (*_WPT_LOOP, "standby", "renegotiate"),
    State.SCHEDULE_RENEGOTIATION: (*_WPT_LOOP, "renegotiate"),
    State.POWER_DELIVERY_RENEGOTIATED: (*_WPT_LOOP, "renegotiate", "ScheduleExchangeReq"),
    State.SESSION_STOP: (*_WPT_LOOP, "stop"),
    State.ENDED: (*_WPT_LOOP, "stop", "SessionStopReq"),
}
"""The same through the air."""

_TO_ACDP = (*_TO_PRE_CHARGE[:7], "ACDP_VehiclePositioningReq", *_TO_PRE_CHARGE[7:9], "ACDP_ConnectReq")
_ACDP_LOOP = (*_TO_ACDP, *_TO_PRE_CHARGE[9:], "DC_ChargeLoopReq")

ACDP_WAYS: Mapping[State, tuple[str, ...]] = {
    **{state: way for state, way in WAYS.items() if len(way) < 7},
    State.ACDP_VEHICLE_POSITIONING: _TO_ACDP[:7],
    State.DC_CHARGE_PARAMETER_DISCOVERY: _TO_ACDP[:8],
    State.SCHEDULE_EXCHANGE: _TO_ACDP[:9],
    State.ACDP_CONNECT: _TO_ACDP[:10],
    State.DC_CABLE_CHECK: _TO_ACDP,
    State.DC_PRE_CHARGE: (*_TO_ACDP, "DC_CableCheckReq"),
    State.DC_PRE_CHARGE_ONGOING: (*_TO_ACDP, "DC_CableCheckReq", "pre_charge_ongoing"),
    State.POWER_DELIVERY: (*_TO_ACDP, "DC_CableCheckReq", "DC_PreChargeReq"),
    State.DC_CHARGE_LOOP: _ACDP_LOOP,
    State.STANDBY: (*_ACDP_LOOP, "standby"),
    State.STANDBY_RENEGOTIATION: (*_ACDP_LOOP, "standby", "renegotiate"),
    State.SCHEDULE_RENEGOTIATION: (*_ACDP_LOOP, "renegotiate"),
    State.POWER_DELIVERY_RENEGOTIATED: (*_ACDP_LOOP, "renegotiate", "ScheduleExchangeReq"),
    State.DC_WELDING_DETECTION: (*_ACDP_LOOP, "stop"),
    State.ACDP_DISCONNECT: (*_ACDP_LOOP, "stop", "DC_WeldingDetectionReq"),
    State.SESSION_STOP: (*_ACDP_LOOP, "stop", "DC_WeldingDetectionReq", "ACDP_DisconnectReq"),
    State.ENDED: (*_ACDP_LOOP, "stop", "DC_WeldingDetectionReq", "ACDP_DisconnectReq", "SessionStopReq"),
}
"""The same through a pantograph."""
