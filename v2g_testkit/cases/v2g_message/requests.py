"""Valid requests of a vehicle of ISO 15118-2 or DIN 70121, derived from its knowledge of the session."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar, Final

from v2g.errors import RefusedError
from v2g.exi.declare import Element, Schema
from v2g.iso15118.d2 import schedules as schedules_2
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages import common as common_2
from v2g.iso15118.d2.messages import data_types as types_2
from v2g.iso15118.d2.response_codes import USES as USES_2
from v2g.iso15118.d2.schedules import VALUES as VALUES_2
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d2.signatures import chain_of
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din import schedules as schedules_din
from v2g.iso15118.din.messages import common as common_din
from v2g.iso15118.din.messages import data_types as types_din
from v2g.iso15118.din.response_codes import USES as USES_DIN
from v2g.iso15118.din.schedules import VALUES as VALUES_DIN
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.physical_values import Rounding, Writer, millivolts
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.response_codes import CodeUse
from v2g.iso15118.engine.sequence import Asks
from v2g.iso15118.engine.session import NO_SESSION
from v2g.iso15118.engine.xmldsig import Signature, issuer_serial
from v2g.pki.certificates import emaid_of, load_certificate
from v2g.pki.keys import SigningKey
from v2g.typed_json import Fields
from v2g_testkit.cases.known import Kit, Payer
from v2g_testkit.cases.requests import protocol


class MessageKnown:
    """The memory of one vehicle; a second connection of the same case continues it."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.begin()
        self.earlier_ids: list[bytes] = []
        self.earlier_challenges: list[bytes] = []

    def begin(self) -> None:
        """Discard the state of one session."""
        self.session_id = NO_SESSION
        self.payments: tuple[str, ...] = ()
        self.modes: tuple[str, ...] = ()
        self.charge_service = 1
        self.added: tuple[int, ...] = ()
        self.discovered = False
        self.challenge = bytes(16)
        self.schedules: Any = None
        self.voltage = 0.0
        self.pre_charged = False
        self.meter: Any = None
        self.evse_id: str | None = None
        """That of SessionSetupRes, where the loop repeats it (ISO 15118-2)."""
        self.parameters: Element | None = None
        """EVSEChargeParameter."""

    def hear(self, response: Any) -> None:
        """Store the data of a response that later requests need."""
        name = type(response).__name__
        self.pre_charged = name == "PreChargeRes"
        match name:
            case "ServiceDiscoveryRes":
                # store the offer, which the editions word differently
                self.discovered = True
                service = response.charge_service
                tag = getattr(service, "service_tag", service)
                self.charge_service = tag.service_id
                options = getattr(response, "payment_option_list", None) or response.payment_options
                self.payments = tuple(each.name for each in options.payment_option)
                modes = getattr(service, "supported_energy_transfer_mode", None)
                offered = modes.energy_transfer_mode if modes is not None else (service.energy_transfer_type,)
                self.modes = tuple(each.value for each in offered)
                services = response.service_list.service if response.service_list is not None else ()
                self.added = tuple(getattr(each, "service_tag", each).service_id for each in services)
            case "SessionSetupRes" if isinstance(response.evse_id, str):
                self.evse_id = response.evse_id
            case "PaymentDetailsRes":
                self.challenge = response.gen_challenge
            case "ChargeParameterDiscoveryRes" if response.sa_schedules is not None:
                self.schedules = response.sa_schedules
        self.parameters = getattr(response, "evse_charge_parameter", None) or self.parameters
        voltage = getattr(response, "evse_present_voltage", None)
        if voltage is not None:
            self.voltage = millivolts(voltage) / 1000
        self.meter = getattr(response, "meter_info", None) or self.meter

    @property
    def mode(self) -> str | None:
        """The offered energy transfer mode of the family, None without one."""
        return next((each for each in self.modes if each.startswith(self.family.value)), None)

    @property
    def energy_wh(self) -> int | None:
        """The meter's count, Wh; None if the charger does not report it."""
        return None if self.meter is None else self.meter.meter_reading


