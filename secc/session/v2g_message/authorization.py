"""Authorisation: the vehicle repeats its request until the back end has decided."""

from collections.abc import Callable

from secc.session.ports import AuthorizationStatus, AuthorizeExternally, TransactionStarted
from secc.session.request_context import Wait, refuse
from secc.session.stages import Authorized
from secc.session.v2g_message.request_context import RequestContext, Step
from secc.session.v2g_message.stages import Authorizing, Paying
from v2g.exi.declare import Element
from v2g.observe import Observe, Scalar

_ATTEMPT = 1


def external(
    stage: Paying | Authorizing,
    context: RequestContext,
    respond: Callable[[str], Element],
    *,
    ongoing: str,
    patience_s: float,
) -> Step | Wait:
    """Ask for a decision, and answer `ongoing` until there is one, at most for `patience_s`.

    `respond` returns the response with this EVSEProcessing.
    """
    if isinstance(stage, Paying) and context.joined is not None:
        return Step(respond("Finished"), Authorized(opened=stage.opened, contract=context.joined.contract))
    if isinstance(stage, Paying):
        asked = Observe("authorization", "asked", {"method": "EIM"})
        waiting = Authorizing(attempt=_ATTEMPT, since=context.now, contract=None, opened=stage.opened)
        mac_address = stage.opened.mac_address if context.config.autocharge else ""
        command = AuthorizeExternally(attempt=_ATTEMPT, mac_address=mac_address)
        return Wait(waiting, context.config.poll_hold_s, (asked, command))
    if stage.status is AuthorizationStatus.ACCEPTED:
        return _accepted(stage, context, respond)
    if stage.status is not None:
        raise refuse("FAILED", f"the authorisation was refused: {stage.status.value}")
    if context.now - stage.since >= patience_s:
        raise refuse("FAILED", "there was no decision in time", reason="ongoing_timeout")
    if not context.waited:
        return Wait(stage, context.config.poll_hold_s)
    return Step(respond(ongoing), stage)


def _accepted(stage: Authorizing, context: RequestContext, respond: Callable[[str], Element]) -> Step:
    opened, session_id = stage.opened, stage.opened.session_id.hex()
    contract, emaid = stage.contract, stage.contract.emaid if stage.contract is not None else ""
    who = {"method": "PnC", "emaid": emaid} if contract is not None else {"method": "EIM"}
    data: dict[str, Scalar] = {"session_id": session_id, "evcc_id": opened.evcc_id, **who}
    data["seconds"] = round(context.now - stage.since, 4)
    started = TransactionStarted(session_id, emaid, evcc_id=opened.evcc_id, protocol=context.messages.protocol)
    commands = (*(() if context.joined is not None else (started,)), Observe("authorization", "authorized", data))
    authorized = Authorized(opened=opened, contract=contract, opening=stage.opening)
    return Step(respond("Finished"), authorized, commands)
