"""A simulated Green PHY modem between a host and the line: pure.

It does what matching can see of a real one: takes network keys, measures sounds (charger side), forms a network
with modems of the same key, tells whether there is a link, and hands the host only frames for it. What it does not
model: the time a real modem takes (3-5 s after a new key), encryption of the network, and beacon loss; a modem that
dies silently stays in its peers' networks.
"""

from typing import Literal

import msgspec

from v2g.errors import FrameError
from v2g.slac import mme

_PEERS = 64


class AttenuationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the charger's modem measures: dB of the lowest and, rising evenly, of the highest carrier group (0..127).

    `neighbours` maps vehicle addresses (aa:bb:cc:dd:ee:ff) to extra dB, for vehicles that are heard by cross-talk.
    """

    low_db: int = 8
    high_db: int = 16
    neighbours: dict[str, int] = {}

    def profile(self, pev_mac: bytes) -> bytes:
        """Return one byte of dB per carrier group for sounds of `pev_mac`."""
        extra = self.neighbours.get(pev_mac.hex(":"), 0)
        span = self.high_db - self.low_db
        steps = (self.low_db + extra + span * group // (mme.GROUPS - 1) for group in range(mme.GROUPS))
        return bytes(max(0, min(255, step)) for step in steps)


class Delivery(msgspec.Struct, frozen=True):
    """A frame that leaves the modem."""

    to: Literal["host", "line"]
    frame: bytes


class SimulatedModem:
    """One modem. `host_mac` is the address of the port it serves, `mac` its own."""

    def __init__(self, *, host_mac: bytes, mac: bytes, measures: AttenuationConfig | None) -> None:
        """Give `measures` for a charger's modem; a vehicle's modem (None) makes no attenuation profiles."""
        self.mac = mac
        self.nid: bytes | None = None
        self._host = host_mac
        self._measures = measures
        self._peers: dict[bytes, bytes] = {}  # modem -> network it is in

    @property
    def link_up(self) -> bool:
        """Whether another modem is in the same network."""
        return self.nid is not None and self.nid in self._peers.values()

    def from_host(self, frame: bytes) -> list[Delivery]:
        """Take a frame from the host: answer it, or put it on the line."""
        try:
            message = mme.decode(frame).message if _for_modem(frame) else None
        except FrameError:
            message = None
        if isinstance(message, mme.CmSetKeyReq):
            self.nid = message.nid
            return [self._to_host(mme.CmSetKeyCnf(result=1)), self._beacon(mme.BROADCAST)]
        if isinstance(message, mme.VsPlLinkStatusReq):
            return [self._to_host(mme.VsPlLinkStatusCnf(link_status=int(self.link_up)))]
        if frame[:6] == mme.LOCAL_MODEM:
            return []
        return [Delivery("line", frame)]

    def from_line(self, frame: bytes) -> list[Delivery]:
        """Take a frame from the line: pass on what is for the host, and measure sounds."""
        destination = frame[:6]
        try:
            received = mme.decode(frame)
        except FrameError:
            received = None
        if received is not None and isinstance(received.message, mme.SimBeaconInd):
            return self._on_beacon(received.message, destination)
        if destination not in (self._host, mme.BROADCAST):
            return []
        out = [Delivery("host", frame)]
        if self._measures is not None and received is not None and isinstance(received.message, mme.CmMnbcSoundInd):
            profile = mme.CmAttenProfileInd(pev_mac=received.source, aag=self._measures.profile(received.source))
            out.append(self._to_host(profile))
        return out

    def _on_beacon(self, beacon: mme.SimBeaconInd, destination: bytes) -> list[Delivery]:
        if destination not in (self.mac, mme.BROADCAST) or beacon.modem == self.mac:
            return []
        if beacon.modem in self._peers or len(self._peers) < _PEERS:
            self._peers[beacon.modem] = beacon.nid
        if destination == mme.BROADCAST and self.nid is not None:
            return [self._beacon(beacon.modem)]
        return []

    def _beacon(self, destination: bytes) -> Delivery:
        assert self.nid is not None
        message = mme.SimBeaconInd(modem=self.mac, nid=self.nid)
        return Delivery("line", mme.encode(mme.MmeFrame(destination, self.mac, message)))

    def _to_host(self, message: mme.Mme) -> Delivery:
        return Delivery("host", mme.encode(mme.MmeFrame(self._host, self.mac, message)))


def _for_modem(frame: bytes) -> bool:
    """Real modems also obey commands that are broadcast by their own host."""
    return frame[:6] in (mme.LOCAL_MODEM, mme.BROADCAST)
