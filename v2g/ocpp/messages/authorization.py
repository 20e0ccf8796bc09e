"""Authorization of drivers and contracts (functional block C), and the local list (D)."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages.base import (
    V21,
    Datatype,
    DateTime,
    EnergyTransferMode,
    Identifier,
    Integer,
    Message,
    MessageContent,
    NonNegative,
    OCSPRequestData,
    OneOrMore,
    StatusInfo,
    String8,
    String50,
    text,
    values_201,
)
from v2g.ocpp.messages.tariff_cost import Tariff

IdTokenType = Annotated[
    str,
    Meta(max_length=20),
    values_201("Central", "eMAID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress", "NoAuthorization"),
]


class AdditionalInfo(Datatype, frozen=True, kw_only=True):
    """An additional token of a driver."""

    additional_id_token: Annotated[str, text(255, v201=36)]
    type: String50


class IdToken(Datatype, frozen=True, kw_only=True):
    """The driver's identifier. For plug and charge `type` is `eMAID`."""

    additional_info: OneOrMore[AdditionalInfo] = ()
    id_token: Annotated[str, text(255, v201=36)]
    type: IdTokenType


class AuthorizeRequest(Message, frozen=True, kw_only=True):
    """Station requests authorization; for plug and charge with the contract chain, PEM (C01, C07)."""

    id_token: IdToken
    certificate: Annotated[str, text(10000, v201=5500)] | None = None
    iso15118_certificate_hash_data: Annotated[OneOrMore[OCSPRequestData], Meta(max_length=4)] = ()


AuthorizeCertificateStatus = Literal[
    "Accepted",
    "SignatureError",
    "CertificateExpired",
    "CertificateRevoked",
    "NoCertificateAvailable",
    "CertChainError",
    "ContractCancelled",
]
AuthorizationStatus = Literal[
    "Accepted",
    "Blocked",
    "ConcurrentTx",
    "Expired",
    "Invalid",
    "NoCredit",
    "NotAllowedTypeEVSE",
    "NotAtThisLocation",
    "NotAtThisTime",
    "Unknown",
]


class IdTokenInfo(Datatype, frozen=True, kw_only=True):
    """The CSMS's data of an identifier."""

    status: AuthorizationStatus
    cache_expiry_date_time: DateTime | None = None
    charging_priority: Integer | None = None
    group_id_token: IdToken | None = None
    language1: String8 | None = None
    language2: String8 | None = None
    evse_id: OneOrMore[NonNegative] = ()
    personal_message: MessageContent | None = None


class AuthorizeResponse(Message, frozen=True, kw_only=True):
    """`certificate_info` is present when a contract certificate or its hashes were sent (C07)."""

    id_token_info: IdTokenInfo
    certificate_status: AuthorizeCertificateStatus | None = None
    allowed_energy_transfer: Annotated[OneOrMore[EnergyTransferMode], V21] = ()
    tariff: Annotated[Tariff | None, V21] = None


class ClearCacheRequest(Message, frozen=True, kw_only=True):
    """CSMS clears the authorization cache (C11)."""


ClearCacheStatus = Literal["Accepted", "Rejected"]


class ClearCacheResponse(Message, frozen=True, kw_only=True):
    """Answer to ClearCache."""

    status: ClearCacheStatus
    status_info: StatusInfo | None = None


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
