"""Functional block B: variables, reports, network profiles, resets."""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection

from csms.admission.work import StationAdmissions
from csms.device_model import store as device_model
from csms.device_model.rules import batches, check_distinct, noticed, reported
from csms.handlers import answers, check_places, small
from csms.requests import store as requests
from csms.requests.work import Asked, ask, call
from csms.services import HandlerContext, Services
from v2g.errors import OcppError, RefusedError, V2GError
from v2g.ocpp.messages import provisioning as ocpp
from v2g.ocpp.messages.base import Component, Variable
from v2g.ocpp.messages.diagnostics import NotifyEventRequest
from v2g.ocpp.messages.provisioning import NetworkConnectionProfile, SetNetworkProfileRequest, SetNetworkProfileResponse

_ITEMS_PER_MESSAGE: Final = "ItemsPerMessage"
_FOLLOWS: Final = ("Accepted",)


async def get_variables(
    services: Services, station_id: str, data: Sequence[ocpp.GetVariableData]
) -> list[ocpp.GetVariableResult]:
    """Read variables, in as many requests as needed (B06.FR.05); the results are stored in the mirror.

    Raises V2GError as `ConnectionRegistry.call` does; earlier results stay in the mirror.
    """
    limit = await services.store.run(device_model.limit_of, station_id, "GetVariables")
    results: list[ocpp.GetVariableResult] = []
    for portion in batches(data, limit):
        request = ocpp.GetVariablesRequest(get_variable_data=portion)
        answer = await call(services, station_id, request, ocpp.GetVariablesResponse)
        results += answer.get_variable_result
    return results


async def set_variables(
    services: Services, station_id: str, data: Sequence[ocpp.SetVariableData]
) -> list[ocpp.SetVariableResult]:
    """Write variables, in as many requests as needed (B05.FR.11); accepted values are stored in the mirror.

    Raises RefusedError as `check_variables`, and V2GError as `ConnectionRegistry.call` does.
    """
    await check_variables(services, station_id, data)
    limit = await services.store.run(device_model.limit_of, station_id, "SetVariables")
    results: list[ocpp.SetVariableResult] = []
    for portion in batches(data, limit):
        request = ocpp.SetVariablesRequest(set_variable_data=portion)
        results += (await send_variables(services, station_id, request)).set_variable_result
    return results


async def check_variables(services: Services, station_id: str, data: Sequence[ocpp.SetVariableData]) -> None:
    """Refuse values with which the station could not connect any more, or that the standard forbids to send.

    Raises RefusedError: `duplicate` for one that is named twice (B05.FR.13), `in_use` for a network configuration in
    use (B09.FR.10), and as `check_access`.
    """
    check_distinct(data)
    in_use = await services.store.read(device_model.slots_in_use, station_id)
    for each in data:
        place, name = each.component.name.casefold(), each.variable.name.casefold()
        if place == "networkconfiguration" and each.component.instance in in_use:
            raise RefusedError(
                "the station uses that network configuration",
                reason="in_use",
                hint="take another slot, then prioritise it",
            )
        if place in ("securityctrlr", "networkconfiguration"):
            profile = int(each.attribute_value) if each.attribute_value.isdecimal() else None
            await check_access(
                services, station_id,
                each.attribute_value if name == "identity" else None,
                profile if name == "securityprofile" else None,
            )  # fmt: skip


async def check_access(services: Services, station_id: str, identity: str | None, security_profile: int | None) -> None:
    """Refuse what would keep a station from connecting again.

    Raises RefusedError: `identity` for one that is not admitted, `security_profile` for one below the least that the
    station may use (A05.FR.07).
    """
    admissions = services[StationAdmissions]
    if identity not in (None, station_id) and await admissions.admission(identity) is None:
        raise RefusedError(
            f"{identity[:48]} is not admitted: the station could not connect by that name",
            reason="identity",
            hint=f"admit it first: v2g csms admit {identity[:48]}",
        )
    least = await admissions.least_profile(station_id)
    if security_profile is not None and security_profile < least:
        raise RefusedError(
            f"the station has used security profile {least}, and may not go back to {security_profile}",
            reason="security_profile",
            hint=f"allow it first: v2g csms request PUT /admissions/{station_id}/least-profile",
        )


