"""The modules of the eMSP side: what partners send of their stations, own drivers' tokens, and checked CDRs."""

import secrets
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from csms.ocpp.base import Services
from csms.roaming import store as rows
from csms.roaming.endpoint import HANDLERS, OcpiAnswer, OcpiRequest, not_allowed, not_found
from csms.roaming.exchange import clients, listed, received
from csms.roaming.own_tokens import TYPES, ocpi_token
from csms.roaming.partners import below
from csms.roaming.rules import Partner, key_of, party_of
from csms.roaming.store import Kept
from csms.tokens import store as tokens
from csms.tokens.rules import Known, Where, answer_known, normalise
from v2g import typed_json
from v2g.errors import OcpiError
from v2g.observe import Scalar
from v2g.ocpi import wire
from v2g.ocpi.objects import LocationReferences, OcpiCdr, OcpiLocation, OcpiTariff, OcpiToken
from v2g.ocpi.records import judge_cdr, judge_credit

_ALLOWED: Final = {
    "Accepted": "ALLOWED", "Blocked": "BLOCKED", "Expired": "EXPIRED", "NoCredit": "NO_CREDIT",
}  # fmt: skip
_ANY_PLACE: Final = "roaming"


def _receiver(module: str, *methods: str) -> Callable[[OcpiRequest], Any]:
    async def answer(asked: OcpiRequest) -> OcpiAnswer:
        return await received(asked, module, *methods)

    return answer


# -- tokens


async def _tokens(asked: OcpiRequest) -> OcpiAnswer:
    if asked.method == "GET" and not asked.path:
        return await listed(asked, "tokens")
    if asked.method != "POST" or len(asked.path) != 2 or asked.path[1] != "authorize":
        raise not_allowed(asked.method)
    uid, kind = asked.path[0], (asked.query.get("type") or "RFID").upper()
    where = wire.read(asked.sent(), LocationReferences) if asked.body.strip() else None
    known = await asked.services.store.read(_find, uid, kind, asked.now_ms)
    token = None if known is None else ocpi_token(asked.partners.config, known.token, asked.now_ms)
    if known is None or token is None:
        raise OcpiError("unknown token", code=2004, http=404)
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


def _find(connection: Connection, uid: str, kind: str, now_ms: int) -> Known | None:
    """Return an own token by OCPI's number and type; before 2.3.0 a contract is of type OTHER."""
    wanted = ("EMAID",) if kind == "OTHER" else (kind, "EMAID") if kind == "RFID" else (kind,)
    for token_type, name in TYPES.items():
        if name in wanted:
            found = tokens.look_up(connection, token_type, normalise(token_type, uid), now_ms)
            if found is not None:
                return found
    return None


# -- CDRs


async def _cdrs(asked: OcpiRequest) -> OcpiAnswer:
    owner = asked.partner.partner_id
    if asked.method == "GET" and len(asked.path) == 1:
        kept = await asked.services.store.read(rows.find_object, owner, "cdrs", asked.path[0])
        if kept is None:
            raise not_found("CDR")
        return OcpiAnswer(data=typed_json.decode_exact(kept.document.encode()))
    if asked.method != "POST" or asked.path:
        raise not_allowed(asked.method)
    sent = asked.sent()
    cdr = wire.read(sent, OcpiCdr)
    if party_of(cdr.country_code, cdr.party_id) not in asked.partner.parties:
        raise OcpiError("the CDR is not of one of your parties", code=2001)
    document = wire.encode(sent).decode()
    new = await asked.services.store.run(take_cdr, asked.partner, cdr, document, asked.now_ms)
    headers = {"Location": below(asked.url, key_of(cdr.country_code, cdr.party_id, cdr.id))}
    if new is not None:
        announce_cdr(asked.services, new)
    return OcpiAnswer(status=200 if new is None else 201, headers=headers)


def announce_cdr(services: Services, kept: Kept) -> None:
    """Tell what became of a partner's new CDR."""
    more: dict[str, Scalar] = {"cdr": kept.object_id, "state": kept.state, "reason": kept.detail[:300]}
    services.announce("roaming", "roaming_cdr", partner=kept.owner, **more)


def take_cdr(connection: Connection, partner: Partner, cdr: OcpiCdr, document: str, now_ms: int) -> Kept | None:
    """Store a CDR with what is found about it; None if it is there. Raises OcpiError for another one of the same id."""
    owner, key = partner.partner_id, key_of(cdr.country_code, cdr.party_id, cdr.id)
    known = rows.find_object(connection, owner, "cdrs", key)
    if known is not None:
        if typed_json.decode(known.document, OcpiCdr) == cdr:
            return None
        raise OcpiError("another CDR has this id: CDRs never change, send a credit CDR", code=2001)
    findings = _judge(connection, owner, cdr, now_ms, negative=partner.negative_energy)
    kept = Kept(
        owner=owner, module="cdrs", object_id=key, updated_ms=wire.utc_ms(cdr.last_updated), document=document,
        state="disputed" if findings else "booked", about=(cdr.session_id or "").lower(),
        alias=cdr.cdr_token.uid.upper(), detail="; ".join(findings)[:4000],
    )  # fmt: skip
    rows.put_object(connection, kept)
    return kept


