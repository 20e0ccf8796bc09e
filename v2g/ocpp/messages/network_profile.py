"""A station's connection to its CSMS (functional block B)."""

from typing import Annotated, Literal

from v2g.ocpp.messages.base import (
    REQUIRED_201,
    V21,
    Datatype,
    Integer,
    Message,
    NonNegative,
    StatusInfo,
    String6,
    String48,
    String64,
    String255,
    since_21,
    text,
)

APNAuthentication = Literal["PAP", "CHAP", "NONE", "AUTO"]


class APN(Datatype, frozen=True, kw_only=True):
    """A mobile data connection; `preferred_network` is MCC and MNC combined."""

    apn: Annotated[str, text(2000, v201=512)]
    apn_user_name: Annotated[str, text(50, v201=20)] | None = None
    apn_password: Annotated[str, text(64, v201=20)] | None = None
    sim_pin: Integer | None = None
    preferred_network: String6 | None = None
    use_only_preferred_network: bool = False
    apn_authentication: APNAuthentication


VPNType = Literal["IKEv2", "IPSec", "L2TP", "PPTP"]


class VPN(Datatype, frozen=True, kw_only=True):
    """A virtual private network; `key` is the shared secret."""

    server: Annotated[str, text(2000, v201=512)]
    user: Annotated[str, text(50, v201=20)]
    group: Annotated[str, text(50, v201=20)] | None = None
    password: Annotated[str, text(64, v201=20)]
    key: String255
    type: VPNType


OCPPVersion = Annotated[
    Literal["OCPP12", "OCPP15", "OCPP16", "OCPP20", "OCPP201", "OCPP21"], since_21("OCPP201", "OCPP21")
]
OCPPInterface = Annotated[
    Literal["Wired0", "Wired1", "Wired2", "Wired3", "Wireless0", "Wireless1", "Wireless2", "Wireless3", "Any"],
    since_21("Any"),
]
OCPPTransport = Literal["SOAP", "JSON"]


class NetworkConnectionProfile(Datatype, frozen=True, kw_only=True):
    """A connection to a CSMS. The URL is without the station's identity; `message_timeout` in s; profile 1 to 3."""

    apn: APN | None = None
    ocpp_version: Annotated[OCPPVersion | None, REQUIRED_201] = None
    ocpp_interface: OCPPInterface
    ocpp_transport: OCPPTransport
    message_timeout: Integer
    ocpp_csms_url: Annotated[str, text(2000, v201=512)]
    security_profile: NonNegative
    identity: Annotated[String48 | None, V21] = None
    basic_auth_password: Annotated[String64 | None, V21] = None
    vpn: VPN | None = None


class SetNetworkProfileRequest(Message, frozen=True, kw_only=True):
    """CSMS stores a profile in a slot (B09)."""

    configuration_slot: Integer
    connection_data: NetworkConnectionProfile


SetNetworkProfileStatus = Literal["Accepted", "Rejected", "Failed"]


class SetNetworkProfileResponse(Message, frozen=True, kw_only=True):
    """Answer to SetNetworkProfile."""

    status: SetNetworkProfileStatus
    status_info: StatusInfo | None = None
