"""What partners own, as it is stored here, and the checks of their CDRs before these are booked."""

import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from csms.db.leases import lock
from csms.roaming import store as rows
from csms.roaming.authorization import kept_token
from csms.roaming.driver_commands import find_token
from csms.roaming.rules import KINDS, Partner, key_of, party_of
from csms.roaming.store import Kept
from csms.services import Services
from csms.tokens import store as tokens
from csms.tokens.rules import Used
from v2g import typed_json
from v2g.errors import OcpiError
from v2g.observe import Scalar
from v2g.ocpi import wire
from v2g.ocpi.objects import ClientInfo, OcpiCdr, OcpiLocation, OcpiSession, OcpiTariff, OcpiToken
from v2g.ocpi.records import credits_in, is_taken_back, judge_cdr, judge_credit
from v2g.typed_json import Fields

_MOST_CLIENTS: Final = 10_000
_PRICES: Final = ("currency", "elements", "min_price", "max_price", "tax_included")
_CDRS_OF: Final = "roaming CDRs of {}"
_AHEAD_MS: Final = 86_400_000
"""A partner's clock may be so much ahead: of its own changes the newest by it counts."""
_TOLD_MS: Final = 3_600_000
"""By then a partner knows what has become of a token, and we of a tariff: they are pushed, and pulled hourly."""


def store_object(
    connection: Connection,
    owner: str,
    module: str,
    key: str,
    change: Callable[[Fields | None], Fields],
    now_ms: int,
) -> bool:
    """Change an object and store it, unless what is stored is newer, and not of a clock that was days ahead; return
    whether it is new. Raises OcpiError."""
    kept = rows.find_object(connection, owner, module, key)
    known: Any = None if kept is None else typed_json.decode_exact(kept.document.encode())
    found = change(known)
    made = wire.read(found, KINDS[module])
    updated_ms = wire.read_time(found["last_updated"])
    if kept is not None and updated_ms < kept.updated_ms <= now_ms + _AHEAD_MS:
        return False
    document = wire.encode(found).decode()
    if isinstance(made, OcpiToken):
        rows.put_object(connection, kept_token(made, owner, document, updated_ms))
    else:
        base = kept or Kept(owner=owner, module=module, object_id=key, updated_ms=0, document="")
        if isinstance(made, OcpiTariff):
            base = _with_beginning(connection, base, made, now_ms)
        elif isinstance(made, OcpiSession):
            ended = made.status == "COMPLETED" and made.kwh > 0
            base = msgspec.structs.replace(
                base, state="ended" if ended else "", about=made.id.lower(), alias=made.cdr_token.uid.upper()
            )
        rows.put_object(connection, msgspec.structs.replace(base, updated_ms=updated_ms, document=document))
    return kept is None


def _with_beginning(connection: Connection, kept: Kept, new: OcpiTariff, now_ms: int) -> Kept:
    """Return what is kept of a tariff with the time from which on the prices of its new form are in force: that of its
    change, at most an hour before its arrival, and of that where it does not say that it has changed."""
    if kept.document and not _differs(new, wire.read_kept(kept.document, OcpiTariff)):
        return msgspec.structs.replace(kept, detail=kept.detail or str(kept.updated_ms))
    changed_ms = wire.utc_ms(new.last_updated)
    if kept.document:  # else a session of the past could be made dearer
        changed_ms = now_ms if changed_ms == kept.updated_ms else max(changed_ms, now_ms - _TOLD_MS)
    since_ms = max(changed_ms, wire.utc_ms(new.start_date_time or new.last_updated))
    if kept.document and since_ms > int(kept.detail or kept.updated_ms):  # else it was never in force
        _retire_tariff(connection, kept, since_ms)
    return msgspec.structs.replace(kept, detail=str(since_ms))


def _retire_tariff(connection: Connection, kept: Kept, until_ms: int) -> None:
    """Keep the prices of a tariff that were in force until a time (UTC ms): a CDR has those of when its session started
    (CDRs, 10.3.1)."""
    old = msgspec.structs.replace(
        kept, module="old_tariffs", object_id=f"{kept.object_id}*{until_ms}", about=kept.object_id, updated_ms=until_ms
    )
    rows.put_object(connection, old)


