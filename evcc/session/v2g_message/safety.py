"""Translation of the messages of an ISO 15118-2 or DIN 70121 session for the vehicle's safety monitor (`v2g.safety`).

Nothing is shared with the handlers: the vehicle's requests and the charger's responses are read from the messages
independently. Pure.
"""

import math
from typing import Any, Final

from msgspec.structs import replace

from evcc.session.settings import SessionConfig
from evcc.session.vehicle import Timers
from v2g.errors import CodecError
from v2g.exi.declare import Element, Schema
from v2g.iso15118.engine.physical_values import PhysicalNumber
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.safety import UNBOUNDED, Ask, Output, Phase

LATE_S: Final = 0.5
"""Tolerance for late answers and requests."""

_STOPS: Final = frozenset({"EVSE_Shutdown", "EVSE_UtilityInterruptEvent", "EVSE_EmergencyShutdown", "EVSE_Malfunction"})
"""EVSEStatusCodes with which a charger wants to stop."""

_LIMITS: Final = (
    ("charge_ma", "evse_max_current", 1000),
    ("charge_ma", "evse_maximum_current_limit", 1000),
    ("voltage_mv", "evse_maximum_voltage_limit", 1000),
    ("charge_w", "evse_maximum_power_limit", 1),
)
"""A limit, the field of charge parameters with it, and how many of its small unit make one of the field's."""


class V2gMessages:
    """Reads the messages of one session, in their order; `timers` and `schema` are the edition's."""

    def __init__(self, config: SessionConfig, timers: Timers, schema: Schema) -> None:
        self._timing, self._timers, self._schema, self._raises = config.timing, timers, schema, config.raised_limits
        self._on_board_phases = config.on_board_charger.phases
        self._handshake = True
        self._lines = 0
        """Those of alternating current, 0 with direct current."""
        self._agreed = self._limit = Output(UNBOUNDED)
        self._asked: Element | None = None
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
        name, self._asked = type(body).__name__, body
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
                # the meaning of a PowerDeliveryReq, by ReadyToChargeState or by ChargeProgress
                progress = getattr(body, "charge_progress", None)
                starts = body.ready_to_charge_state if progress is None else progress.name == "Start"
                self._again = progress is not None and progress.name == "Renegotiate"
                return Ask(phase=Phase.POWER if starts else Phase.REST, alive_s=alive_s)
            case "ChargeParameterDiscoveryReq":
                mode = getattr(body, "requested_energy_transfer_mode", None)
                kind = "DC" if mode is None else mode.name
                self._lines = 0 if kind.startswith("DC") else 1 if "single" in kind else self._on_board_phases
                return Ask(phase=None if self._again else Phase.IDLE, alive_s=alive_s, lines=self._lines)
        return Ask(phase=Phase.IDLE, alive_s=alive_s)

    def received(self, body: Any, payload_type: int) -> Ask:
        """Return the meaning of a response. The vehicle must send next, and in time."""
        timing, code = self._timing, getattr(body, "response_code", None)
        asked, self._asked = self._asked, None
        alive_s = timing.poll_pause_s + timing.loop_pause_s + timing.contactor_s + LATE_S
        if code is not None and code.name.upper().startswith("FAILED"):
            return Ask(phase=Phase.IDLE)
        if type(body).__name__ != "ChargeParameterDiscoveryRes":
            # the limits after a response, in which the charger leaves out what stays
            changes = _limits(body)
            changes.pop("voltage_mv", None)
            if not self._lines:  # a lower direct current is the charger's own to follow
                changes["charge_ma"] = max(self._agreed.charge_ma, changes.get("charge_ma", 0))
            self._limit = replace(self._limit, **changes).bounded(self._agreed, raises=self._raises)
            return Ask(alive_s=alive_s, limit=self._limit, awaits=False, stop=_stops(body))
        parameter, finished = body.evse_charge_parameter, body.evse_processing.name == "Finished"
        if finished and type(asked).__name__ == "ChargeParameterDiscoveryReq":
            # charge parameters are agreed: the charger's, and the lower one of both maximum voltages
            own = getattr(asked, "ev_charge_parameter", None)
            agreed = replace(Output(UNBOUNDED), **_limits(parameter))
            voltage = getattr(own, "ev_maximum_voltage_limit", None)
            if voltage is not None:
                agreed = replace(agreed, voltage_mv=min(agreed.voltage_mv, _whole(_number(voltage) * 1000)))
            # in a renegotiation the earlier cable check holds
            self._limit = agreed.bounded(self._agreed, raises=True) if self._again else agreed
            self._agreed = self._limit.agreed()
        # state C comes before CableCheckReq
        return Ask(
            phase=Phase.VOLTAGE if finished and not self._lines else None,
            alive_s=alive_s,
            limit=self._limit,
            tolerance_ma=_tolerance_ma(parameter),
            stop=_stops(parameter),
        )


def _limits(part: Element) -> dict[str, int]:
    """Return the limits of charge that a message gives; of alternating current that of each conductor."""
    given = ((name, getattr(part, field, None), scale) for name, field, scale in _LIMITS)
    return {name: _whole(_number(value) * scale) for name, value, scale in given if value is not None}


def _tolerance_ma(parameter: Any) -> int | None:
    """Return how far a current may be from its target, as the charger declares it, with the ripple; None if not."""
    tolerance = getattr(parameter, "evse_current_regulation_tolerance", None)
    if tolerance is None:
        return None
    return _whole((_number(tolerance) + _number(parameter.evse_peak_current_ripple)) * 1000)


def _stops(body: Element) -> bool:
    fields = ("dc_evse_status", "ac_evse_status", "evse_status")
    status = next((getattr(body, field) for field in fields if hasattr(body, field)), None)
    notification, code = getattr(status, "evse_notification", None), getattr(status, "evse_status_code", None)
    if notification is not None and notification.name == "StopCharging":
        return True
    isolation = getattr(status, "evse_isolation_status", None)
    faulty = (code is not None and code.name in _STOPS) or (isolation is not None and isolation.name == "Fault")
    return faulty or bool(getattr(status, "rcd", False))


def _whole(number: float) -> int:
    return max(0, min(UNBOUNDED, math.ceil(round(number, 3))))


def _number(value: PhysicalNumber) -> float:
    return float(value.value) * 10.0 ** int(value.multiplier)
