"""Drivers of partners at own stations: whitelist rules, and the partner's answer in real time."""

import asyncio
import contextlib
from collections.abc import Sequence, Set
from typing import Final

import msgspec
from sqlalchemy import Connection

from csms.roaming import store as rows
from csms.roaming.partners import Partners, below
from csms.roaming.publication import Grant, OfferedEvse, grant_of, place_of, put_grant
from csms.roaming.rules import key_of, party_of
from csms.roaming.store import Kept, KnownPartner
from csms.smart_charging.rules import BIDIRECTIONAL
from csms.tokens.rules import CONTRACT, Known, Terms, Token, normalise
from csms.transactions import store as transactions
from v2g import typed_json
from v2g.errors import OcpiError, StoreError, TransferError
from v2g.observe import Observe, Scalar
from v2g.ocpi import wire
from v2g.ocpi.objects import AuthorizationInfo, CdrToken, OcpiToken
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import ENERGY_TRANSFER, EnergyTransferMode

_REMEMBERED_MS: Final = 300_000
"""A driver that was authorized is not asked about again for so long: Authorize comes before TransactionEvent."""

_UNKNOWN_TOKEN: Final = 2004
_STATUS: Final = {"ALLOWED": "Accepted", "BLOCKED": "Blocked", "EXPIRED": "Expired", "NO_CREDIT": "NoCredit"}
_UNCACHED: Final = Terms(cache_s=0)
"""Stations may not remember what the partner may take back."""
_CHARGE_ONLY: Final = tuple(each for each in ENERGY_TRANSFER if each not in BIDIRECTIONAL)


def ocpi_types(token_type: str) -> tuple[str, ...]:
    """Return OCPI's types of a token of OCPP, the likeliest first."""
    if token_type in ("ISO14443", "ISO15693"):
        return ("RFID",)
    return ("EMAID", "OTHER", "RFID") if token_type == CONTRACT else ("APP_USER", "AD_HOC_USER", "OTHER")


def ocpp_token(token: OcpiToken) -> IdToken:
    """Return a token as stations know it."""
    if token.type == "RFID":
        return IdToken(id_token=token.uid, type="ISO15693" if len(token.uid) == 16 else "ISO14443")
    is_contract = token.type == "EMAID" or (token.type == "OTHER" and token.uid == token.contract_id)
    return IdToken(id_token=token.uid, type=CONTRACT if is_contract else "Central")


def cdr_token(token: OcpiToken) -> CdrToken:
    """Return the part of a token that sessions and CDRs have."""
    return CdrToken(
        country_code=token.country_code, party_id=token.party_id, uid=token.uid, type=token.type,
        contract_id=token.contract_id,
    )  # fmt: skip


def kept_token(token: OcpiToken, owner: str, document: str, updated_ms: int) -> Kept:
    """Return a token as it is stored: found by its number, and by its contract."""
    return Kept(
        owner=owner, module="tokens", object_id=key_of(token.country_code, token.party_id, token.uid, token.type),
        updated_ms=updated_ms, document=document, about=token.uid.upper(),
        alias=normalise(CONTRACT, token.contract_id)[:64],
    )  # fmt: skip


async def look_up(partners: Partners, token: IdToken, station_id: str, transaction_id: str | None) -> Known | None:
    """Return a partner's token with what decides about it; None if no partner knows it. Where no location offers the
    EVSE, partners could not be billed: it may not charge there."""
    store, now_ms = partners.store, partners.clock.utc_ms()
    if "CPO" not in partners.config.roles or token.type in ("NoAuthorization", "DirectPayment"):
        return None
    name = normalise(token.type, token.id_token)
    granted = await store.read(grant_of, token.type, name)
    offered = await store.read(_is_offered, station_id, transaction_id)
    if granted is not None:
        session = () if transaction_id is None else await store.read(
            rows.objects_about, "", "sessions", f"{station_id}/{transaction_id}"
        )  # fmt: skip
        # each Authorize is asked again: a partner authorizes one session, and may have changed its mind
        fresh = granted[1].status == "Accepted" and now_ms - granted[0].updated_ms < _REMEMBERED_MS
        if session or (offered and fresh and (transaction_id is not None or granted[1].auth_method == "COMMAND")):
            return _known(token, granted[1])
    kept = await store.read(rows.tokens_like, name, name if token.type == CONTRACT else "")
    if not offered:
        return Known(token=Token(token.type, token.id_token, "NotAtThisLocation", terms=_UNCACHED)) if kept else None
    found = await _decide(partners, token, name, station_id, kept)
    if found is None:
        return None
    partner_id, grant = found
    grant = await store.run(put_grant, partner_id, token.type, name, grant, now_ms)
    if transaction_id is not None and grant.status == "Accepted":  # it has begun before its driver was known
        data: dict[str, Scalar] = {"transaction": transaction_id, "partner": partner_id}
        partners.observe(Observe("roaming", "roaming_driver", {"station": station_id, **data}))
        partners.feed.publish("roaming_driver", station_id, data)
    return _known(token, grant)


def transfer_of(grant: Grant) -> tuple[EnergyTransferMode, ...]:
    """Return the ways of energy transfer that a driver has consented to."""
    return ENERGY_TRANSFER if grant.discharge else _CHARGE_ONLY


