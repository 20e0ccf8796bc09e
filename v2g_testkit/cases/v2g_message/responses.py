"""Correct responses of a charger of ISO 15118-2 or DIN 70121, derived from the vehicle's requests."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, ClassVar, Final

from v2g.errors import CertificateError, SignatureError
from v2g.exi.declare import Element, Schema
from v2g.iso15118.d2 import schedules as schedules_2
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages import common as common_2
from v2g.iso15118.d2.messages import data_types as types_2
from v2g.iso15118.d2.messages.data_types import SAScheduleList
from v2g.iso15118.d2.schedules import VALUES as VALUES_2
from v2g.iso15118.d2.schedules import dc_evse_status as status_2
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din import schedules as schedules_din
from v2g.iso15118.din.messages import common as common_din
from v2g.iso15118.din.messages import data_types as types_din
from v2g.iso15118.din.schedules import VALUES as VALUES_DIN
from v2g.iso15118.din.schedules import dc_evse_status as status_din
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.dc_status import DcStatus, Phase, status
from v2g.iso15118.engine.physical_values import Rounding, Writer, millivolts
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step
from v2g.iso15118.engine.xmldsig import Signature
from v2g.iso15118.v2g_message import ChargeParameterDiscoveryReq, PowerDeliveryReq, PreChargeReq
from v2g.pki.certificates import emaid_of, is_same_contract, load_certificate
from v2g.pki.keys import PublicKey
from v2g.typed_json import Fields
from v2g.units import DAY_S
from v2g_testkit.cases.quantities import amount, negative, numbers, unordered, wrong_units
from v2g_testkit.cases.scripted_charger import ScriptedResponses
from v2g_testkit.cases.v2g_message.requests import MAJOR

POWER_W: Final = 11_000
MAINS_V: Final = 230.0
EVSE_ID: Final = "DE*V2G*ECONFORM1"

MODES: Final = {Family.AC: ("AC_three_phase_core", "AC_single_phase_core"), Family.DC: ("DC_extended",)}
"""Energy transfer modes on offer; a vehicle of one phase charges at three, too."""

_PLAN: Final = PowerSchedule((Step(0, POWER_W),), DAY_S)


class MessageResponses(ScriptedResponses):
    """Responses of an edition. `signature` is that of the request, `challenge` what a contract's owner has to sign."""

    schema: ClassVar[Schema]
    responses: ClassVar[Mapping[str, type[Element]]]
    """Its responses by class name."""
    types: ClassVar[ModuleType]
    limits: ClassVar[ModuleType]
    values: ClassVar[Writer[Element]]
    status: ClassVar[Callable[[DcStatus, int], Element]]
    schedules: ClassVar[ModuleType]

    option: ClassVar[str] = "ExternalPayment"
    """The way of payment that is offered."""
    signature: Signature | None = None
    challenge = bytes(16)
    utc_s = 0
    """The tester's time, s since 1970."""

    def _response(self, name: str, fields: Fields) -> Element:
        return self.responses[name](**{"response_code": self.types.ResponseCode.OK, **fields})

    def _serves(self, offered: app.AppProtocol) -> bool:
        return offered.protocol_namespace == self.schema.uri and offered.version_number_major == MAJOR

    def _excess(self, request: Element) -> Iterator[str]:
        yield from super()._excess(request)
        found = *wrong_units(request), *negative(request), *self._against_itself(request)
        yield from (f"states {each}" for each in found)

    def _against_itself(self, request: Any) -> Iterator[str]:
        """Yield what a request says against what it asks for, and what no vehicle can be."""
        if any(getattr(request, "evcc_id", b"")) < bool(getattr(request, "evcc_id", b"")):
            yield "an EVCCID of zeros"
        if getattr(request, "max_entries_sa_schedule_tuple", None) == 0:
            yield "MaxEntriesSAScheduleTuple 0"
        limits = getattr(request, "ev_charge_parameter", None)
        if limits is not None:
            found = {name: (shown, amount(number)) for name, shown, number in numbers(limits)}
            yield from (f"{shown} 0" for name, (shown, value) in found.items() if "max" in name and not value)
            yield from unordered(limits, self.utc_s)
        yield from unordered(request, self.utc_s)
        yield from self._of_status(request)

    def _of_status(self, request: Any) -> Iterator[str]:
        """Yield what the status of a vehicle says against its wish to begin or to continue with energy."""
        name = type(request).__name__
        part = getattr(request, "ev_power_delivery_parameter", request)
        status = getattr(part, "dc_ev_status", None)
        current: Any = getattr(request, "ev_target_current", None)
        goes_on = not self._stops(request) if name == "PowerDeliveryReq" else name in ("CableCheckReq", "PreChargeReq")
        if status is None or not (goes_on or (name == "CurrentDemandReq" and current.value > 0)):
            return
        if status.ev_error_code.name not in ("NO_ERROR", "NoData"):
            yield f"EVErrorCode {status.ev_error_code.name} in a {name} that goes on"
        if not status.ev_ready and name != "CableCheckReq":
            yield f"that it is not ready in a {name} that goes on"
        if getattr(part, "charging_complete", False):
            yield f"that charging is complete in a {name} that goes on"

    def _ongoing_once(self, name: str) -> Any:
        return self.types.EVSEProcessing.Finished if self._asked_before(name) else self.types.EVSEProcessing.Ongoing

    def _selected(self, request: Any) -> Fields:
        if request.selected_payment_option.name != self.option:
            self.facts.append("selects a way of payment that is not offered")
        if [each.service_id for each in request.selected_service_list.selected_service] != [1]:
            self.facts.append("selects services that are not offered")
        return {}

    def dc_status(self, phase: Phase) -> Any:
        """Return DC_EVSEStatus."""
        return type(self).status(status(phase), 0)

    def volts(self, value: float) -> Any:
        """Return a voltage, V."""
        return self.values.voltage(round(value * 1000), Rounding.NEAREST)

    def amperes(self, value: float) -> Any:
        """Return a current, A."""
        return self.values.current(round(value * 1000), Rounding.NEAREST)

    def _dc_limits(self) -> object:
        return self.limits.DC_EVSEChargeParameter(
            dc_evse_status=self.dc_status(Phase.PARAMETERS),
            evse_maximum_current_limit=self.amperes(30),
            evse_maximum_power_limit=self.values.power(POWER_W, Rounding.DOWN),
            evse_maximum_voltage_limit=self.volts(1000),
            evse_minimum_current_limit=self.amperes(0),
            evse_minimum_voltage_limit=self.volts(150),
            evse_peak_current_ripple=self.amperes(1),
        )

    def _note_limits(self, request: ChargeParameterDiscoveryReq) -> None:
        direct = isinstance(request.ev_charge_parameter, self.limits.DC_EVChargeParameter)
        if direct is not (self.family is Family.DC):
            self.facts.append("states limits of another energy transfer than is offered")
        for field in ("requested_energy_transfer_mode", "ev_requested_energy_transfer_type"):
            mode = getattr(request, field, None)
            if mode is not None and mode.name not in MODES[self.family]:  # [V2G2-476], [V2G-DC-397]
                self.facts.append(f"selects {mode.name}, which is not offered")

    def _note_plan(self, request: PowerDeliveryReq) -> None:
        """Compare a vehicle's plan with the schedule on offer [V2G2-224], [V2G2-225]."""
        profile = request.charging_profile
        chosen = getattr(request, "sa_schedule_tuple_id", getattr(profile, "sa_schedule_tuple_id", 1))
        if chosen != 1:
            self.facts.append(f"selects schedule {chosen}, which is not offered")
        plan: PowerSchedule | None = self.schedules.planned(profile)
        starts = [each.charging_profile_entry_start for each in profile.profile_entry] if profile is not None else []
        if starts != sorted(set(starts)):
            self.facts.append(
                f"states a charging profile with entries from {', '.join(f'{each} s' for each in starts)}"
            )
        most = max((step.power_w for step in plan.steps), default=0) if plan is not None else 0
        if most > POWER_W:
            self.facts.append(f"states a charging profile of {most} W, PMax is {POWER_W} W")

    @abstractmethod
    def _stops(self, request: Element) -> bool:
        """Return whether a PowerDeliveryReq ends the transfer of energy."""

    def _CableCheckReq(self, request: Element) -> Fields:
        processing = self._ongoing_once("CableCheckReq")
        done = processing.name == "Finished"
        found = self.dc_status(Phase.CHECKED if done else Phase.CABLE_CHECK)
        return {"dc_evse_status": found, "evse_processing": processing}

    def _PreChargeReq(self, request: PreChargeReq) -> Fields:
        self.voltage = millivolts(request.ev_target_voltage) / 1000
        return {"dc_evse_status": self.dc_status(Phase.PRE_CHARGE), "evse_present_voltage": self.volts(self.voltage)}

    def _PowerDeliveryReq(self, request: PowerDeliveryReq) -> Fields:
        stops = self._stops(request)
        if stops:
            self.voltage = self.current = 0.0
        else:
            self._note_plan(request)
        return {"evse_status": self._any_status(Phase.STOPPED if stops else Phase.ENERGY)}

    def _any_status(self, phase: Phase) -> Any:
        return self.dc_status(phase)

    def _CurrentDemandReq(self, request: Element) -> Fields:
        return {
            "dc_evse_status": self.dc_status(Phase.ENERGY),
            "evse_present_voltage": self.volts(self.voltage),
            "evse_present_current": self.amperes(self.current),
            "evse_current_limit_achieved": False,
            "evse_voltage_limit_achieved": False,
            "evse_power_limit_achieved": False,
        }

    def _WeldingDetectionReq(self, request: Element) -> Fields:
        return {"dc_evse_status": self.dc_status(Phase.STOPPED), "evse_present_voltage": self.volts(0)}

    def _SessionStopReq(self, request: Element) -> Fields:
        return {}


