"""The rule of safety (`rule`) in the messages of ISO 15118-2 and DIN 70121. It shares nothing with the monitor or the
session.

Beside what the rule says of every edition, no more may flow than the vehicle's targets ask for, and nothing while the
vehicle reports an error, or negotiates direct current anew.
"""

from typing import Any, Final

from tests.safety.judged.rule import PHASE_V, SILENT_S, VOLTAGE_S, Judge

LOOP_S: Final = 2.0
"""A charge loop of direct current is alive for so long after a request; one of alternating current as the vehicle."""


class OlderJudge(Judge):
    """One EVSE's: see Judge."""

    def __init__(self, *, mains: bool) -> None:
        super().__init__(mains=mains, loop_s=SILENT_S if mains else LOOP_S)

    def begin(self) -> None:
        """Another session."""
        super().begin()
        self._asks_a = 0.0
        self._anew = False
        self._voltage_mv = 0

    def said(self, request: Any, stream: int, now: float) -> None:
        """The vehicle sends this."""
        name = type(request).__name__
        self._asked_at = now
        if name in ("CableCheckReq", "PreChargeReq"):
            if self._wants != "voltage":
                self._voltage_at = now
            self._wants = "voltage"
        elif name == "PowerDeliveryReq":
            self._delivery(request, now)
        elif name == "CurrentDemandReq":
            self._looped_at = now
            self._bear(request)
            sound = request.dc_ev_status.ev_error_code.name == "NO_ERROR"
            self._asks_a = _number(request.ev_target_current) if sound else 0.0
        elif name == "ChargingStatusReq":
            self._looped_at = now
        elif name == "ChargeParameterDiscoveryReq":
            self._bears = {}
            self._bear(request.ev_charge_parameter)
            self._bear_mains(request)
            self._wants = self._wants if self._anew else "nothing"
        elif name != "MeteringReceiptReq":
            self._wants = "nothing"
            if name == "SessionStopReq":
                wish = getattr(request, "charging_session", None)
                self._pausing = wish is not None and wish.name == "Pause"
                self._authorised &= self._pausing

    def _delivery(self, request: Any, now: float) -> None:
        progress = getattr(request, "charge_progress", None)
        wish = progress.name if progress is not None else "Start" if request.ready_to_charge_state else "Stop"
        self._anew = wish == "Renegotiate"
        self._asks_a = 0.0
        if wish == "Start":
            self._wants, self._looped_at = "power", now
        elif wish == "Stop" and self._wants in ("power", "to negotiate anew"):
            self._wants, self._left_at = "to leave", now
        elif self._anew and self._wants == "power" and not self._mains:
            self._wants = "to negotiate anew"

    def _bear(self, limits: Any) -> None:
        for what, field, scale in (("charge", "power", 1), ("ma", "current", 1000), ("mv", "voltage", 1000)):
            value = getattr(limits, f"ev_maximum_{field}_limit", None)
            if value is not None:
                self._bears[what] = max(0.0, _number(value)) * scale

    def _bear_mains(self, request: Any) -> None:
        most = getattr(request.ev_charge_parameter, "ev_max_current", None)
        if most is not None:
            lines = 3 if request.requested_energy_transfer_mode.name == "AC_three_phase_core" else 1
            self._bears["charge"] = max(0.0, _number(most)) * PHASE_V * lines
            self._bears["charge_a"] = max(0.0, _number(most))
        self._bears.setdefault("charge", float("inf"))

    def answered(self, response: Any) -> None:
        """The charger says this."""
        name, code = type(response).__name__, response.response_code.name
        if name in ("AuthorizationRes", "ContractAuthenticationRes") and code.startswith("OK"):
            self._authorised = self._authorised or response.evse_processing.name == "Finished"
        elif name in ("SessionStopRes", "SessionSetupRes"):
            super().answered(response)

    def measured(self, now: float, *, voltage_mv: int, **there: Any) -> None:
        """At the vehicle's end there is this: see Judge."""
        self._voltage_mv = voltage_mv
        super().measured(now, voltage_mv=voltage_mv, **there)

    def _power(self, now: float) -> tuple[float, float]:
        charge, _ = super()._power(now)
        if not self._mains:
            amperes = max(0.0, min(self._asks_a, self._bears.get("ma", 0.0) / 1000))
            charge = min(charge, amperes * self._voltage_mv / 1000)
        return charge, 0.0

    def _connected(self, now: float) -> tuple[bool, str]:
        if self._wants == "voltage" and now > self._voltage_at + VOLTAGE_S:
            return False, "voltage for too long"
        return super()._connected(now)


def _number(value: Any) -> float:
    return float(value.value) * 10.0 ** int(value.multiplier)
