"""A matching core's interface to its own modem: one command at a time, and queries in between.

Commands change the modem (network key, restart); a new key waits until the present one is answered. Queries
(vendor, link status) change nothing, so they never delay a command.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, Literal

import msgspec

from v2g.slac import mme, vendor
from v2g.slac.layout import Mme
from v2g.slac.shared import SlacTiming


class ModemVendor(Enum):
    """The modem's vendor, as far as relevant."""

    UNKNOWN = "unknown"
    QUALCOMM = "qualcomm"
    LUMISSIL = "lumissil"
    OTHER = "other"


class Traits(msgspec.Struct, frozen=True):
    """Capabilities and quirks of a vendor's modems.

    `key_applied` is the result of CM_SET_KEY.CNF for an applied key: 0 by the specification, 1 for
    Qualcomm; None if unknown. `version`, `link` and `reset` are the queries and the command to use.
    """

    key_applied: int | None
    version: Mme | None
    link: Mme
    reset: Mme | None = None


TRAITS: Final = {
    ModemVendor.QUALCOMM: Traits(1, vendor.VsSwVerReq(), vendor.VsPlLinkStatusReq(), vendor.VsRsDevReq()),
    ModemVendor.LUMISSIL: Traits(None, vendor.NscmGetVersionReq(), vendor.NscmGetDLinkStatusReq(),
                            vendor.NscmResetDeviceReq()),
    ModemVendor.OTHER: Traits(None, None, mme.CmNwStatsReq()),
}  # fmt: skip

_LINK_QUESTIONS: Final = tuple(traits.link for traits in TRAITS.values())
_VERSION_QUESTIONS: Final = (vendor.VsOpAttributesReq(), vendor.NscmGetVersionReq())
_RESTART_POLL_S: Final = 1.0
_FIRST_GAP_S: Final = 0.01
"""Delay from the first link query to the second while joining; each next one is doubled, up to
`join_poll_s`: most modems need seconds, but fast ones are detected early."""
_MISSES: Final = 3  # broadcast queries answered only by our own modem, until the other one counts as lost


class ModemConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The modem behind the port."""

    vendor: Literal["auto", "qualcomm", "lumissil", "other"] = "auto"
    """Vendor, for status queries: `auto` detects it, `other` (Vertexcom and so on) has no messages of its
    own."""
    link_detection: Literal["auto", "network_info", "network_statistics", "count", "none"] = "auto"
    """Detection of a link: `auto` by the vendor's link status, `network_info` by VS_NW_INFO (a station in our network),
    `network_statistics` by CM_NW_STATS (any station), `count` by a broadcast that two modems answer; `none` assumes
    that there is one, for modems that cannot be queried."""
    reset_after_key: bool = False
    """Restart the modem after each new key, which some firmware of the QCA7000 needs and which takes seconds."""


class ControlListener:
    """Receives the modem's answers."""

    def on_key_set(self, now: float) -> None:
        """The modem has accepted the key."""

    def on_modem_silent(self, now: float) -> None:
        """It did not answer, several times."""

    def on_link(self, up: bool, now: float) -> None:
        """It sees another modem in its network, or none (any longer)."""

    def on_version(self, chip: str, firmware: str) -> None:
        """It has reported its chip and firmware, which are not those reported before."""


def version_of(message: Mme) -> tuple[str, str] | None:
    """Return chip and firmware in an answer of a modem, each empty if not in it; None for other messages."""
    match message:
        case vendor.VsOpAttributesCnf():
            return (_text(message.platform), f"{message.major}.{message.minor}.{message.composite}.{message.build}")
        case vendor.NscmGetVersionCnf():
            return "Lumissil", f"{message.major}.{message.minor}.{message.patch}.{message.build}"
        case vendor.VsSwVerCnf():
            return "", _text(message.version)
    return None


def _text(value: bytes) -> str:
    return value.split(b"\0")[0].decode("ascii", "backslashreplace")


