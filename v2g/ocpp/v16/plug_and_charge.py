"""Plug and Charge over OCPP 1.6 (application note of OCA): messages of 2.0.1, as JSON in the text of a DataTransfer.

Their limits are those of 2.1, which allows all that 2.0.1 does, as contracts of ISO 15118-20 are longer.
"""

from collections.abc import Set
from typing import Final

import msgspec

from v2g import typed_json
from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import AuthorizeRequest, AuthorizeResponse, IdTokenInfo
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.security import CertificateSignedRequest, SignCertificateRequest
from v2g.ocpp.routes import action_of, request_type
from v2g.ocpp.v16.bridge import Answer, Steps, id_tag_info
from v2g.ocpp.v16.messages import DataTransferConf, DataTransferReq
from v2g.ocpp.versions import M, read_payload, write_payload

PLUG_AND_CHARGE: Final = "org.openchargealliance.iso15118pnc"
"""Vendor of the DataTransfers."""
TO_BACK_END: Final = frozenset({"Authorize", "Get15118EVCertificate", "GetCertificateStatus", "SignCertificate"})
TO_STATION: Final = frozenset(
    {"CertificateSigned", "InstallCertificate", "DeleteCertificate", "GetInstalledCertificateIds", "TriggerMessage"}
)


def exchange(request: Message, response: type[Answer], peer: str) -> Steps[Answer]:
    """Send a message of 2.0.1. Raises OcppError where the peer does not know it."""
    answer: DataTransferConf = yield DataTransferReq(
        vendor_id=PLUG_AND_CHARGE, message_id=action_of(request), data=as_text(request)
    )
    if answer.status != "Accepted" or answer.data is None:
        raise not_known(answer, peer)
    return from_text(answer.data, response)


def not_known(answer: DataTransferConf, peer: str) -> OcppError:
    """Return the error for the answer of a peer that does not know a message."""
    return OcppError(f"the {peer} has no Plug and Charge over OCPP 1.6: {answer.status}", answer="NotSupported")


def pass_on(request: DataTransferReq, actions: Set[str]) -> Steps[DataTransferConf]:
    """Pass on a message of 2.0.1, one of these actions, and return its answer."""
    action, text = request.message_id or "", request.data or ""
    if action not in actions:
        return DataTransferConf(status="UnknownMessageId")
    try:
        if action == "Authorize" and (simple := from_simple(text)) is not None:
            found: AuthorizeResponse = yield simple
            info = IdTokenInfo(status=id_tag_info(found.id_token_info).status)
            reply: Message = AuthorizeResponse(id_token_info=info, certificate_status=found.certificate_status)
        else:
            reply = yield from_text(text, request_type(action))
        return DataTransferConf(status="Accepted", data=as_text(reply))
    except OcppError as error:
        return DataTransferConf(status="Rejected", data=str(error)[:255])


def as_text(message: Message) -> str:
    """Return a message as JSON. Raises OcppError."""
    return write_payload(message, "2.1").decode()


def from_text(text: str, type_: type[M]) -> M:
    """Return the message in a text. Raises OcppError.

    The application note of Plug and Charge names no type of certificate: here it is that of ISO 15118.
    """
    message = read_payload(text.encode(), type_, "2.1")
    if isinstance(message, SignCertificateRequest | CertificateSignedRequest) and message.certificate_type is None:
        return msgspec.structs.replace(message, certificate_type="V2GCertificate")
    return message


# -- the application note simplifies Authorize: `idToken` is the EMAID alone, `idTokenInfo` as in
# 1.6; some follow it (Monta), others send it as in 2.0.1 (EVerest)


def simple_text(request: AuthorizeRequest) -> str:
    """Return an Authorize of a contract as the application note has it. Raises OcppError."""
    said = typed_json.decode(as_text(request), dict[str, object])
    return msgspec.json.encode(said | {"idToken": request.id_token.id_token}).decode()


def from_simple(text: str) -> AuthorizeRequest | None:
    """Return the Authorize in a text of the application note's form; None for another form. Raises OcppError."""
    try:
        said = typed_json.decode(text, dict[str, object])
    except msgspec.MsgspecError:
        return None
    if not isinstance(emaid := said.get("idToken"), str):
        return None
    whole = said | {"idToken": {"idToken": emaid, "type": "eMAID"}}
    return from_text(msgspec.json.encode(whole).decode(), AuthorizeRequest)


class _Info(msgspec.Struct):
    status: str


class _Authorized(msgspec.Struct, rename="camel", omit_defaults=True):
    """What answers of both forms have."""

    id_token_info: _Info
    certificate_status: str | None = None


def authorized(text: str) -> AuthorizeResponse:
    """Return the answer in a text of either form; of the application note's what both have. Raises OcppError."""
    try:
        return from_text(text, AuthorizeResponse)
    except OcppError:  # the note's form
        try:
            said = typed_json.decode(text, _Authorized)
        except msgspec.MsgspecError as error:
            raise OcppError(str(error), answer="FormatViolation") from None
        return from_text(msgspec.json.encode(said).decode(), AuthorizeResponse)
