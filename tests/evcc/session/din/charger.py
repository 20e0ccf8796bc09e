"""A charger of DIN 70121 that answers by the book."""

from typing import Any

from evcc.session.din.session import DinVehicle
from evcc.session.settings import SessionConfig
from tests.evcc.session.message_bench import SHORT, MessageBench, ScriptedCharger
from v2g.iso15118.din.messages import common
from v2g.iso15118.din.messages import data_types as types
from v2g.iso15118.din.messages.header import MessageHeader
from v2g.iso15118.din.messages.message import Body, V2G_Message
from v2g.iso15118.din.schedules import VALUES, dc_evse_status, schedule_list
from v2g.iso15118.engine.dc_status import Phase, status
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step

OK = types.ResponseCode.OK


class DinCharger(ScriptedCharger):
    """See ScriptedCharger."""

    types, common, values = types, common, VALUES

    def __init__(self) -> None:
        super().__init__()
        self.evse_id = b"\x49\xa8\x9a\x63\x60"
        self.service_id = 1
        self.mode = types.EVSESupportedEnergyTransferType.DC_extended
        self.schedules: Any = schedule_list(PowerSchedule((Step(0, 16_000), Step(3600, 8_000)), 86_400))

    def message(self, body: Any) -> V2G_Message:
        return V2G_Message(header=MessageHeader(session_id=self.session_id), body=Body(body_element=body))

    def status(self, phase: Phase, name: str) -> types.DC_EVSEStatus:
        stop = self.stop if name in self.stop_in else None
        return dc_evse_status(status(phase, isolation=self.isolation, stop=stop))

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
        processing = self.processing("ContractAuthenticationReq")
        return common.ContractAuthenticationRes(response_code=OK, evse_processing=processing)

    def ChargeParameterDiscoveryReq(self, request: Any) -> Any:
        name = "ChargeParameterDiscoveryReq"
        return common.ChargeParameterDiscoveryRes(
            response_code=OK,
            evse_processing=self.processing(name),
            sa_schedules=self.schedules,
            evse_charge_parameter=types.DC_EVSEChargeParameter(
                dc_evse_status=self.status(Phase.PARAMETERS, name),
                **self.limits(),
            ),
        )

    def PowerDeliveryReq(self, request: Any) -> Any:
        phase = Phase.ENERGY
        if not request.ready_to_charge_state:
            self.voltage = self.current = 0.0
            phase = Phase.STOPPED
        return common.PowerDeliveryRes(response_code=OK, evse_status=self.status(phase, "PowerDeliveryReq"))


class DinBench(MessageBench):
    """A bench for DIN 70121."""

    charger: DinCharger

    def __init__(self, config: SessionConfig = SHORT, **options: Any) -> None:
        super().__init__(DinVehicle, DinCharger(), config, **options)


NO_SCHEDULES = types.SASchedules()
