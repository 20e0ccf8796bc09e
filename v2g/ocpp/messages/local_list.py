"""The local authorization list (functional block D)."""

from typing import Literal

from v2g.ocpp.messages.authorization import IdToken, IdTokenInfo
from v2g.ocpp.messages.base import Datatype, Identifier, Message, OneOrMore, StatusInfo


class AuthorizationData(Datatype, frozen=True, kw_only=True):
    """One entry. Without `id_token_info` a differential update removes it (D01)."""

    id_token: IdToken
    id_token_info: IdTokenInfo | None = None


UpdateType = Literal["Differential", "Full"]


class SendLocalListRequest(Message, frozen=True, kw_only=True):
    """CSMS replaces or changes the list; `version_number` is the new one, above 0 (D01)."""

    local_authorization_list: OneOrMore[AuthorizationData] = ()
    version_number: Identifier
    update_type: UpdateType


SendLocalListStatus = Literal["Accepted", "Failed", "VersionMismatch"]


class SendLocalListResponse(Message, frozen=True, kw_only=True):
    """Answer to SendLocalList."""

    status: SendLocalListStatus
    status_info: StatusInfo | None = None


class GetLocalListVersionRequest(Message, frozen=True, kw_only=True):
    """CSMS requests the version of the list (D02)."""


class GetLocalListVersionResponse(Message, frozen=True, kw_only=True):
    """`version_number` is 0 when there is no list (D02.FR.03)."""

    version_number: Identifier
