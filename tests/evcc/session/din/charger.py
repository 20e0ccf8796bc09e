"""A charger of DIN 70121 that answers by the book."""

from typing import Any

from evcc.session.din.session import DinVehicle
from evcc.session.settings import SessionConfig
from tests.evcc.session.message_bench import SESSION_ID, SHORT, MessageBench, finished
from v2g.iso15118.din.messages import charging, common, parameters, tariffs
from v2g.iso15118.din.messages import data_types as types
from v2g.iso15118.din.messages.header import MessageHeader
from v2g.iso15118.din.messages.message import Body, V2G_Message
from v2g.iso15118.din.quantities import VALUES
from v2g.iso15118.din.schedules import schedule_list
from v2g.iso15118.din.status import dc_evse_status
from v2g.iso15118.engine.dc_status import Phase, Stop, status
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step

OK = types.ResponseCode.OK


class DinCharger:
    """Tests change its attributes. `stop` and `stop_in` are why and in which responses its status demands a stop."""

    def __init__(self) -> None:
        self.session_id = SESSION_ID
        self.evse_id = b"\x49\xa8\x9a\x63\x60"
        self.service_id = 1
        self.mode = types.EVSESupportedEnergyTransferType.DC_extended
        self.payment: tuple[types.PaymentOption, ...] = (types.PaymentOption.ExternalPayment,)
        self.schedules: Any = schedule_list(PowerSchedule((Step(0, 16_000), Step(3600, 8_000)), 86_400))
        self.ongoing: dict[str, int] = {}
        self.codes: dict[str, Any] = {}
        self.stop: Stop | None = None
        self.stop_in: frozenset[str] = frozenset({"CurrentDemandReq"})
        self.isolation = "Valid"
        self.max_power_w: int | None = 50_000
        self.max_current_ma = 125_000
        self.max_voltage_mv, self.min_voltage_mv = 500_000, 150_000
        self.voltage = self.current = 0.0

    def message(self, body: Any) -> V2G_Message:
        return V2G_Message(header=MessageHeader(session_id=self.session_id), body=Body(body_element=body))

    def _status(self, phase: Phase, name: str) -> parameters.DC_EVSEStatus:
        stop = self.stop if name in self.stop_in else None
        return dc_evse_status(status(phase, isolation=self.isolation, stop=stop))

    def _processing(self, name: str) -> types.EVSEProcessing:
        return types.EVSEProcessing.Finished if finished(self, name) else types.EVSEProcessing.Ongoing

    def _present(self) -> types.PhysicalValue:
        return VALUES.voltage(round(self.voltage * 1000), Rounding.NEAREST)

    def SessionSetupReq(self, request: Any) -> Any:
        code = types.ResponseCode.OK_NewSessionEstablished
        return common.SessionSetupRes(response_code=code, evse_id=self.evse_id)

    def ServiceDiscoveryReq(self, request: Any) -> Any:
        tag = types.ServiceTag(service_id=self.service_id, service_category=types.ServiceCategory.EVCharging)
        return common.ServiceDiscoveryRes(
            response_code=OK,
            payment_options=types.PaymentOptions(payment_option=self.payment),
            charge_service=types.ServiceCharge(service_tag=tag, free_service=False, energy_transfer_type=self.mode),
        )

    def ServicePaymentSelectionReq(self, request: Any) -> Any:
        return common.ServicePaymentSelectionRes(response_code=OK)

    def ContractAuthenticationReq(self, request: Any) -> Any:
        processing = self._processing("ContractAuthenticationReq")
        return common.ContractAuthenticationRes(response_code=OK, evse_processing=processing)

    def ChargeParameterDiscoveryReq(self, request: Any) -> Any:
        name = "ChargeParameterDiscoveryReq"
        power_w = self.max_power_w
        return common.ChargeParameterDiscoveryRes(
            response_code=OK,
            evse_processing=self._processing(name),
            sa_schedules=self.schedules,
            evse_charge_parameter=parameters.DC_EVSEChargeParameter(
                dc_evse_status=self._status(Phase.PARAMETERS, name),
                evse_maximum_current_limit=VALUES.current(self.max_current_ma, Rounding.DOWN),
                evse_maximum_power_limit=None if power_w is None else VALUES.power(power_w, Rounding.DOWN),
                evse_maximum_voltage_limit=VALUES.voltage(self.max_voltage_mv, Rounding.DOWN),
                evse_minimum_current_limit=VALUES.current(0, Rounding.UP),
                evse_minimum_voltage_limit=VALUES.voltage(self.min_voltage_mv, Rounding.UP),
                evse_peak_current_ripple=VALUES.current(1000, Rounding.UP),
            ),
        )

    def CableCheckReq(self, request: Any) -> Any:
        processing = self._processing("CableCheckReq")
        done = processing is types.EVSEProcessing.Finished
        found = self._status(Phase.CHECKED if done else Phase.CABLE_CHECK, "CableCheckReq")
        return charging.CableCheckRes(response_code=OK, dc_evse_status=found, evse_processing=processing)

    def PreChargeReq(self, request: Any) -> Any:
        if finished(self, "PreChargeReq"):
            self.voltage = request.ev_target_voltage.value * 10.0**request.ev_target_voltage.multiplier
        return charging.PreChargeRes(
            response_code=OK,
            dc_evse_status=self._status(Phase.PRE_CHARGE, "PreChargeReq"),
            evse_present_voltage=self._present(),
        )

    def PowerDeliveryReq(self, request: Any) -> Any:
        phase = Phase.ENERGY
        if not request.ready_to_charge_state:
            self.voltage = self.current = 0.0
            phase = Phase.STOPPED
        return common.PowerDeliveryRes(response_code=OK, evse_status=self._status(phase, "PowerDeliveryReq"))

    def CurrentDemandReq(self, request: Any) -> Any:
        return charging.CurrentDemandRes(
            response_code=OK,
            dc_evse_status=self._status(Phase.ENERGY, "CurrentDemandReq"),
            evse_present_voltage=self._present(),
            evse_present_current=VALUES.current(round(self.current * 1000), Rounding.NEAREST),
            evse_current_limit_achieved=False,
            evse_voltage_limit_achieved=False,
            evse_power_limit_achieved=False,
        )

    def WeldingDetectionReq(self, request: Any) -> Any:
        return charging.WeldingDetectionRes(
            response_code=OK,
            dc_evse_status=self._status(Phase.STOPPED, "WeldingDetectionReq"),
            evse_present_voltage=self._present(),
        )

    def SessionStopReq(self, request: Any) -> Any:
        return common.SessionStopRes(response_code=OK)


class DinBench(MessageBench):
    """A bench for DIN 70121."""

    charger: DinCharger

    def __init__(self, config: SessionConfig = SHORT, **options: Any) -> None:
        super().__init__(DinVehicle, DinCharger(), config, **options)


NO_SCHEDULES = tariffs.SASchedules()
