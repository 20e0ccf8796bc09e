"""Functional block B from the operator's side: variables, reports, network profiles, resets."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from csms.db.queries import device_model
from csms.domain.stations.device_model import batches, check_distinct, read_values, written_values
from csms.ocpp.base import Services
from csms.services.stations.requests import Asked, ask, call
from v2g.errors import OcppError, RefusedError, V2GError
from v2g.ocpp.messages.device_model import Component, Variable
from v2g.ocpp.messages.network_profile import (
    NetworkConnectionProfile,
    SetNetworkProfileRequest,
    SetNetworkProfileResponse,
)
from v2g.ocpp.messages.provisioning import (
    GetBaseReportRequest,
    GetBaseReportResponse,
    GetVariableData,
    GetVariableResult,
    GetVariablesRequest,
    GetVariablesResponse,
    ReportBase,
    ResetRequest,
    ResetResponse,
    ResetType,
    SetVariableData,
    SetVariableResult,
    SetVariablesRequest,
    SetVariablesResponse,
)

_ITEMS_PER_MESSAGE: Final = "ItemsPerMessage"
_FOLLOWS: Final = ("Accepted",)
_SECRET: Final = re.compile(r"password|^key\Z|simpin", re.IGNORECASE)


async def get_variables(
    services: Services, station_id: str, data: Sequence[GetVariableData]
) -> list[GetVariableResult]:
    """Read variables, in as many requests as needed (B06.FR.05); the results are stored in the mirror.

    Raises V2GError as `ConnectionRegistry.call` does; earlier results stay in the mirror.
    """
    limit = await services.store.run(device_model.limit_of, station_id, "GetVariables")
    results: list[GetVariableResult] = []
    for portion in batches(data, limit):
        request = GetVariablesRequest(get_variable_data=portion)
        answer = await call(services, station_id, request, GetVariablesResponse)
        results += answer.get_variable_result
        rows = list(read_values(answer.get_variable_result, services.clock.utc_ms()))
        await services.store.run(device_model.save, station_id, rows)
    return results


async def set_variables(
    services: Services, station_id: str, data: Sequence[SetVariableData]
) -> list[SetVariableResult]:
    """Write variables, in as many requests as needed (B05.FR.11); accepted values are stored in the mirror.

    Raises RefusedError when one is named twice (`duplicate`) or belongs to a network configuration in use (`in_use`),
    and V2GError as `ConnectionRegistry.call` does.
    """
    check_distinct(data)
    in_use = await services.store.read(device_model.slots_in_use, station_id)
    if any(each.component.name == "NetworkConfiguration" and each.component.instance in in_use for each in data):
        raise RefusedError(
            "the station uses that network configuration", reason="in_use", hint="take another slot, then prioritise it"
        )  # B09.FR.10
    limit = await services.store.run(device_model.limit_of, station_id, "SetVariables")
    results: list[SetVariableResult] = []
    for portion in batches(data, limit):
        request = SetVariablesRequest(set_variable_data=portion)
        answer = await call(services, station_id, request, SetVariablesResponse)
        results += answer.set_variable_result
        rows = list(written_values(portion, answer.set_variable_result, services.clock.utc_ms()))
        await services.store.run(device_model.save, station_id, rows)
    return results


async def read_base(services: Services, station_id: str, base: ReportBase = "FullInventory") -> Asked:
    """Request a report of the whole device model (B07); its parts arrive as NotifyReport, and update the mirror."""

    def make(number: int) -> GetBaseReportRequest:
        return GetBaseReportRequest(request_id=number, report_base=base)

    return await ask(services, station_id, make, GetBaseReportResponse, _FOLLOWS)


async def reset(
    services: Services, station_id: str, kind: ResetType = "OnIdle", evse_id: int | None = None
) -> ResetResponse:
    """Have a station, or one EVSE of it, restart (B11, B12). Raises V2GError as `ConnectionRegistry.call` does."""
    return await call(services, station_id, ResetRequest(type=kind, evse_id=evse_id), ResetResponse)


async def set_network_profile(
    services: Services, station_id: str, slot: int, profile: NetworkConnectionProfile
) -> SetNetworkProfileResponse:
    """Set a network profile at a station (B09). Raises V2GError as `ConnectionRegistry.call` does."""
    request = SetNetworkProfileRequest(configuration_slot=slot, connection_data=profile)
    answer = await call(services, station_id, request, SetNetworkProfileResponse)
    if answer.status == "Accepted":
        document = msgspec.json.encode(_without_secrets(msgspec.to_builtins(profile)))
        now_ms = services.clock.utc_ms()
        await services.store.run(device_model.save_profile, station_id, slot, answer.status, document, now_ms)
    return answer


async def prioritise(services: Services, station_id: str, slots: Sequence[int]) -> SetVariableResult:
    """Set the order of a station's network profiles (B09, B10); it applies when it next connects or boots."""
    data = SetVariableData(
        component=Component(name="OCPPCommCtrlr"),
        variable=Variable(name="NetworkConfigurationPriority"),
        attribute_value=",".join(map(str, slots)),
    )
    return (await set_variables(services, station_id, [data]))[0]


async def upgrade_security(
    services: Services, station_id: str, slot: int, profile: NetworkConnectionProfile, others: Sequence[int] = ()
) -> None:
    """Move a station to a network profile with a better security profile, and restart it (A05).

    `others`: slots that it may fall back to; after the first connection with the new profile it cannot return
    to a lower one (A05.FR.07). Raises RefusedError with the station's status when it rejects a step.
    """
    stored = await set_network_profile(services, station_id, slot, profile)
    _require(stored.status == "Accepted", "SetNetworkProfile", stored.status)
    order = await prioritise(services, station_id, (slot, *others))
    _require(order.attribute_status in ("Accepted", "RebootRequired"), "SetVariables", order.attribute_status)
    restart = await reset(services, station_id, "OnIdle")
    _require(restart.status != "Rejected", "Reset", restart.status)


async def mirror_after_boot(services: Services, station_id: str, *, changed: bool) -> None:
    """After an accepted boot: apply values set for after a reboot; read an unknown or changed station."""
    store = services.store
    known = await store.gather(device_model.rebooted, (station_id, services.clock.utc_ms()))
    if not services.config.ocpp.read_device_model:
        return
    if known and not changed:
        return
    try:
        await read_base(services, station_id)
    except V2GError as error:
        services.report("ocpp", "device_model_unread", station_id, {"reason": str(error)[:200]})


def _require(fine: bool, action: str, status: str) -> None:
    if not fine:
        raise RefusedError(f"the station answered {action} with {status}", reason=status)


def _without_secrets(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_secrets(each) for key, each in value.items() if not _SECRET.search(key)}
    return value


async def items_per_message(
    services: Services, station_id: str, component: str, instance: str | None, default: int
) -> int:
    """Return a component's ItemsPerMessage from the mirror or the station; `default` without such a variable.

    Raises V2GError as `ConnectionRegistry.call` does, but for a CALLERROR.
    """
    mirrored = await services.store.run(device_model.list_variables, station_id, component, _ITEMS_PER_MESSAGE)
    for each in mirrored:
        if each["variable_instance"] == (instance or "") and each["attribute"] == "Actual":
            return _number(each["value"]) or default
    wanted = GetVariableData(
        component=Component(name=component), variable=Variable(name=_ITEMS_PER_MESSAGE, instance=instance)
    )
    try:
        (result,) = await get_variables(services, station_id, [wanted])
    except OcppError:
        return default
    return _number(result.attribute_value) or default


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
