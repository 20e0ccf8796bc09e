"""Identification and authorisation: Plug & Charge by a signed challenge, or external identification.

Order of checks for a contract: signature and challenge, then chain and validity, then the CSMS. A WARNING lets
the vehicle try another contract or external means; a broken signature ends the session.

A challenge is used once (V2G20-2608). No message could supply another one after a WARNING, so "once" means
once for each contract: the same contract again, whatever the response was, has used it up.
"""

from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from secc.session.d20.stages import HANDLERS, Authorizing, Offered, RequestContext, Step, refuse
from secc.session.identity import Contract, contract_of
from secc.session.installation import FOR_OTHERS
from secc.session.ports import AuthorizeContract, AuthorizeExternally, TransactionStarted
from secc.session.request_context import Wait
from secc.session.stages import Authorized
from v2g.errors import CertificateError, RevocationError, SignatureError
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate
from v2g.pki.profile import Role
from v2g.pki.revocation import refuse_revoked
from v2g.pki.verify import verify_chain
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

MOST_REFUSALS: Final = 16
"""Refusals after which the session ends: some vehicles continue to poll after a refusal."""

_BY_CHAIN: Final = {
    "expired": ResponseCode.WARNING_CertificateExpired,
    "not_yet_valid": ResponseCode.WARNING_CertificateNotYetValid,
    "unknown_root": ResponseCode.WARNING_eMSPUnknown,
    "revoked": ResponseCode.WARNING_CertificateRevoked,
}
"""Reason of a CertificateError or RevocationError -> response code; all others are validation errors."""

_BY_STATUS: Final = {
    AuthorizationStatus.CERTIFICATE_EXPIRED: ResponseCode.WARNING_CertificateExpired,
    AuthorizationStatus.CERTIFICATE_REVOKED: ResponseCode.WARNING_CertificateRevoked,
    AuthorizationStatus.CERTIFICATE_INVALID: ResponseCode.WARNING_CertificateValidationError,
    AuthorizationStatus.UNKNOWN: ResponseCode.WARNING_eMSPUnknown,
    AuthorizationStatus.REFUSED: ResponseCode.WARNING_GeneralPnCAuthorizationError,
    AuthorizationStatus.UNREACHABLE: ResponseCode.WARNING_GeneralPnCAuthorizationError,
}


@HANDLERS.on_request(iso.AuthorizationReq)
def authorization(request: iso.AuthorizationReq, stage: Offered | Authorizing, context: RequestContext) -> Step | Wait:
    """Handle a new request, or answer the repetition of one that is pending (V2G20-1582)."""
    if isinstance(stage, Authorizing):
        if _asked(request) != stage.asked:
            raise refuse(ResponseCode.FAILED_SequenceError, "the AuthorizationReq changed while a decision was pending")
        if stage.status is AuthorizationStatus.ACCEPTED:
            return _accept(stage, context)
        if stage.status is not None:
            return _refuse(stage, context, stage.status)
        timing, waited_s = context.config.timing, context.now - stage.since
        if stage.contract is None and waited_s >= timing.secc_customer:
            return _warn(stage.offered, context, ResponseCode.WARNING_EIMAuthorizationFailure, "nobody_came")
        if stage.contract is not None and waited_s >= timing.ongoing_performance:  # before the vehicle gives up
            return _refuse(stage, context, AuthorizationStatus.UNREACHABLE)
        if not context.waited:
            return Wait(stage, context.config.poll_hold_s)
        processing = Processing.Ongoing if stage.contract else Processing.Ongoing_WaitingForCustomerInteraction
        return Step(_response(context, ResponseCode.OK, processing), stage)
    if stage.refusals >= MOST_REFUSALS:
        raise refuse(ResponseCode.FAILED, "too many attempts were refused")
    chosen = request.selected_authorization_service
    if context.notice is not None and context.notice.notification == "Terminate":
        return _warn(stage, context, _refusal(chosen is iso.Authorization.EIM), "stopped")
    if chosen not in context.authorization:  # V2G20-2209, -2226
        return _warn(stage, context, ResponseCode.WARNING_AuthorizationSelectionInvalid, "method_not_offered")
    if chosen is iso.Authorization.EIM:
        return _ask(request, stage, context, None)
    mode = request.pnc_a_req_authorization_mode
    if mode is None:
        return _warn(stage, context, ResponseCode.WARNING_AuthorizationSelectionInvalid, "mode_missing")
    try:
        contract = _verify(request, mode, stage, context)
    except (CertificateError, RevocationError) as error:
        code = _BY_CHAIN.get(error.reason, ResponseCode.WARNING_CertificateValidationError)
        return _warn(stage, context, code, error.reason, str(error))
    if stage.opening is None or mode.gen_challenge != stage.opening.challenge:  # V2G20-2565, -2216
        return _warn(stage, context, ResponseCode.WARNING_ChallengeInvalid, "challenge")
    if contract.chain[0] in stage.signed_by:  # V2G20-2608
        return _warn(stage, context, ResponseCode.WARNING_ChallengeInvalid, "challenge_used")
    return _ask(request, stage, context, contract)


