"""Queries a modem's identity, link, and configuration for its role: pure.

One query at a time; unanswered ones are skipped. Shells run it like a matching core.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from v2g.errors import FrameError
from v2g.slac import mme, pib, vendor
from v2g.slac.control import ModemVendor, version_of
from v2g.slac.host import Host
from v2g.slac.layout import Mme, codec_of
from v2g.slac.shared import Action, SendFrame

_FIRST: Final[tuple[Mme, ...]] = (vendor.VsOpAttributesReq(), vendor.NscmGetVersionReq(), mme.CmNwStatsReq())
_QUALCOMM: Final[tuple[Mme, ...]] = (vendor.VsSwVerReq(), vendor.VsPlLinkStatusReq(), vendor.VsNwInfoReq(),
                                     *pib.questions())  # fmt: skip
_LUMISSIL: Final[tuple[Mme, ...]] = (vendor.NscmGetDLinkStatusReq(),)


class PlcNeighbour(msgspec.Struct, frozen=True):
    """A station of the modem's network: addresses of modem and of the host behind it, rates in Mbit/s."""

    modem: str
    host: str
    tx: int
    rx: int


class ModemReport(msgspec.Struct, frozen=True, kw_only=True):
    """A modem's report. Empty texts and None were not reported; `settings` are those that determine its role."""

    vendor: ModemVendor = ModemVendor.UNKNOWN
    modem: str = ""
    chip: str = ""
    firmware: str = ""
    link: bool | None = None
    network: str = ""
    neighbours: tuple[PlcNeighbour, ...] = ()
    name: str = ""
    settings: tuple[pib.PibFinding, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether there is a modem at all."""
        return bool(self.modem)


class ModemInspector:
    """Queries once; `report` is complete when `finished`."""

    def __init__(self, role: pib.Role, *, mac: bytes, now: float, wait_s: float = 0.2) -> None:
        self.report = ModemReport()
        self.finished = False
        self._role = role
        self._mac = mac
        self._wait_s = wait_s
        self._left = list(_FIRST)
        self._parts: dict[int, bytes] = {}
        self._waiting: Mme | None = None
        self._until: float | None = None
        self._actions: list[SendFrame] = []
        self._ask(now)

    def receive(self, frame: bytes, now: float) -> None:
        """Process one Ethernet frame."""
        try:
            received = mme.decode(frame)
        except FrameError:
            return
        asked = self._waiting
        if received.destination != self._mac or asked is None or received.message.MMTYPE != asked.MMTYPE + 1:
            return
        self.report = msgspec.structs.replace(self.report, modem=received.source.hex(":"))
        self._learn(received.message)
        self._ask(now)

    def tick(self, now: float) -> None:
        """Continue after an unanswered query."""
        if self._until is not None and now >= self._until:
            self._ask(now)

    def deadline(self) -> float | None:
        """Return when `tick` must be called, or None."""
        return self._until

    def actions(self) -> list[SendFrame]:
        """Return the actions since the last call."""
        actions, self._actions = self._actions, []
        return actions

    def _ask(self, now: float) -> None:
        if not self._left:
            self._waiting, self._until, self.finished = None, None, True
            return
        self._waiting = self._left.pop(0)
        self._until = now + self._wait_s
        self._actions.append(SendFrame(mme.encode(mme.MmeFrame(mme.LOCAL_MODEM, self._mac, self._waiting))))

    def _is(self, found: ModemVendor, questions: tuple[Mme, ...]) -> None:
        if self.report.vendor is ModemVendor.UNKNOWN:
            self._change(vendor=found)
            self._left = [each for each in self._left if not isinstance(each, vendor.NscmGetVersionReq)]
            self._left += questions

    def _change(self, **changes: object) -> None:
        self.report = msgspec.structs.replace(self.report, **changes)

    def _learn(self, message: Mme) -> None:
        match message:
            case vendor.VsOpAttributesCnf() | vendor.NscmGetVersionCnf() | vendor.VsSwVerCnf():
                chip, firmware = version_of(message) or ("", "")
                self._change(chip=chip or self.report.chip, firmware=firmware or self.report.firmware)
                if isinstance(message, vendor.VsOpAttributesCnf):
                    self._is(ModemVendor.QUALCOMM, _QUALCOMM)
                elif isinstance(message, vendor.NscmGetVersionCnf):
                    self._is(ModemVendor.LUMISSIL, _LUMISSIL)
            case vendor.VsPlLinkStatusCnf() | vendor.NscmGetDLinkStatusCnf():
                self._change(link=message.link_status == 1)
            case mme.CmNwStatsCnf():
                stations = tuple(PlcNeighbour(each.mac.hex(":"), "", each.tx, each.rx) for each in message.stations)
                self._change(neighbours=stations, link=bool(stations))
            case vendor.VsNwInfoCnf() if message.networks:
                network = message.networks[0]
                near = (PlcNeighbour(s.mac.hex(":"), s.bda.hex(":"), s.tx, s.rx) for s in network.stations)
                self._change(network=network.nid.hex(), neighbours=tuple(near))
            case vendor.VsRdModCnf():
                try:
                    offset, data = pib.part_of(message)
                except FrameError as error:
                    if str(error) not in self.report.problems:
                        self._change(problems=(*self.report.problems, str(error)))
                    return
                self._parts[offset] = data
                self._change(name=pib.user_name(self._parts), settings=pib.findings(self._parts, self._role))


# -- Feeds recorded frames to a matching core, in the time of the recording: pure, and as fast as possible -----------


def replay(core: Host, frames: Iterable[tuple[float, bytes]], *, wait_s: float = 1.0) -> list[tuple[float, Action]]:
    """Feed `frames` (time of reception in s, frame) and return the core's actions with their times.

    The caller has started the core at or before the first frame's time. Timers expire between the frames, and for
    `wait_s` after the last one. Frames are in order of time; one that appears older counts as simultaneous.
    """
    done: list[tuple[float, Action]] = []
    now = 0.0
    for at, frame in frames:
        now = max(now, at)
        _run_until(core, now, done)
        core.receive(frame, now)
        done += [(now, action) for action in core.actions()]
    _run_until(core, now + wait_s, done)
    return done


def _run_until(core: Host, end: float, done: list[tuple[float, Action]]) -> None:
    done += [(end, action) for action in core.actions()]
    while (deadline := core.deadline()) is not None and deadline <= end:
        core.tick(deadline)
        done += [(deadline, action) for action in core.actions()]


# -- Readable management messages: declared ones field by field, others in hexadecimal -------------------------------

_MODES: Final = ("REQ", "CNF", "IND", "RSP")

_OTHERS: Final = {
    0x0000: "CC_CCO_APPOINT",
    0x0014: "CC_DISCOVER_LIST",
    0x6000: "CM_UNASSOCIATED_STA",
    0x6004: "CM_ENCRYPTED_PAYLOAD",
    0x6010: "CM_SC_JOIN",
    0x6014: "CM_CHAN_EST",
    0x6018: "CM_TM_UPDATE",
    0x6020: "CM_BRG_INFO",
    0x6034: "CM_STA_CAP",
    0x6038: "CM_NW_INFO",
    0x603C: "CM_GET_BEACON",
    0x6040: "CM_HFID",
    0x6044: "CM_MME_ERROR",
    0x6080: "CM_SLAC_USER_DATA",
}
"""Messages known by name only."""


class Description(msgspec.Struct, frozen=True):
    """One frame. `name` is that of the specification, or the type in hexadecimal; `fields` are names and texts.

    `problem` says why the fields could not be decoded; the only field is the payload then.
    """

    destination: str
    source: str
    name: str
    version: int
    fields: tuple[tuple[str, str], ...]
    problem: str = ""

    def __str__(self) -> str:
        texts = "  ".join(f"{name}={text}" for name, text in self.fields)
        return f"{self.source} > {self.destination}  {self.name}  {texts}" + f"  ({self.problem})" * bool(self.problem)


def describe(frame: bytes, *, secrets: bool = False) -> Description:
    """Return the description of an Ethernet frame. Never raises; keys are shown with `secrets` only."""
    try:
        message = mme.decode(frame).message
    except FrameError as error:
        return _unknown(frame, str(error))
    fields = tuple(codec_of(type(message)).texts(message, secrets=secrets))
    return Description(frame[:6].hex(":"), frame[6:12].hex(":"), message.name(), frame[14], fields)


def _unknown(frame: bytes, problem: str) -> Description:
    try:
        header = mme.read_header(frame)
    except FrameError:
        return Description(frame[:6].hex(":"), frame[6:12].hex(":"), "not a message", 0, (("data", _hex(frame[12:])),),
                           problem)  # fmt: skip
    base = header.mmtype & ~3
    name = f"{_OTHERS.get(base, f'{base:#06x}')}.{_MODES[header.mmtype & 3]}"
    known = mme.CODECS.get((header.mmtype, header.version > 0, header.oui))
    payload = _hex(frame[header.payload_at :])
    if known is not None:
        name, payload = known.message.name(), "(not shown: may hold a key)" if known.holds_secrets else payload
    fields = (("oui", header.oui.hex()),) * bool(header.oui) + (("payload", payload),)
    return Description(frame[:6].hex(":"), frame[6:12].hex(":"), name, header.version, fields, problem)


def _hex(data: bytes) -> str:
    return data.hex() or "-"
