"""The choice of the network profile: which CSMS is tried first, and which next (B10, A05).

Profiles set by the CSMS, by SetNetworkProfile or SetVariables, are checked here (B09).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from v2g import typed_json
from v2g.observe import Callbacks
from v2g.ocpp.messages import provisioning as ocpp
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.messages.provisioning import NetworkConnectionProfile, SetVariableStatus
from v2g.ocpp.routes import Version
from v2g_station.blocks.security.certificate_store import CertificateStore
from v2g_station.kernel.kernel import Handler, Kernel, status_info
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
    if not _has_address(profile.ocpp_csms_url):
        return status_info("InvalidURL", "the URL has no valid host and port")
    if profile.message_timeout <= 0:
        return status_info("InvalidNetworkConf", "messageTimeout")
    if profile.vpn is not None or profile.apn is not None:  # B09.FR.13: managed by the operating system, not OCPP
        return status_info("InvalidNetworkConf", "APN and VPN cannot be configured over OCPP")
    if profile.identity is not None and not IDENTITY.fullmatch(profile.identity):
        return status_info("InvalidNetworkConf", "identity")
    if profile.basic_auth_password is not None and len(profile.basic_auth_password) < 16:
        return status_info("InvalidNetworkConf", "basicAuthPassword must have at least 16 characters")
    return None


def _has_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not any(map(str.isspace, url))
    except ValueError:
        return False


_PRIORITY: Final = "OCPPCommCtrlr.NetworkConfigurationPriority"
_IDENTITY: Final = "SecurityCtrlr.Identity"
_PASSWORD: Final = "SecurityCtrlr.BasicAuthPassword"  # noqa: S105  # a variable's name
_DOWNGRADE: Final = "SecurityCtrlr.AllowSecurityProfileDowngrade"

_BEFORE: Final = "network_before"
_DIGITS: Final = re.compile(r"[0-9A-Fa-f]{40}")

Verdict = StatusInfo | SetVariableStatus | None


class NetworkProfiles:
    """The profiles."""

    def __init__(
        self,
        kernel: Kernel,
        first: ocpp.NetworkConnectionProfile,
        identity: str,
        *,
        certificates: CertificateStore,
        security_event: Callable[[str, str], None],
    ) -> None:
        self._k = kernel
        texts = kernel.stored_text("network_state")
        self._level = int(texts.get("security", "-1"))
        """The last security profile that worked, -1 for none yet."""
        self._octets = "octets" in texts
        """Whether the password was set over 1.6, as 40 hexadecimal digits."""
        self._slots = Slots(kernel, first, lowest=self._level)
        self._successful = int(texts.get("successful", "1"))
        if self._successful not in self._slots.configured():
            self._successful = 1
        before = kernel.stored(_BEFORE, ocpp.NetworkConnectionProfile)
        self._before = before.get("profile")
        """The profile of the last success, if the CSMS has replaced it and the new one has not worked yet."""
        self._identity = kernel.stored_text("variables").get(_IDENTITY, identity)
        self._attempts = 0
        self._fallen_back = False
        self.on_none_left: Final = Callbacks[[]]()
        """Called when each entry of the priority list was tried without success."""
        self._order = self._priority()
        self._index = 0
        self._certificates, self._security_event = certificates, security_event
        self.answers: dict[str, Handler] = {"SetNetworkProfile": self._set}
        model = kernel.model
        model.checks[_PRIORITY.lower()] = self._check_priority
        model.checks[_IDENTITY.lower()] = _check_identity
        model.after[_IDENTITY.lower()] = self._identity_set
        model.checks[_PASSWORD.lower()] = self._check_password
        model.after[_PASSWORD.lower()] = self._password_set
        model.live[_IDENTITY.lower()] = self.identity
        model.component_checks[COMPONENT] = self._check_variable
        model.component_after[COMPONENT] = lambda variable: self._slots.keep(slot_of(variable))
        self._show()

    def _priority(self) -> tuple[int, ...]:
        wanted = [int(part) for part in self._k.model.members(_PRIORITY) if part.isdecimal()]
        usable = self._slots.configured()
        return tuple(slot for slot in wanted if slot in usable) or usable[:1] or (1,)

    # -- for the connection

    def current(self) -> tuple[int, ocpp.NetworkConnectionProfile]:
        """Return the slot and profile to connect with."""
        if self._fallen_back:
            return self._successful, self._before or self._slots.profile(self._successful)
        slot = self._order[self._index]
        return slot, self._slots.profile(slot)

    def identity(self) -> str:
        """Return the station's identity at the CSMS of the current profile (B09.FR.28)."""
        return self.current()[1].identity or self._identity

    def password(self, versions: Sequence[Version]) -> str | None:
        """Return the station's password at the CSMS of the current profile; profile 0, of 1.6, has none.

        40 hexadecimal digits that were set over 1.6, or are for it alone, stand for 20 octets. If these are refused,
        the digits are sent: edition 3 of its security whitepaper has it so.
        """
        profile = self.current()[1]
        found = profile.basic_auth_password or self._k.model.text(_PASSWORD)
        if (self._octets or tuple(versions) == ("1.6",)) and _DIGITS.fullmatch(found) and self._attempts % 2 == 0:
            found = bytes.fromhex(found).decode(errors="surrogateescape")
        return found or None if profile.security_profile else None

    def spare(self) -> int:
        """Return a slot that is not in use: the last one, unless it is."""
        used = {self.current()[0], *self._order}
        return next((slot for slot in reversed(SLOTS) if slot not in used), SLOTS[-1])

    def failed(self) -> None:
        """Count a failed attempt; after enough of them try the next entry, finally the working one (B10.FR.03, .07)."""
        self._attempts += 1
        if self._fallen_back or self._attempts < self._k.model.number("OCPPCommCtrlr.NetworkProfileConnectionAttempts"):
            return
        self._attempts = 0
        self._index += 1
        if self._index >= len(self._order):
            self._index = 0
            other = self._successful not in self._order or len(self._order) > 1
            self._fallen_back = other or self._before is not None
            self.on_none_left.tell()
        self._k.note("network_profile", slot=self.current()[0])
        self._show()

    def succeeded(self) -> None:
        """Handle acceptance by the CSMS over the current profile."""
        slot, profile = self.current()
        self._attempts = 0
        if self._before is not None and not self._fallen_back:
            self._before = None
            self._k.forget(_BEFORE, "profile")
        if slot != self._successful:
            self._successful = slot
            self._k.keep_text("network_state", "successful", str(slot))
        # handle a working security profile: if it is a higher one, remove lower ones for good (A05.FR.05, .06)
        level = profile.security_profile
        if 0 <= self._level < level:
            self._security_event("ReconfigurationOfSecurityParameters", f"security profile {level}")
            for slot in self._slots.configured():
                if self._slots.profile(slot).security_profile < level:
                    self._slots.remove(slot)
            rest = [str(slot) for slot in self._order if slot in self._slots.configured()]
            self._k.model.put(_PRIORITY, ",".join(rest), durable=True)
            self._order, self._index = self._priority(), 0
            self._fallen_back = self._successful not in self._order
        if level != self._level:
            self._level = level
            self._k.keep_text("network_state", "security", str(level))
        self._k.put("SecurityCtrlr.SecurityProfile", str(level))
        self._show()

    def _show(self) -> None:
        slot, profile = self.current()
        self._k.put("OCPPCommCtrlr.ActiveNetworkProfile", str(slot))
        if self._k.model.number("SecurityCtrlr.SecurityProfile") < 1 or not self._k.reachable:
            self._k.put("SecurityCtrlr.SecurityProfile", str(profile.security_profile))

    # -- for the CSMS

    def _password_set(self, value: str) -> None:
        """Use SecurityCtrlr.BasicAuthPassword from now on instead of the active profile's own (B09.FR.27)."""
        self._k.note("password_changed")  # A01.FR.11, .12: log the change, not the password
        self._octets = self._k.bridged and _DIGITS.fullmatch(value) is not None
        if self._octets:
            self._k.keep_text("network_state", "octets", "yes")
        else:
            self._k.forget("network_state", "octets")
        self._clear("BasicAuthPassword")
        self._k.after("password", 0, self._k.connection.reconnect)

    def _identity_set(self, value: str) -> None:
        """B09.FR.26."""
        self._identity = value
        self._clear("Identity")

    def _clear(self, name: str) -> None:
        """Remove the own identity or password of the profile in use."""
        if self._fallen_back and self._before is not None:
            self._before = msgspec.structs.replace(self._before, **{_FIELDS[name]: None})
            self._k.keep(_BEFORE, "profile", self._before)
        else:
            self._slots.clear(self.current()[0], name)

    def _too_low(self, level: int) -> bool:
        """Return whether a security profile is a forbidden downgrade (A05.FR.08 to .10, B09.FR.04, .31, .32, .35)."""
        active = self._k.model.number("SecurityCtrlr.SecurityProfile")
        return level < active and (level < 2 or not self._k.model.flag(_DOWNGRADE))

    def _set(self, request: ocpp.SetNetworkProfileRequest) -> Message:
        """B09."""
        profile, slot = request.connection_data, request.configuration_slot
        why: StatusInfo | None
        if slot not in SLOTS:  # B09.FR.05
            why = status_info("InvalidConfSlot", f"slots {SLOTS[0]} to {SLOTS[-1]}")
        elif self._too_low(profile.security_profile):  # B09.FR.04
            why = status_info("NoSecurityDowngrade")
        else:
            why = flaw(profile)
        if why is not None:
            return ocpp.SetNetworkProfileResponse(status="Rejected", status_info=why)  # B09.FR.02
        if slot == self._successful and self._before is None:  # lest a wrong one strands the station (B10.FR.07)
            self._before = self._slots.profile(slot)
            self._k.keep(_BEFORE, "profile", self._before)
        self._slots.put(slot, profile)
        return ocpp.SetNetworkProfileResponse(status="Accepted")

    def _check_password(self, value: str) -> Verdict:
        """Check a new password: before OCPP 2.1 it has at most 40 characters (A00.FR.205)."""
        return None if self._k.version == "2.1" or len(value) <= 40 else status_info("InvalidValue")

    def _check_variable(self, variable: Variable, value: str) -> Verdict:
        """Check a value of NetworkConfiguration; slots in the priority list are read-only (B09.FR.22 to .25)."""
        if str(slot_of(variable)) in self._k.model.members(_PRIORITY):
            return status_info("ActiveNetworkConf")
        match variable.name:
            case "SecurityProfile" if self._too_low(int(value)):
                return status_info("NoSecurityDowngrade")
            case "OcppCsmsUrl" if value and not (value.startswith(("ws://", "wss://")) and _has_address(value)):
                return status_info("InvalidURL")
            case "Identity" if value and not IDENTITY.fullmatch(value):
                return status_info("InvalidValue")
        return None

    def _check_priority(self, value: str) -> Verdict:
        """Check a new order of slots (B10.FR.01, .02, A05.FR.02 to .04, B09.FR.20, .33, .34)."""
        if not value:
            return status_info("InvalidConfSlot")
        for slot in map(int, value.split(",")):
            profile = self._slots.get(slot)
            if isinstance(profile, StatusInfo):
                return profile
            level = profile.security_profile
            if level >= 2 and not self._certificates.has("CSMSRootCertificate"):
                return status_info("MissingCertificate", "CSMSRootCertificate")
            if level >= 3 and not self._certificates.has("ChargingStationCertificate"):
                return status_info("MissingCertificate", "ChargingStationCertificate")
            if self._too_low(level):
                return status_info("NoSecurityDowngrade")
        return None if self._k.version == "2.1" else "RebootRequired"


def _check_identity(value: str) -> Verdict:
    """Check an identity; a new one is used from the next start."""
    return "RebootRequired" if IDENTITY.fullmatch(value) else status_info("InvalidValue")


def first_profile(url: str, *, security_profile: int, message_timeout: float) -> ocpp.NetworkConnectionProfile:
    """Return slot 1 from the station's own configuration; security profile 0 is one of 1.6 only."""
    return ocpp.NetworkConnectionProfile(
        ocpp_version="OCPP20" if security_profile else "OCPP16",
        ocpp_interface="Wired0",
        ocpp_transport="JSON",
        message_timeout=max(1, round(message_timeout)),
        ocpp_csms_url=url,
        security_profile=security_profile,
    )
