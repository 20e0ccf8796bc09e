"""Translation of messages, commands and facts of an ISO 15118-20 session for the safety monitor (`v2g.safety`).

Nothing is shared with the handlers: the vehicle's limits and requests are read from its messages independently. Pure.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

import msgspec
from msgspec.structs import replace

from secc.session.config import SeccConfig
from secc.session.pacing import ANSWER_S
from v2g.energy.conductors import LOWEST_VOLTAGE
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import SIDE_CHARTS
from v2g.iso15118.d20.messages import ac, acdp, dc, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import Dynamic_CLReqControlMode, Processing
from v2g.iso15118.d20.quantities import integer
from v2g.safety import Output, Phase, Request

MOST: Final = 1_000_000_000
_PHASES: Final = ("", "_l2", "_l3")
_FIELDS: Final[Mapping[str, tuple[str, int]]] = {
    "charge_w": ("ev_maximum_charge_power", 0),
    "discharge_w": ("ev_maximum_discharge_power", 0),
    "charge_ma": ("ev_maximum_charge_current", 3),
    "discharge_ma": ("ev_maximum_discharge_current", 3),
    "voltage_mv": ("ev_maximum_voltage", 3),
}
"""Limit of an output -> the field of the vehicle's limits that contains it, and the power of ten of its unit."""

LEAVING_S: Final = 4.0
"""How long a contactor may stay closed after PowerDeliveryReq (Stop): ramp-down, and the contactor's own time."""

_UNCHANGING: Final = frozenset(
    {
        "MeteringConfirmationReq",
        "CertificateInstallationReq",
        "VehicleCheckInReq",
        "VehicleCheckOutReq",
    }
)
"""Requests on the main stream that change nothing, and show that the vehicle is present."""


