"""The charge point's side of an ISO 15118-2 session."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from secc.session import ports
from secc.session.config import Iso2Config, SeccConfig
from secc.session.d2 import contract, plans, setup  # noqa: F401 - their handlers register themselves
from secc.session.d2.charging import is_unsigned
from secc.session.delivery import charging_state
from secc.session.stages import AfterPlan, Charging, Planned
from secc.session.v2g_message.request_context import ISO2_HANDLERS, MessageSet
from secc.session.v2g_message.safety import V2gMessageRequests
from secc.session.v2g_message.session import V2gMessageSession, negative_response
from v2g.exi.declare import Element
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2 import charts
from v2g.iso15118.d2.charts import STRICT, Session2, has_wrong_progress
from v2g.iso15118.d2.charts import Family as SessionFamily
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.messages.data_types import ChargeProgress, EVSEProcessing, ResponseCode
from v2g.iso15118.d2.provisioning import NO_CONTRACT
from v2g.iso15118.d2.response_codes import USES
from v2g.iso15118.d2.schedules import VALUES, dc_evse_status, planned
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import identifiers as evse_ids
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.dc_status import Phase, status
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.quirks import RENEGOTIATION_IGNORED
from v2g.iso15118.engine.sequence import Chart, State
from v2g.iso15118.engine.v2g_message import Header
from v2g.safety import Request

ELEMENTS: Final[Mapping[str, type[Element]]] = common.ELEMENTS

_VOLTS, _AMPERES = VALUES.voltage(0, Rounding.DOWN), VALUES.current(0, Rounding.DOWN)

_DC_STATUS: Final = dc_evse_status(status(Phase.STOPPED, isolation="Invalid"))
_AC_STATUS: Final = types.AC_EVSEStatus(
    notification_max_delay=0, evse_notification=types.EVSENotification.StopCharging, rcd=False
)
_DC_LIMITS: Final = types.DC_EVSEChargeParameter(
    dc_evse_status=_DC_STATUS,
    evse_maximum_current_limit=_AMPERES,
    evse_maximum_power_limit=VALUES.power(0, Rounding.DOWN),
    evse_maximum_voltage_limit=_VOLTS,
    evse_minimum_current_limit=_AMPERES,
    evse_minimum_voltage_limit=_VOLTS,
    evse_peak_current_ripple=_AMPERES,
)
_AC_LIMITS: Final = types.AC_EVSEChargeParameter(
    ac_evse_status=_AC_STATUS, evse_nominal_voltage=_VOLTS, evse_max_current=_AMPERES
)

_BY_FAMILY: Final[Mapping[SessionFamily, Mapping[str, object]]] = {
    SessionFamily.AC: {"evse_status": _AC_STATUS, "evse_charge_parameter": _AC_LIMITS},
    SessionFamily.DC: {"evse_status": _DC_STATUS, "evse_charge_parameter": _DC_LIMITS},
}

_PLACEHOLDERS: Final[Mapping[str, object]] = {
    "payment_option_list": types.PaymentOptionList(payment_option=(types.PaymentOption.ExternalPayment,)),
    "charge_service": types.ChargeService(
        service_id=1,
        service_category=types.ServiceCategory.EVCharging,
        free_service=False,
        supported_energy_transfer_mode=types.SupportedEnergyTransferMode(
            energy_transfer_mode=(types.EnergyTransferMode.DC_extended,)
        ),
    ),
    "evse_time_stamp": 0,
    "evse_processing": types.EVSEProcessing.Finished,
    "dc_evse_status": _DC_STATUS,
    "ac_evse_status": _AC_STATUS,
    "evse_present_voltage": _VOLTS,
    "evse_present_current": _AMPERES,
    "evse_current_limit_achieved": False,
    "evse_voltage_limit_achieved": False,
    "evse_power_limit_achieved": False,
    "sa_schedule_tuple_id": 1,
    **NO_CONTRACT,
}
"""Mandatory field of a response -> its value in a negative one."""


def refusal(request: Element, code: str, *, evse_id: str, family: SessionFamily, challenge: bytes) -> Element:
    """Return the negative response to `request`; `code` is a value of responseCodeType.

    `challenge` is 16 unpredictable bytes, sent in PaymentDetailsRes even then [V2G2-825].
    """
    own = {"evse_id": evse_ids.as_text(evse_id), "gen_challenge": challenge}
    return negative_response(
        request,
        code,
        codes=types.ResponseCode,
        elements=ELEMENTS,
        values={**_PLACEHOLDERS, **_BY_FAMILY[family], **own},
    )


MESSAGES: Final = MessageSet(
    protocol="ISO 15118-2",
    responses=ELEMENTS,
    codes=ResponseCode,
    processing=EVSEProcessing,
    values=VALUES,
    dc_status=dc_evse_status,
    voltage_error="FAILED_PowerDeliveryNotApplied",
    uses=USES,
)

_RENEGOTIATING: Final = frozenset(
    {State.SCHEDULE_RENEGOTIATION, State.DC_CABLE_CHECK, State.DC_PRE_CHARGE, State.DC_PRE_CHARGE_ONGOING}
)


class Iso2Session(V2gMessageSession, Session2):
    """One session of a charge point: see `ChargerSession`."""

    handlers = ISO2_HANDLERS
    messages = MESSAGES
    notifications: ClassVar = frozenset({"Terminate", "ScheduleRenegotiation", "MeteringConfirmation"})

    _completed = False
    """Whether the vehicle has announced its end (ChargingComplete)."""

    @staticmethod
    def _settings(config: SeccConfig) -> Iso2Config:
        return config.iso2

    @property
    def _kind(self) -> Family:
        return Family.AC if self.family is charts.Family.AC else Family.DC

    @property
    def _strict_chart(self) -> Chart:
        return STRICT[self.family]

    def _on_body(self, body: Element, header: Header | None) -> None:
        if isinstance(body, common.ChargeParameterDiscoveryReq) and self.state is State.CHARGE_PARAMETER_DISCOVERY:
            alternating = body.requested_energy_transfer_mode.value.startswith("AC")
            self.family = charts.Family.AC if alternating else charts.Family.DC
            self._rate()
        elif isinstance(body, common.CurrentDemandReq) and body.charging_complete and not self._completed:
            self._completed = True
            self._sign_last()
        super()._on_body(body, header)

    def _on_answered(self, request: Element, before: State) -> None:
        super()._on_answered(request, before)
        if self._notices.has_lapsed("ScheduleRenegotiation", self._time.now):
            self._tolerate(RENEGOTIATION_IGNORED)

    def _notify(self, notification: str) -> None:
        """Ask for a renegotiation only where it changes something: with direct current it may interrupt the energy."""
        if notification == "ScheduleRenegotiation":
            stage = self._stage
            planned = stage.planned if isinstance(stage, AfterPlan) else stage
            if not isinstance(planned, Planned) or not plans.is_outdated(planned, self.request_context(waited=False)):
                return
        super()._notify(notification)

    def _terminate(self, reason: str) -> None:
        if not self._stopping:
            self._sign_last()
        super()._terminate(reason)

    def _sign_last(self) -> None:
        """Ask for a receipt before the vehicle stops: afterwards the chart has none."""
        signs = self._config.metering_confirmation and self._contract() is not None
        if signs and is_unsigned(self._stage, self.request_context(waited=False)):
            self._notify("MeteringConfirmation")

    def _sequence_code(self, request: Element) -> str:
        wrong = self.state in self.chart and has_wrong_progress(self.state, request, self.family)
        return "FAILED" if wrong else super()._sequence_code(request)

    def _refusal(self, request: Element, code: str) -> Element:
        challenge = self._connection.entropy(16)
        return refusal(request, code, evse_id=self._config.evse_id, family=self.family, challenge=challenge)

    def _plan(self, request: Element) -> PowerSchedule | None:
        return planned(request.charging_profile) if isinstance(request, common.PowerDeliveryReq) else None

    def _starts(self, request: Element) -> bool:
        return isinstance(request, common.PowerDeliveryReq) and request.charge_progress is ChargeProgress.Start

    def _take_pilot(self, state: PilotState) -> None:
        """A vehicle that opens its contactor for a renegotiation goes through cable check and pre-charge again."""
        stage = self._stage
        renegotiating = self._kind is Family.DC and self.state in _RENEGOTIATING
        if not renegotiating or not isinstance(stage, Charging) or state is not PilotState.B:
            super()._take_pilot(state)
            return
        self._perform((ports.EmergencyOff("renegotiation"), *charging_state(stage, "suspend", "EVConnected")))
        self._stage = stage.planned


# -- ISO 15118-2 as served by a charger: see `secc.session.edition.Edition`


class Iso2:
    """See Edition."""

    session = Iso2Session

    def serves(self, protocol: AppProtocol, config: SeccConfig) -> bool:
        return setup.serves(protocol, config)

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Element, int], Request]:
        return V2gMessageRequests(config, config.iso2.timing).read
