"""The reference of the HTTP interface, from the declarations of its routes."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

import msgspec

from csms.commands import api as commands
from csms.http.openapi import described, document, problems_of, smallest
from csms.http.operations import Operation
from csms.http.routes import OPERATIONS
from docs.markdown import table as markdown
from v2g_cli.csms.commands import ApiOperation
from v2g_cli.csms.openapi import operations_of, with_example

RECORDS: Final = {
    "AdjustPeriodicEventStream": "rate of an event stream",
    "CancelReservation": "reservations",
    "CertificateSigned": "certificates of stations",
    "ChangeConfiguration": "as SetVariables",
    "ChangeAvailability": "orders in and out of service",
    "ChangeTransactionTariff": "tariff of a transaction; refused unless a tariff here has these prices",
    "ClearChargingProfile": "charging profiles",
    "ClearDERControl": "DER controls",
    "ClearDisplayMessage": "messages on displays",
    "ClearTariffs": "tariffs set for the station",
    "ClearVariableMonitoring": "monitors",
    "CustomerInformation": "requests; a cleared customer leaves the local list",
    "DataTransfer": "refused with the back end's own vendorId",
    "GetBaseReport": "requests, device model",
    "GetChargingProfiles": "requests, charging profiles",
    "GetDERControl": "requests, DER controls",
    "GetDisplayMessages": "requests, messages on displays",
    "GetLog": "requests",
    "GetMonitoringReport": "requests, monitors",
    "GetReport": "requests, device model",
    "GetVariables": "device model",
    "NotifyWebPaymentStarted": "web payments",
    "PublishFirmware": "requests",
    "RequestBatterySwap": "requests",
    "RequestStartTransaction": "remote starts, charging profiles, by the rules of K01 and F01",
    "ReserveNow": "reservations",
    "SendLocalList": "local list; a change of an unknown list is refused",
    "SetChargingProfile": "charging profiles, by the rules of K01",
    "SetDERControl": "DER controls",
    "SetDefaultTariff": "tariffs set for the station; refused unless a tariff here has these prices",
    "SetDisplayMessage": "messages on displays",
    "SetMonitoringBase": "monitors",
    "SetNetworkProfile": "network profiles, passwords; refused for an identity or security profile that cannot connect",
    "SetVariableMonitoring": "monitors",
    "SetVariables": "device model, passwords; refused for an identity or security profile that cannot connect, for a"
    " network profile in use, and for the secrets of QR codes",
    "UpdateDynamicSchedule": "values of dynamic profiles",
    "UpdateFirmware": "requests",
}  # fmt: skip
"""What the back end records of stations, by the action that changes it."""


def routes() -> str:
    """Return every route by resource: what it does, what it needs; commands to stations are one line."""
    return "\n".join(_resource(tag, list(found)) for tag, found in groupby(_documented(), key=lambda each: each.tag))


def _documented() -> Iterator[Operation]:
    actions = {each.name for each in commands.OPERATIONS}
    yield from (each for each in OPERATIONS if each.name not in actions)


def _resource(tag: str, found: list[Operation]) -> str:
    module = __import__(found[0].handler.__module__, fromlist=["_"])
    about = (module.__doc__ or "").partition("\n")[0]
    rows = (
        (f"`{each.method} {each.path}`", described(each)[0], f"`{each.permission.value}`", _errors(each))
        for each in found
    )
    return f"### {tag.replace('_', ' ')}\n\n{about}\n\n{markdown(('Request', 'What', 'Needs', 'Errors'), rows)}"


def _errors(each: Operation) -> str:
    usual = {400, 401, 403, 409, 413, 429, 500, 503}
    return ", ".join(str(status) for status in sorted(problems_of(each) - usual))


def records() -> str:
    """Return what the back end records when a station accepts a request, by the action."""
    return markdown(("Action", "What the back end records of the station"), RECORDS.items())


def actions() -> str:
    """Return the actions that can be sent to stations, by the permission that it takes."""
    by_permission: dict[str, list[str]] = {}
    for each in commands.OPERATIONS:
        by_permission.setdefault(each.permission.value, []).append(each.path.rpartition("/")[2])
    return markdown(("Needs", "Actions"), ((f"`{name}`", ", ".join(found)) for name, found in by_permission.items()))


def operations() -> str:
    """Return what `v2g csms` knows of the routes, an operation a line; commands to stations are `v2g csms send`."""
    whole = document(_documented())
    found = (_with_examples(each, whole) for each in operations_of(whole))
    return "".join(msgspec.json.encode(each).decode() + "\n" for each in sorted(found, key=lambda each: each.name))


def _with_examples(each: ApiOperation, whole: Mapping[str, Any]) -> ApiOperation:
    """Return an operation with an example of all that it must be given."""
    said, components = whole["paths"][each.path][each.method.lower()], whole["components"]["schemas"]
    shapes = {("body", name): one for name, one in _members(said, components).items()}
    shapes |= {(one["in"], one["name"]): one["schema"] for one in said["parameters"]}
    fields = (
        with_example(field, smallest(shapes[field.place, field.name], components, field.name))
        if not field.example and (field.place == "path" or field.required)
        else field
        for field in each.fields
    )
    return msgspec.structs.replace(each, fields=tuple(fields))


def _members(said: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    schema = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    while "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    found: dict[str, Any] = schema.get("properties", {})
    return found