class Responses2(MessageResponses):
    """Responses of ISO 15118-2, with external payment."""

    schema = ISO2
    responses: ClassVar[Mapping[str, type[Element]]] = {**common_2.ELEMENTS, **common_2.ELEMENTS}
    types: ClassVar[ModuleType] = types_2
    limits: ClassVar[ModuleType] = types_2
    values = VALUES_2
    status: ClassVar[Callable[[DcStatus, int], Element]] = status_2
    schedules: ClassVar[ModuleType] = schedules_2

    def _stops(self, request: Any) -> bool:
        return bool(request.charge_progress is types_2.ChargeProgress.Stop)

    def _SessionSetupReq(self, request: Element) -> Fields:
        return {"evse_id": EVSE_ID, "response_code": types_2.ResponseCode.OK_NewSessionEstablished}

    def _ServiceDiscoveryReq(self, request: Element) -> Fields:
        modes = tuple(types_2.EnergyTransferMode[name] for name in MODES[self.family])
        return {
            "payment_option_list": types_2.PaymentOptionList(payment_option=(types_2.PaymentOption(self.option),)),
            "charge_service": types_2.ChargeService(
                service_id=1,
                service_category=types_2.ServiceCategory.EVCharging,
                free_service=True,
                supported_energy_transfer_mode=types_2.SupportedEnergyTransferMode(energy_transfer_mode=modes),
            ),
        }

    def _PaymentServiceSelectionReq(self, request: Element) -> Fields:
        return self._selected(request)

    def _AuthorizationReq(self, request: common_2.AuthorizationReq) -> Fields:
        return {"evse_processing": self._ongoing_once("AuthorizationReq")}

    def _ac_status(self) -> Any:
        notification = types_2.EVSENotification.None_
        return types_2.AC_EVSEStatus(notification_max_delay=0, evse_notification=notification, rcd=False)

    def _any_status(self, phase: Phase) -> Any:
        return self._ac_status() if self.family is Family.AC else self.dc_status(phase)

    def _ChargeParameterDiscoveryReq(self, request: ChargeParameterDiscoveryReq) -> Fields:
        self._note_limits(request)
        processing = self._ongoing_once("ChargeParameterDiscoveryReq")
        offered = SAScheduleList(sa_schedule_tuple=(schedules_2.schedule_tuple(1, _PLAN),))
        ac = self.family is Family.AC
        return {
            "evse_processing": processing,
            "sa_schedules": offered if processing.name == "Finished" else None,
            "evse_charge_parameter": types_2.AC_EVSEChargeParameter(
                ac_evse_status=self._ac_status(),
                evse_nominal_voltage=self.volts(MAINS_V),
                evse_max_current=self.amperes(16),
            )
            if ac
            else self._dc_limits(),
        }

    def _CurrentDemandReq(self, request: Element) -> Fields:
        return {**super()._CurrentDemandReq(request), **self._of_loop()}

    def _ChargingStatusReq(self, request: Element) -> Fields:
        return {"evse_max_current": self.amperes(16), "ac_evse_status": self._ac_status(), **self._of_loop()}

    def _of_loop(self) -> Fields:
        return {"evse_id": EVSE_ID, "sa_schedule_tuple_id": 1, "receipt_required": False}