def _verify(
    request: iso.AuthorizationReq, mode: iso.PnC_AReqAuthorizationMode, stage: Offered, context: RequestContext
) -> Contract:
    """Check signature and chain. The signature comes first: a wrong one ends the session (V2G20-461).

    A contract whose root is not known here may be for the CSMS to judge (C07.FR.06).
    """
    interop = context.connection.trust.interop
    chain = mode.contract_certificate_chain
    key = load_certificate(chain.certificate).public_key()
    try:
        signature.verify(
            request.header.signature,
            mode,
            key,  # type: ignore[arg-type] # any other kind of key is refused there
            allowed=signature.INTEROP if interop else signature.STANDARD,
            schema=COMMON_MESSAGES,
        )
    except SignatureError as error:
        raise refuse(ResponseCode.FAILED_SignatureError, str(error)) from None
    trust, subs = context.connection.trust, chain.sub_certificates.certificate
    at = datetime.fromtimestamp(context.utc_ms / 1000, tz=UTC)
    try:
        verified = verify_chain(
            chain.certificate,
            subs,
            (*trust.mo_roots, *trust.v2g_roots),
            role=Role.CONTRACT,
            at=at,
            interop=interop,
            crosses=trust.crosses,
        )
    except CertificateError as error:
        if error.reason not in FOR_OTHERS or not trust.central:
            raise
        return contract_of((chain.certificate, *subs), at, known_root=False)
    refuse_revoked(verified, trust.crls, at=at)
    return contract_of(verified.der, at)


def _ask(request: iso.AuthorizationReq, stage: Offered, context: RequestContext, contract: Contract | None) -> Wait:
    used = stage.signed_by | {contract.chain[0]} if contract else stage.signed_by
    offered = replace(stage, attempt=stage.attempt + 1, signed_by=used)
    opening = replace(stage.opening, request=context.exi) if contract is not None and stage.opening else None
    command: Command = (
        AuthorizeContract(
            attempt=offered.attempt, emaid=contract.emaid, chain=contract.chain, known_root=contract.known_root
        )
        if contract
        else AuthorizeExternally(attempt=offered.attempt)
    )
    asked = Observe("authorization", "asked", _who(contract))
    waiting = Authorizing(
        attempt=offered.attempt,
        offered=offered,
        asked=_asked(request),
        since=context.now,
        contract=contract,
        opening=opening,
    )
    return Wait(waiting, context.config.poll_hold_s, (asked, command))


def _accept(stage: Authorizing, context: RequestContext) -> Step:
    contract, opened = stage.contract, stage.offered.opened
    session_id = opened.session_id.hex()
    data = {"session_id": session_id, "evcc_id": opened.evcc_id, **_who(contract)}
    commands = (
        TransactionStarted(
            session_id, contract.emaid if contract else "", evcc_id=opened.evcc_id, protocol="ISO 15118-20"
        ),
        Observe("authorization", "authorized", {**data, "seconds": round(context.now - stage.since, 4)}),
    )
    soon = contract is not None and contract.expires_soon
    code = ResponseCode.OK_CertificateExpiresSoon if soon else ResponseCode.OK
    authorized = Authorized(opened=opened, contract=contract, opening=stage.opening)
    return Step(_response(context, code), authorized, commands)


def _refuse(stage: Authorizing, context: RequestContext, status: AuthorizationStatus) -> Step:
    eim = stage.contract is None
    return _warn(stage.offered, context, _refusal(eim) if eim else _BY_STATUS[status], status.value)


def _refusal(eim: bool) -> ResponseCode:
    """Return the general response code for a refusal (V2G20-2219, -2230)."""
    return ResponseCode.WARNING_EIMAuthorizationFailure if eim else ResponseCode.WARNING_GeneralPnCAuthorizationError


def _warn(stage: Offered, context: RequestContext, code: ResponseCode, reason: str, detail: str = "") -> Step:
    """Refuse, at once and finished: the vehicle may try another contract (V2G20-2226)."""
    event = Observe("authorization", "refused", {"code": code.name, "reason": reason, "detail": detail})
    return Step(_response(context, code), replace(stage, refusals=stage.refusals + 1), (event,))


def _response(
    context: RequestContext, code: ResponseCode, processing: Processing = Processing.Finished
) -> iso.AuthorizationRes:
    return iso.AuthorizationRes(header=context.header, response_code=code, evse_processing=processing)


def _asked(request: iso.AuthorizationReq) -> tuple[object, ...]:
    """Return everything but the header, whose time stamp may change."""
    return (
        request.selected_authorization_service,
        request.eim_a_req_authorization_mode,
        request.pnc_a_req_authorization_mode,
    )


def _who(contract: Contract | None) -> dict[str, str | int | float | bool | None]:
    return {"method": "PnC", "emaid": contract.emaid} if contract else {"method": "EIM"}
