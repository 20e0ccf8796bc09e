"""Commands to partners' stations for our drivers: sent once, with the partner's result whenever it comes.

A command is stored before it is sent. What the partner answers, and what it reports to our `response_url`, also after a
restart, become its state; without a result it is a TIMEOUT after the time that the partner has named.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec
from sqlalchemy import Connection

from csms.config import RoamingConfig
from csms.roaming import store as rows
from csms.roaming.partners import PATH, Partners, below, partner_version
from csms.roaming.rules import key_of
from csms.roaming.store import Kept, KnownPartner
from csms.services import Services
from csms.tokens import store as tokens
from csms.tokens.rules import CONTRACT, Known, Token, Where, answer_known, normalise
from v2g import typed_json
from v2g.errors import OcpiError, StoreError, TransferError
from v2g.ocpi import wire
from v2g.ocpi.objects import CommandResponse, Id36, ModuleRole, OcpiLocation, OcpiToken

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


def find_token(connection: Connection, uid: str, kind: str, now_ms: int) -> Known | None:
    """Return an own token by OCPI's number and type; before 2.3.0 a contract is of type OTHER."""
    wanted = ("EMAID",) if kind == "OTHER" else (kind, "EMAID") if kind == "RFID" else (kind,)
    for token_type, name in TYPES.items():
        if name in wanted:
            found = tokens.look_up(connection, token_type, normalise(token_type, uid), now_ms)
            if found is not None:
                return found
    return None


def unpublished_tokens(connection: Connection, config: RoamingConfig) -> list[str]:
    """Return the numbers of tokens that differ from what is published, or are gone."""
    known = {each.object_id: each for each in rows.objects_in(connection, "", "tokens")}
    return sorted({each.uid for each in _differing(config, tokens.list_all(connection), known, 0)})


def publish_tokens(connection: Connection, config: RoamingConfig, numbers: Sequence[str], now_ms: int) -> None:
    """Publish tokens of these numbers as they are now; one that is gone is not valid any more."""
    names = [key_of(number, kind) for number in numbers for kind in sorted(set(TYPES.values()))]
    known = {each.object_id: each for each in rows.objects_named(connection, "", "tokens", names)}
    partners = rows.receivers(connection, "tokens")
    for token in _differing(config, tokens.list_named(connection, tuple(TYPES), numbers), known, now_ms):
        kept = Kept(
            owner="", module="tokens", object_id=key_of(token.uid, token.type), updated_ms=now_ms,
            document=wire.encode(token).decode(),
        )  # fmt: skip
        rows.put_object(connection, kept)
        rows.enqueue(connection, partners, "tokens", kept.object_id, now_ms)


def _differing(
    config: RoamingConfig, own: Iterable[Token], known: Mapping[str, Kept], now_ms: int
) -> Iterator[OcpiToken]:
    """Yield tokens as they are to be published, of those that are not."""
    found = {key: typed_json.decode(each.document, OcpiToken) for key, each in known.items()}
    wanted = {key: msgspec.structs.replace(token, valid=False) for key, token in found.items()}
    for each in own:
        token = ocpi_token(config, each, now_ms)
        if token is not None:
            wanted[key_of(token.uid, token.type)] = token
    for key, token in wanted.items():
        before = found.get(key)
        if before is None or msgspec.structs.replace(token, last_updated=before.last_updated) != before:
            yield msgspec.structs.replace(token, last_updated=wire.moment(now_ms))


DriverCommandName = Literal[
    "START_SESSION", "STOP_SESSION", "RESERVE_NOW", "CANCEL_RESERVATION", "UNLOCK_CONNECTOR", "SET_PROFILE",
    "CLEAR_PROFILE", "SET_PREFERENCES",
]  # fmt: skip
NEEDS: Final[dict[DriverCommandName, tuple[str, ...]]] = {
    "START_SESSION": ("location_id", "id_token"), "STOP_SESSION": ("session_id",),
    "RESERVE_NOW": ("location_id", "id_token", "until_ms"), "CANCEL_RESERVATION": ("reservation_id",),
    "UNLOCK_CONNECTOR": ("location_id", "evse_uid", "connector_id"),
    "SET_PROFILE": ("session_id", "limit_w"), "CLEAR_PROFILE": ("session_id",),
    "SET_PREFERENCES": ("session_id", "profile_type"),
}  # fmt: skip
"""The fields that each command must have."""

_ANSWER_MS: Final = 120_000
_LONGEST_S: Final = 3600
_KEPT_MS: Final = 30 * 86_400_000
_AUTHORIZED_MS: Final = 400 * 86_400_000
_OLD_TARIFFS_MS: Final = 90 * 86_400_000
"""A CDR comes within weeks of its session."""
_NO_SUCH_PROFILE: Final = "PROFILE_TYPE_NOT_SUPPORTED"
_OPEN: Final = ("waiting", "accepted")
"""States without a result yet."""


class DriverCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A command for a driver: where, or of which session or reservation, and with which token of ours."""

    command: DriverCommandName
    location_id: Id36 | None = None
    """The partner's location."""
    evse_uid: Id36 | None = None
    """One of its EVSEs; by default the partner chooses."""
    connector_id: Id36 | None = None
    """One of its connectors."""
    id_token: Annotated[str, msgspec.Meta(min_length=1, max_length=36)] | None = None
    """The driver's token."""
    token_type: str = "ISO14443"  # noqa: S105 - a type
    """Its type, as in OCPP."""
    session_id: Id36 | None = None
    """The partner's session."""
    reservation_id: Id36 | None = None
    """A reservation that we have made; RESERVE_NOW makes a new one without it."""
    until_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_000)] | None = None
    """When a reservation ends, UTC ms."""
    limit_w: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] | None = None
    """The most that a session may take from now on, W."""
    limit_s: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None
    """For how long, s; by default to its end."""
    profile_type: Literal["CHEAP", "FAST", "GREEN", "REGULAR"] | None = None
    """How the driver wants to charge."""
    departure_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_000)] | None = None
    """When the driver wants to leave, UTC ms."""
    energy_wh: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    """What the driver needs until then, Wh."""
    discharge_allowed: bool | None = None
    """Whether the driver consents to feeding back."""

    @property
    def module(self) -> tuple[str, ModuleRole]:
        """The partner's module that takes it."""
        if self.command == "SET_PREFERENCES":
            return "sessions", "SENDER"
        return "chargingprofiles" if self.command.endswith("_PROFILE") else "commands", "RECEIVER"


class SentCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command as it is stored: for which party, and until when (UTC ms) a result is waited for."""

    command: DriverCommand
    party: tuple[str, str]
    sent_ms: int
    until_ms: int


async def send_command(services: Services, partners: Partners, known: KnownPartner, number: str) -> None:
    """Send a stored command to its partner, and note what that answers at once."""
    partner = known.partner
    kept = await services.store.read(rows.find_object, partner.partner_id, "orders", number)
    assert kept is not None
    sent = typed_json.decode(kept.document, SentCommand)
    url = partner.endpoint(*sent.command.module)
    assert url is not None
    where = f"{partners.config.url}{PATH}/emsp/{partner_version(partner)}/commands/{sent.command.command}/{number}"
    state, detail, seconds = "accepted", "", _LONGEST_S
    try:
        body = await services.store.run(_body, partners, partner.partner_id, sent.command, services.clock.utc_ms())
        asked: tuple[str, str, dict[str, object] | None]
        if sent.command.command == "CLEAR_PROFILE":
            asked = "DELETE", below(url, sent.command.session_id or "", response_url=where), None
        elif sent.command.command == "SET_PREFERENCES":
            asked = "PUT", below(url, sent.command.session_id or "", "charging_preferences"), body
        elif sent.command.command == "SET_PROFILE":
            asked = "PUT", below(url, sent.command.session_id or ""), {**body, "response_url": where}
        else:
            asked = "POST", below(url, sent.command.command), {**body, "response_url": where}
        answer = await partners.call(known, *asked, to=sent.party)
        if sent.command.command == "SET_PREFERENCES":  # its answer is the result
            state = str(answer.data)[:20]
            if answer.data == _NO_SUCH_PROFILE:  # states have 20 characters
                state, detail = "NOT_SUPPORTED", _NO_SUCH_PROFILE
        else:
            said = wire.read(answer.data, CommandResponse)
            state = "accepted" if said.result == "ACCEPTED" else said.result[:20]
            detail, seconds = message_of(said.message), max(0, min(said.timeout, _LONGEST_S))
    except (OcpiError, TransferError, StoreError) as error:
        state, detail = "FAILED", str(error)[:300]
    until_ms = services.clock.utc_ms() + 1000 * seconds

    def write(connection: Connection) -> None:
        found = rows.find_object(connection, partner.partner_id, "orders", number)
        if found is not None and found.state == "waiting":  # else its result was faster
            document = msgspec.json.encode(msgspec.structs.replace(sent, until_ms=until_ms)).decode()
            rows.put_object(connection, msgspec.structs.replace(found, state=state, detail=detail, document=document))

    await services.store.run(write)


def message_of(said: object) -> str:
    """Return the texts (DisplayText) that a partner adds to an answer or result, of one or in a list."""
    listed = said if isinstance(said, list) else [said]
    return "; ".join(str(each.get("text") or "") for each in listed if isinstance(each, dict))[:300]


def store_command(
    connection: Connection, partners: Partners, partner_id: str, command: DriverCommand, number: str, now_ms: int
) -> None:
    """Store a command that waits to be sent. Raises OcpiError (2003, 2004) for what is not known here."""
    if command.id_token is not None:
        _token(connection, partners, command, now_ms)
    if command.command == "RESERVE_NOW" and command.reservation_id is None:
        command = msgspec.structs.replace(command, reservation_id=number)
    sent = SentCommand(
        command=command, party=_party(connection, partner_id, command), sent_ms=now_ms, until_ms=now_ms + _ANSWER_MS
    )
    document = msgspec.json.encode(sent).decode()
    kept = Kept(
        owner=partner_id, module="orders", object_id=number, updated_ms=now_ms, document=document, state="waiting",
        about=(command.reservation_id or command.session_id or "").lower(),
    )  # fmt: skip
    rows.put_object(connection, kept)


def _party(connection: Connection, partner_id: str, command: DriverCommand) -> tuple[str, str]:
    """Return the party whose location, session or reservation it is. Raises OcpiError (2003)."""
    if command.reservation_id is not None and command.location_id is None:
        made = rows.objects_about(connection, partner_id, "orders", command.reservation_id.lower())
        if made:
            return typed_json.decode(made[0].document, SentCommand).party
        raise OcpiError(f"unknown reservation {command.reservation_id}", code=2003)
    module = "locations" if command.location_id is not None else "sessions"
    wanted = (command.location_id or command.session_id or "").lower()
    partner = rows.find_partner(connection, partner_id)
    for party in sorted(partner.partner.parties if partner is not None else ()):
        country_code, _, party_id = party.partition("*")
        kept = rows.find_object(connection, partner_id, module, key_of(country_code, party_id, wanted))
        if kept is None:
            continue
        if module == "locations" and command.evse_uid is not None:
            evses = {each.uid.lower() for each in wire.read_kept(kept.document, OcpiLocation).evses}
            if command.evse_uid.lower() not in evses:
                raise OcpiError(f"unknown EVSE {command.evse_uid}", code=2003)
        return country_code.upper(), party_id.upper()
    raise OcpiError(f"unknown {module[:-1]} {wanted}", code=2003)


def _token(connection: Connection, partners: Partners, command: DriverCommand, now_ms: int) -> OcpiToken:
    """Return the driver's token as the partner knows it. Raises OcpiError (2004) unless it may charge."""
    name = normalise(command.token_type, command.id_token or "")
    known = tokens.look_up(connection, command.token_type, name, now_ms)
    token = None if known is None else ocpi_token(partners.config, known.token, now_ms)
    status = answer_known(known, Where("roaming", None, now_ms)).status
    if token is None or status != "Accepted":
        raise OcpiError(f"the token is {status}", code=2004)
    return token


