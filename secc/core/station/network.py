"""Network profiles: which CSMS is called, how, and which comes next when it does not answer (B09, B10, A05)."""

from collections.abc import Callable
from typing import Final

import msgspec

from secc.core.station.kernel import Handler, Kernel, because
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.messages.network_profile import (
    NetworkConnectionProfile,
    SetNetworkProfileRequest,
    SetNetworkProfileResponse,
)
from v2g.ocpp.messages.provisioning import SetVariableStatus

SLOTS: Final = (1, 2, 3, 4)
_PRIORITY: Final = "OCPPCommCtrlr.NetworkConfigurationPriority"


class NetworkProfiles:
    """The slots. `has_certificate` says whether a kind of certificate is installed that a security profile needs."""

    def __init__(self, kernel: Kernel, first: NetworkConnectionProfile) -> None:
        self._k = kernel
        self._slots = {1: first} | {
            int(key): profile for key, profile in kernel.stored("network", NetworkConnectionProfile).items()
        }
        texts = kernel.stored_text("network_state")
        self._successful = int(texts.get("successful", "1"))
        if self._successful not in self._slots:
            self._successful = 1
        self._highest = int(texts.get("security", "0"))
        self._attempts = 0
        self._fallen_back = False
        self._order = self._priority()
        self._index = 0
        self.has_certificate: Callable[[str], bool] = lambda _: True
        self.security_event: Callable[[str, str], None] = lambda _type, _info: None
        self.answers: dict[str, Handler] = {"SetNetworkProfile": self._set}
        kernel.model.checks[_PRIORITY.lower()] = self._check_priority
        self._show()

    def _priority(self) -> tuple[int, ...]:
        wanted = [int(part) for part in self._k.model.members(_PRIORITY) if part.isdecimal()]
        return tuple(slot for slot in wanted if slot in self._slots) or (1,)

    # -- for the link

    def current(self) -> tuple[int, NetworkConnectionProfile]:
        """Return the slot and profile to connect with."""
        slot = self._successful if self._fallen_back else self._order[self._index]
        return slot, self._slots[slot]

    def failed(self) -> None:
        """Count an attempt; after enough of them comes the next entry, at last the one that worked (B10.FR.03, .07)."""
        self._attempts += 1
        if self._fallen_back or self._attempts < self._k.model.number("OCPPCommCtrlr.NetworkProfileConnectionAttempts"):
            return
        self._attempts = 0
        self._index += 1
        if self._index >= len(self._order):
            self._index = 0
            self._fallen_back = self._successful not in self._order or len(self._order) > 1
        self._k.note("network_profile", slot=self.current()[0])
        self._show()

    def succeeded(self) -> None:
        """The CSMS has accepted the station over the current profile."""
        slot, profile = self.current()
        self._attempts = 0
        if slot != self._successful:
            self._successful = slot
            self._k.keep_text("network_state", "successful", str(slot))
        self._raise_security(profile.security_profile)
        self._show()

    def restart(self) -> None:
        """Begin anew with the first entry, as after a reboot (B10.FR.04)."""
        self._order, self._index, self._attempts, self._fallen_back = self._priority(), 0, 0, False
        self._show()

    def _raise_security(self, level: int) -> None:
        """Once a higher security profile has worked, lower ones are gone for good (A05.FR.05, .06)."""
        if 0 < self._highest < level:
            self.security_event("ReconfigurationOfSecurityParameters", f"security profile {level}")
            for slot in [slot for slot, profile in self._slots.items() if profile.security_profile < level]:
                del self._slots[slot]
                self._k.forget("network", str(slot))
        if level > self._highest:
            self._highest = level
            self._k.keep_text("network_state", "security", str(level))
        self._k.put("SecurityCtrlr.SecurityProfile", str(level))

    def _show(self) -> None:
        slot, profile = self.current()
        self._k.put("OCPPCommCtrlr.ActiveNetworkProfile", str(slot))
        if self._k.model.number("SecurityCtrlr.SecurityProfile") < 1 or not self._k.reachable:
            self._k.put("SecurityCtrlr.SecurityProfile", str(profile.security_profile))

    # -- for the CSMS

    def _set(self, request: SetNetworkProfileRequest) -> Message:
        """B09."""
        profile = request.connection_data
        slot = request.configuration_slot
        active = int(self._k.model.number("SecurityCtrlr.SecurityProfile"))
        why: StatusInfo | None = None
        if slot not in SLOTS:  # B09.FR.05
            why = because("InvalidConfSlot", f"slots {SLOTS[0]} to {SLOTS[-1]}")
        elif profile.security_profile < active:  # B09.FR.04
            why = because("NoSecurityDowngrade")
        elif not 1 <= profile.security_profile <= 3 or profile.ocpp_transport != "JSON":
            why = because("InvalidNetworkConf", "JSON and a security profile of 1 to 3")
        elif not profile.ocpp_csms_url.startswith("ws://" if profile.security_profile == 1 else "wss://"):
            why = because("InvalidURL", "the scheme does not fit the security profile")
        elif profile.message_timeout <= 0:
            why = because("InvalidNetworkConf", "messageTimeout")
        if why is not None:
            return SetNetworkProfileResponse(status="Rejected", status_info=why)  # B09.FR.02
        self._slots[slot] = profile
        self._k.keep("network", str(slot), profile)
        return SetNetworkProfileResponse(status="Accepted")

    def _check_priority(self, value: str) -> StatusInfo | SetVariableStatus | None:
        """Judge a new order of slots (B10.FR.01, .02, A05.FR.02 to .04)."""
        parts = value.split(",")
        if not value or not all(part.isdecimal() and int(part) in self._slots for part in parts):
            return because("InvalidConfSlot")
        for slot in map(int, parts):
            level = self._slots[slot].security_profile
            if level >= 2 and not self.has_certificate("CSMSRootCertificate"):
                return because("MissingCertificate", "CSMSRootCertificate")
            if level >= 3 and not self.has_certificate("ChargingStationCertificate"):
                return because("MissingCertificate", "ChargingStationCertificate")
            if level < self._k.model.number("SecurityCtrlr.SecurityProfile"):
                return because("NoSecurityDowngrade")
        return "RebootRequired"


def first_profile(url: str, *, security_profile: int, message_timeout: float) -> NetworkConnectionProfile:
    """Return slot 1 as the station's own configuration has it."""
    return NetworkConnectionProfile(
        ocpp_version="OCPP20",
        ocpp_interface="Wired0",
        ocpp_transport="JSON",
        message_timeout=max(1, round(message_timeout)),
        ocpp_csms_url=url,
        security_profile=security_profile,
    )


def without_secrets(profile: NetworkConnectionProfile) -> NetworkConnectionProfile:
    """Return a profile as it may be shown."""
    return msgspec.structs.replace(profile, basic_auth_password=None, vpn=None, apn=None)