class ContractResponses2(Responses2):
    """Responses of ISO 15118-2 with payment by contract alone."""

    option = "Contract"
    _key: PublicKey | None = None
    _signed = False

    def _PaymentDetailsReq(self, request: common_2.PaymentDetailsReq) -> Fields:
        try:
            contract = load_certificate(request.contract_signature_cert_chain.certificate)
            self._key = contract.public_key()  # type: ignore[assignment]
            if not is_same_contract(request.emaid, of := emaid_of(contract)):
                self.facts.append(f"states eMAID {request.emaid}, its certificate is of {of}")
        except (CertificateError, ValueError):
            self.facts.append("sends a certificate that cannot be read")
        return {"gen_challenge": self.challenge, "evse_time_stamp": self.utc_s}

    def _AuthorizationReq(self, request: common_2.AuthorizationReq) -> Fields:
        if not self._signed:  # a repeated one needs no signature
            # report a wrong challenge or signature [V2G2-475]
            if request.gen_challenge != self.challenge:
                self.facts.append("signs another challenge")
            try:
                if self._key is not None:
                    signatures.verify(self.signature, request, self._key)
            except SignatureError as error:
                self.facts.append(f"its signature is wrong: {error}")
            self._signed = True
        return super()._AuthorizationReq(request)


class ResponsesDin(MessageResponses):
    """Responses of DIN 70121."""

    schema = DIN
    responses: ClassVar[Mapping[str, type[Element]]] = {**common_din.ELEMENTS, **common_din.ELEMENTS}
    types: ClassVar[ModuleType] = types_din
    limits: ClassVar[ModuleType] = types_din
    values = VALUES_DIN
    status: ClassVar[Callable[[DcStatus, int], Element]] = status_din
    schedules: ClassVar[ModuleType] = schedules_din

    def _stops(self, request: Any) -> bool:
        return not request.ready_to_charge_state

    def _SessionSetupReq(self, request: Element) -> Fields:
        return {"evse_id": b"\0", "response_code": types_din.ResponseCode.OK_NewSessionEstablished}

    def _ServiceDiscoveryReq(self, request: Element) -> Fields:
        tag = types_din.ServiceTag(service_id=1, service_category=types_din.ServiceCategory.EVCharging)
        return {
            "payment_options": types_din.PaymentOptions(payment_option=(types_din.PaymentOption.ExternalPayment,)),
            "charge_service": types_din.ServiceCharge(
                service_tag=tag,
                free_service=True,
                energy_transfer_type=types_din.EVSESupportedEnergyTransferType[MODES[Family.DC][0]],
            ),
        }

    def _ServicePaymentSelectionReq(self, request: Element) -> Fields:
        return self._selected(request)

    def _ContractAuthenticationReq(self, request: Element) -> Fields:
        return {"evse_processing": self._ongoing_once("ContractAuthenticationReq")}

    def _ChargeParameterDiscoveryReq(self, request: ChargeParameterDiscoveryReq) -> Fields:
        self._note_limits(request)
        return {
            "evse_processing": self._ongoing_once("ChargeParameterDiscoveryReq"),
            "sa_schedules": schedules_din.schedule_list(_PLAN),
            "evse_charge_parameter": self._dc_limits(),
        }
