"""Translation of the messages of an ISO 15118-2 or DIN 70121 session for the safety monitor (`v2g.safety`).

Nothing is shared with the handlers: the vehicle's limits and requests are read from its messages independently. Pure.
"""

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from secc.session.config import SeccConfig
from secc.session.pacing import ANSWER_S
from v2g.exi.declare import Element
from v2g.iso15118.d2.timing import Timing as Timing2
from v2g.iso15118.din.timing import Timing as TimingDin
from v2g.iso15118.engine.physical_values import PhysicalNumber
from v2g.iso15118.engine.v2g_message import body_of
from v2g.safety import UNBOUNDED, Output, Phase, Request

if TYPE_CHECKING:  # declarations of the edition that is spoken only
    from v2g.iso15118.v2g_message import CurrentDemandReq

LEAVING_S: Final = 4.0
"""How long a contactor may stay closed after PowerDeliveryReq (stop): ramp-down, and the contactor's own time."""

_FIELDS: Final = (
    ("charge_w", "ev_maximum_power_limit", 0),
    ("charge_ma", "ev_maximum_current_limit", 3),
    ("voltage_mv", "ev_maximum_voltage_limit", 3),
)
"""Limit of an output, the field of the vehicle's limits that contains it, and the power of ten of its unit."""


class V2gMessageRequests:
    """Reads the messages of one session, in their order."""

    def __init__(self, config: SeccConfig, timing: Timing2 | TimingDin) -> None:
        self._timing, self._closed_s = timing, timing.secc_sequence + ANSWER_S
        self._most_mv = config.rating.max_voltage_v * 1000
        self._volts = config.ac_rating.nominal_voltage_v
        self._bears = self._agreed = Output()
        self._raises = config.raised_limits
        self._alternating = self._renegotiates = False

    def read(self, message: Element, payload_type: int) -> Request:
        """Return the meaning of a message of the vehicle."""
        body: Any = body_of(message)
        closed_s = self._closed_s
        match type(body).__name__:
            case "CableCheckReq":  # in a renegotiation the contactor may be closed, and no power flows
                return Request(phase=Phase.VOLTAGE, closed_s=closed_s)
            case "PreChargeReq":
                target_mv = max(0, min(_scaled(body.ev_target_voltage, 3), self._most_mv))
                return Request(phase=Phase.VOLTAGE, closed_s=closed_s, target_mv=target_mv)
            case "PowerDeliveryReq":
                return self._delivery(body)
            case "CurrentDemandReq":
                self._bears = _bears(body, self._bears).bounded(self._agreed, raises=self._raises)
                bears = self._bears.within(_asked(body))
                return Request(power_s=self._timing.secc_loop_silence, closed_s=closed_s, bears=bears)
            case "ChargingStatusReq":
                return Request(power_s=closed_s, closed_s=closed_s, bears=self._bears)
            case "MeteringReceiptReq":
                return Request(closed_s=closed_s)
            case "ChargeParameterDiscoveryReq":
                return self._parameters(body)
        return Request(phase=Phase.IDLE)

    def _parameters(self, request: Any) -> Request:
        parameter = request.ev_charge_parameter
        current = getattr(parameter, "ev_max_current", None)
        self._alternating = current is not None
        bears = _bears(parameter, Output(charge_w=UNBOUNDED))
        if self._renegotiates and not self._alternating:  # the earlier cable check holds
            bears = replace(bears, voltage_mv=min(bears.voltage_mv, self._agreed.voltage_mv))
        self._bears = self._agreed = bears
        if current is not None:
            line_ma = max(0, _scaled(current, 3))  # of each conductor; watts of all that the mode has
            lines = 3 if "three" in request.requested_energy_transfer_mode.value else 1
            self._bears = Output(min(UNBOUNDED, line_ma * self._volts * lines // 1000), charge_ma=line_ma)
        if self._renegotiates:
            return Request(closed_s=self._closed_s, bears=self._resting)
        return Request(phase=Phase.IDLE, bears=self._bears)

    @property
    def _resting(self) -> Output:
        """The vehicle's limits outside of the loop, in which it asks for direct current."""
        return self._bears if self._alternating else replace(self._bears, charge_ma=0)

    def _delivery(self, request: Any) -> Request:
        """Return the meaning of a PowerDeliveryReq, by ReadyToChargeState or by ChargeProgress."""
        progress = getattr(request, "charge_progress", None)
        starts = request.ready_to_charge_state if progress is None else progress.name == "Start"
        self._renegotiates = progress is not None and progress.name == "Renegotiate"
        closed_s = self._closed_s
        if starts:
            power_s = closed_s if self._alternating else self._timing.secc_loop_silence
            return Request(phase=Phase.POWER, power_s=power_s, closed_s=closed_s, bears=self._resting)
        if self._renegotiates:
            return Request(closed_s=closed_s, bears=self._resting)
        return Request(phase=Phase.REST, closed_s=LEAVING_S)


def _scaled(number: PhysicalNumber, shift: int) -> int:
    """Return a PhysicalValue x 10^shift, rounded down."""
    power = number.multiplier + shift
    value: int = number.value * 10**power if power >= 0 else number.value // 10**-power
    return min(UNBOUNDED, value)


def _asked(request: "CurrentDemandReq") -> Output:
    """Return what a CurrentDemandReq asks for: its target current, and nothing from a vehicle that reports an error."""
    if request.dc_ev_status.ev_error_code.value != "NO_ERROR":
        return Output(charge_ma=0)
    return Output(charge_w=UNBOUNDED, charge_ma=max(0, _scaled(request.ev_target_current, 3)))


def _bears(limits: Element, known: Output) -> Output:
    """Return the vehicle's limits; those that it omits stay as known, and none is negative."""
    given = ((name, getattr(limits, field, None), shift) for name, field, shift in _FIELDS)
    return replace(known, **{name: max(0, _scaled(each, shift)) for name, each, shift in given if each is not None})
