"""A vehicle session on a bench: a clock in the hand, a charger that answers by the book, hardware that obeys.

`Charger` is scripted by its attributes; tests change what they need.
"""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from evcc.policy.battery import BatteryConfig
from evcc.policy.policy import OwnPolicy
from evcc.session.contracts import Contract, Provisioning
from evcc.session.d20.session import VehicleSession
from evcc.session.edition import Connection
from evcc.session.paused import Resume
from evcc.session.ports import SetPowerLimits
from evcc.session.settings import ProgramStep, SessionConfig
from tests.evcc.session.vehicle_bench import T0, VehicleBench
from v2g import exi
from v2g.asn1.discharge import PriceSlot
from v2g.energy.discharge_gate import Accepted, Decided, DischargeGate, Rejected
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import discharge_limits
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import dc
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.messages.common_types import (
    EvseNotification,
    EVSEStatus,
    MessageHeader,
    MeterInfo,
    Processing,
    RationalNumber,
    ResponseCode,
)
from v2g.iso15118.d20.schemas import AC, COMMON_MESSAGES, DC
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g.pki.keys import SoftwareKey

SESSION_ID = bytes.fromhex("0011223344556677")
OK = ResponseCode.OK
SHORT = SessionConfig(program=(ProgramStep(do="charge", energy_wh=100),))
SCHEMAS = {0x8001: APP_PROTOCOL, 0x8003: AC, 0x8004: DC} | dict.fromkeys((0x8002, 0x8101, 0x8102), COMMON_MESSAGES)


def number(value: float) -> RationalNumber:
    return RationalNumber(exponent=-1, value=round(value * 10)) if abs(value) < 3000 else whole(round(value))


def whole(value: int) -> RationalNumber:
    return RationalNumber(exponent=1, value=value // 10)


def certificate(name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime(2023, 11, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=365))
        .sign(key, hashes.SHA512())
        .public_bytes(Encoding.DER)
    )


class Identities:
    """The charger's TLS leaf and the vehicle's contract, made once for all tests."""

    def __init__(self) -> None:
        secc, contract = ec.generate_private_key(ec.SECP521R1()), ec.generate_private_key(ec.SECP521R1())
        self.secc_key, self.secc_leaf = SoftwareKey(secc), certificate("DE-CPO-S1", secc)
        leaf, sub = certificate("DEABCC123456789", contract), certificate("MO Sub 2", contract)
        self.contract = Contract((leaf, sub), SoftwareKey(contract))