def remove_tariff(connection: Connection, kept: Kept, now_ms: int) -> None:
    """Delete a partner's tariff."""
    _retire_tariff(connection, kept, now_ms)
    rows.remove_object(connection, kept.owner, kept.module, kept.object_id)


def take_client(connection: Connection, owner: str, info: ClientInfo, ours: str) -> None:
    """Store what a hub says about a party; the hub speaks for it from now on, unless it is ours or a partner's own."""
    party, known = party_of(info.country_code, info.party_id), rows.find_partner(connection, owner)
    kept = Kept(
        owner=owner, module="hubclientinfo", object_id=party, updated_ms=wire.utc_ms(info.last_updated),
        document=wire.encode(info).decode(), state=info.status.upper()[:20],
    )  # fmt: skip
    rows.put_object(connection, kept)
    direct = {party_of(role.country_code, role.party_id) for each in rows.list_partners(connection)
              for role in each.partner.roles}  # fmt: skip
    if known is not None and party not in {ours, *direct, *known.partner.clients}:
        if len(known.partner.clients) >= _MOST_CLIENTS:
            raise OcpiError(f"more than {_MOST_CLIENTS} parties", code=2001)
        added = msgspec.structs.replace(known.partner, clients=(*known.partner.clients, party))
        rows.put_partner(connection, added)


# -- CDRs


def announce_cdr(services: Services, kept: Kept) -> None:
    """Tell what became of a partner's new CDR."""
    more: dict[str, Scalar] = {"cdr": kept.object_id, "state": kept.state, "reason": kept.detail[:300]}
    services.announce("roaming", "roaming_cdr", partner=kept.owner, **more)


def take_cdr(connection: Connection, partner: Partner, cdr: OcpiCdr, document: str, now_ms: int) -> list[Kept]:
    """Store a CDR with what is found about it; return it, with a credit CDR that has waited for it and is booked now;
    nothing if it is there. Raises OcpiError for another one of the same id."""
    owner, key = partner.partner_id, key_of(cdr.country_code, cdr.party_id, cdr.id)
    lock(connection, [_CDRS_OF.format(owner)])  # else two nodes could book two of one session
    known = rows.find_object(connection, owner, "cdrs", key)
    if known is not None:
        before = wire.read_kept(known.document, OcpiCdr)
        if msgspec.structs.replace(before, last_updated=cdr.last_updated) == cdr:  # made anew for each attempt
            return []
        raise OcpiError("another CDR has this id: CDRs never change, send a credit CDR", code=2001)
    findings = _judge(connection, owner, cdr, now_ms, negative=partner.negative_energy)
    kept = Kept(
        owner=owner, module="cdrs", object_id=key, document=document,
        updated_ms=max(wire.utc_ms(each) for each in (cdr.last_updated, cdr.end_date_time)),
        state="disputed" if findings else "booked", about=(cdr.session_id or "").lower(),
        alias=cdr.cdr_token.uid.upper(), detail="; ".join(findings)[:4000],
    )  # fmt: skip
    taken = [kept]
    rows.put_object(connection, kept)
    if kept.state == "booked" and not cdr.credit:
        for each in rows.cdrs_near(connection, owner, kept.about, kept.alias, wire.utc_ms(cdr.start_date_time)):
            credit = wire.read_kept(each.document, OcpiCdr)
            waits = each.state == "disputed" and credit.credit and _credited_key(credit) == key
            if waits and not _judge(connection, owner, credit, now_ms, negative=partner.negative_energy):
                taken.append(msgspec.structs.replace(each, state="booked", detail=""))
                rows.put_object(connection, taken[-1])
    for each in taken:
        if each.state == "booked":
            count_use(connection, each, now_ms)
    reference = rows.find_object(connection, owner, "authorizations", cdr.authorization_reference or "")
    if reference is not None and not reference.alias:
        rows.put_object(connection, msgspec.structs.replace(reference, alias=_session_of(cdr)))
    return taken