def _judge(connection: Connection, owner: str, cdr: OcpiCdr, now_ms: int, *, negative: bool) -> list[str]:
    """Return what is wrong with a CDR: nothing is booked on a partner's word alone."""
    found = _token_findings(connection, owner, cdr)
    others = [
        (each, typed_json.decode(each.document, OcpiCdr))
        for each in (rows.objects_about(connection, owner, "cdrs", cdr.session_id.lower()) if cdr.session_id else ())
    ]
    if cdr.credit:
        wanted = key_of(cdr.country_code, cdr.party_id, cdr.credit_reference_id or "")
        credited = rows.find_object(connection, owner, "cdrs", wanted)
        again = [each for _, each in others if each.credit and each.credit_reference_id == cdr.credit_reference_id]
        if again:
            found.append(f"credit: {again[0].id} has credited that CDR")
        return found + judge_credit(cdr, None if credited is None else typed_json.decode(credited.document, OcpiCdr))
    taken_back = {each.credit_reference_id for _, each in others if each.credit}
    twice = [each.id for _, each in others if not each.credit and each.id not in taken_back]
    if twice:
        found.append(f"twice: CDR {twice[0]} is of the same session")
    if not negative and any(each.volume < 0 for p in cdr.charging_periods for each in p.dimensions):
        found.append("energy: below zero is not agreed with this partner")
    tariffs = {}
    for name in {each.tariff_id for each in cdr.charging_periods if each.tariff_id}:
        known = rows.find_object(connection, owner, "tariffs", key_of(cdr.country_code, cdr.party_id, name))
        if known is not None:
            tariffs[name] = typed_json.decode(known.document, OcpiTariff)
    zone, most_kw = _place(connection, owner, cdr)
    return found + judge_cdr(cdr, tariffs, zone, now_ms, most_kw=most_kw)


def _token_findings(connection: Connection, owner: str, cdr: OcpiCdr) -> list[str]:
    """Return what is wrong with whose session it is: the token is ours, and was authorized, or may be without us."""
    said, found = cdr.cdr_token, []
    kinds = [said.type, *(("EMAID",) if said.type in ("OTHER", "RFID") else ())]
    kept = next(
        (each for kind in kinds if (each := rows.find_object(connection, "", "tokens", key_of(said.uid, kind)))), None
    )
    if kept is None:
        return [f"token: {said.uid} is none of ours"]
    token = typed_json.decode(kept.document, OcpiToken)
    if token.contract_id.upper() != said.contract_id.upper():
        found.append("token: it has another contract")
    if cdr.authorization_reference is not None:
        reference = rows.find_object(connection, owner, "authorizations", cdr.authorization_reference)
        if reference is None or reference.about != said.uid.upper():
            found.append("authorization: we did not issue its reference for this token")
    elif token.whitelist == "NEVER":
        found.append("authorization: this token needs one for each session")
    return found


def _place(connection: Connection, owner: str, cdr: OcpiCdr) -> tuple[str, Decimal | None]:
    """Return the time zone of a CDR's location, and the greatest power of its connector, kW, if that is known."""
    key = key_of(cdr.country_code, cdr.party_id, cdr.cdr_location.id)
    kept = rows.find_object(connection, owner, "locations", key)
    if kept is None:
        return "UTC", None
    location = typed_json.decode(kept.document, OcpiLocation)
    for evse in location.evses:
        said = (cdr.cdr_location.evse_uid or cdr.cdr_location.evse_id).lower()
        if said in (evse.uid.lower(), (evse.evse_id or "").lower()):
            for each in evse.connectors:
                if each.id.lower() == cdr.cdr_location.connector_id.lower():
                    phases = 3 if each.power_type == "AC_3_PHASE" else 1
                    watts = each.max_electric_power or each.max_voltage * each.max_amperage * phases
                    return location.time_zone, Decimal(watts) / 1000
    return location.time_zone, None


HANDLERS.update({
    ("emsp", "hubclientinfo"): clients,
    ("emsp", "locations"): _receiver("locations", "GET", "PUT", "PATCH"),
    ("emsp", "tariffs"): _receiver("tariffs", "GET", "PUT", "DELETE"),
    ("emsp", "sessions"): _receiver("sessions", "GET", "PUT", "PATCH"),
    ("emsp", "cdrs"): _cdrs,
    ("emsp", "tokens"): _tokens,
})  # fmt: skip
