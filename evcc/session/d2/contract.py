"""Authorisation by a contract in ISO 15118-2: the chain first, then the signed challenge."""

from typing import Final

from evcc.session.contracts import emaid
from evcc.session.d2.stages import HANDLERS, PresentingContract
from evcc.session.steps import seen
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.stages import Authorizing, Step
from v2g.iso15118.d2.messages.common import AuthorizationReq, PaymentDetailsReq, PaymentDetailsRes
from v2g.iso15118.d2.signatures import chain_of, sign
from v2g.iso15118.engine.response_codes import Consequence, consequence

SIGNED_ID: Final = "id1"
"""Id of the element that a request's header signs; there is never more than one in a message."""


def present(context: MessageContext) -> Step:
    """Return the step that sends the contract's chain: leaf, then its issuer first [V2G2-656]."""
    assert context.contract is not None
    own = context.contract
    request = PaymentDetailsReq(emaid=emaid(own), contract_signature_cert_chain=chain_of(own.chain))
    return Step(stage=PresentingContract(), request=request)


@HANDLERS.on_response(PresentingContract)
def on_details(
    stage: PresentingContract, request: PaymentDetailsReq, response: PaymentDetailsRes, context: MessageContext
) -> Step:
    """Sign the challenge with the contract's key; repetitions of the request are empty [V2G2-684]."""
    assert context.contract is not None
    signed = AuthorizationReq(gen_challenge=response.gen_challenge, id=SIGNED_ID)
    expires = consequence(response) is Consequence.RENEW_CONTRACT
    return Step(
        stage=Authorizing(),
        request=signed,
        signature=sign(signed, context.contract.key),
        observed=(seen("authorization", "contract_expires_soon", emaid=request.emaid),) if expires else (),
    )
