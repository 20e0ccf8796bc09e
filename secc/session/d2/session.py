"""The charge point's side of an ISO 15118-2 session."""

from collections.abc import Callable
from typing import ClassVar, Final

from secc.session import ports
from secc.session.config import Iso2Config, SeccConfig
from secc.session.d2 import installation, plans, setup  # noqa: F401 - their handlers register themselves
from secc.session.d2.charging import is_unsigned
from secc.session.d2.refusal import ELEMENTS, refusal
from secc.session.delivery import charging_state
from secc.session.stages import AfterPlan, Charging, Planned
from secc.session.v2g_message.request_context import ISO2_HANDLERS, MessageSet
from secc.session.v2g_message.safety import V2gMessageRequests
from secc.session.v2g_message.session import V2gMessageSession
from v2g.exi.declare import Element
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2 import charts
from v2g.iso15118.d2.charts import STRICT, has_wrong_progress
from v2g.iso15118.d2.messages import charging as energy
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages.data_types import ChargeProgress, EVSEProcessing, ResponseCode
from v2g.iso15118.d2.quantities import VALUES, dc_evse_status
from v2g.iso15118.d2.schedules import planned
from v2g.iso15118.d2.session import Session2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.quirks import RENEGOTIATION_IGNORED
from v2g.iso15118.engine.sequence import Chart, State
from v2g.iso15118.engine.v2g_message import Header
from v2g.safety import Request

MESSAGES: Final = MessageSet(
    protocol="ISO 15118-2",
    responses=ELEMENTS,
    codes=ResponseCode,
    processing=EVSEProcessing,
    values=VALUES,
    dc_status=dc_evse_status,
    voltage_error="FAILED_PowerDeliveryNotApplied",
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
        elif isinstance(body, energy.CurrentDemandReq) and body.charging_complete and not self._completed:
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
        """See Edition."""
        return setup.serves(protocol, config)

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Element, int], Request]:
        """See Edition."""
        return V2gMessageRequests(config, config.iso2.timing).read
