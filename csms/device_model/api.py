"""Device models: a mirror of stations' variables, read and written; resets and network profiles (block B)."""

from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.device_model import store as rows
from csms.device_model import work as device_model
from csms.device_model.rules import VariableKey
from csms.http.call import Call
from csms.http.operations import Page, get, to_station
from csms.http.parameters import EvseId, Number, Paged, StationId, page_of, shown
from csms.requests.rules import check_own_variables, permission_to_set
from csms.requests.work import Asked
from v2g.ocpp.messages import provisioning as ocpp
from v2g.ocpp.messages.provisioning import NetworkConnectionProfile, SetNetworkProfileResponse

_HEARTBEAT = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}


class DeviceVariable(VariableKey, frozen=True, kw_only=True):
    """An attribute of a variable as last reported; `after_reboot`: its value after the next boot."""

    value: str | None
    value_ms: int | None
    after_reboot: str | None
    mutability: str
    constant: bool
    persistent: bool
    data_type: str
    unit: str
    min_limit: float | None
    max_limit: float | None
    values_list: str
    supports_monitoring: bool


class NetworkProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A network profile that a station has accepted, without passwords and keys."""

    slot: int
    set_ms: int
    status: str
    document: Any


class WhichVariables(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for variables."""

    station_id: StationId
    component: Annotated[str | None, msgspec.Meta(description="Only of this component.")] = None
    variable: Annotated[str | None, msgspec.Meta(description="Only this variable.")] = None


class ToRead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Variables to read, as OCPP's GetVariableDataType."""

    variables: Annotated[tuple[ocpp.GetVariableData, ...], msgspec.Meta(min_length=1, max_length=1000)]


class ToWrite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Variables to write, as OCPP's SetVariableDataType."""

    variables: Annotated[tuple[ocpp.SetVariableData, ...], msgspec.Meta(min_length=1, max_length=1000)]


class WantedReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of the device model to report."""

    base: ocpp.ReportBase = "FullInventory"


class WantedReset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Type of reset, and EVSE; null is the whole station."""

    type: ocpp.ResetType = "OnIdle"
    evse_id: EvseId | None = None


class NewWay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network profile with a better security profile, and the slots to fall back to."""

    profile: NetworkConnectionProfile
    others: Annotated[tuple[int, ...], msgspec.Meta(max_length=10)] = ()


class Upgrading(msgspec.Struct, frozen=True, kw_only=True):
    """The station has accepted the profile and restarts."""

    station_id: StationId
    slot: int


@get("/stations/{station_id}/variables", Permission.READ_STATIONS)
async def list_variables(call: Call, parameters: WhichVariables) -> Page[DeviceVariable]:
    """List a station's variables in the mirror."""
    found = await call.run(rows.list_variables, parameters.station_id, parameters.component, parameters.variable)
    return page_of(call, [shown(each, DeviceVariable) for each in found], parameters, _place)


def _place(each: DeviceVariable) -> str:
    names = (each.component, each.component_instance, f"{each.evse_id:010}", f"{each.connector_id:010}")
    return "\0".join((*names, each.variable, each.variable_instance, each.attribute))


@to_station("POST", "/variables/read", Permission.COMMAND_STATIONS, example={"variables": [_HEARTBEAT]})
async def read_variables(call: Call, station_id: StationId, body: ToRead) -> tuple[ocpp.GetVariableResult, ...]:
    """Get variables from a station (B06), in several requests if needed, and store them in the mirror."""
    return tuple(await device_model.get_variables(call.services, station_id, body.variables))


@to_station(
    "POST", "/variables", Permission.COMMAND_STATIONS, example={"variables": [{**_HEARTBEAT, "attributeValue": "600"}]}
)
async def write_variables(call: Call, station_id: StationId, body: ToWrite) -> tuple[ocpp.SetVariableResult, ...]:
    """Set variables of a station (B05), in several requests if needed; accepted values are stored in the mirror."""
    call.require(permission_to_set(body.variables))
    check_own_variables(body.variables)
    return tuple(await device_model.set_variables(call.services, station_id, body.variables))


@to_station("POST", "/report", Permission.COMMAND_STATIONS, example={})
async def read_device_model(call: Call, station_id: StationId, body: WantedReport) -> Asked[ocpp.GetBaseReportResponse]:
    """Request a report of the device model (B07), which is also stored in the mirror."""
    return await device_model.read_base(call.services, station_id, body.base)


@to_station("POST", "/reset", Permission.COMMAND_STATIONS, example={"type": "OnIdle"})
async def reset_station(call: Call, station_id: StationId, body: WantedReset) -> ocpp.ResetResponse:
    """Have a station, or one EVSE of it, restart (B11, B12)."""
    return await device_model.reset(call.services, station_id, body.type, body.evse_id)


@get("/stations/{station_id}/network-profiles", Permission.READ_STATIONS)
async def list_network_profiles(call: Call, station_id: StationId) -> tuple[NetworkProfile, ...]:
    """List the network profiles that a station has accepted."""
    return tuple(await call.run(_profiles, station_id))


@to_station("PUT", "/network-profiles/{slot}", Permission.ADMIT_STATIONS, confidential=True)
async def set_network_profile(
    call: Call, station_id: StationId, slot: Number, body: NetworkConnectionProfile
) -> SetNetworkProfileResponse:
    """Set a network profile at a station (B09)."""
    return await device_model.set_network_profile(call.services, station_id, slot, body)


@to_station("POST", "/network-profiles/{slot}/upgrade", Permission.ADMIT_STATIONS)
async def upgrade_security(call: Call, station_id: StationId, slot: Number, body: NewWay) -> Upgrading:
    """Move a station to a better security profile, and restart it (A05)."""
    await device_model.upgrade_security(call.services, station_id, slot, body.profile, body.others)
    return Upgrading(station_id=station_id, slot=slot)


def _profiles(connection: Connection, station_id: str) -> list[NetworkProfile]:
    return [
        shown({**row, "document": msgspec.json.decode(row["document"])}, NetworkProfile)
        for row in rows.list_profiles(connection, station_id)
    ]
