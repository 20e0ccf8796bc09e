"""Functional block C: authorization, tokens, groups, blocks, stations' caches."""

from collections.abc import Mapping
from typing import Final

from csms.contracts.verifier import ContractVerifier
from csms.direct_payments import store as direct_payments
from csms.handlers import answers
from csms.remote_control import store as commands
from csms.requests.work import call
from csms.roaming import authorization
from csms.roaming.partners import Partners
from csms.services import HandlerContext, Services
from csms.tariffs.work import driver_tariff
from csms.tokens import rules
from csms.tokens import store as tokens
from v2g.errors import V2GError
from v2g.ocpp.messages import authorization as ocpp
from v2g.ocpp.messages.base import ENERGY_TRANSFER, EnergyTransferMode, MessageContent
from v2g.ocpp.messages.payment import DIRECT_PAYMENT
from v2g.ocpp.times import format_time

_NOT_KNOWN: Final[Mapping[str, str]] = {"NoAuthorization": "Accepted", "KeyCode": "Invalid"}
"""The status of unknown tokens of these types: a start by button (C02.FR.02), and a wrong code (C04.FR.01)."""


async def clear_cache(services: Services, station_id: str) -> ocpp.ClearCacheStatus:
    """Have a station clear its authorization cache (C11). Raises V2GError as `ConnectionRegistry.call` does."""
    return (await call(services, station_id, ocpp.ClearCacheRequest(), ocpp.ClearCacheResponse)).status


async def clear_caches(services: Services) -> dict[str, str]:
    """Have every connected station clear its cache; return each answer, or why it could not be asked."""
    found: dict[str, str] = {}
    for station_id in sorted(services.connections.connected()):
        try:
            found[station_id] = await clear_cache(services, station_id)
        except V2GError as error:
            found[station_id] = str(error)
    return found


async def look_up(
    context: HandlerContext, token: ocpp.IdToken, transaction_id: str | None = None
) -> rules.Known | None:
    """Return a token with everything that decides about it; `transaction_id`: the transaction that it is for."""
    services = context.services
    if token.type in (DIRECT_PAYMENT, "Central"):
        may = await services.store.read(direct_payments.may_charge, context.station_id, token.id_token)
        if may is not None:
            return rules.Known(token=rules.Token(token.type, token.id_token, "Accepted")) if may else None
    if token.type == DIRECT_PAYMENT:
        # a payer: at the station's terminal if it has one (C18.FR.05), or on the web, from the CSMS
        paid = services.config.payments.terminals or await services.store.read(
            commands.has_started, context.station_id, token.type, token.id_token
        )
        return rules.Known(token=rules.Token(token.type, token.id_token, "Accepted")) if paid else None
    about = None if transaction_id is None else (context.station_id, transaction_id)
    key = token.type, rules.normalise(token.type, token.id_token)
    known = await services.store.read(tokens.look_up, *key, services.clock.utc_ms(), about)
    if known is None and (partners := services.find(Partners)) is not None:
        known = await authorization.look_up(partners, token, context.station_id, transaction_id)
    if known is None and token.type in _NOT_KNOWN:
        known = rules.Known(token=rules.Token(token.type, token.id_token, _NOT_KNOWN[token.type]))
    return known


def where(context: HandlerContext, evse_id: int | None = None) -> rules.Where:
    """Return the station or one of its EVSEs, now."""
    return rules.Where(context.station_id, evse_id, context.services.clock.utc_ms())


@answers
async def answer_authorize(context: HandlerContext, request: ocpp.AuthorizeRequest) -> ocpp.AuthorizeResponse:
    """Authorize a contract or token (C01, C07)."""
    token = request.id_token
    reason = ""
    if token.type == rules.CONTRACT:
        verdict = await context.services[ContractVerifier].judge(
            token.id_token, request.certificate, request.iso15118_certificate_hash_data
        )
        reason = verdict.reason
        known = await look_up(context, token) if verdict.chain is rules.ChainVerdict.VALID else None
        answer = rules.answer_contract(verdict.chain, known, where(context))
    else:
        answer = rules.answer_known(await look_up(context, token), where(context))
    context.observe(
        "authorization",
        "authorize",
        emaid="" if token.type == "KeyCode" else token.id_token,  # C04.FR.04
        type=token.type,
        result=answer.status,
        certificate=answer.certificate_status,
        reason=reason[:300],
    )
    return ocpp.AuthorizeResponse(
        id_token_info=token_info(answer),
        certificate_status=answer.certificate_status,  # type: ignore[arg-type]  # core.authorize speaks OCPP
        allowed_energy_transfer=_energy_transfer(answer) if context.version == "2.1" else (),
        tariff=await driver_tariff(context, token) if answer.status == "Accepted" else None,
    )


def _energy_transfer(answer: rules.TokenAnswer) -> tuple[EnergyTransferMode, ...]:
    """Return the modes that an accepted token allows: without a list it would charge only (Q01.FR.01)."""
    modes = answer.energy_transfer or ENERGY_TRANSFER
    return modes if answer.status == "Accepted" else ()  # type: ignore[return-value]  # core.authorize speaks OCPP


def token_info(answer: rules.TokenAnswer) -> ocpp.IdTokenInfo:
    """Return the IdTokenInfo of an answer (C01, C09, C12)."""
    terms, until_ms = answer.terms, answer.until_ms
    return ocpp.IdTokenInfo(
        status=answer.status,  # type: ignore[arg-type]  # core.authorize speaks OCPP
        cache_expiry_date_time=None if until_ms is None else format_time(until_ms),
        charging_priority=terms.priority,
        group_id_token=ocpp.IdToken(id_token=terms.group_id, type="Central") if terms.group_id else None,
        language1=terms.language1 or None,
        language2=terms.language2 or None,
        evse_id=answer.evses,
        personal_message=MessageContent(format="UTF8", content=terms.message) if terms.message else None,
    )
