"""Translation of messages of an ISO 15118-20 session for the vehicle's safety monitor (`v2g.safety`).

Nothing is shared with the handlers: the vehicle's requests and the charger's responses are read from the messages
independently. Pure.
"""

from typing import Final, NamedTuple

from msgspec.structs import replace

from evcc.session.d20.quantities import phase_powers, to_milli, to_whole
from evcc.session.settings import SessionConfig
from v2g.errors import CodecError
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import SIDE_CHARTS, Family
from v2g.iso15118.d20.messages import ac, acdp, dc, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import EvseNotification, Processing
from v2g.iso15118.d20.quantities import on_lines
from v2g.iso15118.d20.session import decode_payload
from v2g.safety import UNBOUNDED, Ask, Output, Phase

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


_LIMITS: Final = (
    ("charge_w", "evse_maximum_charge_power", to_whole),
    ("discharge_w", "evse_maximum_discharge_power", to_whole),
    ("charge_ma", "evse_maximum_charge_current", to_milli),
    ("discharge_ma", "evse_maximum_discharge_current", to_milli),
    ("voltage_mv", "evse_maximum_voltage", to_milli),
)
"""A limit, the field of the parameters of direct current with it, and how that is read."""
_UNBOUNDED: Final = (UNBOUNDED, UNBOUNDED)


class _Agreed(NamedTuple):
    """The charger's limits, how many line conductors they are for (0: direct current, or a coil), and the power of each
    of them, W, into the vehicle and out of it."""

    limit: Output
    lines: int = 0
    line_w: tuple[int, int] = _UNBOUNDED


class Iso20Messages:
    """Reads the messages of one session, in their order."""

    def __init__(self, config: SessionConfig) -> None:
        self._config, self._phases = config, config.on_board_charger.phases
        self._asked: dict[int, Element] = {}
        self._family = Family.DC
        self._agreed = _Agreed(Output(*_UNBOUNDED))
        self._beside: _Agreed | None = None
        self._planned: Phase | None = None
        self._resting = False

    def decode(self, payload_type: int, payload: bytes) -> Element | None:
        """Return the message; None for an invalid one."""
        try:
            return decode_payload(payload_type, payload, self._family)[0]
        except CodecError:
            return None

    def sent(self, message: Element, payload_type: int) -> Ask:
        """Return the meaning of a message sent by the vehicle."""
        self._asked[_stream(payload_type)] = message
        if payload_type in SIDE_CHARTS:  # only the main stream controls power
            return Ask()
        alive_s = self._config.timers.message_timeout(type(message).__name__) + LATE_S
        match message:
            case ac.AC_ChargeParameterDiscoveryReq():
                self._planned, self._family = None, Family.AC
            case dc.DC_ChargeParameterDiscoveryReq():
                self._planned, self._family = Phase.VOLTAGE, Family.DC
            case wpt.WPT_ChargeParameterDiscoveryReq():
                self._planned, self._family = Phase.POWER, Family.WPT
            case dc.DC_CableCheckReq() | dc.DC_PreChargeReq():
                return Ask(phase=Phase.VOLTAGE, alive_s=alive_s)
            case wpt.WPT_AlignmentCheckReq():
                return Ask(phase=Phase.POWER, alive_s=alive_s, charge_w=UNBOUNDED)
            case wpt.WPT_ChargeLoopReq():
                return Ask(alive_s=alive_s, charge_w=max(0, to_whole(message.evpc_power_request)))
            case cm.PowerDeliveryReq():
                match message.charge_progress:
                    case cm.ChargeProgress.Start if message.ev_processing is Processing.Finished:
                        self._resting = False
                        return Ask(phase=Phase.POWER, alive_s=alive_s)
                    case cm.ChargeProgress.Stop | cm.ChargeProgress.Standby | cm.ChargeProgress.ScheduleRenegotiation:
                        self._resting = message.charge_progress is not cm.ChargeProgress.Stop
                        return Ask(phase=Phase.REST, alive_s=alive_s)
                return Ask(alive_s=alive_s)
        if isinstance(message, _UNCHANGING):
            return Ask(alive_s=alive_s)
        return Ask(phase=Phase.IDLE, alive_s=alive_s)

    def received(self, message: Element, payload_type: int) -> Ask:
        """Return the meaning of a message of the charger. The vehicle must send next, and in time."""
        timing, code = self._config.timing, getattr(message, "response_code", None)
        request = self._asked.pop(_stream(payload_type), None)
        failed = code is not None and code.name.upper().startswith("FAILED")
        refused = failed or (code is not None and code.name.startswith("WARNING"))
        agreed = None if failed else _agreement(request, message, self._phases)
        if payload_type in SIDE_CHARTS:
            # other parameters of a side stream are agreed once the charger has accepted the profile; of their
            # voltages none is higher than that with which the insulation was tested
            if agreed is not None:
                self._beside = agreed
            elif isinstance(message, cm.PowerDeliveryRes) and self._beside is not None:
                beside, self._beside = self._beside, None
                if not refused:
                    self._agreed = beside._replace(limit=beside.limit.bounded(self._agreed.limit, raises=True))
                    return self._allowed()
            return Ask()
        alive_s = timing.poll_pause_s + timing.loop_pause_s + timing.contactor_s + LATE_S
        if failed:
            return Ask(phase=Phase.IDLE)
        if agreed is not None:
            self._agreed, self._beside = agreed, None
            return replace(self._allowed(), alive_s=alive_s)
        match message:
            case cm.PowerDeliveryRes() if self._resting and refused:
                return self._unchanged(alive_s)
            case cm.ScheduleExchangeRes() if self._resting and refused:
                return self._unchanged(alive_s)
            case cm.ScheduleExchangeRes(evse_processing=Processing.Finished) if not self._resting:
                return Ask(phase=self._planned, alive_s=alive_s)
        status, mode = getattr(message, "evse_status", None), getattr(message, "cl_res_control_mode", None)
        target = _UNBOUNDED
        if phase_powers(mode, "evse_target_active_power"):
            _, line_w = _powers(mode, "evse_target_active_power", self._phases)
            target = max(0, line_w), max(0, -line_w)
        stop = status is not None and status.evse_notification in _ENDS
        return replace(self._allowed(target), alive_s=alive_s, stop=stop)

    def _allowed(self, target: tuple[int, int] = _UNBOUNDED) -> Ask:
        """Return the limits that were agreed; of each line conductor no more than the target."""
        agreed, raises = self._agreed, self._config.raised_limits
        most_w = _UNBOUNDED if raises else agreed.line_w
        return Ask(
            limit=Output(*_UNBOUNDED).bounded(agreed.limit, raises=raises),
            lines=agreed.lines,
            line_w=(min(most_w[0], target[0]), min(most_w[1], target[1])),
        )

    def _unchanged(self, alive_s: float) -> Ask:
        """The charger stays with the previous state: no standby, no other schedule."""
        self._resting = False
        return Ask(phase=Phase.POWER, alive_s=alive_s)


