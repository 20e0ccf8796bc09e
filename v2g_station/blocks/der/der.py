"""Controls of a distributed energy resource: stored, scheduled, superseded, reported (R04, R02).

The controls in force are sent as one command on each change; the hardware or the vehicle's inverter applies them.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec

from v2g.energy.curves import value_at
from v2g.iso15118.engine.session import Fact
from v2g.observe import Callbacks
from v2g.ocpp.messages import der_control as ocpp
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.ev_charging import DERControl
from v2g.ocpp.times import format_time, parse_time
from v2g.typed_json import Fields
from v2g_station.blocks.der.trips import CURVES, points_of
from v2g_station.blocks.settings import Inverter
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Handler, StationCommand, status_info

PER_MESSAGE: Final = 20
MAX_CONTROLS: Final = 100


class ApplyControls(StationCommand, frozen=True, kw_only=True):
    """Exactly these controls are in force now, at most one of each type."""

    controls: tuple[ocpp.SetDERControlRequest, ...]


class GridEvent(Fact, frozen=True, kw_only=True):
    """A control begins or ceases to act because of the grid."""

    control_type: DERControl
    fault: ocpp.GridEventFault | None = None
    ended: bool = False


class KeptControl(msgspec.Struct, frozen=True, kw_only=True):
    """A control as set by the CSMS. Times in ms; `start` and `end` are None for a default one."""

    request: ocpp.SetDERControlRequest
    start: int | None = None
    end: int | None = None
    superseded: bool = False
    started: bool = False

    @property
    def body(self) -> Any:
        """The content of the control."""
        return getattr(self.request, self.request.member)

    @property
    def priority(self) -> int:
        """A lower number wins."""
        return int(self.body.priority)


class DerControls(FunctionalBlock):
    """The controls of one station, which supports these types."""

    def __init__(
        self, shared: Shared, supported: tuple[DERControl, ...], *, inverter: Inverter, nominal_v: float
    ) -> None:
        super().__init__(shared)
        self._supported = supported
        self._all = {held.request.control_id: held for held in self._k.stored("der", KeptControl).values()}
        self._applied: tuple[ocpp.SetDERControlRequest, ...] = ()
        self.on_applied: Final = Callbacks[ApplyControls]()
        self.unfit: list[Callable[[ocpp.SetDERControlRequest], bool]] = []
        """Whether a valid control is one that nothing here can apply."""
        # publish the inverters' capabilities (R01.FR.01, .02), and the modes for vehicles' inverters (R03.FR.03)
        modes = ",".join(self._supported)
        for number, evse in enumerate(self._k.layout.evses, 1):
            if evse.phases:
                self._k.put(f"ACDERCtrlr#{number}.ModesSupported", modes)
                continue
            inject_w, absorb_w, var = evse.max_discharge_w, evse.max_power_w, inverter.max_var
            factor = f"{inject_w / (math.hypot(inject_w, var) or 1):.3f}" if var else "1"
            plate = {
                "ModesSupported": modes,
                "Enabled": str(bool(self._supported)).lower(),
                "MaxW": inject_w,
                "OverExcitedW": inject_w,
                "OverExcitedPF": factor,
                "UnderExcitedW": inject_w,
                "UnderExcitedPF": factor,
                "MaxVA": round(math.hypot(inject_w, var)),
                "MaxVar": var,
                "MaxVarNeg": var,
                "MaxChargeRateW": absorb_w,
                "MaxChargeRateVA": round(math.hypot(absorb_w, var)),
                "VNom": f"{nominal_v:g}",
                "InverterManufacturer": inverter.manufacturer,
                "InverterModel": inverter.model,
                "InverterSerialNumber": inverter.serial_number,
                "InverterSwVersion": inverter.sw_version,
                "InverterHwVersion": inverter.hw_version,
                "ReactiveSusceptance": 0,
            }
            for name, value in plate.items():
                self._k.put(f"DCDERCtrlr#{number}.{name}", str(value))
        self.answers: dict[str, Handler] = {
            "SetDERControl": self._set,
            "GetDERControl": self._get,
            "ClearDERControl": self._clear,
        }

    # -- the CSMS

    def _set(self, request: ocpp.SetDERControlRequest) -> Message:
        """R04.FR.01 to .08."""
        if request.control_type not in self._supported:
            return ocpp.SetDERControlResponse(status="NotSupported")
        new, why = KeptControl(request=request), _wrong(request)
        if why:
            return ocpp.SetDERControlResponse(status="Rejected", status_info=status_info("InvalidValue", why))
        if any(unfit(request) for unfit in self.unfit):
            return ocpp.SetDERControlResponse(status="NotSupported")
        if request.control_id not in self._all and len(self._all) >= MAX_CONTROLS:
            return ocpp.SetDERControlResponse(status="Rejected", status_info=status_info("TooManyElements"))
        start = getattr(new.body, "start_time", None)
        if start is not None:
            begin = parse_time(start)
            end = begin + int(new.body.duration * 1000)
            if end <= max(begin, self._k.utc_ms):  # one that comes too late must not end the control in force
                info = status_info("InvalidValue", "its time is over")
                return ocpp.SetDERControlResponse(status="Rejected", status_info=info)
            new = msgspec.structs.replace(new, start=begin, end=end)
        worse = any(
            self._is_rival(old, new) and old.priority < new.priority and not old.superseded
            for old in self._all.values()
        )
        superseded = [] if worse else self._supersede(new)  # what is never executed outranks nothing (R04.FR.09)
        self._keep(msgspec.structs.replace(new, superseded=worse))
        if worse:  # R04.FR.08
            superseded.append(request.control_id)
        self._k.after("der", 0, self.refresh)
        return ocpp.SetDERControlResponse(status="Accepted", superseded_ids=tuple(superseded))

    def _supersede(self, new: KeptControl) -> list[str]:
        """Mark controls outranked by the new one as superseded; return their ids."""
        coming = new.start is not None and new.start > self._k.utc_ms
        beaten = [
            old
            for old in self._all.values()
            if self._is_rival(old, new) and new.priority <= old.priority and not old.superseded
            if not (coming and old.started)  # it continues until the new one starts (R04.FR.07)
        ]
        for old in beaten:
            self._keep(msgspec.structs.replace(old, superseded=True))
        return [old.request.control_id for old in beaten]

    def _is_rival(self, old: KeptControl, new: KeptControl) -> bool:
        """Return whether two controls compete: same type, both default, or scheduled for the same time."""
        one, two = old.request, new.request
        if one.control_id == two.control_id or one.control_type != two.control_type or one.is_default != two.is_default:
            return False
        if old.start is None or old.end is None or new.start is None or new.end is None:
            return True
        return old.start < new.end and new.start < old.end

    def _matching(self, *, default: bool | None, type_: str | None, control_id: str | None) -> list[KeptControl]:
        return [
            held
            for held in self._all.values()
            if default in (None, held.request.is_default)
            and type_ in (None, held.request.control_type)
            and control_id in (None, held.request.control_id)
        ]

    def _get(self, request: ocpp.GetDERControlRequest) -> Message:
        """R04.FR.30 to .36."""
        if request.control_type is not None and request.control_type not in self._supported:
            return ocpp.GetDERControlResponse(status="NotSupported")
        found = self._matching(default=request.is_default, type_=request.control_type, control_id=request.control_id)
        if not found:
            return ocpp.GetDERControlResponse(status="NotFound")
        parts = [found[i : i + PER_MESSAGE] for i in range(0, len(found), PER_MESSAGE)]
        for number, part in enumerate(parts):
            report = _report(part, request.request_id, tbc=number + 1 < len(parts))
            self._k.after(f"der.{request.request_id}.{number:03d}", 0, partial(self._k.call, report))
        return ocpp.GetDERControlResponse(status="Accepted")

    def _clear(self, request: ocpp.ClearDERControlRequest) -> Message:
        """R04.FR.41 to .45."""
        if request.control_type is not None and request.control_type not in self._supported:
            return ocpp.ClearDERControlResponse(status="NotSupported")
        found = self._matching(default=request.is_default, type_=request.control_type, control_id=request.control_id)
        named = request.control_type is not None or request.control_id is not None
        if not found and named:
            return ocpp.ClearDERControlResponse(status="NotFound")
        for held in found:
            self._drop(held)
        self._k.after("der", 0, self.refresh)
        return ocpp.ClearDERControlResponse(status="Accepted")

    # -- what is in force

    def start(self) -> None:
        """Apply what a restart left. An alarm from before it is over, and begins again if its control still acts."""
        for before in self._k.stored("der_alarm", GridEvent).values():
            self.grid_event(msgspec.structs.replace(before, ended=True))
        self.refresh()

    def refresh(self) -> None:
        """Start and end scheduled controls, apply those in force, and schedule the next change."""
        now = self._k.utc_ms
        for control_id in list(self._all):
            held = self._all[control_id]  # an earlier one may have superseded it
            if held.end is not None and held.end <= now:  # R04.FR.10, .22
                self._drop(held)
                if held.started and not held.superseded:
                    self._report(held, started=False)
            elif held.start is not None and held.start <= now and not held.superseded and not held.started:
                held = msgspec.structs.replace(held, started=True)
                self._keep(held)
                self._report(held, started=True, superseded=self._supersede(held))  # R04.FR.20, .21
        force = tuple(held.request for held in self._in_force())
        if force != self._applied:  # by their content: an id may get another one
            self._applied = force
            command = ApplyControls(controls=force)
            self._k.do(command)
            self.on_applied.tell(command)
        edges = [
            edge for held in self._all.values() for edge in (held.start, held.end) if edge is not None and edge > now
        ]
        self._k.cancel("der")
        if edges:
            self._k.at_utc("der", min(edges), self.refresh)

    def _in_force(self) -> list[KeptControl]:
        """Return one control of each type: the active scheduled one, else the default (R04.FR.09, .11)."""
        best: dict[str, KeptControl] = {}
        can = self._supported
        ready = [held for held in self._all.values() if not held.superseded and held.request.control_type in can]
        for held in sorted(ready, key=lambda held: (held.start is None, held.priority)):
            if held.start is None or held.start <= self._k.utc_ms:
                best.setdefault(held.request.control_type, held)
        return [best[type_] for type_ in sorted(best)]

    def _report(self, held: KeptControl, *, started: bool, superseded: Iterable[str] = ()) -> None:
        self._outbox.add(
            ocpp.NotifyDERStartStopRequest(
                control_id=held.request.control_id,
                started=started,
                timestamp=format_time(self._k.utc_ms),
                superseded_ids=tuple(superseded),
            )
        )

    def grid_event(self, fact: GridEvent) -> None:
        """Report that a control acts because of the grid (R02). A station has one alarm at a time (R05.FR.04)."""
        if fact.ended:
            self._k.forget("der_alarm", "last")
        else:
            self._k.keep("der_alarm", "last", fact)
        self._outbox.add(
            ocpp.NotifyDERAlarmRequest(
                control_type=fact.control_type,
                grid_event_fault=fact.fault,
                alarm_ended=fact.ended or None,
                timestamp=format_time(self._k.utc_ms),
            )
        )

    def _keep(self, held: KeptControl) -> None:
        self._all[held.request.control_id] = held
        self._k.keep("der", held.request.control_id, held)

    def _drop(self, held: KeptControl) -> None:
        del self._all[held.request.control_id]
        self._k.forget("der", held.request.control_id)


def _wrong(request: ocpp.SetDERControlRequest) -> str:
    """Return the error in a control, empty if none (R04.FR.13, .15, .17)."""
    if not request.fits:
        return f"{request.control_type} allows only {request.member}"
    body = getattr(request, request.member)
    start, duration = getattr(body, "start_time", None), getattr(body, "duration", None)
    if request.is_default != (start is None) or (start is None) != (duration is None):
        return "startTime and duration require a scheduled control"
    if request.limit_max_discharge is not None and request.limit_max_discharge.power_monitoring_must_trip is not None:
        return "power monitoring is not supported"
    if request.control_type in CURVES and any(seconds < 0 for _, seconds in points_of(body)):
        return "times must not be negative"
    return ""


def _report(part: list[KeptControl], request_id: int, *, tbc: bool) -> ocpp.ReportDERControlRequest:
    """Return controls as a report: each kind in its own list."""
    lists: dict[str, list[object]] = {}
    for held in part:
        request, body = held.request, held.body
        member = request.member
        place: Fields = {
            "id": request.control_id,
            "is_default": request.is_default,
            "is_superseded": held.superseded,
        }
        entry: object
        match member:
            case "enter_service":
                entry = ocpp.EnterServiceGet(enter_service=body, id=request.control_id)
            case "gradient":
                entry = ocpp.GradientGet(gradient=body, id=request.control_id)
            case "fixed_pf_absorb" | "fixed_pf_inject":
                entry = ocpp.FixedPFGet(fixed_pf=body, **place)
            case "fixed_var":
                entry = ocpp.FixedVarGet(fixed_var=body, **place)
            case "freq_droop":
                entry = ocpp.FreqDroopGet(freq_droop=body, **place)
            case "limit_max_discharge":
                entry = ocpp.LimitMaxDischargeGet(limit_max_discharge=body, **place)
            case _:
                entry = ocpp.DERCurveGet(curve=body, curve_type=request.control_type, **place)
        lists.setdefault(member, []).append(entry)
    found: Fields = {name: tuple(entries) for name, entries in lists.items()}
    return ocpp.ReportDERControlRequest(request_id=request_id, tbc=tbc, **found)


# -- The curves of block R

SETTLING_S: Final = 0.2
"""Interval of following a response time, in grid time."""


def curve_at(curve: ocpp.DERCurve, x: float) -> float:
    """Return the y of a curve: linear between its points, constant beyond them."""
    return value_at([(point.x, point.y) for point in sorted(curve.curve_data, key=lambda point: point.x)], x)