MAJOR: Final = 2
"""Major version of both namespaces."""

SOC: Final = 40
"""The battery's state of charge, %."""

DEPARTURE_S: Final = 7200
"""Departure where a case sends one, s from now."""


class MessageRequests(ABC):
    """Creates requests. `payer` is the contract, if the vehicle pays by one."""

    schema: ClassVar[Schema]
    requests: ClassVar[Mapping[str, type[Element]]]
    """Its requests by class name."""
    types: ClassVar[ModuleType]
    """Its module of data types."""
    limits: ClassVar[ModuleType]
    """Its module of charge parameters."""
    values: ClassVar[Writer[Element]]
    uses: ClassVar[Mapping[str, CodeUse]]
    """Where its response codes have their place."""

    def __init__(self, known: MessageKnown, kit: Kit) -> None:
        self.known, self.kit = known, kit
        self.payer: Payer | None = None
        self.header_id: bytes | None = None
        """SessionID of the next request, if not the session's."""
        self.signs: SigningKey | None = None
        """Key of the next signature, if not the contract's."""
        self.signed: Any = None
        """What the next signature covers, if not the request."""
        self.utc_s = 0
        """The tester's time, s since 1970."""
        self.beside: tuple[int, ...] = ()
        """Services that the vehicle selects beside the charge service."""

    def make(self, name: str, asks: Asks = Asks.ANYTHING) -> Element:
        """Return a request valid in the session, with this intent."""
        if name == "SupportedAppProtocolReq":
            return app.SupportedAppProtocolReq(app_protocol=(self.protocol(),))
        fields: Fields = getattr(self, f"_{name}", dict)()
        return self.requests[name](**{**fields, **self._asked(asks)})

    def protocol(self, **changes: int) -> app.AppProtocol:
        """Return the edition's entry of the handshake."""
        return protocol(self.schema.uri, **{"major": MAJOR, **changes})

    def signature(self, request: Element) -> Signature | None:
        """Return the signature for the header of a request, None if it has none."""
        return None

    @abstractmethod
    def _asked(self, asks: Asks) -> Fields:
        """Return the fields that make the intent of a request."""

    @abstractmethod
    def schedule(self) -> tuple[int, PowerSchedule] | None:
        """Return the first schedule on offer with its id, None without one."""

    # -- common messages ----------------------------------------------------------------------------------------

    def _SessionSetupReq(self) -> Fields:
        return {"evcc_id": b"\x02\x00\x00\x00\x00\x01"}  # of no make

    def selected(self, *services: int) -> object:
        """Return a SelectedServiceList."""
        types = self.types
        chosen = tuple(types.SelectedService(service_id=each) for each in services)
        return types.SelectedServiceList(selected_service=chosen)

    def _selection(self) -> Fields:
        options = self.types.PaymentOption
        return {
            "selected_payment_option": options.Contract if self.payer is not None else options.ExternalPayment,
            "selected_service_list": self.selected(self.known.charge_service, *self.beside),
        }

    def power_w(self) -> int:
        """Return the vehicle's power as planned, W: within every schedule on offer."""
        found = self.schedule()
        most = round(self.kit.voltage * max(self.kit.current, 1.0))
        return most if found is None else min(most, *(each.power_w for each in found[1].steps))

    # -- direct current, alike in both editions -----------------------------------------------------------------

    def volts(self, value: float) -> Any:
        """Return a voltage, V."""
        return self.values.voltage(round(value * 1000), Rounding.NEAREST)

    def amperes(self, value: float) -> Any:
        """Return a current, A."""
        return self.values.current(round(value * 1000), Rounding.NEAREST)

    def status(self, error: str = "NO_ERROR") -> Any:
        """Return DC_EVStatus."""
        code = self.limits.DC_EVErrorCode(error)
        return self.limits.DC_EVStatus(ev_ready=True, ev_error_code=code, ev_ress_soc=SOC)

    def direct(self) -> Any:
        """Return DC_EVChargeParameter."""
        return self.limits.DC_EVChargeParameter(
            dc_ev_status=self.status(),
            ev_maximum_current_limit=self.amperes(60),
            ev_maximum_power_limit=self.values.power(20_000, Rounding.NEAREST),
            ev_maximum_voltage_limit=self.volts(self.kit.voltage * 1.1),
            ev_energy_capacity=self.values.energy(50_000, Rounding.DOWN),
            ev_energy_request=self.values.energy(20_000, Rounding.DOWN),
            full_soc=100,
            bulk_soc=80,
        )

    def delivery(self, error: str = "NO_ERROR") -> object:
        """Return DC_EVPowerDeliveryParameter."""
        return self.limits.DC_EVPowerDeliveryParameter(dc_ev_status=self.status(error), charging_complete=False)

    def _CableCheckReq(self) -> Fields:
        return {"dc_ev_status": self.status()}

    def _WeldingDetectionReq(self) -> Fields:
        return {"dc_ev_status": self.status()}

    def _PreChargeReq(self) -> Fields:
        target = {"ev_target_voltage": self.volts(self.kit.voltage), "ev_target_current": self.amperes(1)}
        return {"dc_ev_status": self.status(), **target}

    def _CurrentDemandReq(self) -> Fields:
        return {
            "dc_ev_status": self.status(),
            "ev_target_current": self.amperes(self.kit.current),
            "ev_target_voltage": self.volts(self.kit.voltage),
            "charging_complete": False,
        }


