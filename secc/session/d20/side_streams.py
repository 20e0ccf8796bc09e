"""Conversations beside the main stream of a charge point's session, each on its own payload type.

They leave the state, the timers and the pending request of the main stream alone.
"""

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import replace

from secc.session.config import SeccConfig
from secc.session.d20 import acdp, loop, parking, renegotiation
from secc.session.d20.control import PowerControl
from secc.session.d20.request_context import Handler, Step
from secc.session.d20.stages import Charging
from v2g.errors import Iso15118Error
from v2g.iso15118.d20.charts import SIDE_CHARTS, side_stream_runs
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType

SIDE_HANDLERS: Final[Mapping[int, Mapping[str, Handler]]] = MappingProxyType(
    {
        PayloadType.SCHEDULE_RENEGOTIATION: {
            "AC_ChargeParameterDiscoveryReq": renegotiation.charge_parameters,
            "DC_ChargeParameterDiscoveryReq": renegotiation.charge_parameters,
            "WPT_ChargeParameterDiscoveryReq": renegotiation.charge_parameters,
            "ScheduleExchangeReq": renegotiation.schedule_exchange,
            "PowerDeliveryReq": renegotiation.power_delivery,
        },
        PayloadType.METERING_CONFIRMATION: {"MeteringConfirmationReq": loop.metering_confirmation},
        PayloadType.ACDP_SYSTEM_STATUS: {"ACDP_SystemStatusReq": acdp.system_status},
        PayloadType.PARKING_STATUS: {
            "VehicleCheckInReq": parking.check_in,
            "VehicleCheckOutReq": parking.check_out,
        },
    }
)
"""Payload type of a side stream -> name of the request -> its handler."""


class SideStreams(PowerControl):
    """See `SeccSession`, which serves the main stream."""

    def __init__(self, config: SeccConfig, **options: Any) -> None:
        super().__init__(config, **options)
        self._sides: dict[int, State] = {}

    @abstractmethod
    def _fail(self, request: Any, payload_type: int, code: str, why: str, reason: str = "") -> None:
        """Stop power, answer with `code` and end."""

    def _on_side_request(self, request: Any, stream: PayloadType) -> None:
        """Serve a request beside the main stream, whose state, timers and pending request it leaves alone."""
        name = type(request).__name__
        state, chart = self._sides.get(stream, State.SIDE_IDLE), SIDE_CHARTS[stream]
        handler = SIDE_HANDLERS.get(stream, {}).get(name)
        if request.header.session_id != self.session_id:  # V2G20-460
            self._fail(request, stream, "FAILED_UnknownSession", f"{name} of another session")
            return
        in_order = side_stream_runs(stream, self.state) and sequence.accepts(state, request, chart)
        if handler is None or not in_order:  # V2G20-459
            self._fail(request, stream, "FAILED_SequenceError", f"{name} beside state {self.state.value}")
            return
        try:
            step = handler(request, self._stage, self._request_context(waited=True))
        except Iso15118Error as error:
            self._fail(request, stream, error.answer, str(error), error.reason)
            return
        self._stage = step.stage
        self._perform(step.commands)
        assert isinstance(step, Step), "nobody waits on a side stream"
        self._notices.pop(step.heard, None)
        self._parking = step.parking or self._parking
        if step.ready is not None:
            self._ready = step.ready
            self._perform(self._follow())
        self._sides[stream] = sequence.advance(state, request, step.response, chart)
        self._send(step.response, stream)
        if sequence.is_failed(step.response):
            self._end(step.response.response_code.name)
            return
        if self._sides[stream] is State.SIDE_IDLE:
            self._disarm(f"side:{stream}")
        else:
            self._arm(f"side:{stream}", self._config.timing.secc_sequence)
        if name == "PowerDeliveryReq" and request.ev_processing is Processing.Finished:
            self._take_vehicle_limits()
            self._begin_discharge()

    def _drop_side(self, stream: PayloadType) -> None:
        """Forget a conversation that the vehicle does not go on with: energy flows by what was agreed before."""
        self._sides[stream] = State.SIDE_IDLE
        if isinstance(self._stage, Charging):
            self._stage = replace(self._stage, beside=None)
        self._observe("session", "side_stream_dropped", stream=stream.name)