def _stream(payload_type: int) -> int:
    """Return the side stream of a message, 0 for the main one."""
    return payload_type if payload_type in SIDE_CHARTS else 0


def _agreement(request: Element | None, response: Element, phases: int) -> _Agreed | None:
    """Return what charge parameters agree on: the charger's limits, and the lower one of both maximum voltages. None
    for other messages, and for parameters that the vehicle has not asked for.

    Of discharge the magnitude counts: sources disagree on the sign.
    """
    match request, response:
        case dc.DC_ChargeParameterDiscoveryReq(), dc.DC_ChargeParameterDiscoveryRes():
            mode, own = response.dc_cpd_res_energy_transfer_mode, request.dc_cpd_req_energy_transfer_mode
            given = ((name, getattr(mode, field, None), read) for name, field, read in _LIMITS)
            values = {name: read(value) for name, value, read in given if value is not None}
            most = {name: abs(value) if "dis" in name else max(0, value) for name, value in values.items()}
            return _Agreed(
                replace(Output(**most), voltage_mv=min(most["voltage_mv"], to_milli(own.ev_maximum_voltage)))
            )
        case ac.AC_ChargeParameterDiscoveryReq(), ac.AC_ChargeParameterDiscoveryRes(
            ac_cpd_res_energy_transfer_mode=mode
        ):
            into_w, line_in_w = _powers(mode, "evse_maximum_charge_power", phases)
            out_w, line_out_w = _powers(mode, "evse_maximum_discharge_power", phases)
            return _Agreed(Output(max(0, into_w), abs(out_w)), phases, (max(0, line_in_w), abs(line_out_w)))
        case wpt.WPT_ChargeParameterDiscoveryReq(), wpt.WPT_ChargeParameterDiscoveryRes(sd_max_output_power=power):
            return _Agreed(Output(max(0, to_whole(power))))
    return None


def _powers(mode: object, field: str, phases: int) -> tuple[int, int]:
    """Return a power (W, signed) of the phases that the vehicle has, each within its value, and that of one of them:
    all of it where no others are given."""
    given = phase_powers(mode, field)
    total_w = on_lines(given, phases)
    return total_w, total_w // max(1, min(phases, len(given)))