class Requests2(MessageRequests):
    """Requests of ISO 15118-2."""

    schema = ISO2
    uses = USES_2
    requests: ClassVar[Mapping[str, type[Element]]] = {**common_2.ELEMENTS, **common_2.ELEMENTS}
    types: ClassVar[ModuleType] = types_2
    limits: ClassVar[ModuleType] = types_2
    values = VALUES_2

    def signature(self, request: Element) -> Signature | None:
        """See `MessageRequests.signature`."""
        if self.payer is None or not signatures.signed_elements(request):
            return None
        installs = isinstance(request, common_2.CertificateInstallationReq)
        own = self.kit.provisioning["good"] if installs else self.payer
        key, covered = self.signs or own.key, self.signed or request
        self.signs = self.signed = None
        return signatures.sign(covered, key)

    def _asked(self, asks: Asks) -> Fields:
        types = self.types
        match asks:
            case Asks.START | Asks.STOP | Asks.RENEGOTIATE:
                progress = types.ChargeProgress[asks.value.partition(" ")[2]]
                return {"charge_progress": progress} | ({} if asks is Asks.START else {"charging_profile": None})
            case Asks.TERMINATE | Asks.PAUSE:
                return {"charging_session": types.ChargingSession[asks.value.partition(" ")[2]]}
        return {}

    def schedule(self) -> tuple[int, PowerSchedule] | None:
        """See `MessageRequests.schedule`."""
        return next(iter(schedules_2.power_schedules(self.known.schedules).items()), None)

    def profile(self, power_w: int) -> Element:
        """Return a ChargingProfile of constant power, W."""
        entry = types_2.ProfileEntry(
            charging_profile_entry_start=0, charging_profile_entry_max_power=VALUES_2.power(power_w, Rounding.DOWN)
        )
        return types_2.ChargingProfile(profile_entry=(entry,))

    def _ServiceDetailReq(self) -> Fields:
        return {"service_id": next(iter(self.known.added), self.known.charge_service)}

    def _PaymentServiceSelectionReq(self) -> Fields:
        return self._selection()

    def _PaymentDetailsReq(self) -> Fields:
        chain: tuple[bytes, ...] = self.payer.chain if self.payer is not None else (b"\0",)
        emaid = emaid_of(load_certificate(chain[0])) if self.payer is not None else "DEV2GC00000001"
        return {"emaid": emaid, "contract_signature_cert_chain": chain_of(chain)}

    def _roots(self) -> types_2.ListOfRootCertificateIDs:
        return types_2.ListOfRootCertificateIDs(root_certificate_id=tuple(map(issuer_serial, self.kit.roots)))

    def _CertificateInstallationReq(self) -> Fields:
        return {
            "oem_provisioning_cert": self.provisioning(),
            "list_of_root_certificate_ids": self._roots(),
            "id": "id1",
        }

    def provisioning(self, name: str = "good") -> bytes:
        """Return the provisioning certificate (DER) of this name. Raises RefusedError without it."""
        own = self.kit.provisioning.get(name)
        if own is None:
            raise RefusedError(f"no provisioning certificate {name!r} given", reason="not_offered")
        return own.chain[0]

    def _CertificateUpdateReq(self) -> Fields:
        return {**self._PaymentDetailsReq(), "list_of_root_certificate_ids": self._roots(), "id": "id1"}

    def _AuthorizationReq(self) -> Fields:
        return {"gen_challenge": self.known.challenge, "id": "id1"} if self.payer is not None else {}

    def alternating(self) -> Element:
        """Return AC_EVChargeParameter."""
        return types_2.AC_EVChargeParameter(
            e_amount=VALUES_2.energy(20_000, Rounding.DOWN),
            ev_max_voltage=self.volts(400),
            ev_max_current=self.amperes(16),
            ev_min_current=self.amperes(6),
        )

    def _ChargeParameterDiscoveryReq(self) -> Fields:
        ac = self.known.family is Family.AC
        fallback = "AC_three_phase_core" if ac else "DC_extended"
        return {
            "requested_energy_transfer_mode": types_2.EnergyTransferMode(self.known.mode or fallback),
            "ev_charge_parameter": self.alternating() if ac else self.direct(),
        }

    def _PowerDeliveryReq(self) -> Fields:
        found = self.schedule()
        return {
            "charge_progress": types_2.ChargeProgress.Start,
            "sa_schedule_tuple_id": found[0] if found is not None else 1,
            "charging_profile": self.profile(self.power_w()),
            "ev_power_delivery_parameter": None if self.known.family is Family.AC else self.delivery(),
        }

    def _SessionStopReq(self) -> Fields:
        return {"charging_session": types_2.ChargingSession.Terminate}


