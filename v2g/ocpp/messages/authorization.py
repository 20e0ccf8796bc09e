"""Authorization of drivers and contracts (functional block C), and the local list (D)."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages import base
from v2g.ocpp.messages.tariff_cost import Tariff

IdTokenType = Annotated[
    str,
    Meta(max_length=20),
    base.values_201("Central", "eMAID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress", "NoAuthorization"),
]


class AdditionalInfo(base.Datatype, frozen=True, kw_only=True):
    """An additional token of a driver."""

    additional_id_token: Annotated[str, base.text(255, v201=36)]
    type: base.String50


class IdToken(base.Datatype, frozen=True, kw_only=True):
    """The driver's identifier. For plug and charge `type` is `eMAID`."""

    additional_info: base.OneOrMore[AdditionalInfo] = ()
    id_token: Annotated[str, base.text(255, v201=36)]
    type: IdTokenType


class AuthorizeRequest(base.Message, frozen=True, kw_only=True):
    """Station requests authorization; for plug and charge with the contract chain, PEM (C01, C07)."""

    id_token: IdToken
    certificate: Annotated[str, base.text(10000, v201=5500)] | None = None
    iso15118_certificate_hash_data: Annotated[base.OneOrMore[base.OCSPRequestData], Meta(max_length=4)] = ()


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


class IdTokenInfo(base.Datatype, frozen=True, kw_only=True):
    """The CSMS's data of an identifier."""

    status: AuthorizationStatus
    cache_expiry_date_time: base.DateTime | None = None
    charging_priority: base.Integer | None = None
    group_id_token: IdToken | None = None
    language1: base.String8 | None = None
    language2: base.String8 | None = None
    evse_id: base.OneOrMore[base.NonNegative] = ()
    personal_message: base.MessageContent | None = None


class AuthorizeResponse(base.Message, frozen=True, kw_only=True):
    """`certificate_info` is present when a contract certificate or its hashes were sent (C07)."""

    id_token_info: IdTokenInfo
    certificate_status: AuthorizeCertificateStatus | None = None
    allowed_energy_transfer: Annotated[base.OneOrMore[base.EnergyTransferMode], base.V21] = ()
    tariff: Annotated[Tariff | None, base.V21] = None


class ClearCacheRequest(base.Message, frozen=True, kw_only=True):
    """CSMS clears the authorization cache (C11)."""


ClearCacheStatus = Literal["Accepted", "Rejected"]


class ClearCacheResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ClearCache."""

    status: ClearCacheStatus
    status_info: base.StatusInfo | None = None


class AuthorizationData(base.Datatype, frozen=True, kw_only=True):
    """One entry. Without `id_token_info` a differential update removes it (D01)."""

    id_token: IdToken
    id_token_info: IdTokenInfo | None = None


UpdateType = Literal["Differential", "Full"]


class SendLocalListRequest(base.Message, frozen=True, kw_only=True):
    """CSMS replaces or changes the list; `version_number` is the new one, above 0 (D01)."""

    local_authorization_list: base.OneOrMore[AuthorizationData] = ()
    version_number: base.Identifier
    update_type: UpdateType


SendLocalListStatus = Literal["Accepted", "Failed", "VersionMismatch"]


class SendLocalListResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SendLocalList."""

    status: SendLocalListStatus
    status_info: base.StatusInfo | None = None


class GetLocalListVersionRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests the version of the list (D02)."""


class GetLocalListVersionResponse(base.Message, frozen=True, kw_only=True):
    """`version_number` is 0 when there is no list (D02.FR.03)."""

    version_number: base.Identifier
