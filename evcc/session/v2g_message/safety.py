"""Translation of the messages of an ISO 15118-2 or DIN 70121 session for the vehicle's safety monitor (`v2g.safety`).

Nothing is shared with the handlers: the vehicle's requests and the charger's responses are read from the messages
independently. Pure.
"""

import math
from typing import Any, Final

from evcc.session.settings import SessionConfig
from evcc.session.vehicle import Timers
from v2g.errors import CodecError
from v2g.exi.declare import Element, Schema
from v2g.iso15118.engine.physical_values import PhysicalNumber
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.safety import Ask, Phase

LATE_S: Final = 0.5
"""Tolerance for late answers and requests."""

_STOPS: Final = frozenset({"EVSE_Shutdown", "EVSE_UtilityInterruptEvent", "EVSE_EmergencyShutdown", "EVSE_Malfunction"})
"""EVSEStatusCodes with which a charger wants to stop."""

MAINS_PERCENT: Final = 110
"""How far the voltage of the mains may be above the nominal one (EN 50160)."""


class V2gMessages:
    """Reads the messages of one session, in their order; `timers` and `schema` are the edition's."""

    def __init__(self, config: SessionConfig, timers: Timers, schema: Schema) -> None:
        self._timing, self._timers, self._schema = config.timing, timers, schema
        self._on_board_phases = config.on_board_charger.phases
        self._handshake = True
        self._phases = 0
        """Those of alternating current, 0 with direct current."""
        self._mains_v = 0.0
        self._again = False
        """Whether parameters are exchanged again, while the contactor of alternating current stays closed."""

    def decode(self, payload_type: int, payload: bytes) -> Element | None:
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
                return Ask(alive_s=alive_s, charge_w=max(0, asked_w), awaits=True)
            case "ChargingStatusReq" | "MeteringReceiptReq":
                return Ask(alive_s=alive_s)
            case "PowerDeliveryReq":
                return self._delivery(body, alive_s)
            case "ChargeParameterDiscoveryReq":
                mode = getattr(body, "requested_energy_transfer_mode", None)
                kind = "DC" if mode is None else mode.name
                self._phases = 0 if kind.startswith("DC") else 1 if "single" in kind else self._on_board_phases
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
        if type(body).__name__ != "ChargeParameterDiscoveryRes":
            return Ask(alive_s=alive_s, limit_w=self._limit_w(body), awaits=False, stop=_stops(body))
        parameter = body.evse_charge_parameter
        nominal = getattr(parameter, "evse_nominal_voltage", None)
        self._mains_v = self._mains_v if nominal is None else _number(nominal)
        # state C comes before CableCheckReq
        soon = body.evse_processing.name == "Finished" and not self._phases
        return Ask(
            phase=Phase.VOLTAGE if soon else None,
            alive_s=alive_s,
            limit_w=self._limit_w(parameter),
            tolerance_ma=_tolerance_ma(parameter),
            stop=_stops(parameter),
        )

    def _limit_w(self, limits: Element) -> int | None:
        """Return the charger's limit in a response, None without one.

        Of direct current it is the power: current and voltage are the charger's own to bound. The current of a phase
        is one of power at the highest voltage of the mains.
        """
        current = getattr(limits, "evse_max_current", None)
        power = getattr(limits, "evse_maximum_power_limit", None)
        if current is not None and self._phases:
            return _whole(_number(current) * self._mains_v * self._phases * MAINS_PERCENT / 100)
        return None if power is None or self._phases else _whole(_number(power))


def _tolerance_ma(parameter: Element) -> int | None:
    """Return how far a current may be from its target, as the charger declares it, with the ripple; None if not."""
    tolerance = getattr(parameter, "evse_current_regulation_tolerance", None)
    ripple = getattr(parameter, "evse_peak_current_ripple", None)
    if tolerance is None:
        return None
    return _whole((_number(tolerance) + (0 if ripple is None else _number(ripple))) * 1000)


def _stops(body: Element) -> bool:
    fields = ("dc_evse_status", "ac_evse_status", "evse_status")
    status = next((getattr(body, field) for field in fields if hasattr(body, field)), None)
    notification, code = getattr(status, "evse_notification", None), getattr(status, "evse_status_code", None)
    if notification is not None and notification.name == "StopCharging":
        return True
    isolation = getattr(status, "evse_isolation_status", None)
    faulty = (code is not None and code.name in _STOPS) or (isolation is not None and isolation.name == "Fault")
    return faulty or bool(getattr(status, "rcd", False))


def _whole(power_w: float) -> int:
    return max(0, math.ceil(round(power_w, 3)))


def _number(value: PhysicalNumber) -> float:
    return float(value.value) * 10.0 ** int(value.multiplier)
