"""Functional block C: authorization."""

from csms.ocpp.base import HandlerContext
from csms.ocpp.handlers import answers
from csms.tariffs.station import driver_tariff
from csms.tokens.rules import CONTRACT, Answer, Chain, answer_contract, answer_known
from v2g.ocpp.messages.authorization import AuthorizeRequest, AuthorizeResponse, IdToken, IdTokenInfo
from v2g.ocpp.messages.base import ENERGY_TRANSFER, EnergyTransferMode, MessageContent
from v2g.ocpp.times import format_time


@answers
async def answer_authorize(context: HandlerContext, request: AuthorizeRequest) -> AuthorizeResponse:
    """Authorize a contract or token (C01, C07)."""
    token = request.id_token
    reason = ""
    if token.type == CONTRACT:
        verdict = await context.services.contracts.judge(
            token.id_token, request.certificate, request.iso15118_certificate_hash_data
        )
        reason = verdict.reason
        known = await context.look_up(token) if verdict.chain is Chain.VALID else None
        answer = answer_contract(verdict.chain, known, context.where())
    else:
        answer = answer_known(await context.look_up(token), context.where())
    context.observe(
        "authorization",
        "authorize",
        emaid=token.id_token,
        type=token.type,
        result=answer.status,
        certificate=answer.certificate_status,
        reason=reason[:200],
    )
    return AuthorizeResponse(
        id_token_info=token_info(answer),
        certificate_status=answer.certificate_status,  # type: ignore[arg-type]  # core.authorize speaks OCPP
        allowed_energy_transfer=_energy_transfer(answer) if context.version == "2.1" else (),
        tariff=await driver_tariff(context, token) if answer.status == "Accepted" else None,
    )


def _energy_transfer(answer: Answer) -> tuple[EnergyTransferMode, ...]:
    """Return the modes that an accepted token allows: without a list it would charge only (Q01.FR.01)."""
    modes = answer.energy_transfer or ENERGY_TRANSFER
    return modes if answer.status == "Accepted" else ()  # type: ignore[return-value]  # core.authorize speaks OCPP


def token_info(answer: Answer) -> IdTokenInfo:
    """Return the IdTokenInfo of an answer (C01, C09, C12)."""
    terms, until_ms = answer.terms, answer.until_ms
    return IdTokenInfo(
        status=answer.status,  # type: ignore[arg-type]  # core.authorize speaks OCPP
        cache_expiry_date_time=None if until_ms is None else format_time(until_ms),
        charging_priority=terms.priority,
        group_id_token=IdToken(id_token=terms.group_id, type="Central") if terms.group_id else None,
        language1=terms.language1 or None,
        language2=terms.language2 or None,
        evse_id=answer.evses,
        personal_message=MessageContent(format="UTF8", content=terms.message) if terms.message else None,
    )
