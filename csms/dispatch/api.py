"""Dispatch of vehicles that charge and discharge, and grid support (blocks Q and R)."""

from typing import Annotated, Any

import msgspec
from msgspec.structs import asdict

from csms.accounts.rules import Permission
from csms.dispatch import der_controls
from csms.dispatch import store as rows
from csms.dispatch.der import DerService
from csms.dispatch.work import Dispatch, Dispatched
from csms.http.call import Call
from csms.http.operations import Page, get, post, to_station
from csms.http.parameters import AtStation, Paged, StationId, newest_first, shown
from csms.requests.work import Asked
from csms.settlements import store as records
from v2g.energy.grid_signal import ALL, ConnectionPoint
from v2g.ocpp.messages.base import EnergyTransferMode
from v2g.ocpp.messages.der_control import (
    ClearDERControlResponse,
    GetDERControlResponse,
    SetDERControlRequest,
    SetDERControlResponse,
)
from v2g.ocpp.messages.ev_charging import DERControl
from v2g.units import UtcMs

Stations = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=48)], ...], msgspec.Meta(max_length=100_000)
]
ControlId = Annotated[str, msgspec.Meta(min_length=1, max_length=36)]


class SetPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Total set-point of vehicles, W; negative: feed back. `stations` null: those of all stations.

    `frequency`: by central frequency control. `pull_s`: interval at which stations request new values.
    `connection_point`: only vehicles behind it.
    """

    setpoint_w: Annotated[int, msgspec.Meta(ge=-1_000_000_000, le=1_000_000_000)]
    stations: Stations | None = None
    connection_point: ConnectionPoint = ALL
    frequency: bool = False
    pull_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] | None = None


class Signal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frequency restoration signal (Q08), and its stations."""

    signal: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
    stations: Stations


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """Each station's answer, or why there is none."""

    answers: dict[str, str]


class Allowed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The energy transfer modes allowed for a transaction."""

    transaction_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    modes: Annotated[tuple[EnergyTransferMode, ...], msgspec.Meta(min_length=1, max_length=20)]


class AllowedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The station's answer."""

    status: str


class HeldControl(msgspec.Struct, frozen=True, kw_only=True):
    """A DER control that a station holds; `document` is its SetDERControl."""

    control_id: str
    control_type: str
    is_default: bool
    superseded: bool
    started: bool
    updated_ms: int
    document: Any


class DerAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """A DER alarm, or its end (R05)."""

    id: int
    control_type: str
    fault: str
    ended: bool
    at_ms: int
    extra: str


class WhichControls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One control by its id, those of a type, or all default or all scheduled ones."""

    station_id: StationId
    is_default: bool
    control_type: DERControl | None = None
    control_id: ControlId | None = None


class WantedControls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The controls that a station reports."""

    is_default: bool | None = None
    control_type: DERControl | None = None
    control_id: ControlId | None = None


class WhichDecisions(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for decisions."""

    accepted: Annotated[bool | None, msgspec.Meta(description="Only those that accept, or refuse.")] = None


class OfferDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision about an offer (`terms`), or a vehicle's command that the charger refused (`command`), and why."""

    id: int
    station_id: str
    session_id: str
    at_ms: int
    kind: str
    accepted: bool
    reason: str
    detail: str


class DecisionCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many decisions there were of a kind and reason."""

    kind: str
    accepted: bool
    reason: str
    number: int


@post("/dispatch/setpoint", Permission.WRITE_ENERGY, example={"setpoint_w": -11_000})
async def dispatch_setpoint(call: Call, body: SetPoint) -> tuple[Dispatched, ...]:
    """Split a set-point over the connected vehicles (Q04, Q07); the response lists each vehicle's share."""
    reported = await Dispatch(call.services).set_point(
        body.setpoint_w,
        body.stations,
        frequency=body.frequency,
        pull_s=body.pull_s,
        connection_point=body.connection_point,
    )
    return tuple(reported)


@get("/dispatch/course", Permission.READ_ENERGY)
async def read_dispatch_course(call: Call, from_ms: UtcMs) -> tuple[rows.CoursePoint, ...]:
    """Return, by minute, set-points that were asked for, what vehicles followed of them, and their power."""
    return tuple(await call.run(rows.course, from_ms))


@get("/offer-decisions", Permission.READ_ENERGY)
async def list_offer_decisions(call: Call, parameters: WhichDecisions) -> Page[OfferDecision]:
    """List what vehicles decided about offers, and which of their commands chargers refused, newest first."""
    return await newest_first(
        call, parameters, OfferDecision, "id", records.list_decisions, accepted=parameters.accepted
    )


@get("/overview/offers", Permission.READ_ENERGY)
async def read_offers_overview(call: Call, from_ms: UtcMs) -> tuple[DecisionCount, ...]:
    """Return how many offers vehicles accepted and refused, and how many commands chargers refused, by reason."""
    return shown(await call.run(records.count_decisions, from_ms), tuple[DecisionCount, ...])


@post("/dispatch/afrr", Permission.WRITE_ENERGY, example={"signal": 1, "stations": ["CS-V2G-0001"]})
async def send_afrr_signal(call: Call, body: Signal) -> Answers:
    """Forward a frequency restoration signal (Q08)."""
    return Answers(answers=await Dispatch(call.services).afrr(body.signal, body.stations))


@to_station("POST", "/energy-transfer", Permission.WRITE_ENERGY)
async def allow_energy_transfer(call: Call, station_id: StationId, body: Allowed) -> AllowedStatus:
    """Set the energy transfer modes allowed for a transaction (Q02)."""
    status = await Dispatch(call.services).allow(station_id, body.transaction_id, body.modes)
    return AllowedStatus(status=status)


@get("/stations/{station_id}/der-controls", Permission.READ_ENERGY)
async def list_der_controls(call: Call, station_id: StationId) -> tuple[HeldControl, ...]:
    """List the DER controls that a station holds."""
    return shown(await call.run(der_controls.controls, station_id), tuple[HeldControl, ...])


@to_station("POST", "/der-controls", Permission.WRITE_ENERGY)
async def set_der_control(call: Call, station_id: StationId, body: SetDERControlRequest) -> SetDERControlResponse:
    """Set a DER control (R04); the body is OCPP's SetDERControlRequest."""
    return await DerService(call.services).set(station_id, body)


@to_station("POST", "/der-controls/report", Permission.WRITE_ENERGY, example={})
async def report_der_controls(call: Call, station_id: StationId, body: WantedControls) -> Asked[GetDERControlResponse]:
    """Have a station report DER controls (R04)."""
    return await DerService(call.services).get(station_id, **asdict(body))


@to_station("DELETE", "/der-controls", Permission.WRITE_ENERGY, status=200)
async def clear_der_controls(call: Call, parameters: WhichControls) -> ClearDERControlResponse:
    """Clear DER controls (R04)."""
    return await DerService(call.services).clear(**asdict(parameters))


@get("/stations/{station_id}/der-alarms", Permission.READ_ENERGY)
async def list_der_alarms(call: Call, parameters: AtStation) -> Page[DerAlarm]:
    """List a station's DER alarms, newest first (R05)."""
    return await newest_first(call, parameters, DerAlarm, "id", der_controls.alarms, parameters.station_id)
