"""Functional block C from the operator's side: tokens, groups, blocks, stations' caches."""

from csms.ocpp.base import Services
from csms.requests.work import call
from csms.tokens import store as tokens
from csms.tokens.rules import Group, Token, normalise
from v2g.errors import V2GError
from v2g.ocpp.messages.authorization import ClearCacheRequest, ClearCacheResponse, ClearCacheStatus


async def put(services: Services, token: Token) -> Token:
    """Store a token; return it normalised."""
    stored = Token(token.type, normalise(token.type, token.id_token), token.status, token.energy_transfer, token.terms)
    await services.store.run(tokens.put, stored)
    _report(services, "token_put", type=stored.type, status=stored.status)
    return stored


async def set_status(services: Services, token_type: str, id_token: str, status: str) -> bool:
    """Block (`Blocked`) or unblock (`Accepted`) a token; False when there is none.

    Stations may use cached answers until these expire: `clear_caches` clears them.
    """
    found = await services.store.run(tokens.set_status, token_type, normalise(token_type, id_token), status)
    if found:
        _report(services, "token_status", type=token_type, status=status)
    return found


async def remove(services: Services, token_type: str, id_token: str) -> bool:
    """Delete a token; False when there was none."""
    found = await services.store.run(tokens.remove, token_type, normalise(token_type, id_token))
    if found:
        _report(services, "token_removed", type=token_type)
    return found


async def put_group(services: Services, group: Group) -> None:
    """Store a group; blocking it blocks its members."""
    await services.store.run(tokens.put_group, group)
    _report(services, "token_group_put", group=group.group_id, blocked=group.blocked)


async def clear_cache(services: Services, station_id: str) -> ClearCacheStatus:
    """Have a station clear its authorization cache (C11). Raises V2GError as `ConnectionRegistry.call` does."""
    return (await call(services, station_id, ClearCacheRequest(), ClearCacheResponse)).status


async def clear_caches(services: Services) -> dict[str, str]:
    """Have every connected station clear its cache; return each answer, or why it could not be asked."""
    found: dict[str, str] = {}
    for station_id in sorted(services.connections.connected()):
        try:
            found[station_id] = await clear_cache(services, station_id)
        except V2GError as error:
            found[station_id] = str(error)
    return found


def _report(services: Services, name: str, **data: str | bool) -> None:
    services.feed.publish(name, None, data)
