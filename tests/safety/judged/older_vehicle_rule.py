"""The rule of safety for a vehicle (`vehicle_rule`) in the messages of ISO 15118-2 and DIN 70121. It shares nothing
with the monitor or the session.
"""

from typing import Any, Final

from tests.safety.judged.vehicle_rule import ANSWER_S, LATE_S, NEXT_S, PHASE_V, SLOW_S, VehicleJudge

TIMEOUTS_S: Final = {
    "CurrentDemandReq": 5.0,
    "ChargeParameterDiscoveryReq": 6.0,
    "PowerDeliveryReq": 6.0,
    "ServiceDetailReq": SLOW_S,
}
"""How long an answer of a charger in the field may take; all others 2 s."""

STOPS: Final = ("EVSE_Shutdown", "EVSE_UtilityInterruptEvent", "EVSE_EmergencyShutdown", "EVSE_Malfunction")
PHASES: Final = 3


class OlderVehicleJudge(VehicleJudge):
    """One vehicle's: see VehicleJudge."""

    def begin(self, now: float) -> None:
        """Another session."""
        super().begin(now)
        self._anew = False
        self._next_w = 0.0

    def asked(self, request: Any, stream: int, now: float) -> None:
        """This has left the vehicle."""
        name = type(request).__name__
        self._pending = request
        self._alive_until = now + TIMEOUTS_S.get(name, ANSWER_S) + LATE_S
        if name in ("CableCheckReq", "PreChargeReq"):
            if self._asks != "voltage":
                self._voltage_at = now
            self._go("voltage", now)
        elif name == "PowerDeliveryReq":
            progress = getattr(request, "charge_progress", None)
            wish = progress.name if progress is not None else "Start" if request.ready_to_charge_state else "Stop"
            self._anew = wish == "Renegotiate"
            if wish == "Start":
                self._go("power", now)
                self._states = (float("inf") if self._mains else 0.0, 0.0)
            elif self._asks == "power":
                self._go("rest", now)
        elif name == "CurrentDemandReq":
            # until it is answered, or too late, a charger may not know it: waiting is part of the promise (safety.md)
            self._next_w = max(0.0, _number(request.ev_target_current) * _number(request.ev_target_voltage))
            self._states = (max(self._next_w, self._states[0]), 0.0)
            self._asks_no_more(_number(request.ev_target_current) * self._seen.battery_mv / 1000)
        elif name not in ("ChargingStatusReq", "MeteringReceiptReq") and not (
            name == "ChargeParameterDiscoveryReq" and self._anew and self._mains
        ):
            self._go("nothing", now)

    def answered(self, response: Any, stream: int, now: float) -> None:
        """This comes from the charger."""
        request, name, code = self._pending, type(response).__name__, response.response_code.name
        if request is None or name != type(request).__name__.removesuffix("Req") + "Res":
            self.parts(f"{name} is out of order", now)
            return
        if code.upper().startswith("FAILED"):
            self.parts(f"{name} says {code}", now)
            return
        self._pending = None
        self._alive_until = now + NEXT_S
        if name == "CurrentDemandRes":
            self._states = self._next_w, 0.0
        parameter = getattr(response, "evse_charge_parameter", response)
        if name == "ChargeParameterDiscoveryRes" and response.evse_processing.name == "Finished" and not self._mains:
            self._go("soon", now)  # state C may be a moment ahead of the request
        current = getattr(parameter, "evse_max_current", None)
        if current is not None:
            most_a = max(0.0, _number(current))
            if name == "ChargeParameterDiscoveryRes":
                self._agreed_a = most_a or float("inf"), 0.0  # 0 A is a pause, which bounds nothing
            self._told_a = most_a, 0.0
            self._target_w = min(most_a, self._agreed_a[0]) * PHASE_V * PHASES
        power, agrees = getattr(parameter, "evse_maximum_power_limit", None), name == "ChargeParameterDiscoveryRes"
        if agrees and not self._mains:
            self._agreed_w = max(0.0, _number(power)) or float("inf") if power is not None else float("inf")
        if _wants_the_end(parameter):
            self.stop(now)


def _wants_the_end(message: Any) -> bool:
    """Return whether the status of a charger asks for the end of the session."""
    statuses = [getattr(message, field, None) for field in ("dc_evse_status", "ac_evse_status", "evse_status")]
    for each in statuses:
        if each is None:
            continue
        code, notification = getattr(each, "evse_status_code", None), getattr(each, "evse_notification", None)
        if notification is not None and notification.name == "StopCharging":
            return True
        if getattr(each, "rcd", False) or (code is not None and code.name in STOPS):
            return True
    return False


def _number(value: Any) -> float:
    return float(value.value) * 10.0 ** int(value.multiplier)
