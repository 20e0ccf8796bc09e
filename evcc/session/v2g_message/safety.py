"""Translation of the messages of an ISO 15118-2 or DIN 70121 session for the vehicle's safety monitor (`v2g.safety`).

Nothing is shared with the handlers: the vehicle's requests and the charger's responses are read from the messages
independently. Pure.
"""

from typing import Any, Final

from evcc.session.settings import SessionConfig
from evcc.session.vehicle import Timers
from v2g.errors import CodecError
from v2g.exi.declare import Schema
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.safety import Ask, Phase

LATE_S: Final = 0.5
"""Tolerance for late answers and requests."""

_STOPS: Final = frozenset({"EVSE_Shutdown", "EVSE_UtilityInterruptEvent", "EVSE_EmergencyShutdown", "EVSE_Malfunction"})
"""EVSEStatusCodes with which a charger wants to stop."""

_POWERED: Final = frozenset({"PowerDeliveryRes", "CurrentDemandRes", "ChargingStatusRes", "MeteringReceiptRes"})
"""Responses whose status counts."""


class V2gMessages:
    """Reads the messages of one session, in their order; `timers` and `schema` are the edition's."""

    def __init__(self, config: SessionConfig, timers: Timers, schema: Schema) -> None:
        self._timing, self._timers, self._schema = config.timing, timers, schema
        self._handshake = True
        self._direct = True
        self._again = False
        """Whether parameters are exchanged again, while the contactor of alternating current stays closed."""

    def decode(self, payload_type: int, payload: bytes) -> Any:
        """Return the request or response; None for an invalid one."""
        if payload_type != PayloadType.SAP:
            return None
        try:
            message, _ = decode_message(payload, self._schema, handshake=self._handshake)
        except CodecError:
            return None
        body = body_of(message)
        self._handshake = self._handshake and type(body).__name__ != "SupportedAppProtocolRes"
        return body

    def sent(self, body: Any, payload_type: int) -> Ask:
        """Return the meaning of a request."""
        name = type(body).__name__
        alive_s = self._timers.message_timeout(name) + LATE_S
        match name:
            case "CableCheckReq" | "PreChargeReq":
                return Ask(phase=Phase.VOLTAGE, alive_s=alive_s)
            case "CurrentDemandReq":
                asked_w = int(_number(body.ev_target_current) * _number(body.ev_target_voltage))
                return Ask(alive_s=alive_s, charge_w=max(0, asked_w))
            case "ChargingStatusReq" | "MeteringReceiptReq":
                return Ask(alive_s=alive_s)
            case "PowerDeliveryReq":
                return self._delivery(body, alive_s)
            case "ChargeParameterDiscoveryReq":
                mode = getattr(body, "requested_energy_transfer_mode", None)
                self._direct = mode is None or mode.name.startswith("DC")
                return Ask(phase=None if self._again else Phase.IDLE, alive_s=alive_s)
        return Ask(phase=Phase.IDLE, alive_s=alive_s)

    def _delivery(self, body: Any, alive_s: float) -> Ask:
        """Return the meaning of a PowerDeliveryReq, by ReadyToChargeState or by ChargeProgress."""
        progress = getattr(body, "charge_progress", None)
        starts = body.ready_to_charge_state if progress is None else progress.name == "Start"
        self._again = progress is not None and progress.name == "Renegotiate"
        return Ask(phase=Phase.POWER if starts else Phase.REST, alive_s=alive_s)

    def received(self, body: Any, payload_type: int) -> Ask:
        """Return the meaning of a response. The vehicle must send next, and in time."""
        timing, code = self._timing, getattr(body, "response_code", None)
        alive_s = timing.poll_pause_s + timing.loop_pause_s + timing.contactor_s + LATE_S
        if code is not None and code.name.upper().startswith("FAILED"):
            return Ask(phase=Phase.IDLE)
        name = type(body).__name__
        if name == "ChargeParameterDiscoveryRes":
            finished = body.evse_processing.name == "Finished"
            # state C comes before CableCheckReq
            return Ask(phase=Phase.VOLTAGE if finished and self._direct else None, alive_s=alive_s)
        return Ask(alive_s=alive_s, stop=name in _POWERED and _stops(body))


def _stops(body: Any) -> bool:
    fields = ("dc_evse_status", "ac_evse_status", "evse_status")
    status = next((getattr(body, field) for field in fields if hasattr(body, field)), None)
    notification, code = getattr(status, "evse_notification", None), getattr(status, "evse_status_code", None)
    return (notification is not None and notification.name == "StopCharging") or (
        code is not None and code.name in _STOPS
    )


def _number(value: Any) -> float:
    return float(value.value) * 10.0 ** int(value.multiplier)
