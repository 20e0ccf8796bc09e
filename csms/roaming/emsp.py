"""The modules of the eMSP side: what partners send of their stations, own drivers' tokens, and checked CDRs."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from sqlalchemy import Connection

from csms.roaming import store as rows
from csms.roaming.driver_commands import SentCommand, find_token, message_of, ocpi_token
from csms.roaming.endpoint import HANDLERS, OcpiAnswer, OcpiRequest, not_found, only
from csms.roaming.exchange import clients, listed, received
from csms.roaming.partners import below
from csms.roaming.received import announce_cdr, take_cdr
from csms.roaming.rules import key_of, party_of
from csms.roaming.store import Kept
from csms.tokens.rules import Where, answer_known
from v2g import typed_json
from v2g.errors import OcpiError
from v2g.ocpi import wire
from v2g.ocpi.objects import CommandResult, LocationReferences, OcpiCdr, OcpiToken

_ALLOWED: Final = {
    "Accepted": "ALLOWED", "Blocked": "BLOCKED", "Expired": "EXPIRED", "NoCredit": "NO_CREDIT",
}  # fmt: skip
_ANY_PLACE: Final = "roaming"


def _receiver(module: str, *methods: str) -> Callable[[OcpiRequest], Awaitable[OcpiAnswer]]:
    async def answer(asked: OcpiRequest) -> OcpiAnswer:
        return await received(asked, module, *methods)

    return answer


# -- tokens


async def _tokens(asked: OcpiRequest) -> OcpiAnswer:
    if not asked.path:
        only(asked.method, "GET")
        return await listed(asked, "tokens")
    if len(asked.path) != 2 or asked.path[1] != "authorize":
        raise not_found()
    only(asked.method, "POST")
    uid, kind = asked.path[0], (asked.query.get("type") or "RFID").upper()
    sent = asked.sent() if asked.body.strip() else None
    where = wire.read(sent, LocationReferences) if sent else None  # some write {} or null for no place
    known = await asked.services.store.read(find_token, uid, kind, asked.now_ms)
    token = None if known is None else ocpi_token(asked.partners.config, known.token, asked.now_ms)
    if known is None or token is None:
        raise OcpiError("unknown token", code=2004, http=404)
    kept = await asked.services.store.read(rows.find_object, "", "tokens", key_of(token.uid, token.type))
    listed_as = token if kept is None else typed_json.decode(kept.document, OcpiToken)
    if msgspec.structs.replace(token, last_updated=listed_as.last_updated) == listed_as:
        token = listed_as
    if known.token.terms.places and where is None:
        raise OcpiError("this token is not valid everywhere: where is it?", code=2002)
    verdict = answer_known(known, Where(_ANY_PLACE, None, asked.now_ms))
    allowed = _ALLOWED.get(verdict.status, "NOT_ALLOWED")
    said: dict[str, object] = {"allowed": allowed, "token": wire.plain(token)}
    if where is not None:
        said["location"] = wire.plain(where)
    if allowed == "ALLOWED":
        reference = secrets.token_hex(16)
        said["authorization_reference"] = reference
        kept = Kept(
            owner=asked.partner.partner_id, module="authorizations", object_id=reference, updated_ms=asked.now_ms,
            document="{}", about=token.uid.upper(),
        )  # fmt: skip
        await asked.services.store.run(rows.put_object, kept)
    return OcpiAnswer(data=said)


# -- CDRs


async def _cdrs(asked: OcpiRequest) -> OcpiAnswer:
    owner = asked.partner.partner_id
    if len(asked.path) > 1:
        raise not_found()
    only(asked.method, "GET" if asked.path else "POST")
    if asked.path:
        kept = await asked.services.store.read(rows.find_object, owner, "cdrs", asked.path[0])
        if kept is None or (asked.behind and not kept.object_id.startswith(f"{asked.behind}*")):
            raise not_found("CDR")
        return OcpiAnswer(data=typed_json.decode_exact(kept.document.encode()))
    sent = asked.sent()
    if isinstance(sent, list) and len(sent) == 1:  # a CDR alone is stored, and shown, as an object
        sent = sent[0]
    cdr = wire.read(sent, OcpiCdr)
    if not asked.speaks_for(cdr.country_code, cdr.party_id):
        raise OcpiError("the CDR is not of one of your parties", code=2001)
    document = wire.encode(sent).decode()
    new = await asked.services.store.run(take_cdr, asked.partner, cdr, document, asked.now_ms)
    headers = {"Location": below(asked.url, key_of(cdr.country_code, cdr.party_id, cdr.id))}
    for each in new:
        announce_cdr(asked.services, each)
    return OcpiAnswer(status=201 if new else 200, headers=headers)


# -- commands for our drivers


async def _commands(asked: OcpiRequest) -> OcpiAnswer:
    """Take the result of one of our commands."""
    if len(asked.path) != 2:
        raise not_found()
    only(asked.method, "POST")
    said = wire.read(asked.sent(), CommandResult)
    owner, number, state = asked.partner.partner_id, asked.path[1], said.result[:20]

    def write(connection: Connection) -> bool:
        kept = rows.find_object(connection, owner, "orders", number)
        if kept is None or asked.behind not in ("", party_of(*typed_json.decode(kept.document, SentCommand).party)):
            raise not_found("command")
        if kept.alias:  # it has its result
            return False
        kept = msgspec.structs.replace(kept, state=state, detail=message_of(said.message), alias="result")
        rows.put_object(connection, kept)
        return True

    if await asked.services.store.run(write):
        asked.services.announce("roaming", "roaming_result", partner=owner, command=number, state=state)
    return OcpiAnswer()


HANDLERS.update({
    ("emsp", "hubclientinfo"): clients,
    ("emsp", "locations"): _receiver("locations", "GET", "PUT", "PATCH"),
    ("emsp", "tariffs"): _receiver("tariffs", "GET", "PUT", "DELETE"),
    ("emsp", "sessions"): _receiver("sessions", "GET", "PUT", "PATCH"),
    ("emsp", "cdrs"): _cdrs,
    ("emsp", "commands"): _commands,
    ("emsp", "tokens"): _tokens,
})  # fmt: skip
