"""Webhooks: events posted to other systems over HTTPS, signed, until delivered."""

import secrets
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission, allowed
from csms.events.api import check_kinds
from csms.http.call import Call
from csms.http.operations import Page, Reply, delete, get, patch, post
from csms.http.parameters import Paged, page_of, read_cursor, shown, write_cursor
from csms.http.problems import conflict, existing
from csms.webhooks import store as rows
from csms.webhooks.rules import check_url, make_secret

Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2000, examples=["https://billing.example/ocpp"])]
Kinds = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], ...],
    msgspec.Meta(max_length=100, examples=[["transaction_started", "transaction_ended"]]),
]
Whose = Annotated[str, msgspec.Meta(min_length=1, max_length=48)]


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Destination of events. `kinds`: only these; empty, all. `station_id`: only of this station."""

    url: Url
    kinds: Kinds = ()
    station_id: Whose | None = None


class ChangedWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes; omitted fields stay. `enabled` true resumes after too many failures."""

    url: Url | msgspec.UnsetType = msgspec.UNSET
    kinds: Kinds | msgspec.UnsetType = msgspec.UNSET
    station_id: Whose | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook, without its secret. `failures`: deliveries abandoned in a row; at 50 it is disabled.

    `shows_tokens`: whether its events contain token numbers, which they do if its creator may read them.
    """

    webhook_id: str
    url: str
    kinds: tuple[str, ...]
    station_id: str | None
    enabled: bool
    failures: int
    created_ms: int
    created_by: str
    shows_tokens: bool


class MadeWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A new webhook. Its `secret` signs the calls (Standard Webhooks); it is shown only here."""

    webhook: Webhook
    secret: str


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The new signing secret; it is shown only here."""

    secret: str


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery. `due_ms` null: delivered (`delivered_ms`), or abandoned after the last `error`."""

    id: int
    kind: str
    body: Any
    created_ms: int
    due_ms: int | None
    attempts: int
    delivered_ms: int | None
    error: str


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries were scheduled again."""

    deliveries: int


class Which(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deliveries to repeat; without `ids`, all abandoned ones."""

    ids: Annotated[tuple[int, ...], msgspec.Meta(max_length=1000)] | None = None