def count_use(connection: Connection, kept: Kept, now_ms: int) -> None:
    """Count what a CDR of a driver with allowances says that it used, or takes back."""
    cdr = wire.read_kept(kept.document, OcpiCdr)
    known = find_token(connection, cdr.cdr_token.uid, cdr.cdr_token.type, now_ms)
    if known is not None and known.used:
        cost = cdr.total_cost.before_taxes if cdr.total_cost.total is None else cdr.total_cost.total
        energy = -abs(cdr.total_energy) if cdr.credit else cdr.total_energy
        used = Used(round(energy * 1000), round(cost * 10**6), cdr.currency)
        name = hashlib.sha256(f"{kept.owner} {kept.object_id}".encode()).hexdigest()[:32]
        tokens.note_use_abroad(connection, name, known.token, wire.utc_ms(cdr.start_date_time), used)


def _session_of(cdr: OcpiCdr) -> str:
    return (cdr.session_id or cdr.id).lower()


def _judge(connection: Connection, owner: str, cdr: OcpiCdr, now_ms: int, *, negative: bool) -> list[str]:
    """Return what is wrong with a CDR: nothing is booked on a partner's word alone."""
    found = _token_findings(connection, owner, cdr)
    kept = _credited(connection, owner, cdr)
    credited = None if kept is None else wire.read_kept(kept.document, OcpiCdr)
    near = _near(connection, owner, cdr, credited)
    booked = [each for state, each in near if state != "disputed"]
    if cdr.credit:
        if kept is not None and kept.state in ("disputed", "rejected"):
            found.append(f"credit: {cdr.credit_reference_id} is {kept.state}, not booked")
        before = [] if credited is None else credits_in(booked, credited)
        return found + judge_credit(cdr, credited, before)
    twice = [each.id for _, each in near if not each.credit and _is_same(each, cdr) and not is_taken_back(each, booked)]
    if twice:
        found.append(f"twice: CDR {twice[0]} is of the same session")
    if not negative and any(each.volume < 0 for p in cdr.charging_periods for each in p.dimensions):
        found.append("energy: below zero is not agreed with this partner")
    tariffs, begin_ms = dict[str, OcpiTariff](), wire.utc_ms(cdr.start_date_time)
    said = {each.id: each for each in cdr.tariffs}
    for name in sorted(said.keys() | {each.tariff_id for each in cdr.charging_periods if each.tariff_id}):
        known = rows.tariff_at(connection, owner, key_of(cdr.country_code, cdr.party_id, name), begin_ms)
        if known is None:
            continue
        published = tariffs[name] = wire.read_kept(known.document, OcpiTariff)
        since_ms = int(known.detail or wire.utc_ms(published.last_updated))
        if name in said and since_ms <= begin_ms and _differs(said[name], published):
            found.append(f"tariff: {name} is not what was published")
    zone, most_kw = _place(connection, owner, cdr)
    return found + judge_cdr(cdr, tariffs, zone, now_ms, most_kw=most_kw)


def _credited(connection: Connection, owner: str, cdr: OcpiCdr) -> Kept | None:
    """Return the CDR that a credit CDR is of, if that is known."""
    return rows.find_object(connection, owner, "cdrs", _credited_key(cdr)) if cdr.credit else None


def _credited_key(credit: OcpiCdr) -> str:
    return key_of(credit.country_code, credit.party_id, credit.credit_reference_id or "")


def _near(connection: Connection, owner: str, cdr: OcpiCdr, credited: OcpiCdr | None) -> list[tuple[str, OcpiCdr]]:
    """Return the CDRs of its party that may be of the session of a CDR, or of the one that it credits, with their
    states: itself, too, if it is stored; none that is rejected."""
    since_ms = min(wire.utc_ms(each.start_date_time) for each in (cdr, credited or cdr))
    kept_ones = rows.cdrs_near(connection, owner, (cdr.session_id or "").lower(), cdr.cdr_token.uid.upper(), since_ms)
    theirs = key_of(cdr.country_code, cdr.party_id, "")  # parties behind a hub have ids of their own
    return [
        (each.state, wire.read_kept(each.document, OcpiCdr))
        for each in kept_ones
        if each.state != "rejected" and each.object_id.startswith(theirs)
    ]


