"""What a caller whose role is limited to sites may ask, and what of an answer they see: for API and console alike.

It follows from what a route declares. A route that names a station or a site is checked before its handler runs, and
what is of other stations, or does not say whose it is, is left out of lists (`Call.own`, before pages are cut) and
refused otherwise, with all that is not declared `for_sites`.
"""

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from msgspec import structs

from csms.accounts.rules import Permission, Principal, Sites, allowed
from csms.http.call import Call
from csms.http.operations import Operation, Page, Reply
from csms.http.problems import ApiError
from csms.sites.rules import Site
from v2g import typed_json
from v2g.typed_json import Fields

Rule = Literal["for_sites", "station", "optional_station", "site", "items", "refused"]

_STATION: Final = ("station_id", "station")


def may_ask(principal: Principal | None, operation: Operation) -> bool:
    """Return whether a caller may ask an operation about something."""
    limited = principal is not None and principal.sites is not None
    return allowed(principal, operation.permission) and not (limited and rule_of(operation) == "refused")


def refusal(principal: Principal | None, operation: Operation, detail: str) -> ApiError:
    """Return why a caller may not ask an operation."""
    if not allowed(principal, operation.permission):
        hint = f"permission {operation.permission.value} required; ask the administrator"
        return ApiError(403, detail, hint, code="permission")
    return ApiError(403, "this is of all sites, and your role is limited to some", "ask the administrator", code="site")


async def carry_out(operation: Operation, call: Call, parameters: object, decode_body: Callable[[], object]) -> Any:
    """Return what the handler answers, without what is of other sites. Raises ApiError 403, and what it raises.

    `decode_body` is called only when the caller may ask about what `parameters` name.
    """
    sites, rule = None if call.principal is None else call.principal.sites, rule_of(operation)
    if sites is not None:
        _check(rule, sites, parameters)
    arguments = {} if operation.parameters is None else {"parameters": parameters}
    if operation.body is not None:
        arguments["body"] = decode_body()
    found = await operation.handler(call, **arguments)
    return found if sites is None or rule == "for_sites" else _seen(sites, rule, found)


def is_seen(sites: Sites, item: object, rule: Rule = "items") -> bool:
    """Return whether an item of an answer is of these sites; one of no station is where the route names a station."""
    found = sites.have(item)
    return rule != "items" if found is None else found


def rule_of(operation: Operation) -> Rule:
    """Return how an operation is limited to sites."""
    declared = operation.parameters
    names = {} if declared is None else {each.name: each.required for each in msgspec.structs.fields(declared)}
    required = [names[each] for each in _STATION if each in names]
    if operation.for_sites or operation.permission in (Permission.PUBLIC, Permission.READ_SELF):
        return "for_sites"
    if any(required):
        return "station"
    if "site_id" in names and operation.body is None and operation.method != "DELETE":
        return "site"
    if required:
        return "items" if operation.method == "GET" and _has_station(operation.answer) else "optional_station"
    return "items" if operation.method == "GET" and _has_station(operation.answer) else "refused"


def _has_station(answer: object) -> bool:
    """Return whether an answer, or each of its items, says of which station it is."""
    inner = getattr(answer, "__args__", ())
    kind = inner[0] if inner else answer
    return kind is Site or "station_id" in getattr(kind, "__struct_fields__", ())


def _check(rule: Rule, sites: Sites, parameters: Any) -> None:
    if rule == "refused":
        raise _other("operation")
    if rule == "site" and parameters.site_id not in sites.names:
        raise _other("site")
    named = [found for name in _STATION if (found := getattr(parameters, name, None))]
    if rule == "optional_station" and not named:
        raise ApiError(403, "your role is limited to sites", "name the station: add ?station=", code="site")
    if not sites.stations.issuperset(named):
        raise _other("station")


def _other(what: str) -> ApiError:
    return ApiError(403, f"your role does not extend to this {what}", "ask the administrator", code="site")


def _seen(sites: Sites, rule: Rule, found: object) -> Any:
    if isinstance(found, Reply):
        return structs.replace(found, content=_seen(sites, rule, found.content))
    if isinstance(found, Page):
        return Page(_seen(sites, rule, found.items), found.next)
    if isinstance(found, list | tuple):
        return tuple(each for each in found if is_seen(sites, each, rule))
    if not is_seen(sites, _read(found) if isinstance(found, bytes) else found, rule):
        raise _other("station")
    return found


def _read(answer: bytes) -> object:
    """Return what says whose an answer is that its handler has written itself; the answer where nothing does."""
    try:
        return typed_json.decode(answer, Fields)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return answer