WebhookId = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class ItsDeliveries(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a webhook's deliveries."""

    webhook_id: WebhookId


@get("/webhooks", Permission.MANAGE_WEBHOOKS)
async def list_webhooks(call: Call, parameters: Paged) -> Page[Webhook]:
    """List the webhooks."""
    found = [_shown(each) for each in await call.run(rows.list_all)]
    return page_of(call, found, parameters, lambda each: each.webhook_id)


@get("/webhooks/{webhook_id}", Permission.MANAGE_WEBHOOKS, problems=(404,))
async def read_webhook(call: Call, webhook_id: WebhookId) -> Webhook:
    """Return one webhook."""
    return _shown(existing("webhook", await call.run(rows.find, webhook_id)))


@post(
    "/webhooks",
    Permission.MANAGE_WEBHOOKS,
    status=201,
    confidential=True,
    example={"url": "https://billing.example/ocpp", "kinds": ["transaction_ended"]},
)
async def make_webhook(call: Call, body: NewWebhook) -> Reply[MadeWebhook]:
    """Create a webhook. From now on every matching event is posted to it."""
    check_url(body.url, call.backend.webhooks.reach)
    check_kinds(body.kinds)
    webhook_id, secret = secrets.token_hex(8), make_secret(secrets.token_bytes(32))
    webhook = rows.Webhook(
        webhook_id=webhook_id,
        url=body.url,
        sealed_secret=call.backend.webhooks.seal(webhook_id, secret),
        kinds=body.kinds,
        station_id=body.station_id,
        enabled=True,
        failures=0,
        created_ms=call.now_ms,
        created_by=call.caller.name,
        shows_tokens=allowed(call.principal, Permission.READ_TOKENS),
    )

    def write(connection: Connection, _before: Webhook | None) -> None:
        if len(rows.list_all(connection)) >= rows.MAX_WEBHOOKS:
            raise conflict(f"there are {rows.MAX_WEBHOOKS} webhooks", "delete some", code="too_many")
        rows.add(connection, webhook)

    await call.change(_reader(webhook_id), write)
    await call.backend.webhooks.refresh()
    made = MadeWebhook(webhook=_shown(webhook), secret=secret)
    return Reply(content=made, status=201, headers={"Location": f"/webhooks/{webhook.webhook_id}"})


@patch(
    "/webhooks/{webhook_id}", Permission.MANAGE_WEBHOOKS, problems=(404,), conditional=True, example={"enabled": True}
)
async def change_webhook(call: Call, webhook_id: WebhookId, body: ChangedWebhook) -> Webhook:
    """Change a webhook."""
    if body.url is not msgspec.UNSET:
        check_url(body.url, call.backend.webhooks.reach)
    if body.kinds is not msgspec.UNSET:
        check_kinds(body.kinds)
    wanted = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    if body.enabled is True:
        wanted["failures"] = 0

    def write(connection: Connection, _before: Webhook | None) -> None:
        known = existing("webhook", rows.find(connection, webhook_id))
        rows.replace(connection, msgspec.structs.replace(known, **wanted))

    after = await call.put(_reader(webhook_id), write)
    await call.backend.webhooks.refresh()
    return after


@post("/webhooks/{webhook_id}/secret", Permission.MANAGE_WEBHOOKS, status=201, problems=(404,), confidential=True)
async def renew_webhook_secret(call: Call, webhook_id: WebhookId) -> NewSecret:
    """Replace a webhook's signing secret."""
    secret = make_secret(secrets.token_bytes(32))
    sealed = call.backend.webhooks.seal(webhook_id, secret)
    await call.update(
        "webhook",
        _reader(webhook_id),
        lambda connection, webhook: rows.change_secret(connection, webhook.webhook_id, sealed),
    )
    return NewSecret(secret=secret)


@delete("/webhooks/{webhook_id}", Permission.MANAGE_WEBHOOKS, problems=(404,), conditional=True)
async def delete_webhook(call: Call, webhook_id: WebhookId) -> None:
    """Delete a webhook and its pending deliveries."""
    await call.remove(
        "webhook", _reader(webhook_id), lambda connection, webhook: rows.remove(connection, webhook.webhook_id)
    )
    await call.backend.webhooks.refresh()


@get("/webhooks/{webhook_id}/deliveries", Permission.MANAGE_WEBHOOKS)
async def list_deliveries(call: Call, parameters: ItsDeliveries) -> Page[Delivery]:
    """List past and pending deliveries, newest first."""
    position = read_cursor(parameters.cursor, tuple[int])
    before = position[0] if position else None
    found = await call.run(rows.list_deliveries, parameters.webhook_id, before=before, limit=parameters.limit + 1)
    items = tuple(
        Delivery(**{name: row[name] for name in Delivery.__struct_fields__}) for row in found[: parameters.limit]
    )
    return Page(items, write_cursor(items[-1].id) if len(found) > parameters.limit else None)


@post("/webhooks/{webhook_id}/replay", Permission.MANAGE_WEBHOOKS, problems=(404,), example={"ids": [1, 2]})
async def replay_deliveries(call: Call, webhook_id: WebhookId, body: Which) -> Replayed:
    """Deliver again: some deliveries, or all abandoned ones."""
    existing("webhook", await call.run(rows.find, webhook_id))
    count = await call.run(rows.replay, webhook_id, body.ids, call.now_ms)
    await call.backend.webhooks.refresh()
    return Replayed(deliveries=count)


def _shown(webhook: rows.Webhook) -> Webhook:
    return shown(msgspec.structs.asdict(webhook), Webhook)


def _reader(webhook_id: str) -> Callable[[Connection], Webhook | None]:
    def read(connection: Connection) -> Webhook | None:
        found = rows.find(connection, webhook_id)
        return None if found is None else _shown(found)

    return read