class Iso20Requests:
    """Reads the messages of one session, in their order."""

    def __init__(self, config: SeccConfig, *, interop: bool = False) -> None:
        """With `interop` the vehicle waits for no voltage beyond the charger's rating (`secc.session.d20.delivery`)."""
        self._config = config
        self._most_mv = config.rating.max_voltage_v * 1000 if interop else MOST
        self._bears = self._agreed = Output()
        self._beside: Output | None = None
        self._alternating = False

    def read(self, message: Element, payload_type: int) -> Request:
        """Return the meaning of a message of the vehicle."""
        timing = self._config.timing
        if payload_type in SIDE_CHARTS:
            return self._read_beside(message)
        alive_s = timing.secc_sequence_loop + timing.secc_loop_tolerance
        closed_s = timing.secc_sequence + ANSWER_S
        match message:
            case dc.DC_CableCheckReq():
                return Request(phase=Phase.VOLTAGE, closed_s=closed_s)
            case dc.DC_PreChargeReq():
                target_mv = integer(message.ev_target_voltage, 3, MOST)
                return Request(phase=Phase.VOLTAGE, closed_s=closed_s, target_mv=max(0, min(target_mv, self._most_mv)))
            case wpt.WPT_AlignmentCheckReq():
                bears = self._bears.within(Output(charge_w=self._config.wpt.alignment_power_w))
                return Request(phase=Phase.POWER, power_s=closed_s, closed_s=closed_s, bears=bears)
            case cm.PowerDeliveryReq():
                return self._delivery(message, alive_s, closed_s)
            case cm.ScheduleExchangeReq():
                return self._negotiates(closed_s)
            case ac.AC_ChargeLoopReq() | dc.DC_ChargeLoopReq():
                mode = message.cl_req_control_mode
                bears = self._on_lines(mode, _bears(mode, self._bears))
                self._bears = bears.bounded(self._agreed, raises=self._config.raised_limits)
                return Request(power_s=alive_s, closed_s=closed_s, bears=self._bears)
            case wpt.WPT_ChargeLoopReq(evpc_power_request=wanted):
                bears = self._bears.within(Output(charge_w=max(0, integer(wanted, 0, MOST))))
                return Request(power_s=alive_s, closed_s=closed_s, bears=bears)
            case ac.AC_ChargeParameterDiscoveryReq(ac_cpd_req_energy_transfer_mode=mode):
                self._alternating = True
                self._bears = self._agreed = self._on_lines(mode, _bears(mode, Output()))
                return Request(phase=Phase.IDLE, bears=self._bears)
            case dc.DC_ChargeParameterDiscoveryReq(dc_cpd_req_energy_transfer_mode=mode):
                self._bears = self._agreed = _bears(mode, Output())
                return Request(phase=Phase.IDLE, bears=self._bears)
            case wpt.WPT_ChargeParameterDiscoveryReq():
                self._bears = Output(charge_w=max(0, integer(message.evpc_max_receivable_power, 0, MOST)))
                return Request(phase=Phase.IDLE, bears=self._bears)
        if type(message).__name__ in _UNCHANGING:
            return Request(closed_s=closed_s)
        return Request(phase=Phase.IDLE)

    def _read_beside(self, message: Element) -> Request:
        """Return the meaning of a message on a side stream: it controls no power, and may agree on other limits."""
        match message:
            case acdp.ACDP_SystemStatusReq():
                return Request(ready=message.ev_technical_status.ev_ready_to_charge)
            case ac.AC_ChargeParameterDiscoveryReq(ac_cpd_req_energy_transfer_mode=mode):
                self._beside = self._on_lines(mode, _bears(mode, Output()))
            case dc.DC_ChargeParameterDiscoveryReq(dc_cpd_req_energy_transfer_mode=mode):
                self._beside = _bears(mode, Output())
            case cm.PowerDeliveryReq(ev_processing=Processing.Finished) if self._beside is not None:
                tested_mv = min(self._beside.voltage_mv, self._agreed.voltage_mv)
                self._agreed, self._beside = replace(self._beside, voltage_mv=tested_mv), None
                self._bears = self._bears.bounded(self._agreed, raises=self._config.raised_limits)
        return Request()

    def _on_lines(self, mode: Element, bears: Output) -> Output:
        """Return what a vehicle on alternating current bears with what each conductor may carry: that of the phase
        with the highest power, all of the power where only the sum is given, at the lowest voltage."""
        if mode.__class__.__module__ == dc.__name__:
            return bears
        lowest_v, changes = LOWEST_VOLTAGE * self._config.ac_rating.nominal_voltage_v, dict[str, int]()
        for name, power in (("charge_ma", "ev_maximum_charge_power"), ("discharge_ma", "ev_maximum_discharge_power")):
            given = [each for phase in _PHASES if (each := getattr(mode, power + phase, None)) is not None]
            if given:
                watts = (integer(each, 0, MOST) for each in given)
                most_w = max(map(abs, watts) if name == "discharge_ma" else (0, *watts))
                changes[name] = int(most_w * 1000 / lowest_v)
        return replace(bears, **changes)

    def _delivery(self, message: cm.PowerDeliveryReq, alive_s: float, closed_s: float) -> Request:
        match message.charge_progress:
            case cm.ChargeProgress.Start if message.ev_processing is Processing.Finished:
                return Request(phase=Phase.POWER, power_s=alive_s, closed_s=closed_s, bears=self._bears)
            case cm.ChargeProgress.Stop:
                return Request(phase=Phase.REST, closed_s=LEAVING_S)
            case cm.ChargeProgress.Standby if self._config.standby:
                return Request(phase=Phase.REST, closed_s=closed_s)
        return self._negotiates(closed_s)

    def _negotiates(self, closed_s: float) -> Request:
        """Return the meaning of a message before another start: a vehicle on alternating current, which controls its
        power itself, goes on by its present schedule."""
        return Request(power_s=closed_s if self._alternating else 0.0, closed_s=closed_s)


@cache
def _fields_of(mode: type[msgspec.Struct]) -> tuple[tuple[str, tuple[str, ...], int], ...]:
    """Return the fields of such limits: name, fields of all phases, power of ten."""
    known = {
        name: (tuple(field + phase for phase in _PHASES if hasattr(mode, field + phase)), shift)
        for name, (field, shift) in _FIELDS.items()
        if not shift or mode.__module__ == dc.__name__
    }
    return tuple((name, fields, shift) for name, (fields, shift) in known.items() if fields)


def _bears(mode: Element, known: Output) -> Output:
    """Return the vehicle's limits; those that it omits stay as known.

    Sources disagree on the sign of discharge limits: the magnitude counts. A dynamic vehicle that is full accepts no
    charge, and one that lacks its minimum energy no discharge.
    """
    changes: dict[str, int] = {}
    for name, fields, shift in _fields_of(mode.__class__):
        values = [integer(value, shift, MOST) for field in fields if (value := getattr(mode, field)) is not None]
        if values:
            changes[name] = abs(sum(values)) if name.startswith("discharge") else max(0, sum(values))
    if isinstance(mode, Dynamic_CLReqControlMode):
        if integer(mode.ev_maximum_energy_request, 0, MOST) <= 0:
            changes["charge_w"] = 0
        if integer(mode.ev_minimum_energy_request, 0, MOST) > 0:
            changes["discharge_w"] = 0
    return replace(known, **changes)
