"""The slots of network profiles, stored in the device model as one NetworkConfiguration per slot (B09, 2.1)."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from v2g import typed_json
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.network_profile import NetworkConnectionProfile
from v2g_station.kernel.kernel import Kernel, status_info
from v2g_station.kernel.layout import SLOTS, Variable, key_of

COMPONENT: Final = "NetworkConfiguration"
IDENTITY: Final = re.compile(r"[A-Za-z0-9*\-_=+|@.]{1,48}")
"""An identifierString without a colon, which would end the user name (A00.FR.204)."""

_FIELDS: Final[Mapping[str, str]] = {
    "OcppCsmsUrl": "ocpp_csms_url",
    "OcppInterface": "ocpp_interface",
    "OcppTransport": "ocpp_transport",
    "OcppVersion": "ocpp_version",
    "MessageTimeout": "message_timeout",
    "SecurityProfile": "security_profile",
    "Identity": "identity",
    "BasicAuthPassword": "basic_auth_password",
}
"""Variable of NetworkConfiguration -> field of NetworkConnectionProfile."""


class Slots:
    """The configuration of each slot. `first` is slot 1 from the station's own configuration."""

    def __init__(self, kernel: Kernel, first: NetworkConnectionProfile, *, lowest: int) -> None:
        """Load stored slots. `first` is used unless the CSMS has set slot 1, or its security profile is below `lowest`
        while another slot is usable."""
        self._k = kernel
        self._first = first
        for key, profile in kernel.stored("network", NetworkConnectionProfile).items():  # as stored by older programs
            kernel.forget("network", key)
            self.put(int(key), profile)
        if not self._text(1, "OcppCsmsUrl") and (first.security_profile >= lowest or not self.configured()):
            self._show(1, first)

    def _key(self, slot: int, name: str) -> str:
        return key_of(COMPONENT, name, str(slot))

    def _text(self, slot: int, name: str) -> str:
        return self._k.model.text(self._key(slot, name))

    # -- reading

    def configured(self) -> tuple[int, ...]:
        """Return the usable slots."""
        return tuple(slot for slot in SLOTS if isinstance(self.get(slot), NetworkConnectionProfile))

    def get(self, slot: int) -> NetworkConnectionProfile | StatusInfo:
        """Return the profile of a slot, or its error (B09.FR.33, .34)."""
        values = {name[0].lower() + name[1:]: self._text(slot, name) or None for name in _FIELDS}
        try:
            profile = typed_json.convert(values, NetworkConnectionProfile, strict=False)
        except msgspec.ValidationError as error:
            return status_info("InvalidNetworkConf", f"slot {slot}: {error}"[:1024])
        return flaw(profile) or profile

    def profile(self, slot: int) -> NetworkConnectionProfile:
        """Return the profile of a slot; if unusable, that of the station's own configuration, unchecked."""
        found = self.get(slot)
        return found if isinstance(found, NetworkConnectionProfile) else self._first

    # -- writing

    def put(self, slot: int, profile: NetworkConnectionProfile) -> None:
        """Set a slot for the CSMS and store it (B09.FR.09)."""
        self._show(slot, profile)
        self.keep(slot)

    def keep(self, slot: int) -> None:
        """Store a slot as it is: from now on it is the CSMS's, no longer the station's own."""
        for name in _FIELDS:
            self._k.keep_text("variables", self._key(slot, name), self._text(slot, name))

    def remove(self, slot: int) -> None:
        """Clear a slot."""
        for name in _FIELDS:
            self._k.model.put(self._key(slot, name), "")
            self._k.forget("variables", self._key(slot, name))

    def clear(self, slot: int, name: str) -> None:
        """Remove the own identity or password of a slot (B09.FR.26, .27)."""
        if self._text(slot, name):
            self._k.model.put(self._key(slot, name), "")
            self.keep(slot)

    def _show(self, slot: int, profile: NetworkConnectionProfile) -> None:
        for name, field in _FIELDS.items():
            value = getattr(profile, field)
            self._k.model.put(self._key(slot, name), "" if value is None else str(value))


def slot_of(variable: Variable) -> int:
    """Return the slot of a variable of NetworkConfiguration."""
    return int(variable.component_instance or 0)


def flaw(profile: NetworkConnectionProfile) -> StatusInfo | None:
    """Return why a profile cannot be used (B09.FR.02), or None."""
    scheme = "ws://" if profile.security_profile <= 1 else "wss://"
    least = 0 if profile.ocpp_version == "OCPP16" else 1
    if not least <= profile.security_profile <= 3 or profile.ocpp_transport != "JSON":
        return status_info("InvalidNetworkConf", "transport must be JSON and the security profile 1 to 3")
    if not profile.ocpp_csms_url.startswith(scheme):
        return status_info("InvalidURL", "the URL scheme does not match the security profile")
    if profile.message_timeout <= 0:
        return status_info("InvalidNetworkConf", "messageTimeout")
    if profile.vpn is not None or profile.apn is not None:  # B09.FR.13: managed by the operating system, not OCPP
        return status_info("InvalidNetworkConf", "APN and VPN cannot be configured over OCPP")
    if profile.identity is not None and not IDENTITY.fullmatch(profile.identity):
        return status_info("InvalidNetworkConf", "identity")
    if profile.basic_auth_password is not None and len(profile.basic_auth_password) < 16:
        return status_info("InvalidNetworkConf", "basicAuthPassword must have at least 16 characters")
    return None