class Counter:
    """Entropy that never repeats and is the same in every run."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, n: int) -> bytes:
        return next(self._numbers).to_bytes(n, "big")


class Charger:
    """Answers every request by the book. `notify` is sent once in the next loop answer."""

    def __init__(self, identities: Identities) -> None:
        self.session_id = SESSION_ID
        self.services = (2, 6)
        self.added = (61440,)
        self.modes = (2, 1)
        self.mobility = 1
        self.goals: dict[str, int] = {}  # in Dynamic responses of the loop
        self.authorization = (cm.Authorization.PnC, cm.Authorization.EIM)
        self.ongoing: dict[str, int] = {}
        self.codes: dict[str, ResponseCode] = {}
        self.notify: list[EvseNotification] = []
        self.renegotiable = True
        self.providers: tuple[str, ...] = ()
        self.install: Callable[[cm.CertificateInstallationReq], cm.CertificateInstallationRes] | None = None
        self.authorized: list[ResponseCode] = []  # what answers the next AuthorizationReq; OK when empty
        self.go_to_pause: bool | None = None
        self.joins = False
        self.meter_wh = 0
        self.voltage = 0.0
        self.current = 0.0
        self.requests: list[Any] = []
        self.sent_offers = 0
        self.compensation = 250_000
        self.operator_w = 8_000
        self.utc_ms: Callable[[], int] = lambda: T0
        self.judged: list[Accepted | Decided | Rejected] = []
        self.gate = DischargeGate(
            session_id=SESSION_ID,
            evse_id="DE*ABC*E1",
            key=identities.secc_key,
            certificate=identities.secc_leaf,
            signer_certificate=identities.contract.chain[0],
            entropy=Counter(),
        )

    def offer(self, hours: float = 1.0) -> bytes:
        """Return the payload of a new offer."""
        now = self.utc_ms()
        limits = discharge_limits(ev_w=10_000, evse_w=20_000, site_w=15_000, operator_w=self.operator_w)
        self.gate.set_limits(limits)
        slot = PriceSlot(now - 60_000, 8 * 3_600_000, 300_000, self.compensation)
        tariff = Tariff(currency="EUR", slots=(slot,))
        self.sent_offers += 1
        return self.gate.offer(tariff, now)

    def answer(self, request: Any) -> Any:
        """Return the response to a request."""
        self.requests.append(request)
        name = type(request).__name__
        response = getattr(self, name)(request)
        if name in self.codes:
            response = msgspec.structs.replace(response, response_code=self.codes[name])
        return response

    def header(self) -> MessageHeader:
        return MessageHeader(session_id=self.session_id, time_stamp=T0 // 1000)

    def _ok(self) -> dict[str, Any]:
        return {"header": self.header(), "response_code": OK}

    def processing(self, name: str) -> Processing:
        if self.ongoing.get(name, 0) > 0:
            self.ongoing[name] -= 1
            return Processing.Ongoing
        return Processing.Finished

    def SupportedAppProtocolReq(self, request: Any) -> Any:
        code = app.ResponseCode.OK_SuccessfulNegotiation
        return app.SupportedAppProtocolRes(response_code=code, schema_id=request.app_protocol[0].schema_id)

    def SessionSetupReq(self, request: Any) -> Any:
        code = ResponseCode.OK_NewSessionEstablished
        if self.joins and request.header.session_id == self.session_id:
            code = ResponseCode.OK_OldSessionJoined
        return cm.SessionSetupRes(header=self.header(), response_code=code, evse_id="DE*ABC*E1")

    def AuthorizationSetupReq(self, request: Any) -> Any:
        pnc = cm.Authorization.PnC in self.authorization
        return cm.AuthorizationSetupRes(
            **self._ok(),
            authorization_services=self.authorization,
            certificate_installation_service=self.install is not None,
            pnc_as_res_authorization_mode=cm.PnC_ASResAuthorizationMode(
                gen_challenge=b"c" * 16,
                supported_providers=cm.SupportedProvidersList(provider_id=self.providers) if self.providers else None,
            )
            if pnc
            else None,
            eim_as_res_authorization_mode=None if pnc else cm.EIM_ASResAuthorizationMode(),
        )

    def CertificateInstallationReq(self, request: Any) -> Any:
        assert self.install is not None
        return self.install(request)

    def AuthorizationReq(self, request: Any) -> Any:
        fields = self._ok() | ({"response_code": self.authorized.pop(0)} if self.authorized else {})
        return cm.AuthorizationRes(**fields, evse_processing=self.processing("AuthorizationReq"))

    def ServiceDiscoveryReq(self, request: Any) -> Any:
        def listed(ids: tuple[int, ...]) -> cm.ServiceList | None:
            return cm.ServiceList(service=tuple(cm.Service(service_id=i, free_service=False) for i in ids)) or None

        return cm.ServiceDiscoveryRes(
            **self._ok(),
            service_renegotiation_supported=self.renegotiable,
            energy_transfer_service_list=listed(self.services),
            vas_list=listed(self.added) if self.added else None,
        )

    def ServiceDetailReq(self, request: Any) -> Any:
        def values(**each: int) -> tuple[cm.Parameter, ...]:
            return tuple(cm.Parameter(name=name, int_value=value) for name, value in each.items())

        if request.service_id == 61440:
            sets = [cm.ParameterSet(parameter_set_id=0, parameter=values(Version=1, PayloadType=0xA000))]
        else:
            more = {"BPTChannel": 1, "GeneratorMode": 1} if request.service_id == 6 else {}
            sets = [
                cm.ParameterSet(
                    parameter_set_id=n,
                    parameter=values(Connector=2, ControlMode=mode, MobilityNeedsMode=self.mobility, Pricing=0, **more),
                )
                for n, mode in enumerate(self.modes)
            ]
        return cm.ServiceDetailRes(
            **self._ok(),
            service_id=request.service_id,
            service_parameter_list=cm.ServiceParameterList(parameter_set=tuple(sets)),
        )

    def ServiceSelectionReq(self, request: Any) -> Any:
        return cm.ServiceSelectionRes(**self._ok())

    def DC_ChargeParameterDiscoveryReq(self, request: Any) -> Any:
        fields: dict[str, Any] = {
            "evse_maximum_charge_power": whole(22_000),
            "evse_minimum_charge_power": whole(0),
            "evse_maximum_charge_current": number(80),
            "evse_minimum_charge_current": number(0),
            "evse_maximum_voltage": number(500),
            "evse_minimum_voltage": number(150),
        }
        mode: Any = dc.DC_CPDResEnergyTransferMode(**fields)
        if isinstance(request.dc_cpd_req_energy_transfer_mode, dc.BPT_DC_CPDReqEnergyTransferMode):
            mode = dc.BPT_DC_CPDResEnergyTransferMode(
                **fields,
                evse_maximum_discharge_power=whole(20_000),
                evse_minimum_discharge_power=whole(0),
                evse_maximum_discharge_current=number(60),
                evse_minimum_discharge_current=number(0),
            )
        return dc.DC_ChargeParameterDiscoveryRes(**self._ok(), dc_cpd_res_energy_transfer_mode=mode)

    def ScheduleExchangeReq(self, request: Any) -> Any:
        processing = self.processing("ScheduleExchangeReq")
        if request.dynamic_se_req_control_mode is not None:
            return cm.ScheduleExchangeRes(
                **self._ok(),
                evse_processing=processing,
                go_to_pause=self.go_to_pause,
                dynamic_se_res_control_mode=sched.Dynamic_SEResControlMode(),
            )

        def power(watts: int) -> sched.ChargingSchedule:
            entries = (
                sched.PowerScheduleEntry(duration=3600, power=whole(watts)),
                sched.PowerScheduleEntry(duration=86_400, power=whole(watts // 2)),
            )
            return sched.ChargingSchedule(
                power_schedule=sched.PowerSchedule(
                    time_anchor=T0 // 1000,
                    power_schedule_entries=sched.PowerScheduleEntryList(power_schedule_entry=entries),
                )
            )

        tuples = (
            sched.ScheduleTuple(schedule_tuple_id=1, charging_schedule=power(11_000)),
            sched.ScheduleTuple(
                schedule_tuple_id=2, charging_schedule=power(16_000), discharging_schedule=power(-5_000)
            ),
        )
        return cm.ScheduleExchangeRes(
            **self._ok(),
            evse_processing=processing,
            scheduled_se_res_control_mode=sched.Scheduled_SEResControlMode(schedule_tuple=tuples),
        )

    def DC_CableCheckReq(self, request: Any) -> Any:
        return dc.DC_CableCheckRes(**self._ok(), evse_processing=self.processing("DC_CableCheckReq"))

    def DC_PreChargeReq(self, request: Any) -> Any:
        target = request.ev_target_voltage
        if self.ongoing.get("DC_PreChargeReq", 0) > 0:
            self.ongoing["DC_PreChargeReq"] -= 1
        else:
            self.voltage = float(target.value) * 10.0**target.exponent
        return dc.DC_PreChargeRes(**self._ok(), evse_present_voltage=number(self.voltage))

    def PowerDeliveryReq(self, request: Any) -> Any:
        if request.charge_progress is cm.ChargeProgress.Stop:
            self.voltage = self.current = 0.0
        return cm.PowerDeliveryRes(**self._ok())

    def DC_ChargeLoopReq(self, request: Any) -> Any:
        status = None
        if self.notify:
            status = EVSEStatus(notification_max_delay=0, evse_notification=self.notify.pop(0))
        return dc.DC_ChargeLoopRes(
            **self._ok(),
            evse_status=status,
            meter_info=MeterInfo(
                meter_id="M1", charged_energy_reading_wh=self.meter_wh, bpt_discharged_energy_reading_wh=0
            ),
            evse_present_current=number(self.current),
            evse_present_voltage=number(self.voltage),
            evse_power_limit_achieved=False,
            evse_current_limit_achieved=False,
            evse_voltage_limit_achieved=False,
            cl_res_control_mode=self._control_mode(request.cl_req_control_mode),
        )

    def _control_mode(self, asked: Any) -> Any:
        charge: dict[str, Any] = {
            "evse_maximum_charge_power": whole(22_000),
            "evse_minimum_charge_power": whole(0),
            "evse_maximum_charge_current": number(80),
            "evse_maximum_voltage": number(500),
        }
        discharge: dict[str, Any] = {
            "evse_maximum_discharge_power": whole(20_000),
            "evse_minimum_discharge_power": whole(0),
            "evse_maximum_discharge_current": number(60),
            "evse_minimum_voltage": number(150),
        }
        match asked:
            case dc.BPT_Dynamic_DC_CLReqControlMode():
                return dc.BPT_Dynamic_DC_CLResControlMode(**charge, **discharge, **self.goals)
            case dc.Dynamic_DC_CLReqControlMode():
                return dc.Dynamic_DC_CLResControlMode(**charge, **self.goals)
            case dc.BPT_Scheduled_DC_CLReqControlMode():
                return dc.BPT_Scheduled_DC_CLResControlMode(**discharge)
            case _:
                return dc.Scheduled_DC_CLResControlMode()

    def MeteringConfirmationReq(self, request: Any) -> Any:
        return cm.MeteringConfirmationRes(**self._ok())

    def DC_WeldingDetectionReq(self, request: Any) -> Any:
        return dc.DC_WeldingDetectionRes(**self._ok(), evse_present_voltage=number(self.voltage))

    def SessionStopReq(self, request: Any) -> Any:
        return cm.SessionStopRes(**self._ok())


class Bench(VehicleBench):
    """A bench for ISO 15118-20."""

    session: VehicleSession

    def __init__(
        self,
        identities: Identities,
        config: SessionConfig | None = None,
        *,
        soc: float = 60.0,
        contract: bool = True,
        contracts: tuple[Contract, ...] | None = None,
        provisioning: Provisioning | None = None,
        resume: Resume | None = None,
        stays: bool = False,
        scale: float = 1.0,
        tls: bool = True,
        own_policy: OwnPolicy | None = None,
        battery: BatteryConfig | None = None,
        connected_for: float = 0.0,
        stopwatch: Callable[[], float] = lambda: 0.0,
    ) -> None:
        super().__init__(soc=soc, scale=scale, battery=battery)
        self.identities = identities
        own = (identities.contract,) if contract else ()
        own = own if contracts is None else contracts
        self.session = VehicleSession(
            config or SessionConfig(),
            Connection(
                battery=self.model.state,
                secc_certificate=identities.secc_leaf if tls else b"",
                entropy=Counter(),
                contracts=own,
                provisioning=provisioning,
                stopwatch=stopwatch,
                resume=resume,
                stays=stays,
                own_policy=own_policy,
                time_scale=scale,
            ),
            connected_for=connected_for,
        )
        self.charger = Charger(identities)
        self.charger.utc_ms = lambda: self.utc_ms
        self.payload_types: list[int] = []
        self.discharge: list[bytes] = []

    def on_sent(self, payload_type: int, payload: bytes) -> None:
        if payload_type == PayloadType.SIGNED_DISCHARGE:
            self.discharge.append(payload)
            self.judge(payload)
            return
        request = exi.decode(payload, SCHEMAS[payload_type])
        self.requests.append(request)
        self.payload_types.append(payload_type)
        self.unanswered.append(request)

    def judge(self, payload: bytes) -> None:
        """Let the charger judge a signed message; its results are delivered with the next answer."""
        judged = self.charger.gate.on_message(payload, self.utc_ms)
        self.charger.judged.append(judged)

    def reply(self, response: Any) -> None:
        """Send a response on the stream of the latest request of its kind (a request, out of place, likewise)."""
        asked = {type(each).__name__: kind for each, kind in zip(self.requests, self.payload_types, strict=True)}
        name = type(response).__name__[:-3] + "Req"
        usual = PayloadType.DC if name.startswith("DC_") else PayloadType.COMMON
        self.receive(frame(asked.get(name, usual), exi.encode(response)))

    def send_offer(self, payload: bytes | None = None) -> None:
        payload = self.charger.offer() if payload is None else payload
        self.receive(frame(PayloadType.SIGNED_DISCHARGE, payload))

    def drive(self) -> None:
        """Let current flow as the vehicle's limits and its newest signed command allow."""
        limits = next((c for c in reversed(self.commands) if isinstance(c, SetPowerLimits)), SetPowerLimits(0, 0))
        volts = self.model.state.voltage_mv / 1000
        self.charger.voltage = volts
        if limits.charge_w:
            self.charger.current = min(limits.charge_w, 22_000) / volts
        else:
            self.charger.current = -min(limits.discharge_w, self.charger.gate.allowed_w(self.utc_ms)) / volts

    def step(self) -> None:
        """One exchange: answer the request that waits, or let the pause go by."""
        if self.unanswered:
            request = self.unanswered.pop(0)
            response = self.charger.answer(request)
            if type(request).__name__ == "DC_ChargeLoopReq":
                self.drive()
            self.battery()
            self.reply(response)
            for judged in self.charger.judged:
                if isinstance(judged, Accepted | Rejected) and judged.reply is not None and not self.closed:
                    self.receive(frame(PayloadType.SIGNED_DISCHARGE, judged.reply))
            self.charger.judged = [j for j in self.charger.judged if isinstance(j, Decided)]
        else:
            self.wait()