def _body(
    connection: Connection, partners: Partners, partner_id: str, command: DriverCommand, now_ms: int
) -> dict[str, object]:
    """Return a command as OCPI writes it; our authorization is noted, so that the CDR is known by it."""
    if command.limit_w is not None:
        period = {"start_period": 0, "limit": command.limit_w}
        now = wire.moment(now_ms)  # without a start a partner counts from the start of charging
        lasts = {} if command.limit_s is None else {"duration": command.limit_s}
        profile = {"start_date_time": now, "charging_rate_unit": "W", "charging_profile_period": [period], **lasts}
        return {"charging_profile": profile}
    if command.profile_type is not None:
        wanted = {
            "profile_type": command.profile_type, "discharge_allowed": command.discharge_allowed,
            "departure_time": command.departure_ms and wire.moment(command.departure_ms),
            "energy_need": command.energy_wh and Decimal(command.energy_wh) / 1000,
        }  # fmt: skip
        return {name: value for name, value in wanted.items() if value is not None}
    names = ("location_id", "evse_uid", "connector_id", "session_id", "reservation_id")
    body: dict[str, object] = {name: value for name in names if (value := getattr(command, name)) is not None}
    if command.command in ("START_SESSION", "RESERVE_NOW"):
        token = _token(connection, partners, command, now_ms)
        reference = secrets.token_hex(16)
        kept = Kept(
            owner=partner_id, module="authorizations", object_id=reference, updated_ms=now_ms, document="{}",
            about=token.uid.upper(),
        )  # fmt: skip
        rows.put_object(connection, kept)
        body |= {"token": wire.plain(token), "authorization_reference": reference}
    if command.command == "RESERVE_NOW" and command.until_ms is not None:
        body["expiry_date"] = wire.moment(command.until_ms)
    return body


def state_of(kept: Kept, sent: SentCommand, now_ms: int) -> str:
    """Return what became of a command: without a result in time it is a TIMEOUT, until one comes."""
    return "TIMEOUT" if kept.state in _OPEN and sent.until_ms < now_ms else kept.state


def forget_commands(connection: Connection, now_ms: int) -> None:
    """Forget old commands, old authorizations, and partners' tariffs that were replaced long ago."""
    rows.forget(connection, "orders", now_ms - _KEPT_MS)
    rows.forget(connection, "authorizations", now_ms - _AUTHORIZED_MS)
    rows.forget(connection, "old_tariffs", now_ms - _OLD_TARIFFS_MS)
