"""A charger of ISO 15118-2 that answers by the book, with direct or alternating current."""

from typing import Any

from msgspec.structs import replace

from evcc.session.d2.session import Vehicle2
from evcc.session.ports import SetAcPower
from evcc.session.settings import AuthorizationConfig, ServiceConfig, SessionConfig
from tests.evcc.session.message_bench import SHORT, MessageBench, ScriptedCharger
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schedules import VALUES, dc_evse_status, schedule_tuple
from v2g.iso15118.engine.dc_status import Phase, status
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step

OK = types.ResponseCode.OK
CHALLENGE = b"c" * 16
EIM = AuthorizationConfig(allow_eim=True)
DC = replace(SHORT, authorization=EIM)
AC = replace(DC, services=ServiceConfig(energy=("AC",)))
MODES = (types.EnergyTransferMode.DC_extended, types.EnergyTransferMode.AC_three_phase_core)


class Charger2(ScriptedCharger):
    """See ScriptedCharger.

    `renegotiate` counts the loop's responses that ask for other parameters. `signs` returns the signature of a
    response.
    """

    types, common, values = types, common, VALUES

    def __init__(self) -> None:
        super().__init__()
        self.modes = MODES
        offer = PowerSchedule((Step(0, 16_000), Step(3600, 8_000)), 86_400)
        self.tuples: tuple[Any, ...] = (schedule_tuple(1, offer),)
        self.customer = False
        self.joins = False
        self.stop_in = frozenset({"CurrentDemandReq", "ChargingStatusReq"})
        self.renegotiate = 0
        self.rcd = False
        self.receipts = 0
        self.signs: Any = lambda body: None
        self.ac_ma, self.ac_mv = 16_000, 230_000
        self.chosen = 1

    def message(self, body: Any) -> V2G_Message:
        header = MessageHeader(session_id=self.session_id, signature=self.signs(body))
        return V2G_Message(header=header, body=Body(body_element=body))

    def status(self, phase: Phase, name: str) -> types.DC_EVSEStatus:
        stop = self.stop if name in self.stop_in else None
        return dc_evse_status(status(phase, isolation=self.isolation, stop=stop, renegotiate=self._again(name)))

    def _ac_status(self, name: str) -> types.AC_EVSEStatus:
        wanted = "StopCharging" if self.stop and name in self.stop_in else "ReNegotiation"
        notification = wanted if wanted == "StopCharging" or self._again(name) else "None"
        return types.AC_EVSEStatus(
            notification_max_delay=0, evse_notification=types.EVSENotification(notification), rcd=self.rcd
        )

    def _again(self, name: str) -> bool:
        if name not in ("CurrentDemandReq", "ChargingStatusReq") or not self.renegotiate:
            return False
        self.renegotiate -= 1
        return True

    def processing(self, name: str) -> types.EVSEProcessing:
        found: types.EVSEProcessing = super().processing(name)
        customer = self.customer and name == "AuthorizationReq" and found is types.EVSEProcessing.Ongoing
        return types.EVSEProcessing.Ongoing_WaitingForCustomerInteraction if customer else found

    def SessionSetupReq(self, request: Any) -> Any:
        codes = types.ResponseCode
        code = codes.OK_OldSessionJoined if self.joins else codes.OK_NewSessionEstablished
        return common.SessionSetupRes(response_code=code, evse_id="DE*ABC*E1")

    def ServiceDiscoveryReq(self, request: Any) -> Any:
        return common.ServiceDiscoveryRes(
            response_code=OK,
            payment_option_list=types.PaymentOptionList(payment_option=self.payment),
            charge_service=types.ChargeService(
                service_id=1,
                service_category=types.ServiceCategory.EVCharging,
                free_service=False,
                supported_energy_transfer_mode=types.SupportedEnergyTransferMode(energy_transfer_mode=self.modes),
            ),
        )

    def PaymentServiceSelectionReq(self, request: Any) -> Any:
        return common.PaymentServiceSelectionRes(response_code=OK)

    def PaymentDetailsReq(self, request: Any) -> Any:
        return common.PaymentDetailsRes(response_code=OK, gen_challenge=CHALLENGE, evse_time_stamp=1)

    def AuthorizationReq(self, request: Any) -> Any:
        return common.AuthorizationRes(response_code=OK, evse_processing=self.processing("AuthorizationReq"))

    def ChargeParameterDiscoveryReq(self, request: Any) -> Any:
        name = "ChargeParameterDiscoveryReq"
        done = self.processing(name)
        offered = types.SAScheduleList(sa_schedule_tuple=self.tuples) if self.tuples else None
        parameter: Any
        if request.requested_energy_transfer_mode.name.startswith("AC"):
            parameter = types.AC_EVSEChargeParameter(
                ac_evse_status=self._ac_status(name),
                evse_nominal_voltage=VALUES.voltage(self.ac_mv, Rounding.NEAREST),
                evse_max_current=VALUES.current(self.ac_ma, Rounding.DOWN),
            )
        else:
            parameter = types.DC_EVSEChargeParameter(
                dc_evse_status=self.status(Phase.PARAMETERS, name), **self.limits()
            )
        return common.ChargeParameterDiscoveryRes(
            response_code=OK,
            evse_processing=done,
            sa_schedules=offered if done is types.EVSEProcessing.Finished else None,
            evse_charge_parameter=parameter,
        )

    def PowerDeliveryReq(self, request: Any) -> Any:
        name, stops = "PowerDeliveryReq", request.charge_progress is types.ChargeProgress.Stop
        self.chosen = request.sa_schedule_tuple_id
        found: Any
        if request.ev_power_delivery_parameter is None:
            self.voltage, self.current = (0.0, 0.0) if stops else (self.ac_mv / 1000, self.current)
            found = self._ac_status(name)
        else:
            if stops:
                self.voltage = self.current = 0.0
            found = self.status(Phase.STOPPED if stops else Phase.ENERGY, name)
        return common.PowerDeliveryRes(response_code=OK, evse_status=found)

    def _metered(self) -> dict[str, Any]:
        due = self.receipts > 0
        self.receipts -= due
        meter = types.MeterInfo(meter_id="M1", meter_reading=1234) if due else None
        return {
            "evse_id": "DE*ABC*E1",
            "sa_schedule_tuple_id": self.chosen,
            "meter_info": meter,
            "receipt_required": due,
        }

    def CurrentDemandReq(self, request: Any) -> Any:
        return super().CurrentDemandReq(request, **self._metered())

    def ChargingStatusReq(self, request: Any) -> Any:
        return common.ChargingStatusRes(
            response_code=OK,
            evse_max_current=VALUES.current(self.ac_ma, Rounding.DOWN),
            ac_evse_status=self._ac_status("ChargingStatusReq"),
            **self._metered(),
        )

    def MeteringReceiptReq(self, request: Any) -> Any:
        found = self.status(Phase.ENERGY, "MeteringReceiptReq")
        return common.MeteringReceiptRes(response_code=OK, evse_status=found)


class Bench2(MessageBench):
    """A bench for ISO 15118-2."""

    charger: Charger2
    session: Vehicle2

    def __init__(self, config: SessionConfig = DC, **options: Any) -> None:
        super().__init__(Vehicle2, Charger2(), config, **options)
        self.lines = 3 if "AC" in config.services.energy else 0

    def drive(self) -> None:
        """Let current flow; alternating current by the on-board charger, into the battery without losses."""
        if not self.session.family.value.startswith("AC"):
            super().drive()
            return
        self.charger.voltage = self.charger.ac_mv / 1000
        self.charger.current = self.ac_power_w() / self.charger.voltage

    def ac_power_w(self) -> int:
        """Return what the on-board charger draws, W."""
        return next((each.power_w for each in reversed(self.commands) if isinstance(each, SetAcPower)), 0)

    def battery(self) -> None:
        """Let the current flow until now and tell the session."""
        if self.session.family.value.startswith("AC"):
            state = self.model.state
            power_w = self.charger.voltage * self.charger.current
            self.model.advance(self.utc_ms, round(power_w * 1_000_000 / state.voltage_mv))
            self.report()
        else:
            super().battery()