def _known(token: IdToken, grant: Grant) -> Known:
    return Known(token=Token(token.type, token.id_token, grant.status, transfer_of(grant), _UNCACHED))


def _is_offered(connection: Connection, station_id: str, transaction_id: str | None) -> bool:
    """Return whether a location has the EVSE of a transaction, or one of a station where that is not known yet."""
    found = None if transaction_id is None else transactions.get(connection, station_id, transaction_id)
    evse_id = None if found is None else found.evse_id
    evses = rows.objects_about(connection, "", "evses", station_id)
    return any(evse_id is None or each.state == str(evse_id) for each in evses)


async def _decide(
    partners: Partners, token: IdToken, name: str, station_id: str, kept: Sequence[Kept]
) -> tuple[str, Grant] | None:
    """Return whose driver a token is, and the partner's decision: of several partners that know its number, the one
    that lets it charge, and has changed it last: a station has no more than the number."""
    types = ocpi_types(token.type)
    registered = {
        each.partner.partner_id: each
        for each in await partners.store.read(rows.list_partners)
        if each.partner.state == "registered"
    }
    refused: tuple[str, Grant] | None = None
    read = [(each, wire.read_kept(each.document, OcpiToken)) for each in kept if each.owner in registered]
    read = [(each, found) for each, found in read if found.type in types]
    parties = {party_of(found.country_code, found.party_id) for _, found in read}
    for each, found in read:
        grant = Grant(token=cdr_token(found), auth_method="WHITELIST", status="Accepted" if found.valid else "Invalid")
        if found.whitelist == "ALWAYS":
            if found.valid:
                _note_others(partners, station_id, party_of(found.country_code, found.party_id), parties)
                return each.owner, grant
            refused = refused or (each.owner, grant)
            continue
        party = found.country_code, found.party_id
        unknown = msgspec.structs.replace(grant, status="Unknown")
        offline = grant if found.whitelist in ("ALLOWED", "ALLOWED_OFFLINE") else unknown
        said = await _ask(partners, registered[each.owner], found.uid, found.type, station_id, party, offline=offline)
        decided = each.owner, said or unknown
        if decided[1].status == "Accepted":
            _note_others(partners, station_id, party_of(*party), parties)
            return decided
        refused = refused or decided
    if refused is not None:
        return refused
    able = [each for each in registered.values() if each.partner.endpoint("tokens", "SENDER")]
    if token.type == CONTRACT:
        provider = f"{name[:2]}*{name[2:5]}".lower()
        able = [each for each in able if provider in each.partner.parties or each.partner.hub is not None]
    answers = await asyncio.gather(*(_ask(partners, each, name, types[0], station_id) for each in able))
    pairs = [(each.partner.partner_id, said) for each, said in zip(able, answers, strict=True) if said is not None]
    return min(pairs, key=lambda pair: pair[1].status != "Accepted", default=None)


def _note_others(partners: Partners, station_id: str, party: str, parties: Set[str]) -> None:
    """Report which party pays for a driver whose number others have, too."""
    if others := ", ".join(sorted(parties - {party})):
        partners.observe(
            Observe("roaming", "token_of_several", {"station": station_id, "party": party, "others": others})
        )


async def _ask(
    partners: Partners, known: KnownPartner, uid: str, kind: str, station_id: str, party: tuple[str, str] | None = None,
    *, offline: Grant | None = None,
) -> Grant | None:  # fmt: skip
    """Ask a partner, or a party behind it, in real time; None: it does not know the token. `offline`: if it does not
    answer."""
    url = known.partner.endpoint("tokens", "SENDER")
    if url is None:
        return offline
    evses = await partners.store.read(rows.objects_about, "", "evses", station_id)
    body = await partners.store.read(_references, evses) if evses else None
    known_kind = "OTHER" if kind == "EMAID" and known.partner.version == "2.2.1" else kind
    where = below(url, uid, "authorize", type=known_kind)
    try:
        wait_s = partners.config.authorize_timeout_s
        answer = await partners.call(known, "POST", where, body, timeout_s=wait_s, to=party)
        said = wire.read(answer.data, AuthorizationInfo)
    except (OcpiError, TransferError, StoreError) as error:
        data: dict[str, Scalar] = {"partner": known.partner.partner_id, "reason": str(error)[:300]}
        partners.observe(Observe("roaming", "authorization_failed", data))
        return None if isinstance(error, OcpiError) and error.code == _UNKNOWN_TOKEN else offline
    named = None if offline is None else offline.token
    with contextlib.suppress(OcpiError):  # its decision counts, whatever it says of the token
        named = cdr_token(wire.read(said.token, OcpiToken))
    if named is None:
        return None
    status = _STATUS.get(said.allowed, "Invalid")
    return Grant(token=named, auth_method="AUTH_REQUEST", reference=said.authorization_reference, status=status)


def _references(connection: Connection, evses: Sequence[Kept]) -> dict[str, object]:
    """Return the location and EVSEs of a station as partners know them."""
    place = place_of(connection, evses[0].alias)
    uids = [typed_json.decode(each.document, OfferedEvse).key for each in evses]
    return {"location_id": evses[0].alias if place is None else place.id, "evse_uids": uids}
