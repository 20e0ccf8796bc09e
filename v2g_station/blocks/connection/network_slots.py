"""The slots of network profiles. The device model holds them: a NetworkConfiguration for each slot (B09, 2.1)."""

import re
from collections.abc import Mapping
from types import MappingProxyType
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

_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "OcppCsmsUrl": "ocpp_csms_url",
        "OcppInterface": "ocpp_interface",
        "OcppTransport": "ocpp_transport",
        "OcppVersion": "ocpp_version",
        "MessageTimeout": "message_timeout",
        "SecurityProfile": "security_profile",
        "Identity": "identity",
        "BasicAuthPassword": "basic_auth_password",
    }
)
"""Variable of NetworkConfiguration -> field of NetworkConnectionProfile."""


class Slots:
    """What is configured in each slot. `first` is slot 1 as the station's own configuration has it."""

    def __init__(self, kernel: Kernel, first: NetworkConnectionProfile, *, lowest: int) -> None:
        """Read what was kept. `first` comes in where slot 1 is not the CSMS's, unless its security profile is below
        `lowest` while there is another way."""
        self._k = kernel
        self._first = first
        for key, profile in kernel.stored("network", NetworkConnectionProfile).items():  # as older programs kept them
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
        """Return the slots with which a connection could be made."""
        return tuple(slot for slot in SLOTS if isinstance(self.get(slot), NetworkConnectionProfile))

    def get(self, slot: int) -> NetworkConnectionProfile | StatusInfo:
        """Return the profile of a slot, or what is wrong with it (B09.FR.33, .34)."""
        values = {name[0].lower() + name[1:]: self._text(slot, name) or None for name in _FIELDS}
        try:
            profile = typed_json.convert(values, NetworkConnectionProfile, strict=False)
        except msgspec.ValidationError as error:
            return status_info("InvalidNetworkConf", f"slot {slot}: {error}"[:1024])
        return flaw(profile) or profile

    def profile(self, slot: int) -> NetworkConnectionProfile:
        """Return the profile of a slot; without a usable one that of the station's own configuration, as it is."""
        found = self.get(slot)
        return found if isinstance(found, NetworkConnectionProfile) else self._first

    # -- writing

    def put(self, slot: int, profile: NetworkConnectionProfile) -> None:
        """Let a slot be as the CSMS wants it, and keep that (B09.FR.09)."""
        self._show(slot, profile)
        self.keep(slot)

    def keep(self, slot: int) -> None:
        """Keep a slot as it is: from now on it is the CSMS's, and no longer the station's own."""
        for name in _FIELDS:
            self._k.keep_text("variables", self._key(slot, name), self._text(slot, name))

    def remove(self, slot: int) -> None:
        """Let a slot be empty."""
        for name in _FIELDS:
            self._k.model.put(self._key(slot, name), "")
            self._k.forget("variables", self._key(slot, name))

    def clear(self, slot: int, name: str) -> None:
        """Let a slot have no identity or password of its own (B09.FR.26, .27)."""
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
    """Return why a profile cannot be used here (B09.FR.02), or None."""
    scheme = "ws://" if profile.security_profile == 1 else "wss://"
    if not 1 <= profile.security_profile <= 3 or profile.ocpp_transport != "JSON":
        return status_info("InvalidNetworkConf", "JSON and a security profile of 1 to 3")
    if not profile.ocpp_csms_url.startswith(scheme):
        return status_info("InvalidURL", "the scheme does not fit the security profile")
    if profile.message_timeout <= 0:
        return status_info("InvalidNetworkConf", "messageTimeout")
    if profile.vpn is not None or profile.apn is not None:  # B09.FR.13: the operating system's, not OCPP's
        return status_info("InvalidNetworkConf", "APN and VPN cannot be configured over OCPP")
    if profile.identity is not None and not IDENTITY.fullmatch(profile.identity):
        return status_info("InvalidNetworkConf", "identity")
    if profile.basic_auth_password is not None and len(profile.basic_auth_password) < 16:
        return status_info("InvalidNetworkConf", "basicAuthPassword has at least 16 characters")
    return None
