"""Own drivers at partners' stations: their tokens as OCPI's, offered and pushed as they change."""

import hashlib
from typing import Final

import msgspec
from sqlalchemy import Connection

from csms.config import RoamingConfig
from csms.roaming import store as rows
from csms.roaming.rules import key_of
from csms.roaming.store import Kept
from csms.tokens import store as tokens
from csms.tokens.rules import CONTRACT, Token
from v2g import typed_json
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiToken

TYPES: Final = {CONTRACT: "EMAID", "ISO14443": "RFID", "ISO15693": "RFID", "Central": "APP_USER", "KeyCode": "APP_USER"}
"""By OCPP's type; others stay here."""


def ocpi_token(config: RoamingConfig, token: Token, now_ms: int) -> OcpiToken | None:
    """Return a token as partners see it. One with allowances or places has to be asked about each time."""
    kind = TYPES.get(token.type)
    if kind is None or len(token.id_token) > 36:
        return None
    contract = token.id_token
    if kind != "EMAID":
        number = hashlib.sha256(f"{token.type} {token.id_token}".encode()).hexdigest()[:8].upper()
        contract = f"{config.country_code}{config.party_id}C{number}"
    bound = token.terms.allowances or token.terms.places or token.terms.group_id or token.terms.expires_ms
    return OcpiToken(
        country_code=config.country_code, party_id=config.party_id, uid=token.id_token, type=kind,
        contract_id=contract, issuer=config.name[:64], valid=token.status == "Accepted",
        whitelist="NEVER" if bound else "ALLOWED_OFFLINE", last_updated=wire.moment(now_ms),
    )  # fmt: skip


def publish_tokens(connection: Connection, config: RoamingConfig, now_ms: int) -> None:
    """Publish tokens that differ from what is published; one that is gone is not valid any more."""
    known = {each.object_id: each for each in rows.objects_in(connection, "", "tokens")}
    partners = rows.receivers(connection, "tokens")
    found = {}
    for each in tokens.list_all(connection):
        token = ocpi_token(config, each, now_ms)
        if token is not None:
            found[key_of(token.uid, token.type)] = token
    for key, kept in known.items():
        if key not in found:
            old = typed_json.decode(kept.document, OcpiToken)
            found[key] = msgspec.structs.replace(old, valid=False, last_updated=wire.moment(now_ms))
    for key, token in found.items():
        before = typed_json.decode(known[key].document, OcpiToken) if key in known else None
        if before is not None and msgspec.structs.replace(token, last_updated=before.last_updated) == before:
            continue
        document = wire.encode(token).decode()
        rows.put_object(
            connection, Kept(owner="", module="tokens", object_id=key, updated_ms=now_ms, document=document)
        )
        rows.enqueue(connection, partners, "tokens", key, now_ms)
