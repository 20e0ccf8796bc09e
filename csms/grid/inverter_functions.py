"""Functions of inverters that a grid operator's server demands, at stations of OCPP 2.1: default DER controls (R04).

What a station holds is in the database; what differs from what is wanted is set or cleared, also after a restart.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

import msgspec

from csms.dispatch import der_controls as der
from csms.dispatch.der import DerService
from csms.grid.limits import chains
from csms.requests.work import for_each
from csms.services import Services
from csms.sites import store as site_store
from v2g.energy.grid_signal import ALL, ConnectionPoint
from v2g.errors import CodecError, OcppError, StoreError, V2GError
from v2g.ieee2030_5.functions import (
    CURVE_TYPES,
    FunctionMode,
    InverterCurve,
    InverterDroop,
    InverterFactor,
    InverterFunction,
    InverterVar,
)
from v2g.io.runtime.supervision import wait_at_most
from v2g.ocpp.messages import der_control as ocpp
from v2g.ocpp.messages.ev_charging import DERControl

OWN: Final = "ieee2030.5-"
"""What the ids of our controls begin with, before their type."""
_PRIORITY: Final = 1
"""That of our controls: an operator's own with 0 precedes them."""
_PAUSE_S: Final = 5.0
_AGAIN_MS: Final = 600_000
"""When a station is asked again for what it has refused."""
_UNITS: Final[Mapping[int, ocpp.DERUnit]] = {
    0: "Not_Applicable", 1: "PctMaxW", 2: "PctMaxVar", 3: "PctVarAvail", 4: "PctEffectiveV", 7: "PctWAvail",
}  # fmt: skip
_TYPES: Final[Mapping[FunctionMode, DERControl]] = {
    "FixedPFAbsorbW": "FixedPFAbsorb", "FixedPFInjectW": "FixedPFInject", "FixedVar": "FixedVar",
    "FreqDroop": "FreqDroop", "FreqWatt": "FreqWatt", "HFRTMayTrip": "HFMayTrip", "HFRTMustTrip": "HFMustTrip",
    "HVRTMayTrip": "HVMayTrip", "HVRTMomentaryCessation": "HVMomCess", "HVRTMustTrip": "HVMustTrip",
    "LFRTMustTrip": "LFMustTrip", "LVRTMayTrip": "LVMayTrip", "LVRTMomentaryCessation": "LVMomCess",
    "LVRTMustTrip": "LVMustTrip", "VoltVar": "VoltVar", "VoltWatt": "VoltWatt", "WattPF": "WattPF",
    "WattVar": "WattVar",
}  # fmt: skip


def control_for(mode: FunctionMode, function: InverterFunction) -> ocpp.SetDERControlRequest:
    """Return the control of a function. Raises CodecError for a unit that OCPP does not have."""
    control_type = _TYPES[mode]
    body: object
    match function:
        case InverterFactor(cos_phi=cos_phi, absorbs=absorbs):
            body = ocpp.FixedPF(priority=_PRIORITY, displacement=cos_phi, excitation=absorbs)
        case InverterVar(percent=percent, unit=unit):
            body = ocpp.FixedVar(priority=_PRIORITY, setpoint=percent, unit=_unit(mode, unit))
        case InverterDroop() as droop:
            body = ocpp.FreqDroop(
                priority=_PRIORITY,
                over_freq=droop.over_hz,
                under_freq=droop.under_hz,
                over_droop=droop.over,
                under_droop=droop.under,
                response_time=droop.response_s,
            )
        case InverterCurve() as curve:
            body = _curve(mode, curve)
    member = ocpp.MEMBERS.get(control_type, "curve")
    return ocpp.SetDERControlRequest(
        is_default=True,
        control_id=OWN + control_type,
        control_type=control_type,
        **{member: body},  # type: ignore[arg-type] # it is that of its type
    )