async def send_variables(
    services: Services, station_id: str, request: ocpp.SetVariablesRequest, timeout_s: float | None = None
) -> ocpp.SetVariablesResponse:
    """Send checked variables in one request; a new password of the station is adopted when it accepts it (A01)."""

    async def send() -> ocpp.SetVariablesResponse:
        return await call(services, station_id, request, ocpp.SetVariablesResponse, timeout_s=timeout_s)

    passwords = {
        each.component.name.casefold(): each.attribute_value
        for each in request.set_variable_data
        if each.variable.name.casefold() == "basicauthpassword"
    }
    for component in ("securityctrlr", "networkconfiguration"):
        if component in passwords:
            at_once = component == "securityctrlr"
            return await services[StationAdmissions].change_password(
                station_id, passwords[component], send, at_once=at_once
            )
    return await send()


async def read_base(
    services: Services, station_id: str, base: ocpp.ReportBase = "FullInventory"
) -> Asked[ocpp.GetBaseReportResponse]:
    """Request a report of the whole device model (B07); its parts arrive as NotifyReport, and update the mirror."""

    def make(number: int) -> ocpp.GetBaseReportRequest:
        return ocpp.GetBaseReportRequest(request_id=number, report_base=base)

    return await ask(services, station_id, make, ocpp.GetBaseReportResponse, _FOLLOWS)


async def reset(
    services: Services, station_id: str, kind: ocpp.ResetType = "OnIdle", evse_id: int | None = None
) -> ocpp.ResetResponse:
    """Have a station, or one EVSE of it, restart (B11, B12). Raises V2GError as `ConnectionRegistry.call` does."""
    return await call(services, station_id, ocpp.ResetRequest(type=kind, evse_id=evse_id), ocpp.ResetResponse)


async def set_network_profile(
    services: Services, station_id: str, slot: int, profile: NetworkConnectionProfile
) -> SetNetworkProfileResponse:
    """Set a network profile at a station (B09). Raises as `check_access` and `ConnectionRegistry.call`."""
    request = SetNetworkProfileRequest(configuration_slot=slot, connection_data=profile)
    return await send_network_profile(services, station_id, request)


async def send_network_profile(
    services: Services, station_id: str, request: SetNetworkProfileRequest, timeout_s: float | None = None
) -> SetNetworkProfileResponse:
    """Send a network profile; a password in it is accepted from when the station connects with it.

    Raises as `check_access` and `ConnectionRegistry.call`.
    """
    profile = request.connection_data
    await check_access(services, station_id, profile.identity, profile.security_profile)

    async def send() -> SetNetworkProfileResponse:
        return await call(services, station_id, request, SetNetworkProfileResponse, timeout_s=timeout_s)

    if profile.basic_auth_password is None:
        return await send()
    identity = profile.identity or station_id
    return await services[StationAdmissions].change_password(identity, profile.basic_auth_password, send, at_once=False)


async def prioritise(services: Services, station_id: str, slots: Sequence[int]) -> ocpp.SetVariableResult:
    """Set the order of a station's network profiles (B09, B10); it applies when it next connects or boots."""
    data = ocpp.SetVariableData(
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
    wanted = ocpp.GetVariableData(
        component=Component(name=component), variable=Variable(name=_ITEMS_PER_MESSAGE, instance=instance)
    )
    try:
        (result,) = await get_variables(services, station_id, [wanted])
    except OcppError:
        return default
    return _number(result.attribute_value) or default


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


@answers
async def answer_report(context: HandlerContext, request: ocpp.NotifyReportRequest) -> ocpp.NotifyReportResponse:
    """Store a part of a report in the mirror, and with its request (B07.FR.10, B08)."""
    number, now_ms = small(request.request_id), context.services.clock.utc_ms()
    check_places(entry.component for entry in request.report_data)
    document = msgspec.json.encode(request).decode()
    rows = list(reported(request.report_data, now_ms))

    def save(connection: Connection) -> tuple[bool, bool]:
        device_model.save(connection, context.station_id, rows)
        known = any(
            requests.save_part(
                connection, context.station_id, action, number, small(request.seq_no), document, now_ms,
                last=not request.tbc,
            )
            for action in ("GetBaseReport", "GetReport")
        )  # fmt: skip
        return known, request.tbc or not known or requests.count_parts(connection, number) > request.seq_no

    known, complete = await context.services.store.run(save)
    context.observe(
        "ocpp",
        "device_report",
        request_id=number,
        seq_no=request.seq_no,
        variables=len(rows),
        last=not request.tbc,
        known=known,
        complete=complete,
    )
    return ocpp.NotifyReportResponse()


async def follow_events(context: HandlerContext, request: NotifyEventRequest) -> None:
    """After events were stored: update the mirror with their values (N07)."""
    rows = list(noticed(request.event_data, context.services.clock.utc_ms()))
    await context.services.store.run(device_model.notice, context.station_id, rows)
