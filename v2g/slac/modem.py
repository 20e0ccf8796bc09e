"""A simulated Green PHY modem between a host and the line: pure.

It models the parts relevant to matching: accepts network keys, measures sounds (charger side), forms a network
with modems of the same key, reports the link in every vendor's way, and delivers to the host only
its own frames. Not modelled: a real modem's delays (3-5 s after a new key or a restart) and encryption
of the network. Beacons are sent when the host queries the link, not periodically; a modem that does not answer
ten of them in a row counts as lost.
"""

from collections.abc import Callable
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec.structs import asdict

from v2g.errors import FrameError
from v2g.slac import mme, vendor
from v2g.slac.layout import Mme
from v2g.slac.pib import checksum, simulated_pib

_PEERS: Final = 64
_MISSES: Final = 10
_HOMEPLUG: Final = mme.ETHERTYPE.to_bytes(2, "big")
_RATE: Final = 9
"""Reported Mbit/s of a simulated link: about that of Green PHY's robust modes."""


class AttenuationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A charger's simulated measurement of a vehicle."""

    low_db: Annotated[int, msgspec.Meta(ge=0, le=127)] = 8
    """Attenuation of the lowest carrier group."""
    high_db: Annotated[int, msgspec.Meta(ge=0, le=127)] = 16
    """Attenuation of the highest carrier group; linear in between."""
    neighbours: dict[str, int] = {}
    """Address of a vehicle (aa:bb:cc:dd:ee:ff) -> additional dB, for vehicles received by cross-talk."""

    def profile(self, pev_mac: bytes) -> bytes:
        """Return one byte of dB per carrier group for sounds of `pev_mac`."""
        extra = self.neighbours.get(pev_mac.hex(":"), 0)
        span = self.high_db - self.low_db
        steps = (self.low_db + extra + span * group // (mme.GROUPS - 1) for group in range(mme.GROUPS))
        return bytes(max(0, min(255, step)) for step in steps)


class Measures(Protocol):
    """A charger's measurement of a vehicle's sounds."""

    def profile(self, pev_mac: bytes) -> bytes:
        """Return one byte of dB per carrier group for sounds of `pev_mac`."""


class FrameDelivery(msgspec.Struct, frozen=True):
    """A frame that leaves the modem."""

    to: Literal["host", "line"]
    frame: bytes


class _Peer(msgspec.Struct):
    """Another modem, from its last beacon. `misses` counts queries since."""

    host: bytes
    nid: bytes
    misses: int = 0


class SimulatedModem:
    """One modem. `host_mac` is the address of the port it serves, `mac` its own.

    `make` is the vendor whose messages it answers; `other` supports only the standard ones.
    """

    def __init__(
        self,
        *,
        host_mac: bytes,
        mac: bytes,
        measures: Measures | None,
        make: Literal["qualcomm", "lumissil", "other"] = "qualcomm",
    ) -> None:
        """Pass `measures` for a charger's modem; a vehicle's modem (None) makes no attenuation profiles."""
        self.mac = mac
        self.nid: bytes | None = None
        self._host = host_mac
        self._measures = measures
        self._oui = {"qualcomm": vendor.QUALCOMM, "lumissil": vendor.LUMISSIL}.get(make)
        self._peers: dict[bytes, _Peer] = {}
        self._pib = simulated_pib("ev" if measures is None else "evse", mac)

    @property
    def link_up(self) -> bool:
        """Whether another modem is in the same network."""
        return bool(self._members)

    @property
    def _members(self) -> dict[bytes, _Peer]:
        return {mac: peer for mac, peer in self._peers.items() if peer.nid == self.nid}

    def from_host(self, frame: bytes) -> list[FrameDelivery]:
        """Process a frame from the host: answer it, or send it on the line."""
        message = _message(frame) if (frame[:6] in (mme.LOCAL_MODEM, mme.BROADCAST)) else None
        if isinstance(message, mme.CmSetKeyReq):
            self.nid = message.nid
            return [self._to_host(mme.CmSetKeyCnf(result=int(self._oui == vendor.QUALCOMM))),
                    self._beacon(mme.BROADCAST)]  # fmt: skip
        answer = self._answer(message) if message is not None else None
        answers = [self._to_host(answer)] if answer is not None else []
        if isinstance(message, _LINK_QUESTIONS):
            answers += self._seek()
        if isinstance(message, vendor.VsRsDevReq | vendor.NscmResetDeviceReq) and self._understands(message):
            self._peers.clear()
            answers += self._seek()
        if frame[:6] == mme.LOCAL_MODEM or (frame[12:14] != _HOMEPLUG and not self.link_up):
            return answers  # other frames are transmitted inside a network only
        return [*answers, FrameDelivery("line", frame)]

    def from_line(self, frame: bytes) -> list[FrameDelivery]:
        """Process a frame from the line: deliver the host's frames, and measure sounds."""
        destination, source = frame[:6], frame[6:12]
        # broadcast, or multicast as IPv6 uses it
        if destination not in (self._host, self.mac) and not (bool(destination) and bool(destination[0] & 1)):
            return []
        message = _message(frame)
        if isinstance(message, vendor.SimBeaconInd):
            if message.modem == self.mac:
                return []
            if message.modem in self._peers or len(self._peers) < _PEERS:
                self._peers[message.modem] = _Peer(message.host, message.nid)
            return [self._beacon(message.modem, ask=False)] if message.ask and self.nid is not None else []
        if isinstance(message, vendor.VsSwVerReq) and destination == mme.BROADCAST:
            answer = self._answer(message) if any(peer.host == source for peer in self._members.values()) else None
            return [] if answer is None else [FrameDelivery("line", self._frame(source, answer))]
        if destination == self.mac:
            return []
        out = [FrameDelivery("host", frame)]
        if self._measures is not None and isinstance(message, mme.CmMnbcSoundInd):
            out.append(self._to_host(mme.CmAttenProfileInd(pev_mac=source, aag=self._measures.profile(source))))
        return out

    # -- queries of the host ----------------------------------------------------------------------------------

    def _understands(self, message: Mme) -> bool:
        return message.OUI in (b"", self._oui)

    def _answer(self, message: Mme) -> Mme | None:
        """Return the answer to the host's query, or None if this vendor has none."""
        answer = _ANSWERS.get(type(message))
        return answer(self, message) if answer is not None and self._understands(message) else None

    def _sw_ver(self, _message: Mme) -> Mme:
        version = b"MAC-QCA7000-1.1.0.730-SIMULATED\0"
        return vendor.VsSwVerCnf(device_id=0x22, length=len(version), version=version)

    def _attributes(self, message: vendor.VsOpAttributesReq) -> Mme:
        return vendor.VsOpAttributesCnf(
            cookie=message.cookie,
            platform=b"QCA7000".ljust(16, b"\0"),
            device=b"SIMULATED".ljust(16, b"\0"),
            major=1,
            minor=1,
            composite=0,
            sustaining=0,
            build=730,
            date=b"20260101",
            release=b"simulation".ljust(12, b"\0"),
            line_frequency=1,
        )

    def _read(self, message: vendor.VsRdModReq) -> Mme:
        data = self._pib[message.offset : message.offset + min(message.length, vendor.BLOCK)]
        if message.module_id != vendor.MODULE_PIB or len(data) != message.length:
            return vendor.VsRdModCnf(mstatus=0x10, length=0, offset=message.offset, checksum=0, data=b"")
        return vendor.VsRdModCnf(length=len(data), offset=message.offset, checksum=checksum(data), data=data)

    def _write(self, message: vendor.VsWrModReq) -> Mme:
        end = message.offset + message.length
        wrong = (
            message.module_id != vendor.MODULE_PIB or end > len(self._pib) or message.checksum != checksum(message.data)
        )
        if not wrong:
            self._pib = self._pib[: message.offset] + message.data + self._pib[end:]
        return vendor.VsWrModCnf(mstatus=0x10 if wrong else 0, length=message.length, offset=message.offset)

    def _operate(self, message: vendor.VsModuleOperationReq) -> Mme:
        data = self._pib[message.offset : message.offset + min(message.length, vendor.BLOCK)]
        wrong = message.module_id != vendor.MODULE_PARAMETERS or message.operation > 1
        return vendor.VsModuleOperationCnf(
            mstatus=0x10 if wrong else 0,
            operation=message.operation,
            length=0 if wrong else len(data),
            offset=message.offset,
            data=b"" if wrong else data,
        )

    def _network_info(self, _message: Mme) -> Mme:
        if self.nid is None:
            return vendor.VsNwInfoCnf(num_avlns=0, networks=())
        stations = tuple(
            vendor.PlcStation(mac=mac, tei=tei, bda=peer.host, tx=_RATE, rx=_RATE)
            for tei, (mac, peer) in enumerate(self._members.items(), 2)
        )
        coordinator = self._measures is not None
        network = vendor.PlcNetwork(
            nid=self.nid,
            snid=1,
            tei=1,
            role=2 if coordinator else 0,
            cco_mac=self.mac if coordinator or not stations else stations[0].mac,
            cco_tei=1,
            num_stas=len(stations),
            stations=stations,
        )
        return vendor.VsNwInfoCnf(num_avlns=1, networks=(network,))

    def _network_info_v1(self, message: Mme) -> Mme:
        plain = self._network_info(message)
        assert isinstance(plain, vendor.VsNwInfoCnf)
        networks = tuple(
            vendor.NetworkV1(
                **asdict(each) | {"stations": tuple(vendor.StationV1(**asdict(one)) for one in each.stations)}
            )
            for each in plain.networks
        )
        length = 2 + sum(32 + 24 * each.num_stas for each in networks)
        return vendor.VsNwInfoV1Cnf(data_len=length, num_avlns=len(networks), networks=networks)

    def _statistics(self, _message: Mme) -> Mme:
        stations = tuple(mme.NwStation(mac=mac, tx=_RATE, rx=_RATE) for mac in self._members)
        return mme.CmNwStatsCnf(num_stas=len(stations), stations=stations)

    def _get_key(self, message: mme.CmGetKeyReq) -> Mme:
        return mme.CmGetKeyCnf(
            result=1,  # rejected: keys are secret
            key_type=message.key_type,
            my_nonce=bytes(4),
            your_nonce=message.my_nonce,
            nid=self.nid or bytes(7),
            eks=1,
            pid=message.pid,
            prn=message.prn,
            pmn=message.pmn,
        )

    # -- the other modems -------------------------------------------------------------------------------------

    def _seek(self) -> list[FrameDelivery]:
        """Query the others of the network, or all; drop those that never answer."""
        for mac, peer in list(self._peers.items()):
            peer.misses += 1
            if peer.misses > _MISSES:
                del self._peers[mac]
        if self.nid is None:
            return []
        return [self._beacon(mac) for mac in self._members] or [self._beacon(mme.BROADCAST)]

    def _beacon(self, destination: bytes, *, ask: bool = True) -> FrameDelivery:
        assert self.nid is not None
        message = vendor.SimBeaconInd(modem=self.mac, host=self._host, nid=self.nid, ask=int(ask))
        return FrameDelivery("line", self._frame(destination, message))

    def _to_host(self, message: Mme) -> FrameDelivery:
        return FrameDelivery("host", self._frame(self._host, message))

    def _frame(self, destination: bytes, message: Mme) -> bytes:
        frame = mme.encode(mme.MmeFrame(destination, self.mac, message))
        return frame.ljust(_FRAMES.get(type(message), 0), b"\0")


_FRAMES: Final[dict[type[Mme], int]] = {vendor.VsOpAttributesCnf: 147, vendor.VsSwVerCnf: 88}
"""Bytes of answers that are not parsed: 118 of attributes, room for 64 of a version."""

_LINK_QUESTIONS = (
    vendor.VsPlLinkStatusReq,
    vendor.NscmGetDLinkStatusReq,
    vendor.VsNwInfoReq,
    vendor.VsNwInfoV1Req,
    vendor.VsSwVerReq,
    mme.CmNwStatsReq,
)

_ANSWERS: Final[dict[type[Mme], Callable[..., Mme]]] = {
    vendor.VsSwVerReq: SimulatedModem._sw_ver,
    vendor.VsRsDevReq: lambda modem, message: vendor.VsRsDevCnf(),
    vendor.VsOpAttributesReq: SimulatedModem._attributes,
    vendor.VsPlLinkStatusReq: lambda modem, message: vendor.VsPlLinkStatusCnf(link_status=int(modem.link_up)),
    vendor.VsNwInfoReq: SimulatedModem._network_info,
    vendor.VsNwInfoV1Req: SimulatedModem._network_info_v1,
    vendor.VsRdModReq: SimulatedModem._read,
    vendor.VsWrModReq: SimulatedModem._write,
    vendor.VsModNvmReq: lambda modem, message: vendor.VsModNvmCnf(module_id=message.module_id),
    vendor.VsModuleOperationReq: SimulatedModem._operate,
    vendor.NscmGetVersionReq: lambda modem, _: vendor.NscmGetVersionCnf(major=1, minor=0, patch=0, build=1),
    vendor.NscmGetDLinkStatusReq: lambda modem, _: vendor.NscmGetDLinkStatusCnf(link_status=int(modem.link_up)),
    mme.CmNwStatsReq: SimulatedModem._statistics,
    mme.CmGetKeyReq: SimulatedModem._get_key,
}


def _message(frame: bytes) -> Mme | None:
    try:
        return mme.decode(frame).message
    except FrameError:
        return None
