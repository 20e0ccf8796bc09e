"""A wire of the simulated medium: two ends, each with a state that the other sees.

The control pilot and the DC line are such wires. Unlike messages, a state persists: an end that joins
later gets it, and the state of a dead process is cleared.
"""

import logging
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from v2g.errors import TransportError
from v2g.io.simulation.medium import Medium, MediumChannel
from v2g.observe import Callbacks

_log = logging.getLogger(__name__)

Mine = TypeVar("Mine", bound=msgspec.Struct)
Theirs = TypeVar("Theirs", bound=msgspec.Struct)

_HEADER = 2  # connector, kind
_STATE, _ASK = b"S", b"?"


class SimulatedWire(Generic[Mine, Theirs]):
    """One end. `seen` is the far end's state, or None without one.

    `connector` (0..255) distinguishes the wires of one folder. The first peer at the far end keeps it until it
    leaves the folder; others are ignored, as a socket accepts one plug. The two ends have different Struct types
    (tagged), so that two chargers in one folder are not confused with vehicles.
    """

    def __init__(self, medium: Medium, channel: MediumChannel, theirs: type[Theirs], *, connector: int = 1) -> None:
        if not 0 <= connector <= 255:
            raise TransportError(f"connector {connector} is outside 0..255")
        self._medium = medium
        self._channel = channel
        self._connector = connector
        self._mine: Mine | None = None
        self._decode = msgspec.msgpack.Decoder(theirs).decode
        self._holder: str | None = None
        self._callbacks: Final = Callbacks[Theirs | None]()
        self.seen: Theirs | None = None
        medium.subscribe(channel, self._received)
        medium.on_peer(self._peer)
        self._send(_ASK)

    def hold(self, state: Mine) -> None:
        """Set the state. A state equal to the last is not sent again."""
        if state != self._mine:
            self._mine = state
            self._send(_STATE + msgspec.msgpack.encode(state))

    def on_change(self, callback: Callable[[Theirs | None], None]) -> None:
        """Call `callback` with the far end's new state, or None when it is cleared; immediately if there is one."""
        self._callbacks(callback)
        if self.seen is not None:
            callback(self.seen)

    def _send(self, body: bytes, *, to: str | None = None) -> None:
        self._medium.send(self._channel, bytes((self._connector,)) + body, to=to)

    def _received(self, peer: str, payload: bytes) -> None:
        if len(payload) < _HEADER or payload[0] != self._connector:
            return
        if payload[1:2] == _ASK:
            self._answer(peer)
            return
        try:
            state = self._decode(payload[_HEADER:])
        except (msgspec.MsgspecError, UnicodeDecodeError):  # the near end of another wire, or garbage
            return
        if self._holder not in (None, peer):
            _log.warning("connector %d is held by %s, %s ignored", self._connector, self._holder, peer)
            return
        self._holder = peer
        self._change(state)

    def _peer(self, peer: str, present: bool) -> None:
        if present:
            self._answer(peer)
        elif peer == self._holder:
            self._holder = None
            self._change(None)
            self._send(_ASK)  # a peer ignored so far may hold it

    def _answer(self, peer: str) -> None:
        if self._mine is not None:
            self._send(_STATE + msgspec.msgpack.encode(self._mine), to=peer)

    def _change(self, state: Theirs | None) -> None:
        if state != self.seen:
            self.seen = state
            self._callbacks.tell(state)
