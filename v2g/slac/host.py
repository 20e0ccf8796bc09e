"""The host of a modem, which both matching cores are: keys of its networks, timers, actions, the amplitude map."""

import hashlib
from collections.abc import Callable
from typing import Annotated, Final

import msgspec

from v2g.errors import FrameError
from v2g.observe import Observe, Scalar
from v2g.slac import mme
from v2g.slac.control import ControlListener, ModemConfig, ModemControl
from v2g.slac.layout import Mme
from v2g.slac.shared import STANDARD, Action, SendFrame, SlacTiming

# -- Network keys of HomePlug Green PHY

NMK_SIZE: Final = 16
"""Bytes of a network membership key. A charger generates one for every session."""

_ROUNDS = 5


def nid_of(nmk: bytes) -> bytes:
    """Return the network identifier of a 16-byte key, at security level 0 (simple connect).

    Five rounds of SHA-256, of which 52 bits are used; the upper nibble of the last byte is the level. Raises ValueError
    for a key of another length.
    """
    if len(nmk) != NMK_SIZE:
        raise ValueError(f"a network membership key has {NMK_SIZE} bytes, not {len(nmk)}")
    digest = nmk
    for _ in range(_ROUNDS):
        digest = hashlib.sha256(digest).digest()
    return digest[:6] + bytes((digest[6] >> 4,))


Entropy = Callable[[int], bytes]
"""Returns that many unpredictable bytes, for keys, run identifiers and sounds."""


class HostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of both roles."""

    timing: SlacTiming = STANDARD
    modem: ModemConfig = ModemConfig()
    amplitude_map_carriers: Annotated[int, msgspec.Meta(ge=0, le=2690)] = 0
    """Carriers of the amplitude map sent once the link is up, usually 1155; 0 sends none. The peer's maps
    side are answered in any case."""
    amplitude: Annotated[int, msgspec.Meta(ge=0, le=15)] = 15
    """The amplitude for each carrier of the map; the meaning of the values is not public."""


class Host(ControlListener):
    """Base of the EV and EVSE core: `receive`, `tick`, `deadline`, `actions`.

    Feed every frame of the link to `receive`, call `tick` at `deadline()`, and execute `actions()` after each call.
    Unknown frames are ignored, as the standard requires. No call raises for a peer's data.
    """

    def __init__(self, config: HostConfig, *, mac: bytes, entropy: Entropy) -> None:
        self.mac = mac
        self._timing = config.timing
        self._entropy = entropy
        self._actions: list[Action] = []
        self._timers: dict[str, float] = {}
        self.modem = ModemControl(config.modem, config.timing, timers=self._timers, send=self._send, listener=self)
        self._carriers = config.amplitude_map_carriers
        self._amplitude = config.amplitude
        self._map_to: bytes | None = None  # peer that has not answered our amplitude map yet
        self._map_tries = 0

    # -- for the shell ----------------------------------------------------------------------------------------

    def receive(self, frame: bytes, now: float) -> None:
        """Process one Ethernet frame."""
        try:
            received = mme.decode(frame)
        except FrameError:
            return
        if received.source == self.mac or received.destination not in (self.mac, mme.BROADCAST):
            return
        source, message = received.source, received.message
        if self.modem.receive(source, message, now):
            return
        if isinstance(message, mme.CmAmpMapReq):
            if message.amlen:
                self._observe("amplitude_map", peer=source.hex(":"), carriers=message.amlen)
                self._send(source, mme.CmAmpMapCnf())
        elif isinstance(message, mme.CmAmpMapCnf):
            if source == self._map_to:
                self._map_over(now, answer="taken" if message.result == 0 else "refused")
        else:
            self._on_message(source, message, now)

    def tick(self, now: float) -> None:
        """Let the timers that are due by `now` expire, earliest first."""
        for name, at in sorted(self._timers.items(), key=lambda item: item[1]):
            if at <= now and self._timers.get(name) == at:
                del self._timers[name]
                if name in ModemControl.TIMERS:
                    self.modem.on_timer(name, now)
                elif name == "map":
                    if self._map_tries <= self._timing.match_retries:
                        self._send_map(now)
                    else:
                        self._map_over(now, answer="none")
                else:
                    self._on_timer(name, now)

    def deadline(self) -> float | None:
        """Return when `tick` must be called, or None."""
        return min(self._timers.values(), default=None)

    def actions(self) -> list[Action]:
        """Return the actions since the last call, in order."""
        actions, self._actions = self._actions, []
        return actions

    # -- for the roles ----------------------------------------------------------------------------------------

    def _on_message(self, source: bytes, message: Mme, now: float) -> None:
        raise NotImplementedError

    def _on_timer(self, name: str, now: float) -> None:
        raise NotImplementedError

    def on_version(self, chip: str, firmware: str) -> None:
        self._observe("modem_found", chip=chip, firmware=firmware)

    def _on_ready(self, now: float) -> None:
        """The link is up and the amplitude maps are exchanged."""
        raise NotImplementedError

    # -- helpers ----------------------------------------------------------------------------------------------

    def _send(self, destination: bytes, message: Mme) -> None:
        self._actions.append(SendFrame(mme.encode(mme.MmeFrame(destination, self.mac, message))))

    def _observe(self, name: str, **data: Scalar) -> None:
        self._actions.append(Observe("link", name, data))

    def _random_key(self, now: float) -> None:
        """Leave the modem's present network: HomePlug has no message for that, a new key does it."""
        nmk = self._entropy(NMK_SIZE)
        self.modem.set_key(nid_of(nmk), nmk, now)

    # -- amplitude map ----------------------------------------------------------------------------------------

    def _link_up(self, peer: bytes, now: float) -> None:
        """Send `peer` our amplitude map, if configured, and be ready after its answer or the time-out."""
        if self._map_to is not None:
            return
        if self._carriers == 0:
            self._on_ready(now)
            return
        self._map_to, self._map_tries = peer, 0
        self._send_map(now)

    def _send_map(self, now: float) -> None:
        assert self._map_to is not None
        self._map_tries += 1
        self._timers["map"] = now + self._timing.amp_map_response_s
        values = bytes((self._amplitude << 4 | self._amplitude,)) * ((self._carriers + 1) // 2)
        self._send(self._map_to, mme.CmAmpMapReq(amlen=self._carriers, amplitudes=values))

    def _map_over(self, now: float, *, answer: str) -> None:
        self._observe("amplitude_map_sent", answer=answer)
        self._drop_map()
        self._on_ready(now)

    def _drop_map(self) -> None:
        self._map_to = None
        self._timers.pop("map", None)