class ModemControl:
    """Call `receive` with possible answers, and `on_timer` for the timers of TIMERS in `timers`."""

    TIMERS: Final = frozenset({"key", "key_retry", "reset", "restart", "detect", "poll"})

    def __init__(
        self,
        config: ModemConfig,
        timing: SlacTiming,
        *,
        timers: dict[str, float],
        send: Callable[[bytes, Mme], None],
        listener: ControlListener,
    ) -> None:
        self.vendor = ModemVendor.UNKNOWN if config.vendor == "auto" else ModemVendor(config.vendor)
        self.key: tuple[bytes, bytes] = (b"", b"")  # (nid, nmk) that the modem has or is being given
        self.keyed = False
        self._config = config
        self._timing = timing
        self._timers = timers
        self._send = send
        self._listener = listener
        self._wanted: tuple[bytes, bytes] | None = None
        self._tries = 0
        self._restarted_by = 0.0
        self._versions = 0
        self._poll_s: float | None = None
        self._gap_s = 0.0
        self._polls = 0
        self._received_at = 0.0
        self._answering: set[bytes] = set()
        self._misses = 0
        self._version = ("", "")

    @property
    def busy(self) -> bool:
        """Whether a command is in progress."""
        return not self._timers.keys().isdisjoint(("key", "key_retry", "reset", "restart"))

    # -- commands ---------------------------------------------------------------------------------------------

    def set_key(self, nid: bytes, nmk: bytes, now: float) -> None:
        """Set the modem's key. A command in progress is finished first; polling stops."""
        self.stop_polling()
        self.keyed = False
        if self.busy:
            self._wanted = (nid, nmk)
            return
        self.key, self._tries = (nid, nmk), 0
        self._send_key(now)

    def _send_key(self, now: float) -> None:
        nid, nmk = self.key
        self._tries += 1
        self._timers["key"] = now + self._timing.set_key_s
        self._send(mme.LOCAL_MODEM, mme.CmSetKeyReq(nid=nid, nmk=nmk))

    def _key_answered(self, result: int, now: float) -> None:
        if self._timers.pop("key", None) is None:
            return
        traits = TRAITS.get(self.vendor)
        refused = traits is not None and traits.key_applied not in (None, result)
        if self._wanted is not None:
            self._next(now)
        elif refused and self._tries <= self._timing.match_retries:
            self._timers["key_retry"] = now + self._timing.key_retry_s
        elif self._config.reset_after_key:
            self._timers["reset"] = now + self._timing.reset_pause_s
        else:
            self._done(now)  # also if apparently rejected: the link decides

    def _done(self, now: float) -> None:
        if self._wanted is not None:
            self._next(now)
            return
        self.keyed = True
        self._listener.on_key_set(now)

    def _next(self, now: float) -> None:
        assert self._wanted is not None
        wanted, self._wanted = self._wanted, None
        self.set_key(*wanted, now)

    def _reset(self, now: float) -> None:
        """Restart the modem, and query its version until it is back."""
        traits = TRAITS.get(self.vendor)
        if traits is None or traits.reset is None:
            self._done(now)
            return
        self._restarted_by = now + self._timing.modem_restart_s
        self._timers["restart"] = now + _RESTART_POLL_S
        self._send(mme.LOCAL_MODEM, traits.reset)

    def _silent(self, now: float) -> None:
        if self._wanted is not None:
            self._next(now)
        else:
            self._listener.on_modem_silent(now)

    # -- queries ----------------------------------------------------------------------------------------------

    def detect(self, now: float) -> None:
        """Detect the modem's vendor, unless known."""
        if self.vendor is ModemVendor.UNKNOWN and "detect" not in self._timers:
            self._versions = 0
            self._detect(now)

    def _detect(self, now: float) -> None:
        if self.vendor is ModemVendor.UNKNOWN and self._versions < len(_VERSION_QUESTIONS):
            self._timers["detect"] = now + self._timing.detection_s
            self._send(mme.LOCAL_MODEM, _VERSION_QUESTIONS[self._versions])
            self._versions += 1

    def start_polling(self, interval_s: float, now: float) -> None:
        """Query the link now, soon after, and then every `interval_s`.

        A modem that cannot be queried is assumed to have one.
        """
        if self._config.link_detection == "none":
            self._listener.on_link(True, now)  # noqa: FBT003
            return
        self._poll_s, self._gap_s, self._polls, self._received_at = interval_s, min(_FIRST_GAP_S, interval_s), 0, now
        self._answering, self._misses = set(), 0
        self._poll(now)

    def keep_polling(self, now: float) -> None:
        """The link is up: query it periodically, to detect its loss."""
        self.stop_polling()
        if self._config.link_detection != "none":
            self._poll_s = self._gap_s = self._timing.matched_poll_s
            self._received_at = now
            self._answering, self._misses = set(), 0
            self._timers["poll"] = now + self._poll_s

    def stop_polling(self) -> None:
        """Stop querying, and ignore late answers."""
        self._poll_s = None
        self._timers.pop("poll", None)

    def _poll(self, now: float) -> None:
        if self._poll_s is None:
            return
        if self._config.link_detection == "count" and self._polls:
            self._misses = 0 if len(self._answering) > 1 else self._misses + 1
            self._answering = set()
        self._polls += 1
        self._timers["poll"] = now + self._gap_s
        self._gap_s = min(2 * self._gap_s, self._poll_s)
        match self._config.link_detection:
            case "network_info":
                self._send(mme.LOCAL_MODEM, vendor.VsNwInfoReq())
            case "network_statistics":
                self._send(mme.LOCAL_MODEM, mme.CmNwStatsReq())
            case "count":
                self._send(mme.BROADCAST, vendor.VsSwVerReq())
            case _:
                traits = TRAITS.get(self.vendor)
                question = traits.link if traits else _LINK_QUESTIONS[(self._polls - 1) % len(_LINK_QUESTIONS)]
                self._send(mme.LOCAL_MODEM, question)
        if self._misses >= _MISSES or now - self._received_at >= self._timing.link_status_response_s:
            self._misses, self._received_at = 0, now
            self._listener.on_link(False, now)  # noqa: FBT003

    # -- answers ----------------------------------------------------------------------------------------------

    def receive(self, source: bytes, message: Mme, now: float) -> bool:
        """Process `message` if it is a modem's answer; return whether it is."""
        if isinstance(message, mme.CmSetKeyCnf):
            self._key_answered(message.result, now)
            return True
        if message.MMTYPE & 3 != 1 or not (message.OUI or isinstance(message, mme.CmNwStatsCnf)):
            return False
        if self.vendor is ModemVendor.UNKNOWN and message.OUI in (vendor.QUALCOMM, vendor.LUMISSIL):
            self.vendor = ModemVendor.QUALCOMM if message.OUI == vendor.QUALCOMM else ModemVendor.LUMISSIL
            self._timers.pop("detect", None)
        self._learn_version(message)
        if isinstance(message, vendor.VsSwVerCnf | vendor.NscmGetVersionCnf):
            if self._timers.pop("restart", None) is not None:
                self._done(now)
            elif self._config.link_detection == "count" and self._poll_s is not None:
                self._received_at = now
                self._answering.add(source)
                if len(self._answering) > 1:
                    self._listener.on_link(True, now)  # noqa: FBT003
        # the link status in an answer, or None when it is not an answer to our query
        detection = self._config.link_detection
        match message:
            case vendor.VsPlLinkStatusCnf() if detection == "auto" and message.mstatus == 0:
                up: bool | None = message.link_status == 1
            case vendor.NscmGetDLinkStatusCnf() if detection == "auto":
                up = message.link_status == 1
            case mme.CmNwStatsCnf() if detection in ("auto", "network_statistics"):
                up = message.num_stas > 0
            case vendor.VsNwInfoCnf() | vendor.VsNwInfoV1Cnf() if detection == "network_info":
                up = any(each.nid == self.key[0] and each.num_stas for each in message.networks)
            case _:
                up = None
        if up is not None and self._poll_s is not None:
            self._received_at = now
            self._listener.on_link(up, now)
        return True

    def _learn_version(self, message: Mme) -> None:
        version = version_of(message)
        if version is None or version == self._version or self._config.link_detection == "count":
            return  # there the peer's modem answers, too
        self._version = version
        self._listener.on_version(*version)

    def on_timer(self, name: str, now: float) -> None:
        """Let one of TIMERS expire."""
        match name:
            case "key":
                if self._wanted is not None:
                    self._next(now)
                elif self._tries <= self._timing.match_retries:
                    self._send_key(now)
                else:
                    self._silent(now)
            case "key_retry":
                self._send_key(now) if self._wanted is None else self._next(now)
            case "reset":
                self._reset(now) if self._wanted is None else self._next(now)
            case "restart":
                version = TRAITS[self.vendor].version
                assert version is not None
                if now >= self._restarted_by:
                    self._silent(now)
                    return
                self._timers["restart"] = now + _RESTART_POLL_S
                self._send(mme.LOCAL_MODEM, version)
            case "detect":
                self._detect(now)
            case "poll":
                self._poll(now)
