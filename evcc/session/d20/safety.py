"""Translation of messages of an ISO 15118-20 session for the vehicle's safety monitor (`v2g.safety`).

Nothing is shared with the handlers: the vehicle's requests and the charger's responses are read from the messages
independently. Pure.
"""

from typing import Final

from evcc.session.d20.quantities import to_whole
from evcc.session.settings import SessionConfig
from v2g.errors import CodecError
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import SIDE_CHARTS
from v2g.iso15118.d20.messages import ac, acdp, dc, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import EvseNotification, Processing
from v2g.iso15118.d20.session import SCHEMAS
from v2g.iso15118.engine.session import decode_padded
from v2g.safety import UNBOUNDED, Ask, Phase

LATE_S: Final = 0.5
"""Tolerance for late answers and requests."""

_UNCHANGING: Final = (
    cm.ScheduleExchangeReq,
    cm.MeteringConfirmationReq,
    cm.VehicleCheckInReq,
    cm.VehicleCheckOutReq,
    acdp.ACDP_ConnectReq,
    ac.AC_ChargeLoopReq,
    dc.DC_ChargeLoopReq,
)
"""Requests that change nothing."""

_ENDS: Final = (EvseNotification.Terminate, EvseNotification.Pause)


class Iso20Messages:
    """Reads the messages of one session, in their order."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self._planned: Phase | None = None
        self._resting = False

    def decode(self, payload_type: int, payload: bytes) -> Element | None:
        """Return the message; None for an invalid one, or for a side stream whose frames do not identify the schema."""
        schema = SCHEMAS.get(payload_type)
        try:
            return decode_padded(payload, schema)[0] if schema is not None else None
        except CodecError:
            return None

    def sent(self, message: Element, payload_type: int) -> Ask:
        """Return the meaning of a message sent by the vehicle."""
        if payload_type in SIDE_CHARTS:  # only the main stream controls power
            return Ask()
        alive_s = self._config.timers.message_timeout(type(message).__name__) + LATE_S
        match message:
            case ac.AC_ChargeParameterDiscoveryReq():
                self._planned = None
            case dc.DC_ChargeParameterDiscoveryReq():
                self._planned = Phase.VOLTAGE
            case wpt.WPT_ChargeParameterDiscoveryReq():
                self._planned = Phase.POWER
            case dc.DC_CableCheckReq() | dc.DC_PreChargeReq():
                return Ask(phase=Phase.VOLTAGE, alive_s=alive_s)
            case wpt.WPT_AlignmentCheckReq():
                return Ask(phase=Phase.POWER, alive_s=alive_s, charge_w=UNBOUNDED)
            case wpt.WPT_ChargeLoopReq():
                return Ask(alive_s=alive_s, charge_w=max(0, to_whole(message.evpc_power_request)))
            case cm.PowerDeliveryReq():
                return self._delivery(message, alive_s)
        if isinstance(message, _UNCHANGING):
            return Ask(alive_s=alive_s)
        return Ask(phase=Phase.IDLE, alive_s=alive_s)

    def _delivery(self, message: cm.PowerDeliveryReq, alive_s: float) -> Ask:
        match message.charge_progress:
            case cm.ChargeProgress.Start if message.ev_processing is Processing.Finished:
                self._resting = False
                return Ask(phase=Phase.POWER, alive_s=alive_s)
            case cm.ChargeProgress.Stop | cm.ChargeProgress.Standby | cm.ChargeProgress.ScheduleRenegotiation:
                self._resting = message.charge_progress is not cm.ChargeProgress.Stop
                return Ask(phase=Phase.REST, alive_s=alive_s)
        return Ask(alive_s=alive_s)

    def received(self, message: Element, payload_type: int) -> Ask:
        """Return the meaning of a message of the charger. The vehicle must send next, and in time."""
        if payload_type in SIDE_CHARTS:
            return Ask()
        timing, code = self._config.timing, getattr(message, "response_code", None)
        alive_s = timing.poll_pause_s + timing.loop_pause_s + timing.contactor_s + LATE_S
        if code is not None and code.name.upper().startswith("FAILED"):
            return Ask(phase=Phase.IDLE)
        refused = code is not None and code.name.startswith("WARNING")
        match message:
            case cm.PowerDeliveryRes() if self._resting and refused:
                return self._unchanged(alive_s)
            case cm.ScheduleExchangeRes() if self._resting and refused:
                return self._unchanged(alive_s)
            case cm.ScheduleExchangeRes(evse_processing=Processing.Finished) if not self._resting:
                return Ask(phase=self._planned, alive_s=alive_s)
        status = getattr(message, "evse_status", None)
        return Ask(alive_s=alive_s, stop=status is not None and status.evse_notification in _ENDS)

    def _unchanged(self, alive_s: float) -> Ask:
        """The charger stays with the previous state: no standby, no other schedule."""
        self._resting = False
        return Ask(phase=Phase.POWER, alive_s=alive_s)
