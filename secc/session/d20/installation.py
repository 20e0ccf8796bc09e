"""Contract installation: the vehicle's request goes to the back end unchanged, and so does the answer (M01).

The charger checks the signature and, if it knows the root, the chain; it answers Ongoing while the back end
works, and stops waiting in time. It neither reads nor changes the encrypted contents.
"""

from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from secc.session.d20.stages import HANDLERS, Offered, RequestContext, Step, refuse
from secc.session.installation import FOR_OTHERS, Installing, forward
from secc.session.request_context import Wait
from secc.session.stages import AfterSetup, Authorized
from v2g import exi
from v2g.errors import CertificateError, CodecError, SignatureError
from v2g.iso15118.d20.installation import SCHEMA_VERSION, check_request_signature, refusal, verify_provisioning_chain
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationReq, CertificateInstallationRes
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.provisioning import BY_REASON
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.observe import Observe
from v2g_station.blocks.security.certificates import ContractAnswer, ContractRequest

_MOST_REMAINING: Final = 255
"""Maximum of the field; larger numbers of a back end are ignored."""

Before = Offered | Authorized
"""Contracts are fetched before authorization, or after one that expires soon."""


@HANDLERS.on_request(CertificateInstallationReq)
def certificate_installation(
    request: CertificateInstallationReq, stage: Before | Installing, context: RequestContext
) -> Step | Wait:
    """Forward a new request, or answer the repetition of one that is pending (V2G20-1972)."""
    if isinstance(stage, Installing):
        if _asked(request) != stage.asked:
            why = "the CertificateInstallationReq changed while an answer was pending"
            raise refuse(ResponseCode.FAILED_SequenceError, why)
        if stage.outcome is not None:
            return _deliver(stage, stage.outcome, context)
        if context.now - stage.since >= context.config.timing.ongoing_performance:  # V2G20-2207, -2225
            return _warn(stage.before, context, ResponseCode.WARNING_NoCertificateAvailable, "no_answer_in_time")
        if not context.waited:
            return Wait(stage, context.config.poll_hold_s)
        return Step(refusal(context.header, ResponseCode.OK, processing=Processing.Ongoing), stage)
    if not stage.opened.installable:
        raise refuse(ResponseCode.FAILED_SequenceError, "the installation of certificates was not offered")
    if not context.facts.can_install:
        return _warn(stage, context, ResponseCode.WARNING_NoCertificateAvailable, "no_back_end")
    try:
        _check(request, context)
    except CertificateError as error:
        code = BY_REASON.get(error.reason, ResponseCode.WARNING_CertificateValidationError)
        return _warn(stage, context, code, error.reason, str(error))
    prioritized = request.prioritized_emaids
    wanted = ContractRequest(
        schema=SCHEMA_VERSION,
        exi=context.exi,
        maximum=request.maximum_contract_certificate_chains,
        emaids=prioritized.emaid if prioritized else (),
    )
    return forward(stage, context, context.config.poll_hold_s, wanted, _asked(request))


def _check(request: CertificateInstallationReq, context: RequestContext) -> None:
    """Check the signature and, if its root is known here, the chain; a wrong signature ends the session (V2G20-461).

    Raises CertificateError.
    """
    interop = context.connection.trust.interop
    if context.config.check_installation_request:
        try:
            check_request_signature(request, interop=interop)
        except SignatureError as error:
            raise refuse(ResponseCode.FAILED_SignatureError, str(error)) from None
    try:
        verify_provisioning_chain(
            request.oem_provisioning_certificate_chain,
            (*context.connection.trust.oem_roots, *context.connection.trust.v2g_roots),
            at=datetime.fromtimestamp(context.utc_ms / 1000, tz=UTC),
            interop=interop,
            crosses=context.connection.trust.crosses,
        )
    except CertificateError as error:
        if error.reason not in FOR_OTHERS:
            raise


def _deliver(stage: Installing, outcome: ContractAnswer, context: RequestContext) -> Step:
    """Forward the back end's response unchanged if it belongs to this session; the vehicle checks the rest."""
    before = stage.before
    nothing = ResponseCode.WARNING_NoCertificateAvailable
    if not outcome.exi:
        return _warn(before, context, nothing, outcome.status)
    try:
        response = exi.decode(outcome.exi, COMMON_MESSAGES)
    except CodecError as error:
        return _warn(before, context, nothing, "undecodable_answer", str(error))
    if not isinstance(response, CertificateInstallationRes):
        return _warn(before, context, nothing, "undecodable_answer", type(response).__name__)
    if response.header.session_id != context.header.session_id:
        return _warn(before, context, nothing, "answer_of_another_session")
    if outcome.status != "answered" and response.response_code.name.startswith("OK"):
        return _warn(before, context, nothing, outcome.status)
    encoded = outcome.exi
    remaining = outcome.remaining
    if (
        remaining is not None
        and remaining <= _MOST_REMAINING
        and remaining != response.remaining_contract_certificate_chains
    ):
        response, encoded = replace(response, remaining_contract_certificate_chains=remaining), b""  # M01.FR.05
    answered = Observe(
        "installation",
        "answered",
        {
            "code": response.response_code.name,
            "remaining": response.remaining_contract_certificate_chains,
            "bytes": len(outcome.exi),
            "seconds": round(context.now - stage.since, 4),
        },
    )
    return Step(response, before, (answered,), exi=encoded)


def _warn(before: AfterSetup, context: RequestContext, code: ResponseCode, reason: str, detail: str = "") -> Step:
    """Refuse, at once and finished: the vehicle continues with authorization, or tries again (V2G20-2224)."""
    event = Observe("installation", "refused", {"code": code.name, "reason": reason, "detail": detail})
    return Step(refusal(context.header, code), before, (event,))


def _asked(request: CertificateInstallationReq) -> tuple[object, ...]:
    """Return everything but the header, whose time stamp, and so its signature, may change."""
    return (
        request.oem_provisioning_certificate_chain,
        request.list_of_root_certificate_ids,
        request.maximum_contract_certificate_chains,
        request.prioritized_emaids,
    )