def credit_before(connection: Connection, kept: Kept) -> str:
    """Return the id of the booked credit CDR that leaves no room for this one, which is disputed; empty: none does."""
    lock(connection, [_CDRS_OF.format(kept.owner)])
    cdr = wire.read_kept(kept.document, OcpiCdr)
    of = _credited(connection, kept.owner, cdr)
    if of is None:
        return ""
    credited = wire.read_kept(of.document, OcpiCdr)
    near = _near(connection, kept.owner, cdr, credited)
    before = credits_in([each for state, each in near if state != "disputed"], credited)
    return before[0].id if before and not is_taken_back(credited, [*before, cdr]) else ""


def _is_same(one: OcpiCdr, other: OcpiCdr) -> bool:
    """Return whether two CDRs of a partner are of one session: also one that has another name, or none."""
    if one.session_id and other.session_id and one.session_id.lower() == other.session_id.lower():
        return True
    places = {(each.id.lower(), (each.evse_uid or each.evse_id).lower())
              for each in (one.cdr_location, other.cdr_location)}  # fmt: skip
    begun_ms = max(wire.utc_ms(each.start_date_time) for each in (one, other))
    return len(places) == 1 and begun_ms < min(wire.utc_ms(each.end_date_time) for each in (one, other))


def _differs(one: OcpiTariff, other: OcpiTariff) -> bool:
    """Return whether two tariffs have different prices."""
    return any(getattr(one, name) != getattr(other, name) for name in _PRICES)


def _token_findings(connection: Connection, owner: str, cdr: OcpiCdr) -> list[str]:
    """Return what is wrong with whose session it is: the token is ours, and was authorized, or may be without us."""
    said, found = cdr.cdr_token, []
    kinds = [said.type, *(("EMAID",) if said.type in ("OTHER", "RFID") else ())]
    kept = next(
        (each for kind in kinds if (each := rows.find_object(connection, "", "tokens", key_of(said.uid, kind)))), None
    )
    if kept is None:
        return [f"token: {said.uid} is none of ours"]
    token = wire.read_kept(kept.document, OcpiToken)
    if token.contract_id.upper() != said.contract_id.upper():
        found.append("token: it has another contract")
    if cdr.authorization_reference is not None:
        reference = rows.find_object(connection, owner, "authorizations", cdr.authorization_reference)
        if reference is None or reference.about != said.uid.upper():
            found.append("authorization: we did not issue its reference for this token")
        elif not cdr.credit and reference.alias not in ("", _session_of(cdr)):
            found.append(f"authorization: its reference is that of session {reference.alias}")
    elif not token.valid and wire.utc_ms(cdr.start_date_time) > kept.updated_ms + _TOLD_MS:
        found.append("token: it was not valid any more")
    elif token.whitelist == "NEVER":
        found.append("authorization: this token needs one for each session")
    key = key_of(cdr.country_code, cdr.party_id, cdr.session_id or "")
    session = rows.find_object(connection, owner, "sessions", key)
    if session is not None:
        shown = wire.read_kept(session.document, OcpiSession).cdr_token  # a driver would be billed for another one
        if (shown.uid.upper(), shown.contract_id.upper()) != (said.uid.upper(), said.contract_id.upper()):
            found.append(f"token: session {cdr.session_id} was shown with that of {shown.contract_id}")
    return found


def _place(connection: Connection, owner: str, cdr: OcpiCdr) -> tuple[str, Decimal | None]:
    """Return the time zone of a CDR's location, and the greatest power of its connector, kW, if that is known."""
    key = key_of(cdr.country_code, cdr.party_id, cdr.cdr_location.id)
    kept = rows.find_object(connection, owner, "locations", key)
    if kept is None:
        return "UTC", None
    location = wire.read_kept(kept.document, OcpiLocation)
    for evse in location.evses:
        said = (cdr.cdr_location.evse_uid or cdr.cdr_location.evse_id).lower()
        if said and said in (evse.uid.lower(), (evse.evse_id or "").lower()):
            for each in evse.connectors:
                if each.id.lower() == cdr.cdr_location.connector_id.lower():
                    return location.time_zone, Decimal(each.most_w) / 1000
    return location.time_zone, None
