"""The charge point's side of an ISO 15118-2 session."""

from types import MappingProxyType
from typing import Any, ClassVar, Final

from secc.session import ports
from secc.session.config import SeccConfig
from secc.session.d2.handlers import HANDLERS, ON_FACT
from secc.session.d2.refusal import refusal
from secc.session.delivery import charging_state
from secc.session.facts import SessionFacts
from secc.session.identity import Connection
from secc.session.limits import SessionLimits
from secc.session.paused import Paused
from secc.session.stages import Charging
from secc.session.v2g_message.request_context import MessageSet
from secc.session.v2g_message.session import V2gMessageSession
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2 import charts
from v2g.iso15118.d2.charts import STRICT, has_wrong_progress
from v2g.iso15118.d2.messages import charging, common
from v2g.iso15118.d2.messages.data_types import ChargeProgress, EVSEProcessing, ResponseCode
from v2g.iso15118.d2.quantities import VALUES
from v2g.iso15118.d2.schedules import planned
from v2g.iso15118.d2.session import Session2
from v2g.iso15118.d2.status import dc_evse_status
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.sequence import Chart, State
from v2g.iso15118.engine.session import OnMessage, ignored

MESSAGES: Final = MessageSet(
    responses=MappingProxyType({**common.ELEMENTS, **charging.ELEMENTS}),
    codes=ResponseCode,
    processing=EVSEProcessing,
    values=VALUES,
    status=dc_evse_status,
    voltage_error="FAILED_PowerDeliveryNotApplied",
)

_RENEGOTIATING: Final = frozenset(
    {State.SCHEDULE_RENEGOTIATION, State.DC_CABLE_CHECK, State.DC_PRE_CHARGE, State.DC_PRE_CHARGE_ONGOING}
)


class Iso2Session(V2gMessageSession, Session2):
    """One session of a charge point: see `ChargerSession`."""

    handlers = HANDLERS
    on_facts = ON_FACT
    messages = MESSAGES
    notifications: ClassVar = frozenset({"Terminate", "ScheduleRenegotiation", "MeteringConfirmation"})

    def __init__(
        self,
        config: SeccConfig,
        connection: Connection,
        limits: SessionLimits,
        facts: SessionFacts,
        *,
        paused: Paused | None = None,
        time_scale: float = 1.0,
        on_message: OnMessage = ignored,
    ) -> None:
        super().__init__(
            config,
            connection,
            limits,
            facts,
            timing=config.iso2.timing,
            strict=config.iso2.strict,
            paused=paused,
            time_scale=time_scale,
            on_message=on_message,
        )

    @property
    def _kind(self) -> Family:
        return Family.AC if self.family is charts.Family.AC else Family.DC

    @property
    def _strict_chart(self) -> Chart:
        return STRICT[self.family]

    def _on_body(self, body: Any, header: Any | None) -> None:
        if isinstance(body, common.ChargeParameterDiscoveryReq) and self.state is State.CHARGE_PARAMETER_DISCOVERY:
            alternating = body.requested_energy_transfer_mode.value.startswith("AC")
            self.family = charts.Family.AC if alternating else charts.Family.DC
            self._rate()
        super()._on_body(body, header)

    def _sequence_code(self, request: Any) -> str:
        wrong = self.state in self.chart and has_wrong_progress(self.state, request, self.family)
        return "FAILED" if wrong else super()._sequence_code(request)

    def _refusal(self, request: Any, code: str) -> Any:
        challenge = self._connection.entropy(16)
        return refusal(request, code, evse_id=self._config.evse_id, family=self.family, challenge=challenge)

    def _plan(self, request: Any) -> PowerSchedule | None:
        return planned(request.charging_profile)

    def _starts(self, request: Any) -> bool:
        return bool(request.charge_progress is ChargeProgress.Start)

    def _take_pilot(self, state: PilotState) -> None:
        """A vehicle that opens its contactor for a renegotiation goes through cable check and pre-charge again."""
        stage = self._stage
        renegotiating = self._kind is Family.DC and self.state in _RENEGOTIATING and isinstance(stage, Charging)
        if not renegotiating or state is not PilotState.B:
            super()._take_pilot(state)
            return
        self._perform((ports.EmergencyOff("renegotiation"), *charging_state(stage, "suspend", "EVConnected")))
        self._stage = stage.planned
