"""A station's connection to its CSMS (functional block B)."""

from typing import Annotated, Literal

from v2g.ocpp.messages import base

APNAuthentication = Literal["PAP", "CHAP", "NONE", "AUTO"]


class APN(base.Datatype, frozen=True, kw_only=True):
    """A mobile data connection; `preferred_network` is MCC and MNC combined."""

    apn: Annotated[str, base.text(2000, v201=512)]
    apn_user_name: Annotated[str, base.text(50, v201=20)] | None = None
    apn_password: Annotated[str, base.text(64, v201=20)] | None = None
    sim_pin: base.Integer | None = None
    preferred_network: base.String6 | None = None
    use_only_preferred_network: bool = False
    apn_authentication: APNAuthentication


VPNType = Literal["IKEv2", "IPSec", "L2TP", "PPTP"]


class VPN(base.Datatype, frozen=True, kw_only=True):
    """A virtual private network; `key` is the shared secret."""

    server: Annotated[str, base.text(2000, v201=512)]
    user: Annotated[str, base.text(50, v201=20)]
    group: Annotated[str, base.text(50, v201=20)] | None = None
    password: Annotated[str, base.text(64, v201=20)]
    key: base.String255
    type: VPNType


OCPPVersion = Annotated[
    Literal["OCPP12", "OCPP15", "OCPP16", "OCPP20", "OCPP201", "OCPP21"], base.since_21("OCPP201", "OCPP21")
]
OCPPInterface = Annotated[
    Literal["Wired0", "Wired1", "Wired2", "Wired3", "Wireless0", "Wireless1", "Wireless2", "Wireless3", "Any"],
    base.since_21("Any"),
]
OCPPTransport = Literal["SOAP", "JSON"]


class NetworkConnectionProfile(base.Datatype, frozen=True, kw_only=True):
    """A connection to a CSMS. The URL is without the station's identity; `message_timeout` in s; profile 1 to 3."""

    apn: APN | None = None
    ocpp_version: Annotated[OCPPVersion | None, base.REQUIRED_201] = None
    ocpp_interface: OCPPInterface
    ocpp_transport: OCPPTransport
    message_timeout: base.Integer
    ocpp_csms_url: Annotated[str, base.text(2000, v201=512)]
    security_profile: base.NonNegative
    identity: Annotated[base.String48 | None, base.V21] = None
    basic_auth_password: Annotated[base.String64 | None, base.V21] = None
    vpn: VPN | None = None


class SetNetworkProfileRequest(base.Message, frozen=True, kw_only=True):
    """CSMS stores a profile in a slot (B09)."""

    configuration_slot: base.Integer
    connection_data: NetworkConnectionProfile


SetNetworkProfileStatus = Literal["Accepted", "Rejected", "Failed"]


class SetNetworkProfileResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SetNetworkProfile."""

    status: SetNetworkProfileStatus
    status_info: base.StatusInfo | None = None
