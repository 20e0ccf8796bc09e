"""The charge point's side of a DIN 70121 session."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from secc.session.config import DinConfig, SeccConfig
from secc.session.din import charging
from secc.session.v2g_message.request_context import DIN_HANDLERS, MessageSet
from secc.session.v2g_message.safety import V2gMessageRequests
from secc.session.v2g_message.session import V2gMessageSession, negative_response
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din.charts import STRICT, SessionDin
from v2g.iso15118.din.messages import common
from v2g.iso15118.din.messages import data_types as types
from v2g.iso15118.din.messages.data_types import EVSEProcessing, ResponseCode
from v2g.iso15118.din.response_codes import NAMES_OF_2, USES
from v2g.iso15118.din.schedules import VALUES, dc_evse_status, planned
from v2g.iso15118.din.timing import Timing
from v2g.iso15118.engine import identifiers as evse_ids
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.dc_status import Phase, status
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.sequence import Chart, State
from v2g.safety import Request

# -- Negative responses of DIN 70121: each request's own response type, with placeholders for mandatory fields

_ELEMENTS: Final[Mapping[str, type[Element]]] = common.ELEMENTS

_VOLTS, _AMPERES = VALUES.voltage(0, Rounding.DOWN), VALUES.current(0, Rounding.DOWN)
_STATUS: Final = dc_evse_status(status(Phase.STOPPED, isolation="Invalid"))
_ENTRY: Final = types.PMaxScheduleEntry(time_interval=types.RelativeTimeInterval(start=0), p_max=0)
_SCHEDULE: Final = types.PMaxSchedule(p_max_schedule_id=1, p_max_schedule_entry=(_ENTRY,))
_CERTIFICATE: Final = b"\0"

_PLACEHOLDERS: Final[Mapping[str, object]] = {
    "payment_options": types.PaymentOptions(payment_option=(types.PaymentOption.ExternalPayment,)),
    "charge_service": types.ServiceCharge(
        service_tag=types.ServiceTag(service_id=1, service_category=types.ServiceCategory.EVCharging),
        free_service=False,
        energy_transfer_type=types.EVSESupportedEnergyTransferType.DC_extended,
    ),
    "evse_processing": types.EVSEProcessing.Finished,
    "sa_schedules": types.SAScheduleList(
        sa_schedule_tuple=(types.SAScheduleTuple(sa_schedule_tuple_id=1, p_max_schedule=_SCHEDULE),)
    ),
    "evse_charge_parameter": types.DC_EVSEChargeParameter(
        dc_evse_status=_STATUS,
        evse_maximum_current_limit=_AMPERES,
        evse_maximum_voltage_limit=_VOLTS,
        evse_minimum_current_limit=_AMPERES,
        evse_minimum_voltage_limit=_VOLTS,
        evse_peak_current_ripple=_AMPERES,
    ),
    "dc_evse_status": _STATUS,
    "evse_status": _STATUS,
    "evse_present_voltage": _VOLTS,
    "evse_present_current": _AMPERES,
    "evse_current_limit_achieved": False,
    "evse_voltage_limit_achieved": False,
    "evse_power_limit_achieved": False,
    # of messages that no session uses
    "gen_challenge": "",
    "date_time_now": 0,
    "sa_schedule_tuple_id": 1,
    "receipt_required": False,
    "ac_evse_status": types.AC_EVSEStatus(
        power_switch_closed=False,
        rcd=False,
        notification_max_delay=0,
        evse_notification=types.EVSENotification.StopCharging,
    ),
    "contract_signature_cert_chain": types.CertificateChain(certificate=_CERTIFICATE),
    "contract_signature_encrypted_private_key": _CERTIFICATE,
    "dh_params": _CERTIFICATE,
    "contract_id": "",
    "retry_counter": -1,
    "id": "id1",
}
"""Mandatory field of a response -> its value in a negative one."""


def refusal(request: Element, code: str, *, evse_id: str) -> Element:
    """Return the negative response to `request`; `code` is a value of responseCodeType."""
    values = {**_PLACEHOLDERS, "evse_id": evse_ids.as_bytes(evse_id)}
    return negative_response(request, code, codes=types.ResponseCode, elements=_ELEMENTS, values=values)


MESSAGES: Final = MessageSet(
    protocol="DIN 70121",
    responses=_ELEMENTS,
    codes=ResponseCode,
    processing=EVSEProcessing,
    values=VALUES,
    dc_status=dc_evse_status,
    voltage_error="FAILED_EVSEPresentVoltageToLow",
    uses={**USES, **{of_2: USES[own] for of_2, own in NAMES_OF_2.items()}},
)


class DinSession(V2gMessageSession, SessionDin):
    """One session of a charge point: see `ChargerSession`."""

    handlers = DIN_HANDLERS
    messages = MESSAGES
    notifications: ClassVar = frozenset({"Terminate"})
    scheduled = False

    @staticmethod
    def _settings(config: SeccConfig) -> DinConfig:
        return config.din

    @property
    def _kind(self) -> Family:
        return Family.DC

    @property
    def _strict_chart(self) -> Chart:
        return STRICT

    def _on_answered(self, request: Element, before: State) -> None:
        super()._on_answered(request, before)
        if isinstance(request, common.WeldingDetectionReq) and "welding" not in self._time.timers:
            assert isinstance(self._limits_s, Timing)
            self._arm("welding", self._limits_s.secc_welding_detection)

    def _on_timer(self, name: str) -> None:
        if name == "welding":
            self._observe("session", "timeout", timer="V2G_SECC_WeldingDetection_Timeout", state=self.state.value)
            self._on_abort("welding_detection_timeout")
        else:
            super()._on_timer(name)

    def _refusal(self, request: Element, code: str) -> Element:
        return refusal(request, NAMES_OF_2.get(code, code), evse_id=self._config.evse_id)

    def _plan(self, request: Element) -> PowerSchedule | None:
        return planned(request.charging_profile) if isinstance(request, common.PowerDeliveryReq) else None

    def _starts(self, request: Element) -> bool:
        return isinstance(request, common.PowerDeliveryReq) and request.ready_to_charge_state


# -- DIN 70121 as served by a charger: see `secc.session.edition.Edition`


class Din:
    """See Edition."""

    session = DinSession

    def serves(self, protocol: AppProtocol, config: SeccConfig) -> bool:
        return charging.serves(protocol, config)

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Element, int], Request]:
        return V2gMessageRequests(config, config.din.timing).read