def _curve(mode: FunctionMode, curve: InverterCurve) -> ocpp.DERCurve:
    points, unit = curve.points, _unit(mode, curve.unit)
    if mode in ("HFRTMayTrip", "HFRTMustTrip", "LFRTMustTrip"):
        points, unit = tuple((hertz, seconds) for seconds, hertz in points), "Not_Applicable"
    elif mode == "WattPF":  # absorbing is positive there (OCPP 2.1 part 2, 2.36)
        points, unit = tuple((watts, -factor) for watts, factor in points), "Not_Applicable"
    elif CURVE_TYPES[mode] in (3, 4, 5, 8, 9, 10):  # seconds, then percent of a voltage, as a station reads this unit
        unit = "PctEffectiveV"
    adjusts = curve.adjusts_s is not None
    reactive = None
    if mode == "VoltVar" and (curve.reference is not None or adjusts):
        reactive = ocpp.ReactivePowerParams(
            v_ref=curve.reference,
            autonomous_v_ref_enable=adjusts or None,
            autonomous_v_ref_time_constant=curve.adjusts_s,
        )
    return ocpp.DERCurve(
        curve_data=tuple(ocpp.DERCurvePoint(x=x, y=y) for x, y in points),
        priority=_PRIORITY,
        y_unit=unit,
        response_time=curve.response_s,
        reactive_power_params=reactive,
    )


def _unit(mode: FunctionMode, number: int) -> ocpp.DERUnit:
    if number not in _UNITS:
        raise CodecError(f"opMod{mode}: values in unit {number}, which OCPP does not have")
    return _UNITS[number]


class FunctionDelivery:
    """Keeps the demanded functions at the connected stations of 2.1 behind the connection point of the grid."""

    def __init__(self, services: Services, point: ConnectionPoint | None = None) -> None:
        self._services, self._stations = services, DerService(services)
        self._point = point or services.config.grid.connection_point
        self._wanted: dict[str, ocpp.SetDERControlRequest] | None = None
        self._unsaid: tuple[str, ...] = ()
        self._refused: dict[tuple[str, str], tuple[str, int]] = {}
        """Station and id of a control -> the control that it refused, and when (UTC ms)."""
        self._changed = asyncio.Event()

    def want(self, functions: Mapping[FunctionMode, InverterFunction] | None) -> None:
        """Keep exactly these functions; None: another node does."""
        wanted, unsaid = dict[str, ocpp.SetDERControlRequest](), list[str]()
        for mode, function in sorted((functions or {}).items(), key=lambda each: each[0]):
            try:
                control = control_for(mode, function)
                wanted[control.control_id] = control
            except CodecError as error:
                unsaid.append(str(error))
        before, self._unsaid = self._wanted, tuple(unsaid)
        self._wanted = None if functions is None else wanted
        if self._wanted != before:
            self._changed.set()

    @property
    def problems(self) -> list[str]:
        """The functions that OCPP cannot express, and those that stations do not take."""
        by_control: dict[str, list[str]] = {}
        for station_id, control_id in self._refused:
            by_control.setdefault(control_id.removeprefix(OWN), []).append(station_id)
        refused = (f"{name} is not taken by {min(at)} ({len(at)} stations)" for name, at in sorted(by_control.items()))
        return [*self._unsaid, *refused]

    async def run(self) -> None:
        """Send what is missing, for ever."""
        while True:
            try:
                await self.step()
            except StoreError as error:
                self._services.announce("ocpp", "ieee2030_5_problem", reason=f"functions: {error}"[:200])
            self._changed.clear()
            await wait_at_most(_PAUSE_S, self._changed.wait())

    async def step(self) -> None:
        """Set and clear what differs at each station. Raises StoreError."""
        services, wanted = self._services, self._wanted
        if wanted is None:
            return
        stations = {each for each in services.connections.connected() if services.connections.version(each) == "2.1"}
        if (point := self._point) != ALL:
            before = chains(await services.store.read(site_store.all_sites))
            stations &= {station_id for (station_id, _), points in before.items() if point in points}
        held = await services.store.read(der.documents, OWN)
        now_ms = services.clock.utc_ms()
        self._refused = {
            key: (document, at_ms)
            for key, (document, at_ms) in self._refused.items()
            if key[0] in stations and now_ms < at_ms + _AGAIN_MS and document == _document(wanted.get(key[1]))
        }

        async def bring(station_id: str) -> None:
            has = held.get(station_id, {})
            for control_id in has.keys() - wanted.keys():
                with contextlib.suppress(V2GError):
                    await self._stations.clear(station_id, is_default=True, control_id=control_id)
            for control_id, control in wanted.items():
                key, document = (station_id, control_id), _document(control)
                if has.get(control_id) == document or key in self._refused:
                    continue
                try:
                    taken = (await self._stations.set(station_id, control)).status == "Accepted"
                except OcppError:
                    taken = False
                except V2GError:  # of the connection: again in the next step
                    return
                if not taken:
                    self._refused[key] = document, now_ms

        await for_each(stations, bring)


def _document(control: ocpp.SetDERControlRequest | None) -> str:
    return "" if control is None else msgspec.json.encode(control).decode()