class RequestsDin(MessageRequests):
    """Requests of DIN 70121."""

    schema = DIN
    uses = USES_DIN
    requests: ClassVar[Mapping[str, type[Element]]] = {**common_din.ELEMENTS, **common_din.ELEMENTS}
    types: ClassVar[ModuleType] = types_din
    limits: ClassVar[ModuleType] = types_din
    values = VALUES_DIN

    def _asked(self, asks: Asks) -> Fields:
        match asks:
            case Asks.READY:
                return {"ready_to_charge_state": True}
            case Asks.NOT_READY:
                return {"ready_to_charge_state": False, "charging_profile": None}
        return {}

    def schedule(self) -> tuple[int, PowerSchedule] | None:
        """See `MessageRequests.schedule`."""
        return next(iter(schedules_din.power_schedules(self.known.schedules).items()), None)

    def profile(self, power_w: int) -> Element:
        """Return a ChargingProfile of constant power, W."""
        found = self.schedule()
        entry = types_din.ProfileEntry(charging_profile_entry_start=0, charging_profile_entry_max_power=power_w)
        return types_din.ChargingProfile(
            sa_schedule_tuple_id=found[0] if found is not None else 1, profile_entry=(entry,)
        )

    def _ServicePaymentSelectionReq(self) -> Fields:
        return self._selection()

    def _ChargeParameterDiscoveryReq(self) -> Fields:
        kinds = types_din.EVRequestedEnergyTransferType  # of fewer kinds than chargers may offer
        mode = next((each for each in kinds if each.value == self.known.mode), kinds.DC_extended)
        return {"ev_requested_energy_transfer_type": mode, "ev_charge_parameter": self.direct()}

    def _PowerDeliveryReq(self) -> Fields:
        return {
            "ready_to_charge_state": True,
            "charging_profile": self.profile(self.power_w()),
            "ev_power_delivery_parameter": self.delivery(),
        }
