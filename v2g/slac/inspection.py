"""Queries a modem's identity, link, and configuration for its role: pure.

One query at a time; unanswered ones are skipped. Shells run it like a matching core.
"""

from typing import Final

import msgspec

from v2g.errors import FrameError
from v2g.slac import lumissil, mme, pib, vendor
from v2g.slac.actions import Send
from v2g.slac.control import Vendor, version_of
from v2g.slac.layout import Mme

_FIRST: Final[tuple[Mme, ...]] = (vendor.VsOpAttributesReq(), lumissil.NscmGetVersionReq(), mme.CmNwStatsReq())
_QUALCOMM: Final[tuple[Mme, ...]] = (vendor.VsSwVerReq(), vendor.VsPlLinkStatusReq(), vendor.VsNwInfoReq(),
                                     *pib.questions())  # fmt: skip
_LUMISSIL: Final[tuple[Mme, ...]] = (lumissil.NscmGetDLinkStatusReq(),)


class Neighbour(msgspec.Struct, frozen=True):
    """A station of the modem's network: addresses of modem and of the host behind it, rates in Mbit/s."""

    modem: str
    host: str
    tx: int
    rx: int


class ModemReport(msgspec.Struct, frozen=True, kw_only=True):
    """A modem's report. Empty texts and None were not reported; `settings` are those that determine its role."""

    vendor: Vendor = Vendor.UNKNOWN
    modem: str = ""
    chip: str = ""
    firmware: str = ""
    link: bool | None = None
    network: str = ""
    neighbours: tuple[Neighbour, ...] = ()
    name: str = ""
    settings: tuple[pib.Finding, ...] = ()
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
        self._actions: list[Send] = []
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

    def actions(self) -> list[Send]:
        """Return the actions since the last call."""
        actions, self._actions = self._actions, []
        return actions

    def _ask(self, now: float) -> None:
        if not self._left:
            self._waiting, self._until, self.finished = None, None, True
            return
        self._waiting = self._left.pop(0)
        self._until = now + self._wait_s
        self._actions.append(Send(mme.encode(mme.MmeFrame(mme.LOCAL_MODEM, self._mac, self._waiting))))

    def _is(self, found: Vendor, questions: tuple[Mme, ...]) -> None:
        if self.report.vendor is Vendor.UNKNOWN:
            self._change(vendor=found)
            self._left = [each for each in self._left if not isinstance(each, lumissil.NscmGetVersionReq)]
            self._left += questions

    def _change(self, **changes: object) -> None:
        self.report = msgspec.structs.replace(self.report, **changes)

    def _learn(self, message: Mme) -> None:
        match message:
            case vendor.VsOpAttributesCnf() | lumissil.NscmGetVersionCnf() | vendor.VsSwVerCnf():
                chip, firmware = version_of(message) or ("", "")
                self._change(chip=chip or self.report.chip, firmware=firmware or self.report.firmware)
                if isinstance(message, vendor.VsOpAttributesCnf):
                    self._is(Vendor.QUALCOMM, _QUALCOMM)
                elif isinstance(message, lumissil.NscmGetVersionCnf):
                    self._is(Vendor.LUMISSIL, _LUMISSIL)
            case vendor.VsPlLinkStatusCnf() | lumissil.NscmGetDLinkStatusCnf():
                self._change(link=message.link_status == 1)
            case mme.CmNwStatsCnf():
                stations = tuple(Neighbour(each.mac.hex(":"), "", each.tx, each.rx) for each in message.stations)
                self._change(neighbours=stations, link=bool(stations))
            case vendor.VsNwInfoCnf() if message.networks:
                network = message.networks[0]
                stations = (Neighbour(s.mac.hex(":"), s.bda.hex(":"), s.tx, s.rx) for s in network.stations)
                self._change(network=network.nid.hex(), neighbours=tuple(stations))
            case vendor.VsRdModCnf():
                try:
                    offset, data = pib.part_of(message)
                except FrameError as error:
                    if str(error) not in self.report.problems:
                        self._change(problems=(*self.report.problems, str(error)))
                    return
                self._parts[offset] = data
                self._change(name=pib.user_name(self._parts), settings=pib.findings(self._parts, self._role))
